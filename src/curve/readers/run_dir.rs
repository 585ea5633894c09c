//! Directories: our runs, and those of other trainers that hold one log.
//!
//! A run of ours has `curve.csv` (step, LR and batch loss of every step; `step` counts completed
//! steps, and the LR is 0 where an update was left out), `curve.val.csv` (held-out losses) and `run.toml`, whose
//! schedule gives the warm-up and whose `[run]` gives the model's parameters. A directory with
//! `trainer_state.json` or with TensorBoard's event files is read as those.

use super::{csv, read_text, tensorboard};
use crate::curve::LossKind;
use crate::curve::columns::{Role, role_of};
use crate::curve::frame::{Column, Frame, Places};
use crate::error::{Error, Result};
use crate::schedule::{Schedule, ScheduleSpec, Shape, Warmup};
use std::path::{Path, PathBuf};

/// Event files of one run; a directory with more is no run.
const MOST_EVENT_FILES: usize = 1000;

/// # Errors
/// Nothing there that is a log, or what the readers of the files say.
pub(super) fn read(dir: &Path) -> Result<Vec<Frame>> {
    let curve = dir.join("curve.csv");
    if curve.is_file() {
        return ours(dir, &curve).map(|frame| vec![frame]);
    }
    let state = dir.join("trainer_state.json");
    if state.is_file() {
        return super::file(&state);
    }
    let events = event_files(dir)?;
    if !events.is_empty() {
        return tensorboard::read_files(&events);
    }
    Err(Error::input(format!(
        "{} is no run: it holds neither curve.csv nor trainer_state.json nor event files of TensorBoard",
        dir.display()
    )))
}

/// Event files in the order in which they were begun, which is that of their names.
fn event_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io("read the directory", dir, e))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("tfevents"))
        .map(|entry| entry.path())
        .take(MOST_EVENT_FILES)
        .collect();
    files.sort();
    Ok(files)
}

fn ours(dir: &Path, curve: &Path) -> Result<Frame> {
    let mut frame = csv_frame(curve)?;
    frame.counts_completed = true;
    frame.bare_loss = LossKind::TrainBatch;
    if let Some(loss) = frame.columns.iter_mut().find(|c| c.name == "loss") {
        loss.name = "train_loss".into();
    }
    let skipped = frame.columns.iter().find(|c| c.name == "lr");
    let skipped = skipped.map_or(0, |c| c.cells.iter().filter(|cell| cell.1 == 0.0).count());
    if skipped > 0 {
        frame.notes.push(format!(
            "{skipped} updates were left out by the trainer: their LR is 0"
        ));
    }
    let val = dir.join("curve.val.csv");
    if val.is_file() {
        append(&mut frame, csv_frame(&val)?);
    }
    let run_file = dir.join("run.toml");
    if run_file.is_file() {
        let text = read_text(&run_file)?;
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            Error::input(format!(
                "{} cannot be read: {}",
                run_file.display(),
                e.message()
            ))
        })?;
        frame.warmup = warmup(&table);
        let run = table.get("run");
        let parameters = run.and_then(|run| run.get("parameters")?.as_integer());
        frame.parameters = parameters.filter(|p| *p > 0).map(|p| p as f64);
        let branched = run.and_then(|run| {
            let at = run.get("branched_at")?.as_integer()?;
            Some((run.get("branched_from")?.as_str()?, at))
        });
        if let Some((trunk, at)) = branched {
            frame.notes.push(format!(
                "branched from {trunk} at step {at}: what comes before is the trunk's curve too"
            ));
        }
    }
    Ok(frame)
}

fn csv_frame(path: &Path) -> Result<Frame> {
    let file = path.display().to_string();
    let mut frames = csv::read(&read_text(path)?, &file)?;
    frames.pop().filter(|_| frames.is_empty()).ok_or_else(|| {
        Error::input(format!(
            "{file} is not what a run writes: it holds several tables"
        ))
    })
}

/// The held-out rows behind those of training.
fn append(frame: &mut Frame, val: Frame) {
    let Places::Lines(lines) = &mut frame.places else {
        return;
    };
    let offset = lines.len() as u32;
    if let Places::Lines(more) = &val.places {
        lines.extend(more);
    }
    let moved = |column: &Column| {
        column
            .cells
            .iter()
            .map(|&(row, value)| (row + offset, value))
            .collect::<Vec<_>>()
    };
    for column in &val.columns {
        let name = if column.name == "loss" {
            "val_loss"
        } else {
            &column.name
        };
        match frame.columns.iter_mut().find(|c| c.name == name) {
            Some(mine) => mine.cells.extend(moved(column)),
            None if matches!(role_of(name), Some((Role::Loss(_), _))) => {
                frame.columns.push(Column {
                    name: name.to_string(),
                    cells: moved(column),
                    bad: column.bad.clone().map(|(row, text)| (row + offset, text)),
                })
            }
            None => {}
        }
    }
}

/// The warm-up in steps that `run.toml` resolves to.
fn warmup(table: &toml::Table) -> Option<u64> {
    let schedule = table.get("schedule")?;
    let train = table.get("train")?;
    let whole = |key: &str| u64::try_from(train.get(key)?.as_integer()?).ok();
    let mut shape: Shape = schedule.get("scheduler")?.as_str()?.parse().ok()?;
    let mut steps = whole("iterations")?;
    // A branch warms up as its trunk did.
    while let Shape::Branch { horizon, trunk, .. } = shape {
        (shape, steps) = (*trunk, horizon);
    }
    if matches!(shape, Shape::Table { .. }) {
        return None;
    }
    let warmup: Warmup = schedule.get("warmup")?.as_str()?.parse().ok()?;
    let tokens = whole("batch_size")?.checked_mul(whole("grad_accumulation")?)?;
    let spec = ScheduleSpec {
        shape: Shape::Constant,
        peak_lr: 1.0,
        warmup,
        steps,
        tokens_per_step: Some(tokens.checked_mul(whole("sequence_length")?)?),
        compat: false,
    };
    Schedule::new(&spec).ok().map(|s| s.warmup_steps())
}
