//! What is asked: a law, a run, and what its schedule may look like.

use crate::error::{Error, Result};
use crate::law::{Law, Path, Run};
use crate::schedule::count;
use std::sync::Arc;

/// A law with its parameters: what losses are predicted by.
#[derive(Clone)]
pub struct Model {
    pub law: Arc<dyn Law>,
    /// In the order of [`Law::parameters`].
    pub parameters: Vec<f64>,
    /// Parameters of the model that is trained, for laws over model size.
    pub size: Option<f64>,
}

/// The limits of a schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Steps of the whole run.
    pub steps: u64,
    /// Where the warm-up ends; no LR exceeds it.
    pub peak_lr: f64,
    /// No LR after the warm-up is below it.
    pub min_lr: f64,
    /// Steps of linear warm-up, `peak·(s+1)/W`.
    pub warmup: u64,
    /// The trust rule: no step's LR is lower than the one before it by more than this share of the peak.
    pub largest_drop: f64,
}

/// A run whose first LRs are settled (its warm-up, or what has been trained already) and whose others are to be
/// found, never rising.
#[derive(Clone)]
pub struct Problem {
    pub model: Model,
    pub limits: Limits,
    /// Never empty.
    prefix: Vec<f64>,
    /// How many of the prefix were trained already.
    trained: u64,
}

impl Problem {
    /// A new run; without warm-up its first step stands at the peak.
    ///
    /// # Errors
    /// One sentence each: limits that contradict each other, a law that cannot predict such a run.
    pub fn fresh(model: Model, limits: Limits) -> Result<Problem> {
        Problem::new(model, limits, Vec::new())
    }

    /// A run that trained with `trained` so far, LR by LR. What is left of the warm-up comes next.
    ///
    /// # Errors
    /// As [`Problem::fresh`], and a run that is as long as it is to be already, or stands below the lowest LR.
    pub fn remainder(model: Model, limits: Limits, trained: &[f64]) -> Result<Problem> {
        Problem::new(model, limits, trained.to_vec())
    }

    fn new(model: Model, limits: Limits, trained: Vec<f64>) -> Result<Problem> {
        check(&model, &limits)?;
        let Limits {
            steps,
            peak_lr,
            min_lr,
            warmup,
            ..
        } = limits;
        let done = trained.len() as u64;
        if done >= steps {
            return Err(Error::input(format!(
                "{} steps are trained already, so a run of {} steps has nothing left to design; give more --steps",
                count(done),
                count(steps)
            )));
        }
        if let Some(bad) = trained.iter().find(|lr| !(lr.is_finite() && **lr >= 0.0)) {
            return Err(Error::input(format!(
                "the run so far has a learning rate of {bad}; every step needs one of at least 0"
            )));
        }
        let mut prefix = trained;
        prefix.extend((done..warmup).map(|s| peak_lr * ((s + 1) as f64 / warmup as f64)));
        if prefix.is_empty() {
            prefix.push(peak_lr);
        }
        let level = prefix[prefix.len() - 1];
        if level < min_lr {
            return Err(Error::input(format!(
                "--min-lr {min_lr:e}: the run stands at {level:e} already after {} steps; choose a lower one, or an earlier step",
                count(done)
            )));
        }
        if level <= 0.0 {
            return Err(Error::input(format!(
                "the run's learning rate is 0 after {} steps, where it has cooled down already; start from an earlier step",
                count(done)
            )));
        }
        Ok(Problem {
            model,
            limits,
            prefix,
            trained: done,
        })
    }

    /// LRs that are settled: trained already, or warm-up.
    pub fn prefix(&self) -> &[f64] {
        &self.prefix
    }

    /// How many steps were trained already.
    pub fn trained(&self) -> u64 {
        self.trained
    }

    /// Where the part to be found begins.
    pub fn level(&self) -> f64 {
        self.prefix[self.prefix.len() - 1]
    }

    /// Steps to be found.
    pub fn free_steps(&self) -> u64 {
        self.limits.steps - self.prefix.len() as u64
    }

    /// The same run with another length.
    ///
    /// # Errors
    /// A length that the prefix does not fit in.
    #[cfg(test)]
    pub fn of_length(&self, steps: u64, largest_drop: f64) -> Result<Problem> {
        let limits = Limits {
            steps,
            largest_drop,
            ..self.limits
        };
        let trained = self.prefix[..self.trained as usize].to_vec();
        Problem::new(self.model.clone(), limits, trained)
    }

    /// The whole run with `tail` after the prefix.
    pub fn lrs(&self, tail: impl Iterator<Item = f64>) -> Vec<f64> {
        let mut lrs = self.prefix.clone();
        lrs.extend(tail);
        lrs
    }

    /// The predicted loss after the last step, nats a token, and its gradient in the LR of every step; O(T).
    pub fn gradient(&self, lrs: &[f64]) -> (f64, Vec<f64>) {
        let run = Run {
            lrs,
            warmup: self.limits.warmup,
            size: self.model.size,
        };
        self.model
            .law
            .schedule_gradient(&run, &self.model.parameters)
    }

    /// The path with the final loss as its one point; changes within `span` steps of each other together.
    pub fn path(&self, lrs: &[f64], span: usize) -> Path {
        let steps = [lrs.len() as u64];
        Path::grouped(lrs, self.limits.warmup, &steps, span).of_size(self.model.size)
    }

    /// The predicted loss after the last step, nats a token, exactly.
    pub fn loss(&self, lrs: &[f64]) -> f64 {
        self.loss_at(&self.path(lrs, 1))
    }

    /// The same in less time, for tuning: changes of the LR are taken together so that about a thousand are left,
    /// which costs about 1e-6 nats.
    pub fn rough_loss(&self, lrs: &[f64]) -> f64 {
        self.loss_at(&self.path(lrs, lrs.len().div_ceil(2000)))
    }

    fn loss_at(&self, path: &Path) -> f64 {
        let mut out = [f64::NAN];
        let model = &self.model;
        model.law.evaluate(path, &model.parameters, &mut out, None);
        out[0]
    }

    /// The largest drop from a step to the next after the prefix, as a share of the peak; 0 where nothing falls.
    pub fn largest_drop(&self, lrs: &[f64]) -> f64 {
        let from = self.prefix.len() - 1;
        let drops = lrs[from..].windows(2).map(|w| w[0] - w[1]);
        drops.fold(0.0, f64::max) / self.limits.peak_lr
    }

    /// Whether `lrs` keeps every limit: the prefix to the bit, falling, within the LRs allowed, no drop beyond the
    /// trust rule. Rounding is forgiven.
    pub fn allows(&self, lrs: &[f64]) -> bool {
        let Limits {
            steps,
            peak_lr,
            min_lr,
            largest_drop,
            ..
        } = self.limits;
        let room = 1e-9 * peak_lr;
        let start = self.prefix.len();
        lrs.len() as u64 == steps
            && lrs[..start] == self.prefix[..]
            && lrs[start - 1..].windows(2).all(|w| w[1] <= w[0] + room)
            && lrs[start..].iter().all(|lr| *lr >= min_lr - room)
            && self.largest_drop(lrs) <= largest_drop * (1.0 + 1e-6) + 1e-9
    }
}

/// A longer run would fill the memory with its LRs.
pub const MOST_STEPS: u64 = 50_000_000;

fn check(model: &Model, limits: &Limits) -> Result<()> {
    let Limits {
        steps,
        peak_lr,
        min_lr,
        warmup,
        largest_drop,
    } = *limits;
    let refuse = |what: String| Err(Error::input(what));
    if !(2..=MOST_STEPS).contains(&steps) {
        return refuse(format!(
            "--steps {steps}: a schedule is designed for 2 to {} steps",
            count(MOST_STEPS)
        ));
    }
    if !(peak_lr.is_finite() && peak_lr > 0.0) {
        return refuse(format!(
            "--peak-lr {peak_lr}: the peak learning rate must be a positive number, such as 1e-3"
        ));
    }
    if !(min_lr.is_finite() && min_lr >= 0.0) {
        return refuse(format!(
            "--min-lr {min_lr}: the lowest learning rate must be at least 0"
        ));
    }
    if min_lr > peak_lr {
        return refuse(format!(
            "--min-lr {min_lr:e} lies above the peak of {peak_lr:e}; lower it, or raise --peak-lr"
        ));
    }
    if warmup >= steps {
        return refuse(format!(
            "a warm-up of {} steps leaves nothing of a run of {} to design; shorten --warmup, or give more --steps",
            count(warmup),
            count(steps)
        ));
    }
    if !(largest_drop > 0.0 && largest_drop <= 1.0) {
        return refuse(format!(
            "--largest-drop {largest_drop}: the largest drop a step must be above 0 and at most 1, as a share of the peak"
        ));
    }
    if model.law.needs_size() && model.size.is_none() {
        return refuse(format!(
            "the law {} predicts models of a size; give it as --parameters N",
            model.law.name()
        ));
    }
    Ok(())
}
