//! GELU in its tanh form (Hendrycks and Gimpel 2016) and SwiGLU (Shazeer 2020).
//!
//! `gelu(x) = x·s` with `s = σ(2u)`, `u = √(2/π)·(x + 0.044715 x³)`, so that
//! `gelu′ = s + x·s·(1 − s)·2u′`. `swiglu(g, u) = g·σ(g)·u`.
//!
//! Both backward passes compute the forward value again beside the gradient, so that it need not be
//! kept. Cost: one exponential a number.
//!
//! The forms that end in `line` follow a product; the others take whole arrays.

use super::element::Element;
use super::reduce::{NUMBERS, ROWS};
use super::simd::{sigmoid, simd};
use rayon::prelude::*;

/// 2·√(2/π): the sigmoid's argument is 2u.
const SLOPE: f32 = 1.595_769;
const CUBIC: f32 = 0.044_715;

/// s = σ(2u).
#[inline(always)]
fn gelu_gate<const FMA: bool>(x: f32) -> f32 {
    sigmoid::<FMA>(SLOPE * x * (1.0 + CUBIC * x * x))
}

/// gelu′(x), of x and its s.
#[inline(always)]
fn gelu_slope(x: f32, s: f32) -> f32 {
    let slope = SLOPE * (1.0 + 3.0 * CUBIC * x * x);
    s + x * s * (1.0 - s) * slope
}

/// The gradients of g and u from that of the output, and the output again.
#[inline(always)]
fn swiglu_back<const FMA: bool>(dy: f32, g: f32, u: f32) -> [f32; 3] {
    let s = sigmoid::<FMA>(g);
    let silu = g * s;
    [dy * u * s * (1.0 + g * (1.0 - s)), dy * silu, silu * u]
}

simd! {
    /// `line` holds x without its bias: `pre = x + bias`, `out = gelu(pre)`, of `pre` as it is
    /// stored, which is what the backward pass will see.
    pub fn gelu_line<FMA; E: Element>(line: &[f32], bias: &[f32], pre: &mut [E], out: &mut [E]) {
        for (((&x, b), pre), out) in line.iter().zip(bias).zip(pre).zip(out) {
            *pre = E::from_f32(x + b);
            let x = pre.to_f32();
            *out = E::from_f32(x * gelu_gate::<FMA>(x));
        }
    }
}

simd! {
    /// From x in `pre` and the gradient of the output in `line`: the gradient of x into `dpre`,
    /// and `pre` becomes gelu(x).
    pub fn gelu_back_line<FMA; E: Element>(line: &[f32], pre: &mut [E], dpre: &mut [E]) {
        for ((dy, pre), dpre) in line.iter().zip(pre).zip(dpre) {
            let x = pre.to_f32();
            let s = gelu_gate::<FMA>(x);
            *dpre = E::from_f32(dy * gelu_slope(x, s));
            *pre = E::from_f32(x * s);
        }
    }
}

/// `y = gelu(x)`.
pub fn gelu(x: &[f32], y: &mut [f32]) {
    y.par_chunks_mut(NUMBERS)
        .zip(x.par_chunks(NUMBERS))
        .for_each(|(y, x)| gelu_block(x, y));
}

simd! {
    fn gelu_block<FMA>(x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x * gelu_gate::<FMA>(x);
        }
    }
}

/// `dx = dy·gelu′(x)`.
pub fn gelu_back(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    dx.par_chunks_mut(NUMBERS)
        .zip(x.par_chunks(NUMBERS))
        .zip(dy.par_chunks(NUMBERS))
        .for_each(|((dx, x), dy)| gelu_back_block(x, dy, dx));
}

simd! {
    fn gelu_back_block<FMA>(x: &[f32], dy: &[f32], dx: &mut [f32]) {
        for ((dx, &x), dy) in dx.iter_mut().zip(x).zip(dy) {
            *dx = dy * gelu_slope(x, gelu_gate::<FMA>(x));
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

/// As [`swiglu`], where gates and ups are arrays of their own.
pub fn swiglu_split(gate: &[f32], up: &[f32], out: &mut [f32]) {
    out.par_chunks_mut(NUMBERS)
        .zip(gate.par_chunks(NUMBERS))
        .zip(up.par_chunks(NUMBERS))
        .for_each(|((out, gate), up)| swiglu_line(gate, up, out));
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
            let [dg, du, y] = swiglu_back::<FMA>(*dy, gate.to_f32(), up.to_f32());
            *dgate = E::from_f32(dg);
            *dup = E::from_f32(du);
            *out = E::from_f32(y);
        }
    }
}

/// The gradients of gates and ups that are arrays of their own.
pub fn swiglu_split_back(dy: &[f32], gate: &[f32], up: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
    dgate
        .par_chunks_mut(NUMBERS)
        .zip(dup.par_chunks_mut(NUMBERS))
        .zip(gate.par_chunks(NUMBERS))
        .zip(up.par_chunks(NUMBERS))
        .zip(dy.par_chunks(NUMBERS))
        .for_each(|((((dgate, dup), gate), up), dy)| {
            swiglu_split_back_block(dy, gate, up, dgate, dup);
        });
}

simd! {
    fn swiglu_split_back_block<FMA>(
        dy: &[f32],
        gate: &[f32],
        up: &[f32],
        dgate: &mut [f32],
        dup: &mut [f32],
    ) {
        let rows = dy.iter().zip(gate).zip(up).zip(dgate).zip(dup);
        for ((((dy, gate), up), dgate), dup) in rows {
            [*dgate, *dup, _] = swiglu_back::<FMA>(*dy, *gate, *up);
        }
    }
}
