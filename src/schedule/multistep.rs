//! `multistep`: the LR drops by a constant factor at given steps. `811` is its best-known setting:
//! 80 % of the run at the peak, 10 % at peak/√10, 10 % at peak/10 (DeepSeek LLM, arXiv 2401.02954).

use super::describe::count;
use super::length::increasing;
use super::{Curve, Landmark, Length, Run};
use crate::error::{Error, Result};

/// 1/√10, the factor of `811`.
pub(super) const FACTOR_811: f64 = 0.316_227_766_016_837_94;
/// Where `811` steps down.
pub(super) const AT_811: [Length; 2] = [Length::Fraction(0.8), Length::Fraction(0.9)];

#[derive(Clone, Debug, PartialEq)]
pub(super) struct MultiStep {
    /// First step at each lower level, rising.
    drops: Vec<u64>,
    factor: f64,
}

impl MultiStep {
    pub fn new(at: &[Length], factor: f64, run: Run) -> Result<Self> {
        if !(factor > 0.0 && factor <= 1.0) {
            return Err(Error::input(format!(
                "multistep: factor must be above 0 and at most 1, not {factor}"
            )));
        }
        let drops = increasing("multistep", "at", at, run.steps)?;
        Ok(MultiStep { drops, factor })
    }
}

impl Curve for MultiStep {
    fn at(&self, step: u64) -> f64 {
        let passed = self.drops.partition_point(|&drop| drop <= step);
        self.factor.powi(passed as i32)
    }

    fn landmarks(&self) -> Vec<Landmark> {
        self.drops
            .iter()
            .map(|&drop| Landmark::new(drop, "steps down"))
            .collect()
    }

    fn words(&self) -> String {
        let at: Vec<String> = self.drops.iter().map(|&drop| count(drop)).collect();
        let steps = if at.len() == 1 { "step" } else { "steps" };
        format!("×{:.3} at {steps} {}", self.factor, at.join(" / "))
    }
}
