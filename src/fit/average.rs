//! Averages over laws: one prediction from several fits, with their disagreement in its band.

use super::fitted::{Band, Fit, student};
use super::select::HeldOut;
use crate::error::{Error, Result};
use crate::law::Path;

/// Several fits of the same curves, predicting together.
#[derive(Clone, Debug)]
pub struct Average {
    /// Fits with their weights, which sum to 1.
    pub members: Vec<(Fit, f64)>,
}

impl Average {
    /// Every law counts the same.
    ///
    /// # Errors
    /// Where there is no fit.
    pub fn equal(fits: Vec<Fit>) -> Result<Average> {
        let weights = vec![1.0; fits.len()];
        Average::weighted(fits, &weights)
    }

    /// Laws count by what they predicted of curves that they had not seen: inversely as their mean squared
    /// held-out error. With few curves such scores are rough, so that no law's weight is more
    /// than ten times another's.
    ///
    /// # Errors
    /// Where there is no fit.
    pub fn by_held_out(fits: Vec<Fit>, scores: &[&HeldOut]) -> Result<Average> {
        assert_eq!(fits.len(), scores.len(), "one score a fit");
        let raw: Vec<f64> = scores
            .iter()
            .map(|s| s.mean.rmse.max(1e-12).powi(-2))
            .collect();
        let most = raw.iter().copied().fold(0.0, f64::max);
        let weights: Vec<f64> = raw.iter().map(|w| w.max(0.1 * most)).collect();
        Average::weighted(fits, &weights)
    }

    fn weighted(fits: Vec<Fit>, weights: &[f64]) -> Result<Average> {
        if fits.is_empty() {
            return Err(Error::input("there is no fit to average"));
        }
        let total: f64 = weights.iter().sum();
        Ok(Average {
            members: fits
                .into_iter()
                .zip(weights.iter().map(|w| w / total))
                .collect(),
        })
    }

    /// The weighted mean of the predicted losses at the points of `path`.
    pub fn predict(&self, path: &Path) -> Vec<f64> {
        let mut mean = vec![0.0; path.steps.len()];
        for (fit, weight) in &self.members {
            for (mean, loss) in mean.iter_mut().zip(fit.predict(path)) {
                *mean += weight * loss;
            }
        }
        mean
    }

    /// As [`Fit::band`], with the variance between the laws added to the mean of their own.
    pub fn band(&self, path: &Path) -> Band {
        let loss = self.predict(path);
        let n = loss.len();
        // Variances in nats², whatever residual each member was fitted with.
        let (mut known, mut noise) = (vec![0.0; n], vec![0.0; n]);
        for (fit, weight) in &self.members {
            let (own, variances) = fit.spread(path);
            let extra = fit.noise.sd.powi(2) + fit.noise.offset_sd.powi(2);
            // Members keep their own Student factor, as a share of the normal one.
            let factor = (student(fit.degrees) / student(f64::INFINITY)).powi(2);
            for i in 0..n {
                let scale = if fit.options.residual.is_log() {
                    own[i] * own[i]
                } else {
                    1.0
                };
                known[i] += weight * (factor * scale * variances[i] + (own[i] - loss[i]).powi(2));
                noise[i] += weight * factor * scale * extra;
            }
        }
        let z = student(f64::INFINITY);
        let edge = |sign: f64, with_noise: f64| -> Vec<f64> {
            (0..n)
                .map(|i| loss[i] + sign * z * (known[i] + with_noise * noise[i]).sqrt())
                .collect()
        };
        Band {
            low: edge(-1.0, 0.0),
            high: edge(1.0, 0.0),
            observed_low: edge(-1.0, 1.0),
            observed_high: edge(1.0, 1.0),
            loss,
        }
    }
}
