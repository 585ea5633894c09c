//! Why cached runs failed: one file a run in `OUT/failures`, so that processes which know nothing of one another cannot
//! overwrite each other's.
//!
//! A record carries the run's directory, and so its hash, in its name: what an older edit failed at is nothing to this
//! one. Its own success removes it.

use crate::error::{Error, Result};
use crate::files;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

pub const FAILURES_DIR: &str = "failures";

/// A cell that could not be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub cell: String,
    pub why: String,
}

/// Takes down why the run in the directory `run` failed, over what stood there.
///
/// # Errors
/// A place that cannot be written.
pub fn record(out: &Path, run: &str, cell: &str, why: &str) -> Result<()> {
    let path = path(out, run);
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create the directory", dir, e))?;
    let failure = Failure {
        cell: cell.to_string(),
        why: why.to_string(),
    };
    let text = serde_json::to_vec_pretty(&failure).map_err(Error::backend)?;
    files::write(&path, &text)
}

/// Removes the record of a run that is finished, if it has one.
///
/// # Errors
/// A file that cannot be removed.
pub fn forget(out: &Path, run: &str) -> Result<()> {
    let path = path(out, run);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &path, e)),
        _ => Ok(()),
    }
}

/// The record of a run, if it has one; one that cannot be read still says that its cell failed.
pub fn recorded(out: &Path, run: &str, cell: &str) -> Option<Failure> {
    let path = path(out, run);
    let unread = |why: &str| Failure {
        cell: cell.to_string(),
        why: format!(
            "it failed, but {} cannot be read ({why}); run it again",
            path.display()
        ),
    };
    match std::fs::read(&path) {
        Ok(text) => Some(serde_json::from_slice(&text).unwrap_or_else(|e| unread(&e.to_string()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => Some(unread(&e.to_string())),
    }
}

fn path(out: &Path, run: &str) -> PathBuf {
    out.join(FAILURES_DIR).join(format!("{run}.json"))
}
