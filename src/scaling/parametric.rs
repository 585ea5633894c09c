//! Fits the parametric law L(N, D) = E + A/N^α + B/D^β (approach 3 of Hoffmann et al. 2022, arXiv 2203.15556).
//!
//! The objective is theirs: Σ Huber_δ(ln L̂ᵢ − ln Lᵢ) with ln L̂ = LSE(a − α ln N, b − β ln D, e) and a = ln A, b = ln B,
//! e = ln E, a *sum* over points, from each of the 4500 starts of their grid (appendix D.3). Every start is run to
//! convergence on all points, none is pruned or merged: [`ParametricFit::agree`] is a share of all of them. Besiroglu et al. (2024,
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

impl ParametricFit {
    /// A sentence where hardly any start found this minimum.
    pub fn doubt(&self) -> Option<String> {
        (self.agree < FEW_AGREE).then(|| {
            format!(
                "only {:.1} % of the starts end at this law: the points hardly fix it, so look at its intervals",
                self.agree * 100.0
            )
        })
    }
}

/// Five parameters, and a point to tell noise by.
pub const FEWEST_POINTS: usize = 6;
/// Of N and of D each: two values of one leave its power, its factor and E free to trade against one another.
pub(super) const FEWEST_VALUES: usize = 3;
/// Values this near one another are one.
const SAME: f64 = 1.01;
/// Correlation of ln N and ln D from which the two are one variable to a fit.
const COLLINEAR: f64 = 0.999;
/// A minimum that fewer of the starts end at is worth a note.
const FEW_AGREE: f64 = 0.1;
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
/// Too few points, one loss, fewer than three sizes or token counts, or tokens that follow from the parameters.
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
    for (count, what, tells, add) in [
        (
            distinct(points.iter().map(|p| p.params)),
            "numbers of parameters",
            "E, A and alpha",
            "sizes",
        ),
        (
            distinct(points.iter().map(|p| p.tokens)),
            "numbers of tokens",
            "E, B and beta",
            "token counts",
        ),
    ] {
        if count < FEWEST_VALUES {
            return Err(Error::input(format!(
                "the {n} points have {count} different {what}, which leaves {tells} undetermined; it takes {FEWEST_VALUES}: add points of other {add}"
            )));
        }
    }
    told_apart(points)
}

/// How many values differ by more than rounding.
pub(super) fn distinct(values: impl Iterator<Item = f64>) -> usize {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.dedup_by(|later, kept| *later <= *kept * SAME);
    sorted.len()
}

/// # Errors
/// ln D is a line in ln N: A/N^α can then stand in for B/D^β, and exact losses fit as well with the two exchanged.
fn told_apart(points: &[Point]) -> Result<()> {
    let n = points.len() as f64;
    let mean = |of: &dyn Fn(&Point) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (ln_n, ln_d) = (mean(&|p| p.params.ln()), mean(&|p| p.tokens.ln()));
    let x = |p: &Point| p.params.ln() - ln_n;
    let y = |p: &Point| p.tokens.ln() - ln_d;
    let (xx, yy) = (mean(&|p| x(p).powi(2)), mean(&|p| y(p).powi(2)));
    let correlation = mean(&|p| x(p) * y(p)) / (xx * yy).sqrt();
    if correlation.abs() <= COLLINEAR {
        return Ok(());
    }
    let (low, high) = tokens_a_parameter(points);
    let seen = if correlation < 0.0 {
        "every model here spends about the same compute".to_string()
    } else if high <= 1.25 * low {
        let ratio = (low * high).sqrt();
        let digits = if ratio < 10.0 { 2 } else { 0 };
        format!("every model here has about {ratio:.digits$} tokens a parameter")
    } else {
        "the tokens here follow from the parameters".to_string()
    };
    Err(Error::input(format!(
        "{seen}, so N and D cannot be told apart; add runs of one size at other lengths"
    )))
}

/// Least and largest D/N.
pub fn tokens_a_parameter(points: &[Point]) -> (f64, f64) {
    let ratios = points.iter().map(|p| p.tokens / p.params);
    ratios.fold((f64::INFINITY, 0.0), |(l, h), r| (l.min(r), h.max(r)))
}

#[cfg(test)]
pub(super) mod tests;
