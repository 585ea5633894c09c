//! Runs the cells one by one: skips what is finished, resumes what was begun, starts the rest.

use super::cell::{Cell, Kind};
use super::pool;
use super::results;
use super::suite::{State, Suite};
use crate::error::{Error, Result};
use crate::files;
use crate::schedule::Tail;
use crate::text::prepare::Progress;
use crate::train::branch::{BranchPoint, Cooldown};
use crate::train::run::{Observer, Run};
use crate::train::rundir::step_dir;
use crate::train::start::StartOptions;
use serde::Serialize;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::atomic::AtomicBool;

pub const FAILURES_FILE: &str = "failures.json";

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

/// A cell that could not be run.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    pub cell: String,
    pub why: String,
}

/// Runs every cell that is not finished. A failure in one loses nothing but those that need it.
///
/// `results.csv` is written anew after every cell, `failures.json` where there are failures.
///
/// # Errors
/// Another process runs this suite; results that cannot be written; [`Error::Interrupted`] once `stop` is
/// set, with everything saved.
pub fn run(
    suite: &Suite,
    watcher: &mut dyn Watcher,
    progress: &mut dyn Progress,
    stop: &AtomicBool,
) -> Result<Vec<Outcome>> {
    let out = &suite.spec.out;
    std::fs::create_dir_all(out).map_err(|e| Error::io("create the directory", out, e))?;
    let _lock = lock(out)?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (index, cell) in suite.cells.iter().enumerate() {
        let outcome = if suite.state(cell) == State::Finished {
            Outcome::Cached
        } else if let Some(needed) = missing(suite, cell) {
            Outcome::Skipped(needed)
        } else {
            watcher.begins(suite, index);
            match train(suite, cell, watcher, progress, stop) {
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
    let (rows, unreadable) = results::collect(suite);
    results::write(suite, &rows)?;
    let mut failed = failures(suite, &outcomes);
    failed.extend(unreadable);
    record(out, &failed)?;
    Ok(outcomes)
}

/// The cell that a cell needs, where it is not finished.
fn missing(suite: &Suite, cell: &Cell) -> Option<String> {
    let needed = &suite.cells[cell.needs()?];
    (suite.state(needed) != State::Finished).then(|| needed.id.clone())
}

/// Trains one cell to its end, from wherever it is.
///
/// # Errors
/// What [`Run::train`] says; the cell that this one needs is not finished.
pub fn train(
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
    let mut run = match suite.state(cell) {
        State::Begun(_) | State::Finished => Run::resume(&dir, progress)?,
        State::New => start(suite, cell, &dir, progress)?,
    };
    if !run.is_finished() {
        run.train(observer, stop)?;
    }
    Ok(())
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
            trunk, at, tailing, ..
        } => {
            let cooldown = Cooldown {
                steps: cell.own_steps(),
                tail: Tail::Decay {
                    decay: tailing.decay,
                    final_ratio: tailing.final_ratio,
                },
            };
            let trunk = pool::holder(suite, &suite.cells[*trunk], *at);
            if !step_dir(&trunk, *at).exists() {
                return Err(Error::input(format!(
                    "its trunk has lost the checkpoint of step {at}; remove {} and run the suite again",
                    trunk.display()
                )));
            }
            let point = BranchPoint::find(&trunk, Some(*at))?;
            let config = point.config(&cooldown)?;
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

/// Writes `failures.json`, or removes an older one where nothing failed.
fn record(out: &Path, failures: &[Failure]) -> Result<()> {
    let path = out.join(FAILURES_FILE);
    if failures.is_empty() {
        if path.exists() {
            std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
        }
        return Ok(());
    }
    let text = serde_json::to_vec_pretty(failures).map_err(Error::backend)?;
    files::write(&path, &text)
}

/// One process runs a suite at a time; however it ends, the system releases the lock.
fn lock(out: &Path) -> Result<File> {
    let path = out.join("suite.lock");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| Error::io("open", &path, e))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::input(format!(
            "{} is in use by a live process; wait for it to end",
            out.display()
        ))),
        Err(TryLockError::Error(e)) => Err(Error::io("lock", &path, e)),
    }
}
