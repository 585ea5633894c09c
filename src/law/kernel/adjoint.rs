//! The response after the last step of a run, and its derivative in everything it hangs on.

use super::{Clock, Power, scratch};

/// A run step by step: what a response's adjoint is taken over.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a> {
    /// LR of every step.
    pub lrs: &'a [f64],
    /// `S₁(k) = Σ_{s<k} lrs[s]`, one longer than `lrs`.
    pub s1: &'a [f64],
    /// Changes before this step do not count.
    pub first: usize,
    /// LRs below this are taken as this in rates.
    pub lr_floor: f64,
}

/// A response `R` after the last step, and its derivatives. With `T` steps, each vector holds `T`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adjoint {
    pub value: f64,
    /// In the drop `Δ_k = lrs[k−1] − lrs[k]` before step k, all else held.
    pub drop: Vec<f64>,
    /// In the intrinsic time `S₁(k)` of that change as the response's delay sees it, and in that of the end.
    pub delay: Vec<f64>,
    pub end: f64,
    /// In `S₁(k)` as it sets the amplitude of the change, where it does: warm-up conventions and the
    /// offset act on this one only.
    pub amplitude: Vec<f64>,
    /// Likewise in `S₁` of the end.
    pub end_amplitude: f64,
    /// In `lrs[k]` itself.
    pub lr: Vec<f64>,
}

/// Above it, `1 − (1 + x)^−β` from rounded parts still has twelve digits.
const SMALL: f64 = 1e-2;

impl Adjoint {
    pub fn zeros(steps: usize) -> Self {
        Adjoint {
            value: 0.0,
            drop: scratch::zeros(steps),
            delay: scratch::zeros(steps),
            end: 0.0,
            amplitude: scratch::zeros(steps),
            end_amplitude: 0.0,
            lr: scratch::zeros(steps),
        }
    }

    /// Hands its memory to the next.
    pub(in crate::law) fn recycle(self) {
        let Adjoint {
            drop,
            delay,
            amplitude,
            lr,
            ..
        } = self;
        for vector in [drop, delay, amplitude, lr] {
            scratch::give_back(vector);
        }
    }

    pub fn scale(&mut self, factor: f64) {
        self.value *= factor;
        self.end *= factor;
        self.end_amplitude *= factor;
        for part in [
            &mut self.drop,
            &mut self.delay,
            &mut self.amplitude,
            &mut self.lr,
        ] {
            part.iter_mut().for_each(|value| *value *= factor);
        }
    }
}

impl Steps<'_> {
    /// `Δ_k`, with the LR before the first step 0.
    pub fn drop(&self, k: usize) -> f64 {
        (if k == 0 { 0.0 } else { self.lrs[k - 1] }) - self.lrs[k]
    }

    fn delay(&self, clock: Clock, k: usize) -> f64 {
        match clock {
            Clock::S1 => (self.s1[self.lrs.len()] - self.s1[k]).max(0.0),
            Clock::Steps => (self.lrs.len() - k) as f64,
        }
    }

    /// `R = Σ_k Δ_k·a(k)·G(x_k)` for the power kernel, with amplitude `a` and its derivative in
    /// `S₁(k)` given by `amplitude(k)`.
    pub fn power(&self, kernel: Power, amplitude: impl Fn(usize) -> (f64, f64)) -> Adjoint {
        // Most steps of most schedules have the LR of the step before them: one rate for both.
        let (mut rate, mut rate_of) = (0.0, f64::NAN);
        self.sum(kernel.clock, amplitude, |k, delay| {
            let lr = self.lrs[k].max(self.lr_floor).max(f64::MIN_POSITIVE);
            if lr != rate_of {
                (rate, rate_of) = (kernel.ln_rate(lr.ln()).exp(), lr);
            }
            let x = rate * delay;
            // The logarithm and exponential that keep every digit of small responses cost three times as much.
            let (response, rest) = match x > SMALL {
                true => {
                    let rest = (-kernel.beta * (1.0 + x).ln()).exp();
                    (1.0 - rest, rest)
                }
                false => {
                    let log = x.ln_1p();
                    (-(-kernel.beta * log).exp_m1(), (-kernel.beta * log).exp())
                }
            };
            let by_ln_x = kernel.beta * rest * x / (1.0 + x);
            let by_lr = if self.lrs[k] > self.lr_floor {
                -kernel.gamma * by_ln_x / lr
            } else {
                0.0
            };
            let by_delay = kernel.beta * rest / (1.0 + x) * rate;
            (response, by_delay, by_lr)
        })
    }

    /// The same for the exponential kernel, without amplitude.
    pub fn exponential(&self, clock: Clock, rate: f64) -> Adjoint {
        self.sum(
            clock,
            |_| (1.0, 0.0),
            |_, delay| {
                let rest = (-rate * delay).exp();
                (-(-rate * delay).exp_m1(), rate * rest, 0.0)
            },
        )
    }

    /// `kernel(k, delay)` gives G, ∂G/∂delay and ∂G/∂lrs\[k\].
    fn sum(
        &self,
        clock: Clock,
        amplitude: impl Fn(usize) -> (f64, f64),
        mut kernel: impl FnMut(usize, f64) -> (f64, f64, f64),
    ) -> Adjoint {
        let mut out = Adjoint::zeros(self.lrs.len());
        for k in self.first..self.lrs.len() {
            let drop = self.drop(k);
            let (size, d_size) = amplitude(k);
            let (response, by_delay, by_lr) = kernel(k, self.delay(clock, k));
            out.value += drop * size * response;
            out.drop[k] = size * response;
            out.amplitude[k] = drop * d_size * response;
            out.lr[k] = drop * size * by_lr;
            if clock == Clock::S1 {
                out.delay[k] = -drop * size * by_delay;
                out.end += drop * size * by_delay;
            }
        }
        out
    }
}
