//! Held-out scores on the fitting curves alone, and the choice of a law by them.

use super::engine::fit;
use super::fitted::Fit;
use super::options::FitOptions;
use super::score::{Scores, score};
use crate::curve::LossCurve;
use crate::error::{Error, Result};
use crate::law::Law;
use rayon::prelude::*;
use std::sync::Arc;

/// Of a single curve, this share at the end is held out.
const TAIL: f64 = 0.3;
/// A held-out curve is scored where its LRs differ from those of every fitted curve, if that leaves at
/// least this many points.
const FEWEST_POINTS: usize = 5;
/// Laws whose held-out error is within this share of the least count as equally good.
const TIE: f64 = 0.1;

/// What a law predicted of one curve that it had not seen.
#[derive(Clone, Debug)]
pub struct Fold {
    /// The curve held out, or whose tail was.
    pub curve: String,
    /// First step scored.
    pub from: u64,
    pub scores: Scores,
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
    /// Of each law in the order given: held-out scores, or why there are none.
    pub held_out: Vec<std::result::Result<HeldOut, String>>,
}

/// Fits `law` to all curves but one, for each in turn, and scores the one left out from where its schedule
/// leaves those of the others. Of a single curve, the last 30 % of its steps are held out.
///
/// # Errors
/// Those of [`fit`], where no curve at all can be held out.
pub fn leave_one_out(
    law: &Arc<dyn Law>,
    curves: &[&LossCurve],
    options: &FitOptions,
) -> Result<HeldOut> {
    let folds: Vec<Result<Fold>> = match curves {
        [] => vec![Err(Error::input("there is no curve to hold out"))],
        [curve] => vec![hold_out_tail(law, curve, options)],
        _ => (0..curves.len())
            .into_par_iter()
            .map(|out| hold_out(law, curves, out, options))
            .collect(),
    };
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
        None => Err(first_error.expect("a fold failed")),
    }
}

fn hold_out(law: &Arc<dyn Law>, curves: &[&LossCurve], out: usize, options: &FitOptions) -> Result<Fold> {
    let rest: Vec<&LossCurve> = (0..curves.len()).filter(|&i| i != out).map(|i| curves[i]).collect();
    let fit = fit(law, &rest, options)?;
    let curve = curves[out];
    let shared = rest.iter().map(|other| shared_steps(curve, other)).max().unwrap_or(0);
    let own = curve.points.iter().filter(|p| p.step > shared).count();
    let from = match own >= FEWEST_POINTS {
        true => fit.from.max(shared + 1),
        false => fit.from,
    };
    scored(&fit, curve, from)
}

fn hold_out_tail(law: &Arc<dyn Law>, curve: &LossCurve, options: &FitOptions) -> Result<Fold> {
    let last = curve.last_step();
    let first = options.from.unwrap_or(curve.first_step()).min(last);
    let cut = last - ((last - first) as f64 * TAIL) as u64;
    let mut head = curve.clone();
    head.points.retain(|p| p.step <= cut);
    let fit = fit(law, &[&head], options)?;
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

/// The law that predicts left-out curves best, judged on the fitting curves alone: the least mean absolute
/// error over folds; among laws within 10 % of it, the one with the fewest parameters, then the
/// one given first. Laws that cannot be fitted are passed over; all are judged on the same folds.
///
/// # Errors
/// Where no law can be fitted with any curve left out: the first law's error.
pub fn choose(laws: &[Arc<dyn Law>], curves: &[&LossCurve], options: &FitOptions) -> Result<Choice> {
    let held_out: Vec<Result<HeldOut>> = laws
        .par_iter()
        .map(|law| leave_one_out(law, curves, options))
        .collect();
    // A law that could not be fitted without some curve has an easier set of folds: most folds win.
    let most = held_out.iter().flatten().map(|h| h.folds.len()).max();
    let errors: Vec<Option<f64>> = held_out
        .iter()
        .map(|held| match held {
            Ok(held) if Some(held.folds.len()) == most => Some(held.mean.mae),
            _ => None,
        })
        .collect();
    let least = errors.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    let chosen = (0..laws.len())
        .filter(|&i| errors[i].is_some_and(|e| e <= least * (1.0 + TIE)))
        .min_by_key(|&i| laws[i].parameters().len());
    match chosen {
        Some(chosen) => Ok(Choice {
            chosen,
            held_out: held_out.into_iter().map(|h| h.map_err(|e| e.to_string())).collect(),
        }),
        None => Err(held_out
            .into_iter()
            .find_map(Result::err)
            .unwrap_or_else(|| Error::input("there is no law to choose from"))),
    }
}
