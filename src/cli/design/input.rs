//! From flags to a problem: the law, the run so far, the limits.

use super::Args;
use crate::curve::{self, ReadOptions, WarmUp};
use crate::design::horizon::{self, Goal};
use crate::design::{Limits, MOST_STEPS, Model, Problem, trust};
use crate::error::{Error, Result};
use crate::fit::{self, Fit};
use crate::law::{self, Law, LawOptions};
use crate::schedule::{Schedule, ScheduleSpec, Shape, Warmup, count};
use crate::train::branch::BranchPoint;
use crate::train::rundir::RUN_FILE;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A law with parameters, and the fit that they come from.
pub(super) struct Under {
    pub model: Model,
    pub fit: Option<Fit>,
    /// As the user named it.
    pub named: String,
}

/// What has been trained so far.
pub(super) struct Start {
    /// As the user gave it, without the step.
    pub run: PathBuf,
    pub step: u64,
    /// LR of each of those steps.
    pub lrs: Vec<f64>,
    pub peak_lr: f64,
    pub warmup: u64,
    /// Whether it is a run of ours with a checkpoint there.
    pub branches: bool,
}

/// A length that is to be found lies below this where no fit says how far is too far.
const FURTHEST: u64 = 5_000_000;

pub(super) fn under(args: &Args) -> Result<Under> {
    let named = args.law.clone();
    let Some(params) = &args.params else {
        let path = Path::new(&named);
        let known = law::by_name(&named, &LawOptions::default()).is_ok();
        if known && !path.exists() {
            return Err(Error::input(format!(
                "--law {named} names a law without its parameters; give a file that lehr fit wrote, or add --params"
            )));
        }
        return of_file(path, args.parameters);
    };
    let options = LawOptions {
        warmup: args.warmup_rule.into(),
        ..LawOptions::default()
    };
    let law: Arc<dyn Law> = law::by_name(&named, &options)?.into();
    let parameters = parameters(&*law, params)?;
    Ok(Under {
        model: Model {
            law,
            parameters,
            size: args.parameters,
        },
        fit: None,
        named,
    })
}

pub(super) fn of_file(path: &Path, size: Option<f64>) -> Result<Under> {
    let fit = fit::file::read(path)?;
    Ok(Under {
        model: Model {
            law: Arc::clone(&fit.law),
            parameters: fit.parameters(),
            size,
        },
        fit: Some(fit),
        named: path.display().to_string(),
    })
}

/// Every parameter of `law`, by name, from `L0=2.6,A=0.6,…`.
fn parameters(law: &dyn Law, text: &str) -> Result<Vec<f64>> {
    let names: Vec<&str> = law.parameters().iter().map(|p| p.name).collect();
    let mut values: Vec<Option<f64>> = vec![None; names.len()];
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (name, value) = (name.trim(), value.trim());
        let Some(place) = names.iter().position(|known| *known == name) else {
            return Err(Error::input(format!(
                "--params {part}: the law {} has no parameter {name}; it has {}",
                law.name(),
                names.join(", ")
            )));
        };
        let positive = law.parameters()[place].log;
        let usable = |v: &f64| v.is_finite() && (*v > 0.0 || !positive);
        let Some(number) = value.parse().ok().filter(usable) else {
            let kind = if positive { "positive" } else { "finite" };
            return Err(Error::input(format!(
                "--params {part}: {name} needs a {kind} number, not '{value}'"
            )));
        };
        values[place] = Some(number);
    }
    let lacking: Vec<&str> = names
        .iter()
        .zip(&values)
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| *name)
        .collect();
    if !lacking.is_empty() {
        return Err(Error::input(format!(
            "--params does not say {}; the law {} needs {}",
            lacking.join(", "),
            law.name(),
            names.join(", ")
        )));
    }
    Ok(values.into_iter().flatten().collect())
}

/// `RUN@STEP`: of a run of ours the LRs that its schedule gave, of any other log those that it shows.
pub(super) fn start(text: &str) -> Result<Start> {
    let (run, step) = match text.rsplit_once('@') {
        Some(_) if Path::new(text).join(RUN_FILE).exists() => (text, None),
        Some((run, step)) => {
            let step = step.trim().replace('_', "").parse().map_err(|_| {
                Error::input(format!(
                    "--from {text}: '{step}' is no step; write RUN@1000"
                ))
            })?;
            (run, Some(step))
        }
        None => (text, None),
    };
    if step == Some(0) {
        return Err(Error::input(format!(
            "--from {text}: nothing is trained after 0 steps; leave --from out"
        )));
    }
    let path = Path::new(run);
    if path.join(RUN_FILE).exists() {
        let point = BranchPoint::find(path, step)?;
        let schedule = point.config.schedule()?;
        if point.at == 0 {
            return Err(Error::input(format!(
                "--from {text}: its newest checkpoint is that of step 0, where nothing is trained; leave --from out"
            )));
        }
        let lrs: Vec<f64> = (0..schedule.steps()).map(|s| schedule.lr(s)).collect();
        return Ok(Start {
            run: path.to_path_buf(),
            step: point.at,
            peak_lr: schedule.peak_lr(),
            warmup: curve::warmup_of(&schedule, &lrs),
            lrs: lrs[..point.at as usize].to_vec(),
            branches: true,
        });
    }
    let curves = curve::read(run, &ReadOptions::default())?;
    let [curve] = &curves[..] else {
        return Err(Error::input(format!(
            "--from {text}: {run} holds {} curves; name one as FILE#KEY",
            curves.len()
        )));
    };
    let last = curve.last_step();
    let step = step.unwrap_or(last);
    if step > last {
        return Err(Error::input(format!(
            "--from {text}: {run} ends at step {}; give a step up to there",
            count(last)
        )));
    }
    let lrs = curve.lrs[..step as usize].to_vec();
    Ok(Start {
        run: path.to_path_buf(),
        step,
        peak_lr: lrs.iter().copied().fold(0.0, f64::max),
        warmup: match curve.warmup {
            WarmUp::Known(steps) => steps.min(step),
            WarmUp::Unlogged => 0,
        },
        lrs,
        branches: false,
    })
}

/// The run and its limits, the trust rule that it stands under, and a note where its length was searched for and not
/// found.
pub(super) fn problem(
    args: &Args,
    under: &Under,
    start: Option<&Start>,
) -> Result<(Problem, trust::TrustRule, Option<String>)> {
    let fit = under.fit.as_ref();
    let curves = || fit.iter().flat_map(|fit| &fit.curves);
    if let (Some(_), true) = (start, args.peak_lr.is_some() || args.warmup.is_some()) {
        return Err(Error::input(
            "--peak-lr and --warmup have no part in a run that has begun, which has its own; leave them out",
        ));
    }
    let fitted = curves().map(|c| c.peak_lr).reduce(f64::max);
    let peak_lr = start.map(|s| s.peak_lr).or(args.peak_lr).or(fitted);
    let peak_lr = peak_lr.ok_or_else(|| {
        Error::input("a law given by --params knows no learning rate; give --peak-lr")
    })?;
    let warmup: Warmup = match (&args.warmup, start) {
        (_, Some(start)) => Warmup::Steps(start.warmup),
        (Some(text), None) => text.parse()?,
        (None, None) => Warmup::Steps(curves().map(|c| c.warmup).max().unwrap_or(0)),
    };
    let trained = start.map_or(&[][..], |s| &s.lrs);
    let rule = |steps: u64| {
        let settled = (trained.len() as u64).max(in_steps(warmup, steps).unwrap_or(0));
        let free = steps.saturating_sub(settled).max(1);
        match args.largest_drop {
            Some(share) => trust::TrustRule {
                largest_drop: share,
                why: "as asked for".into(),
            },
            None => trust::rule(fit, steps, free),
        }
    };
    let limited = |steps: u64| -> Result<Problem> {
        let limits = Limits {
            steps,
            peak_lr,
            min_lr: args.min_lr,
            warmup: in_steps(warmup, steps)?,
            largest_drop: rule(steps).largest_drop,
        };
        match start {
            Some(_) => Problem::remainder(under.model.clone(), limits, trained),
            None => Problem::fresh(under.model.clone(), limits),
        }
    };
    let mut note = None;
    let steps = match (args.steps, args.price, args.loss_target) {
        (Some(steps), ..) => steps,
        (None, price, target) => {
            let goal = price.map(Goal::Price).or(target.map(Goal::Loss));
            let goal = goal.expect("one of them is required");
            let longest = curves().map(|c| c.steps).max();
            let furthest =
                longest.map_or(FURTHEST, |l| (l as f64 * trust::MOST_EXTRAPOLATION) as u64);
            let settled = trained.len() as u64 + in_steps(warmup, 1000)?.min(MOST_STEPS);
            let shortest = settled + 20;
            let furthest = furthest.clamp(shortest + 1, MOST_STEPS.max(shortest + 1));
            let steps = horizon::length(limited, goal, (shortest, furthest))?;
            note = at_an_end(goal, steps, (shortest, furthest));
            steps
        }
    };
    if let (Some(start), true) = (start, steps <= trained.len() as u64) {
        return Err(Error::input(format!(
            "--steps {steps}: {} stands at step {} already; --steps is the length of the whole run",
            start.run.display(),
            count(start.step)
        )));
    }
    Ok((limited(steps)?, rule(steps), note))
}

/// A sentence where the length is as short or as long as was looked at.
fn at_an_end(goal: Goal, steps: u64, (shortest, furthest): (u64, u64)) -> Option<String> {
    let Goal::Price(price) = goal else {
        return None;
    };
    if steps > furthest - furthest / 50 {
        return Some(format!(
            "at {price:e} nats a step even longer runs than {} steps would pay; that is as far as was looked",
            count(furthest)
        ));
    }
    (steps <= shortest + shortest / 50).then(|| {
        format!(
            "at {price:e} nats a step no step pays for itself: this is the shortest run there is"
        )
    })
}

fn in_steps(warmup: Warmup, steps: u64) -> Result<u64> {
    let schedule = Schedule::new(&ScheduleSpec {
        shape: Shape::Constant,
        peak_lr: 1.0,
        warmup,
        steps: steps.max(1),
        tokens_per_step: None,
        compat: false,
    })?;
    Ok(schedule.warmup_steps())
}
