//! Why cells failed: records in `OUT/failures`, so that the tasks of an array job keep theirs apart. A cell that waits
//! for another has none.

use super::cell::Cell;
use super::suite::{State, Suite};
use crate::error::Result;
use crate::train::failures;
pub use crate::train::failures::{FAILURES_DIR, Failure};

/// Takes down why a cell failed, over what stood there.
///
/// # Errors
/// A place that cannot be written.
pub(super) fn record(suite: &Suite, cell: &Cell, why: &str) -> Result<()> {
    failures::record(&suite.spec.out, &cell.run, &cell.id, why)
}

/// Removes the record of a cell that is finished, if it has one.
///
/// # Errors
/// A file that cannot be removed.
pub(super) fn forget(suite: &Suite, cell: &Cell) -> Result<()> {
    failures::forget(&suite.spec.out, &cell.run)
}

/// The failures on record of cells that are not finished, in the order of the suite.
pub fn recorded(suite: &Suite) -> Vec<Failure> {
    let cells = suite.cells.iter();
    let left = cells.filter(|c| suite.state(c) != State::Finished);
    left.filter_map(|c| failures::recorded(&suite.spec.out, &c.run, &c.id))
        .collect()
}
