//! What residuals look like: white noise, correlated noise, and an offset a curve.
//!
//! Residuals of neighbouring points are alike (slow wandering of the run, and what the law misses), so `n` points
//! tell less than `n` independent ones. The model, in units of its point variance σ²:
//! `Cov(r_i, r_j) = (1−a)·[i=j] + a·exp(−|t_i−t_j|/τ) + b` within a curve, 0 between curves.
//! `a`, `τ` and `b` are estimated by restricted maximum likelihood (Patterson and Thompson 1971), which allows for
//! what the fitted parameters have swallowed; the exponential part is filtered in O(n) (Kalman), the
//! offset added by Woodbury's identity.

use super::linalg::Cholesky;
use serde::{Deserialize, Serialize};

/// How far observed losses lie from the law: relative under a logarithmic residual, in nats otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// Standard deviation of one point around its curve's level.
    pub sd: f64,
    /// Share of that variance that neighbouring points have in common, `a`.
    pub correlated: f64,
    /// Steps after which that correlation has fallen to 1/e, `τ`.
    pub correlation_steps: f64,
    /// Standard deviation of a whole curve's offset; 0 where one curve was fitted, which cannot show it.
    pub offset_sd: f64,
    /// How many independent points the fitted ones are worth, for a mean.
    pub effective_points: f64,
}

/// The correlation of points of one curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Correlation {
    pub(crate) a: f64,
    pub(crate) tau: f64,
    /// Variance of the offset over σ².
    pub(crate) b: f64,
}

/// Residuals of one curve with its rows of the Jacobian.
pub(crate) struct Rows<'a> {
    pub(crate) steps: &'a [f64],
    pub(crate) residuals: &'a [f64],
    /// Row-major, points × parameters.
    pub(crate) jacobian: &'a [f64],
}

const SHARES: [f64; 10] = [0.0, 0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 0.96, 0.99];
const OFFSETS: [f64; 8] = [0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2];

/// The most likely correlation and the variance σ². `p` columns a row; `prior` is the precision that
/// priors add to the parameters, in units of `1/σ²`, row-major.
pub(crate) fn estimate(curves: &[Rows], p: usize, prior: &[f64]) -> (Correlation, f64) {
    let n: usize = curves.iter().map(|c| c.residuals.len()).sum();
    let white = Correlation {
        a: 0.0,
        tau: 1.0,
        b: 0.0,
    };
    let gap = median_gap(curves);
    let span = curves
        .iter()
        .filter_map(|c| Some(c.steps.last()? - c.steps.first()?))
        .fold(0.0, f64::max);
    let mut best = likelihood(curves, p, prior, white, &[0.0]);
    if n < p + 8 || gap <= 0.0 {
        return (white, best.1);
    }
    let offsets = if curves.len() > 1 {
        &OFFSETS[..]
    } else {
        &OFFSETS[..1]
    };
    let mut chosen = white;
    let mut tau = gap;
    let mut taus = Vec::new();
    while tau <= 2.0 * span {
        taus.push(tau);
        tau *= 2.0;
    }
    for &a in &SHARES {
        for &tau in &taus {
            let trial = Correlation { a, tau, b: 0.0 };
            let found = likelihood(curves, p, prior, trial, offsets);
            if found.0 > best.0 + 1e-9 {
                best = found;
                chosen = Correlation {
                    b: found.2,
                    ..trial
                };
            }
            if a == 0.0 {
                break;
            }
        }
    }
    (chosen, best.1)
}

fn median_gap(curves: &[Rows]) -> f64 {
    let mut gaps: Vec<f64> = curves
        .iter()
        .flat_map(|c| c.steps.windows(2).map(|w| w[1] - w[0]))
        .collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).copied().unwrap_or(0.0)
}

/// Restricted log-likelihood, σ² and offset for the best of `offsets`.
fn likelihood(
    curves: &[Rows],
    p: usize,
    prior: &[f64],
    correlation: Correlation,
    offsets: &[f64],
) -> (f64, f64, f64) {
    // Columns: the parameters, then the residual.
    let q = p + 1;
    let mut normal = vec![0.0; q * q];
    // Of each curve: 1ᵀV⁻¹1 and 1ᵀV⁻¹X.
    let mut ones: Vec<(f64, Vec<f64>)> = Vec::with_capacity(curves.len());
    let (mut ln_det, mut n) = (0.0, 0);
    let mut whitened = vec![0.0; q + 1];
    let mut level = vec![0.0; q + 1];
    for curve in curves {
        level.fill(0.0);
        let mut variance = correlation.a;
        let mut one = (0.0, vec![0.0; q]);
        for i in 0..curve.residuals.len() {
            if i > 0 {
                let keep = (-(curve.steps[i] - curve.steps[i - 1]) / correlation.tau).exp();
                level.iter_mut().for_each(|m| *m *= keep);
                variance = keep * keep * variance + correlation.a * (1.0 - keep * keep);
            }
            let f = variance + 1.0 - correlation.a;
            let gain = variance / f;
            let scale = 1.0 / f.sqrt();
            for c in 0..=q {
                let y = match c {
                    _ if c < p => curve.jacobian[i * p + c],
                    _ if c == p => curve.residuals[i],
                    _ => 1.0,
                };
                let innovation = y - level[c];
                level[c] += gain * innovation;
                whitened[c] = innovation * scale;
            }
            variance *= 1.0 - gain;
            ln_det += f.ln();
            for j in 0..q {
                for k in 0..=j {
                    normal[j * q + k] += whitened[j] * whitened[k];
                }
                one.1[j] += whitened[q] * whitened[j];
            }
            one.0 += whitened[q] * whitened[q];
            n += 1;
        }
        ones.push(one);
    }
    let mut best = (f64::NEG_INFINITY, 0.0, 0.0);
    for &b in offsets {
        let mut with_offset = normal.clone();
        let mut ln_det = ln_det;
        for (s, z) in &ones {
            ln_det += (b * s).ln_1p();
            let share = b / (1.0 + b * s);
            for j in 0..q {
                for k in 0..=j {
                    with_offset[j * q + k] -= share * z[j] * z[k];
                }
            }
        }
        if let Some((fit, sigma2)) = restricted(&with_offset, p, prior, n) {
            let value = fit - 0.5 * ln_det;
            if value > best.0 {
                best = (value, sigma2, b);
            }
        }
    }
    best
}

/// The part of the restricted likelihood that depends on the normal matrix `[X r]ᵀV⁻¹[X r]` (lower triangle).
fn restricted(normal: &[f64], p: usize, prior: &[f64], n: usize) -> Option<(f64, f64)> {
    let q = p + 1;
    let unit: Vec<f64> = (0..p)
        .map(|j| (normal[j * q + j] + prior[j * p + j]).sqrt().max(1e-150))
        .collect();
    let mut matrix = vec![0.0; p * p];
    for j in 0..p {
        for k in 0..=j {
            let entry = (normal[j * q + k] + prior[j * p + k]) / (unit[j] * unit[k]);
            matrix[j * p + k] = entry;
            matrix[k * p + j] = entry;
        }
        matrix[j * p + j] += 1e-12;
    }
    let factor = Cholesky::new(&matrix, p)?;
    let mut solved: Vec<f64> = (0..p).map(|j| normal[p * q + j] / unit[j]).collect();
    let right = solved.clone();
    factor.solve(&mut solved);
    let explained: f64 = solved.iter().zip(&right).map(|(s, r)| s * r).sum();
    let left = (normal[p * q + p] - explained)
        .max(1e-12 * normal[p * q + p])
        .max(1e-300);
    let degrees = n.saturating_sub(p).max(1) as f64;
    let sigma2 = left / degrees;
    let ln_det = factor.ln_determinant() + 2.0 * unit.iter().map(|u| u.ln()).sum::<f64>();
    Some((-0.5 * (degrees * sigma2.ln() + ln_det), sigma2))
}

impl Correlation {
    /// Correlation between two points of a curve, `gap` steps apart, as a multiple of σ².
    pub(crate) fn between(&self, gap: f64, same: bool) -> f64 {
        let white = if same { 1.0 - self.a } else { 0.0 };
        white + self.a * (-gap.abs() / self.tau).exp() + self.b
    }

    /// `Xᵀ·V·X` for rows `X` (row-major, `p` columns) of one curve, in O(n·p) by running sums.
    pub(crate) fn sandwich(&self, steps: &[f64], x: &[f64], p: usize, into: &mut [f64]) {
        let mut carried = vec![0.0; p];
        let mut total = vec![0.0; p];
        for i in 0..steps.len() {
            let row = &x[i * p..(i + 1) * p];
            if i > 0 {
                let keep = (-(steps[i] - steps[i - 1]) / self.tau).exp();
                carried.iter_mut().for_each(|c| *c *= keep);
            }
            for j in 0..p {
                for k in 0..p {
                    into[j * p + k] +=
                        row[j] * row[k] + self.a * (row[j] * carried[k] + carried[j] * row[k]);
                }
            }
            for j in 0..p {
                carried[j] += row[j];
                total[j] += row[j];
            }
        }
        for j in 0..p {
            for k in 0..p {
                into[j * p + k] += self.b * total[j] * total[k];
            }
        }
    }

    /// `Σ_ij Cov(i, j)²` over the points of a curve, offset left out.
    pub(crate) fn squares(&self, steps: &[f64]) -> f64 {
        // exp(−gap/τ)² is a correlation of half the time.
        let squared = Correlation {
            a: self.a * self.a,
            tau: 0.5 * self.tau,
            b: 0.0,
        };
        let mut sum = [0.0];
        squared.sandwich(steps, &vec![1.0; steps.len()], 1, &mut sum);
        sum[0]
    }

    /// How many independent points are worth as much for a mean as the points at `steps` are.
    pub(crate) fn worth(&self, steps: &[f64]) -> f64 {
        let ones = vec![1.0; steps.len()];
        let mut sum = [0.0];
        Correlation { b: 0.0, ..*self }.sandwich(steps, &ones, 1, &mut sum);
        (steps.len() * steps.len()) as f64 / sum[0]
    }
}
