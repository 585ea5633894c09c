//! `linear`: a straight line from the peak after warm-up to `final` times the peak at the horizon.
//!
//! With `x` the progress of the decay and `f` the final ratio: 1 − (1−f)·x. The default `f = 0`
//! is the linear decay to zero of Bergsma et al. 2025 (arXiv 2502.15938).

use super::describe::to_ratio;
use super::keys::check_ratio;
use super::span::Span;
use super::{Curve, Decay, Landmark, Run};
use crate::error::Result;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Linear {
    span: Span,
    final_ratio: f64,
}

impl Linear {
    pub fn new(final_ratio: f64, run: Run) -> Result<Self> {
        check_ratio("linear", "final", final_ratio)?;
        let span = Span::between(run.warmup, run.steps);
        Ok(Linear { span, final_ratio })
    }
}

impl Curve for Linear {
    fn at(&self, step: u64) -> f64 {
        Decay::Linear.between(self.final_ratio, self.span.progress(step))
    }

    fn landmarks(&self) -> Vec<Landmark> {
        vec![Landmark::new(self.span.middle(), "half of the decay")]
    }

    fn words(&self) -> String {
        to_ratio(self.final_ratio)
    }
}
