//! The probes of a campaign: how its steps are shared out among them, and how few are too few.

use super::spec::Spec;
use crate::curve::MIN_POINTS;
use crate::design::trust::MOST_EXTRAPOLATION;
use crate::error::{Error, Result};
use crate::schedule::count;
use serde::Serialize;

/// Steps of a cooldown that can be told from noise, and of a trunk after what is not fitted.
const FEWEST_STEPS: u64 = 10;
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
    /// `total` steps shared out: the probe at half the peak has its share of all, each cooldown of what that leaves, and the
    /// trunk has the rest.
    pub fn of(total: u64, low: f64, cooldowns: &[f64]) -> Probes {
        let low = (low * total as f64).round() as u64;
        let here = total - low;
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

    /// Whether a law can be fitted to them: the warm-up is over where the first cooldown starts, and every part that
    /// is fitted has enough steps for as many losses.
    fn suffice(&self, warmup: u64) -> bool {
        let from = warmup.max((COLLAPSE * self.trunk as f64).round() as u64);
        let longest = self.cooldowns.iter().copied().max().unwrap_or(0);
        let fewest = from + FEWEST_STEPS.max(MIN_POINTS as u64);
        self.trunk >= fewest
            && (self.low == 0 || self.low >= fewest)
            && self.trunk >= longest + warmup.max(1)
            && self.cooldowns.iter().all(|c| *c >= FEWEST_STEPS)
    }
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
    let found = Probes::of(total, spec.low_probe, &spec.cooldowns);
    if found.suffice(warmup) && near(&found) {
        return Ok(found);
    }
    let enough = |total: &u64| {
        let probes = Probes::of(*total, spec.low_probe, &spec.cooldowns);
        probes.suffice(warmup) && near(&probes)
    };
    // No fewer can reach far enough, and from there on it takes so many more at most.
    let least = (steps as f64 / MOST_EXTRAPOLATION) as u64;
    let cooldowns = spec.cooldowns.iter().map(|c| c * (1.0 - spec.low_probe));
    let low = Some(spec.low_probe).filter(|share| *share > 0.0);
    let smallest = cooldowns.chain(low).fold(1.0, f64::min);
    let more = 2 * least + ((warmup + FEWEST_STEPS) as f64 * 4.0 / smallest) as u64 + 1000;
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
    let lacking = match found.suffice(warmup) {
        false => format!(
            "{} of them in a trunk{} with a warm-up of {}, too few to fit a law to",
            count(found.trunk),
            match found.low {
                0 => String::new(),
                low => format!(" and {} at half the peak", count(low)),
            },
            count(warmup)
        ),
        true => format!(
            "{} of them in the trunk, and beyond {MOST_EXTRAPOLATION} times its length a law is a guess",
            count(found.trunk)
        ),
    };
    Err(Error::input(format!(
        "--budget {} of {} steps leaves {} for the probes, {lacking}; {advice}",
        spec.budget,
        count(steps),
        count(total)
    )))
}
