//! `wsd-s`: several cooldowns in one run, the peak restored after each.
//!
//! Wen et al. 2024 (arXiv 2410.05192): the run goes on from the cooled weights, back at the peak at
//! once, so that every cooldown leaves a usable model and none of its compute is thrown away.
//! `ends` are the steps at which a cooldown is over; the cooldown takes the last `fraction` of the
//! stretch since the end before it. With one end at the horizon this is `wsd`. Behind the last end
//! the peak holds, if steps are left.

use super::describe::{count, to_ratio};
use super::keys::check_ratio;
use super::length::{increasing, steps_of};
use super::span::Span;
use super::{Curve, Decay, Landmark, Length, Run};
use crate::error::Result;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct WsdS {
    /// One a cycle, in order; a cooldown that warm-up leaves no room for is empty.
    cooldowns: Vec<Span>,
    decay: Decay,
    final_ratio: f64,
    steps: u64,
}

impl WsdS {
    pub fn new(
        ends: &[Length],
        fraction: f64,
        decay: Decay,
        final_ratio: f64,
        run: Run,
    ) -> Result<Self> {
        check_ratio("wsd-s", "fraction", fraction)?;
        check_ratio("wsd-s", "final", final_ratio)?;
        decay.check("wsd-s")?;
        let ends = increasing("wsd-s", "ends", ends, run.steps)?;
        let mut cycle_start = 0;
        let cooldowns = ends
            .into_iter()
            .map(|end| {
                let start = end - steps_of(fraction, end - cycle_start);
                cycle_start = end;
                Span::between(start.max(run.warmup).min(end), end)
            })
            .collect();
        let steps = run.steps;
        Ok(WsdS {
            cooldowns,
            decay,
            final_ratio,
            steps,
        })
    }
}

impl Curve for WsdS {
    fn at(&self, step: u64) -> f64 {
        // Past the horizon the LR stays where the last step's neighbour would be: behind a
        // cooldown that ends the run there is nothing to restore.
        let cycle = self
            .cooldowns
            .partition_point(|c| c.start + c.steps <= step && c.start + c.steps < self.steps);
        match self.cooldowns.get(cycle) {
            Some(cooldown) => self
                .decay
                .between(self.final_ratio, cooldown.progress(step)),
            None => 1.0,
        }
    }

    fn landmarks(&self) -> Vec<Landmark> {
        let mut all = Vec::new();
        for cooldown in self.cooldowns.iter().filter(|c| c.steps > 0) {
            all.push(Landmark::new(cooldown.start, "cooldown starts"));
            let end = cooldown.start + cooldown.steps;
            if end < self.steps {
                all.push(Landmark::new(end - 1, "cooldown ends"));
                all.push(Landmark::new(end, "peak restored"));
            }
        }
        all
    }

    fn words(&self) -> String {
        let ends: Vec<String> = self
            .cooldowns
            .iter()
            .map(|c| count(c.start + c.steps))
            .collect();
        let mut words = match ends.as_slice() {
            [one] => format!("1 cooldown ({}) ending at step {one}", self.decay),
            all if all.len() <= 4 => format!(
                "{} cooldowns ({}) ending at steps {}",
                all.len(),
                self.decay,
                all.join(" / ")
            ),
            all => format!(
                "{} cooldowns ({}) ending at steps {} / … / {}",
                all.len(),
                self.decay,
                all[0],
                all[all.len() - 1]
            ),
        };
        if self.final_ratio > 0.0 {
            words.push_str(", each ");
            words.push_str(&to_ratio(self.final_ratio));
        }
        words
    }
}
