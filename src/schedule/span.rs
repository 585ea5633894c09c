//! A stretch of steps over which something decays.

/// Steps `start .. start + steps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u64,
    pub steps: u64,
}

impl Span {
    /// From `start` to just before `end`; empty when `start` is not before `end`.
    pub fn between(start: u64, end: u64) -> Self {
        let steps = end.saturating_sub(start);
        Span { start, steps }
    }

    /// x = (s − start)/steps: 0 on the first step, (A−1)/A on the last, 1 from there on.
    /// An empty span never progresses: where there is no room to decay, the LR holds.
    pub fn progress(self, step: u64) -> f64 {
        if self.steps == 0 {
            return 0.0;
        }
        let done = step.saturating_sub(self.start).min(self.steps);
        done as f64 / self.steps as f64
    }

    /// The step at which half of it is done.
    pub fn middle(self) -> u64 {
        self.start + self.steps / 2
    }
}
