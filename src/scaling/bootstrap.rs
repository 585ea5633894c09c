//! How sure L(N, D) is: fits to resampled points (Efron 1979), as Besiroglu et al. 2024 (Epoch, arXiv 2404.10102) did.
//!
//! Each resample draws as many points as there are, with replacement, and fits from the fit to all points and from
//! Hoffmann's constants. Intervals are percentiles of whatever is asked of the fitted laws: a constant, N(C), a loss.

use crate::fit::random;
use crate::scaling::law::ScalingLaw;
use crate::scaling::parametric::{FitOptions, ParametricFit, Refits};
use crate::scaling::point::Point;
use rayon::prelude::*;

/// As many as Epoch drew.
pub const RESAMPLES: usize = 4000;
/// A resample that leaves one size or one number of tokens is drawn again, this often at most.
const DRAWS_AGAIN: usize = 100;

/// Laws fitted to resampled points.
#[derive(Clone, Debug, PartialEq)]
pub struct Bootstrap {
    /// One a resample; those that no fit could be had of are left out.
    pub draws: Vec<ScalingLaw>,
    /// Resamples asked for.
    pub resamples: usize,
}

/// Refits to `resamples` resampled sets of `points`. The same bits for any number of threads.
pub fn bootstrap(
    points: &[Point],
    fit: &ParametricFit,
    options: &FitOptions,
    resamples: usize,
    seed: u64,
) -> Bootstrap {
    let refits = Refits::new(points, &fit.law, options);
    let draws: Vec<Option<ScalingLaw>> = (0..resamples)
        .into_par_iter()
        .map(|index| {
            let law = refits.refit(&counts(points, seed, index as u64)?);
            let constants = [law.e, law.a, law.b, law.alpha, law.beta];
            constants.iter().all(|x| x.is_finite()).then_some(law)
        })
        .collect();
    Bootstrap {
        draws: draws.into_iter().flatten().collect(),
        resamples,
    }
}

/// How often a resample holds each point; `None` where too few differ.
fn counts(points: &[Point], seed: u64, index: u64) -> Option<Vec<u32>> {
    let mut rng = random::stream(seed, random::BOOTSTRAP, index);
    (0..DRAWS_AGAIN).find_map(|_| {
        let mut counts = vec![0; points.len()];
        for _ in points {
            counts[random::below(&mut rng, points.len())] += 1;
        }
        let drawn = || points.iter().zip(&counts).filter(|(_, c)| **c > 0);
        let (first, _) = drawn().next()?;
        let sizes = drawn().any(|(p, _)| p.params != first.params);
        let tokens = drawn().any(|(p, _)| p.tokens != first.tokens);
        (sizes && tokens).then_some(counts)
    })
}

impl Bootstrap {
    /// The central `level` (0.95, say) of a quantity; percentiles interpolated between draws.
    pub fn interval(&self, level: f64, of: impl Fn(&ScalingLaw) -> f64) -> (f64, f64) {
        let mut values = self.values(of);
        values.sort_by(f64::total_cmp);
        let at = |q: f64| {
            let place = q.clamp(0.0, 1.0) * (values.len() - 1) as f64;
            let (below, share) = (place.floor() as usize, place.fract());
            let above = (below + 1).min(values.len() - 1);
            values[below] * (1.0 - share) + values[above] * share
        };
        match values.is_empty() {
            true => (f64::NAN, f64::NAN),
            false => (at(0.5 - 0.5 * level), at(0.5 + 0.5 * level)),
        }
    }

    /// The standard deviation of a quantity over the draws.
    pub fn standard_error(&self, of: impl Fn(&ScalingLaw) -> f64) -> f64 {
        let values = self.values(of);
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
    }

    fn values(&self, of: impl Fn(&ScalingLaw) -> f64) -> Vec<f64> {
        let values = self.draws.iter().map(of);
        values.filter(|x| x.is_finite()).collect()
    }
}
