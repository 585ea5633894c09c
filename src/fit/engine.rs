//! From data to a [`Fit`]: search, covariance, noise.

use super::coordinates::Coordinates;
use super::data::FitData;
use super::fitted::{Fit, FittedCurve, FittedParameter, student};
use super::linalg::{self, Cholesky};
use super::multistart::{self, Search};
use super::noise::{self, Correlation, Noise, Rows};
use super::objective::{Local, Objective};
use super::options::{FitOptions, S1Offset};
use super::suggest::suggest;
use super::{identify, optimise::Minimum};
use crate::curve::{LossCurve, WarmUp};
use crate::error::{Error, Result};
use crate::law::{self, Law, LawOptions, Prior};
use crate::schedule::count;
use std::sync::Arc;
use std::time::Instant;

/// Points needed beyond one a parameter.
const SPARE_POINTS: usize = 3;
/// Huber's own curvature vanishes where every residual is beyond δ; the share within δ is taken as no
/// less than this.
const LEAST_WITHIN: f64 = 0.05;

/// The law called `name`, with a free S₁ offset where [`FitOptions::s1_offset`] and the curves ask for one.
///
/// # Errors
/// Those of [`law::by_name`].
pub fn law_for(
    name: &str,
    setup: &LawOptions,
    curves: &[&LossCurve],
    options: &FitOptions,
) -> Result<Arc<dyn Law>> {
    let s1_offset = match options.s1_offset {
        S1Offset::Auto => curves.iter().any(|c| c.warmup == WarmUp::Unlogged),
        S1Offset::Free => true,
        S1Offset::Fixed => false,
    };
    let setup = LawOptions {
        s1_offset: setup.s1_offset || s1_offset,
        ..setup.clone()
    };
    Ok(law::by_name(name, &setup)?.into())
}

/// Fits `law` to all of `curves` together.
///
/// # Errors
/// One sentence, as [`FitData::new`]; and where there are fewer points than the law needs, where the LR
/// never changes but the law has parameters that only changes can tell, and where the law predicts
/// nothing finite from any start.
pub fn fit(law: &Arc<dyn Law>, curves: &[&LossCurve], options: &FitOptions) -> Result<Fit> {
    let began = Instant::now();
    let data = Arc::new(FitData::new(curves, options)?);
    let mut fit = fit_data(law, &data, options)?;
    if fit.lacking
        && let Some(run) = suggest(&fit)?
    {
        fit.notes.push(format!(
            "the cheapest run that would tell more: {} ({:.0} % less variance in predicted final losses for {} new steps)",
            run.what,
            100.0 * run.reduction,
            count(run.new_steps)
        ));
    }
    fit.seconds = began.elapsed().as_secs_f64();
    Ok(fit)
}

/// As [`fit`], on data already selected, and without the suggestion of an extra run.
pub(crate) fn fit_data(
    law: &Arc<dyn Law>,
    data: &Arc<FitData>,
    options: &FitOptions,
) -> Result<Fit> {
    let priors = match options.priors {
        true => priors(law, data, options)?,
        false => Vec::new(),
    };
    let coordinates = Coordinates::new(&**law, &data.scales, priors);
    let needed = coordinates.len() + SPARE_POINTS;
    if data.points() < needed {
        return Err(Error::input(format!(
            "the law {} has {} parameters and needs at least {needed} points, but only {} are left from step {} on: \
             fit from an earlier step (--from), with a smaller bin (--bin), or with more curves",
            law.name(),
            coordinates.len(),
            data.points(),
            data.from
        )));
    }
    identify::refuse_blind_parameters(&**law, law.name(), data, &coordinates)?;
    let search = multistart::search(&**law, data, &coordinates, options);
    if !search.best.value.is_finite() {
        return Err(Error::input(format!(
            "the law {} gives no finite loss on these curves from any of its {} starts: check the LRs and the losses",
            law.name(),
            search.starts
        )));
    }
    Ok(finish(law, data, coordinates, options, &search))
}

/// The law's priors, after fitting the simpler law that they rest on.
fn priors(law: &Arc<dyn Law>, data: &FitData, options: &FitOptions) -> Result<Vec<Prior>> {
    let Some(prelude) = law.prelude() else {
        return Ok(law.priors(&data.scales, &[]));
    };
    let coordinates = Coordinates::new(&*prelude, &data.scales, Vec::new());
    if data.points() < coordinates.len() + SPARE_POINTS {
        return Ok(Vec::new());
    }
    identify::refuse_blind_parameters(&*prelude, law.name(), data, &coordinates)?;
    let found = multistart::search(&*prelude, data, &coordinates, options).best;
    Ok(law.priors(&data.scales, &coordinates.parameters(&found.u)))
}

/// Everything about a fit that follows from where the search ended.
pub(crate) fn finish(
    law: &Arc<dyn Law>,
    data: &Arc<FitData>,
    coordinates: Coordinates,
    options: &FitOptions,
    search: &Search,
) -> Fit {
    let Minimum { u, converged, .. } = &search.best;
    let p = u.len();
    let objective = Objective {
        law: &**law,
        data,
        coordinates: &coordinates,
        residual: options.residual,
        delta: options.delta,
    };
    let mut local = Local::default();
    objective.linearise(u, &mut local);
    let spread = Spread::new(&objective, &local);
    let factor = student(spread.degrees);
    let values = coordinates.parameters(u);
    let params = law
        .parameters()
        .iter()
        .enumerate()
        .map(|(j, parameter)| {
            let half = factor * spread.covariance[j * p + j].max(0.0).sqrt();
            let at = |x: f64| {
                let x = x.max(coordinates.low[j]).min(coordinates.high[j]);
                if parameter.log { x.exp() } else { x }
            };
            FittedParameter {
                value: values[j],
                low: at(u[j] - half).min(values[j]),
                high: at(u[j] + half).max(values[j]),
                unit: parameter.unit.to_string(),
                at_bound: coordinates.at_bound(u, j),
            }
        })
        .collect();
    let mut fit = Fit {
        law: Arc::clone(law),
        params,
        objective: local.misfit * options.delta.powi(2),
        starts: search.starts,
        agree: search.agree,
        condition: spread.condition,
        curves: data
            .curves
            .iter()
            .map(|curve| FittedCurve {
                name: curve.name.clone(),
                points: curve.losses.len(),
                bin: curve.bin,
                peak_lr: curve.peak_lr,
                warmup: curve.warmup,
                steps: curve.path.steps.last().map_or(0, |&step| step as u64),
            })
            .collect(),
        noise: spread.noise,
        covariance: spread.covariance,
        scales: data.scales,
        options: options.clone(),
        from: data.from,
        notes: Vec::new(),
        lacking: false,
        seconds: 0.0,
        degrees: spread.degrees,
        naive_variances: spread.naive,
        correlation: spread.correlation,
        data: Some(Arc::clone(data)),
        coordinates,
    };
    if !converged {
        fit.notes.push(format!(
            "the optimiser stopped after {} iterations before it had converged: the parameters are a good fit, not the best one",
            search.best.iterations
        ));
    }
    let (notes, lacking) = identify::notes(&fit, data);
    fit.notes.extend(notes);
    fit.lacking = lacking;
    fit
}

/// What the residuals say about the noise and the parameters.
struct Spread {
    covariance: Vec<f64>,
    naive: Vec<f64>,
    condition: f64,
    noise: Noise,
    correlation: Correlation,
    degrees: f64,
}

impl Spread {
    /// The sandwich `H⁻¹·M·H⁻¹`: `H` the expected curvature of the objective, `M` the covariance of its
    /// gradient under correlated noise ([`noise`]), priors taken as what they say. Bounds count as what a
    /// uniform distribution between them knows, so that what the data cannot see stays finite.
    fn new(objective: &Objective, local: &Local) -> Spread {
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
            correlation,
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
