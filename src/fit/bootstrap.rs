//! Intervals by resampling: blocks of residuals, drawn again and refitted.

use super::data::FitData;
use super::fitted::{COVERAGE, Fit};
use super::objective::{Local, Objective};
use super::optimise::{Limits, minimise};
use super::quantile::central;
use super::random;
use crate::error::{Error, Result};
use crate::law::Path;
use rayon::prelude::*;
use std::sync::Arc;

const REFIT: Limits = Limits {
    iterations: 60,
    tolerance: 1e-6,
};
/// A block spans this many correlation times, so that most of the correlation lies within blocks …
const TIMES_A_BLOCK: f64 = 2.0;
/// … but a curve is cut into this many at least, so that blocks can be exchanged.
const BLOCKS_A_CURVE: usize = 4;

/// Parameters refitted to resampled curves.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// One parameter vector a draw, in the parameters' own units.
    pub draws: Vec<Vec<f64>>,
    /// Points a block, of each curve.
    pub blocks: Vec<usize>,
}

/// Refits to `draws` resampled data sets: to the fitted curves, residuals are added that were drawn in
/// blocks from each curve's own, in step order, blocks about twice the residuals' correlation time
/// long (Künsch 1989). Refits start from the fit. The same bits for any number of threads.
///
/// Blocks cannot show noise that lasts as long as the curve; where [`Noise`](super::Noise) says that much is
/// correlated over the whole run, the fit's own intervals are wider and the ones to trust.
///
/// # Errors
/// For a fit that was read from a file: it has no residuals.
pub fn bootstrap(fit: &Fit, draws: usize, seed: u64) -> Result<Bootstrap> {
    let data = fitted_data(fit)?;
    let u = fit.coordinates.of(&fit.parameters());
    let objective = objective(fit, data);
    let mut local = Local::default();
    objective.value(&u, &mut local);
    let p = u.len() as f64;
    // Residuals are smaller than the noise by what the parameters have swallowed.
    let swell = (data.points() as f64 / (data.points() as f64 - p)).sqrt();
    let blocks: Vec<usize> = data
        .curves
        .iter()
        .map(|curve| block_length(fit, &curve.path.steps))
        .collect();
    let draws = (0..draws)
        .into_par_iter()
        .map(|draw| {
            let mut rng = random::stream(seed, random::BOOTSTRAP, draw as u64);
            let mut curves = Vec::with_capacity(data.curves.len());
            let mut first = 0;
            for (curve, &block) in data.curves.iter().zip(&blocks) {
                let n = curve.losses.len();
                let own = &local.residuals[first..first + n];
                let mut losses = Vec::with_capacity(n);
                while losses.len() < n {
                    let from = random::below(&mut rng, n - block + 1);
                    for z in &own[from..from + block.min(n - losses.len())] {
                        let i = losses.len();
                        // Residuals are predicted minus measured.
                        let predicted = fit.shift(curve.losses[i], own[i] * fit.options.delta);
                        losses.push(fit.shift(predicted, -z * swell * fit.options.delta));
                    }
                }
                curves.push(curve.with_losses(losses));
                first += n;
            }
            let resampled = FitData { curves, ..**data };
            let objective = Objective {
                data: &resampled,
                ..objective
            };
            fit.coordinates
                .parameters(&minimise(&objective, &u, REFIT).u)
        })
        .collect();
    Ok(Bootstrap { draws, blocks })
}

impl Bootstrap {
    /// The 5 % and 95 % quantiles of each parameter.
    pub fn intervals(&self) -> Vec<(f64, f64)> {
        let p = self.draws.first().map_or(0, Vec::len);
        (0..p)
            .map(|j| central(self.draws.iter().map(|draw| draw[j]).collect(), COVERAGE))
            .collect()
    }

    /// The 5 % and 95 % quantiles of the predicted loss at each point of `path`.
    pub fn band(&self, fit: &Fit, path: &Path) -> Vec<(f64, f64)> {
        let n = path.steps.len();
        let predicted: Vec<Vec<f64>> = self
            .draws
            .par_iter()
            .map(|draw| {
                let mut out = vec![0.0; n];
                fit.law.evaluate(path, draw, &mut out, None);
                out
            })
            .collect();
        (0..n)
            .map(|i| central(predicted.iter().map(|draw| draw[i]).collect(), COVERAGE))
            .collect()
    }
}

fn block_length(fit: &Fit, steps: &[f64]) -> usize {
    let n = steps.len();
    if fit.noise.correlated == 0.0 || n < 2 {
        return 1;
    }
    let gap = (steps[n - 1] - steps[0]) / (n - 1) as f64;
    let wanted = (TIMES_A_BLOCK * fit.noise.correlation_steps / gap).ceil() as usize;
    wanted.clamp(1, n.div_ceil(BLOCKS_A_CURVE))
}

pub(crate) fn objective<'a>(fit: &'a Fit, data: &'a FitData) -> Objective<'a> {
    Objective {
        law: &*fit.law,
        data,
        coordinates: &fit.coordinates,
        residual: fit.options.residual,
        delta: fit.options.delta,
    }
}

pub(crate) fn fitted_data(fit: &Fit) -> Result<&Arc<FitData>> {
    fit.data.as_ref().ok_or_else(|| {
        Error::input(
            "a law read from a file has no residuals to resample or to refit: fit its curves again",
        )
    })
}
