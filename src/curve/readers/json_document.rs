//! Whole JSON documents: Hugging Face's `trainer_state.json`, W&B's exports, and plain tables.
//!
//! | found | read as |
//! |---|---|
//! | `{"log_history": [{…}, …]}` | the rows of a Hugging Face trainer; a bare `loss` is that of training; the summary at the end (`train_runtime`) is no row |
//! | `{"history": …, "config": …}` | a W&B run: rows, columns, or both kinds of them by part (`train`, `val`), each with its own steps |
//! | `[{…}, …]` | rows |
//! | `{"step": […], "loss": […]}` | columns; pandas' `{"step": {"0": …}}` too |
//! | `{"NAME": any of these, …}`, `[any of these, …]` | several curves |

use super::builder::Builder;
use super::json::Json;
use crate::curve::LossKind;
use crate::curve::columns::{Role, role_of};
use crate::curve::frame::Frame;
use crate::error::{Error, Result};

/// What a document may weigh: its values take up to thirty times as much in memory.
const LARGEST: usize = 64 << 20;
/// Curves in one document.
const MOST_CURVES: usize = 10_000;

/// # Errors
/// No JSON, or none of the tables above in it.
pub(super) fn read(text: &str, file: &str) -> Result<Vec<Frame>> {
    if text.len() > LARGEST {
        return Err(Error::input(format!(
            "{file} is a JSON document above 64 MiB; write one object a line (JSON Lines), or a CSV"
        )));
    }
    let json = Json::parse(text).map_err(|e| {
        Error::input(format!(
            "{file}, line {}, column {} is no JSON: {}",
            e.line(),
            e.column(),
            super::json_fault(&e)
        ))
    })?;
    let frames = match table(&json) {
        Some(frame) => vec![frame],
        None => several(&json),
    };
    if frames.is_empty() {
        return Err(Error::input(format!(
            "{file} is JSON without a loss curve: it should hold rows [{{\"step\": 1, \"loss\": 3.2}}, …], columns \
             {{\"step\": […], \"loss\": […]}}, \"log_history\" or \"history\""
        )));
    }
    Ok(frames)
}

/// Curves by name, or in a list with names of their own.
fn several(json: &Json) -> Vec<Frame> {
    let named = |key: String, value: &Json| {
        let mut frame = table(value)?;
        frame.key = Some(key);
        Some(frame)
    };
    match json {
        Json::Map(pairs) => {
            let pairs = pairs
                .iter()
                .filter_map(|(key, value)| named(key.to_string(), value));
            pairs.take(MOST_CURVES).collect()
        }
        Json::List(items) => {
            let name = |i: usize, item: &Json| match item.get("name") {
                Some(Json::Text(name)) => name.to_string(),
                _ => i.to_string(),
            };
            let items = items.iter().enumerate();
            let items = items.filter_map(|(i, item)| named(name(i, item), item));
            items.take(MOST_CURVES).collect()
        }
        _ => Vec::new(),
    }
}

/// One curve.
fn table(json: &Json) -> Option<Frame> {
    if let Some(Json::List(rows)) = json.get("log_history") {
        let mut builder = Builder::default();
        let summary = |row: &&Json| row.get("train_runtime").is_none();
        add_rows(rows.iter().filter(summary), "", &mut builder);
        return builder.is_log().then(|| {
            let mut frame = builder.frame(None, false);
            frame.bare_loss = LossKind::TrainBatch;
            frame
        });
    }
    let mut builder = Builder::default();
    match json.get("history") {
        Some(history) => {
            add(history, "", &mut builder);
            if !builder.is_log()
                && let Json::Map(parts) = history
            {
                for (name, part) in parts {
                    add(part, name, &mut builder);
                }
            }
        }
        None => add(json, "", &mut builder),
    }
    builder.is_log().then(|| {
        let mut frame = builder.frame(None, false);
        frame.warmup =
            setting(json, &["warmup_steps", "warmup_iters", "num_warmup_steps"]).map(|w| w as u64);
        frame.parameters = setting(
            json,
            &["n_params", "num_params", "parameters", "num_parameters"],
        );
        frame
    })
}

/// A positive number of the run's configuration or summary.
fn setting(json: &Json, names: &[&str]) -> Option<f64> {
    let parts = ["config", "summary"]
        .into_iter()
        .filter_map(|part| json.get(part));
    let found = parts.flat_map(|part| names.iter().filter_map(|name| part.get(name)));
    found
        .filter_map(|value| match value {
            Json::Number(value) if (1.0..1e15).contains(value) => Some(*value),
            _ => None,
        })
        .next()
}

/// Rows or columns of `part` behind what `builder` has.
fn add(json: &Json, part: &str, builder: &mut Builder) {
    match json {
        Json::List(rows) => add_rows(rows.iter(), part, builder),
        Json::Map(columns) => add_columns(columns, part, builder),
        _ => {}
    }
}

fn add_rows<'a>(rows: impl Iterator<Item = &'a Json>, part: &str, builder: &mut Builder) {
    for (row, json) in (1u32..).zip(rows) {
        let Json::Map(pairs) = json else { continue };
        builder.row(row);
        match part {
            "" => builder.object(pairs),
            _ => {
                let named = pairs
                    .iter()
                    .map(|(key, value)| (within(part, key).into(), value.clone()));
                builder.object(&named.collect::<Vec<_>>());
            }
        }
    }
}

/// `{"step": [0, 1], "loss": [3, 2]}`, or with objects keyed by row in place of lists.
fn add_columns(columns: &[(Box<str>, Json)], part: &str, builder: &mut Builder) {
    let mut cells: Vec<(String, Vec<&Json>)> = Vec::new();
    for (name, value) in columns {
        if role_of(name).is_none() && role_of(&within(part, name)).is_none() {
            continue;
        }
        let values = match value {
            Json::List(values) => values.iter().collect(),
            // pandas writes the rows of a column in their order, each column alike.
            Json::Map(rows) if rows.first().is_some_and(|r| r.0.parse::<u64>().is_ok()) => {
                rows.iter().map(|(_, value)| value).collect()
            }
            _ => continue,
        };
        cells.push((within(part, name), values));
    }
    let rows = cells
        .iter()
        .map(|(_, values)| values.len())
        .max()
        .unwrap_or(0);
    for row in 0..rows {
        builder.row(row as u32 + 1);
        for (name, values) in &cells {
            match values.get(row) {
                Some(Json::Number(value)) => builder.number(name, *value),
                Some(Json::Text(text)) => builder.text(name, text),
                _ => {}
            }
        }
    }
}

/// A column's name within a part: `loss` of `val` is `val/loss`, while steps, LRs and losses that
/// say whose they are keep their names.
fn within(part: &str, name: &str) -> String {
    match role_of(name) {
        Some((
            Role::Step | Role::Lr | Role::Loss(LossKind::Validation | LossKind::TrainBatch),
            _,
        )) => name.to_string(),
        _ if part.is_empty() || part.len() + name.len() > 200 => name.to_string(),
        _ => format!("{part}/{name}"),
    }
}
