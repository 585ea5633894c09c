//! Responses to changes of the LR: `R(t) = Σ_{k<t} w_k·G(k, t)` at every point of a path, with
//! derivatives in the kernel's parameters.
//!
//! - [`power()`]: `G = 1 − (1 + c_k·S_k(t))^−β` with a rate for each node, `c_k = C·η_k^−γ` and
//!   `S_k(t) = S₁(t) − S₁(k)`. A direct double sum, or a stream over a sum of exponentials in
//!   O((nodes + points)·Q), whichever costs less; both are public so that each checks the other.
//! - [`exponential()`]: `G = 1 − e^{−c·S_k(t)}` with one rate. Counted in steps it is the momentum law's
//!   response, `(1 − λ^{t−k})/(1 − λ)` with `c = −ln λ`, but for the factor `1/(1 − λ)`.
//!
//! Either may count `S_k(t)` in intrinsic time or in steps, see [`Clock`].

pub mod adjoint;
mod direct;
mod exponential;
mod gamma;
pub mod scratch;
mod stream;
#[cfg(test)]
mod tests;

use super::path::{Node, Path};

/// What the time since a change is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Intrinsic time, `S₁(t) − S₁(k)`.
    S1,
    /// `t − k`.
    Steps,
}

impl Clock {
    fn of_points(self, path: &Path) -> &[f64] {
        match self {
            Clock::S1 => &path.s1,
            Clock::Steps => &path.steps,
        }
    }

    fn of(self, node: &Node) -> f64 {
        match self {
            Clock::S1 => node.s1,
            Clock::Steps => node.step,
        }
    }
}

/// `G(x) = 1 − (1 + x)^−β` of `x = C·η_k^−γ·S_k(t)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Power {
    pub clock: Clock,
    pub ln_c: f64,
    pub beta: f64,
    pub gamma: f64,
}

impl Power {
    /// `ln c_k` of a node with this logarithm of its LR.
    pub fn ln_rate(&self, ln_lr: f64) -> f64 {
        self.ln_c - self.gamma * ln_lr
    }
}

/// Which derivatives to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub ln_c: bool,
    pub beta: bool,
    pub gamma: bool,
}

impl Wanted {
    pub const ALL: Wanted = Wanted {
        ln_c: true,
        beta: true,
        gamma: true,
    };
    pub const NONE: Wanted = Wanted {
        ln_c: false,
        beta: false,
        gamma: false,
    };
}

/// Responses at every point of a path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// One a set of weights.
    pub values: Vec<Vec<f64>>,
    /// Of the first set, where asked for.
    pub d_ln_c: Vec<f64>,
    pub d_beta: Vec<f64>,
    pub d_gamma: Vec<f64>,
}

impl Response {
    fn zeros(sets: usize, points: usize, wanted: Wanted) -> Self {
        let derivative = |wanted: bool| vec![0.0; if wanted { points } else { 0 }];
        Response {
            values: vec![vec![0.0; points]; sets],
            d_ln_c: derivative(wanted.ln_c),
            d_beta: derivative(wanted.beta),
            d_gamma: derivative(wanted.gamma),
        }
    }
}

/// `Σ_k w_k·G` over the nodes from `first` on, for every set of weights (each as long as those
/// nodes), and the derivatives wanted of the first set.
///
/// The direct sum is exact. The stream's error, over 20,000 draws of β in .05..1.5, γ in 0..1.2 and C over twelve
/// decades around 1/S, is within 1e-7 of the largest response, and that of its derivatives within 5e-7.
pub fn power(
    path: &Path,
    first: usize,
    kernel: Power,
    weights: &[&[f64]],
    wanted: Wanted,
) -> Response {
    if direct_is_cheaper(path, first, kernel) {
        power_direct(path, first, kernel, weights, wanted)
    } else {
        power_stream(path, first, kernel, weights, wanted)
    }
}

pub use direct::power as power_direct;
pub use exponential::exponential;
pub(super) use gamma::{digamma, ln_gamma};
pub use stream::power as power_stream;

/// By measurement (AVX2) a pair of a point and a node costs the direct sum 40 ns, as much as twelve
/// rates at one node or point cost the stream.
fn direct_is_cheaper(path: &Path, first: usize, kernel: Power) -> bool {
    let pairs: usize = path
        .seen
        .iter()
        .map(|&seen| seen.saturating_sub(first))
        .sum();
    let events = path.nodes.len().saturating_sub(first)
        + path.seen.iter().filter(|&&seen| seen > first).count();
    if pairs <= 4 * events {
        return true;
    }
    let rates = stream::rates(path, first, kernel);
    12 * pairs <= events * rates
}
