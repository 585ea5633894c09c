//! A run under a law: what the law says of its steps, and of those to come.

use super::Run;
use super::derived::applied;
use crate::curve::{LossCurve, LossKind, LrOrigin, Point, WarmUp, warmup_of, warmup_shown};
use crate::fit::{self, Band, Fit, FittedCurve, FittedLoss, Scores};
use crate::report::ticks::power;

/// Points of a predicted curve.
const POINTS: u64 = 300;
/// Fewer measured losses cannot be judged.
const FEWEST: usize = 3;

/// A law to judge runs by.
#[derive(Debug)]
pub struct Law {
    /// For legends and tables.
    pub label: String,
    pub fit: Fit,
    /// Which of a run's losses it speaks of.
    pub kind: LossKind,
}

impl Law {
    /// `kind` as the user says, or else that of the fitted curves.
    pub fn new(label: String, fit: Fit, kind: Option<LossKind>) -> Law {
        let all = !fit.curves.is_empty() && fit.curves.iter().all(|c| training(&fit, c));
        let fitted = match all {
            true => LossKind::TrainBatch,
            false => LossKind::Validation,
        };
        let kind = kind.unwrap_or(fitted);
        Law { label, fit, kind }
    }

    /// Whether some of the fitted curves are training losses, and some are not.
    pub fn mixed(&self) -> bool {
        let all = self.fit.curves.iter();
        let n = all.filter(|c| training(&self.fit, c)).count();
        (1..self.fit.curves.len()).contains(&n)
    }

    /// `held-out`, `training`.
    pub fn of(&self) -> &'static str {
        match self.kind {
            LossKind::TrainBatch => "training",
            _ => "held-out",
        }
    }

    /// Standard deviation of one point, as the law's fit saw them, in nats at the loss `at`.
    pub fn noise(&self, at: f64) -> f64 {
        match self.fit.options.residual.is_log() {
            true => self.fit.noise.sd * at,
            false => self.fit.noise.sd,
        }
    }

    /// Steps a point of the fit.
    pub fn bin(&self) -> u64 {
        self.fit
            .curves
            .iter()
            .map(|c| c.bin)
            .max()
            .unwrap_or(1)
            .max(1)
    }
}

/// Whether a fitted curve is of training losses. Where the law's file does not say, one with a loss at (nearly) every
/// step is.
fn training(fit: &Fit, c: &FittedCurve) -> bool {
    if let Some(loss) = c.loss {
        return loss == FittedLoss::Training;
    }
    (c.points as u64).saturating_mul(c.bin) * 2 >= c.steps.saturating_sub(fit.from)
}

/// What a law says of one run.
#[derive(Clone, Debug)]
pub struct Under {
    /// Measured, with the LRs of the whole run, those to come included.
    pub curve: LossCurve,
    /// At every point of `curve`.
    pub predicted: Vec<f64>,
    /// Points before this step are not judged.
    pub from: u64,
    pub scores: Scores,
    /// Predictions with their bands over the whole run, from `from` to its last planned step.
    pub steps: Vec<u64>,
    pub band: Band,
}

/// What a law says of a run's last step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct End {
    /// Nats a token.
    pub loss: f64,
    /// Where the law's curve lies in nine of ten cases, given what its fit does not know of its parameters.
    pub curve: (f64, f64),
    /// Where a measured loss lies in nine of ten cases: one point's noise, and a run's own offset, added.
    pub measured: (f64, f64),
}

impl Under {
    /// # Errors
    /// Why the law cannot be held against the run, as the end of a sentence.
    pub fn new(run: &Run, law: &Law) -> Result<Under, String> {
        let all = measured(run, law.kind);
        let of = law.of();
        if all.points.len() < FEWEST {
            return Err(format!("it has fewer than {FEWEST} {of} losses"));
        }
        let curve = match law.kind {
            LossKind::TrainBatch => all.binned(law.bin()),
            _ => all,
        };
        if law.fit.law.needs_size() && curve.parameters.is_none() {
            return Err("the law speaks of model sizes, and the run does not say its own".into());
        }
        let warmup = match curve.warmup {
            WarmUp::Known(steps) => steps,
            WarmUp::Unlogged => 0,
        };
        let from = law.fit.from.max(warmup);
        let predicted = law.fit.predict_curve(&curve);
        let judged = curve
            .points
            .iter()
            .zip(&predicted)
            .filter(|(p, _)| p.step >= from);
        let (measured, said): (Vec<f64>, Vec<f64>) = judged.map(|(p, l)| (p.loss, *l)).unzip();
        let scores = Scores::of(&said, &measured)
            .filter(|s| s.n >= FEWEST)
            .ok_or(format!(
                "it has fewer than {FEWEST} {of} losses from step {from} on, where the law begins"
            ))?;
        if !said.iter().all(|l| l.is_finite()) {
            return Err("the law gives it losses that are not finite".into());
        }
        let steps = spread(from.max(1), curve.lrs.len() as u64);
        let path = fit::path(&curve.lrs, warmup, &steps).of_size(curve.parameters);
        Ok(Under {
            band: law.fit.band(&path),
            predicted,
            from,
            scores,
            steps,
            curve,
        })
    }

    /// The predicted end of the run.
    pub fn end(&self) -> End {
        let i = self.steps.len() - 1;
        End {
            loss: self.band.loss[i],
            curve: (self.band.low[i], self.band.high[i]),
            measured: (self.band.observed_low[i], self.band.observed_high[i]),
        }
    }

    /// Why the law may fail this run: a peak LR beyond those fitted. As the end of a sentence.
    pub fn beyond(&self, law: &Law) -> Option<String> {
        const SLACK: f64 = 1.02;
        let peak = self.curve.lrs.iter().copied().fold(0.0, f64::max);
        let fitted = law.fit.curves.iter().map(|c| c.peak_lr);
        let (low, high) = fitted.fold((f64::INFINITY, 0.0), |(l, h), p| (p.min(l), p.max(h)));
        if high <= 0.0 || (low / SLACK..=high * SLACK).contains(&peak) {
            return None;
        }
        let seen = match low == high {
            true => format!("{} alone", power(low)),
            false => format!("{} to {}", power(low), power(high)),
        };
        Some(format!(
            "its peak LR {} lies outside what was fitted ({seen})",
            power(peak)
        ))
    }

    /// Where the run ended, nats a token; `None` while it goes on. Of training losses, which single batches make noisy, the law
    /// at the end with its mean difference over the last twentieth of the run.
    pub fn measured_end(&self, law: &Law, horizon: u64) -> Option<f64> {
        const LATE: f64 = 0.95;
        let last = self.curve.points.last()?;
        if last.step + law.bin() <= horizon {
            return None;
        }
        if law.kind != LossKind::TrainBatch {
            return Some(last.loss);
        }
        let points = self.curve.points.iter().zip(&self.predicted);
        let from = (LATE * horizon as f64).min(last.step as f64);
        let late = points.filter(|(p, _)| p.step as f64 >= from);
        let off: Vec<f64> = late.map(|(p, said)| p.loss - said).collect();
        Some(self.end().loss + off.iter().sum::<f64>() / off.len() as f64)
    }

    /// `(step, predicted)` at the points from `from` on.
    pub fn line(&self) -> Vec<[f64; 2]> {
        let points = self.curve.points.iter().zip(&self.predicted);
        let points = points.filter(|(p, _)| p.step >= self.from);
        points.map(|(p, said)| [p.step as f64, *said]).collect()
    }

    /// `(step, (measured − predicted) / noise)` from `from` on.
    pub fn in_noise(&self, law: &Law) -> Vec<[f64; 2]> {
        let points = self.curve.points.iter().zip(&self.predicted);
        points
            .filter(|(p, _)| p.step >= self.from)
            .map(|(p, said)| [p.step as f64, (p.loss - said) / law.noise(*said)])
            .collect()
    }
}

/// A run's losses of one kind, with the LR of every step of its plan.
fn measured(run: &Run, kind: LossKind) -> LossCurve {
    let points: Vec<(u64, f64)> = match kind {
        LossKind::TrainBatch => run.steps.iter().map(|s| (s.step, s.loss)).collect(),
        _ => run.evals.iter().map(|e| (e.step, e.loss)).collect(),
    };
    let points = points
        .into_iter()
        .filter(|(step, loss)| *step > 0 && loss.is_finite());
    let points: Vec<Point> = points.map(|(step, loss)| Point { step, loss }).collect();
    let mut lrs = applied(run);
    // Never shorter than the points.
    let last = points.last().map_or(0, |p| p.step as usize);
    lrs.resize(lrs.len().max(last), lrs.last().copied().unwrap_or(0.0));
    let warmup = match &run.facts.schedule {
        Some(schedule) => Some(warmup_of(schedule, &lrs)),
        None => warmup_shown(&lrs),
    };
    LossCurve {
        name: run.name.clone(),
        points,
        lrs,
        lr_origin: LrOrigin::EveryStep,
        kind,
        warmup: warmup.map_or(WarmUp::Unlogged, WarmUp::Known),
        parameters: run.facts.parameters,
        notes: Vec::new(),
    }
}

/// About [`POINTS`] steps from `first` to `last`, the last among them.
fn spread(first: u64, last: u64) -> Vec<u64> {
    let first = first.min(last);
    let every = ((last - first) / POINTS).max(1);
    let mut steps: Vec<u64> = (first..=last).step_by(every as usize).collect();
    if steps.last() != Some(&last) {
        steps.push(last);
    }
    steps
}
