//! `cos-inf`: a cosine that ends early, then a constant low LR from which a run can go on.
//!
//! The last `n` steps of the run are at `final` times the peak; the cosine takes the rest after
//! warm-up (Hägele et al. 2024, arXiv 2405.18392, `cos_inf` with `cos_inf_steps = n`).

use super::describe::{count, to_ratio};
use super::keys::check_ratio;
use super::span::Span;
use super::{Curve, Decay, Landmark, Length, Run};
use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CosInf {
    span: Span,
    final_ratio: f64,
}

impl CosInf {
    pub fn new(final_ratio: f64, hold: Length, run: Run) -> Result<Self> {
        check_ratio("cos-inf", "final", final_ratio)?;
        let hold = hold.resolve("cos-inf", "hold", run.steps)?;
        let end = run.steps.saturating_sub(hold);
        // A warm-up that fills the run leaves nothing to shape, as with every other schedule.
        if end <= run.warmup && run.warmup < run.steps {
            return Err(Error::input(format!(
                "cos-inf: a constant part of {} steps and a warm-up of {} leave no step for the cosine \
                 in a run of {}; lower hold",
                count(hold),
                count(run.warmup),
                count(run.steps)
            )));
        }
        let span = Span::between(run.warmup, end);
        Ok(CosInf { span, final_ratio })
    }
}

impl Curve for CosInf {
    fn at(&self, step: u64) -> f64 {
        Decay::Cosine.between(self.final_ratio, self.span.progress(step))
    }

    fn landmarks(&self) -> Vec<Landmark> {
        vec![
            Landmark::new(self.span.middle(), "half of the decay"),
            Landmark::new(self.span.start + self.span.steps, "constant part starts"),
        ]
    }

    fn words(&self) -> String {
        let end = self.span.start + self.span.steps;
        format!(
            "{} at step {}, then constant",
            to_ratio(self.final_ratio),
            count(end)
        )
    }
}
