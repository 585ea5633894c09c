//! The kernels as text, and the constants that they are compiled with.

use crate::kernels::gemm::Precision;
use crate::model::ModelConfig;

/// Rows of logits are a multiple of this many numbers long, so that they begin where products like them to.
pub const LOGITS_STRIDE: usize = 64;

/// In the order in which they are compiled.
const SOURCES: &[&str] = &[
    include_str!("../../kernels/device.cuh"),
    include_str!("../../kernels/table.cu"),
    include_str!("../../kernels/norm.cu"),
    include_str!("../../kernels/reduce.cu"),
    include_str!("../../kernels/activation.cu"),
    include_str!("../../kernels/finish.cu"),
    include_str!("../../kernels/rope.cu"),
    include_str!("../../kernels/loss.cu"),
    include_str!("../../kernels/update.cu"),
    include_str!("../../kernels/attention/plain.cu"),
];

/// What tensor cores take.
const ON_TENSOR_CORES: &[&str] = &[
    include_str!("../../kernels/mma.cuh"),
    include_str!("../../kernels/attention/forward.cu"),
    include_str!("../../kernels/attention/backward.cu"),
];

/// Whether attention runs on tensor cores.
pub fn attends_on_tensor_cores(config: &ModelConfig, precision: Precision) -> bool {
    precision == Precision::Bf16 && config.head_dim.is_multiple_of(16) && config.head_dim <= 128
}

/// What a block of attention on tensor cores works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    pub warps: usize,
    /// Keys at a time.
    pub keys: usize,
}

impl Tiles {
    const LARGE: Tiles = Tiles { warps: 8, keys: 64 };
    /// For GPUs whose blocks have no more than 99 KiB: compute capability 8.6, 8.9 and 12.
    const SMALL: Tiles = Tiles { warps: 4, keys: 32 };

    /// As large as so many bytes of shared memory a block allow.
    pub fn within(shared: usize, head_dim: usize) -> Tiles {
        let needed = |tiles: &Tiles| *tiles.shared(head_dim).iter().max().expect("three");
        match needed(&Tiles::LARGE) <= shared {
            true => Tiles::LARGE,
            false => Tiles::SMALL,
        }
    }

    /// Queries, or keys, that a block owns.
    pub fn rows(self) -> usize {
        16 * self.warps
    }

    /// Bytes of shared memory of forward, keys_back and queries_back, as the sources have them.
    pub fn shared(self, head_dim: usize) -> [usize; 3] {
        let rows = |count: usize| count * (head_dim + 8) * 2;
        let queries = if head_dim > 64 { 32 } else { 64 };
        [
            rows(self.rows() + 4 * self.keys),
            rows(2 * self.rows() + 4 * queries) + 16 * queries,
            rows(2 * self.rows() + 4 * self.keys),
        ]
    }
}

/// All of the kernels of a model.
pub fn text(config: &ModelConfig, precision: Precision) -> String {
    let mut all = SOURCES.to_vec();
    if attends_on_tensor_cores(config, precision) {
        all.extend(ON_TENSOR_CORES);
    }
    all.join("\n")
}

/// Names and values of the constants, as `-D` has them.
pub fn constants(
    config: &ModelConfig,
    precision: Precision,
    tiles: Tiles,
) -> Vec<(&'static str, usize)> {
    vec![
        ("ACT_BF16", usize::from(precision == Precision::Bf16)),
        ("WIDTH", config.n_embd),
        ("HEADS", config.n_head),
        ("KV_HEADS", config.n_kv_head),
        ("HEAD_DIM", config.head_dim),
        ("ATTENTION_WARPS", tiles.warps),
        ("KEY_ROWS", tiles.keys),
        ("MLP", config.intermediate_size),
        ("VOCAB", config.vocab_size),
        ("DROPOUT", usize::from(config.dropout > 0.0)),
        ("LOGITS", config.vocab_size.next_multiple_of(LOGITS_STRIDE)),
    ]
}
