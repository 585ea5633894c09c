//! `constant`: the peak, from warm-up to the end.

use super::{Curve, Landmark};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Constant;

impl Curve for Constant {
    fn at(&self, _step: u64) -> f64 {
        1.0
    }

    fn landmarks(&self) -> Vec<Landmark> {
        Vec::new()
    }

    fn words(&self) -> String {
        String::new()
    }
}
