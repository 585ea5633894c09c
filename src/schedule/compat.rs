//! Compatibility mode: the learning rates of schedules-and-scaling (commit 17e78d6), step by step.
//!
//! For people who continue or compare with runs of that codebase. It covers its four schedulers,
//! `cos`, `linear`, `cos_inf` and `wsd`, with multiples of the peak at step `s` (from 0), warm-up
//! `W`, horizon `T` and final ratio `f` (0.1 in the original for all but `wsd`):
//!
//! - `cos`, as torch's OneCycleLR(div 100, final div 0.1): a cosine warm-up
//!   `1 − 0.495·(1 + cos(πs/(W−1)))` up to `s = W−1`, then `f + (1−f)/2·(1 + cos(π(s−W+1)/(T−W)))`,
//!   which arrives at `f` on the last step.
//! - `linear`: the same two legs, both straight.
//! - `cos_inf`, with `n` constant steps at the end: warm-up `s/W + (1 − s/W)/100`, a cosine over
//!   `t = (s−W)/(T−n−W)`, then `f`.
//! - `wsd`: the same warm-up; then 1; then over `A = ⌊fraction·T⌋` steps from `H = T−A` with
//!   `x = (s−H)/A` the decay of that name, where `exp` with `f = 0` falls from 1 to 0 in one step.
//!
//! It differs from ours in its warm-up (from 1/100, and complete one step later for the last two), in
//! `cos` and `linear` reaching their floor on the last step, in rounding, and in a warm-up that overlaps the
//! cooldown: here the curve jumps. Where the original divides by zero or raises (`W = 1`, `W ≥ T`,
//! steps past `T`) we stay at the end that the formula approaches.

use super::describe::{count, percent, to_ratio};
use super::keys::check_ratio;
use super::span::Span;
use super::{Curve, Decay, Landmark, Run, Shape};
use crate::error::{Error, Result};

/// LR at step 0 over the peak.
const WARMUP_FROM: f64 = 0.01;
/// The floor of `cos` and `linear`, fixed in the original.
const FLOOR: f64 = 0.1;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Compat {
    kind: Kind,
    run_warmup: u64,
    run_steps: u64,
    final_ratio: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// torch's OneCycleLR, both legs with this form.
    OneCycle(Decay),
    CosInf(Span),
    Wsd(Span, Decay),
}

impl Compat {
    pub fn new(shape: &Shape, run: Run) -> Result<Self> {
        let name = shape.name();
        let (kind, final_ratio) = match shape {
            Shape::Cosine { final_ratio } => (Kind::OneCycle(Decay::Cosine), *final_ratio),
            Shape::Linear { final_ratio } => {
                (Kind::OneCycle(Decay::Linear), final_ratio.unwrap_or(FLOOR))
            }
            Shape::CosInf { final_ratio, hold } => {
                let hold = hold.resolve(name, "hold", run.steps)?;
                let span = Span::between(run.warmup, run.steps.saturating_sub(hold));
                (Kind::CosInf(span), *final_ratio)
            }
            Shape::Wsd {
                fraction,
                decay,
                final_ratio,
            } => {
                check_ratio(name, "fraction", *fraction)?;
                if let Decay::Power(_) = decay {
                    return Err(Error::input(
                        "compatibility mode has no decay=power:P; use linear, square or sqrt",
                    ));
                }
                // Python's int(fraction * T): towards zero.
                let cooldown = (*fraction * run.steps as f64) as u64;
                let span = Span::between(run.steps - cooldown, run.steps);
                (Kind::Wsd(span, *decay), *final_ratio)
            }
            _ => {
                return Err(Error::input(format!(
                    "compatibility mode reproduces cosine, linear, cos-inf and wsd; {name} has no \
                     counterpart there, so leave the mode off"
                )));
            }
        };
        check_ratio(name, "final", final_ratio)?;
        Ok(Compat {
            kind,
            run_warmup: run.warmup,
            run_steps: run.steps,
            final_ratio,
        })
    }

    fn one_cycle(&self, form: Decay, step: u64) -> f64 {
        let peak_at = self.run_warmup.saturating_sub(1);
        if step < peak_at {
            // Up is the way down, walked backwards.
            return form.between(WARMUP_FROM, 1.0 - step as f64 / peak_at as f64);
        }
        // s − W + 1 of T − W, which for W = 0 starts one step into the decay.
        let span = Span {
            start: 0,
            steps: self.run_steps.saturating_sub(self.run_warmup),
        };
        form.between(
            self.final_ratio,
            span.progress((step + 1).saturating_sub(self.run_warmup)),
        )
    }

    fn straight_warmup(&self, step: u64) -> Option<f64> {
        let done = step as f64 / self.run_warmup as f64;
        (step < self.run_warmup).then_some(done + (1.0 - done) * WARMUP_FROM)
    }
}

impl Curve for Compat {
    fn at(&self, step: u64) -> f64 {
        match self.kind {
            Kind::OneCycle(form) => self.one_cycle(form, step),
            Kind::CosInf(span) => self.straight_warmup(step).unwrap_or_else(|| {
                // Not `progress`, which holds at the top where there is no room for the cosine.
                if step >= span.start + span.steps {
                    return self.final_ratio;
                }
                Decay::Cosine.between(self.final_ratio, span.progress(step))
            }),
            Kind::Wsd(span, decay) => self.straight_warmup(step).unwrap_or_else(|| {
                if step >= self.run_steps {
                    return self.final_ratio;
                }
                let x = span.progress(step);
                if decay == Decay::Exp {
                    return self.final_ratio.powf(x);
                }
                decay.between(self.final_ratio, x)
            }),
        }
    }

    fn landmarks(&self) -> Vec<Landmark> {
        match self.kind {
            Kind::OneCycle(_) => {
                let span = Span::between(self.run_warmup, self.run_steps);
                vec![Landmark::new(span.middle(), "half of the decay")]
            }
            Kind::CosInf(span) => vec![
                Landmark::new(self.run_warmup, "peak"),
                Landmark::new(span.start + span.steps, "constant part starts"),
            ],
            Kind::Wsd(span, _) if span.steps == 0 => {
                vec![Landmark::new(self.run_warmup, "peak")]
            }
            Kind::Wsd(span, _) => vec![
                Landmark::new(self.run_warmup, "peak"),
                Landmark::new(span.start, "cooldown starts"),
                Landmark::new(span.middle(), "half of the cooldown"),
            ],
        }
    }

    fn words(&self) -> String {
        let to = to_ratio(self.final_ratio);
        let body = match self.kind {
            Kind::OneCycle(_) => to,
            Kind::CosInf(span) => {
                let end = count(span.start + span.steps);
                format!("{to} at step {end}, then constant")
            }
            Kind::Wsd(span, _) if span.steps == 0 => "no cooldown".into(),
            Kind::Wsd(span, decay) => format!(
                "cooldown {} ({decay}) from step {} {to}",
                percent(span.steps as f64 / self.run_steps as f64),
                count(span.start)
            ),
        };
        format!("{body}, compatibility mode")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Schedule, ScheduleSpec, Warmup};
    use super::*;

    fn schedule(shape: &str, steps: u64, warmup: u64) -> Result<Schedule> {
        Schedule::new(&ScheduleSpec {
            shape: shape.parse()?,
            peak_lr: 1.0,
            warmup: Warmup::Steps(warmup),
            steps,
            tokens_per_step: None,
            compat: true,
        })
    }

    /// `compat_reference.csv` comes from `compat_reference.py`, which computes the original's
    /// values without any of our code.
    #[test]
    fn equals_the_original_step_by_step() {
        let mut rows = 0;
        let mut current: Option<(String, Schedule)> = None;
        for line in include_str!("compat_reference.csv").lines().skip(1) {
            let (case, row) = line.rsplit_once(';').unwrap();
            let fields: Vec<&str> = case.split(';').collect();
            let [shape, steps, warmup] = fields[..] else {
                panic!("{line}");
            };
            if current.as_ref().is_none_or(|(key, _)| key != case) {
                let built = schedule(shape, steps.parse().unwrap(), warmup.parse().unwrap());
                current = Some((case.to_string(), built.unwrap()));
            }
            let (step, expected) = row.split_once(',').unwrap();
            let expected: f64 = expected.parse().unwrap();
            let ours = current.as_ref().unwrap().1.lr(step.parse().unwrap());
            assert!((ours - expected).abs() < 1e-12, "{line}: {ours}");
            rows += 1;
        }
        assert!(rows > 1000, "{rows}");
    }

    #[test]
    fn anchors() {
        let cos = schedule("cos", 1000, 100).unwrap();
        assert!((cos.lr(0) - 0.01).abs() < 1e-15);
        assert_eq!(cos.lr(99), 1.0);
        assert!((cos.lr(999) - 0.1).abs() < 1e-15);
        let linear = schedule("linear", 1000, 100).unwrap();
        assert!((linear.lr(999) - 0.1).abs() < 1e-15);
        let exp = schedule("wsd:fraction=0.1,decay=exp", 1000, 10).unwrap();
        assert_eq!((exp.lr(899), exp.lr(900), exp.lr(901)), (1.0, 1.0, 0.0));
    }

    #[test]
    fn edges_are_finite() {
        for shape in ["cos", "linear", "cos_inf", "wsd", "wsd:fraction=1.0"] {
            for (steps, warmup) in [(1, 0), (1, 1), (5, 1), (5, 5), (5, 9)] {
                let schedule = schedule(shape, steps, warmup).unwrap();
                for step in 0..steps + 3 {
                    let lr = schedule.lr(step);
                    assert!(
                        (0.0..=1.0).contains(&lr),
                        "{shape} {steps} {warmup} {step}: {lr}"
                    );
                }
            }
        }
    }

    #[test]
    fn refuses_what_the_original_lacks() {
        for shape in ["811", "constant", "wsd-s", "wsd:decay=power:2"] {
            let error = schedule(shape, 10, 1).unwrap_err().to_string();
            assert!(error.contains("compatibility mode"), "{error}");
        }
    }
}
