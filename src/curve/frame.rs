//! What every reader hands over: named columns of numbers, before anything is decided about them.

use super::LossKind;

/// Numbers of one file, in all columns together. A curve of a million rows with twenty columns has as many.
pub(super) const MOST_CELLS: usize = 20_000_000;

/// A table as a file gave it. Cells are sparse, so that memory stays proportional to the file
/// however its columns are spread over its rows.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// Its name inside a file that holds several.
    pub key: Option<String>,
    pub columns: Vec<Column>,
    /// How a row is called in a message.
    pub places: Places,
    /// What kind of loss a column called just `loss` holds, where the format says so.
    pub bare_loss: LossKind,
    /// Rows count completed updates: the row of step `t` carries the LR of update `t − 1`, and its
    /// batch loss was measured after `t − 1` of them. Otherwise the LR of row `t` is of update `t`.
    pub counts_completed: bool,
    /// What the reader had to decide.
    pub notes: Vec<String>,
    /// The file holds more numbers than [`MOST_CELLS`]; those beyond are not here.
    pub overflow: bool,
    /// From the file, where it says so.
    pub warmup: Option<u64>,
    pub parameters: Option<f64>,
}

/// One column: the rows that have a number in it, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    pub name: String,
    pub cells: Vec<(u32, f64)>,
    /// The first cell that holds something else than a number.
    pub bad: Option<(u32, String)>,
}

/// How rows are named in messages.
#[derive(Clone, Debug)]
pub(super) enum Places {
    /// Counted from 1.
    Rows,
    /// `lines[row]`, counted from 1.
    Lines(Vec<u32>),
}

impl Frame {
    pub fn new(key: Option<String>, columns: Vec<Column>, places: Places) -> Frame {
        Frame {
            key,
            columns,
            places,
            bare_loss: LossKind::Unknown,
            counts_completed: false,
            notes: Vec::new(),
            overflow: false,
            warmup: None,
            parameters: None,
        }
    }

    pub fn place(&self, row: u32) -> String {
        match &self.places {
            Places::Rows => format!("row {}", u64::from(row) + 1),
            Places::Lines(lines) => match lines.get(row as usize) {
                Some(line) => format!("line {line}"),
                None => format!("row {}", u64::from(row) + 1),
            },
        }
    }
}

impl Column {
    pub fn new(name: impl Into<String>) -> Column {
        Column {
            name: name.into(),
            ..Column::default()
        }
    }

    /// Takes a cell of text: empty and `null` are missing, `nan` and `inf` are numbers.
    pub fn push_text(&mut self, row: u32, text: &str) {
        let text = text.trim();
        if text.is_empty()
            || ["null", "none", "na", "n/a", "-"]
                .iter()
                .any(|n| text.eq_ignore_ascii_case(n))
        {
            return;
        }
        match text.parse() {
            Ok(value) => self.cells.push((row, value)),
            Err(_) if self.bad.is_none() => {
                self.bad = Some((row, text.chars().take(40).collect()));
            }
            Err(_) => {}
        }
    }
}
