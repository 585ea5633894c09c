//! The schedule with the least Ω.
//!
//! In the tails `R_k = Σ_{s>k} η_s` the bound on the last iterate is a sum of convex terms, each quadratic over linear:
//!
//! `Ω = D²/(2R_0) + ½·Σ_{k<T} G_k²·(R_{k−1} − R_k)²/R_k + ½·G_T²·R_{T−1}`.
//!
//! Its stationarity in R_k involves only the ratios `u_k = R_{k−1}/R_k`, from the end backwards:
//! `u_{T−1} = √(1 + G_T²/G_{T−1}²)`, `u_k = √(1 + 2·(G_{k+1}²/G_k²)·(u_{k+1} − 1))`. What is left is `D²/(2R_0) + ½·c·R_0` with
//! `c = 2·G_1²·(u_1 − 1)`, so `R_0 = D/√c`. The reference package descends on Ω for 800 steps instead; with equal norms both go
//! to a linear decay as T grows.

use crate::error::{Error, Result};

/// The schedule with the least Ω and what it reaches.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimal {
    /// η of every step, all positive: base LR included.
    pub lrs: Vec<f64>,
    pub omega: f64,
}

/// LRs that are optimal for what their sum is, as multiples of the last one's, and `c`: half of it times their sum is what
/// noise adds.
pub(super) struct Tail {
    pub shape: Vec<f64>,
    pub total: f64,
    pub cost: f64,
}

impl Tail {
    /// Scaled to a sum of `total`.
    pub fn scaled(mut self, total: f64) -> Vec<f64> {
        let factor = total / self.total;
        for lr in &mut self.shape {
            *lr *= factor;
        }
        self.shape
    }
}

/// For steps with the gradient norms `norms`, at least one, all positive. O(T).
///
/// # Errors
/// Norms that differ by so much that LRs leave the range of numbers.
pub(super) fn tail(norms: &[f64]) -> Result<Tail> {
    let mut shape = vec![1.0; norms.len()];
    let (mut behind, mut next) = (1.0, norms[norms.len() - 1]);
    // `u − 1`, of which `u` would keep few digits. Half of it starts the recursion as if one more step followed.
    let mut excess = 0.5;
    for (lr, &norm) in shape.iter_mut().zip(norms).rev().skip(1) {
        let ratio = next / norm;
        excess = step(ratio * ratio * excess);
        *lr = excess * behind;
        behind += *lr;
        next = norm;
    }
    // 2·G²·(u − 1); of a single step G² itself.
    let cost = 2.0 * next * next * excess;
    let usable = |x: f64| x.is_finite() && x >= f64::MIN_POSITIVE;
    if !usable(behind) || !usable(cost) || !usable(behind / cost.sqrt()) {
        return Err(Error::input(
            "the gradient norms differ by so many orders of magnitude that no optimal schedule can be computed; \
             smooth them, or leave their ends out",
        ));
    }
    Ok(Tail {
        shape,
        total: behind,
        cost,
    })
}

/// `√(1 + 2h) − 1`. The recursion waits for this, so that most steps, on which h is small, do without root and division.
#[inline(always)]
fn step(h: f64) -> f64 {
    if h < 2e-4 {
        // The next term is 21/16·h⁶.
        let square = h * h;
        return h - square * ((0.5 - 0.5 * h) + square * (0.625 - 0.875 * h));
    }
    let x = 2.0 * h;
    x / (1.0 + (1.0 + x).sqrt())
}

/// The least Ω over all schedules of `norms.len()` steps, at least one, from the distance `distance`. O(T).
///
/// # Errors
/// Norms that differ by so much that LRs leave the range of numbers.
pub fn optimal(distance: f64, norms: &[f64]) -> Result<Optimal> {
    let tail = tail(norms)?;
    let root = tail.cost.sqrt();
    Ok(Optimal {
        omega: distance * root,
        lrs: tail.scaled(distance / root),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::design::bound::{Bound, Iterate};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_is_below_and_the_gradient_is_zero(
            norms in prop::collection::vec(0.2..5.0f64, 1..80),
            distance in 0.1..10.0f64,
            other in prop::collection::vec(1e-3..1.0f64, 80),
        ) {
            let bound = Bound { iterate: Iterate::Last, distance, norms: &norms };
            let found = optimal(distance, &norms).unwrap();
            let omega = bound.split(&found.lrs).at(1.0);
            prop_assert!((omega / found.omega - 1.0).abs() < 1e-12, "{omega} {}", found.omega);
            prop_assert!(bound.split(&other[..norms.len()]).best() >= omega * (1.0 - 1e-12));
            // Both halves of each component are of the size of D²/2S².
            let total: f64 = found.lrs.iter().sum();
            let scale = 0.5 * (distance / total).powi(2);
            for slope in bound.gradient(&found.lrs) {
                prop_assert!(slope.abs() < 1e-10 * scale, "{slope} {scale}");
            }
        }
    }

    #[test]
    fn the_series_meets_the_root() {
        for h in [1e-9, 1e-5, 1.9e-4, 1.99999e-4] {
            let x = 2.0 * h;
            let root = x / (1.0 + f64::sqrt(1.0 + x));
            assert!((step(h) / root - 1.0).abs() < 1e-15, "{h}");
        }
    }

    #[test]
    fn one_step_and_norms_out_of_range() {
        let one = optimal(3.0, &[2.0]).unwrap();
        assert!((one.lrs[0] - 1.5).abs() < 1e-15 && (one.omega - 6.0).abs() < 1e-14);
        let wild: Vec<f64> = (0..100).map(|k| 10f64.powi(6 * (k % 50))).collect();
        assert!(optimal(1.0, &wild).is_err() || optimal(1.0, &wild).unwrap().omega.is_finite());
        assert!(optimal(1.0, &[1e-300, 1e300]).is_err());
    }
}
