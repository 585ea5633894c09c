//! `results.csv`: one line a finished cell, and what the pairs of cooldown and cosine say.

use super::cell::{Cell, Kind};
use super::cost::Cost;
use super::failures::Failure;
use super::suite::{State, Suite};
use crate::error::{Error, Result};
use crate::files;
use crate::fit::student;
use crate::train::cached::final_loss;
use crate::train::rundir::CURVE_FILE;
use serde::Serialize;
use std::path::Path;

pub const RESULTS_FILE: &str = "results.csv";
const HEADER: &str = "size,seed,kind,params,tokens,flops,loss,steps,peak_lr,run";

/// One finished cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finished {
    pub size: String,
    pub seed: u64,
    /// `trunk`, `cooldown`, `cooldown-NAME` or `cosine`.
    pub kind: String,
    /// N: parameters with the head, a tied one counted, and without the input embedding: the count whose 6·N·D is
    /// nearest to `flops`.
    pub params: u64,
    /// Tokens that the model at its end has been trained on, its trunk's included.
    pub tokens: u64,
    /// Executed FLOPs of a training run that is `tokens` long (the head and attention's full square counted,
    /// the embedding's look-up not), whatever part of it the trunk shared.
    pub flops: f64,
    /// Held-out loss after the last step, in nats a token.
    pub loss: f64,
    pub steps: u64,
    /// Peak LR of this run.
    pub peak_lr: f64,
    /// Its directory, from the one that holds the results.
    pub run: String,
}

/// The finished cells, in the order of the suite, and those whose logs cannot be read: they cost the others nothing.
pub fn collect(suite: &Suite) -> (Vec<Finished>, Vec<Failure>) {
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    let done = suite.cells.iter();
    for cell in done.filter(|c| suite.state(c) == State::Finished) {
        match finished(suite, cell) {
            Ok(row) => rows.push(row),
            Err(e) => failures.push(Failure {
                cell: cell.id.clone(),
                why: format!(
                    "{e}; remove {} and run the suite again",
                    suite.dir(cell).display()
                ),
            }),
        }
    }
    (rows, failures)
}

fn finished(suite: &Suite, cell: &Cell) -> Result<Finished> {
    let model = suite.model(cell);
    let dir = suite.dir(cell);
    logged(&dir.join(CURVE_FILE), cell.first_step())?;
    Ok(Finished {
        size: model.name.clone(),
        seed: cell.seed,
        kind: cell.kind(),
        params: model.params.with_head as u64,
        tokens: cell.steps * model.tokens_per_step,
        flops: model.flops(cell.steps),
        loss: final_loss(&dir, cell.steps)?,
        steps: cell.steps,
        peak_lr: cell.config.schedule.peak_lr,
        run: format!("runs/{}", cell.run),
    })
}

/// Writes `results.csv`.
pub fn write(suite: &Suite, rows: &[Finished]) -> Result<()> {
    let mut csv = format!("{HEADER}\n");
    for r in rows {
        let Finished {
            size,
            seed,
            kind,
            params,
            tokens,
            flops,
            loss,
            steps,
            peak_lr,
            run,
        } = r;
        csv += &format!(
            "{size},{seed},{kind},{params},{tokens},{flops},{loss},{steps},{peak_lr},{run}\n"
        );
    }
    files::write(&suite.spec.out.join(RESULTS_FILE), csv.as_bytes())
}

/// FLOPs that were spent, by the steps in the logs of the cells that are finished.
///
/// Of the cells that the suite has now: what was trained before an edit, and is no longer among them, is not in it.
/// A step that was trained again after a kill counts once: its log holds it once. A log that cannot be read counts
/// nothing; [`collect`] names it.
pub fn spent(suite: &Suite) -> Cost {
    let cells = suite.cells.iter();
    let steps: Vec<u64> = cells
        .map(|cell| match suite.state(cell) {
            State::Finished => {
                logged(&suite.dir(cell).join(CURVE_FILE), cell.first_step()).unwrap_or(0)
            }
            _ => 0,
        })
        .collect();
    Cost::of(suite, |index, _| steps[index])
}

/// Lines of a curve after step `from`.
fn logged(path: &Path, from: u64) -> Result<u64> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let steps = text
        .lines()
        .filter_map(|l| l.split(',').next()?.parse::<u64>().ok());
    Ok(steps.filter(|&s| s > from).count() as u64)
}

/// Mean over seeds, and how far the seeds lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    pub mean: f64,
    /// Standard deviation between seeds; none with one seed.
    pub deviation: Option<f64>,
    pub seeds: usize,
}

impl Mean {
    /// `None` of nothing.
    pub fn of(values: &[f64]) -> Option<Mean> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        (n > 0.0).then_some(Mean {
            mean,
            deviation: (n > 1.0).then(|| (squares / (n - 1.0)).sqrt()),
            seeds: values.len(),
        })
    }

    /// Half-width of the 90 % interval of the mean, by Student's quantile; none with one seed.
    pub fn half_width(&self) -> Option<f64> {
        let quantile = match self.seeds {
            2 => 6.3138,
            3 => 2.9200,
            n => student(n as f64 - 1.0),
        };
        self.deviation
            .map(|d| quantile * d / (self.seeds as f64).sqrt())
    }
}

/// Two ways of ending at one horizon.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    pub size: String,
    /// `cooldown` or `cooldown-NAME`.
    pub kind: String,
    /// `cosine`; of a further cooldown without cosines, `cooldown`.
    pub against: &'static str,
    pub steps: u64,
    pub tokens: u64,
    /// Over the seeds that have it.
    pub loss: Mean,
    pub other: Option<Mean>,
    /// This one's loss less the other's, seed by seed.
    pub difference: Option<Mean>,
}

/// Every horizon of every size: the cooldowns beside the cosine of the same seed.
pub fn pairs(suite: &Suite, rows: &[Finished]) -> Vec<Pair> {
    let against = match suite.spec.cosine {
        true => "cosine",
        false => "cooldown",
    };
    let mut pairs: Vec<Pair> = Vec::new();
    for cell in &suite.cells {
        let (name, kind) = (&suite.model(cell).name, cell.kind());
        let seen = |p: &Pair| p.size == *name && p.kind == kind && p.steps == cell.steps;
        if !matches!(cell.kind, Kind::Cooldown { .. }) || pairs.iter().any(seen) {
            continue;
        }
        let of = |kind: &str| -> Vec<(u64, f64)> {
            let same = rows
                .iter()
                .filter(|r| r.size == *name && r.kind == kind && r.steps == cell.steps);
            same.map(|r| (r.seed, r.loss)).collect()
        };
        let (these, others) = (of(&kind), of(against));
        let losses = |of: &[(u64, f64)]| of.iter().map(|x| x.1).collect::<Vec<_>>();
        let Some(loss) = Mean::of(&losses(&these)) else {
            continue;
        };
        let paired = these.iter().filter_map(|(seed, loss)| {
            let other = others.iter().find(|(s, _)| s == seed)?;
            Some(loss - other.1)
        });
        let itself = kind == against;
        pairs.push(Pair {
            size: name.clone(),
            against,
            steps: cell.steps,
            tokens: cell.steps * suite.model(cell).tokens_per_step,
            loss,
            other: Mean::of(&losses(&others)).filter(|_| !itself),
            difference: Mean::of(&paired.collect::<Vec<_>>()).filter(|_| !itself),
            kind,
        });
    }
    pairs
}
