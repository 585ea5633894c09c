//! What a suite still lacks: the cells without an end, and how far each is.

use super::suite::{State, Suite};
use serde::Serialize;

/// A cell that is not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    pub cell: String,
    /// `not begun` or `begun`.
    pub state: &'static str,
    /// The step that it is saved at; none where it has not begun.
    pub step: Option<u64>,
}

impl Missing {
    /// `small-s0-trunk (begun, at step 40)`.
    pub fn words(&self) -> String {
        match self.step {
            None => format!("{} ({})", self.cell, self.state),
            Some(step) => format!("{} ({}, at step {step})", self.cell, self.state),
        }
    }
}

/// The cells that are not finished, in the order of the suite.
pub fn missing(suite: &Suite) -> Vec<Missing> {
    let cells = suite.cells.iter();
    cells
        .filter_map(|cell| {
            let (state, step) = match suite.state(cell) {
                State::Finished => return None,
                State::New => ("not begun", None),
                State::Begun(step) => ("begun", Some(step)),
            };
            let cell = cell.id.clone();
            Some(Missing { cell, state, step })
        })
        .collect()
}

/// The first few of a list, and how many there are besides.
pub fn few(list: &[String], shown: usize) -> String {
    let (first, rest) = list.split_at(shown.min(list.len()));
    let first = first.join(", ");
    match rest.len() {
        0 => first,
        n => format!("{first} and {n} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_and_a_count() {
        let list: Vec<String> = ["a", "b", "c"].map(String::from).into();
        assert_eq!(few(&list, 3), "a, b, c");
        assert_eq!(few(&list, 2), "a, b and 1 more");
        assert_eq!(few(&[], 2), "");
    }
}
