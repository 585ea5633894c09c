//! One average of all parameters: flat, in f32 or f64, moved by shares.
//!
//! Cost of a move: 3 FLOPs a parameter; in f32 it reads 8 bytes and writes 4 of each, in f64 12
//! and 8, so memory decides. Numbers are independent of each other: no bit depends on the number
//! of threads.

use super::config::AverageDtype;
use crate::memory::{Block, Plain};
use rayon::prelude::*;

/// Numbers a task.
const BLOCK: usize = 1 << 14;

/// An average of weights, one number a parameter.
pub enum Accumulator {
    F32(Block<f32>),
    F64(Block<f64>),
}

impl Accumulator {
    /// Zeros for `len` parameters.
    pub fn zeroed(dtype: AverageDtype, len: usize) -> Accumulator {
        match dtype {
            AverageDtype::Float32 => Accumulator::F32(Block::zeroed(len)),
            AverageDtype::Float64 => Accumulator::F64(Block::zeroed(len)),
        }
    }

    /// a ← w.
    pub fn copy(&mut self, weights: &[f32]) {
        match self {
            Accumulator::F32(a) => each(a, weights, |a, w| *a = w),
            Accumulator::F64(a) => each(a, weights, |a, w| *a = f64::from(w)),
        }
    }

    /// a ← a + share·(w − a), which leaves an average that equals the weights as it is.
    pub fn approach(&mut self, weights: &[f32], share: f64) {
        match self {
            Accumulator::F32(a) => {
                let share = share as f32;
                each(a, weights, |a, w| *a += share * (w - *a));
            }
            Accumulator::F64(a) => each(a, weights, |a, w| *a += share * (f64::from(w) - *a)),
        }
    }

    /// Writes a/`divisor` in f32.
    pub fn read(&self, divisor: f64, out: &mut [f32]) {
        match self {
            Accumulator::F32(a) if divisor == 1.0 => out.copy_from_slice(a),
            Accumulator::F32(a) => {
                for (out, &a) in out.iter_mut().zip(a.iter()) {
                    *out = (f64::from(a) / divisor) as f32;
                }
            }
            Accumulator::F64(a) => {
                for (out, &a) in out.iter_mut().zip(a.iter()) {
                    *out = (a / divisor) as f32;
                }
            }
        }
    }
}

fn each<T: Plain>(average: &mut [T], weights: &[f32], change: impl Fn(&mut T, f32) + Sync) {
    assert_eq!(average.len(), weights.len(), "one number a parameter");
    let blocks = average.par_chunks_mut(BLOCK).zip(weights.par_chunks(BLOCK));
    blocks.for_each(|(average, weights)| {
        for (a, &w) in average.iter_mut().zip(weights) {
            change(a, w);
        }
    });
}
