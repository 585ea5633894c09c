//! The LR of every step, from the rows that logged it.
//!
//! Rules, where row `i` says that step `s_i` trained at `l_i`:
//! - A row's LR is of the step it names. Between rows of equal LR the LR is that.
//! - A change between two rows that have flat stretches on both outer sides is a *jump*, and it is
//!   placed at the later row: the old LR holds until just before it.
//! - A change with a flat stretch on one side and a slope on the other has a *knee*: the slope is
//!   continued, on a linear or a logarithmic scale, whichever tells the next row better, until it
//!   meets the flat level. Where it does not meet it inside the gap, a straight line joins the rows.
//! - Any other two rows are joined by a straight line.
//! - Before the first row: where the first rows rise with the start of the run, the straight line that is 0
//!   just before the first step; otherwise the first row's LR. After the last row the last LR holds.

use super::WarmUp;
use crate::schedule::{Schedule, Shape, count};

/// LRs nearer than this, relatively, are the same: logs in single precision.
const SAME: f64 = 1e-6;

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= SAME * a.abs().max(b.abs())
}

/// LRs of steps `0..length` from rows in strictly increasing step order.
pub(super) fn every_step(rows: &[(u64, f64)], length: u64) -> Vec<f64> {
    let mut lrs = Vec::with_capacity(length as usize);
    let Some(&(first, first_lr)) = rows.first() else {
        return lrs;
    };
    let rises = rises_at_start(rows);
    for step in 0..first.min(length) {
        let x = if rises {
            (step + 1) as f64 / (first + 1) as f64
        } else {
            1.0
        };
        lrs.push(first_lr * x);
    }
    for (i, pair) in rows.windows(2).enumerate() {
        let ((s0, l0), (s1, _)) = (pair[0], pair[1]);
        if s0 >= length {
            break;
        }
        lrs.push(l0);
        if s1 - s0 > 1 {
            let gap = Gap::between(rows, i);
            lrs.extend((s0 + 1..s1.min(length)).map(|step| gap.lr(step)));
        }
    }
    let last = rows[rows.len() - 1].1;
    lrs.resize(length as usize, last);
    lrs
}

/// How the LR goes between two rows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gap {
    Level(f64),
    Line {
        from: (f64, f64),
        to: (f64, f64),
    },
    /// `level` up to `knee`, then a straight line to `end`; or, `after`, the mirror of it.
    Knee {
        level: f64,
        knee: f64,
        end: (f64, f64),
        after: bool,
        log: bool,
    },
}

impl Gap {
    fn between(rows: &[(u64, f64)], i: usize) -> Gap {
        let at = |j: usize| rows.get(j).map(|r| (r.0 as f64, r.1));
        let (a, b) = (
            (rows[i].0 as f64, rows[i].1),
            (rows[i + 1].0 as f64, rows[i + 1].1),
        );
        if same(a.1, b.1) {
            return Gap::Level(a.1);
        }
        let before = i.checked_sub(1).and_then(at);
        let after = at(i + 2);
        let flat_before = before.is_some_and(|r| same(r.1, a.1));
        let flat_after = after.is_some_and(|r| same(r.1, b.1));
        let knee = match (flat_before, flat_after) {
            (true, true) => return Gap::Level(a.1),
            (true, false) => after.and_then(|next| knee(a, b, next, at(i + 3), false)),
            (false, true) => {
                let beyond = i.checked_sub(2).and_then(at);
                before.and_then(|next| knee(b, a, next, beyond, true))
            }
            (false, false) => None,
        };
        knee.unwrap_or(Gap::Line { from: a, to: b })
    }

    fn lr(self, step: u64) -> f64 {
        let s = step as f64;
        match self {
            Gap::Level(level) => level,
            Gap::Line { from, to } => line(from, to, s),
            Gap::Knee {
                level,
                knee,
                after: false,
                ..
            } if s <= knee => level,
            Gap::Knee {
                level,
                knee,
                after: true,
                ..
            } if s >= knee => level,
            Gap::Knee {
                level,
                knee,
                end,
                log: false,
                ..
            } => line((knee, level), end, s),
            Gap::Knee {
                level,
                knee,
                end,
                log: true,
                ..
            } => line((knee, level.ln()), (end.0, end.1.ln()), s).exp(),
        }
    }
}

fn line((s0, l0): (f64, f64), (s1, l1): (f64, f64), s: f64) -> f64 {
    let x = if s1 == s0 { 1.0 } else { (s - s0) / (s1 - s0) };
    l0 * (1.0 - x) + l1 * x
}

/// Where the slope through `end` and `next` (and `beyond`) meets the level of `flat`, inside the
/// gap between `flat` and `end`.
fn knee(
    flat: (f64, f64),
    end: (f64, f64),
    next: (f64, f64),
    beyond: Option<(f64, f64)>,
    after: bool,
) -> Option<Gap> {
    // The slope must go the way that the gap goes.
    if (next.1 - end.1) * (end.1 - flat.1) <= 0.0 {
        return None;
    }
    let meets = |scale: fn(f64) -> f64| {
        let slope = (scale(next.1) - scale(end.1)) / (next.0 - end.0);
        let miss = beyond.map_or(0.0, |b| {
            let told = scale(end.1) + slope * (b.0 - end.0);
            ((told - scale(b.1)) / (scale(b.1) - scale(end.1))).abs()
        });
        (end.0 + (scale(flat.1) - scale(end.1)) / slope, miss)
    };
    let (straight, miss) = meets(|l| l);
    let positive = [flat, end, next].iter().chain(&beyond).all(|r| r.1 > 0.0);
    let (mut at, mut log) = (straight, false);
    if positive && beyond.is_some() {
        let (curved, curved_miss) = meets(f64::ln);
        // Written so that NaN prefers the straight line.
        if curved_miss < miss {
            (at, log) = (curved, true);
        }
    }
    let (low, high) = if flat.0 < end.0 {
        (flat.0, end.0)
    } else {
        (end.0, flat.0)
    };
    (low <= at && at <= high).then_some(Gap::Knee {
        level: flat.1,
        knee: at,
        end,
        after,
        log,
    })
}

/// The end of the warm-up as the LRs of a whole run show it: the first stretch that never falls,
/// up to the first step at its top. `None` where the run begins at the top.
pub fn warmup_shown(lrs: &[f64]) -> Option<u64> {
    let mut top = *lrs.first()?;
    let mut end = None;
    for (step, &lr) in lrs.iter().enumerate().skip(1) {
        if lr < top && !same(lr, top) {
            break;
        }
        if lr > top && !same(lr, top) {
            top = lr;
            end = Some(step as u64 + 1);
        }
    }
    end
}

/// Steps of warm-up of a run on `schedule` with these LRs: as specified, or, of a table and of what branches from one, which
/// say LRs and no more, what the LRs show.
pub fn warmup_of(schedule: &Schedule, lrs: &[f64]) -> u64 {
    let mut shape = &schedule.spec().shape;
    while let Shape::Branch { trunk, .. } = shape {
        shape = trunk;
    }
    match shape {
        Shape::Table { .. } => warmup_shown(lrs).unwrap_or(0),
        _ => schedule.warmup_steps(),
    }
}

/// Puts the caller's warm-up in front of rows that do not show it, and says what is known of it.
/// `first` is the step of the first row that logged an LR.
///
/// - The caller says `W`: rows before `W` that rise are believed and kept; otherwise steps below `W`
///   get `peak·(s+1)/W`, with the LR of step `W` as the peak. Known either way.
/// - Nothing is said: a rise that begins at the first row, near the start of the run, is the
///   warm-up, known. Rows that begin at their top, or later in the run, leave it unlogged.
pub(super) fn warm_up(
    lrs: &mut [f64],
    rows: &[(u64, f64)],
    warmup: Option<u64>,
    notes: &mut Vec<String>,
) -> (WarmUp, bool) {
    let first = rows.first().map_or(0, |r| r.0);
    let Some(warmup) = warmup else {
        let shown = warmup_shown(lrs).filter(|_| rises_at_start(rows));
        return match shown {
            Some(steps) => {
                if first > 1 {
                    notes.push(format!(
                        "the LR before the first row, at step {}, is taken to rise to it from 0",
                        count(first)
                    ));
                }
                (WarmUp::Known(steps), false)
            }
            None => {
                notes.push(if first > 1 {
                    format!(
                        "nothing is logged before step {}: its LR is taken for all steps before \
                         (give --warmup-steps if there was a warm-up)",
                        count(first)
                    )
                } else {
                    "the LR is at its top from the first row on: a warm-up, if there was one, is \
                     not logged (give --warmup-steps, 0 for none)"
                        .to_string()
                });
                (WarmUp::Unlogged, false)
            }
        };
    };
    if warmup == 0 {
        return (WarmUp::Known(0), false);
    }
    let end = (warmup as usize).min(lrs.len());
    let at_end = lrs[end.min(lrs.len() - 1)];
    let logged = rows.iter().take_while(|r| r.0 < warmup);
    if logged.clone().any(|r| r.1 < 0.9 * at_end) && rises_at_start(rows) {
        return (WarmUp::Known(warmup), false);
    }
    for (step, lr) in lrs[..end].iter_mut().enumerate() {
        *lr = at_end * ((step + 1) as f64 / warmup as f64);
    }
    notes.push(format!(
        "the warm-up of {} steps is not in the file and was put in front as told, linear to {at_end:e}",
        count(warmup)
    ));
    (WarmUp::Known(warmup), true)
}

/// Whether the rows start with a rise that begins with the run: upward from the first row to the
/// second, where the first row comes as early as rows of that spacing can, or lies on the line from 0.
fn rises_at_start(rows: &[(u64, f64)]) -> bool {
    let [(s0, l0), (s1, l1), ..] = *rows else {
        return false;
    };
    let spacing = (s1 - s0) as f64;
    let first = s0 as f64;
    let slope = (l1 - l0) / spacing;
    l1 > l0
        && !same(l0, l1)
        && (first <= 2.0 * spacing || (l0 / slope - first).abs() <= 0.5 * first)
}
