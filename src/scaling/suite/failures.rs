//! Why cells failed: one file a cell in `OUT/failures`, so that the tasks of an array job, which know nothing of one
//! another, cannot overwrite each other's.
//!
//! A record carries the hash of its cell in its name: what an older edit of the suite failed at is nothing to this one. A
//! cell that waits for another has none; its own success removes it.

use super::cell::Cell;
use super::suite::{State, Suite};
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

/// Takes down why a cell failed, over what stood there.
///
/// # Errors
/// A place that cannot be written.
pub(super) fn record(suite: &Suite, cell: &Cell, why: &str) -> Result<()> {
    let path = path(suite, cell);
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create the directory", dir, e))?;
    let failure = Failure {
        cell: cell.id.clone(),
        why: why.to_string(),
    };
    let text = serde_json::to_vec_pretty(&failure).map_err(Error::backend)?;
    files::write(&path, &text)
}

/// Removes the record of a cell that is finished, if it has one.
///
/// # Errors
/// A file that cannot be removed.
pub(super) fn forget(suite: &Suite, cell: &Cell) -> Result<()> {
    let path = path(suite, cell);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &path, e)),
        _ => Ok(()),
    }
}

/// The failures on record of cells that are not finished, in the order of the suite.
pub fn recorded(suite: &Suite) -> Vec<Failure> {
    let cells = suite.cells.iter();
    let left = cells.filter(|c| suite.state(c) != State::Finished);
    left.filter_map(|cell| {
        let path = path(suite, cell);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
            Err(e) => return Some(unread(cell, &path, &e.to_string())),
        };
        let read = serde_json::from_slice(&text);
        Some(read.unwrap_or_else(|e| unread(cell, &path, &e.to_string())))
    })
    .collect()
}

/// A record that cannot be read still says that its cell failed.
fn unread(cell: &Cell, path: &Path, why: &str) -> Failure {
    Failure {
        cell: cell.id.clone(),
        why: format!(
            "it failed, but {} cannot be read ({why}); run the suite again",
            path.display()
        ),
    }
}

fn path(suite: &Suite, cell: &Cell) -> PathBuf {
    let dir = suite.spec.out.join(FAILURES_DIR);
    dir.join(format!("{}.json", cell.run))
}
