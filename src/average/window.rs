//! Uniform averages over windows of steps that do not overlap.
//!
//! The convention is that of schedules-and-scaling, which counts from 0 and takes a snapshot where
//! count % K = 0: with W = 500 and K = 5 the first window is the mean of the weights after steps
//! 1, 6, …, 496, and is finished after step 500. The mean runs along,
//! a ← a + (w − a)/n at snapshot n.

use super::accumulator::Accumulator;
use super::config::AverageConfig;

/// The window in progress.
pub struct Window {
    interval: u64,
    horizon: u64,
    mean: Accumulator,
    snapshots: u64,
}

impl Window {
    /// Waits for the first step of a window over `len` parameters.
    pub fn new(config: &AverageConfig, len: usize) -> Window {
        Window {
            interval: config.interval,
            horizon: config.horizon,
            mean: Accumulator::zeroed(config.dtype, len),
            snapshots: 0,
        }
    }

    /// Whether a snapshot is due after `step` completed steps.
    pub fn is_due(&self, step: u64) -> bool {
        ((step - 1) % self.horizon).is_multiple_of(self.interval)
    }

    /// Takes the weights after `step` completed steps, if a snapshot is due. A window whose first
    /// snapshots were not seen is passed over.
    pub fn add(&mut self, step: u64, weights: &[f32]) {
        if !self.is_due(step) {
            return;
        }
        let at = (step - 1) % self.horizon;
        if at == 0 {
            self.mean.copy(weights);
            self.snapshots = 1;
        } else if self.snapshots == at / self.interval {
            self.snapshots += 1;
            self.mean.approach(weights, 1.0 / self.snapshots as f64);
        }
    }

    /// Whether a window is finished after `step` completed steps.
    pub fn is_finished(&self, step: u64) -> bool {
        step.is_multiple_of(self.horizon) && self.snapshots == self.horizon / self.interval
    }

    /// Snapshots in the window in progress; 0 after the last step of a window, when nothing of
    /// it is needed any more.
    pub fn in_progress(&self, step: u64) -> u64 {
        match step.is_multiple_of(self.horizon) {
            true => 0,
            false => self.snapshots,
        }
    }

    /// Goes on with `snapshots` in the window in progress.
    pub fn restore(&mut self, snapshots: u64) -> &mut Accumulator {
        self.snapshots = snapshots;
        &mut self.mean
    }

    pub fn mean(&self) -> &Accumulator {
        &self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::average::AverageDtype;
    use proptest::prelude::*;

    /// Weights that wander, after a step.
    fn weights(step: u64) -> Vec<f32> {
        (0..37)
            .map(|i| ((i * 31 + 7) as f32 * 0.01 * step as f32).sin() + i as f32)
            .collect()
    }

    fn config(interval: u64, horizon: u64, dtype: AverageDtype) -> AverageConfig {
        AverageConfig {
            interval,
            horizon,
            dtype,
            ..AverageConfig::default()
        }
    }

    fn read(window: &Window) -> Vec<f32> {
        let mut out = vec![0.0; 37];
        window.mean().read(1.0, &mut out);
        out
    }

    #[test]
    fn snapshots_are_those_of_the_convention() {
        let mut window = Window::new(&config(5, 500, AverageDtype::Float64), 1);
        let mut taken = Vec::new();
        for step in 1..=1000 {
            let before = window.in_progress(step);
            window.add(step, &[step as f32]);
            if window.in_progress(step) != before {
                taken.push(step);
            }
            assert_eq!(window.is_finished(step), step % 500 == 0, "{step}");
        }
        assert_eq!(taken[..3], [1, 6, 11]);
        let mut out = [0.0];
        window.mean().read(1.0, &mut out);
        // The mean of 501, 506, …, 996.
        assert_eq!(out, [748.5]);
    }

    #[test]
    fn a_window_that_was_not_seen_from_its_start_is_passed_over() {
        let mut window = Window::new(&config(2, 10, AverageDtype::Float32), 1);
        for step in 6..=30 {
            window.add(step, &[1.0]);
            assert_eq!(window.is_finished(step), step == 20 || step == 30, "{step}");
        }
    }

    proptest! {
        #[test]
        fn a_window_is_the_plain_mean(interval in 1u64..7, snapshots in 1u64..40, wide: bool) {
            let horizon = interval * snapshots;
            let dtype = if wide { AverageDtype::Float64 } else { AverageDtype::Float32 };
            let mut window = Window::new(&config(interval, horizon, dtype), 37);
            let mut sums = vec![0.0f64; 37];
            for step in horizon + 1..=2 * horizon {
                window.add(step, &weights(step));
                if (step - 1) % interval == 0 {
                    for (sum, w) in sums.iter_mut().zip(weights(step)) {
                        *sum += f64::from(w);
                    }
                }
            }
            prop_assert!(window.is_finished(2 * horizon));
            for (a, sum) in read(&window).into_iter().zip(sums) {
                let mean = sum / snapshots as f64;
                // Half a unit in the last place; in f32 every move may add as much.
                let moves = if wide { 1.0 } else { 1.0 + 2.0 * (snapshots as f64).sqrt() };
                let tolerance = moves * f64::from(f32::EPSILON) * mean.abs().max(1.0);
                prop_assert!((f64::from(a) - mean).abs() <= tolerance, "{a} {mean}");
            }
        }

        #[test]
        fn a_window_goes_on_where_it_was_left(left in 1u64..60) {
            let config = config(3, 30, AverageDtype::Float32);
            let (mut whole, mut first) = (Window::new(&config, 37), Window::new(&config, 37));
            for step in 1..=left {
                whole.add(step, &weights(step));
                first.add(step, &weights(step));
            }
            let mut second = Window::new(&config, 37);
            let mean = second.restore(first.in_progress(left));
            mean.copy(&read(&first));
            for step in left + 1..=60 {
                whole.add(step, &weights(step));
                second.add(step, &weights(step));
                prop_assert_eq!(whole.is_finished(step), second.is_finished(step));
            }
            if left < 60 {
                prop_assert_eq!(read(&whole), read(&second));
            }
        }
    }
}
