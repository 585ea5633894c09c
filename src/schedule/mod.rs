//! Schedules: the learning rate as a pure function of the step.
//!
//! A [`ScheduleSpec`] says what the user wants (`wsd:fraction=0.2`, peak, warm-up, horizon);
//! [`Schedule::new`] checks it once and resolves every fraction into steps; after that
//! [`Schedule::lr`] cannot fail, keeps no state, and costs O(1), or O(log segments) for the
//! shapes that have segments.
//!
//! Conventions, the same for every shape (compatibility mode apart, see [`compat`]):
//! - Step `s` counts from 0 and trains with `lr(s)`.
//! - Warm-up over `W` steps is linear, `peak·(s+1)/W`: the first LR is never 0, and step `W−1`
//!   is the first at the peak. A warm-up that is not shorter than the run is cut off by its end.
//! - A decay of `A` steps that starts at `H` has progress `x = (s−H)/A`: its first step is
//!   still at the top, and the last step trained has `x = (A−1)/A`, so that no step is wasted
//!   at an LR of 0. From the horizon on, `lr` stays at the value that `x = 1` gives.
//! - A decay never eats into the warm-up: it starts no earlier than step `W`.
//! - Fractions of the horizon become whole steps by rounding to the nearest.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

pub mod branch;
pub mod compat;
mod constant;
mod cos_inf;
mod cosine;
mod decay;
mod describe;
mod inverse_sqrt;
pub mod keys;
mod length;
mod linear;
mod multistep;
mod shape;
mod span;
mod spark;
pub mod table;
mod warmup;
mod wsd;
mod wsd_s;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use branch::Tail;
pub use decay::Decay;
pub use describe::{count, percent};
pub use length::Length;
pub use shape::Shape;
pub use spark::sparkline;
pub use warmup::Warmup;

/// What a schedule is built from: all of it is the user's wish, none of it checked yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSpec {
    /// The shape after warm-up, written `name:key=value,…`.
    pub shape: Shape,
    /// Highest learning rate, reached at the end of warm-up. A table brings its own LRs and
    /// ignores this.
    pub peak_lr: f64,
    /// Length of the linear warm-up. A table ignores this too.
    pub warmup: Warmup,
    /// The horizon: optimiser steps of the whole run.
    pub steps: u64,
    /// Tokens that one optimiser step consumes; needed only by a warm-up given in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_step: Option<u64>,
    /// Reproduce the values of schedules-and-scaling step by step; see [`compat`].
    #[serde(default)]
    pub compat: bool,
}

/// A validated schedule, ready to evaluate.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    spec: ScheduleSpec,
    warmup: u64,
    curve: Resolved,
}

/// A step worth showing: where a phase of the schedule begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landmark {
    pub step: u64,
    pub what: String,
}

impl Landmark {
    fn new(step: u64, what: impl Into<String>) -> Self {
        let what = what.into();
        Landmark { step, what }
    }
}

/// What a shape resolves its parameters against.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Warm-up, in steps; may exceed `steps`.
    warmup: u64,
    /// The horizon, in steps; at least 1.
    steps: u64,
}

/// A shape that knows its run.
trait Curve {
    /// Multiple of the peak at `step`, in \[0, 1\]. Asked only for steps after warm-up, unless the
    /// curve brings its own.
    fn at(&self, step: u64) -> f64;
    /// Where its phases begin and end; steps outside the run are dropped by the caller.
    fn landmarks(&self) -> Vec<Landmark>;
    /// Its phases in words, as the tail of [`Schedule::describe`]; empty when there is nothing to say.
    fn words(&self) -> String;
}

#[derive(Clone, Debug, PartialEq)]
enum Resolved {
    Constant(constant::Constant),
    Linear(linear::Linear),
    Cosine(cosine::Cosine),
    CosInf(cos_inf::CosInf),
    Wsd(wsd::Wsd),
    WsdS(wsd_s::WsdS),
    MultiStep(multistep::MultiStep),
    InverseSqrt(inverse_sqrt::InverseSqrt),
    Table(table::Table),
    Branch(branch::Branch),
    Compat(compat::Compat),
}

impl Resolved {
    fn new(spec: &ScheduleSpec, run: Run) -> Result<Self> {
        // A branch's trunk is compatible, not the branch.
        let is_branch = matches!(spec.shape, Shape::Branch { .. });
        if spec.compat && !is_branch {
            return Ok(Resolved::Compat(compat::Compat::new(&spec.shape, run)?));
        }
        Ok(match &spec.shape {
            Shape::Constant => Resolved::Constant(constant::Constant),
            Shape::Linear { final_ratio } => {
                Resolved::Linear(linear::Linear::new(final_ratio.unwrap_or(0.0), run)?)
            }
            Shape::Cosine { final_ratio } => {
                Resolved::Cosine(cosine::Cosine::new(*final_ratio, run)?)
            }
            Shape::CosInf { final_ratio, hold } => {
                Resolved::CosInf(cos_inf::CosInf::new(*final_ratio, *hold, run)?)
            }
            Shape::Wsd {
                fraction,
                decay,
                final_ratio,
            } => Resolved::Wsd(wsd::Wsd::new(*fraction, *decay, *final_ratio, run)?),
            Shape::WsdS {
                ends,
                fraction,
                decay,
                final_ratio,
            } => Resolved::WsdS(wsd_s::WsdS::new(
                ends,
                *fraction,
                *decay,
                *final_ratio,
                run,
            )?),
            Shape::MultiStep { at, factor } => {
                Resolved::MultiStep(multistep::MultiStep::new(at, *factor, run)?)
            }
            Shape::InverseSqrt { timescale } => {
                Resolved::InverseSqrt(inverse_sqrt::InverseSqrt::new(*timescale, run)?)
            }
            Shape::Table { path } => Resolved::Table(table::Table::read(path, run.steps)?),
            Shape::Branch {
                at,
                horizon,
                tail,
                trunk,
            } => Resolved::Branch(branch::Branch::new(spec, *at, *horizon, tail, trunk)?),
        })
    }

    fn curve(&self) -> &dyn Curve {
        match self {
            Resolved::Constant(c) => c,
            Resolved::Linear(c) => c,
            Resolved::Cosine(c) => c,
            Resolved::CosInf(c) => c,
            Resolved::Wsd(c) => c,
            Resolved::WsdS(c) => c,
            Resolved::MultiStep(c) => c,
            Resolved::InverseSqrt(c) => c,
            Resolved::Table(c) => c,
            Resolved::Branch(c) => c,
            Resolved::Compat(c) => c,
        }
    }
}

impl Schedule {
    /// Checks `spec` and resolves its fractions into steps. A table is read from its file here.
    ///
    /// # Errors
    /// One sentence naming the value at fault: a peak that is not a positive finite number, a run
    /// of no steps, a ratio outside \[0, 1\], a warm-up in tokens without `tokens_per_step`, a
    /// table shorter than the run, a shape that compatibility mode does not cover.
    pub fn new(spec: &ScheduleSpec) -> Result<Schedule> {
        if !(spec.peak_lr.is_finite() && spec.peak_lr > 0.0) {
            return Err(Error::input(format!(
                "the learning rate must be a positive number, not {} (--lr)",
                spec.peak_lr
            )));
        }
        if spec.steps == 0 {
            return Err(Error::input(
                "a schedule needs at least 1 step, but the run has 0",
            ));
        }
        if spec.tokens_per_step == Some(0) {
            return Err(Error::input(
                "a step must consume at least 1 token, not 0 (--tokens-per-step)",
            ));
        }
        let warmup = spec.warmup.resolve(spec.steps, spec.tokens_per_step)?;
        let steps = spec.steps;
        let curve = Resolved::new(spec, Run { warmup, steps })?;
        Ok(Schedule {
            spec: spec.clone(),
            warmup,
            curve,
        })
    }

    /// The learning rate that step `step` (counted from 0) trains with: finite, never negative,
    /// never above [`Schedule::peak_lr`].
    pub fn lr(&self, step: u64) -> f64 {
        match &self.curve {
            // A table's entries are LRs already.
            Resolved::Table(table) => table.at(step),
            Resolved::Branch(branch) => branch.lr(step),
            Resolved::Compat(compat) => self.spec.peak_lr * compat.at(step),
            _ if step < self.warmup => self.spec.peak_lr * ((step + 1) as f64 / self.warmup as f64),
            resolved => self.spec.peak_lr * resolved.curve().at(step),
        }
    }

    /// The horizon: optimiser steps of the whole run.
    pub fn steps(&self) -> u64 {
        self.spec.steps
    }

    /// Steps of warm-up; 0 for a table, whose file says it all.
    pub fn warmup_steps(&self) -> u64 {
        match &self.curve {
            Resolved::Table(_) => 0,
            Resolved::Branch(branch) => branch.trunk().warmup_steps(),
            _ => self.warmup,
        }
    }

    /// The bound that no LR exceeds: the spec's peak, or the highest entry of a table.
    pub fn peak_lr(&self) -> f64 {
        match &self.curve {
            Resolved::Table(table) => table.peak_lr(),
            Resolved::Branch(branch) => branch.peak_lr(),
            _ => self.spec.peak_lr,
        }
    }

    /// What it was built from.
    pub fn spec(&self) -> &ScheduleSpec {
        &self.spec
    }

    /// The steps where its phases begin and end, in order, each step once.
    pub fn landmarks(&self) -> Vec<Landmark> {
        let mut all = vec![Landmark::new(0, "first step")];
        let warmup = self.warmup_steps();
        if warmup > 0 {
            all.push(Landmark::new(warmup - 1, "warmup ends"));
        }
        all.extend(self.curve.curve().landmarks());
        all.retain(|mark| mark.step < self.steps());
        all.push(Landmark::new(self.steps() - 1, "last step"));
        all.sort_by_key(|mark| mark.step);
        all.dedup_by(|later, kept| {
            let same = later.step == kept.step;
            if same {
                kept.what.push_str(", ");
                kept.what.push_str(&later.what);
            }
            same
        });
        all
    }

    /// One line for people: `wsd, peak 3e-3, warmup 60, cooldown 20 % (linear) from step 1,440`.
    pub fn describe(&self) -> String {
        let mut parts = vec![
            self.spec.shape.name().to_string(),
            format!("peak {:e}", self.peak_lr()),
        ];
        match (&self.curve, self.warmup_steps()) {
            (Resolved::Table(_), _) => {}
            (_, 0) => parts.push("no warmup".into()),
            (_, warmup) => parts.push(format!("warmup {}", count(warmup))),
        }
        let words = self.curve.curve().words();
        if !words.is_empty() {
            parts.push(words);
        }
        parts.join(", ")
    }
}
