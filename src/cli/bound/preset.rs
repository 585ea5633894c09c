//! `--preset`: an experiment, its table and its picture.

use super::{Args, legend};
use crate::cli::fit::table::{item, number};
use crate::cli::format::thousands;
use crate::design::bound::study::{self, Cell, Problem, STUDIES, Study};
use crate::error::Result;
use crate::report::{bound, terminal};
use serde_json::{Map, Value, json};

pub fn run(name: &str, problem: &Problem, args: &Args) -> Result<String> {
    let mut study = study::run(name, problem)?;
    study.notes.extend(problem.norms.note());
    let asks = STUDIES.iter().find(|(known, _)| *known == name);
    let asks = asks.map_or("", |(_, asks)| asks);
    let chart = bound::chart(study.title.clone(), asks.into(), &study.picture);
    let written = args.pictures.write(&chart)?;
    if args.json {
        return Ok(format!("{:#}\n", json(name, &study)));
    }
    let mut out = format!("{}\n\n", study.title);
    out.push_str(&table(&study));
    if !study.notes.is_empty() {
        out.push('\n');
    }
    for note in &study.notes {
        out.push_str(&item("note", note));
    }
    if !args.no_plot {
        out.push('\n');
        out.push_str(&terminal::draw(&chart, terminal::colour_wanted()));
        out.push_str(&legend(&chart));
    }
    out.push_str(&written);
    Ok(out)
}

/// Between columns, where the table is not too wide for that.
const GAP: usize = 2;
const WIDTH: usize = 80;

fn table(study: &Study) -> String {
    let columns: Vec<Vec<String>> = (0..study.columns.len())
        .map(|at| {
            let cells: Vec<&Cell> = study.rows.iter().map(|row| &row[at]).collect();
            let mut cells = written(&cells);
            cells.insert(0, study.columns[at].head.clone());
            cells
        })
        .collect();
    let widest = |column: &Vec<String>| column.iter().map(|c| c.chars().count()).max();
    let widths: Vec<usize> = columns.iter().filter_map(widest).collect();
    let total: usize = widths.iter().map(|width| width + GAP).sum();
    let gap = if total > WIDTH { GAP - 1 } else { GAP };
    let line = |row: usize| -> String {
        let mut line = String::new();
        for (at, (column, width)) in columns.iter().zip(&widths).enumerate() {
            let cell = &column[row];
            let is_name = matches!(study.rows[0][at], Cell::Text(_)) && at < 2;
            line.push_str(&" ".repeat(gap));
            line.push_str(&match is_name {
                true => format!("{cell:<width$}"),
                false => format!("{cell:>width$}"),
            });
        }
        format!("{}\n", line.trim_end())
    };
    (0..=study.rows.len()).map(line).collect()
}

/// Digits of the smallest number of a column.
const DIGITS: i32 = 5;
/// Numbers that lie further apart do not share their decimals.
const SPREAD: f64 = 100.0;

/// Numbers of a column share their decimals where they can, so that they stand under one another.
fn written(cells: &[&Cell]) -> Vec<String> {
    let sizes = cells.iter().filter_map(|cell| match cell {
        Cell::Number(x) if *x != 0.0 => Some(x.abs()),
        _ => None,
    });
    let (low, high) = sizes.fold((f64::INFINITY, 0.0f64), |(l, h), x| (l.min(x), h.max(x)));
    let decimals = match low.is_finite() && high <= SPREAD * low {
        true => Some((DIGITS - 1 - low.log10().floor() as i32).clamp(0, 9) as usize),
        false => None,
    };
    let one = |cell: &&Cell| match cell {
        Cell::Text(text) => text.clone(),
        Cell::Count(n) => thousands(*n),
        Cell::Number(x) => match decimals {
            Some(decimals) => format!("{x:.decimals$}"),
            None => number(*x),
        },
        Cell::Fixed(x, decimals) => format!("{x:.decimals$}"),
    };
    cells.iter().map(one).collect()
}

fn json(name: &str, study: &Study) -> Value {
    let value = |cell: &Cell| match cell {
        Cell::Text(text) => json!(text),
        Cell::Count(n) => json!(n),
        Cell::Number(x) | Cell::Fixed(x, _) => json!(x),
    };
    let rows = study.rows.iter().map(|row| {
        let cells = study.columns.iter().zip(row);
        let object: Map<String, Value> = cells
            .map(|(column, cell)| (column.key.clone(), value(cell)))
            .collect();
        Value::Object(object)
    });
    let lines = study.picture.panels.iter().flat_map(|panel| {
        panel.lines.iter().map(|line| {
            json!({
                "panel": panel.label,
                "name": line.name,
                "points": line.points,
            })
        })
    });
    json!({
        "preset": name,
        "title": study.title,
        "rows": rows.collect::<Vec<Value>>(),
        "notes": study.notes,
        "x": study.picture.x,
        "lines": lines.collect::<Vec<Value>>(),
    })
}
