//! `schedule.json`: a design on disk, which is a table that the trainer reads ([`crate::schedule::table`]).

use crate::error::{Error, Result};
use crate::files;
use crate::schedule::{Schedule, ScheduleSpec, Shape, Warmup};
use serde_json::{Map, Value};
use std::path::Path;

/// Version of the format.
pub const VERSION: u64 = 1;

/// (step, LR) such that straight lines between them give `lrs` to the bit: where `knots` has lines, its own; every
/// other step unless the LR stands still around it.
fn compressed(lrs: &[f64], knots: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let lines_from = knots.first().map_or(lrs.len() as u64, |knot| knot.0);
    let stepwise = (0..lines_from).map(|s| (s, lrs[s as usize]));
    let all: Vec<(u64, f64)> = stepwise.chain(knots.iter().copied()).collect();
    let kept = |i: usize| {
        let beside = |j: Option<usize>| j.and_then(|j| all.get(j)).map(|knot| knot.1);
        let here = Some(all[i].1);
        beside(i.checked_sub(1)) != here || beside(Some(i + 1)) != here
    };
    (0..all.len())
        .filter(|&i| kept(i))
        .map(|i| all[i])
        .collect()
}

/// Writes a schedule of these LRs to `path`, with `head` (what it was made from) before them. It is read back as the
/// trainer would read it before it gets its name.
///
/// # Errors
/// [`Error::Io`] naming `path`; a schedule that the trainer would refuse, or read differently.
pub fn write(
    path: &Path,
    head: Map<String, Value>,
    lrs: &[f64],
    knots: &[(u64, f64)],
) -> Result<()> {
    let mut out = Map::new();
    out.insert("lehr_design".into(), VERSION.into());
    out.extend(head);
    let created = concat!("lehr ", env!("CARGO_PKG_VERSION"));
    out.insert("created_by".into(), created.into());
    let mut text = serde_json::to_string_pretty(&out).expect("numbers and strings");
    // The knots on lines of their own, one each, after the readable part.
    let closed = text.trim_end_matches(['}', '\n', ' ']).len();
    text.truncate(closed);
    text.push_str(",\n  \"knots\": [");
    for (i, (step, lr)) in compressed(lrs, knots).into_iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        text.push_str(&format!("{comma}\n    [{step}, {lr:e}]"));
    }
    text.push_str("\n  ]\n}\n");
    let aside = files::aside(path);
    files::write(&aside, text.as_bytes())?;
    let checked = check(&aside, lrs);
    if let Err(why) = checked {
        let _ = std::fs::remove_file(&aside);
        return Err(Error::input(format!(
            "the schedule for {} was not written, since the trainer would not take it: {why}",
            path.display()
        )));
    }
    files::rename(&aside, path)
}

/// Whether the table at `path` is read as `lrs`, to the bit.
fn check(path: &Path, lrs: &[f64]) -> std::result::Result<(), String> {
    let peak = lrs.iter().copied().fold(0.0, f64::max);
    let schedule = Schedule::new(&ScheduleSpec {
        shape: Shape::Table {
            path: path.to_path_buf(),
        },
        peak_lr: peak,
        warmup: Warmup::Steps(0),
        steps: lrs.len() as u64,
        tokens_per_step: None,
        compat: false,
    })
    .map_err(|e| e.to_string())?;
    match (0u64..).zip(lrs).find(|(s, lr)| schedule.lr(*s) != **lr) {
        None => Ok(()),
        Some((step, lr)) => Err(format!(
            "step {step} has the learning rate {:e} there and {lr:e} here",
            schedule.lr(step)
        )),
    }
}
