//! Trains the cells that are not finished, several at a time where that is asked for.

use super::cells::{Cell, Kind};
use super::plan::Plan;
use crate::error::{Error, Result};
use crate::schedule::Tail;
use crate::text::prepare::Progress;
use crate::train::branch::{BranchPoint, Cooldown};
use crate::train::cached::{self, State};
use crate::train::failures::{self, Failure};
use crate::train::run::{Observer, Run};
use crate::train::rundir::step_dir;
use crate::train::start::StartOptions;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};

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

/// Who watches: told of every cell, from the thread that trains it.
pub trait Watcher: Sync {
    /// Who watches the steps of a cell.
    fn observer(&self, cell: &Cell) -> Box<dyn Observer + Send + '_>;
    fn begins(&self, cell: &Cell);
    fn ends(&self, cell: &Cell, outcome: &Outcome);
}

/// What the threads share.
struct Board {
    taken: Vec<bool>,
    outcomes: Vec<Option<Outcome>>,
    /// What ends everything: an interruption, or a record that cannot be written.
    end: Option<Error>,
}

/// Runs every cell that is not finished, `jobs` at a time, each on its share of the threads: a step's bits do not depend
/// on how many there are. A failure in one loses nothing but those that need it; why is put on record.
///
/// # Errors
/// Records that cannot be written; [`Error::Interrupted`] once `stop` is set, with everything saved.
pub fn run(
    plan: &Plan,
    cells: &[Cell],
    jobs: usize,
    watcher: &dyn Watcher,
    stop: &AtomicBool,
) -> Result<Vec<Outcome>> {
    let board = Mutex::new(Board {
        taken: vec![false; cells.len()],
        outcomes: vec![None; cells.len()],
        end: None,
    });
    let changed = Condvar::new();
    let one = || work(plan, cells, &board, &changed, watcher, stop);
    match jobs {
        0 | 1 => one(),
        jobs => {
            let threads = (rayon::current_num_threads() / jobs).max(1);
            let pools: Vec<rayon::ThreadPool> = (0..jobs)
                .map(|_| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                    pool.build().map_err(Error::backend)
                })
                .collect::<Result<_>>()?;
            std::thread::scope(|scope| {
                for pool in &pools {
                    scope.spawn(|| pool.install(one));
                }
            });
        }
    }
    let board = board.into_inner().unwrap_or_else(|e| e.into_inner());
    match board.end {
        Some(error) => Err(error),
        None => Ok(board.outcomes.into_iter().flatten().collect()),
    }
}

/// Tells the other threads when this one ends by a fault of the program, for which they would wait for ever.
struct Bell<'a> {
    board: &'a Mutex<Board>,
    changed: &'a Condvar,
}

impl Drop for Bell<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut board = self.board.lock().unwrap_or_else(|e| e.into_inner());
            let fault = "a run ended by a fault of this program";
            board.end.get_or_insert_with(|| Error::input(fault));
            self.changed.notify_all();
        }
    }
}

fn work(
    plan: &Plan,
    cells: &[Cell],
    board: &Mutex<Board>,
    changed: &Condvar,
    watcher: &dyn Watcher,
    stop: &AtomicBool,
) {
    let lock = || board.lock().unwrap_or_else(|e| e.into_inner());
    loop {
        let mut state = lock();
        let index = loop {
            if state.end.is_some() || state.taken.iter().all(|taken| *taken) {
                return;
            }
            let ready = |i: &usize| {
                let needs = cells[*i].needs();
                !state.taken[*i] && needs.is_none_or(|trunk| state.outcomes[trunk].is_some())
            };
            match (0..cells.len()).find(ready) {
                Some(index) => break index,
                None => state = changed.wait(state).unwrap_or_else(|e| e.into_inner()),
            }
        };
        state.taken[index] = true;
        drop(state);
        let _bell = Bell { board, changed };
        let outcome = one(plan, cells, index, watcher, stop);
        let mut state = lock();
        match outcome {
            Ok(outcome) => state.outcomes[index] = Some(outcome),
            Err(error) => {
                // What the others are told to do as well.
                if state.end.is_none() {
                    state.end = Some(error);
                }
            }
        }
        changed.notify_all();
    }
}

/// One cell, and what became of it.
fn one(
    plan: &Plan,
    cells: &[Cell],
    index: usize,
    watcher: &dyn Watcher,
    stop: &AtomicBool,
) -> Result<Outcome> {
    let (cell, out) = (&cells[index], &plan.spec.out);
    let finished = |cell: &Cell| cell.state(out) == State::Finished;
    let outcome = if finished(cell) {
        // Killed between its end and this, it would keep its record.
        failures::forget(out, &cell.run)?;
        Outcome::Cached
    } else if let Some(needed) = cell.needs().map(|i| &cells[i]).filter(|c| !finished(c)) {
        Outcome::Skipped(needed.id.clone())
    } else if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted(format!(
            "stopped before {}; everything is saved in {}",
            cell.id,
            out.display()
        )));
    } else {
        watcher.begins(cell);
        let mut observer = watcher.observer(cell);
        match train(plan, cells, cell, &mut *observer, stop) {
            Ok(()) => {
                failures::forget(out, &cell.run)?;
                Outcome::Finished
            }
            Err(e @ Error::Interrupted(_)) => return Err(e),
            Err(e) => {
                failures::record(out, &cell.run, &cell.id, &e.to_string())?;
                Outcome::Failed(e.to_string())
            }
        }
    };
    watcher.ends(cell, &outcome);
    Ok(outcome)
}

fn train(
    plan: &Plan,
    cells: &[Cell],
    cell: &Cell,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<()> {
    let out = &plan.spec.out;
    let dir = cell.dir(out);
    let start = |progress: &mut dyn Progress| match cell.kind {
        Kind::Whole => Run::start(
            &dir,
            cell.config.clone(),
            &StartOptions::default(),
            progress,
        ),
        Kind::Cooldown { trunk, .. } => branch(
            cell,
            &cells[trunk].dir(out),
            &cells[trunk].id,
            &dir,
            progress,
        ),
    };
    cached::finish(&dir, start, observer, &mut (), stop)
}

/// Begins a cooldown.
fn branch(
    cell: &Cell,
    trunk: &Path,
    id: &str,
    dir: &Path,
    progress: &mut dyn Progress,
) -> Result<Run> {
    let Kind::Cooldown {
        at,
        decay,
        final_ratio,
        ..
    } = cell.kind
    else {
        unreachable!("only cooldowns branch");
    };
    if !step_dir(trunk, at).exists() {
        return Err(Error::input(format!(
            "its trunk {id} has lost the checkpoint of step {at}; remove the directory {} and call this again, which trains the trunk anew",
            trunk.display()
        )));
    }
    let point = BranchPoint::find(trunk, Some(at))?;
    let mut config = point.config(&Cooldown {
        steps: cell.own_steps(),
        tail: Tail::Decay { decay, final_ratio },
    })?;
    config.eval.every = cell.config.eval.every;
    // The same text, which may have been moved since the trunk was trained.
    config.data = cell.config.data.clone();
    Run::branch(&point, config, dir, progress)
}

/// The cells that failed, and those that were skipped for it, each with the place of its log.
pub fn failed(plan: &Plan, cells: &[Cell], outcomes: &[Outcome]) -> Vec<Failure> {
    let out = &plan.spec.out;
    let all = cells.iter().zip(outcomes);
    all.filter_map(|(cell, outcome)| {
        let why = match outcome {
            Outcome::Cached | Outcome::Finished => return None,
            Outcome::Failed(why) => format!("{why} (its log: {})", cell.dir(out).display()),
            Outcome::Skipped(needed) => format!("skipped: it needs {needed}"),
        };
        let cell = cell.id.clone();
        Some(Failure { cell, why })
    })
    .collect()
}
