//! How sure L(N, D) is: fits to resampled points (Efron 1979), as Besiroglu et al. 2024 (Epoch, arXiv 2404.10102) did.
//!
//! Each resample draws as many points as there are, with replacement, and fits from the fit to all points and from
//! Hoffmann's constants. The draws are NumPy's of the same seed: with [`SEED`] those of Epoch. Intervals are percentiles of whatever is asked of the fitted laws: a constant, N(C), a loss.

mod mersenne;

use crate::fit::quantile::central;
use crate::scaling::law::ScalingLaw;
use crate::scaling::parametric::{FEWEST_VALUES, FitOptions, ParametricFit, Refits, distinct};
use crate::scaling::point::Point;
use mersenne::Mersenne;
use rayon::prelude::*;

/// As many as Epoch drew.
pub const RESAMPLES: usize = 4000;
/// Epoch's seed.
pub const SEED: u64 = 42;
/// A resample that leaves fewer than three sizes or token counts is drawn again, this often at most.
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
    let mut rng = Mersenne::new(seed);
    let counts: Vec<_> = (0..resamples).map(|_| counts(points, &mut rng)).collect();
    let draws: Vec<Option<ScalingLaw>> = counts
        .par_iter()
        .map(|counts| {
            let law = refits.refit(counts.as_ref()?);
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
fn counts(points: &[Point], rng: &mut Mersenne) -> Option<Vec<u32>> {
    (0..DRAWS_AGAIN).find_map(|_| {
        let mut counts = vec![0; points.len()];
        for _ in points {
            counts[rng.below(points.len())] += 1;
        }
        let drawn = || points.iter().zip(&counts).filter(|(_, c)| **c > 0);
        let sizes = distinct(drawn().map(|(p, _)| p.params));
        let tokens = distinct(drawn().map(|(p, _)| p.tokens));
        (sizes.min(tokens) >= FEWEST_VALUES).then_some(counts)
    })
}

impl Bootstrap {
    /// A sentence on the draws that intervals of an optimum leave out.
    pub fn without_optimum(&self) -> Option<String> {
        let without = self.draws.iter().filter(|d| !d.has_optimum()).count();
        (without > 0).then(|| {
            format!(
                "{without} of {} resamples have no optimum, alpha or beta not being positive; the intervals of \
                 N, D and the loss there leave them out",
                self.draws.len()
            )
        })
    }

    /// The central `level` (0.95, say) of a quantity; percentiles interpolated between draws.
    pub fn interval(&self, level: f64, of: impl Fn(&ScalingLaw) -> f64) -> (f64, f64) {
        central(self.values(of), level)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::parametric::{
        self,
        tests::{TRUTH, grid, public},
    };

    #[test]
    fn intervals_hold_the_truth_and_threads_change_nothing() {
        let points = grid(0.003);
        let options = FitOptions::default();
        let fit = parametric::fit(&points, &options).unwrap();
        let draws = |seed| bootstrap(&points, &fit, &options, 300, seed);
        let found = draws(1);
        assert!(found.draws.len() > 290);
        let (low, high) = found.interval(0.95, |law| law.alpha);
        assert!(low < TRUTH.alpha && TRUTH.alpha < high, "{low} {high}");
        let (low, high) = found.interval(0.95, |law| law.optimum(1e22).0);
        let n = TRUTH.optimum(1e22).0;
        assert!(low < n && n < high, "{low} {high}");
        assert!(found.standard_error(|law| law.e) > 0.0);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        assert_eq!(pool.unwrap().install(|| draws(1)), found);
        assert_ne!(draws(2), found);
    }

    #[test]
    fn percentiles_are_interpolated() {
        let draws = (0..=4).map(|i| ScalingLaw {
            e: f64::from(i),
            ..TRUTH
        });
        let draws = Bootstrap {
            draws: draws.collect(),
            resamples: 5,
        };
        assert_eq!(draws.interval(0.75, |law| law.e), (0.5, 3.5));
        assert_eq!(draws.standard_error(|law| law.e), 2.5f64.sqrt());
        let (low, high) = draws.interval(0.9, |_| f64::NAN);
        assert!(low.is_nan() && high.is_nan());
    }

    /// The draws are Epoch's, so the intervals are, too.
    #[test]
    fn chinchillas_intervals_are_epochs() {
        let Some(points) = public("chinchilla_epoch.csv") else {
            return;
        };
        let options = FitOptions::default();
        let fit = parametric::fit(&points, &options).unwrap();
        let found = bootstrap(&points, &fit, &options, RESAMPLES, SEED);
        let near = |of: fn(&ScalingLaw) -> f64, low: f64, high: f64| {
            let (l, h) = found.interval(0.95, of);
            assert!((l / low - 1.0).abs() < 3e-4, "{l} is not {low}");
            assert!((h / high - 1.0).abs() < 3e-4, "{h} is not {high}");
        };
        near(|law| law.a, 286.1, 743.6);
        near(|law| law.b, 1042.4, 5810.4);
        near(|law| law.e, 1.7694, 1.8712);
        near(|law| law.alpha, 0.3168, 0.3733);
        near(|law| law.beta, 0.3313, 0.4154);
        assert!((found.standard_error(ScalingLaw::exponent) - 0.020).abs() < 1e-3);
    }
}
