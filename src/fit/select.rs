//! Held-out scores on the fitting curves alone, and the choice of a law by them.

use super::data::FitData;
use super::engine::fit_data;
use super::fitted::Fit;
use super::options::FitOptions;
use super::score::{Scores, score};
use crate::curve::LossCurve;
use crate::error::{Error, Result};
use crate::law::Law;
use rayon::prelude::*;
use std::sync::Arc;

/// Of a single curve, this share of the steps at the end is held out …
const TAIL: f64 = 0.3;
/// … and, with one or two curves, this share of each as well: how a decay ends tells laws apart that
/// agree on how it begins.
const SHORT_TAIL: f64 = 0.1;
/// A held-out curve is scored where its LRs differ from those of every fitted curve, if that leaves at
/// least this many points.
const FEWEST_POINTS: usize = 5;
/// A law is passed over for a later one in the list only when its held-out error is this many times as large:
/// few folds say little, and the order says what held elsewhere.
const CLEARLY: f64 = 2.0;

/// What a law predicted of one curve that it had not seen.
#[derive(Clone, Debug)]
pub struct Fold {
    /// The curve held out, or whose tail was.
    pub curve: String,
    /// First step scored.
    pub from: u64,
    pub scores: Scores,
}

impl Fold {
    fn same_part(&self, other: &Fold) -> bool {
        self.curve == other.curve && self.from == other.from
    }
}

/// Held-out scores of one law.
#[derive(Clone, Debug)]
pub struct HeldOut {
    pub folds: Vec<Fold>,
    /// Curves that could not be held out, because the rest cannot be fitted; one sentence each.
    pub notes: Vec<String>,
    /// Unweighted mean over folds.
    pub mean: Scores,
}

/// A choice among laws.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Index into the laws given.
    pub chosen: usize,
    /// Of each law: the error that it was judged by, nats.
    pub errors: Vec<Option<f64>>,
    /// Of each law in the order given: held-out scores, or why there are none.
    pub held_out: Vec<std::result::Result<HeldOut, String>>,
}

/// One thing to hold out.
#[derive(Clone, Copy)]
enum Part {
    Curve(usize),
    /// The last share of the steps of a curve; the others are fitted whole.
    Tail(usize, f64),
}

/// Fits `law` to all curves but one, for each in turn, and scores the one left out from where its schedule
/// leaves those of the others. With only one or two curves the last 10 % of each are held out as well; of a
/// single curve also the last 30 %.
///
/// # Errors
/// Those of [`fit`](super::fit()), where nothing can be held out.
pub fn leave_one_out(
    law: &Arc<dyn Law>,
    curves: &[&LossCurve],
    options: &FitOptions,
) -> Result<HeldOut> {
    let mut parts: Vec<Part> = Vec::new();
    if curves.len() > 1 {
        parts.extend((0..curves.len()).map(Part::Curve));
    }
    if curves.len() < 3 {
        parts.extend((0..curves.len()).map(|i| Part::Tail(i, SHORT_TAIL)));
    }
    if curves.len() == 1 {
        parts.push(Part::Tail(0, TAIL));
    }
    let folds: Vec<Result<Fold>> = parts
        .par_iter()
        .map(|part| match *part {
            Part::Curve(out) => hold_out(law, curves, out, options),
            Part::Tail(out, share) => hold_out_tail(law, curves, out, share, options),
        })
        .collect();
    let mut held = Vec::new();
    let mut notes = Vec::new();
    let mut first_error = None;
    for fold in folds {
        match fold {
            Ok(fold) => held.push(fold),
            Err(error) => {
                notes.push(error.to_string());
                first_error.get_or_insert(error);
            }
        }
    }
    let scores: Vec<Scores> = held.iter().map(|fold| fold.scores).collect();
    match Scores::mean(&scores) {
        Some(mean) => Ok(HeldOut {
            folds: held,
            notes,
            mean,
        }),
        None => Err(first_error.unwrap_or_else(|| Error::input("there is no curve to hold out"))),
    }
}

fn hold_out(
    law: &Arc<dyn Law>,
    curves: &[&LossCurve],
    out: usize,
    options: &FitOptions,
) -> Result<Fold> {
    let rest: Vec<&LossCurve> = (0..curves.len())
        .filter(|&i| i != out)
        .map(|i| curves[i])
        .collect();
    let fit = fit_data(law, &Arc::new(FitData::new(&rest, options)?), options)?;
    let curve = curves[out];
    let shared = rest
        .iter()
        .map(|other| shared_steps(curve, other))
        .max()
        .unwrap_or(0);
    let own = curve.points.iter().filter(|p| p.step > shared).count();
    let from = match own >= FEWEST_POINTS {
        true => fit.from.max(shared + 1),
        false => fit.from,
    };
    scored(&fit, curve, from)
}

fn hold_out_tail(
    law: &Arc<dyn Law>,
    curves: &[&LossCurve],
    out: usize,
    share: f64,
    options: &FitOptions,
) -> Result<Fold> {
    let curve = curves[out];
    let last = curve.last_step();
    let cut = last - (last as f64 * share) as u64;
    let mut head = curve.clone();
    head.points.retain(|p| p.step <= cut);
    let mut rest = curves.to_vec();
    rest[out] = &head;
    let fit = fit_data(law, &Arc::new(FitData::new(&rest, options)?), options)?;
    scored(&fit, curve, cut + 1)
}

fn scored(fit: &Fit, curve: &LossCurve, from: u64) -> Result<Fold> {
    Ok(Fold {
        curve: curve.name.clone(),
        from,
        scores: score(&fit.predict_curve(curve), curve, from)?,
    })
}

/// Steps at the beginning of two runs that had the same LRs.
fn shared_steps(a: &LossCurve, b: &LossCurve) -> u64 {
    let same = |(x, y): &(&f64, &f64)| (*x - *y).abs() <= 1e-9 * x.max(**y);
    a.lrs.iter().zip(&b.lrs).take_while(same).count() as u64
}

/// Chooses by held-out errors on the fitting curves alone ([`leave_one_out`]). A law's error is the geometric mean
/// over folds of its mean absolute error, over those folds that every law could be fitted for. The first law
/// of the list whose error is less than twice the least is taken: give laws in order of preference.
/// Laws that cannot be fitted at all are passed over.
///
/// # Errors
/// Where no law can be fitted with anything held out: the first law's error.
pub fn choose(
    laws: &[Arc<dyn Law>],
    curves: &[&LossCurve],
    options: &FitOptions,
) -> Result<Choice> {
    let held_out: Vec<Result<HeldOut>> = laws
        .par_iter()
        .map(|law| leave_one_out(law, curves, options))
        .collect();
    let common = |fold: &Fold| {
        let has = |held: &HeldOut| held.folds.iter().any(|f| f.same_part(fold));
        held_out.iter().flatten().all(has)
    };
    let error = |held: &HeldOut| {
        let mut logs: Vec<f64> = held
            .folds
            .iter()
            .filter(|f| common(f))
            .map(|f| f.scores.mae.ln())
            .collect();
        if logs.is_empty() {
            logs = held.folds.iter().map(|f| f.scores.mae.ln()).collect();
        }
        (logs.iter().sum::<f64>() / logs.len() as f64).exp()
    };
    let errors: Vec<Option<f64>> = held_out
        .iter()
        .map(|h| h.as_ref().ok().map(error))
        .collect();
    let least = errors
        .iter()
        .flatten()
        .copied()
        .fold(f64::INFINITY, f64::min);
    match errors
        .iter()
        .position(|e| e.is_some_and(|e| e <= CLEARLY * least))
    {
        Some(chosen) => Ok(Choice {
            chosen,
            errors,
            held_out: held_out
                .into_iter()
                .map(|h| h.map_err(|e| e.to_string()))
                .collect(),
        }),
        None => Err(held_out
            .into_iter()
            .find_map(Result::err)
            .unwrap_or_else(|| Error::input("there is no law to choose from"))),
    }
}
