//! Fits the parametric law L(N, D) = E + A/N^α + B/D^β (approach 3 of Hoffmann et al. 2022, arXiv 2203.15556).
//!
//! The objective is theirs: Σ Huber_δ(ln L̂ᵢ − ln Lᵢ) with ln L̂ = LSE(a − α ln N, b − β ln D, e) and a = ln A, b = ln B,
//! e = ln E, a *sum* over points, from each of the 4500 starts of their grid (appendix D.3). Every start is run to
//! convergence on all points, none is pruned or merged: [`ParametricFit::agree`] is a share of all of them. Besag et al. (2024,
//! Epoch) showed what stopping early does to the published constants; here stopping does not hang on the objective's units.

mod elementary;
mod newton;
mod objective;

use crate::error::{Error, Result};
use crate::scaling::law::ScalingLaw;
use crate::scaling::point::Point;
use newton::{Limits, Minimum, minimise};
use objective::{Curvature, Data, Vector};
use rayon::prelude::*;
use serde::Serialize;

/// How to fit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FitOptions {
    /// Huber's δ, in ln L: residuals beyond it count by their size, not by its square.
    pub delta: f64,
}

impl Default for FitOptions {
    fn default() -> Self {
        FitOptions { delta: 1e-3 }
    }
}

/// A fit and how sure the search is of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParametricFit {
    pub law: ScalingLaw,
    /// The sum of Huber's function over the points.
    pub objective: f64,
    /// Starts, each run to convergence.
    pub starts: usize,
    /// Share of the starts that end at the best minimum: within a millionth of its objective.
    pub agree: f64,
    /// Points fitted.
    pub points: usize,
}

/// Five parameters, and a point to tell noise by.
pub const FEWEST_POINTS: usize = 6;
/// Two starts agree when their objectives differ by no more than this share.
const AGREEMENT: f64 = 1e-6;
/// Huber functions that a descent starts on, in δ: wide ones have no kinks on the way.
const NARROWING: [(f64, Limits); 2] = [
    (
        1000.0,
        Limits {
            curvature: Curvature::Reweighted,
            iterations: 100,
            tolerance: 0.1,
        },
    ),
    (
        10.0,
        Limits {
            curvature: Curvature::Newton,
            iterations: 100,
            tolerance: 0.1,
        },
    ),
];
const LAST: Limits = Limits {
    curvature: Curvature::Newton,
    iterations: 200,
    tolerance: 1e-9,
};
/// For the best of all, to rounding.
const BEST: Limits = Limits {
    tolerance: 1e-16,
    ..LAST
};

/// The best minimum from the 4500 starts of Hoffmann et al. The same bits for any number of threads.
///
/// # Errors
/// Too few points, or points that cannot tell the parameters apart: one sentence each.
pub fn fit(points: &[Point], options: &FitOptions) -> Result<ParametricFit> {
    identified(points)?;
    if !(options.delta > 0.0 && options.delta.is_finite()) {
        return Err(Error::input(format!(
            "Huber's delta is {}; it must be a positive number such as 1e-3",
            options.delta
        )));
    }
    let data = Data::new(points);
    let starts = grid(&data);
    let minima: Vec<Minimum> = starts
        .par_iter()
        .map(|start| descend(&data, options.delta, start))
        .collect();
    let finite = minima.iter().filter(|m| m.value.is_finite());
    let best = finite
        .min_by(|a, b| a.value.total_cmp(&b.value))
        .map(|m| minimise(&data, options.delta, &m.u, BEST))
        .ok_or_else(|| {
            Error::input("no start of the fit reached a finite objective; look for losses or sizes that are far from all others")
        })?;
    let bound = best.value * (1.0 + AGREEMENT) + data.exact();
    let agreeing = minima.iter().filter(|m| m.value <= bound).count();
    Ok(ParametricFit {
        law: data.law(&best.u),
        objective: best.value,
        starts: starts.len(),
        agree: agreeing as f64 / starts.len() as f64,
        points: points.len(),
    })
}

/// From `start` to a minimum, over Huber functions that narrow to δ.
fn descend(data: &Data, delta: f64, start: &Vector) -> Minimum {
    let mut u = *start;
    for (width, limits) in NARROWING {
        u = minimise(data, width * delta, &u, limits).u;
    }
    minimise(data, delta, &u, LAST)
}

/// Fits of the same points in other proportions, for [`bootstrap`](super::bootstrap).
pub(super) struct Refits {
    data: Data,
    delta: f64,
    best: Vector,
    hoffmann: Vector,
}

/// What Hoffmann et al. published, in the digits of their source: ln A, ln B, ln E, α, β.
const HOFFMANN: [f64; 5] = [6.00734, 6.01792, 0.526723, 0.339171, 0.284908];

impl Refits {
    pub(super) fn new(points: &[Point], law: &ScalingLaw, options: &FitOptions) -> Refits {
        let data = Data::new(points);
        let [a, b, e, alpha, beta] = HOFFMANN;
        Refits {
            delta: options.delta,
            best: data.centred(law.a.ln(), law.b.ln(), law.e.ln(), law.alpha, law.beta),
            hoffmann: data.centred(a, b, e, alpha, beta),
            data,
        }
    }

    /// The better of the minima from the fit to all points and from Hoffmann's constants, each point
    /// taken as often as `counts` says.
    pub(super) fn refit(&self, counts: &[u32]) -> ScalingLaw {
        let data = self.data.resampled(counts);
        let near = minimise(&data, self.delta, &self.best, LAST);
        let far = descend(&data, self.delta, &self.hoffmann);
        let best = if far.value < near.value { far } else { near };
        data.law(&best.u)
    }
}

/// The grid of Hoffmann et al., appendix D.3.
fn grid(data: &Data) -> Vec<Vector> {
    let exponents = [0.0, 0.5, 1.0, 1.5, 2.0];
    let logs = [0.0, 5.0, 10.0, 15.0, 20.0, 25.0];
    let mut starts = Vec::with_capacity(4500);
    for alpha in exponents {
        for beta in exponents {
            for e in [-1.0, -0.5, 0.0, 0.5, 1.0] {
                for a in logs {
                    starts.extend(logs.map(|b| data.centred(a, b, e, alpha, beta)));
                }
            }
        }
    }
    starts
}

/// # Errors
/// Too few points, one loss, one size or one number of tokens.
fn identified(points: &[Point]) -> Result<()> {
    let n = points.len();
    if n < FEWEST_POINTS {
        return Err(Error::input(format!(
            "{n} points cannot fix the five constants of L(N, D); give at least {FEWEST_POINTS} trained models"
        )));
    }
    let all_same = |of: fn(&Point) -> f64| points.iter().all(|p| of(p) == of(&points[0]));
    if all_same(|p| p.loss) {
        return Err(Error::input(format!(
            "all {n} losses are {}: nothing to fit; is the column the final loss?",
            points[0].loss
        )));
    }
    for (same, what, tells, add) in [
        (all_same(|p| p.params), "parameters", "A and alpha", "sizes"),
        (
            all_same(|p| p.tokens),
            "tokens",
            "B and beta",
            "token counts",
        ),
    ] {
        if same {
            return Err(Error::input(format!(
                "all {n} points have the same number of {what}, which leaves {tells} undetermined; add points of other {add}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
