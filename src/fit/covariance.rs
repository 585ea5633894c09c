//! The covariance of fitted parameters under correlated noise.

use super::linalg::{self, Cholesky};
use super::noise::{self, Noise, Rows};
use super::objective::{Local, Objective};

/// Huber's own curvature vanishes where every residual is beyond δ; the share within δ is taken as no
/// less than this.
const LEAST_WITHIN: f64 = 0.05;

/// What the residuals say about the noise and the parameters.
pub(crate) struct Spread {
    /// In fitting coordinates, row-major.
    pub(crate) covariance: Vec<f64>,
    /// Diagonal of H⁻¹.
    pub(crate) naive: Vec<f64>,
    pub(crate) condition: f64,
    pub(crate) noise: Noise,
    pub(crate) degrees: f64,
}

impl Spread {
    /// The sandwich `H⁻¹·M·H⁻¹`: `H` the expected curvature of the objective, `M` the covariance of its
    /// gradient under correlated noise ([`noise`]), priors taken as what they say. Bounds count as what a
    /// uniform distribution between them knows, so that what the data cannot see stays finite.
    pub(crate) fn new(objective: &Objective, local: &Local) -> Spread {
        let coordinates = objective.coordinates;
        let p = coordinates.len();
        let n = local.residuals.len();
        let influence: Vec<f64> = local
            .residuals
            .iter()
            .map(|&z| objective.influence(z))
            .collect();
        let within = match objective.residual.is_robust() {
            true => local.residuals.iter().filter(|z| z.abs() <= 1.0).count() as f64 / n as f64,
            false => 1.0,
        }
        .max(LEAST_WITHIN);
        let mut known = coordinates.prior_precision();
        for j in 0..p {
            let width = coordinates.high[j] - coordinates.low[j];
            if known[j * p + j] == 0.0 && width.is_finite() && width > 0.0 {
                known[j * p + j] = 12.0 / (width * width);
            }
        }
        // Of ψ(z) ≈ within·(z at the truth + J·(u − truth)): the noise of the influence.
        let mut rows = Vec::new();
        let mut weighted = Vec::with_capacity(n * p);
        let mut first = 0;
        for curve in &objective.data.curves {
            let last = first + curve.losses.len();
            weighted.extend(
                local.jacobian[first * p..last * p]
                    .iter()
                    .map(|x| x * curve.weight),
            );
            rows.push(Rows {
                steps: &curve.path.steps,
                residuals: &influence[first..last],
                jacobian: &local.jacobian[first * p..last * p],
            });
            first = last;
        }
        let mean_square = influence.iter().map(|x| x * x).sum::<f64>() / n as f64;
        let worth = objective.worth();
        let prior: Vec<f64> = known.iter().map(|k| k * mean_square).collect();
        let estimate = noise::estimate(&rows, p, &prior);
        let (correlation, sigma2) = (estimate.mode, estimate.sigma2);
        let (mut meat, mut normal) = (vec![0.0; p * p], vec![0.0; p * p]);
        let (mut effective, mut trace, mut squares, mut first) = (0.0, 0.0, 0.0, 0);
        for curve in &objective.data.curves {
            let last = first + curve.losses.len();
            let steps = &curve.path.steps;
            let x = &weighted[first * p..last * p];
            estimate.sandwich(steps, x, p, &mut meat);
            for (row, weighted) in local.jacobian[first * p..last * p]
                .chunks_exact(p)
                .zip(x.chunks_exact(p))
            {
                for j in 0..p {
                    for k in 0..p {
                        normal[j * p + k] += weighted[j] * row[k];
                    }
                }
            }
            effective += correlation.worth(steps);
            trace += (1.0 + correlation.b) * steps.len() as f64;
            squares += correlation.squares(steps);
            first = last;
        }
        let free: Vec<usize> = (0..p).filter(|&j| !coordinates.is_fixed(j)).collect();
        let f = free.len();
        let pick = |m: &[f64]| -> Vec<f64> {
            free.iter()
                .flat_map(|&j| free.iter().map(move |&k| (j, k)))
                .map(|(j, k)| m[j * p + k])
                .collect()
        };
        let (normal, meat, known) = (pick(&normal), pick(&meat), pick(&known));
        let condition = condition(&normal, f);
        let curvature: Vec<f64> = normal
            .iter()
            .zip(&known)
            .map(|(x, k)| worth * within * x + k)
            .collect();
        let inner: Vec<f64> = meat
            .iter()
            .zip(&known)
            .map(|(m, k)| worth * worth * m + k)
            .collect();
        let (reduced, inverse) = sandwich(&curvature, &inner, f);
        let mut covariance = vec![0.0; p * p];
        let mut naive = vec![0.0; p];
        for (a, &j) in free.iter().enumerate() {
            naive[j] = inverse[a * f + a];
            for (b, &k) in free.iter().enumerate() {
                covariance[j * p + k] = reduced[a * f + b];
            }
        }
        let unit = objective.delta * beyond(&local.residuals, objective);
        Spread {
            covariance,
            naive,
            condition,
            noise: Noise {
                sd: unit * sigma2.sqrt(),
                correlated: correlation.a,
                correlation_steps: correlation.tau,
                offset_sd: unit * estimate.offset.sqrt(),
                effective_points: effective,
            },
            degrees: (trace * trace / squares - p as f64).max(3.0),
        }
    }
}

/// By how much residuals beyond δ are larger than their influence: the 68 % quantile of |z|, at least 1.
fn beyond(residuals: &[f64], objective: &Objective) -> f64 {
    if !objective.residual.is_robust() {
        return 1.0;
    }
    let mut sizes: Vec<f64> = residuals.iter().map(|z| z.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    sizes[(sizes.len() * 68 / 100).min(sizes.len() - 1)].max(1.0)
}

/// Ratio of the extreme eigenvalues of `m` scaled to a unit diagonal.
fn condition(m: &[f64], n: usize) -> f64 {
    let unit: Vec<f64> = (0..n).map(|j| m[j * n + j].sqrt()).collect();
    if unit.iter().any(|u| u.is_nan() || *u <= 0.0) {
        return f64::INFINITY;
    }
    let scaled: Vec<f64> = (0..n * n)
        .map(|i| m[i] / (unit[i / n] * unit[i % n]))
        .collect();
    let (values, _) = linalg::eigen(&scaled, n);
    match values.first().zip(values.last()) {
        Some((low, high)) if *low > 1e-15 * high => high / low,
        Some(_) => f64::INFINITY,
        None => 1.0,
    }
}

/// `H⁻¹·M·H⁻¹` and `H⁻¹`, with just enough added to the diagonal of `H` to invert it.
fn sandwich(h: &[f64], m: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut ridge = 0.0;
    loop {
        let mut raised = h.to_vec();
        for j in 0..n {
            raised[j * n + j] *= 1.0 + ridge;
            raised[j * n + j] += ridge * 1e-12;
        }
        if let Some(factor) = Cholesky::new(&raised, n) {
            let inverse = factor.inverse();
            let around = linalg::product(&linalg::product(&inverse, m, n), &inverse, n);
            return (around, inverse);
        }
        ridge = (ridge * 10.0f64).max(1e-13);
    }
}
