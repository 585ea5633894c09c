//! Runs the cells one by one: skips what is finished, resumes what was begun, starts the rest.

use super::cell::{Cell, Kind};
use super::failures::{self, Failure};
use super::pool;
use super::results;
use super::suite::{State, Suite};
use crate::error::{Error, Result};
use crate::schedule::Tail;
use crate::text::prepare::Progress;
use crate::train::branch::{BranchPoint, Cooldown};
use crate::train::cached;
use crate::train::run::{Observer, Run};
use crate::train::rundir::step_dir;
use crate::train::start::StartOptions;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// What became of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was finished before.
    Cached,
    Finished,
    /// Why, in a sentence.
    Failed(String),
    /// The cell that it needs, which is not finished.
    Skipped(String),
}

/// Who watches a suite: told of every cell, and of every step of the cell that is trained.
pub trait Watcher: Observer {
    fn begins(&mut self, suite: &Suite, index: usize);
    fn ends(&mut self, suite: &Suite, index: usize, outcome: &Outcome);
}

/// Runs every cell that is not finished. A failure in one loses nothing but those that need it.
///
/// `results.csv` is written anew after every cell; why a cell failed is put on record.
///
/// # Errors
/// Another process runs this suite; results or records that cannot be written; [`Error::Interrupted`] once `stop` is
/// set, with everything saved.
pub fn run(
    suite: &Suite,
    watcher: &mut dyn Watcher,
    progress: &mut dyn Progress,
    stop: &AtomicBool,
) -> Result<Vec<Outcome>> {
    let out = &suite.spec.out;
    std::fs::create_dir_all(out).map_err(|e| Error::io("create the directory", out, e))?;
    let _lock = cached::lock(out, "suite.lock")?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (index, cell) in suite.cells.iter().enumerate() {
        let outcome = if suite.state(cell) == State::Finished {
            // Killed between its end and this, it would keep its record.
            failures::forget(suite, cell)?;
            Outcome::Cached
        } else if let Some(needed) = missing(suite, cell) {
            Outcome::Skipped(needed)
        } else {
            watcher.begins(suite, index);
            match attempt(suite, cell, watcher, progress, stop) {
                Ok(()) => Outcome::Finished,
                Err(e @ Error::Interrupted(_)) => return Err(e),
                Err(e) => Outcome::Failed(e.to_string()),
            }
        };
        watcher.ends(suite, index, &outcome);
        let trained = outcome == Outcome::Finished;
        outcomes.push(outcome);
        if trained {
            results::write(suite, &results::collect(suite).0)?;
        }
    }
    results::write(suite, &results::collect(suite).0)?;
    Ok(outcomes)
}

/// The cell that a cell needs, where it is not finished.
fn missing(suite: &Suite, cell: &Cell) -> Option<String> {
    let needed = &suite.cells[cell.needs()?];
    (suite.state(needed) != State::Finished).then(|| needed.id.clone())
}

/// Trains one cell to its end, from wherever it is, and keeps on record why it failed.
///
/// # Errors
/// What [`Run::train`] says; the cell that this one needs is not finished.
pub fn attempt(
    suite: &Suite,
    cell: &Cell,
    observer: &mut dyn Watcher,
    progress: &mut dyn Progress,
    stop: &AtomicBool,
) -> Result<()> {
    let outcome = train(suite, cell, observer, progress, stop);
    match &outcome {
        Ok(()) => failures::forget(suite, cell)?,
        Err(Error::Interrupted(_)) => {}
        // Out of turn is no failure of the cell's own.
        Err(_) if missing(suite, cell).is_some() => {}
        Err(e) => failures::record(suite, cell, &e.to_string())
            .map_err(|r| Error::input(format!("{e}; and that is not on record: {r}")))?,
    }
    outcome
}

fn train(
    suite: &Suite,
    cell: &Cell,
    observer: &mut dyn Watcher,
    progress: &mut dyn Progress,
    stop: &AtomicBool,
) -> Result<()> {
    if let Some(needed) = missing(suite, cell) {
        return Err(Error::input(format!(
            "{} goes on from {needed}, which is not finished; run that cell first",
            cell.id
        )));
    }
    let dir = suite.dir(cell);
    let begin = |progress: &mut dyn Progress| start(suite, cell, &dir, progress);
    cached::finish(&dir, begin, observer, progress, stop)
}

fn start(suite: &Suite, cell: &Cell, dir: &Path, progress: &mut dyn Progress) -> Result<Run> {
    match &cell.kind {
        Kind::Trunk { .. } if let Some((from, at)) = pool::head_start(suite, cell) => {
            let (point, config) = pool::extension(cell, &from, at)?;
            Run::branch(&point, config, dir, progress)
        }
        Kind::Trunk { .. } | Kind::Cosine => {
            Run::start(dir, cell.config.clone(), &StartOptions::default(), progress)
        }
        Kind::Cooldown {
            trunk: needed,
            at,
            tailing,
            ..
        } => {
            let cooldown = Cooldown {
                steps: cell.own_steps(),
                tail: Tail::Decay {
                    decay: tailing.decay,
                    final_ratio: tailing.final_ratio,
                },
            };
            let trunk = pool::holder(suite, &suite.cells[*needed], *at);
            if !step_dir(&trunk, *at).exists() {
                return Err(Error::input(format!(
                    "its trunk {} has lost the checkpoint of step {at}; remove the directory {} and run `lehr suite {} --yes`, which trains the trunk again and then this cell",
                    suite.cells[*needed].id,
                    trunk.display(),
                    suite.spec.path.display()
                )));
            }
            let point = BranchPoint::find(&trunk, Some(*at))?;
            let mut config = point.config(&cooldown)?;
            // The same text, which may have been moved since the trunk was trained.
            config.data = cell.config.data.clone();
            Run::branch(&point, config, dir, progress)
        }
    }
}

/// The cells that failed, and those that were skipped for it.
pub fn failures(suite: &Suite, outcomes: &[Outcome]) -> Vec<Failure> {
    let cells = suite.cells.iter().zip(outcomes);
    cells
        .filter_map(|(cell, outcome)| {
            let why = match outcome {
                Outcome::Cached | Outcome::Finished => return None,
                Outcome::Failed(why) => why.clone(),
                Outcome::Skipped(needed) => format!("skipped: it needs {needed}"),
            };
            let cell = cell.id.clone();
            Some(Failure { cell, why })
        })
        .collect()
}
