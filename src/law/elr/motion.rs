//! The weight norm and the effective LR it leaves, block by block, with their derivatives.

use super::blocks::Block;
use super::{DRIVERS, E, P, R, V0};

/// `(1 − e^{−x})/x` and its derivative: the mean of `e^{−xτ}` over τ in 0..1.
fn mean_decay(x: f64) -> (f64, f64) {
    if x < 1e-4 {
        return (1.0 - x / 2.0 + x * x / 6.0, -0.5 + x / 3.0 - x * x / 8.0);
    }
    let gone = -(-x).exp_m1();
    let mean = gone / x;
    (mean, (1.0 - gone - mean) / x)
}

/// The weight norm squared, in units of the LR that would hold it there (`v` of the law).
#[derive(Clone, Copy, Debug)]
pub(super) struct Norm {
    pub v: f64,
    pub d_rate: f64,
    pub d_start: f64,
}

/// One block's effective LR and noise level, with derivatives in [`DRIVERS`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub effective: f64,
    pub d_effective: [f64; DRIVERS],
    pub noise: f64,
    pub d_noise: [f64; DRIVERS],
}

/// What one step, or block of steps, does to the norm, and what an adjoint needs of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Mean of `v` over the block.
    pub mean: f64,
    /// `v` after it.
    pub after: f64,
    pub mean_decay: f64,
    /// ∂`mean_decay`/∂x with `x = rate·lr·steps`.
    pub d_mean_decay: f64,
    pub decay: f64,
}

pub(super) fn turn(v: f64, lr: f64, steps: f64, rate: f64) -> Turn {
    let x = rate * lr * steps;
    let (mean_decay, d_mean_decay) = mean_decay(x);
    let decay = (-x).exp();
    Turn {
        mean: lr + (v - lr) * mean_decay,
        after: lr + (v - lr) * decay,
        mean_decay,
        d_mean_decay,
        decay,
    }
}

impl Norm {
    pub fn new(start: f64) -> Norm {
        Norm {
            v: start,
            d_rate: 0.0,
            d_start: 1.0,
        }
    }

    /// Goes through a block; what it trained with. `full` is the full parameter list.
    pub fn pass(&mut self, block: &Block, full: &[f64]) -> Pace {
        let (rate, e, p) = (full[R], full[E], full[P]);
        let turn = turn(self.v, block.lr, block.steps, rate);
        let apart = self.v - block.lr;
        let pull = block.lr * block.steps;
        let mean_rate = self.d_rate * turn.mean_decay + apart * turn.d_mean_decay * pull;
        let mean_start = self.d_start * turn.mean_decay;
        let ln_mean = turn.mean.ln();
        let effective = block.lr * (-e * ln_mean).exp();
        let ln_effective = effective.ln();
        let noise = (p * ln_effective).exp();
        // Logarithmic derivatives of ε in rate, v0, e, p.
        let d_ln = [
            -e * mean_rate / turn.mean,
            -e * mean_start / turn.mean,
            -ln_mean,
            0.0,
        ];
        let mut d_noise = d_ln.map(|d| noise * p * d);
        d_noise[P - R] = noise * ln_effective;
        self.d_rate = self.d_rate * turn.decay - apart * turn.decay * pull;
        self.d_start *= turn.decay;
        self.v = turn.after;
        Pace {
            effective,
            d_effective: d_ln.map(|d| effective * d),
            noise,
            d_noise,
        }
    }
}

// The drivers are four adjacent places of the full list.
const _: () = assert!(V0 == R + 1 && E == R + 2 && P == R + 3 && DRIVERS == 4);
