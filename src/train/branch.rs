//! Cooldowns from checkpoints: a run that goes on where another one was, under a schedule of its own.
//!
//! Weights, moments, updates, data position and dropout masks go on exactly as in the trunk; only the learning rate
//! changes. A branch is a run like any other: its directory holds the trunk's log up to the branch and a
//! checkpoint of that step, and it can be killed, resumed and branched from. The trunk is only read.
//!
//! Hägele et al. 2024 (arXiv 2405.18392): one constant-LR run cooled down at many lengths replaces a run a length.

use super::average::{Averages, window_dir};
use super::checkpoint::{self, State};
use super::config::RunConfig;
use super::live;
use super::run_file::{self, BranchedFrom};
use super::rundir::{
    AVERAGE_CURVE_FILE, AVERAGES_DIR, CURVE_FILE, METRICS_FILE, RUN_FILE, RunDir, TOKENIZER_FILE,
    VAL_CURVE_FILE, put, saved_steps, step_dir,
};
use super::trainer::Trainer;
use crate::error::{Error, Result};
use crate::files;
use crate::schedule::{Shape, Tail};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How a branch cools down.
#[derive(Clone, Debug, PartialEq)]
pub struct Cooldown {
    /// At least 1.
    pub steps: u64,
    pub tail: Tail,
}

/// A checkpoint to branch from.
#[derive(Clone, Debug)]
pub struct BranchPoint {
    /// The trunk's directory.
    pub trunk: PathBuf,
    /// Completed steps.
    pub at: u64,
    /// What the trunk was trained with up to there.
    pub config: RunConfig,
}

impl BranchPoint {
    /// Finds the checkpoint of a run at a step; `None` takes the newest.
    ///
    /// # Errors
    /// No run, no checkpoint at that step (naming those there are), or one that is damaged.
    pub fn find(trunk: &Path, at: Option<u64>) -> Result<BranchPoint> {
        if !trunk.join(RUN_FILE).exists() {
            return Err(Error::input(format!(
                "{} holds no run (there is no {RUN_FILE}); give the trunk as RUN@STEP, with the directory that `lehr train` printed",
                trunk.display()
            )));
        }
        let steps = saved_steps(trunk)?;
        let saved = match at {
            None => steps.last().copied(),
            Some(at) => steps.contains(&at).then_some(at),
        };
        let Some(at) = saved else {
            return Err(Error::input(match (at, steps.as_slice()) {
                (_, []) => format!(
                    "{} has no checkpoint yet; wait for one, or train with --checkpoint-every",
                    trunk.display()
                ),
                (at, steps) => format!(
                    "{} has no checkpoint at step {}; it has {} (train with --checkpoint-at, --permanent-every or --keep-last 0 to keep more)",
                    trunk.display(),
                    at.unwrap_or_default(),
                    list(steps)
                ),
            }));
        };
        let State {
            mut config, law, ..
        } = checkpoint::read_state(&step_dir(trunk, at))?;
        // What the LRs were up to there is what a law has made of them.
        if let Some(name) = law.and_then(|law| law.schedule) {
            config.schedule.scheduler = live::scheduler(trunk, &name);
        }
        config.law.redesign.clear();
        config.law.stop_when.clear();
        // Where the trunk is now, if it has been moved.
        config.train.device = run_file::read(&trunk.join(RUN_FILE))?.config.train.device;
        config.train.dtype = config.train.dtype.moved_to(config.train.device);
        Ok(BranchPoint {
            trunk: trunk.to_path_buf(),
            at,
            config,
        })
    }

    /// Steps of a cooldown that is a share of the whole branch: T − t, with T = t/(1 − share) rounded.
    ///
    /// # Errors
    /// A share outside (0, 1], 1 itself, and any share of a run of which nothing has been trained.
    pub fn steps_of(&self, fraction: f64) -> Result<u64> {
        if !(fraction > 0.0 && fraction <= 1.0) {
            return Err(Error::input(format!(
                "--fraction {fraction}: the cooldown's share of the run must be above 0 and at most 1"
            )));
        }
        if self.at == 0 {
            return Err(Error::input(format!(
                "--fraction {fraction}: no step has been trained at this checkpoint, so no share of the run is behind it; wait for a later one, or give --steps"
            )));
        }
        if fraction == 1.0 {
            return Err(Error::input(format!(
                "--fraction 1: {} steps are behind this checkpoint, so a cooldown can only be a part of the run; give less than 1, or --steps",
                self.at
            )));
        }
        let total = (self.at as f64 / (1.0 - fraction)).round();
        // In floating point, where nothing wraps.
        if total > 1e9 {
            return Err(Error::input(format!(
                "--fraction {fraction} of a run with {} steps before its cooldown makes {total:e} steps; give a smaller share",
                self.at
            )));
        }
        Ok((total as u64).saturating_sub(self.at).max(1))
    }

    /// Whether the trunk's LR had begun to fall before this checkpoint, as its share of the peak.
    pub fn decayed_to(&self) -> Result<Option<f64>> {
        let schedule = self.config.schedule()?;
        let share = schedule.lr(self.at) / schedule.peak_lr();
        let warming = self.at < schedule.warmup_steps();
        Ok((share < 1.0 && !warming).then_some(share))
    }

    /// The configuration of the branch: the trunk's, with another schedule and end.
    ///
    /// # Errors
    /// A cooldown that the schedule refuses.
    pub fn config(&self, cooldown: &Cooldown) -> Result<RunConfig> {
        let mut config = self.config.clone();
        let shape = Shape::Branch {
            at: self.at,
            horizon: self.config.train.iterations,
            tail: cooldown.tail.clone(),
            trunk: Box::new(Shape::from_str(&self.config.schedule.scheduler)?),
        };
        config.schedule.scheduler = shape.to_string();
        config.train.iterations = self.at.saturating_add(cooldown.steps);
        // Which of the trunk's steps are kept is no matter of the branch.
        config.checkpoint.at.clear();
        config.validate()?;
        Ok(config)
    }
}

/// The checkpoint that a branch goes on from, read and checked.
pub(super) struct Departure {
    /// The trunk's directory.
    run: PathBuf,
    /// The checkpoint's.
    pub dir: PathBuf,
    pub state: State,
}

impl Departure {
    /// The trunk's directory.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// # Errors
    /// The checkpoint was removed, or is damaged.
    pub fn read(origin: &BranchedFrom) -> Result<Departure> {
        let dir = step_dir(&origin.run, origin.step);
        if !dir.exists() {
            return Err(Error::input(format!(
                "the checkpoint that this run branches from, {}, is gone, and the run has none of its own yet; branch from another one",
                dir.display()
            )));
        }
        let state = checkpoint::read_state(&dir)?;
        let run = origin.run.clone();
        Ok(Departure { run, dir, state })
    }
}

/// Brings the trunk's past into a branch: its tokenizer, its logs, which whoever opens them cuts at the branch, and
/// the windows that averages along the branch look back at. Gives the averages as they stood.
pub(super) fn fill(
    dir: &RunDir,
    point: &Departure,
    trainer: &Trainer,
    notices: &mut Vec<String>,
) -> Result<Averages> {
    for name in [
        TOKENIZER_FILE,
        METRICS_FILE,
        CURVE_FILE,
        VAL_CURVE_FILE,
        AVERAGE_CURVE_FILE,
    ] {
        let from = point.run.join(name);
        if from.exists() && name == METRICS_FILE {
            copy_log(&from, &dir.join(name))?;
        } else if from.exists() {
            copy(&from, &dir.join(name))?;
        }
    }
    let average = &trainer.config().average;
    let looked_at = if average.sweep { average.max_sweeps } else { 1 };
    let state = point.state.average.iter();
    let finished = state.flat_map(|s| s.windows.iter().rev().take(looked_at as usize));
    for &step in finished {
        let from = window_dir(&point.run.join(AVERAGES_DIR), step);
        if from.exists() {
            let averages = dir.join(AVERAGES_DIR);
            std::fs::create_dir_all(&averages)
                .map_err(|e| Error::io("create the directory", &averages, e))?;
            put(&window_dir(&averages, step), |aside| {
                let files = std::fs::read_dir(&from).map_err(|e| Error::io("read", &from, e))?;
                for file in files.flatten() {
                    copy(&file.path(), &aside.join(file.file_name()))?;
                }
                Ok(())
            })?;
        }
    }
    Averages::restore(dir.path(), &point.dir, &point.state, trainer, notices)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = std::fs::read(from).map_err(|e| Error::io("read", from, e))?;
    files::write(to, &bytes)
}

/// Without what the law said of the trunk's end, which is not the branch's.
fn copy_log(from: &Path, to: &Path) -> Result<()> {
    let bytes = std::fs::read(from).map_err(|e| Error::io("read", from, e))?;
    let of_trunk = |line: &&[u8]| {
        let json = serde_json::from_slice::<serde_json::Value>(line).unwrap_or_default();
        json.get("law").or(json.get("decision")).is_some()
    };
    let lines = bytes.split_inclusive(|b| *b == b'\n');
    files::write(
        to,
        &lines.filter(|l| !of_trunk(l)).collect::<Vec<_>>().concat(),
    )
}

/// How the run in `dir` is another one than the branch that is asked for; `None` where it is that branch.
///
/// # Errors
/// A `run.toml` that cannot be read.
pub fn differs(dir: &Path, point: &BranchPoint, config: &RunConfig) -> Result<Option<String>> {
    let there = run_file::read(&dir.join(RUN_FILE))?;
    let origin = BranchedFrom::of(point)?;
    match there.origin.branched_from {
        Some(branched) if branched == origin => {}
        Some(branched) => {
            return Ok(Some(format!(
                "a branch of {} at step {}",
                branched.run.display(),
                branched.step
            )));
        }
        None => return Ok(Some("no branch".into())),
    }
    // A branch that has been moved is the same branch.
    let mut asked = config.clone();
    asked.train.device = there.config.train.device;
    asked.train.dtype = asked.train.dtype.moved_to(asked.train.device);
    let difference = asked.differences(&there.config).into_iter().next();
    Ok(difference.map(|d| d.replace(" is ", " is asked for as ")))
}

/// `1, 2 and 3`, shortened.
fn list(steps: &[u64]) -> String {
    const SHOWN: usize = 8;
    let skipped = steps.len().saturating_sub(SHOWN);
    let mut words: Vec<String> = steps[skipped..].iter().map(u64::to_string).collect();
    let last = words.pop().unwrap_or_default();
    let start = if skipped > 0 { "…, " } else { "" };
    match words.is_empty() {
        true => last,
        false => format!("{start}{} and {last}", words.join(", ")),
    }
}
