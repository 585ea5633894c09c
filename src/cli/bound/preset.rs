//! `--preset`: an experiment, its table and its picture.

use super::Args;
use crate::cli::fit::table::item;
use crate::cli::format::thousands;
use crate::design::bound::study::{self, Cell, Problem, STUDIES, Study};
use crate::error::Result;
use crate::report::{bound, terminal};
use serde_json::{Map, Value, json};

pub fn run(name: &str, problem: &Problem, args: &Args) -> Result<String> {
    let study = study::run(name, problem)?;
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
        for entry in chart.legend.iter().filter(|_| chart.legend.len() > 1) {
            let letter = crate::report::chart::letter(entry.key);
            out.push_str(&format!("{letter:>12}  {}\n", entry.text));
        }
    }
    out.push_str(&written);
    Ok(out)
}

/// Numbers of a column share their decimals, so that they stand under one another.
fn table(study: &Study) -> String {
    let columns = study.columns.iter().enumerate().map(|(at, column)| {
        let cells: Vec<&Cell> = study.rows.iter().map(|row| &row[at]).collect();
        let mut cells = written(&cells);
        cells.insert(0, column.head.clone());
        let width = cells.iter().map(|cell| cell.chars().count()).max();
        let width = width.unwrap_or(0) + 2;
        let is_text = matches!(study.rows[0][at], Cell::Text(_)) && at < 2;
        let pad = |cell: String| match is_text {
            true => format!("  {cell:<0$}", width - 2),
            false => format!("{cell:>width$}"),
        };
        cells.into_iter().map(pad).collect::<Vec<String>>()
    });
    let columns: Vec<Vec<String>> = columns.collect();
    let line = |row: usize| -> String {
        let cells: String = columns.iter().map(|column| column[row].as_str()).collect();
        format!("{}\n", cells.trim_end())
    };
    (0..=study.rows.len()).map(line).collect()
}

/// Digits of the largest number of a column.
const DIGITS: i32 = 5;

fn written(cells: &[&Cell]) -> Vec<String> {
    let size = |cell: &&Cell| match cell {
        Cell::Number(x) => x.abs(),
        _ => 0.0,
    };
    let smallest = cells.iter().map(size).filter(|x| *x > 0.0);
    let smallest = smallest.fold(f64::INFINITY, f64::min);
    let decimals = match smallest.is_finite() {
        true => (DIGITS - 1 - smallest.log10().floor() as i32).clamp(0, 9) as usize,
        false => 0,
    };
    let one = |cell: &&Cell| match cell {
        Cell::Text(text) => text.clone(),
        Cell::Count(n) => thousands(*n),
        Cell::Number(x) => format!("{x:.decimals$}"),
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
