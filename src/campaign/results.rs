//! Predicted against actual.

use super::cells::{Cell, Wanted};
use super::plan::Plan;
use super::stages::{Prediction, quoted};
use crate::error::Result;
use crate::files;
use crate::scaling::suite::results::Mean;
use crate::train::cached::{self, State};
use serde::Serialize;
use std::path::PathBuf;

pub const RESULTS_FILE: &str = "results.csv";

/// One finished long run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub schedule: String,
    pub peak_lr: f64,
    pub seed: u64,
    /// Final held-out loss that was predicted before it was trained, nats a token.
    pub predicted: f64,
    pub actual: f64,
    /// Predicted minus actual.
    pub difference: f64,
    /// Its directory.
    pub run: PathBuf,
    /// As [`Wanted::schedule`].
    #[serde(skip)]
    pub index: usize,
}

/// The finished cells among those that are wanted.
///
/// # Errors
/// A log of a finished run that cannot be read.
pub fn collect(plan: &Plan, cells: &[Cell], predictions: &[Prediction]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for cell in cells {
        let Some(Wanted {
            schedule,
            peak,
            seed,
        }) = cell.wanted
        else {
            continue;
        };
        let of = |p: &&Prediction| p.index == schedule && p.peak_lr == peak;
        let prediction = predictions.iter().find(of);
        if let (State::Finished, Some(p)) = (cell.state(&plan.spec.out), prediction) {
            let run = cell.dir(&plan.spec.out);
            let actual = cached::final_loss(&run, cell.steps)?;
            rows.push(Row {
                schedule: p.schedule.clone(),
                peak_lr: peak,
                seed,
                predicted: p.predicted,
                actual,
                difference: p.predicted - actual,
                run,
                index: schedule,
            });
        }
    }
    Ok(rows)
}

/// Writes `results.csv`.
///
/// # Errors
/// A place that cannot be written.
pub fn write(plan: &Plan, rows: &[Row]) -> Result<()> {
    let mut csv = String::from("schedule,peak_lr,seed,predicted,actual,difference,run\n");
    for r in rows {
        let run = r.run.strip_prefix(&plan.spec.out).unwrap_or(&r.run);
        csv += &format!(
            "{},{:e},{},{},{},{},{}\n",
            quoted(&r.schedule),
            r.peak_lr,
            r.seed,
            r.predicted,
            r.actual,
            r.difference,
            quoted(&run.display().to_string())
        );
    }
    files::write(&plan.file(RESULTS_FILE), csv.as_bytes())
}

/// The best peak of each baseline on the first seed; none where nothing finished.
pub fn best_peaks(plan: &Plan, rows: &[Row]) -> Vec<Option<f64>> {
    let seed = plan.spec.seeds[0];
    let baselines = 1..=plan.spec.baselines.len();
    baselines
        .map(|index| {
            let own = rows.iter().filter(|r| r.index == index && r.seed == seed);
            let best = own.min_by(|a, b| a.actual.total_cmp(&b.actual));
            best.map(|r| r.peak_lr)
        })
        .collect()
}

/// A schedule over its seeds, a baseline at its best peak.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    pub schedule: String,
    pub peak_lr: f64,
    pub predicted: f64,
    pub actual: Mean,
    /// This schedule's loss less the designed one's, seed by seed; none for the designed one itself.
    pub over_designed: Option<Mean>,
    #[serde(skip)]
    pub index: usize,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// By actual loss, on the seeds that each shares with the designed run.
    pub lines: Vec<Line>,
    /// Rank correlation of predicted and actual losses over the lines; none of fewer than three.
    pub spearman: Option<f64>,
    /// Predicted minus actual of the designed run, mean over its seeds.
    pub error: Option<f64>,
    /// The designed run's loss less that of the best baseline, seed by seed: below 0 the design is better.
    pub against_best: Option<Mean>,
    pub best_baseline: Option<String>,
}

impl Summary {
    pub fn of(plan: &Plan, rows: &[Row]) -> Summary {
        let best = best_peaks(plan, rows);
        let own = |index: usize| -> Vec<&Row> {
            let peak = match index {
                0 => Some(plan.spec.peak()),
                index => best[index - 1],
            };
            let same = rows.iter().filter(|r| r.index == index);
            same.filter(|r| Some(r.peak_lr) == peak).collect()
        };
        let designed = own(0);
        let paired = |others: &[&Row]| {
            let pairs = others.iter().filter_map(|r| {
                let mine = designed.iter().find(|d| d.seed == r.seed)?;
                Some(r.actual - mine.actual)
            });
            Mean::of(&pairs.collect::<Vec<_>>())
        };
        let mut lines: Vec<Line> = Vec::new();
        for index in 0..=plan.spec.baselines.len() {
            let rows = own(index);
            let actual: Vec<f64> = rows.iter().map(|r| r.actual).collect();
            if let (Some(row), Some(actual)) = (rows.first(), Mean::of(&actual)) {
                lines.push(Line {
                    schedule: row.schedule.clone(),
                    peak_lr: row.peak_lr,
                    predicted: row.predicted,
                    actual,
                    over_designed: (index > 0).then(|| paired(&rows)).flatten(),
                    index,
                });
            }
        }
        // Where a run failed, means are over different seeds; differences on the same seeds still compare.
        let level = Mean::of(&designed.iter().map(|r| r.actual).collect::<Vec<_>>());
        let level = |line: &Line| match (&line.over_designed, &level) {
            (Some(over), Some(level)) => level.mean + over.mean,
            _ => line.actual.mean,
        };
        lines.sort_by(|a, b| level(a).total_cmp(&level(b)));
        let predicted: Vec<f64> = lines.iter().map(|l| l.predicted).collect();
        let actual: Vec<f64> = lines.iter().map(level).collect();
        let best = lines.iter().find(|l| l.index > 0);
        Summary {
            spearman: spearman(&predicted, &actual),
            error: (lines.iter().find(|l| l.index == 0)).map(|l| l.predicted - l.actual.mean),
            against_best: best
                .and_then(|b| b.over_designed)
                .map(|m| Mean { mean: -m.mean, ..m }),
            best_baseline: best.map(|l| l.schedule.clone()),
            lines,
        }
    }
}

/// Spearman's rank correlation, equal values sharing their mean rank; none of fewer than three values, or where one side
/// is all the same.
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() < 3 {
        return None;
    }
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 + 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| -> f64 {
        let pairs = x.iter().zip(y);
        pairs.map(|(x, y)| (x - mean) * (y - mean)).sum()
    };
    let spread = (product(&a, &a) * product(&b, &b)).sqrt();
    (spread > 0.0).then(|| product(&a, &b) / spread)
}

/// From 1, equal values sharing the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |x: &f64| {
        let below = values.iter().filter(|v| *v < x).count() as f64;
        let equal = values.iter().filter(|v| *v == x).count() as f64;
        below + (equal + 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}
