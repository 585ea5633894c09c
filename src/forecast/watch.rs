//! Whether losses still follow the law.

use super::{Fitted, Subject};
use crate::error::Result;
use crate::fit;
use crate::law;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Steps whose mean tells a departure.
const WINDOW: usize = 32;
/// A step this many standard deviations above the law is a spike …
const SPIKE: f64 = 8.0;
/// … and a mean this many of its own off the law is a departure. Batches are not independent (neighbouring
/// text is alike) and the law is not exact, so both lie far beyond what chance does.
const DEPARTURE: f64 = 10.0;
/// Below this many standard deviations of a step, a departure is the law's own error.
const LEAST: f64 = 0.75;

/// A loss that the law does not explain.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    pub step: u64,
    pub kind: AlarmKind,
    /// How far off the law, in nats: one step's loss of a spike, the mean of the last steps otherwise.
    pub nats: f64,
    /// The same in standard deviations of one step's loss.
    pub sigmas: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlarmKind {
    /// One step far above the law.
    Spike,
    /// The last steps lie above the law: the run diverges, or its data have become harder.
    Above,
    /// They lie below it: its data have become easier, or repeat.
    Below,
}

impl std::fmt::Display for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Alarm { nats, sigmas, .. } = self;
        match self.kind {
            AlarmKind::Spike => write!(
                f,
                "a spike: this step's loss is {nats:.2} nats above the law, {sigmas:.0} times its noise"
            ),
            AlarmKind::Above => write!(
                f,
                "the last {WINDOW} steps lie {nats:.3} nats above the law ({sigmas:.1} of a step's noise): divergence, other data, or a law that is wrong"
            ),
            AlarmKind::Below => write!(
                f,
                "the last {WINDOW} steps lie {:.3} nats below the law ({:.1} of a step's noise): easier or repeated data, or a law that is wrong",
                -nats, -sigmas
            ),
        }
    }
}

/// Judges steps by a fit that does not know them.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Of steps from `first` on.
    expected: Vec<f64>,
    first: u64,
    noise: f64,
    /// Half-width of the forecast's interval, nats: a departure within it may be the law's own error.
    unsure: f64,
    recent: VecDeque<f64>,
    /// Whether the present departure has been told.
    departed: bool,
}

/// What of a [`Watch`] a checkpoint holds; the rest follows from the fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchState {
    recent: Vec<f64>,
    departed: bool,
}

impl Watch {
    /// From step `first` on by `fitted`, going on in what `state` saw.
    ///
    /// # Errors
    /// A law that there is not, of a checkpoint of another version.
    pub fn new(subject: &Subject, fitted: &Fitted, first: u64, state: WatchState) -> Result<Watch> {
        let law = law::by_name(&fitted.law, &Default::default())?;
        // A batch's loss is that of the model before its step.
        let steps = first..=subject.lrs.len() as u64;
        let steps: Vec<u64> = steps.map(|s| s.saturating_sub(1)).collect();
        let path =
            fit::path(&subject.lrs, subject.warmup, &steps).of_size(Some(subject.parameters));
        let mut expected = vec![0.0; steps.len()];
        law.evaluate(&path, &fitted.parameters, &mut expected, None);
        expected
            .iter_mut()
            .for_each(|loss| *loss += fitted.training_offset);
        Ok(Watch {
            expected,
            first,
            // A law that does not describe the run is in no position to raise an alarm.
            noise: if fitted.describes {
                fitted.training_noise
            } else {
                0.0
            },
            unsure: 0.5 * (fitted.high - fitted.low),
            recent: state.recent.into(),
            departed: state.departed,
        })
    }

    /// Whether losses have left the law, and are not back.
    pub fn departed(&self) -> bool {
        self.departed
    }

    pub fn state(&self) -> WatchState {
        WatchState {
            recent: self.recent.iter().copied().collect(),
            departed: self.departed,
        }
    }

    /// Looks at a step's loss; an alarm where it, or the last steps together, have left the law. A departure is told once, until
    /// losses are back.
    pub fn look(&mut self, step: u64, loss: f64) -> Option<Alarm> {
        let at = step.checked_sub(self.first)?;
        let expected = *self.expected.get(usize::try_from(at).ok()?)?;
        let off = loss - expected;
        let sigmas = off / self.noise;
        if !sigmas.is_finite() {
            return None;
        }
        let alarm = |kind, nats: f64| Alarm {
            step,
            kind,
            nats,
            sigmas: nats / self.noise,
        };
        if sigmas > SPIKE {
            // One step does not move the mean of the others.
            return Some(alarm(AlarmKind::Spike, off));
        }
        self.recent.push_back(sigmas);
        if self.recent.len() > WINDOW {
            self.recent.pop_front();
        }
        let mean = self.recent.iter().sum::<f64>() / WINDOW as f64;
        let full = self.recent.len() == WINDOW;
        let away = full
            && mean.abs() > LEAST
            && mean.abs() * (WINDOW as f64).sqrt() > DEPARTURE
            && mean.abs() * self.noise > self.unsure;
        let told = std::mem::replace(&mut self.departed, away);
        let kind = match mean > 0.0 {
            true => AlarmKind::Above,
            false => AlarmKind::Below,
        };
        (away && !told).then(|| alarm(kind, mean * self.noise))
    }
}
