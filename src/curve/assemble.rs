//! From a table to a loss curve: which loss, which rows, and the LR of every step.

use super::argument::Spec;
use super::columns::{Chosen, choose};
use super::frame::{Column, Frame, MOST_CELLS};
use super::given::{GivenLrs, MOST_STEPS};
use super::{LossCurve, LossKind, MIN_POINTS, Point, ReadOptions, WarmUp, rows};
use crate::error::{Error, Result};
use crate::schedule::count;

/// One curve out of `frame`. `file` names it in messages, `name` in tables.
///
/// # Errors
/// One sentence with the file: a column that is missing, a cell that is no number, a step that is
/// not one, fewer than [`MIN_POINTS`] usable losses, a constant loss, no LR anywhere, LRs of 0
/// throughout, a schedule shorter than the curve.
pub(super) fn curve(
    frame: &Frame,
    spec: Option<&Spec>,
    options: &ReadOptions,
    file: &str,
    name: &str,
) -> Result<LossCurve> {
    let Rows {
        kind,
        losses,
        logged,
        mut notes,
    } = rows_of(frame, options, file)?;
    let end = losses.last().map_or(0, |r| r.0).max(1);
    let given = GivenLrs {
        frame,
        options,
        logged: &logged,
        file,
    };
    let rates = match spec {
        Some(spec) => given.scheduled(spec, end, &mut notes)?,
        None => given.interpolated(end, &mut notes)?,
    };
    let mut curve = LossCurve {
        name: name.to_string(),
        points: losses
            .into_iter()
            .map(|(step, loss)| Point { step, loss })
            .collect(),
        lrs: rates.lrs,
        lr_origin: rates.origin,
        kind,
        warmup: rates.warmup,
        parameters: frame.parameters,
        notes,
    };
    if rates.before_peak_is_made_up
        && let WarmUp::Known(warmup) = curve.warmup
    {
        let before = curve.points.len();
        curve.points.retain(|p| p.step >= warmup);
        let dropped = (before - curve.points.len()) as u64;
        if dropped > 0 && curve.points.is_empty() {
            return Err(Error::input(format!(
                "{file} ends at step {}, within the warm-up of {} steps that was given for it \
                 (--warmup-steps), so no point is left",
                count(end),
                count(warmup)
            )));
        }
        if dropped > 0 {
            curve.notes.push(format!(
                "{} points before step {} were left out, since their LRs are not known",
                count(dropped),
                count(warmup)
            ));
        }
    }
    check(&curve, file)?;
    Ok(curve)
}

/// What a table logs, cleaned: losses by the updates before them, LRs by update.
pub(super) struct Rows {
    pub kind: LossKind,
    pub losses: Vec<(u64, f64)>,
    pub logged: Vec<(u64, f64)>,
    pub notes: Vec<String>,
}

/// # Errors
/// As [`curve`], as far as the columns and their cells go.
pub(super) fn rows_of(frame: &Frame, options: &ReadOptions, file: &str) -> Result<Rows> {
    let mut notes = frame.notes.clone();
    if frame.overflow {
        return Err(Error::input(format!(
            "{file} holds more than {} numbers, too many for a loss curve; \
             take step, learning rate and loss out of it, for example into a CSV",
            count(MOST_CELLS as u64)
        )));
    }
    let chosen = choose(frame, &options.columns, file)?;
    let steps = steps_of(frame, &frame.columns[chosen.step], file)?;
    let (kind, losses) = losses(frame, &chosen, &steps, options, file, &mut notes)?;
    let logged = match chosen.lr {
        Some(at) => lr_rows(frame, &frame.columns[at], &steps, file, &mut notes)?,
        None => Vec::new(),
    };
    // Rows numbered from 1 without a gap are numbered by what they completed.
    let completed = frame.counts_completed || {
        let whole = |rows: &[(u64, f64)]| {
            rows.first().is_some_and(|r| r.0 == 1) && rows.get(1).is_some_and(|r| r.0 == 2)
        };
        whole(&logged) || (logged.is_empty() && whole(&losses))
    };
    let logged: Vec<(u64, f64)> = match completed {
        true => logged
            .into_iter()
            .filter(|r| r.0 > 0)
            .map(|r| (r.0 - 1, r.1))
            .collect(),
        false => logged,
    };
    let losses: Vec<(u64, f64)> = match completed && kind == LossKind::TrainBatch {
        true => losses
            .into_iter()
            .filter(|r| r.0 > 0)
            .map(|r| (r.0 - 1, r.1))
            .collect(),
        false => losses,
    };
    let last = losses
        .last()
        .map_or(0, |r| r.0)
        .max(logged.last().map_or(0, |r| r.0));
    if last > MOST_STEPS {
        return Err(Error::input(format!(
            "{file} counts to {}: more than {} are no optimiser steps (tokens or samples, perhaps); \
             divide them by what a step consumes",
            count(last),
            count(MOST_STEPS)
        )));
    }
    Ok(Rows {
        kind,
        losses,
        logged,
        notes,
    })
}

/// What no law can be fitted to.
pub(super) fn check(curve: &LossCurve, file: &str) -> Result<()> {
    let points = &curve.points;
    if points.len() < MIN_POINTS {
        return Err(Error::input(format!(
            "{file} holds {} usable {}, too few to fit: it takes at least {MIN_POINTS}",
            points.len(),
            if points.len() == 1 { "loss" } else { "losses" },
        )));
    }
    if points.iter().all(|p| p.loss == points[0].loss) {
        return Err(Error::input(format!(
            "every loss in {file} is {}: there is nothing to fit",
            points[0].loss
        )));
    }
    if curve.lrs.iter().all(|&lr| lr == 0.0) {
        return Err(Error::input(format!(
            "every learning rate in {file} is 0, so no step trained; give the schedule as FILE@SPEC"
        )));
    }
    Ok(())
}

/// The step of each row that has one.
fn steps_of(frame: &Frame, column: &Column, file: &str) -> Result<Vec<(u32, u64)>> {
    let bad = |row: u32, text: &str| {
        Error::input(format!(
            "{file}, {}: a step must be a whole number from 0 on, not {text} (column {})",
            frame.place(row),
            column.name
        ))
    };
    if let Some((row, text)) = &column.bad {
        return Err(bad(*row, &format!("'{text}'")));
    }
    let step = |&(row, value): &(u32, f64)| {
        let whole = value.round();
        let is_step = (0.0..=9e15).contains(&whole) && (value - whole).abs() <= 1e-6;
        is_step
            .then_some((row, whole as u64))
            .ok_or_else(|| bad(row, &value.to_string()))
    };
    column.cells.iter().map(step).collect()
}

/// (step, value) of the rows that have both, in file order.
fn with_steps(
    frame: &Frame,
    column: &Column,
    steps: &[(u32, u64)],
    file: &str,
) -> Result<Vec<(u64, f64)>> {
    if let Some((row, text)) = &column.bad {
        return Err(Error::input(format!(
            "{file}, {}: '{text}' in column {} is not a number",
            frame.place(*row),
            column.name
        )));
    }
    let mut steps = steps.iter().peekable();
    let mut rows = Vec::with_capacity(column.cells.len());
    for &(row, value) in &column.cells {
        while steps.next_if(|s| s.0 < row).is_some() {}
        if let Some(&&(at, step)) = steps.peek()
            && at == row
        {
            rows.push((step, value));
        }
    }
    Ok(rows)
}

/// A loss column, cleaned.
struct Found<'a> {
    kind: LossKind,
    name: &'a str,
    rows: Vec<(u64, f64)>,
    said: Vec<String>,
}

/// The losses to fit, settled and finite, and their kind.
///
/// Where a file logs both, the validation loss is taken if it has [`MIN_POINTS`] usable points,
/// otherwise the one with more.
fn losses(
    frame: &Frame,
    chosen: &Chosen,
    steps: &[(u32, u64)],
    options: &ReadOptions,
    file: &str,
    notes: &mut Vec<String>,
) -> Result<(LossKind, Vec<(u64, f64)>)> {
    let mut found: Vec<Found> = Vec::new();
    let wanted = options.kind.filter(|_| options.columns.loss.is_none());
    for &(at, kind) in &chosen.losses {
        let column = &frame.columns[at];
        // What the user asked for goes with a column that does not say.
        let fits = wanted.is_none_or(|w| w == kind || kind == LossKind::Unknown);
        if !fits {
            continue;
        }
        let kind = options.kind.unwrap_or(kind);
        let mut said = Vec::new();
        let rows = with_steps(frame, column, steps, file)?;
        let (rows, settled) = rows::settle(rows);
        settled.tell(&mut said);
        let rows = rows::finite(rows, &mut said);
        rows::note_gaps(&rows, &mut said);
        let name = &column.name;
        found.push(Found {
            kind,
            name,
            rows,
            said,
        });
    }
    let best = found
        .iter()
        .position(|f| f.kind == LossKind::Validation && f.rows.len() >= MIN_POINTS)
        .or_else(|| (0..found.len()).rev().max_by_key(|&i| found[i].rows.len()));
    let Some(best) = best else {
        return Err(Error::input(format!(
            "{file} logs no {} loss",
            match wanted {
                Some(LossKind::Validation) => "validation",
                _ => "training",
            }
        )));
    };
    if found.len() > 1 {
        let other = &found[1 - best.min(1)];
        notes.push(format!(
            "the losses are those of {} ({} points); {} has {}",
            found[best].name,
            count(found[best].rows.len() as u64),
            other.name,
            count(other.rows.len() as u64)
        ));
    }
    let best = found.swap_remove(best);
    notes.extend(best.said);
    Ok((best.kind, best.rows))
}

/// Rows that logged an LR, settled; what is no LR is left out.
fn lr_rows(
    frame: &Frame,
    column: &Column,
    steps: &[(u32, u64)],
    file: &str,
    notes: &mut Vec<String>,
) -> Result<Vec<(u64, f64)>> {
    // How they were settled is not told: the losses say the same of the same rows.
    let (rows, _) = rows::settle(with_steps(frame, column, steps, file)?);
    let before = rows.len();
    let rows: Vec<_> = rows
        .into_iter()
        .filter(|r| r.1.is_finite() && r.1 >= 0.0)
        .collect();
    let bad = (before - rows.len()) as u64;
    if bad > 0 {
        notes.push(format!(
            "{} learning rates are negative or not finite and left out",
            count(bad)
        ));
    }
    Ok(rows)
}
