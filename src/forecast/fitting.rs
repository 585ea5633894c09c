//! From what a run has logged to a law, and from the law to where the run will end.

use super::{Probe, Seen, Subject};
use crate::curve::{LossCurve, LossKind, LrOrigin, Point, WarmUp};
use crate::error::{Error, Result};
use crate::fit::{self, Fit, FitOptions, S1Offset, Weights};
use serde::{Deserialize, Serialize};

/// Held-out losses of the run from which these are fitted and not training losses, and of both together.
const FEWEST_OWN: usize = 5;
const FEWEST_HELD_OUT: usize = 20;
/// Training losses are fitted as means of as many steps as leave this many of a run so far.
const BINS: u64 = 100;
/// All of the law's starts are tried again once a run is so many times as long.
const SEARCH_AGAIN: f64 = 1.5;
/// Cooldowns from here, as shares of the steps they would end at.
const COOLDOWNS: [f64; 2] = [0.1, 0.2];
/// A step below this share of the peak is of a cooldown, which is fitted by itself if it has so many points.
const HELD: f64 = 0.99;
const FEWEST_OF_PHASE: usize = 3;
/// Held-out losses after the law's first step without which nobody knows their noise.
const FEWEST_FOR_NOISE: usize = 3;
/// Name of the run's own curve, and of its phases.
const OWN: &str = "this run";

/// A law fitted to a run so far, and what follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fitted {
    /// Completed steps whose losses it knows.
    pub fitted_to: u64,
    /// Completed steps when all of the law's starts were last tried.
    pub searched_at: u64,
    pub law: String,
    /// In the order of the law.
    pub parameters: Vec<f64>,
    /// Which losses were fitted: `held-out` or `training`.
    pub losses: Losses,
    /// Predicted held-out loss after the run's last step, nats a token, and the interval that holds it nine times in ten
    /// if the law is right; cut to what a loss can be, between 0 and the highest that the run has had.
    pub forecast: f64,
    pub low: f64,
    pub high: f64,
    /// Whether the law explains this run's losses as fitted ([`Fit::describes`]); otherwise nothing is decided by it.
    pub describes: bool,
    /// What the run would end at if it cooled down from step `fitted_to`.
    pub cooldown_now: Vec<CooldownNow>,
    /// Standard deviation of a held-out loss about the law, nats.
    pub noise: f64,
    /// What held-out losses lie above the law of training losses (0 where held-out losses were fitted), and training losses
    /// above the fitted law.
    pub held_out_offset: f64,
    pub training_offset: f64,
    /// Standard deviation of one step's loss about the law, nats.
    pub training_noise: f64,
}

/// What a law was fitted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Losses {
    HeldOut,
    Training,
}

/// A cooldown that begins with the next step, linear to 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CooldownNow {
    /// Of the steps it would end at.
    pub fraction: f64,
    pub steps: u64,
    /// Predicted held-out loss at its end, and the interval that holds it nine times in ten if the law is right.
    pub loss: f64,
    pub low: f64,
    pub high: f64,
}

/// Fits the law to what was seen, and to the probes; from `before`'s parameters, where there is such a fit of the same
/// losses. The fit itself is for `law.json`.
///
/// # Errors
/// One sentence on why there is no forecast yet: too few losses, or LRs that have not changed, so that nobody
/// can say what a cooldown would do (a probe with a decay can).
pub fn fit(subject: &Subject, seen: &Seen, before: Option<&Fitted>) -> Result<(Fit, Fitted)> {
    let losses = which(subject, seen);
    let own = curve(subject, seen, losses);
    let probes = subject.probes.iter().filter_map(|p| match losses {
        Losses::HeldOut => p.held_out.as_ref(),
        Losses::Training => Some(&p.training),
    });
    let phases: Vec<LossCurve> = std::iter::once(&own)
        .chain(probes)
        .flat_map(phases)
        .collect();
    let curves: Vec<&LossCurve> = phases.iter().collect();
    let options = FitOptions {
        // Bins, so that the wandering of single batches does not count for more than it is.
        bin: (losses == Losses::Training).then(|| seen.step().div_ceil(BINS)),
        // A probe whose log lacks its warm-up is not worth another parameter.
        s1_offset: S1Offset::Fixed,
        // A cooldown has few points, and calm ones; they tell how the run will end.
        weights: Weights::Curves,
        ..FitOptions::default()
    };
    let law = fit::law_for(&subject.law, &Default::default(), &curves, &options)?;
    let warm =
        before.filter(|b| b.losses == losses && b.parameters.len() == law.parameters().len());
    let step = seen.step();
    let (mut found, mut searched_at) = match warm {
        Some(b) => {
            let found = fit::refit(&law, &curves, &options, &b.parameters)?;
            (found, b.searched_at)
        }
        None => (fit::fit(&law, &curves, &options)?, step),
    };
    // A first few losses may have led to a minimum that later ones have no part in.
    if step as f64 >= SEARCH_AGAIN * searched_at as f64 && warm.is_some() {
        let cold = fit::fit(&law, &curves, &options)?;
        if cold.objective < found.objective {
            found = cold;
        }
        searched_at = step;
    }
    let fitted = conclude(subject, seen, losses, searched_at, &found)?;
    Ok((found, fitted))
}

/// A run up to where its LR leaves the peak, and from there on, as curves of their own.
fn phases(curve: &LossCurve) -> Vec<LossCurve> {
    let peak = curve.lrs.iter().copied().fold(0.0, f64::max);
    let first = curve.lrs.iter().position(|lr| *lr >= peak).unwrap_or(0) as u64;
    let falls = |p: &Point| {
        let lr = curve.lrs.get(p.step.saturating_sub(1) as usize);
        p.step > first && lr.is_some_and(|lr| *lr < HELD * peak)
    };
    let (falling, held): (Vec<Point>, Vec<Point>) = curve.points.iter().partition(|p| falls(p));
    let phases = [held, falling]
        .into_iter()
        .filter(|points| points.len() >= FEWEST_OF_PHASE);
    let phases: Vec<LossCurve> = phases
        .map(|points| LossCurve {
            points,
            ..curve.clone()
        })
        .collect();
    match phases.len() {
        2 => phases,
        _ => vec![curve.clone()],
    }
}

/// Held-out losses, where there are enough.
fn which(subject: &Subject, seen: &Seen) -> Losses {
    let of_probes = subject.probes.iter().filter_map(|p| p.held_out.as_ref());
    let of_probes: usize = of_probes.map(|c| c.points.len()).sum();
    let own = seen
        .held_out
        .iter()
        .filter(|p| p.step > subject.warmup)
        .count();
    match own >= FEWEST_OWN && own + of_probes >= FEWEST_HELD_OUT {
        true => Losses::HeldOut,
        false => Losses::Training,
    }
}

fn curve(subject: &Subject, seen: &Seen, losses: Losses) -> LossCurve {
    let (points, kind) = match losses {
        Losses::HeldOut => (seen.held_out.clone(), LossKind::Validation),
        Losses::Training => (before_update(&seen.training), LossKind::TrainBatch),
    };
    LossCurve {
        name: OWN.into(),
        points: (points.into_iter())
            .filter(|p| p.loss.is_finite())
            .collect(),
        lrs: subject.lrs.clone(),
        lr_origin: LrOrigin::EveryStep,
        kind,
        warmup: WarmUp::Known(subject.warmup),
        parameters: Some(subject.parameters),
        notes: Vec::new(),
    }
}

/// A batch's loss is that of the model before its step; so do the readers of logs place it.
fn before_update(training: &[Point]) -> Vec<Point> {
    let later = training.iter().filter(|p| p.step > 1);
    later
        .map(|p| Point {
            step: p.step - 1,
            ..*p
        })
        .collect()
}

fn conclude(
    subject: &Subject,
    seen: &Seen,
    losses: Losses,
    searched_at: u64,
    found: &Fit,
) -> Result<Fitted> {
    let steps = subject.lrs.len() as u64;
    let from = found.from;
    let held_out = seen.held_out.iter().filter(|p| p.step >= from);
    let held_out = held_out.filter(|p| p.loss.is_finite()).count();
    if held_out < FEWEST_FOR_NOISE {
        return Err(Error::input(format!(
            "a forecast takes {FEWEST_FOR_NOISE} held-out losses after step {from}, and there are {held_out} so far"
        )));
    }
    let (training_offset, training_noise) =
        about(subject, found, &before_update(&seen.training), from);
    let (offset, spread) = about(subject, found, &seen.held_out, from);
    // Of training losses the offset is known as well as a mean of so many.
    let (held_out_offset, offset_sd) = match losses {
        Losses::HeldOut => (0.0, 0.0),
        Losses::Training => (offset, spread / (held_out as f64).sqrt()),
    };
    let factor = found.interval_factor();
    let band = found.band(&fit::path(&subject.lrs, subject.warmup, &[steps]));
    // Relative under a logarithmic residual.
    let noise = match losses {
        Losses::HeldOut => found.noise.sd * band.loss[0],
        Losses::Training => spread,
    };
    let noise = if noise.is_finite() { noise } else { 0.0 };
    let unknown = factor * noise.hypot(offset_sd);
    let half = |middle: f64, edge: f64| (edge - middle).hypot(unknown);
    let forecast = band.loss[0] + held_out_offset;
    let step = seen.step();
    let now = subject.lrs.get(step as usize).copied().unwrap_or(0.0);
    let peak = subject.lrs.iter().copied().fold(0.0, f64::max);
    let cooled = |&fraction: &f64| {
        let (lrs, length) = cooldown(subject, step, fraction);
        let end = found.band(&fit::path(&lrs, subject.warmup, &[step + length]));
        let loss = end.loss[0] + held_out_offset;
        CooldownNow {
            fraction,
            steps: length,
            loss,
            low: loss - half(end.loss[0], end.low[0]),
            high: loss + half(end.loss[0], end.high[0]),
        }
    };
    // A run that has left its peak is cooling down already.
    let cooldown_now = match step > subject.warmup && now >= HELD * peak {
        true => COOLDOWNS.iter().map(cooled).collect(),
        false => Vec::new(),
    };
    // What a law learns from a fall of a thousandth of the LR is no loss at all where the LR goes to 0.
    let seen_losses = seen.training.iter().chain(&seen.held_out).map(|p| p.loss);
    let highest = seen_losses.filter(|l| l.is_finite()).fold(0.0, f64::max);
    let is_loss = |loss: f64| loss > 0.0 && loss <= highest;
    if !is_loss(forecast) {
        return Err(Error::input(format!(
            "the losses so far leave the end open: the law {} would have it at {forecast:.3e} nats a token",
            found.law.name()
        )));
    }
    let cooldown_now = cooldown_now
        .into_iter()
        .filter(|c: &CooldownNow| is_loss(c.loss))
        .collect();
    Ok(Fitted {
        fitted_to: step,
        searched_at,
        law: found.law.name().to_string(),
        parameters: found.parameters(),
        losses,
        forecast,
        low: (forecast - half(band.loss[0], band.low[0])).max(0.0),
        high: (forecast + half(band.loss[0], band.high[0])).min(highest),
        describes: found.describes(OWN),
        cooldown_now,
        noise,
        held_out_offset,
        training_offset: finite(training_offset),
        training_noise: finite(training_noise),
    })
}

/// What cannot be told from so few losses counts as nothing: alarms are silent without a noise.
fn finite(x: f64) -> f64 {
    if x.is_finite() { x } else { 0.0 }
}

/// Mean of `points` above the law from step `from` on, and their standard deviation about that.
fn about(subject: &Subject, found: &Fit, points: &[Point], from: u64) -> (f64, f64) {
    let usable = |p: &&Point| p.step >= from && p.loss.is_finite();
    let points: Vec<&Point> = points.iter().filter(usable).collect();
    let steps: Vec<u64> = points.iter().map(|p| p.step).collect();
    let predicted = found.predict_lrs(&subject.lrs, subject.warmup, &steps);
    let off = points.iter().zip(&predicted).map(|(p, law)| p.loss - law);
    let n = points.len() as f64;
    let mean = off.clone().sum::<f64>() / n;
    let squares: f64 = off.map(|x| (x - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0)).sqrt())
}

/// The run so far and a linear cooldown from its next step on; and the cooldown's steps.
fn cooldown(subject: &Subject, step: u64, fraction: f64) -> (Vec<f64>, u64) {
    let last = (step as f64 / (1.0 - fraction)).round() as u64;
    let steps = (last - step).max(1);
    let mut lrs = subject.lrs[..step as usize].to_vec();
    let peak = subject.lrs[step as usize];
    // As a branch decays: the first step of it is below the peak, the last above 0.
    lrs.extend((1..=steps).map(|i| peak * (1.0 - i as f64 / (steps + 1) as f64)));
    (lrs, steps)
}

impl Probe {
    /// The run's losses of either kind.
    ///
    /// # Errors
    /// Training losses that cannot be read.
    pub fn read(run: &str) -> Result<Probe> {
        let read = |kind| {
            let options = crate::curve::ReadOptions {
                kind: Some(kind),
                ..Default::default()
            };
            crate::curve::read(run, &options)
        };
        let first = |curves: Vec<LossCurve>| curves.into_iter().next();
        let training = first(read(LossKind::TrainBatch)?)
            .ok_or_else(|| Error::input(format!("{run} holds no losses")))?;
        // Too few of them is no error: training losses are there.
        let held_out = read(LossKind::Validation).ok().and_then(first);
        Ok(Probe {
            training,
            held_out: held_out.filter(|c| c.kind == LossKind::Validation),
        })
    }
}
