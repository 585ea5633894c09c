//! A law with fitted parameters, and what it predicts.

use super::coordinates::Coordinates;
use super::data::{self, FitData};
use super::noise::Noise;
use super::options::FitOptions;
use crate::curve::{LossCurve, LossKind};
use crate::law::{Law, Path, Scales};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Coverage that every interval and band of a [`Fit`] aims at.
pub const COVERAGE: f64 = 0.9;

/// A parameter after a fit, in its own unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedParameter {
    pub value: f64,
    /// 90 % interval of what the data say; under priors, of what they say without them, stretched to
    /// the value where that lies outside.
    pub low: f64,
    pub high: f64,
    pub unit: String,
    /// Whether the value lies on a bound of the law, so that the data asked for more.
    pub at_bound: bool,
}

/// Which losses of a run were fitted, as `law.json` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FittedLoss {
    /// Of the batches just trained on.
    #[serde(rename = "training")]
    Training,
    #[serde(rename = "held-out")]
    HeldOut,
}

impl FittedLoss {
    /// `None` where the log did not say.
    pub fn of(kind: LossKind) -> Option<FittedLoss> {
        match kind {
            LossKind::TrainBatch => Some(FittedLoss::Training),
            LossKind::Validation => Some(FittedLoss::HeldOut),
            LossKind::Unknown => None,
        }
    }
}

/// A fitted curve, as a fit remembers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedCurve {
    pub name: String,
    /// Fitted points, after binning.
    pub points: usize,
    /// Steps a bin; 1: as logged.
    pub bin: u64,
    pub peak_lr: f64,
    /// Warm-up steps; 0 where they were not known.
    pub warmup: u64,
    /// Last fitted step.
    pub steps: u64,
    /// Lowest LR after the warm-up, over the curve's highest. Absent in what older versions wrote, as is the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowest_lr: Option<f64>,
    /// Steepest slope of the LR after the warm-up, a share of the curve's highest a step, on the average over half of
    /// the fall ([`steepest_fall`](super::steepest_fall)). 0 where the LR never slopes, as where it jumps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steepest: Option<f64>,
    /// Which losses these are. Absent where the log did not say, and in what older versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<FittedLoss>,
    /// R² of the law over the fitted points, of parts of one run together: `1 − Σe²/Σ(L − mean L)²`. Absent where it is not finite, and in what older
    /// versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
}

/// A law fitted to curves. Made by [`fit`](super::fit()) or read by [`read`](super::file::read).
#[derive(Clone)]
pub struct Fit {
    pub law: Arc<dyn Law>,
    /// In the order of [`Law::parameters`].
    pub params: Vec<FittedParameter>,
    /// `Σ w·Huber_δ(r)` as the papers write it, without priors.
    pub objective: f64,
    /// Starts tried, and how many of them ended within 1 % of the best objective ([`AGREEMENT`](super::AGREEMENT)).
    pub starts: usize,
    pub agree: usize,
    /// Condition number of JᵀJ with columns of unit length, in fitting coordinates: 1 is
    /// perfect, above 10⁶ some combination of parameters is all but free.
    pub condition: f64,
    pub curves: Vec<FittedCurve>,
    pub noise: Noise,
    /// Covariance of the parameters in fitting coordinates (the logarithm of those marked so), row-major.
    pub covariance: Vec<f64>,
    pub scales: Scales,
    pub options: FitOptions,
    /// First step fitted.
    pub from: u64,
    /// What a reader should know, one sentence each.
    pub notes: Vec<String>,
    /// Whether some note says that the curves do not tell a parameter.
    pub lacking: bool,
    /// Wall time of the fit, in seconds.
    pub seconds: f64,
    /// Degrees of freedom of the noise estimate, for Student's factor.
    pub degrees: f64,
    /// Of a fit with priors: what the data say without.
    pub(crate) data_only: Option<DataOnly>,
    /// Diagonal of H⁻¹, the variances that independent noise would give; empty after reading from a file.
    pub(crate) naive_variances: Vec<f64>,
    pub(crate) coordinates: Coordinates,
    /// What was fitted; absent after reading from a file.
    pub(crate) data: Option<Arc<FitData>>,
}

/// A fit without priors beside one with them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DataOnly {
    pub(crate) u: Vec<f64>,
    pub(crate) covariance: Vec<f64>,
    pub(crate) degrees: f64,
}

/// A predicted curve with 90 % bands.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// Predicted losses.
    pub loss: Vec<f64>,
    /// Where the law's curve lies, given what the fit does not know of the parameters.
    pub low: Vec<f64>,
    pub high: Vec<f64>,
    /// Where one logged loss of a new run lies: noise, and a run's own offset, added.
    pub observed_low: Vec<f64>,
    pub observed_high: Vec<f64>,
}

impl Fit {
    /// The parameters in their own units.
    pub fn parameters(&self) -> Vec<f64> {
        self.params.iter().map(|p| p.value).collect()
    }

    /// The value of the parameter called `name`.
    pub fn param(&self, name: &str) -> Option<&FittedParameter> {
        let j = self.law.parameters().iter().position(|p| p.name == name)?;
        Some(&self.params[j])
    }

    /// Predicted losses at the points of `path`, in nats.
    pub fn predict(&self, path: &Path) -> Vec<f64> {
        let mut out = vec![0.0; path.steps.len()];
        self.law.evaluate(path, &self.parameters(), &mut out, None);
        out
    }

    /// Predicted losses after `steps` (increasing) of the run whose update `s` has the LR `lrs[s]`, the
    /// first `warmup` of them warm-up.
    pub fn predict_lrs(&self, lrs: &[f64], warmup: u64, steps: &[u64]) -> Vec<f64> {
        self.predict(&data::path(lrs, warmup, steps))
    }

    /// Predicted losses at all points of `curve`, whose losses are not looked at.
    pub fn predict_curve(&self, curve: &LossCurve) -> Vec<f64> {
        self.predict(&data::path_of(curve))
    }

    /// Predicted losses with 90 % bands: what the fit does not know of the parameters (the covariance carried through
    /// the law's gradient), and what a logged point adds to it. Under priors, the distance `d` to what the data
    /// predict without them counts too, as far as the data know better: `d⁴/(d² + v)`, `v` their own variance.
    pub fn band(&self, path: &Path) -> Band {
        let (loss, variances) = self.spread(path);
        let factor = student(self.degrees);
        let noise = self.noise.sd.powi(2) + self.noise.offset_sd.powi(2);
        let shifted = |extra: f64, sign: f64| -> Vec<f64> {
            loss.iter()
                .zip(&variances)
                .map(|(loss, v)| self.shift(*loss, sign * factor * (v + extra).sqrt()))
                .collect()
        };
        Band {
            low: shifted(0.0, -1.0),
            high: shifted(0.0, 1.0),
            observed_low: shifted(noise, -1.0),
            observed_high: shifted(noise, 1.0),
            loss,
        }
    }

    /// Predicted final loss of `a` minus that of `b`, in nats, and the standard deviation of that difference from
    /// what the fit does not know of the parameters: what both runs share cancels. As for [`Fit::band`], the distance
    /// to what the data say without priors counts too. Each path has one point.
    pub fn difference(&self, a: &Path, b: &Path) -> (f64, f64) {
        let apart = |parameters: &[f64]| {
            let ((la, ra), (lb, rb)) = (
                self.gradient_at(a, parameters),
                self.gradient_at(b, parameters),
            );
            // Rows are of ln L under a logarithmic residual.
            let unit = |loss: f64| match self.options.residual.is_log() {
                true => loss,
                false => 1.0,
            };
            let rows = ra.iter().zip(&rb);
            let row: Vec<f64> = rows
                .map(|(x, y)| x * unit(la[0]) - y * unit(lb[0]))
                .collect();
            (la[0] - lb[0], row)
        };
        let (difference, row) = apart(&self.parameters());
        let mut variance = carried(&row, &self.covariance)[0];
        if let Some(own) = &self.data_only {
            let (other, row) = apart(&self.coordinates.parameters(&own.u));
            let known = carried(&row, &own.covariance)[0];
            let square = (other - difference).powi(2);
            if square > 0.0 && known.is_finite() {
                variance += square * square / (square + known);
            }
        }
        (difference, variance.sqrt())
    }

    /// Half-width of a 90 % interval in standard deviations of what this fit does not know.
    pub fn interval_factor(&self) -> f64 {
        student(self.degrees)
    }

    /// Predicted losses, and the variance of each from the parameters, in residual units (of `ln L`
    /// under a logarithmic residual).
    pub(crate) fn spread(&self, path: &Path) -> (Vec<f64>, Vec<f64>) {
        let (loss, rows) = self.gradient(path);
        let mut variances = carried(&rows, &self.covariance);
        if let Some(own) = &self.data_only {
            let parameters = self.coordinates.parameters(&own.u);
            let (other, rows) = self.gradient_at(path, &parameters);
            let known = carried(&rows, &own.covariance);
            for i in 0..loss.len() {
                let distance = match self.options.residual.is_log() {
                    true => (other[i] / loss[i]).ln(),
                    false => other[i] - loss[i],
                };
                let square = distance * distance;
                if square > 0.0 && known[i].is_finite() {
                    variances[i] += square * square / (square + known[i]);
                }
            }
        }
        (loss, variances)
    }

    /// Predicted losses, and their gradient in fitting coordinates, in residual units.
    pub(crate) fn gradient(&self, path: &Path) -> (Vec<f64>, Vec<f64>) {
        self.gradient_at(path, &self.parameters())
    }

    fn gradient_at(&self, path: &Path, parameters: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let p = parameters.len();
        let n = path.steps.len();
        let (mut loss, mut rows) = (vec![0.0; n], vec![0.0; n * p]);
        self.law
            .evaluate(path, parameters, &mut loss, Some(&mut rows));
        for (row, loss) in rows.chunks_exact_mut(p).zip(&loss) {
            let scale = if self.options.residual.is_log() {
                1.0 / loss
            } else {
                1.0
            };
            for (j, entry) in row.iter_mut().enumerate() {
                *entry *= if self.coordinates.log[j] {
                    scale * parameters[j]
                } else {
                    scale
                };
            }
        }
        (loss, rows)
    }

    /// `loss` moved by `by` residual units.
    pub(crate) fn shift(&self, loss: f64, by: f64) -> f64 {
        if self.options.residual.is_log() {
            loss * by.exp()
        } else {
            loss + by
        }
    }
}

/// The variance `gᵀ·C·g` of each row `g`.
fn carried(rows: &[f64], covariance: &[f64]) -> Vec<f64> {
    let p = covariance.len().isqrt();
    let rows = rows.chunks_exact(p.max(1));
    rows.map(|row| super::linalg::quadratic(covariance, row).max(0.0))
        .collect()
}

/// Half-width of a 90 % interval in standard deviations, for this many degrees of freedom: Student's
/// quantile, by its expansion around the normal one (Fisher and Cornish).
pub(crate) fn student(degrees: f64) -> f64 {
    let z: f64 = 1.644_853_626_951_472_6;
    let v = degrees.max(3.0);
    z + (z.powi(3) + z) / (4.0 * v)
        + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * v * v)
        + (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / (384.0 * v.powi(3))
}

impl fmt::Debug for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fit")
            .field("law", &self.law.name())
            .field("params", &self.params)
            .field("objective", &self.objective)
            .field("agree", &format_args!("{} of {}", self.agree, self.starts))
            .field("condition", &self.condition)
            .field("noise", &self.noise)
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::student;

    #[test]
    fn student_quantiles() {
        for (degrees, want) in [(4.0, 2.1318), (10.0, 1.8125), (30.0, 1.6973), (1e9, 1.6449)] {
            let got = student(degrees);
            assert!((got - want).abs() < 2e-3, "{degrees}: {got}, not {want}");
        }
    }
}
