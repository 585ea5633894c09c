//! The probes of a campaign: how its steps are shared out among them, and how few are too few.

use super::spec::Spec;
use crate::curve::MIN_POINTS;
use crate::design::trust::MOST_EXTRAPOLATION;
use crate::error::{Error, Result};
use crate::schedule::count;
use serde::Serialize;

/// Steps that a fitted part of a probe has at least: one a loss.
const LOSSES: u64 = MIN_POINTS as u64;
/// No law describes the first collapse of the loss: this share of a curve is not fitted (see [`crate::fit::FitOptions`]).
const COLLAPSE: f64 = 0.05;
/// Peak of the probe at a lower LR, over that of the others. At one LR a law cannot tell steps from LR·steps; a second one
/// tells it, and a lower one is stable wherever the peak is.
pub(super) const LOW: f64 = 0.5;

/// The probes in steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probes {
    pub trunk: u64,
    /// Each branches off so that it ends where the trunk ends.
    pub cooldowns: Vec<u64>,
    /// Steps of the probe at half the peak; 0 where there is none.
    pub low: u64,
}

impl Probes {
    /// `total` steps shared out: the probe at half the peak has its share of all, and no fewer than can be fitted after
    /// `warmup` steps; each cooldown has its share of what that leaves, and the trunk the rest.
    pub fn of(total: u64, warmup: u64, low: f64, cooldowns: &[f64]) -> Probes {
        let low = match low > 0.0 {
            true => ((low * total as f64).round() as u64).max(after(warmup, total) + LOSSES),
            false => 0,
        };
        let here = total.saturating_sub(low);
        let lengths = cooldowns.iter();
        let cooldowns: Vec<u64> = lengths
            .map(|share| (share * here as f64).round() as u64)
            .collect();
        Probes {
            trunk: here.saturating_sub(cooldowns.iter().sum()),
            cooldowns,
            low,
        }
    }

    pub fn steps(&self) -> u64 {
        self.trunk + self.cooldowns.iter().sum::<u64>() + self.low
    }

    /// The first step that is fitted.
    pub fn fitted_from(&self, warmup: u64) -> u64 {
        after(warmup, self.trunk).max(1)
    }

    /// Why no law can be fitted to them, as a part of a sentence: the warm-up must be over where the first cooldown starts, and
    /// every part that is fitted must have enough steps for as many losses.
    fn lacks(&self, warmup: u64) -> Option<String> {
        let longest = self.cooldowns.iter().copied().max().unwrap_or(0);
        if self.trunk < (self.fitted_from(warmup) + LOSSES).max(longest + warmup.max(1)) {
            let low = match self.low {
                0 => String::new(),
                low => format!(" (and {} at half the peak)", count(low)),
            };
            return Some(format!(
                "{} of them in a trunk{low} with a warm-up of {}, too few to fit a law to",
                count(self.trunk),
                count(warmup)
            ));
        }
        let shortest = self.cooldowns.iter().copied().min().unwrap_or(LOSSES);
        (shortest < LOSSES).then(|| {
            format!(
                "{} of them in a cooldown, too few to tell it from noise",
                count(shortest)
            )
        })
    }
}

/// Where the warm-up and the first collapse of a run of so many steps are over.
fn after(warmup: u64, steps: u64) -> u64 {
    warmup.max((COLLAPSE * steps as f64).round() as u64)
}

/// The probes, if a law can be fitted to them and asked about the long run.
///
/// # Errors
/// Too few steps for that, with how many it takes.
pub(super) fn probes(spec: &Spec, warmup: u64) -> Result<Probes> {
    let steps = spec.config.train.iterations;
    // 0.07 of 100 steps are 7, however it is rounded on the way.
    let total = (spec.budget * steps as f64 * (1.0 + 1e-12)).floor() as u64;
    let near = |p: &Probes| p.trunk as f64 * MOST_EXTRAPOLATION >= steps as f64;
    let of = |total: u64| Probes::of(total, warmup, spec.low_probe, &spec.cooldowns);
    let found = of(total);
    let mut lengths = found.cooldowns.clone();
    lengths.sort_unstable();
    if let Some(pair) = lengths.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::input(format!(
            "--cooldowns: two of them have {} steps; give each length once",
            count(pair[0])
        )));
    }
    let lacks = found.lacks(warmup).or_else(|| {
        (!near(&found)).then(|| {
            format!(
                "{} of them in the trunk, and beyond {MOST_EXTRAPOLATION} times its length a law is a guess",
                count(found.trunk)
            )
        })
    });
    let Some(lacks) = lacks else {
        return Ok(found);
    };
    let enough = |total: &u64| {
        let probes = of(*total);
        probes.lacks(warmup).is_none() && near(&probes)
    };
    // No fewer can reach far enough, and from there on it takes so many more at most.
    let least = (steps as f64 / MOST_EXTRAPOLATION) as u64;
    let cooldowns = spec.cooldowns.iter().map(|c| c * (1.0 - spec.low_probe));
    let smallest = cooldowns.fold(1.0, f64::min);
    let more = 4 * least + ((warmup + LOSSES) as f64 * 4.0 / smallest) as u64 + 1000;
    let from = least.max(total + 1);
    let advice = match (from..from + more).find(enough) {
        Some(needed) if needed < steps => format!(
            "they take at least {}; raise --budget to {:.3}, or train longer",
            count(needed),
            (1e3 * needed as f64 / steps as f64).ceil() / 1e3
        ),
        Some(needed) => format!(
            "they take at least {}, no less than the whole run; train longer",
            count(needed)
        ),
        None => "train longer".into(),
    };
    Err(Error::input(format!(
        "--budget {} of {} steps leaves {} for the probes, {lacks}; {advice}",
        spec.budget,
        count(steps),
        count(total)
    )))
}
