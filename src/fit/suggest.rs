//! The cheapest extra run that would tell what the fitted curves do not.

use super::bootstrap::fitted_data;
use super::data::{FitCurve, path};
use super::fitted::Fit;
use super::linalg::{self, Cholesky};
use crate::error::Result;
use crate::schedule::count;

/// Points at which a candidate run is imagined to be measured, evenly over its new steps.
const POINTS: u64 = 12;
/// A cheaper candidate is preferred while it brings this share of what the best one brings.
const NEARLY: f64 = 0.8;
/// A run that brings less is not worth naming.
const WORTHWHILE: f64 = 0.1;
/// An LR within this share of the peak belongs to the plateau.
const PLATEAU: f64 = 1e-3;

/// An extra run, and what it would bring.
#[derive(Clone, Debug)]
pub struct Suggestion {
    /// What to run, as a phrase: `a cooldown to 0 over 2,400 steps, from step 24,000 of constant_24000`.
    pub what: String,
    /// Steps that have to be trained.
    pub new_steps: u64,
    /// By which share it would shrink the variance of predicted final losses.
    pub reduction: f64,
    /// LR of every step, the shared beginning included.
    pub lrs: Vec<f64>,
    /// Steps of warm-up among them.
    pub warmup: u64,
}

/// Of a short list of candidates, the cheapest that brings nearly what the best would; `None` where no run
/// would bring much.
///
/// Candidates branch off the longest plateau among the fitted curves (cooldowns to 0, drops to a tenth, the
/// plateau held on), or start anew (constant LR at the peak, at half, at double). Each is judged by the expected variance of
/// the predicted final losses of constant, warmup-stable-decay and cosine runs of the fitted length and of three times
/// it, after twelve measurements with the fit's own noise (a V-optimal design, from the Jacobian alone).
///
/// # Errors
/// For a fit that was read from a file.
pub fn suggest(fit: &Fit) -> Result<Option<Suggestion>> {
    let data = fitted_data(fit)?;
    let trunk = data
        .curves
        .iter()
        .max_by_key(|curve| plateau_end(curve))
        .expect("a fit has curves");
    let targets = targets(fit, trunk);
    let before = mean_variance(&fit.covariance, &targets);
    let mut all: Vec<Suggestion> = candidates(trunk);
    for candidate in &mut all {
        let after = updated(fit, candidate);
        candidate.reduction = 1.0 - mean_variance(&after, &targets) / before;
    }
    let best = all.iter().map(|c| c.reduction).fold(0.0, f64::max);
    if best < WORTHWHILE {
        return Ok(None);
    }
    Ok(all
        .into_iter()
        .filter(|c| c.reduction >= NEARLY * best)
        .min_by_key(|c| c.new_steps))
}

/// The last step that trained at the curve's peak, plus one.
fn plateau_end(curve: &FitCurve) -> u64 {
    let high = (1.0 - PLATEAU) * curve.peak_lr;
    curve
        .path
        .lrs
        .iter()
        .rposition(|lr| *lr >= high)
        .map_or(0, |s| s as u64 + 1)
}

fn candidates(trunk: &FitCurve) -> Vec<Suggestion> {
    let lrs = &trunk.path.lrs;
    let (run, peak, warmup) = (lrs.len() as u64, trunk.peak_lr, trunk.warmup);
    let end = plateau_end(trunk);
    // A curve without a plateau is left half-way.
    let (at, top) = match end >= run / 4 {
        true => (end, peak),
        false => (run / 2, lrs[(run / 2) as usize]),
    };
    let place = format!("from step {} of {}", count(at), trunk.name);
    let branch = |what: String, tail: Vec<f64>| Suggestion {
        what,
        new_steps: tail.len() as u64,
        reduction: 0.0,
        lrs: lrs[..at as usize].iter().copied().chain(tail).collect(),
        warmup,
    };
    let mut all = Vec::new();
    for percent in [5, 10, 20] {
        let length = (at * percent / 100).max(POINTS);
        let steps = count(length);
        all.push(branch(
            format!("a cooldown to 0 over {steps} steps, {place}"),
            (0..length)
                .map(|s| top * (1.0 - s as f64 / length as f64))
                .collect(),
        ));
        all.push(branch(
            format!("a drop to a tenth of the LR, held for {steps} steps, {place}"),
            vec![0.1 * top; length as usize],
        ));
    }
    let longer = (at / 2).max(POINTS);
    all.push(branch(
        format!("the same LR held for {} more steps, {place}", count(longer)),
        vec![top; longer as usize],
    ));
    for (share, words) in [
        (1.0, "the peak LR"),
        (0.5, "half the peak LR"),
        (2.0, "twice the peak LR"),
    ] {
        let length = (run / 2).max(2 * POINTS).max(2 * warmup);
        let lr = share * peak;
        all.push(Suggestion {
            what: format!(
                "a new run of {} steps at {words}, held constant",
                count(length)
            ),
            new_steps: length,
            reduction: 0.0,
            lrs: (0..length)
                .map(|s| {
                    if s < warmup {
                        lr * (s + 1) as f64 / warmup as f64
                    } else {
                        lr
                    }
                })
                .collect(),
            warmup,
        });
    }
    all
}

/// Gradients of the predicted final losses, one row a target.
fn targets(fit: &Fit, trunk: &FitCurve) -> Vec<f64> {
    let (peak, warmup) = (trunk.peak_lr, trunk.warmup);
    let mut rows = Vec::new();
    for times in [1, 3] {
        let steps = times * trunk.path.lrs.len() as u64;
        let shape = |of: &dyn Fn(f64) -> f64| -> Vec<f64> {
            (0..steps)
                .map(|s| match s < warmup {
                    true => peak * (s + 1) as f64 / warmup as f64,
                    false => peak * of((s - warmup) as f64 / (steps - warmup) as f64),
                })
                .collect()
        };
        let runs = [
            shape(&|_| 1.0),
            shape(&|x| (5.0 * (1.0 - x)).min(1.0)),
            shape(&|x| 0.1 + 0.45 * (1.0 + (std::f64::consts::PI * x).cos())),
        ];
        for lrs in runs {
            rows.extend(fit.gradient(&path(&lrs, warmup, &[steps])).1);
        }
    }
    rows
}

fn mean_variance(covariance: &[f64], rows: &[f64]) -> f64 {
    let p = (covariance.len() as f64).sqrt() as usize;
    let variances = rows
        .chunks_exact(p)
        .map(|row| linalg::quadratic(covariance, row));
    variances.sum::<f64>() / (rows.len() / p) as f64
}

/// The covariance after measuring `run`: `C − C·Jᵀ·(J·C·Jᵀ + R)⁻¹·J·C`.
fn updated(fit: &Fit, run: &Suggestion) -> Vec<f64> {
    let p = fit.params.len();
    let last = run.lrs.len() as u64;
    let steps: Vec<u64> = (1..=POINTS)
        .map(|i| last - run.new_steps + run.new_steps * i / POINTS)
        .collect();
    let n = steps.len();
    let (_, jacobian) = fit.gradient(&path(&run.lrs, run.warmup, &steps));
    let row = |i: usize| &jacobian[i * p..(i + 1) * p];
    // C·Jᵀ, one column a measurement, kept as rows.
    let carried: Vec<Vec<f64>> = (0..n)
        .map(|i| {
            (0..p)
                .map(|j| (0..p).map(|k| fit.covariance[j * p + k] * row(i)[k]).sum())
                .collect()
        })
        .collect();
    let noise = &fit.noise;
    let mut spread = vec![0.0; n * n];
    for i in 0..n {
        for k in 0..n {
            let gap = steps[i].abs_diff(steps[k]) as f64;
            let slow = noise.correlated * (-gap / noise.correlation_steps.max(1.0)).exp();
            let white = if i == k { 1.0 - noise.correlated } else { 0.0 };
            let known: f64 = row(i).iter().zip(&carried[k]).map(|(x, c)| x * c).sum();
            spread[i * n + k] = known + noise.sd.powi(2) * (slow + white) + noise.offset_sd.powi(2);
        }
        // Room for rounding where the noise is all but nil.
        spread[i * n + i] *= 1.0 + 1e-9;
    }
    let mut after = fit.covariance.clone();
    if let Some(factor) = Cholesky::new(&spread, n) {
        for j in 0..p {
            let mut column: Vec<f64> = carried.iter().map(|c| c[j]).collect();
            factor.solve(&mut column);
            for k in 0..p {
                after[j * p + k] -= (0..n).map(|i| column[i] * carried[i][k]).sum::<f64>();
            }
        }
    }
    after
}
