//! Trained models as points: parameters, tokens, FLOPs and the loss they ended at.
//!
//! [`read`] takes tables of others (CSV, JSON) and the `results.csv` of a suite. N, D and C are linked by
//! C = 6·N·D (Kaplan et al. 2020): where one of the three is missing it is computed so, and [`Points::notes`] says it.

mod columns;
mod table;

pub use columns::Columns;

use crate::error::{Error, Result};
use columns::Chosen;
use serde::Serialize;
use std::path::Path;
use table::Table;

/// Training FLOPs a parameter and token: two forward, four backward.
pub const FLOPS_A_PAIR: f64 = 6.0;
/// What a suite calls its table.
const RESULTS: &str = "results.csv";
/// A larger file holds no table of trained models.
const LARGEST_FILE: u64 = 256 << 20;
/// Fewer parameters are told in another unit, or are another column.
const FEWEST_PARAMS: f64 = 1e3;
/// FLOPs are told to be counted otherwise when they differ from 6·N·D by more than this share.
const COUNTED_OTHERWISE: f64 = 0.1;

/// One trained model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Parameters, counted as whoever made the point counted them.
    pub params: f64,
    /// Training tokens.
    pub tokens: f64,
    /// Training FLOPs.
    pub flops: f64,
    /// Final loss, in nats a token.
    pub loss: f64,
    /// Name of the size, where several points share one.
    pub size: Option<String>,
    pub seed: Option<u64>,
    /// `cooldown`, `cosine`, …
    pub kind: Option<String>,
}

/// What a file held.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    pub points: Vec<Point>,
    /// Sentences for the user: rows left out, columns computed, columns chosen among several.
    pub notes: Vec<String>,
}

/// Reads points; see [`read_with`].
///
/// # Errors
/// As [`read_with`].
pub fn read(path: &Path) -> Result<Points> {
    read_with(path, &Columns::default())
}

/// Reads points from a CSV file (separated by comma, semicolon or tab), a JSON file (a list of objects, columns by
/// name, or either under `points`, `runs`, `data` or `results`) or the directory of a suite. Rows with a true value in a column
/// whose name starts with `outlier` or `exclude` are left out.
///
/// # Errors
/// A file that cannot be read or is no table; a column that is missing (with the names there are); a cell that is no
/// positive number, by line and column; a table without rows.
pub fn read_with(path: &Path, columns: &Columns) -> Result<Points> {
    let path = match path.is_dir() {
        true => path.join(RESULTS),
        false => path.to_path_buf(),
    };
    let size = std::fs::metadata(&path).map_err(|e| Error::io("read", &path, e))?;
    if size.len() > LARGEST_FILE {
        return Err(Error::input(format!(
            "{} has {} MB: too much for a table of trained models; give one row a run",
            path.display(),
            size.len() >> 20
        )));
    }
    let bytes = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
    let file = path.display().to_string();
    let text = String::from_utf8(bytes).map_err(|_| {
        Error::input(format!(
            "{file} is not text; points are read from CSV or JSON"
        ))
    })?;
    parse(&text, &file, columns)
}

/// The points of a file's text; `file` is for messages.
fn parse(text: &str, file: &str, columns: &Columns) -> Result<Points> {
    let table = table::parse(text, file)?;
    let chosen = columns::choose(&table, columns, file)?;
    let mut notes = chosen.notes.clone();
    let mut points = Vec::new();
    let mut left_out = vec![0; table.names.len()];
    let mut computed = [0; 3];
    for row in 0..table.rows.len() {
        if let Some(&by) = chosen.outlier.iter().find(|&&c| table.is_true(row, c)) {
            left_out[by] += 1;
            continue;
        }
        points.push(point(&table, &chosen, row, file, &mut computed)?);
    }
    for (column, &count) in left_out.iter().enumerate().filter(|(_, n)| **n > 0) {
        notes.push(format!(
            "{count} {} flagged in column {} left out",
            rows(count),
            table.names[column]
        ));
    }
    for (what, &count) in ["N", "D", "C"].iter().zip(&computed) {
        if count > 0 && count == points.len() {
            notes.push(format!("{what} computed from C = 6·N·D"));
        } else if count > 0 {
            notes.push(format!(
                "{what} of {count} {} computed from C = 6·N·D",
                rows(count)
            ));
        }
    }
    if points.is_empty() {
        return Err(Error::input(format!(
            "{file} holds no points{}; give one row a trained model",
            match table.rows.len() {
                0 => "",
                _ => " but rows that are flagged to be left out",
            }
        )));
    }
    Ok(Points { points, notes })
}

fn rows(count: usize) -> &'static str {
    if count == 1 { "row" } else { "rows" }
}

/// One row; the missing one of N, D and C from the others.
fn point(
    table: &Table,
    chosen: &Chosen,
    row: usize,
    file: &str,
    computed: &mut [usize; 3],
) -> Result<Point> {
    let number = |column: Option<usize>| match column {
        Some(c) => table.number(row, c, file),
        None => Ok(None),
    };
    let (n, d, c) = (
        number(chosen.params)?,
        number(chosen.tokens)?,
        number(chosen.flops)?,
    );
    let (params, tokens, flops) = match (n, d, c) {
        (Some(n), Some(d), Some(c)) => (n, d, c),
        (Some(n), Some(d), None) => {
            computed[2] += 1;
            (n, d, FLOPS_A_PAIR * n * d)
        }
        (Some(n), None, Some(c)) => {
            computed[1] += 1;
            (n, c / (FLOPS_A_PAIR * n), c)
        }
        (None, Some(d), Some(c)) => {
            computed[0] += 1;
            (c / (FLOPS_A_PAIR * d), d, c)
        }
        _ => {
            return Err(Error::input(format!(
                "{file}, {}: two of parameters, tokens and FLOPs are needed and the cells of more than one are empty",
                table.rows[row].place
            )));
        }
    };
    if ![params, tokens, flops].iter().all(|x| x.is_normal()) {
        return Err(Error::input(format!(
            "{file}, {}: {params:e} parameters, {tokens:e} tokens and {flops:e} FLOPs are no run that there could be",
            table.rows[row].place
        )));
    }
    let loss = number(Some(chosen.loss))?.ok_or_else(|| {
        Error::input(format!(
            "{file}, {}, column {}: the loss is missing; leave rows without one out",
            table.rows[row].place, table.names[chosen.loss]
        ))
    })?;
    if params < FEWEST_PARAMS {
        return Err(Error::input(format!(
            "{file}, {}: {params} parameters, fewer than any language model has; are they in millions? give --columns params=NAME, or multiply",
            table.rows[row].place
        )));
    }
    let text = |column: Option<usize>| {
        let cell = table.rows[row].cells.get(column?)?.trim();
        (!cell.is_empty()).then(|| cell.to_string())
    };
    Ok(Point {
        params,
        tokens,
        flops,
        loss,
        size: text(chosen.size),
        seed: text(chosen.seed).and_then(|s| s.parse().ok()),
        kind: text(chosen.kind),
    })
}

/// κ of C = κ·6·N·D, the median over `points`; 1 where all of them lie within a tenth of 6·N·D, as figures read off
/// plots do. Whoever counts the head, attention and padding has more FLOPs than 6·N·D, and the optimum of a budget in such
/// FLOPs is that of C/κ.
pub fn flops_ratio(points: &[Point]) -> f64 {
    let ratios = ratios(points);
    match counted_otherwise(points) {
        Some(_) => ratios[ratios.len() / 2],
        None => 1.0,
    }
}

/// C/(6·N·D) of each point, sorted.
fn ratios(points: &[Point]) -> Vec<f64> {
    let mut ratios: Vec<f64> = points
        .iter()
        .map(|p| p.flops / (FLOPS_A_PAIR * p.params * p.tokens))
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios
}

/// A note where the points' FLOPs are not 6·N·D.
pub fn counted_otherwise(points: &[Point]) -> Option<String> {
    let ratios = ratios(points);
    let (low, high) = (*ratios.first()?, *ratios.last()?);
    let off = low < 1.0 - COUNTED_OTHERWISE || high > 1.0 + COUNTED_OTHERWISE;
    let (low, high) = (format!("{low:.2}"), format!("{high:.2}"));
    let range = match low == high {
        true => low,
        false => format!("{low} to {high}"),
    };
    off.then(|| {
        format!(
            "the FLOPs of the models are {range} times 6·N·D; budgets are taken as counted so, and the parametric \
             law's optimum under C = {:.3}·6·N·D, the median",
            ratios[ratios.len() / 2]
        )
    })
}

#[cfg(test)]
mod tests;
