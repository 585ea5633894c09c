//! What a suite costs, and what it saves against a run for every length.
//!
//! With horizons T₁ < … < Tₙ of one model, separate runs train ΣTᵢ steps. The suite trains its longest one whole, as trunk
//! and cooldown, and of the others only their cooldowns cᵢ = fᵢTᵢ, so that
//!
//!   suite / separate = (Tₙ + Σ_{i<n} cᵢ) / ΣTᵢ
//!
//! (Hägele et al. 2024, arXiv 2405.18392, section 5). Steps of different models are weighed by their FLOPs.

use super::cell::{Cell, Kind};
use super::suite::Suite;
use serde::Serialize;

/// Training FLOPs, executed ones, of parts of a suite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// A run of its own for every horizon, model and seed.
    pub separate: f64,
    /// Trunks up to the last branch of a plain cooldown, and the plain cooldowns.
    pub trunks_and_cooldowns: f64,
    /// The `[[cooldown]]` entries, and what they ask of the trunks beyond that.
    pub further: f64,
    /// Cosines from scratch.
    pub cosine: f64,
}

impl Cost {
    /// The cost of the cells that `take` chooses, each charged `steps(index, cell)` of its own.
    pub fn of(suite: &Suite, steps: impl Fn(usize, &Cell) -> u64) -> Cost {
        let mut cost = Cost::default();
        for (index, cell) in suite.cells.iter().enumerate() {
            let model = suite.model(cell);
            let steps = steps(index, cell);
            let flops = model.flops(steps);
            match &cell.kind {
                Kind::Trunk { .. } => {
                    let plain = plain_end(suite, index);
                    let beyond = steps.saturating_sub(plain);
                    cost.trunks_and_cooldowns += model.flops(steps.min(plain));
                    cost.further += model.flops(beyond);
                    let all: u64 = model.horizons.iter().sum();
                    cost.separate += model.flops(all);
                }
                Kind::Cooldown { variant: None, .. } => cost.trunks_and_cooldowns += flops,
                Kind::Cooldown { .. } => cost.further += flops,
                Kind::Cosine => cost.cosine += flops,
            }
        }
        cost
    }

    /// Trunks and cooldowns over separate runs.
    pub fn ratio(&self) -> f64 {
        self.trunks_and_cooldowns / self.separate
    }

    pub fn total(&self) -> f64 {
        self.trunks_and_cooldowns + self.further + self.cosine
    }

    /// The formula of this module, from the horizons alone.
    pub fn formula(suite: &Suite) -> f64 {
        let (mut above, mut below) = (0.0, 0.0);
        for model in &suite.models {
            let (last, others) = model.horizons.split_last().expect("a model has a horizon");
            let cooldowns = others.iter().map(|&t| suite.spec.cooldown.steps(t));
            above += model.flops(last + cooldowns.sum::<u64>());
            below += model.flops(model.horizons.iter().sum());
        }
        above / below
    }
}

/// The step of a trunk where the last of the plain cooldowns branches off.
fn plain_end(suite: &Suite, index: usize) -> u64 {
    let at = suite.cells.iter().filter_map(|c| match &c.kind {
        Kind::Cooldown {
            trunk,
            at,
            variant: None,
            ..
        } if *trunk == index => Some(*at),
        _ => None,
    });
    at.max().unwrap_or(0)
}

/// GPU-hours of so many FLOPs at a peak in FLOP/s of which the share `mfu` is reached.
pub fn gpu_hours(flops: f64, peak: f64, mfu: f64) -> f64 {
    flops / (peak * mfu) / 3600.0
}
