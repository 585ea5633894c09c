//! Suites of curves with tasks: `tasks.json`, and each curve's CSV beside it.
//!
//! Schedules are given there in the terms of the codebase that trained the runs, with peak `p`,
//! warm-up `W`, horizon `T`, and `s` counted from 0:
//! - `wsd`: `p/100 + (p − p/100)·s/W` for `s < W`, then `p`; with a stage, `p` goes straight to
//!   `stage_factor·p` within `stage_steps` steps from `stage_at` on, and holds; over the last
//!   `cooldown_steps`, `A`, the LR is multiplied by `1 − x` (`linear`) or `1 − √x` (`sqrt`), `x = (s − T + A)/A`.
//! - `cosine`: torch's OneCycleLR, half a cosine from `p/100` at step 0 to `p` at `W − 1`, and half a
//!   cosine from there to `final_lr` at `T − 1`.
//!
//! The LRs are computed, not taken from the CSVs, whose rows are sparse; a CSV whose own LRs
//! contradict its schedule is refused.

use super::given::MOST_STEPS;
use super::readers::csv;
use super::{LossCurve, LossKind, LrOrigin, Point, ReadOptions, WarmUp, assemble};
use crate::error::{Error, Result};
use crate::schedule::count;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::path::Path;

/// Curves, and what to fit and predict among them.
#[derive(Clone, Debug, PartialEq)]
pub struct Suite {
    /// Two runs are ranked only where their true final losses differ by more than this, in nats.
    pub rank_threshold: f64,
    pub curves: BTreeMap<String, LossCurve>,
    pub tasks: Vec<Task>,
}

/// Fit some curves, predict others.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Task {
    pub name: String,
    /// Names of the curves to fit.
    pub fit: Vec<String>,
    /// First step to fit from.
    pub fit_from: u64,
    /// Warm-up of these runs, in steps.
    pub warmup: u64,
    pub test: Vec<TestCurve>,
}

/// A curve to predict.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TestCurve {
    pub curve: String,
    /// Points after this step are scored: before it the run shares its prefix with a fitted one.
    pub score_after: u64,
    /// Where the constant part ends, for runs whose plateau is a prediction of its own.
    pub plateau_end: Option<u64>,
    pub total_steps: u64,
}

#[derive(Deserialize)]
struct Written {
    rank_threshold: f64,
    curves: BTreeMap<String, WrittenCurve>,
    tasks: Vec<Task>,
}

#[derive(Deserialize)]
struct WrittenCurve {
    parameters: Option<f64>,
    schedule: WrittenSchedule,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum WrittenSchedule {
    Wsd(WrittenWsd),
    Cosine(WrittenCosine),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWsd {
    total_steps: u64,
    warmup: u64,
    peak_lr: f64,
    cooldown_steps: Option<u64>,
    decay: Option<WrittenDecay>,
    stage_at: Option<u64>,
    stage_steps: Option<u64>,
    stage_factor: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCosine {
    total_steps: u64,
    warmup: u64,
    peak_lr: f64,
    final_lr: f64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenDecay {
    Linear,
    Sqrt,
}

/// LR at step 0 over the peak.
const WARMUP_FROM: f64 = 0.01;
/// How far a logged LR may be from the schedule, over the peak.
const LOGGED_TOLERANCE: f64 = 1e-6;

impl WrittenSchedule {
    fn length(&self) -> u64 {
        match self {
            WrittenSchedule::Wsd(s) => s.total_steps,
            WrittenSchedule::Cosine(s) => s.total_steps,
        }
    }

    fn warmup(&self) -> u64 {
        match self {
            WrittenSchedule::Wsd(s) => s.warmup,
            WrittenSchedule::Cosine(s) => s.warmup,
        }
    }

    fn peak_lr(&self) -> f64 {
        match self {
            WrittenSchedule::Wsd(s) => s.peak_lr,
            WrittenSchedule::Cosine(s) => s.peak_lr,
        }
    }

    fn lr(&self, step: u64) -> f64 {
        match self {
            WrittenSchedule::Wsd(s) => s.lr(step),
            WrittenSchedule::Cosine(s) => s.lr(step),
        }
    }

    fn describe(&self) -> String {
        match self {
            WrittenSchedule::Wsd(s) => {
                let mut text = format!("wsd, peak {:e}, {} steps", s.peak_lr, count(s.total_steps));
                if let (Some(at), Some(factor)) = (s.stage_at, s.stage_factor) {
                    text += &format!(", ×{factor} from step {}", count(at));
                }
                if let Some(steps) = s.cooldown_steps {
                    text += &format!(", cooldown {}", count(steps));
                }
                text
            }
            WrittenSchedule::Cosine(s) => {
                let steps = count(s.total_steps);
                format!(
                    "cosine, peak {:e} to {:e}, {steps} steps",
                    s.peak_lr, s.final_lr
                )
            }
        }
    }
}

impl WrittenWsd {
    fn lr(&self, step: u64) -> f64 {
        let peak = self.peak_lr;
        if step < self.warmup {
            let x = step as f64 / self.warmup as f64;
            return peak * (WARMUP_FROM * (1.0 - x) + x);
        }
        let mut lr = peak;
        if let (Some(at), Some(factor)) = (self.stage_at, self.stage_factor) {
            let x = progress(step, at, self.stage_steps.unwrap_or(0));
            lr *= (1.0 - x) + factor * x;
        }
        if let Some(cooldown) = self.cooldown_steps {
            let x = progress(step, self.total_steps.saturating_sub(cooldown), cooldown);
            lr *= match self.decay.unwrap_or(WrittenDecay::Linear) {
                WrittenDecay::Linear => 1.0 - x,
                WrittenDecay::Sqrt => 1.0 - x.sqrt(),
            };
        }
        lr
    }
}

impl WrittenCosine {
    fn lr(&self, step: u64) -> f64 {
        let cosine = |from: f64, to: f64, x: f64| to + (from - to) * 0.5 * (1.0 + (PI * x).cos());
        let peak_at = self.warmup.saturating_sub(1);
        if step < peak_at {
            return cosine(
                WARMUP_FROM * self.peak_lr,
                self.peak_lr,
                step as f64 / peak_at as f64,
            );
        }
        let steps = self.total_steps.saturating_sub(1 + peak_at);
        cosine(self.peak_lr, self.final_lr, progress(step, peak_at, steps))
    }
}

fn progress(step: u64, from: u64, steps: u64) -> f64 {
    let done = step.saturating_sub(from);
    if done >= steps {
        return if step < from { 0.0 } else { 1.0 };
    }
    done as f64 / steps as f64
}

impl Suite {
    /// Reads `tasks.json` and the curves named there, `NAME.csv` beside it.
    ///
    /// # Errors
    /// A file that is missing or not of that form, a task that names a curve that is not there, a
    /// curve whose logged LRs are not those of its schedule or that runs past its end.
    pub fn read(path: &Path) -> Result<Suite> {
        let bytes = super::readers::read_file(path)?;
        let file = path.display();
        let written: Written = serde_json::from_slice(&bytes)
            .map_err(|e| Error::input(format!("{file} is no suite of curves: {e}")))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut curves = BTreeMap::new();
        for (name, given) in written.curves {
            if name.contains(['/', '\\']) {
                return Err(Error::input(format!(
                    "{file}: the curve {name} must be a name, for NAME.csv beside this file"
                )));
            }
            let curve = read_curve(&folder.join(format!("{name}.csv")), &name, &given)?;
            curves.insert(name, curve);
        }
        for task in &written.tasks {
            let tests = task.test.iter().map(|t| &t.curve);
            if let Some(absent) = task
                .fit
                .iter()
                .chain(tests)
                .find(|n| !curves.contains_key(*n))
            {
                return Err(Error::input(format!(
                    "{file}: the task {} names the curve {absent}, which is not under \"curves\"",
                    task.name
                )));
            }
        }
        Ok(Suite {
            rank_threshold: written.rank_threshold,
            curves,
            tasks: written.tasks,
        })
    }
}

fn read_curve(path: &Path, name: &str, given: &WrittenCurve) -> Result<LossCurve> {
    let file = path.display().to_string();
    let schedule = &given.schedule;
    let (steps, peak) = (schedule.length(), schedule.peak_lr());
    if !(peak.is_finite() && peak > 0.0) || steps == 0 || steps > MOST_STEPS {
        return Err(Error::input(format!(
            "{file}: its schedule needs a positive peak_lr and between 1 and {} total_steps",
            count(MOST_STEPS)
        )));
    }
    let frames = csv::read(&super::readers::read_text(path)?, &file)?;
    let options = ReadOptions {
        kind: Some(LossKind::Validation),
        ..ReadOptions::default()
    };
    let [frame] = &frames[..] else {
        return Err(Error::input(format!(
            "{file} holds several curves; a suite needs one a file"
        )));
    };
    let rows = assemble::rows_of(frame, &options, &file)?;
    let points: Vec<Point> =
        (rows.losses.iter().map(|&(step, loss)| Point { step, loss })).collect();
    let last = points.last().map_or(0, |p| p.step);
    if last > steps {
        return Err(Error::input(format!(
            "{file} goes on to step {}, but its schedule ends after {} steps",
            count(last),
            count(steps)
        )));
    }
    let lrs: Vec<f64> = (0..steps).map(|s| schedule.lr(s)).collect();
    for (step, lr) in rows.logged {
        let Some(&exact) = lrs.get(step as usize) else {
            continue;
        };
        if (lr - exact).abs() > LOGGED_TOLERANCE * peak {
            return Err(Error::input(format!(
                "{file}: the LR of step {} is {lr:e}, but {exact:e} by its schedule in tasks.json",
                count(step)
            )));
        }
    }
    let curve = LossCurve {
        name: name.to_string(),
        points,
        lrs,
        lr_origin: LrOrigin::Schedule(schedule.describe()),
        kind: LossKind::Validation,
        warmup: WarmUp::Known(schedule.warmup()),
        parameters: given.parameters,
        notes: rows.notes,
    };
    assemble::check(&curve, &file)?;
    Ok(curve)
}
