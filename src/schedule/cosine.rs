//! `cosine`: half a cosine from the peak after warm-up to `final` times the peak at the horizon.
//!
//! With `x` the progress of the decay and `f` the final ratio (Loshchilov & Hutter 2017, arXiv
//! 1608.03983, one cycle): f + (1−f)·(1 + cos πx)/2.

use super::describe::to_ratio;
use super::keys::check_ratio;
use super::span::Span;
use super::{Curve, Decay, Landmark, Run};
use crate::error::Result;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cosine {
    span: Span,
    final_ratio: f64,
}

impl Cosine {
    pub fn new(final_ratio: f64, run: Run) -> Result<Self> {
        check_ratio("cosine", "final", final_ratio)?;
        let span = Span::between(run.warmup, run.steps);
        Ok(Cosine { span, final_ratio })
    }
}

impl Curve for Cosine {
    fn at(&self, step: u64) -> f64 {
        Decay::Cosine.between(self.final_ratio, self.span.progress(step))
    }

    fn landmarks(&self) -> Vec<Landmark> {
        vec![Landmark::new(self.span.middle(), "half of the decay")]
    }

    fn words(&self) -> String {
        to_ratio(self.final_ratio)
    }
}
