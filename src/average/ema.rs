//! The exponential moving average of the weights, always in f32.
//!
//! Every `interval` steps a ← a + (1 − decay)·(w − a). It starts as a copy of the weights, which
//! then weigh decayⁿ after n updates, or with bias correction from 0, and a/(1 − decayⁿ) is
//! the average: the weights of the updates alone, which sum to one.

use super::accumulator::Accumulator;
use super::config::{AverageConfig, AverageDtype};
use super::{AverageState, EmaState};

/// A moving average that has begun.
pub struct Ema {
    interval: u64,
    decay: f64,
    corrected: bool,
    average: Accumulator,
    state: EmaState,
}

impl Ema {
    /// Begins with the weights after `step` completed steps.
    pub fn begin(config: &AverageConfig, step: u64, weights: &[f32]) -> Ema {
        let mut average = Accumulator::zeroed(AverageDtype::Float32, weights.len());
        if !config.ema_bias_correction {
            average.copy(weights);
        }
        Ema {
            interval: config.ema_interval,
            decay: config.ema_decay,
            corrected: config.ema_bias_correction,
            average,
            state: EmaState {
                from: step,
                updates: 0,
            },
        }
    }

    /// Whether an update is due after `step` completed steps.
    pub fn is_due(&self, step: u64) -> bool {
        let since = step.saturating_sub(self.state.from);
        since > 0 && since.is_multiple_of(self.interval)
    }

    /// Takes the weights after `step` completed steps, if an update is due.
    pub fn add(&mut self, step: u64, weights: &[f32]) {
        if self.is_due(step) {
            self.average.approach(weights, 1.0 - self.decay);
            self.state.updates += 1;
        }
    }

    /// Goes on where another stood.
    pub fn restore(&mut self, state: EmaState) -> &mut Accumulator {
        self.state = state;
        &mut self.average
    }

    pub fn state(&self) -> EmaState {
        self.state
    }

    pub fn accumulator(&self) -> &Accumulator {
        &self.average
    }

    /// The step of the newest weights in it.
    pub fn newest(&self) -> u64 {
        self.state.from + self.state.updates * self.interval
    }

    /// What the accumulator is divided by; `None` while it stands for nothing.
    pub fn divisor(&self) -> Option<f64> {
        match (self.corrected, self.state.updates) {
            (false, _) => Some(1.0),
            (true, 0) => None,
            (true, n) => Some(1.0 - self.decay.powf(n as f64)),
        }
    }
}

impl AverageState {
    /// The moving average of these settings, if it has begun.
    pub fn ema_of(&self, config: &AverageConfig) -> Option<EmaState> {
        self.ema.filter(|_| config.same_ema(&self.config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(interval: u64, decay: f64, corrected: bool) -> AverageConfig {
        AverageConfig {
            ema: true,
            ema_interval: interval,
            ema_decay: decay,
            ema_bias_correction: corrected,
            ..AverageConfig::default()
        }
    }

    fn read(ema: &Ema) -> f64 {
        let mut out = [0.0];
        ema.accumulator().read(ema.divisor().unwrap(), &mut out);
        out[0].into()
    }

    proptest! {
        #[test]
        fn it_follows_the_formula(interval in 1u64..12, decay in 0.01f64..0.999, from in 0u64..20, corrected: bool) {
            let w = |step: u64| (step as f32 * 0.37).cos() + 2.0;
            let mut ema = Ema::begin(&config(interval, decay, corrected), from, &[w(from)]);
            let mut oracle = if corrected { 0.0 } else { f64::from(w(from)) };
            let mut n = 0;
            for step in from + 1..from + 100 {
                ema.add(step, &[w(step)]);
                if (step - from) % interval == 0 {
                    oracle = decay * oracle + (1.0 - decay) * f64::from(w(step));
                    n += 1;
                    prop_assert_eq!(ema.newest(), step);
                }
                if corrected && n == 0 {
                    prop_assert!(ema.divisor().is_none());
                    continue;
                }
                let expected = if corrected { oracle / (1.0 - decay.powi(n)) } else { oracle };
                // 1 − decayⁿ of a slow average magnifies what its first updates were rounded by.
                prop_assert!((read(&ema) - expected).abs() < 3e-6, "{} {expected}", read(&ema));
            }
        }

        #[test]
        fn weights_that_stay_are_their_own_average(w in -10.0f32..10.0, decay in 0.01f64..0.9999) {
            let mut plain = Ema::begin(&config(1, decay, false), 0, &[w]);
            let mut corrected = Ema::begin(&config(1, decay, true), 0, &[w]);
            for step in 1..200 {
                plain.add(step, &[w]);
                corrected.add(step, &[w]);
                prop_assert_eq!(read(&plain), f64::from(w));
                let off = (read(&corrected) - f64::from(w)).abs();
                prop_assert!(off <= 2e-5 * f64::from(w.abs()), "{off} {step}");
            }
        }
    }
}
