//! `branch`: the trunk's schedule up to a step, then a cooldown of its own.
//!
//! `branch:at=T,horizon=H,decay=linear,final=0,trunk=SPEC`: before step T the LR is the trunk's, whose own horizon
//! was H; from T to the end of the run it goes from what the trunk had at T down to `final` times that. The
//! cooldown's first step is still at the top, as everywhere, so a branch from a constant trunk has the LRs of the WSD
//! run whose decay starts at T, bit for bit. `table=FILE` instead of `decay` and `final` takes the cooldown's LRs from a
//! file ([`super::table`]) that covers the whole run, or only the cooldown.
//!
//! Hägele et al. 2024 (arXiv 2405.18392, section 4): one long constant run, cooled down from its checkpoints.

use super::describe::{count, percent, to_ratio};
use super::keys::{Keys, check_ratio};
use super::span::Span;
use super::table::Table;
use super::{Curve, Decay, Landmark, Schedule, ScheduleSpec, Shape};
use crate::error::{Error, Result};
use std::fmt;
use std::path::PathBuf;

/// How a branch cools down.
#[derive(Clone, Debug, PartialEq)]
pub enum Tail {
    Decay {
        decay: Decay,
        /// LR at the end over the LR at the branch.
        final_ratio: f64,
    },
    /// Absolute LRs from a file, of the whole run or of the cooldown alone.
    Table(PathBuf),
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tail::Decay { decay, final_ratio } => write!(f, "decay={decay},final={final_ratio}"),
            Tail::Table(path) => write!(f, "table={}", path.display()),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Branch {
    trunk: Box<Schedule>,
    span: Span,
    /// The trunk's LR at the branch.
    top: f64,
    tail: Resolved,
}

#[derive(Clone, Debug, PartialEq)]
enum Resolved {
    Decay { decay: Decay, final_ratio: f64 },
    Table(Table),
}

impl Branch {
    /// `spec` with the branch's shape taken apart; `spec.steps` is where the cooldown ends.
    ///
    /// # Errors
    /// A branch after the trunk's end or the run's, a trunk whose LR is 0 there, a table of another length.
    pub fn new(
        spec: &ScheduleSpec,
        at: u64,
        horizon: u64,
        tail: &Tail,
        trunk: &Shape,
    ) -> Result<Branch> {
        let trunk = Schedule::new(&ScheduleSpec {
            shape: trunk.clone(),
            steps: horizon,
            ..spec.clone()
        })?;
        if at >= spec.steps {
            return Err(Error::input(format!(
                "branch: the cooldown starts at step {} and the run has {}; give the cooldown at least one step",
                count(at),
                count(spec.steps)
            )));
        }
        if at > horizon {
            return Err(Error::input(format!(
                "branch: at={at} lies beyond the trunk's {} steps",
                count(horizon)
            )));
        }
        let top = trunk.lr(at);
        let tail = match tail {
            Tail::Decay { decay, final_ratio } => {
                check_ratio("branch", "final", *final_ratio)?;
                decay.check("branch")?;
                if top <= 0.0 {
                    return Err(Error::input(format!(
                        "the trunk's learning rate is 0 at step {}, where it has cooled down already; branch from an earlier checkpoint",
                        count(at)
                    )));
                }
                Resolved::Decay {
                    decay: *decay,
                    final_ratio: *final_ratio,
                }
            }
            Tail::Table(path) => {
                let table = Table::for_cooldown(path, at, spec.steps)?;
                if let Some(step) = table.strays(at, |s| trunk.lr(s)) {
                    return Err(Error::input(format!(
                        "the schedule {} was designed for another run: at step {} it has the learning rate {:e} where this trunk had {:e}; design one with lehr design --from RUN@{at}",
                        path.display(),
                        count(step),
                        table.at(step),
                        trunk.lr(step)
                    )));
                }
                Resolved::Table(table)
            }
        };
        let span = Span::between(at, spec.steps);
        Ok(Branch {
            trunk: Box::new(trunk),
            span,
            top,
            tail,
        })
    }

    pub fn trunk(&self) -> &Schedule {
        &self.trunk
    }

    /// The LR itself, not a multiple.
    pub fn lr(&self, step: u64) -> f64 {
        if step < self.span.start {
            return self.trunk.lr(step);
        }
        match &self.tail {
            Resolved::Decay { decay, final_ratio } => {
                self.top * decay.between(*final_ratio, self.span.progress(step))
            }
            Resolved::Table(table) => table.at(step),
        }
    }

    pub fn peak_lr(&self) -> f64 {
        match &self.tail {
            Resolved::Decay { .. } => self.trunk.peak_lr(),
            Resolved::Table(table) => self.trunk.peak_lr().max(table.peak_lr()),
        }
    }
}

impl Curve for Branch {
    fn at(&self, step: u64) -> f64 {
        self.lr(step)
    }

    fn landmarks(&self) -> Vec<Landmark> {
        let mut marks = self.trunk.curve.curve().landmarks();
        marks.retain(|mark| mark.step < self.span.start);
        marks.push(Landmark::new(self.span.start, "cooldown starts"));
        marks.push(Landmark::new(self.span.middle(), "half of the cooldown"));
        marks
    }

    fn words(&self) -> String {
        let share = percent(self.span.steps as f64 / (self.span.start + self.span.steps) as f64);
        let start = count(self.span.start);
        let trunk = self.trunk.spec.shape.name();
        match &self.tail {
            Resolved::Decay { decay, final_ratio } => {
                let mut words = format!("{trunk}, cooldown {share} ({decay}) from step {start}");
                if *final_ratio > 0.0 {
                    words.push(' ');
                    words.push_str(&to_ratio(*final_ratio));
                }
                words
            }
            Resolved::Table(table) => {
                format!("{trunk}, from step {start} {}", table.words())
            }
        }
    }
}

/// Reads what stands after `branch:`.
pub(super) fn parse(tail: &str) -> Result<Shape> {
    const NEEDS: &str = "branch: write it as branch:at=STEP,horizon=STEPS,decay=linear,trunk=SPEC";
    let Some((head, trunk)) = tail.split_once("trunk=") else {
        return Err(Error::input(NEEDS));
    };
    let mut keys = Keys::parse("branch", head)?;
    let at = keys.take_parsed(&["at"], "a number of steps")?;
    let horizon = keys.take_parsed(&["horizon"], "a number of steps")?;
    let table = keys.take(&["table"]).map(PathBuf::from);
    let decay = keys.take(&["decay", "decay_type"]);
    let final_ratio = keys.take_ratio(&["final", "final_ratio", "final_lr_scale"])?;
    keys.finish()?;
    let tail = match table {
        Some(_) if decay.is_some() || final_ratio.is_some() => {
            return Err(Error::input(
                "branch: a table holds the whole cooldown, so it goes with neither decay nor final",
            ));
        }
        Some(path) => Tail::Table(path),
        None => Tail::Decay {
            decay: decay.map_or(Ok(Decay::Linear), str::parse)?,
            final_ratio: final_ratio.unwrap_or(0.0),
        },
    };
    let (Some(at), Some(horizon)) = (at, horizon) else {
        return Err(Error::input(NEEDS));
    };
    Ok(Shape::Branch {
        at,
        horizon,
        tail,
        trunk: Box::new(trunk.parse()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Warmup;

    fn schedule(shape: &str, steps: u64) -> Result<Schedule> {
        Schedule::new(&ScheduleSpec {
            shape: shape.parse()?,
            peak_lr: 3e-3,
            warmup: Warmup::Steps(10),
            steps,
            tokens_per_step: None,
            compat: false,
        })
    }

    #[test]
    fn a_branch_of_a_constant_trunk_is_the_wsd_run_bit_for_bit() {
        for (decay, fraction, steps) in
            [("sqrt", 0.2, 100), ("linear", 0.25, 400), ("exp", 0.5, 90)]
        {
            for floor in [0.0, 0.1] {
                let wsd = format!("wsd:fraction={fraction},decay={decay},final={floor}");
                let wsd = schedule(&wsd, steps).unwrap();
                let at = steps - (steps as f64 * fraction).round() as u64;
                let text = format!(
                    "branch:at={at},horizon=1000,decay={decay},final={floor},trunk=constant"
                );
                let branch = schedule(&text, steps).unwrap();
                for step in 0..steps + 5 {
                    assert_eq!(branch.lr(step).to_bits(), wsd.lr(step).to_bits(), "{step}");
                }
                assert_eq!(branch.spec().shape.to_string(), text);
            }
        }
    }

    #[test]
    fn it_starts_from_where_the_trunk_is() {
        let trunk = schedule("cosine:final=0.1", 1000).unwrap();
        let branch = schedule(
            "branch:at=600,horizon=1000,decay=linear,final=0,trunk=cosine:final=0.1",
            700,
        )
        .unwrap();
        for step in 0..=600 {
            assert_eq!(branch.lr(step), trunk.lr(step));
        }
        assert!((branch.lr(650) / trunk.lr(600) - 0.5).abs() < 1e-12);
        assert_eq!(branch.lr(700), 0.0);
        let marks = branch.landmarks();
        assert!(
            marks
                .iter()
                .any(|m| m.step == 600 && m.what == "cooldown starts")
        );
    }

    #[test]
    fn a_branch_of_a_branch_and_of_tables() {
        let twice = "branch:at=50,horizon=100,decay=sqrt,final=0.5,trunk=branch:at=40,horizon=200,decay=linear,final=0,trunk=wsd:fraction=0.2,decay=linear,final=0";
        let branch = schedule(twice, 80).unwrap();
        assert_eq!(branch.spec().shape.to_string(), twice);
        // Ten of the inner cooldown's sixty steps are behind it.
        assert!((branch.lr(50) / 3e-3 - 5.0 / 6.0).abs() < 1e-12);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lrs.csv");
        let write = |n: usize| {
            let lines: String = (0..n)
                .map(|i| format!("{}\n", 1e-3 + i as f64 * 1e-6))
                .collect();
            std::fs::write(&path, lines).unwrap();
        };
        let text = format!(
            "branch:at=50,horizon=100,table={},trunk=constant",
            path.display()
        );
        write(30);
        assert_eq!(schedule(&text, 80).unwrap().lr(50), 1e-3);
        write(80);
        assert_eq!(schedule(&text, 80).unwrap().lr(50), 1e-3 + 50.0 * 1e-6);
        assert_eq!(schedule(&text, 80).unwrap().lr(49), 3e-3);
        write(20);
        let said = schedule(&text, 80).unwrap_err().to_string();
        assert!(said.contains("20") && said.contains("30"), "{said}");
    }

    #[test]
    fn bad_branches_are_one_sentence() {
        for (text, steps, expected) in [
            ("branch:at=5", 10, "trunk=SPEC"),
            ("branch:at=5,trunk=constant", 10, "horizon"),
            (
                "branch:at=50,horizon=100,trunk=constant",
                50,
                "at least one step",
            ),
            ("branch:at=50,horizon=40,trunk=constant", 60, "beyond"),
            (
                "branch:at=40,horizon=40,trunk=wsd",
                60,
                "cooled down already",
            ),
            (
                "branch:at=4,horizon=40,final=2,trunk=wsd",
                60,
                "between 0 and 1",
            ),
            (
                "branch:at=4,horizon=40,table=x,decay=sqrt,trunk=wsd",
                60,
                "neither",
            ),
            (
                "branch:at=4,horizon=40,trunk=nothing",
                60,
                "unknown schedule",
            ),
        ] {
            let said = schedule(text, steps).unwrap_err().to_string();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
