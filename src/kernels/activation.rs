//! GELU in its tanh form (Hendrycks and Gimpel 2016) and SwiGLU (Shazeer 2020).
//!
//! `gelu(x) = x·s` with `s = σ(2u)`, `u = √(2/π)·(x + 0.044715 x³)`, so that
//! `gelu′ = s + x·s·(1 − s)·2u′`. `swiglu(g, u) = g·σ(g)·u`.
//!
//! Both backward passes compute the forward value again beside the gradient, so that it need not be
//! kept. Cost: one exponential a number.

use super::element::Element;
use super::reduce::ROWS;
use super::simd::{sigmoid, simd};
use rayon::prelude::*;

/// 2·√(2/π): the sigmoid's argument is 2u.
const SLOPE: f32 = 1.595_769;
const CUBIC: f32 = 0.044_715;

simd! {
    /// `line` holds x without its bias: `pre = x + bias`, `out = gelu(x + bias)`.
    pub fn gelu_line<FMA; E: Element>(line: &[f32], bias: &[f32], pre: &mut [E], out: &mut [E]) {
        for (((&x, b), pre), out) in line.iter().zip(bias).zip(pre).zip(out) {
            let x = x + b;
            *pre = E::from_f32(x);
            *out = E::from_f32(x * sigmoid::<FMA>(SLOPE * x * (1.0 + CUBIC * x * x)));
        }
    }
}

simd! {
    /// From x in `pre` and the gradient of the output in `line`: the gradient of x into `dpre`,
    /// and `pre` becomes gelu(x).
    pub fn gelu_back_line<FMA; E: Element>(line: &[f32], pre: &mut [E], dpre: &mut [E]) {
        for ((dy, pre), dpre) in line.iter().zip(pre).zip(dpre) {
            let x = pre.to_f32();
            let s = sigmoid::<FMA>(SLOPE * x * (1.0 + CUBIC * x * x));
            let slope = SLOPE * (1.0 + 3.0 * CUBIC * x * x);
            *dpre = E::from_f32(dy * (s + x * s * (1.0 - s) * slope));
            *pre = E::from_f32(x * s);
        }
    }
}

/// `gate_up [N, 2F]`, gates first in a row → `out [N, F]`.
pub fn swiglu<E: Element>(gate_up: &[E], out: &mut [E], width: usize) {
    out.par_chunks_mut(ROWS * width)
        .zip(gate_up.par_chunks(ROWS * 2 * width))
        .for_each(|(out, gate_up)| {
            for (out, row) in out
                .chunks_exact_mut(width)
                .zip(gate_up.chunks_exact(2 * width))
            {
                let (gate, up) = row.split_at(width);
                swiglu_line(gate, up, out);
            }
        });
}

simd! {
    fn swiglu_line<FMA; E: Element>(gate: &[E], up: &[E], out: &mut [E]) {
        for ((gate, up), out) in gate.iter().zip(up).zip(out) {
            let g = gate.to_f32();
            *out = E::from_f32(g * sigmoid::<FMA>(g) * up.to_f32());
        }
    }
}

simd! {
    /// From the arguments and the gradient of the output in `line`: the gradients of both into
    /// `dgate` and `dup`, and the output again into `out`.
    pub fn swiglu_back_line<FMA; E: Element>(
        line: &[f32],
        gate: &[E],
        up: &[E],
        dgate: &mut [E],
        dup: &mut [E],
        out: &mut [E],
    ) {
        let rows = line.iter().zip(gate).zip(up).zip(dgate).zip(dup).zip(out);
        for (((((dy, gate), up), dgate), dup), out) in rows {
            let (g, u) = (gate.to_f32(), up.to_f32());
            let s = sigmoid::<FMA>(g);
            let silu = g * s;
            *out = E::from_f32(silu * u);
            *dup = E::from_f32(dy * silu);
            *dgate = E::from_f32(dy * u * s * (1.0 + g * (1.0 - s)));
        }
    }
}
