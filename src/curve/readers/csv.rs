//! CSV and its kin: columns separated by commas, tabs, semicolons or blanks, named in the first line.
//!
//! The separator is the first of tab, comma and semicolon that the header holds, otherwise blanks.
//! Fields may be quoted; lines that are empty or start with `#` are skipped. A file that starts with
//! numbers has no header and is refused. A last line without an end that is short of fields was torn off
//! by a kill and is left out. The tables that W&B's pages export (`RUN - train/loss`) give one curve a run.

use crate::curve::columns::{Role, role_of};
use crate::curve::frame::{Column, Frame, MOST_CELLS, Places};
use crate::error::{Error, Result};
use std::borrow::Cow;

/// A table with more columns is no log of one run.
const MOST_COLUMNS: usize = 10_000;

/// Whether this line names a step and a loss: the header of such a file.
pub(in crate::curve) fn is_header(line: &str) -> bool {
    let separator = Separator::of(line);
    let Ok(fields) = separator.split(line) else {
        return false;
    };
    fields.len() > 1
        && fields.len() <= MOST_COLUMNS
        && fields.iter().any(|f| role_of(f).is_some())
        && fields.iter().all(|f| f.trim().parse::<f64>().is_err())
}

/// Whether this line is nothing but two or more numbers.
pub(in crate::curve) fn is_numbers(line: &str) -> bool {
    let Ok(fields) = Separator::of(line).split(line) else {
        return false;
    };
    fields.len() > 1 && fields.iter().all(|f| f.trim().parse::<f64>().is_ok())
}

/// # Errors
/// No header, a quote that does not close, a line with more fields than the header.
pub(in crate::curve) fn read(text: &str, file: &str) -> Result<Vec<Frame>> {
    let whole_end = text.ends_with(['\n', '\r']);
    let last_line = text.lines().count();
    let mut lines = (1u32..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let Some((number, header)) = lines.next() else {
        return Err(Error::input(format!("{file} is empty")));
    };
    if is_numbers(header) {
        return Err(Error::input(format!(
            "{file}, line {number}: there is no header; name the columns in a first line such as step,lr,loss"
        )));
    }
    let separator = Separator::of(header);
    let quote = |number: u32| {
        Error::input(format!(
            "{file}, line {number}: a quoted field does not end on its line"
        ))
    };
    let names = separator.split(header).map_err(|_| quote(number))?;
    if names.len() > MOST_COLUMNS {
        return Err(Error::input(format!(
            "{file}, line {number}: there are more than the {MOST_COLUMNS} columns that a loss curve may have"
        )));
    }
    let mut columns: Vec<Column> = names.iter().map(|n| Column::new(n.trim())).collect();
    let mut rows = Vec::new();
    let mut cells = 0;
    let mut notes = Vec::new();
    for (number, line) in lines {
        let fields = separator.split(line).map_err(|_| quote(number))?;
        if fields.len() > columns.len()
            && fields[columns.len()..].iter().any(|f| !f.trim().is_empty())
        {
            return Err(Error::input(format!(
                "{file}, line {number}: {} fields under a header of {}",
                fields.len(),
                columns.len()
            )));
        }
        if fields.len() < columns.len() && number as usize == last_line && !whole_end {
            notes.push(format!("line {number}, the last, is torn off and left out"));
            continue;
        }
        cells += fields.len();
        if cells > MOST_CELLS {
            break;
        }
        let row = rows.len() as u32;
        rows.push(number);
        for (column, field) in columns.iter_mut().zip(&fields) {
            column.push_text(row, field);
        }
    }
    let mut frames = by_run(columns, &Places::Lines(rows));
    for frame in &mut frames {
        frame.notes.clone_from(&notes);
        frame.overflow = cells > MOST_CELLS;
    }
    Ok(frames)
}

/// W&B's table of several runs, apart; any other table as it is.
fn by_run(columns: Vec<Column>, places: &Places) -> Vec<Frame> {
    let run = |c: &Column| c.name.split_once(" - ").map(|(run, _)| run.to_string());
    let mut runs: Vec<String> = Vec::new();
    for column in &columns {
        if let Some(run) = run(column)
            && !runs.contains(&run)
            && runs.len() < MOST_RUNS
        {
            runs.push(run);
        }
    }
    if runs.len() < 2 {
        return vec![Frame::new(None, columns, places.clone())];
    }
    let of = |name: &str| {
        let shared = |c: &Column| matches!(role_of(&c.name), Some((Role::Step, _)));
        let mine = (columns.iter()).filter(|c| run(c).map_or_else(|| shared(c), |r| r == name));
        let renamed = mine.map(|c| {
            let mut column = c.clone();
            if let Some((_, rest)) = c.name.split_once(" - ") {
                column.name = rest.to_string();
            }
            column
        });
        Frame::new(Some(name.to_string()), renamed.collect(), places.clone())
    };
    let with_loss = |f: &Frame| {
        f.columns
            .iter()
            .any(|c| matches!(role_of(&c.name), Some((Role::Loss(_), _))))
    };
    runs.iter().map(|name| of(name)).filter(with_loss).collect()
}

/// Each run gets its own copy of the shared columns.
const MOST_RUNS: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Separator {
    Char(char),
    Blanks,
}

impl Separator {
    fn of(header: &str) -> Separator {
        let held = ['\t', ',', ';'].into_iter().find(|&c| header.contains(c));
        held.map_or(Separator::Blanks, Separator::Char)
    }

    /// The fields of a line, unquoted, and one more than may be where there are too many; `Err` where a
    /// quote does not close.
    fn split(self, line: &str) -> std::result::Result<Vec<Cow<'_, str>>, ()> {
        let Separator::Char(separator) = self else {
            let fields = line.split_whitespace().take(MOST_COLUMNS + 1);
            return Ok(fields.map(Cow::Borrowed).collect());
        };
        if !line.contains('"') {
            let fields = line.split(separator).take(MOST_COLUMNS + 1);
            return Ok(fields.map(Cow::Borrowed).collect());
        }
        let mut fields = Vec::new();
        let mut rest = line;
        loop {
            let trimmed = rest.trim_start_matches(' ');
            let after = if let Some(quoted) = trimmed.strip_prefix('"') {
                let (field, after) = unquote(quoted)?;
                fields.push(Cow::Owned(field));
                after.trim_start_matches(' ')
            } else {
                let end = rest.find(separator).unwrap_or(rest.len());
                fields.push(Cow::Borrowed(&rest[..end]));
                &rest[end..]
            };
            match after.strip_prefix(separator) {
                Some(_) if fields.len() > MOST_COLUMNS => return Ok(fields),
                Some(next) => rest = next,
                None if after.is_empty() => return Ok(fields),
                // Text behind a closing quote is no CSV.
                None => return Err(()),
            }
        }
    }
}

/// The field up to its closing quote (a doubled quote is one), and what follows.
fn unquote(text: &str) -> std::result::Result<(String, &str), ()> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"').ok_or(())?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Ok((field, rest)),
        }
    }
}
