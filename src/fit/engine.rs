//! From data to a [`Fit`]: search, covariance, noise.

use super::coordinates::Coordinates;
use super::covariance::Spread;
use super::data::{FitCurve, FitData};
use super::falls;
use super::fitted::{DataOnly, Fit, FittedCurve, FittedLoss, FittedParameter, student};
use super::identify;
use super::multistart::{self, Search};
use super::objective::{Local, Objective};
use super::optimise::{Limits, Minimum, minimise};
use super::options::{FitOptions, S1Offset};
use super::score::Scores;
use super::suggest::suggest;
use crate::curve::{LossCurve, WarmUp};
use crate::error::{Error, Result};
use crate::law::{self, Law, LawOptions, Prior};
use crate::schedule::count;
use std::sync::Arc;
use std::time::Instant;

/// Without priors the last digits of the minimum do not matter: it only says where the data pull.
const DATA_ONLY: Limits = Limits {
    iterations: 100,
    tolerance: 1e-6,
};
/// Points needed beyond one a parameter.
const SPARE_POINTS: usize = 3;

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

/// As [`fit`], from one start alone: the parameters of an earlier fit to fewer points of the same curves. Takes a tenth
/// of the time, and finds the minimum that the earlier fit would have moved to.
///
/// # Errors
/// As [`fit`]; a number of parameters that is not the law's.
pub fn refit(
    law: &Arc<dyn Law>,
    curves: &[&LossCurve],
    options: &FitOptions,
    start: &[f64],
) -> Result<Fit> {
    let began = Instant::now();
    if start.len() != law.parameters().len() {
        return Err(Error::input(format!(
            "the law {} has {} parameters, and the fit to go on from has {}",
            law.name(),
            law.parameters().len(),
            start.len()
        )));
    }
    let data = Arc::new(FitData::new(curves, options)?);
    let mut fit = search_data(law, &data, options, Some(start))?;
    fit.seconds = began.elapsed().as_secs_f64();
    Ok(fit)
}

/// As [`fit`], on data already selected, and without the suggestion of an extra run.
pub(crate) fn fit_data(
    law: &Arc<dyn Law>,
    data: &Arc<FitData>,
    options: &FitOptions,
) -> Result<Fit> {
    search_data(law, data, options, None)
}

fn search_data(
    law: &Arc<dyn Law>,
    data: &Arc<FitData>,
    options: &FitOptions,
    start: Option<&[f64]>,
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
    let search = match start {
        Some(start) => multistart::near(&**law, data, &coordinates, options, start),
        None => multistart::search(&**law, data, &coordinates, options),
    };
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
    let data_only = data_only(&objective, u);
    let values = coordinates.parameters(u);
    let params = law
        .parameters()
        .iter()
        .enumerate()
        .map(|(j, parameter)| {
            let (centre, variance, degrees) = match &data_only {
                Some(own) => (own.u[j], own.covariance[j * p + j], own.degrees),
                None => (u[j], spread.covariance[j * p + j], spread.degrees),
            };
            let half = student(degrees) * variance.max(0.0).sqrt();
            let at = |x: f64| {
                let x = x.max(coordinates.low[j]).min(coordinates.high[j]);
                if parameter.log { x.exp() } else { x }
            };
            FittedParameter {
                value: values[j],
                low: at(centre - half).min(values[j]),
                high: at(centre + half).max(values[j]),
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
                lowest_lr: Some(falls::lowest(&curve.path)),
                steepest: Some(falls::steepest(&curve.path)),
                loss: FittedLoss::of(curve.kind),
                r2: r2(&**law, &values, curve, &data.curves),
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
        data_only,
        naive_variances: spread.naive,
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

/// R² over the fitted points of one curve, where it is a number: a single point has none. Parts of one run count
/// together: a few noisy losses of a cooldown alone have no R² to speak of, however well the law describes the run.
fn r2(law: &dyn Law, parameters: &[f64], curve: &FitCurve, all: &[FitCurve]) -> Option<f64> {
    let (mut said, mut measured) = (Vec::new(), Vec::new());
    for part in all.iter().filter(|other| curve.is_of_one_run(other)) {
        let mut own = vec![0.0; part.losses.len()];
        law.evaluate(&part.path, parameters, &mut own, None);
        said.extend(own);
        measured.extend_from_slice(&part.losses);
    }
    let r2 = Scores::of(&said, &measured)?.r2;
    r2.is_finite().then_some(r2)
}

/// What the same curves say without the priors, starting from where they led.
fn data_only(objective: &Objective, u: &[f64]) -> Option<DataOnly> {
    if objective.coordinates.priors.is_empty() {
        return None;
    }
    let free = Coordinates {
        priors: Vec::new(),
        ..objective.coordinates.clone()
    };
    let objective = Objective {
        coordinates: &free,
        ..*objective
    };
    let u = minimise(&objective, u, DATA_ONLY).u;
    let mut local = Local::default();
    objective.linearise(&u, &mut local);
    let spread = Spread::new(&objective, &local);
    Some(DataOnly {
        u,
        covariance: spread.covariance,
        degrees: spread.degrees,
    })
}
