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

/// Power of the likelihood in the average, and prior odds of any one offset against none. At power 1 and even
/// odds, intervals of synthetic fits cover 95–100 %, because long correlations are ten times as many on the grid
/// as are plausible; the mode alone covers 80–90 %. With these, 86–97 %, most of it near 92 %.
const SHARPNESS: f64 = 3.0;
const OFFSET_ODDS: f64 = 0.1;

/// What the residuals say about the noise: the plausible values of `(a, τ, b)`, weighted by their restricted
/// likelihood. Averages over them are what counts, because few curves tell slow noise only roughly.
pub(crate) struct Estimate {
    /// The likeliest.
    pub(crate) mode: Correlation,
    /// Mean of σ².
    pub(crate) sigma2: f64,
    /// Means of `σ²·(1−a)` and `σ²·b`, and of `σ²·a` for each τ.
    pub(crate) white: f64,
    pub(crate) offset: f64,
    pub(crate) slow: Vec<(f64, f64)>,
}

/// `p` columns a row; `prior` is the precision that priors add to the parameters, in units of `1/σ²`, row-major.
pub(crate) fn estimate(curves: &[Rows], p: usize, prior: &[f64]) -> Estimate {
    let n: usize = curves.iter().map(|c| c.residuals.len()).sum();
    let gap = median_gap(curves);
    let span = curves
        .iter()
        .filter_map(|c| Some(c.steps.last()? - c.steps.first()?))
        .fold(0.0, f64::max);
    let enough = n >= p + 8 && gap > 0.0;
    let offsets = if curves.len() > 1 && enough {
        &OFFSETS[..]
    } else {
        &OFFSETS[..1]
    };
    let taus: Vec<f64> = match enough {
        true => std::iter::successors(Some(gap), |tau| Some(2.0 * tau))
            .take_while(|tau| *tau <= 2.0 * span)
            .collect(),
        false => Vec::new(),
    };
    // Of each grid point: its log-likelihood, σ², a, τ and b.
    let mut grid: Vec<(f64, f64, Correlation)> = Vec::new();
    let mut add = |a, tau| {
        let trial = Correlation { a, tau, b: 0.0 };
        for (ln, sigma2, b) in likelihood(curves, p, prior, trial, offsets) {
            grid.push((ln, sigma2, Correlation { b, ..trial }));
        }
    };
    add(0.0, gap.max(1.0));
    for &a in &SHARES[1..] {
        for &tau in &taus {
            add(a, tau);
        }
    }
    // White noise has one grid point where every share has one a τ: as many in weight.
    let weight = |ln: f64, c: &Correlation| {
        let copies = if c.a == 0.0 {
            taus.len().max(1) as f64
        } else {
            1.0
        };
        let doubt = if c.b > 0.0 { OFFSET_ODDS } else { 1.0 };
        copies * doubt * (SHARPNESS * ln).exp()
    };
    let best = grid.iter().map(|g| g.0).fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = grid.iter().map(|g| weight(g.0 - best, &g.2)).sum();
    let mode = grid.iter().max_by(|x, y| x.0.total_cmp(&y.0)).map(|g| g.2);
    let mut estimate = Estimate {
        mode: mode.unwrap_or(Correlation {
            a: 0.0,
            tau: 1.0,
            b: 0.0,
        }),
        sigma2: 0.0,
        white: 0.0,
        offset: 0.0,
        slow: taus.iter().map(|&tau| (tau, 0.0)).collect(),
    };
    for (ln, sigma2, c) in &grid {
        let share = weight(ln - best, c) / total * sigma2;
        estimate.sigma2 += share;
        estimate.white += share * (1.0 - c.a);
        estimate.offset += share * c.b;
        if let Some(slow) = estimate
            .slow
            .iter_mut()
            .find(|slow| slow.0 == c.tau && c.a > 0.0)
        {
            slow.1 += share * c.a;
        }
    }
    estimate
}

impl Estimate {
    /// Adds `Xᵀ·V·X` of one curve, averaged over what is plausible: rows `x`, row-major with `p` columns.
    pub(crate) fn sandwich(&self, steps: &[f64], x: &[f64], p: usize, into: &mut [f64]) {
        let mut add = |share: f64, c: Correlation| {
            if share > 1e-9 * self.sigma2 {
                let mut part = vec![0.0; p * p];
                c.sandwich(steps, x, p, &mut part);
                into.iter_mut()
                    .zip(part)
                    .for_each(|(sum, part)| *sum += share * part);
            }
        };
        add(
            self.white,
            Correlation {
                a: 0.0,
                tau: 1.0,
                b: 0.0,
            },
        );
        for &(tau, share) in &self.slow {
            add(
                share,
                Correlation {
                    a: 1.0,
                    tau,
                    b: 0.0,
                },
            );
        }
        if self.offset > 0.0 {
            let mut sums = vec![0.0; p];
            for row in x.chunks_exact(p) {
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            for j in 0..p {
                for k in 0..p {
                    into[j * p + k] += self.offset * sums[j] * sums[k];
                }
            }
        }
    }
}

fn median_gap(curves: &[Rows]) -> f64 {
    let mut gaps: Vec<f64> = curves
        .iter()
        .flat_map(|c| c.steps.windows(2).map(|w| w[1] - w[0]))
        .collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).copied().unwrap_or(0.0)
}

/// Restricted log-likelihood and σ² for each of `offsets`, with that offset.
fn likelihood(
    curves: &[Rows],
    p: usize,
    prior: &[f64],
    correlation: Correlation,
    offsets: &[f64],
) -> Vec<(f64, f64, f64)> {
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
    let mut found = Vec::with_capacity(offsets.len());
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
            found.push((fit - 0.5 * ln_det, sigma2, b));
        }
    }
    found
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
    /// `Xᵀ·V·X` for rows `X` (row-major, `p` columns) of one curve, without the offset, by running sums.
    pub(crate) fn sandwich(&self, steps: &[f64], x: &[f64], p: usize, into: &mut [f64]) {
        let mut carried = vec![0.0; p];
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
            }
        }
    }

    /// `Σ_ij Cov(i, j)²` over the points of a curve.
    pub(crate) fn squares(&self, steps: &[f64]) -> f64 {
        // (ρ + b)² = ρ² + 2bρ + b², and exp(−gap/τ)² is a correlation of half the time.
        let sum = |c: Correlation| {
            let mut sum = [0.0];
            c.sandwich(steps, &vec![1.0; steps.len()], 1, &mut sum);
            sum[0]
        };
        let squared = Correlation {
            a: self.a * self.a,
            tau: 0.5 * self.tau,
            b: 0.0,
        };
        let n = steps.len() as f64;
        sum(squared) + 2.0 * self.b * sum(*self) + self.b * self.b * n * n
    }

    /// How many independent points are worth as much for a mean as the points at `steps` are.
    pub(crate) fn worth(&self, steps: &[f64]) -> f64 {
        let ones = vec![1.0; steps.len()];
        let mut sum = [0.0];
        self.sandwich(steps, &ones, 1, &mut sum);
        (steps.len() * steps.len()) as f64 / sum[0]
    }
}
