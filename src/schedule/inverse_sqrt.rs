//! `inverse-sqrt`: after warm-up the LR falls with the square root of the steps done; it has no horizon.
//!
//! With τ the time scale and `W` the warm-up: √(τ/(τ + s + 1 − W)), 1 at step `W−1`. τ defaults to
//! `W`, which is the schedule of Vaswani et al. 2017 (√(W/(s+1))), and without warm-up to 10,000
//! steps, as T5 and transformers have it.

use super::describe::count;
use super::{Curve, Landmark, Run};
use crate::error::{Error, Result};

const DEFAULT_TIMESCALE: u64 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InverseSqrt {
    timescale: u64,
    warmup: u64,
}

impl InverseSqrt {
    pub fn new(timescale: Option<u64>, run: Run) -> Result<Self> {
        let timescale = match (timescale, run.warmup) {
            (Some(0), _) => {
                return Err(Error::input(
                    "inverse-sqrt: timescale must be at least 1 step, not 0",
                ));
            }
            (Some(steps), _) => steps,
            (None, 0) => DEFAULT_TIMESCALE,
            (None, warmup) => warmup,
        };
        let warmup = run.warmup;
        Ok(InverseSqrt { timescale, warmup })
    }
}

impl Curve for InverseSqrt {
    fn at(&self, step: u64) -> f64 {
        let timescale = self.timescale as f64;
        let since = step.saturating_sub(self.warmup) as f64 + 1.0;
        // Without warm-up there is no step W−1 to stand at the peak: step 0 does.
        let since = if self.warmup == 0 { since - 1.0 } else { since };
        (timescale / (timescale + since)).sqrt()
    }

    fn landmarks(&self) -> Vec<Landmark> {
        // √(τ/(τ + 3τ)) = 1/2.
        let start = self.warmup.saturating_sub(1);
        let half = start.saturating_add(self.timescale.saturating_mul(3));
        vec![Landmark::new(half, "half of the peak")]
    }

    fn words(&self) -> String {
        format!("time scale {} steps", count(self.timescale))
    }
}
