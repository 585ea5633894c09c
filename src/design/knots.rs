//! Schedules as straight lines between knots that lie ever denser towards the end, where a law is sensitive.

use super::problem::Problem;
use crate::law::kernel::scratch;

/// Steps of the knots, rising; the first is the last of the prefix, the last one that of the run.
pub(super) struct Grid {
    pub steps: Vec<u64>,
}

/// Share of the free steps over which, at the end, knots are evenly spaced.
const EVEN: f64 = 0.02;

impl Grid {
    /// About `count` knots, fewer where there are fewer steps.
    pub fn new(problem: &Problem, count: usize) -> Grid {
        let first = problem.prefix().len() as u64 - 1;
        let free = problem.free_steps();
        // The time to the end falls like c·(e^{au} − 1): evenly for times below c, geometrically above.
        let c = EVEN * free as f64;
        let reach = (free as f64 / c).ln_1p();
        let mut steps: Vec<u64> = (0..=count)
            .map(|i| {
                let left = c * (reach * (1.0 - i as f64 / count as f64)).exp_m1();
                first + free - (left.round() as u64).min(free)
            })
            .collect();
        steps.dedup();
        Grid { steps }
    }

    /// Steps from each knot to the next.
    pub fn gaps(&self) -> Vec<f64> {
        let gaps = self.steps.windows(2).map(|w| (w[1] - w[0]) as f64);
        gaps.collect()
    }

    /// LRs of the whole run with these values at the knots, the same bits as a table of these knots has.
    pub fn lrs(&self, problem: &Problem, values: &[f64]) -> Vec<f64> {
        let mut lrs = scratch::zeros(problem.limits.steps as usize);
        let (prefix, tail) = lrs.split_at_mut(problem.prefix().len());
        prefix.copy_from_slice(problem.prefix());
        let mut tail = tail.iter_mut();
        for (steps, ends) in self.steps.windows(2).zip(values.windows(2)) {
            let (low, high) = (ends[0], ends[1]);
            let gap = (steps[1] - steps[0]) as f64;
            for step in steps[0] + 1..=steps[1] {
                let x = (step - steps[0]) as f64 / gap;
                let lr = match (low == high, step == steps[1]) {
                    (true, _) => low,
                    (_, true) => high,
                    _ => low * (1.0 - x) + high * x,
                };
                *tail.next().expect("the knots end with the run") = lr;
            }
        }
        lrs
    }

    /// The gradient in the values at the knots, from that in the LRs.
    pub fn pull_back(&self, by_lr: &[f64]) -> Vec<f64> {
        let mut by_value = vec![0.0; self.steps.len()];
        for (i, steps) in self.steps.windows(2).enumerate() {
            let gap = (steps[1] - steps[0]) as f64;
            for step in steps[0] + 1..=steps[1] {
                let x = (step - steps[0]) as f64 / gap;
                by_value[i] += (1.0 - x) * by_lr[step as usize];
                by_value[i + 1] += x * by_lr[step as usize];
            }
        }
        by_value
    }

    /// The values that a whole run has at the knots.
    pub fn sample(&self, lrs: &[f64]) -> Vec<f64> {
        self.steps.iter().map(|&s| lrs[s as usize]).collect()
    }
}
