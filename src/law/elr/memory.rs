//! How the loss forgets the noise it had: `N(t) = Σ_k (g_k − g_{k−1})·(1 − (1 + x_k)^−β)` as a stream over a sum of
//! exponentials, with every derivative carried along.

use super::{BETA, C, DRIVERS, R};
use crate::law::kernel::{digamma, ln_gamma};

/// Spacing of the rates in ln r: the trapezoid rule errs by `|Γ(β + 2πi/spacing)|/Γ(β)`, 9e-8 at β = 1.5 and
/// less below.
const SPACING: f64 = 0.5;
/// Highest ln r: beyond it the weights vanish as e^−r.
const HIGHEST: f64 = 3.6;
/// Rates that decay by less than this over the whole run are taken together.
const SLOWEST: f64 = 2e-5;

/// Carried derivatives: in `C`, in `beta`, then in the drivers.
const CARRIED: usize = 2 + DRIVERS;

/// `(1 + x)^−β = Σ_q w_q·e^{−r_q·x}`, by the trapezoid rule in ln r on `∫ r^{β−1} e^{−r(1+x)} dr / Γ(β)`.
pub(super) struct Memory {
    rates: Vec<f64>,
    weights: Vec<f64>,
    d_weights: Vec<f64>,
    /// ∂rate/∂β of the last rate, which stands for all slower ones.
    d_last_rate: f64,
    held: Vec<f64>,
    d_held: Vec<f64>,
    with_derivatives: bool,
}

impl Memory {
    /// For times `x = C·S` up to `longest`.
    pub fn new(beta: f64, longest: f64, with_derivatives: bool) -> Memory {
        let lowest = (SLOWEST / longest.max(1e-3)).ln();
        let count = ((HIGHEST - lowest) / SPACING).ceil().max(1.0) as usize;
        let (norm, psi) = (SPACING.ln() - ln_gamma(beta), digamma(beta));
        let mut memory = Memory {
            rates: Vec::with_capacity(count + 1),
            weights: Vec::with_capacity(count + 1),
            d_weights: Vec::with_capacity(count + 1),
            d_last_rate: 0.0,
            held: vec![0.0; count + 1],
            d_held: vec![
                0.0;
                if with_derivatives {
                    CARRIED * (count + 1)
                } else {
                    0
                }
            ],
            with_derivatives,
        };
        for i in 0..count {
            let ln_rate = HIGHEST - SPACING * i as f64;
            let weight = (norm + beta * ln_rate - ln_rate.exp()).exp();
            memory.rates.push(ln_rate.exp());
            memory.weights.push(weight);
            memory.d_weights.push(weight * (ln_rate - psi));
        }
        // What is left lies below the last rate's cell, with density r^(β−1): its mean rate.
        let edge = memory.rates[count - 1] * (-0.5 * SPACING).exp();
        memory
            .weights
            .push(1.0 - memory.weights.iter().sum::<f64>());
        memory.d_weights.push(-memory.d_weights.iter().sum::<f64>());
        memory.rates.push(edge * beta / (1.0 + beta));
        memory.d_last_rate = edge / (1.0 + beta).powi(2);
        memory
    }

    /// The noise level changes by `change`, then `time` (in x) goes by.
    pub fn step(
        &mut self,
        change: f64,
        d_change: &[f64; DRIVERS],
        time: f64,
        d_time: &[f64; DRIVERS],
        c: f64,
    ) {
        let count = self.rates.len();
        for q in 0..count {
            let decay = (-self.rates[q] * time).exp();
            let held = (self.held[q] + change * self.weights[q]) * decay;
            self.held[q] = held;
            if !self.with_derivatives {
                continue;
            }
            let slope = self.rates[q] * held;
            let carried = &mut self.d_held[q * CARRIED..(q + 1) * CARRIED];
            carried[0] = carried[0] * decay - slope * (time / c);
            carried[1] = (carried[1] + change * self.d_weights[q]) * decay;
            for i in 0..DRIVERS {
                carried[2 + i] =
                    (carried[2 + i] + d_change[i] * self.weights[q]) * decay - slope * d_time[i];
            }
        }
        if self.with_derivatives {
            let last = count - 1;
            self.d_held[last * CARRIED + 1] -= self.d_last_rate * time * self.held[last];
        }
    }

    /// What is still unforgotten: `Σ_k (g_k − g_{k−1})·(1 + x_k)^−β`.
    pub fn held(&self) -> f64 {
        self.held.iter().sum()
    }

    /// Its derivatives, into the full list's places.
    pub fn d_held(&self, full: &mut [f64]) {
        for carried in self.d_held.chunks_exact(CARRIED) {
            full[C] += carried[0];
            full[BETA] += carried[1];
            for i in 0..DRIVERS {
                full[R + i] += carried[2 + i];
            }
        }
    }
}
