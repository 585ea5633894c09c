//! What the law would do with the rest of a run.

use super::{Fitted, Subject};
use crate::design::{self, Designed, KNOTS, Limits, Model, Problem, trust};
use crate::error::{Error, Result};
use crate::fit::Fit;
use serde::{Deserialize, Serialize};

/// What is to become of the LRs from a step on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Whether the schedule stays as it was.
    pub kept: bool,
    /// Predicted gain of the design over the schedule as it was, nats, and the half-width of its 90 % interval; none where
    /// there is no design.
    pub gain: Option<f64>,
    pub half_width: Option<f64>,
    /// Predicted held-out loss at the end of the run, under the schedule that was chosen.
    pub predicted: Option<f64>,
    /// The schedule's file in the run's directory, if it is a new one.
    pub schedule: Option<String>,
    /// The reason, as a sentence.
    pub why: String,
}

impl Decision {
    /// The schedule stays, for want of a design.
    pub fn kept(why: String) -> Decision {
        Decision {
            kept: true,
            gain: None,
            half_width: None,
            predicted: None,
            schedule: None,
            why,
        }
    }
}

/// Designs the LRs from step `at` (counted as completed) to the end; the design is there if it is to be taken.
///
/// It is taken where its predicted gain exceeds what the fit does not know of it. What the law cannot support (no decay in
/// what it was fitted to, a horizon too far off) leaves the schedule as it is.
pub fn redesign(
    subject: &Subject,
    fit: &Fit,
    fitted: &Fitted,
    at: u64,
) -> (Decision, Option<Designed>) {
    if !fitted.describes {
        let why = "the law does not describe this run so far, so it designs nothing";
        return (Decision::kept(why.into()), None);
    }
    let designed = match design(subject, fit, at) {
        Ok(designed) => designed,
        Err(e) => return (Decision::kept(e.to_string()), None),
    };
    let (problem, designed) = designed;
    let (gain, half_width) = trust::difference(fit, &problem, &subject.lrs, &designed.lrs);
    let taken = gain > half_width;
    let now = problem.loss(&subject.lrs);
    let against = format!("a gain of {gain:.4} ± {half_width:.4} nats");
    let decision = Decision {
        kept: !taken,
        gain: Some(gain),
        half_width: Some(half_width),
        predicted: Some(now - if taken { gain } else { 0.0 } + fitted.held_out_offset),
        schedule: None,
        why: match taken {
            true => format!("the law predicts {against} from its own design of the rest"),
            false => format!("the law's own design of the rest has {against}, not worth believing"),
        },
    };
    (decision, taken.then_some(designed))
}

fn design(subject: &Subject, fit: &Fit, at: u64) -> Result<(Problem, Designed)> {
    let model = Model {
        law: fit.law.clone(),
        parameters: fit.parameters(),
        size: Some(subject.parameters),
    };
    let steps = subject.lrs.len() as u64;
    let left = steps.saturating_sub(at);
    let Some(trained) = subject.lrs.get(..at as usize).filter(|_| at > 0) else {
        return Err(Error::input("no step of the run is behind it"));
    };
    let limits = Limits {
        steps,
        peak_lr: subject.lrs.iter().copied().fold(0.0, f64::max),
        min_lr: 0.0,
        warmup: subject.warmup,
        largest_drop: trust::rule(Some(fit), steps, left).largest_drop,
    };
    let problem = Problem::remainder(model, limits, trained)?;
    trust::support(fit, &problem, false)?;
    let baselines = design::baselines(&problem);
    let designed = design::best(&problem, &baselines, KNOTS)?;
    Ok((problem, designed))
}
