//! Designs under laws whose parameters are known.

mod limits;
mod properties;
mod shapes;
mod trusting;

use super::*;
use crate::law::{self, LawOptions};

/// The multi-power law's 100M model, as its repository publishes it.
pub(super) const PUBLISHED: [f64; 7] = [2.6514, 0.60115, 0.45296, 437.95, 2.1325, 0.59785, 0.65524];

pub(super) fn model(name: &str, parameters: &[f64]) -> Model {
    let law = law::by_name(name, &LawOptions::default()).unwrap();
    assert_eq!(law.parameters().len(), parameters.len(), "{name}");
    Model {
        law: law.into(),
        parameters: parameters.to_vec(),
        size: None,
    }
}

/// Its runs: peak 3e-4, a warm-up of 2,160 steps, and the trust rule that nothing fitted gives.
pub(super) fn published(steps: u64) -> Problem {
    let limits = Limits {
        steps,
        peak_lr: 3e-4,
        min_lr: 0.0,
        warmup: 2160,
        largest_drop: trust::rule(None, steps, steps - 2160).largest_drop,
    };
    Problem::fresh(model("mpl", &PUBLISHED), limits).unwrap()
}

/// A small run under a law with parameters of a size usual for it.
pub(super) fn small(name: &str, parameters: &[f64], steps: u64) -> Problem {
    let limits = Limits {
        steps,
        peak_lr: 1e-3,
        min_lr: 0.0,
        warmup: steps / 20,
        largest_drop: trust::rule(None, steps, steps - steps / 20).largest_drop,
    };
    Problem::fresh(model(name, parameters), limits).unwrap()
}

/// Laws with what a fit to runs of a few thousand steps at 1e-3 might give.
pub(super) const LAWS: [(&str, &[f64]); 5] = [
    ("mpl-no-gamma", &[2.6, 0.6, 0.45, 150.0, 60.0, 0.5]),
    ("mpl", &[2.6, 0.6, 0.45, 150.0, 1.0, 0.5, 0.5]),
    ("fsl", &[2.6, 0.6, 0.45, 100.0, 1.0, 60.0, 0.4]),
    ("mplx", &[2.6, 0.6, 0.45, 100.0, 8.0]),
    ("tissue", &[2.6, 0.6, 0.45, 0.4, 200.0]),
];
