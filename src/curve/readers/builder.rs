//! Rows with names, as logs of objects have them, into columns.

use super::json::Json;
use crate::curve::columns::{Role, role_of};
use crate::curve::frame::{Column, Frame, MOST_CELLS, Places};
use std::collections::HashMap;

/// Nested objects are flattened this deep: `{"train": {"loss": 3}}` is `train/loss`.
const DEPTH: usize = 3;
/// Longer names are no names of columns.
const LONGEST_NAME: usize = 200;
/// More columns are no log of a run; what comes after them is not kept.
const MOST_COLUMNS: usize = 10_000;

/// Collects rows.
#[derive(Default)]
pub(super) struct Builder {
    columns: Vec<Column>,
    /// Name to index; only looked up, never walked.
    index: HashMap<String, usize>,
    lines: Vec<u32>,
    cells: usize,
}

impl Builder {
    /// Begins a row; `line` is where it stands, counted from 1.
    pub fn row(&mut self, line: u32) {
        self.lines.push(line);
    }

    /// Sets a cell of the current row.
    pub fn number(&mut self, name: &str, value: f64) {
        let row = self.current();
        if let Some(column) = self.column(name) {
            column.cells.push((row, value));
        }
    }

    /// Sets a cell of the current row from text. Only columns that may matter can be at fault.
    pub fn text(&mut self, name: &str, text: &str) {
        let row = self.current();
        let counts = role_of(name).is_some() || text.parse::<f64>().is_ok();
        if counts && let Some(column) = self.column(name) {
            column.push_text(row, text);
        }
    }

    /// All numbers of an object, nested ones under `outer/inner`.
    pub fn object(&mut self, pairs: &[(Box<str>, Json)]) {
        self.nested(pairs, "", DEPTH);
        // Our own log: an update that was left out applied no LR.
        if pairs
            .iter()
            .any(|(key, value)| &**key == "skipped" && *value == Json::Bool(true))
        {
            let row = self.current();
            let lr = self
                .index
                .get("lr")
                .and_then(|&at| self.columns.get_mut(at));
            let last = lr.and_then(|c| c.cells.last_mut());
            if let Some(cell) = last.filter(|cell| cell.0 == row) {
                cell.1 = 0.0;
            }
        }
    }

    fn nested(&mut self, pairs: &[(Box<str>, Json)], prefix: &str, depth: usize) {
        for (key, value) in pairs {
            let name = match prefix {
                "" if key.len() <= LONGEST_NAME => key.to_string(),
                _ if prefix.len() + key.len() < LONGEST_NAME => format!("{prefix}/{key}"),
                _ => continue,
            };
            match value {
                Json::Number(value) => self.number(&name, *value),
                Json::Text(text) => self.text(&name, text),
                Json::Map(inner) if depth > 1 => self.nested(inner, &name, depth - 1),
                _ => {}
            }
        }
    }

    fn current(&self) -> u32 {
        self.lines.len().saturating_sub(1) as u32
    }

    /// The column of a cell that is about to be set; `None` where there is no room for it.
    fn column(&mut self, name: &str) -> Option<&mut Column> {
        self.cells += 1;
        if self.cells > MOST_CELLS {
            return None;
        }
        let at = match self.index.get(name) {
            Some(&at) => at,
            None if self.columns.len() >= MOST_COLUMNS => return None,
            None => {
                self.columns.push(Column::new(name));
                self.index.insert(name.to_string(), self.columns.len() - 1);
                self.columns.len() - 1
            }
        };
        self.columns.get_mut(at)
    }

    /// Whether the rows seen make a table: a step and a loss.
    pub fn is_log(&self) -> bool {
        let has = |want: fn(Role) -> bool| {
            self.columns
                .iter()
                .any(|c| role_of(&c.name).is_some_and(|(role, _)| want(role)))
        };
        has(|r| r == Role::Step) && has(|r| matches!(r, Role::Loss(_)))
    }

    /// The table; rows are named by line where `lines`, otherwise by number.
    pub fn frame(self, key: Option<String>, lines: bool) -> Frame {
        let places = if lines {
            Places::Lines(self.lines)
        } else {
            Places::Rows
        };
        let mut frame = Frame::new(key, self.columns, places);
        frame.overflow = self.cells > MOST_CELLS;
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_the_limit_are_told_and_not_kept() {
        let mut builder = Builder {
            cells: MOST_CELLS - 1,
            ..Builder::default()
        };
        builder.row(1);
        builder.number("step", 1.0);
        builder.number("loss", 1.0);
        let frame = builder.frame(None, true);
        assert!(frame.overflow);
        assert_eq!(frame.columns.len(), 1);
    }
}
