//! The directory of a run: its files, its lock, its checkpoints by step.

use crate::error::{Error, Result};
use crate::files;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

pub const RUN_FILE: &str = "run.toml";
pub const METRICS_FILE: &str = "metrics.jsonl";
pub const CURVE_FILE: &str = "curve.csv";
pub const VAL_CURVE_FILE: &str = "curve.val.csv";
pub const AVERAGE_CURVE_FILE: &str = "curve.average.csv";
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// The schedule of a run under `--scheduler law:FILE`, designed before the run is there.
pub const SCHEDULE_FILE: &str = "schedule.json";
pub const FINAL_DIR: &str = "final";
pub const AVERAGES_DIR: &str = "averages";
/// What a live law keeps of earlier runs, written before the run is there.
pub const PROBES_FILE: &str = "probes.json";
const LOCK_FILE: &str = "run.lock";
const STEP_PREFIX: &str = "step-";

/// A run's directory, held by this process alone until it is dropped.
///
/// The lock belongs to the process: however it ends, a kill included, the system releases it.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    _lock: File,
}

impl RunDir {
    /// Creates the directory of a new run and takes it.
    ///
    /// # Errors
    /// A run is there already, or the place cannot be written.
    pub fn create(path: &Path) -> Result<RunDir> {
        std::fs::create_dir_all(path).map_err(|e| Error::io("create the directory", path, e))?;
        let dir = RunDir::lock(path)?;
        if path.join(RUN_FILE).exists() {
            return Err(Error::input(format!(
                "{0} holds a run already; continue it with `lehr resume {0}`, or give another --name",
                path.display()
            )));
        }
        // Without its run.toml an older run's checkpoints would be taken for this run's.
        let entries = std::fs::read_dir(path).map_err(|e| Error::io("read", path, e))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let before = [LOCK_FILE, TOKENIZER_FILE, SCHEDULE_FILE, PROBES_FILE];
            if !before.contains(&&*name) && !is_ours_unfinished(&name) {
                return Err(Error::input(format!(
                    "{} is not empty (it holds {name}); give a --name that is not taken",
                    path.display()
                )));
            }
        }
        Ok(dir)
    }

    /// Takes the directory of an existing run.
    ///
    /// # Errors
    /// No run is there, or a live process holds it.
    pub fn open(path: &Path) -> Result<RunDir> {
        if !path.join(RUN_FILE).exists() {
            return Err(Error::input(format!(
                "{} holds no run (there is no {RUN_FILE}); give the directory that `lehr train` printed",
                path.display()
            )));
        }
        RunDir::lock(path)
    }

    fn lock(path: &Path) -> Result<RunDir> {
        let lock_path = path.join(LOCK_FILE);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|e| Error::io("open", &lock_path, e))?;
        match lock.try_lock() {
            Ok(()) => Ok(RunDir {
                path: path.to_path_buf(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(Error::input(format!(
                "{} is in use by a live process; wait for it to end, or give another --name",
                path.display()
            ))),
            Err(TryLockError::Error(e)) => Err(Error::io("lock", &lock_path, e)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Where the checkpoint of a step lives: `step-00001000` after 1000 completed steps.
pub fn step_dir(run: &Path, step: u64) -> PathBuf {
    run.join(format!("{STEP_PREFIX}{step:08}"))
}

/// The steps that have a checkpoint directory, in order; what is still being written, or was
/// left half written, has another name and is not listed.
pub fn saved_steps(run: &Path) -> Result<Vec<u64>> {
    let mut steps = Vec::new();
    let entries = std::fs::read_dir(run).map_err(|e| Error::io("read the directory", run, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("read the directory", run, e))?;
        let name = entry.file_name();
        let step = name.to_str().and_then(|n| n.strip_prefix(STEP_PREFIX));
        steps.extend(step.and_then(|digits| digits.parse::<u64>().ok()));
    }
    steps.sort_unstable();
    Ok(steps)
}

/// Whether a name is of something that a run was writing, or removing, when it was killed.
fn is_ours_unfinished(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".tmp") else {
        return false;
    };
    let ours = [
        RUN_FILE,
        METRICS_FILE,
        CURVE_FILE,
        VAL_CURVE_FILE,
        AVERAGE_CURVE_FILE,
        TOKENIZER_FILE,
        FINAL_DIR,
    ];
    let stem = stem.strip_suffix(".old").unwrap_or(stem);
    stem.starts_with(STEP_PREFIX) || ours.contains(&stem)
}

/// Takes a checkpoint out of the list without deleting it: `step-N` becomes `step-N.damaged`.
pub fn set_aside(dir: &Path) -> Result<()> {
    let damaged = dir.with_extension("damaged");
    if damaged.exists() {
        remove(&damaged)?;
    }
    files::rename(dir, &damaged)
}

/// Removes what a killed process left half written.
pub fn sweep(run: &Path) -> Result<()> {
    let entries = std::fs::read_dir(run).map_err(|e| Error::io("read the directory", run, e))?;
    for entry in entries.flatten() {
        if is_ours_unfinished(&entry.file_name().to_string_lossy()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Fills a directory aside and puts it at `dir`; at every moment there is the old one, the new
/// one, or none, and never a part of one.
///
/// # Errors
/// What `fill` says; nothing is left aside then.
pub fn put(dir: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let aside = files::aside(dir);
    if aside.exists() {
        remove(&aside)?;
    }
    std::fs::create_dir_all(&aside).map_err(|e| Error::io("create the directory", &aside, e))?;
    if let Err(e) = fill(&aside) {
        let _ = std::fs::remove_dir_all(&aside);
        return Err(e);
    }
    files::sync_dir(&aside)?;
    discard(dir)?;
    files::rename(&aside, dir)
}

/// Removes a directory, if it is there, so that a kill leaves no part of it under its name.
pub fn discard(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let doomed = dir.with_extension("old.tmp");
    if doomed.exists() {
        remove(&doomed)?;
    }
    files::rename(dir, &doomed)?;
    remove(&doomed)
}

/// Removes a file or a whole directory.
fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    removed.map_err(|e| Error::io("remove", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = RunDir::create(dir.path()).unwrap();
        let error = RunDir::create(dir.path()).unwrap_err().to_string();
        assert!(error.contains("in use by a live process"), "{error}");
        drop(held);
        RunDir::create(dir.path()).unwrap();
    }

    #[test]
    fn an_existing_run_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            RunDir::open(dir.path())
                .unwrap_err()
                .to_string()
                .contains("holds no run")
        );
        std::fs::write(dir.path().join(RUN_FILE), "").unwrap();
        let error = RunDir::create(dir.path()).unwrap_err().to_string();
        assert!(error.contains("lehr resume"), "{error}");
    }

    #[test]
    fn a_directory_of_something_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(step_dir(dir.path(), 2900)).unwrap();
        let error = RunDir::create(dir.path()).unwrap_err().to_string();
        assert!(error.contains("step-00002900"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.tmp"), "x").unwrap();
        assert!(RunDir::create(dir.path()).is_err());
        sweep(dir.path()).unwrap();
        assert!(dir.path().join("thesis.tmp").exists());
    }

    #[test]
    fn steps_are_listed_in_order_and_leftovers_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "step-00000020",
            "step-00000003",
            "step-00000040.tmp",
            "step-00000050.damaged",
            "final",
        ] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert_eq!(saved_steps(dir.path()).unwrap(), [3, 20]);
        sweep(dir.path()).unwrap();
        assert!(!dir.path().join("step-00000040.tmp").exists());
        assert!(dir.path().join("final").exists());
    }
}
