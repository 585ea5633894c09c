//! The curves of a run whose `metrics.jsonl` is gone.

use super::config::MOST_STEPS;
use super::record::{Eval, Step};
use crate::error::{Error, Result};
use std::path::Path;

/// Of `curve.csv` and, where it is there, `curve.val.csv`. Rows that are not whole are left out.
pub(super) fn read(dir: &Path) -> Result<(Vec<Step>, Vec<Eval>)> {
    let steps = rows(&dir.join("curve.csv"))?;
    let val = dir.join("curve.val.csv");
    let evals = if val.is_file() {
        rows(&val)?
    } else {
        Vec::new()
    };
    let step = |row: &Vec<f64>| {
        let [step, lr, loss] = row[..] else {
            return None;
        };
        Some(Step {
            step: step as u64,
            lr,
            loss,
            grad_norm: f64::NAN,
            tokens: 0,
            tokens_per_second: f64::NAN,
            skipped: false,
        })
    };
    let eval = |row: &Vec<f64>| {
        Some(Eval {
            step: *row.first()? as u64,
            loss: *row.get(1)?,
            bits_per_byte: row.get(2).copied().filter(|b| b.is_finite()),
        })
    };
    Ok((
        steps.iter().filter_map(step).collect(),
        evals.iter().filter_map(eval).collect(),
    ))
}

/// Rows whose first number is a step that a run can have, in rising order of it; empty cells are NaN.
fn rows(path: &Path) -> Result<Vec<Vec<f64>>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for line in text.lines() {
        let row: Vec<f64> = line
            .split(',')
            .map(|cell| cell.trim().parse().unwrap_or(f64::NAN))
            .collect();
        let after = rows.last().map_or(0.0, |last| last[0]);
        if row[0] > after && row[0] <= MOST_STEPS as f64 {
            rows.push(row);
        }
    }
    Ok(rows)
}
