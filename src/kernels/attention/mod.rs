//! Causal attention in tiles (Dao et al. 2022, "FlashAttention"; Dao 2023, "FlashAttention-2"):
//! o = softmax(q·kᵀ/√width)·v, where a query sees its own position and those before it. The
//! weights of a tile live in a thread's scratch and nowhere else; forward keeps the logarithm of
//! each row's sum of exponentials, from which backward makes the weights again.
//!
//! Cost: forward 2 and backward 5 products of `width` multiplications for each pair of a query and a
//! key that it sees, and one exponential each. What micro-tiles reach beyond the diagonal comes on top; tiles
//! that lie beyond it altogether are skipped.
//!
//! Scores, sums and accumulators are f32. In [`Precision::Bf16`](super::gemm::Precision) the
//! operands of products (q, k, v, weights, and their gradients) are rounded as they are packed.
//!
//! Several query heads may share a key head: query head h reads key head h/(H/KV).
//!
//! A NaN in q, k or v reaches every output that depends on it, and those that share a tile with it.

// Loops over lanes read and write several arrays at one index.
#![allow(clippy::needless_range_loop)]

mod backward;
mod dscores;
mod forward;
mod heads;
mod lanes;
mod scratch;
mod softmax;
mod transpose;

pub use backward::backward;
pub use forward::forward;
pub use heads::{Gradients, Heads, HeadsMut};

/// Sizes: B, T, H, KV and the numbers of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    pub batch: usize,
    pub positions: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub width: usize,
}

impl Dims {
    fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// Query heads that share a key head.
    fn group(self) -> usize {
        self.heads / self.kv_heads
    }

    /// Whether there is nothing to compute.
    ///
    /// # Panics
    /// Heads do not divide.
    fn is_empty(self) -> bool {
        let Dims {
            batch,
            positions,
            heads,
            kv_heads,
            width,
        } = self;
        assert!(
            kv_heads > 0 && heads.is_multiple_of(kv_heads),
            "{heads} query heads do not divide over {kv_heads} key heads"
        );
        batch * positions * heads * width == 0
    }

    /// The index, for dropout, of the weight of query `t` and key 0.
    fn first_weight(self, [b, head]: [usize; 2], t: usize) -> u64 {
        (((b * self.heads + head) * self.positions + t) * self.positions) as u64
    }
}

#[cfg(test)]
mod tests;
