//! `wsd`: warm-up, stable, decay. The peak holds until a cooldown over the last `fraction` of the run.
//!
//! Hu et al. 2024 (MiniCPM, arXiv 2404.06395); decay shapes and the advice of 20 % with 1−√x from
//! Hägele et al. 2024 (arXiv 2405.18392). `fraction` is of the whole horizon, warm-up included. With
//! `fraction = 0` the peak holds to the end; with `fraction = 1` the decay starts as soon as warm-up ends.

use super::describe::{count, percent, to_ratio};
use super::keys::check_ratio;
use super::length::steps_of;
use super::span::Span;
use super::{Curve, Decay, Landmark, Run};
use crate::error::Result;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wsd {
    span: Span,
    decay: Decay,
    final_ratio: f64,
    steps: u64,
}

impl Wsd {
    pub fn new(fraction: f64, decay: Decay, final_ratio: f64, run: Run) -> Result<Self> {
        check_ratio("wsd", "fraction", fraction)?;
        check_ratio("wsd", "final", final_ratio)?;
        decay.check("wsd")?;
        let start = run.steps - steps_of(fraction, run.steps);
        let span = Span::between(start.max(run.warmup), run.steps);
        let steps = run.steps;
        Ok(Wsd {
            span,
            decay,
            final_ratio,
            steps,
        })
    }
}

impl Curve for Wsd {
    fn at(&self, step: u64) -> f64 {
        self.decay
            .between(self.final_ratio, self.span.progress(step))
    }

    fn landmarks(&self) -> Vec<Landmark> {
        if self.span.steps == 0 {
            return Vec::new();
        }
        vec![
            Landmark::new(self.span.start, "cooldown starts"),
            Landmark::new(self.span.middle(), "half of the cooldown"),
        ]
    }

    fn words(&self) -> String {
        if self.span.steps == 0 {
            return "no cooldown".into();
        }
        let mut words = format!(
            "cooldown {} ({}) from step {}",
            percent(self.span.steps as f64 / self.steps as f64),
            self.decay,
            count(self.span.start)
        );
        if self.final_ratio > 0.0 {
            words.push(' ');
            words.push_str(&to_ratio(self.final_ratio));
        }
        words
    }
}
