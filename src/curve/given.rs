//! The LR of every step of one curve: from its schedule, or from the rows that logged it.

use super::argument::Spec;
use super::frame::Frame;
use super::{LrOrigin, ReadOptions, WarmUp, rates};
use crate::error::{Error, Result};
use crate::schedule::{Schedule, ScheduleSpec, Shape, Warmup, count};

/// Steps beyond this are no optimiser steps (tokens or samples, usually), and an LR for each of them
/// would not fit in memory.
pub(super) const MOST_STEPS: u64 = 20_000_000;

/// What is known of a run's LRs.
pub(super) struct GivenLrs<'a> {
    pub frame: &'a Frame,
    pub options: &'a ReadOptions,
    /// Rows that logged an LR, by update.
    pub logged: &'a [(u64, f64)],
    pub file: &'a str,
}

pub(super) struct Rates {
    pub lrs: Vec<f64>,
    pub origin: LrOrigin,
    pub warmup: WarmUp,
    /// The warm-up was put in front of rows that contradict it.
    pub before_peak_is_made_up: bool,
}

impl GivenLrs<'_> {
    /// `end`: updates that the last point needs.
    pub fn scheduled(&self, spec: &Spec, end: u64, notes: &mut Vec<String>) -> Result<Rates> {
        let (file, options) = (self.file, self.options);
        let highest = self.logged.iter().map(|r| r.1).fold(0.0, f64::max);
        let table = matches!(spec.shape, Shape::Table { .. });
        let peak = spec
            .peak_lr
            .or(options.peak_lr)
            .or((highest > 0.0).then_some(highest));
        let peak_lr = match peak {
            Some(peak) => peak,
            None if table => 1.0,
            None => {
                return Err(Error::input(format!(
                    "{file}@{}: the peak learning rate is not known; add peak=1e-3 to the schedule",
                    spec.text
                )));
            }
        };
        let steps = spec.steps.or(options.steps);
        if steps.is_none() && !table {
            notes.push(format!(
                "the length of the run is not given: the last logged step, {}, is taken for it (steps=N)",
                count(end)
            ));
        }
        let steps = steps.unwrap_or(end);
        if steps < end {
            return Err(Error::input(format!(
                "{file}@{}: the schedule ends after {} steps but the curve goes on to step {}; \
                 give the length of the whole run (steps=N)",
                spec.text,
                count(steps),
                count(end)
            )));
        }
        if steps > MOST_STEPS {
            return Err(Error::input(format!(
                "{file}@{}: a run of {} steps is longer than the {} that can be handled",
                spec.text,
                count(steps),
                count(MOST_STEPS)
            )));
        }
        let told = options.warmup.or(self.frame.warmup).map(Warmup::Steps);
        if spec.warmup.is_none() && told.is_none() && !table {
            notes.push(
                "no warm-up is given for the schedule, and none is assumed (warmup=N)".into(),
            );
        }
        let schedule = Schedule::new(&ScheduleSpec {
            shape: spec.shape.clone(),
            peak_lr,
            warmup: spec.warmup.or(told).unwrap_or(Warmup::Steps(0)),
            steps,
            tokens_per_step: None,
            compat: options.compat,
        })
        .map_err(|e| Error::input(format!("{file}@{}: {e}", spec.text)))?;
        let lrs: Vec<f64> = (0..steps).map(|s| schedule.lr(s)).collect();
        self.compare(&lrs, notes);
        let warmup = rates::warmup_of(&schedule, &lrs);
        Ok(Rates {
            lrs,
            origin: LrOrigin::Schedule(spec.text.clone()),
            warmup: WarmUp::Known(warmup),
            before_peak_is_made_up: false,
        })
    }

    /// Says where the file's own LRs are far from the schedule.
    fn compare(&self, lrs: &[f64], notes: &mut Vec<String>) {
        let peak = lrs.iter().copied().fold(0.0, f64::max);
        let off = |r: &&(u64, f64)| (r.1 - lrs[r.0 as usize]).abs() / peak;
        let inside = self.logged.iter().filter(|r| r.0 < lrs.len() as u64);
        if let Some(worst) = inside.max_by(|a, b| off(a).total_cmp(&off(b)))
            && off(&worst) > 0.01
        {
            notes.push(format!(
                "the logged LR differs from the schedule by up to {:.0} % of the peak (step {}: {:e}, not {:e})",
                100.0 * off(&worst),
                count(worst.0),
                worst.1,
                lrs[worst.0 as usize]
            ));
        }
    }

    pub fn interpolated(&self, end: u64, notes: &mut Vec<String>) -> Result<Rates> {
        let (file, rows) = (self.file, self.logged);
        if rows.is_empty() {
            return Err(Error::input(format!(
                "{file} logs no learning rate; give the schedule as FILE@SPEC, \
                 for example {file}@wsd:fraction=0.2,peak=1e-3,warmup=300,steps=10000"
            )));
        }
        let (first, last) = (rows[0].0, rows[rows.len() - 1].0);
        let mut lrs = rates::every_step(rows, end.max(last + 1));
        let told = self.options.warmup.or(self.frame.warmup);
        let (warmup, made_up) = rates::warm_up(&mut lrs, rows, told, notes);
        // A row missing here and there does not make a log of every step a sparse one.
        let holes = last - first + 1 - rows.len() as u64;
        let origin = if holes * 100 <= rows.len() as u64 && rows.len() > 1 {
            LrOrigin::EveryStep
        } else {
            LrOrigin::Interpolated { rows: rows.len() }
        };
        if last + 1 < end {
            notes.push(format!(
                "the LR is logged up to step {} only and taken to hold from there to step {}",
                count(last),
                count(end)
            ));
        }
        Ok(Rates {
            lrs,
            origin,
            warmup,
            before_peak_is_made_up: made_up,
        })
    }
}
