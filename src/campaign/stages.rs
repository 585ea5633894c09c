//! What happens between the runs: a law from the probes, a schedule from the law, and what both say of every run before
//! it is trained. Each writes a file, and is read back from it, so that a campaign that goes on has the same numbers to
//! the bit.

use super::cells::{self, Cell};
use super::plan::Plan;
use crate::curve::{self, LossCurve, LossKind, ReadOptions};
use crate::design::trust::TrustRule;
use crate::design::{Among, Judged, Limits, Model, Problem, file, trust};
use crate::error::{Error, Result};
use crate::files;
use crate::fit::{self, Fit, FitOptions};
use crate::law::{self, Law, LawOptions};
use crate::schedule::{Schedule, ScheduleSpec, Shape, Warmup};
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

pub const LAW_FILE: &str = "law.json";
pub const SCHEDULE_FILE: &str = "schedule.json";
pub const PREDICTIONS_FILE: &str = "predictions.csv";

/// The held-out losses of the probes: of the cooldowns those after their branch, the others being the trunk's.
///
/// # Errors
/// A log that cannot be read, or holds too few losses.
pub fn curves(plan: &Plan, probes: &[Cell]) -> Result<Vec<LossCurve>> {
    let options = ReadOptions {
        kind: Some(LossKind::Validation),
        ..ReadOptions::default()
    };
    let mut all = Vec::new();
    for cell in probes {
        let dir = cell.dir(&plan.spec.out);
        let found = curve::read(&dir.display().to_string(), &options)?;
        for curve in found {
            let mut curve = match cell.first_step() {
                0 => curve,
                branch => curve.after(branch),
            };
            curve.name = cell.id.clone();
            all.push(curve);
        }
    }
    Ok(all)
}

/// The law: fitted to the probes, unless that has been done.
///
/// # Errors
/// What [`fit::fit`] says.
pub fn law(plan: &Plan, probes: &[Cell]) -> Result<Fit> {
    let path = plan.file(LAW_FILE);
    if !path.exists() {
        let curves = curves(plan, probes)?;
        let curves: Vec<&LossCurve> = curves.iter().collect();
        // By the trunk, however short the probe at half the peak is.
        let options = FitOptions {
            from: Some(plan.probes.fitted_from(plan.warmup)),
            ..FitOptions::default()
        };
        let mut laws: Vec<Arc<dyn Law>> = Vec::new();
        for name in &plan.spec.laws {
            laws.push(law::by_name(name, &LawOptions::default())?.into());
        }
        let chosen = match laws.len() {
            1 => 0,
            _ => fit::choose(&laws, &curves, &options)?.chosen,
        };
        let fit = fit::fit(&laws[chosen], &curves, &options)?;
        fit::file::write(&fit, &path)?;
    }
    fit::file::read(&path)
}

/// The schedule of the long run, and what is to be said of it.
#[derive(Clone, Debug)]
pub struct Design {
    pub path: PathBuf,
    /// LR of every step.
    pub lrs: Vec<f64>,
    /// Predicted final loss, nats a token.
    pub loss: f64,
    /// Over how many steps the whole peak may fall at the fastest, and why.
    pub rule: (f64, String),
    /// The first step below the peak after the warm-up.
    pub falls_from: u64,
    /// Whether the gain is worth believing.
    pub sentence: String,
    pub warnings: Vec<String>,
}

/// The design: made under the law, unless that has been done.
///
/// # Errors
/// What [`Judged::new`] says; a file that is no design.
pub fn design(plan: &Plan, fit: &Fit) -> Result<Design> {
    let path = plan.file(SCHEDULE_FILE);
    if !path.exists() {
        make(plan, fit, &path)?;
    }
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
    let head: Value =
        serde_json::from_str(&text).map_err(|e| Error::corrupt(&path, e.to_string()))?;
    let schedule = Schedule::new(&ScheduleSpec {
        shape: Shape::Table { path: path.clone() },
        peak_lr: plan.spec.peak(),
        warmup: Warmup::Steps(0),
        steps: plan.steps(),
        tokens_per_step: None,
        compat: false,
    })?;
    let lrs: Vec<f64> = (0..plan.steps()).map(|s| schedule.lr(s)).collect();
    let lacks = |key: &str| Error::corrupt(&path, format!("it has no {key}"));
    let text = |value: &Value| value.as_str().map(str::to_string);
    let warnings = head["warnings"].as_array().into_iter().flatten();
    let drop = head["largest_drop_allowed"].as_f64();
    Ok(Design {
        loss: law_says(fit, plan, &lrs),
        rule: (
            1.0 / drop.ok_or_else(|| lacks("largest_drop_allowed"))?,
            text(&head["trust_rule"]).ok_or_else(|| lacks("trust_rule"))?,
        ),
        falls_from: head["falls_from"]
            .as_u64()
            .ok_or_else(|| lacks("falls_from"))?,
        sentence: text(&head["gain"]["sentence"]).ok_or_else(|| lacks("gain"))?,
        warnings: warnings.filter_map(text).collect(),
        lrs,
        path,
    })
}

fn law_says(fit: &Fit, plan: &Plan, lrs: &[f64]) -> f64 {
    fit.predict_lrs(lrs, plan.warmup, &[plan.steps()])[0]
}

/// The trust rule: what the user asks for, or what the probes' cooldowns show.
fn rule(plan: &Plan, fit: &Fit) -> TrustRule {
    match plan.spec.largest_drop {
        Some(largest_drop) => TrustRule {
            largest_drop,
            why: "as asked for".into(),
        },
        None => {
            let free = (plan.steps() - plan.warmup).max(1);
            trust::rule(Some(fit), plan.steps(), free)
        }
    }
}

fn make(plan: &Plan, fit: &Fit, path: &std::path::Path) -> Result<()> {
    let rule = rule(plan, fit);
    let limits = Limits {
        steps: plan.steps(),
        peak_lr: plan.spec.peak(),
        min_lr: 0.0,
        warmup: plan.warmup,
        largest_drop: rule.largest_drop,
    };
    let model = Model {
        law: Arc::clone(&fit.law),
        parameters: fit.parameters(),
        size: None,
    };
    let problem = Problem::fresh(model, limits)?;
    // The plan has settled peak and horizon. Probes that the law does not describe are a warning: they are trained, and what
    // the law says of the long runs is held against them either way.
    let judged = Judged::new(problem, rule, Some(fit), Among::Free, true, 0)?;
    let head = judged.head(LAW_FILE, Value::Null);
    file::write(path, head, &judged.designed.lrs, &judged.designed.knots)
}

/// What the law says of one schedule before it is trained.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    pub schedule: String,
    pub peak_lr: f64,
    /// Final held-out loss, nats a token.
    pub predicted: f64,
    /// Where one run's loss lies in nine of ten cases, if the law is right.
    pub low: f64,
    pub high: f64,
    /// As [`super::cells::Wanted::schedule`].
    #[serde(skip)]
    pub index: usize,
}

/// Predicts the design and every baseline at every peak, and writes `predictions.csv`, unless it says so already.
///
/// # Errors
/// A place that cannot be written.
pub fn predict(plan: &Plan, fit: &Fit, design: &Design) -> Result<Vec<Prediction>> {
    let one = |index: usize, schedule: String, peak_lr: f64, lrs: &[f64]| {
        let path = fit::path(lrs, plan.warmup, &[plan.steps()]);
        let band = fit.band(&path);
        Prediction {
            schedule,
            peak_lr,
            predicted: band.loss[0],
            low: band.observed_low[0],
            high: band.observed_high[0],
            index,
        }
    };
    let peak = plan.spec.peak();
    let mut all = vec![one(0, "designed".into(), peak, &design.lrs)];
    for (i, baseline) in plan.spec.baselines.iter().enumerate() {
        for peak in plan.peaks(baseline) {
            let schedule = cells::schedule(plan, baseline, peak)?;
            let lrs: Vec<f64> = (0..plan.steps()).map(|s| schedule.lr(s)).collect();
            all.push(one(i + 1, baseline.label(), peak, &lrs));
        }
    }
    let mut csv = String::from("schedule,peak_lr,predicted,low,high\n");
    for p in &all {
        csv += &format!(
            "{},{:e},{},{},{}\n",
            quoted(&p.schedule),
            p.peak_lr,
            p.predicted,
            p.low,
            p.high
        );
    }
    let path = plan.file(PREDICTIONS_FILE);
    // What was written before the runs keeps its date.
    if std::fs::read_to_string(&path).ok().as_deref() != Some(&csv) {
        files::write(&path, csv.as_bytes())?;
    }
    Ok(all)
}

/// A field of a CSV file.
pub(super) fn quoted(text: &str) -> String {
    match text.contains([',', '"']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}
