//! A run that is under way, seen by a law: where it will end, what a cooldown begun now would come to, and whether the
//! losses have left the law.
//!
//! [`Subject`] is what does not change (the run's LRs, the probes it is compared with, the law); [`Seen`] is what has been
//! logged so far; [`fit()`] makes of both a [`Fitted`], from which [`Watch`] judges the steps that follow, and
//! [`redesign()`] the LRs that the law would give the rest of the run. All of it is a
//! function of the numbers alone, so that a resumed run forecasts, and decides, the same.
//!
//! Held-out losses are fitted where there are enough of them. Otherwise training losses are, and what held-out losses lie above
//! them is added to forecasts: forecasts are always of the held-out loss, in nats a token.

mod config;
mod fitting;
mod redesign;
mod stop;
#[cfg(test)]
mod tests;
mod watch;

pub use config::LawConfig;
pub use fitting::{CooldownNow, Fitted, Losses, fit};
pub use redesign::{Decision, redesign};
pub use stop::{EARLIEST, LOOKS, StopWhen};
pub use watch::{Alarm, AlarmKind, Watch, WatchState};

use crate::curve::{LossCurve, Point};

/// What a forecast is of.
#[derive(Clone, Debug)]
pub struct Subject {
    /// As `lehr fit --law` takes it.
    pub law: String,
    /// LR of every step to the run's end.
    pub lrs: Vec<f64>,
    /// Steps of warm-up.
    pub warmup: u64,
    /// Parameters of the model, for laws over model size.
    pub parameters: f64,
    /// Earlier runs of the same model on the same data, with their losses of either kind: what tells a law how losses
    /// answer to LRs that this run has not yet had.
    pub probes: Vec<Probe>,
}

/// An earlier run.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub training: LossCurve,
    /// Absent where it holds too few points.
    pub held_out: Option<LossCurve>,
}

/// What a run has logged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub training: Vec<Point>,
    pub held_out: Vec<Point>,
}

impl Seen {
    /// Completed steps.
    pub fn step(&self) -> u64 {
        self.training.last().map_or(0, |p| p.step)
    }
}
