//! Runs that are cached by the hash of what decides their bits: what suites and loops are made of.
//!
//! The hash stands in the name of the run's directory, so that what is finished is known from the disk alone, and
//! whatever changes a run's result gives it another directory.

use super::RunConfig;
use super::run::{Observer, Run};
use super::rundir::{FINAL_DIR, RUN_FILE, VAL_CURVE_FILE, saved_steps};
use crate::error::{Error, Result};
use crate::text::prepare::Progress;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Characters of the hash in a directory's name: among a thousand cells the chance of one collision is 5·10⁻⁷.
const HASH: usize = 10;

/// What decides the results of a run besides its length: its configuration without what only says when to save and
/// what to show, and the text it reads: by its fingerprint, wherever it lies.
pub fn key(config: &RunConfig, data_fingerprint: &str) -> String {
    let mut table = config.to_table();
    for section in ["checkpoint", "sample"] {
        table.remove(section);
    }
    // Without a redesign a law looks on and decides nothing.
    if config.law.redesign.is_empty() {
        table.remove("law");
    }
    if !config.average.weight_average && !config.average.ema {
        table.remove("average");
    }
    for (section, key) in [("eval", "every"), ("data", "path"), ("data", "cache")] {
        if let Some(keys) = table.get_mut(section).and_then(|t| t.as_table_mut()) {
            keys.remove(key);
        }
    }
    if let Some(train) = table.get_mut("train").and_then(|t| t.as_table_mut()) {
        train.remove("recompute");
        train.remove("iterations");
    }
    format!("{table}\ndata = {data_fingerprint}")
}

/// The name of a run's directory: `id` and the hash of `key`.
pub fn named(id: &str, key: &str) -> String {
    let hash = blake3::hash(key.as_bytes()).to_hex();
    format!("{id}-{}", &hash.as_str()[..HASH])
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    New,
    /// Saved up to this step.
    Begun(u64),
    Finished,
}

/// How far the run in `dir` is, which starts with `first_step` completed steps, by its directory.
pub fn state(dir: &Path, first_step: u64) -> State {
    if dir.join(FINAL_DIR).exists() {
        return State::Finished;
    }
    match dir.join(RUN_FILE).exists() {
        false => State::New,
        true => {
            let saved = saved_steps(dir).unwrap_or_default();
            State::Begun(saved.last().copied().unwrap_or(0).max(first_step))
        }
    }
}

/// Trains the run in `dir` to its end, from wherever it is; `start` begins it where it has not begun.
///
/// # Errors
/// What `start`, [`Run::resume`] and [`Run::train`] say.
pub fn finish(
    dir: &Path,
    start: impl FnOnce(&mut dyn Progress) -> Result<Run>,
    observer: &mut dyn Observer,
    progress: &mut dyn Progress,
    stop: &AtomicBool,
) -> Result<()> {
    let mut run = match state(dir, 0) {
        State::Begun(_) | State::Finished => Run::resume(dir, None, progress)?,
        State::New => start(progress)?,
    };
    if !run.is_finished() {
        run.train(observer, stop)?;
    }
    Ok(())
}

/// The held-out loss that the run in `dir` logged after step `steps`, in nats a token.
///
/// # Errors
/// A log that cannot be read, or that has no such loss.
pub fn final_loss(dir: &Path, steps: u64) -> Result<f64> {
    let path = &dir.join(VAL_CURVE_FILE);
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let loss = text.lines().rev().find_map(|line| {
        let mut fields = line.split(',');
        let step: u64 = fields.next()?.parse().ok()?;
        let loss: f64 = fields.next()?.parse().ok()?;
        (step == steps).then_some(loss)
    });
    loss.ok_or_else(|| Error::corrupt(path, format!("it has no loss after step {steps}")))
}

/// Takes `out` for this process alone, by its file `name`; however the process ends, the system releases it.
///
/// # Errors
/// Another process holds it; a place that cannot be written.
pub fn lock(out: &Path, name: &str) -> Result<File> {
    let path = out.join(name);
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
