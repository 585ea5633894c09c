//! Attention: on tensor cores where the numbers are bf16 and the heads fit them.

use super::device::{Argument, Launch};
use super::run::mask;
use super::{Cuda, Run};
use crate::engine::program::{Buf, Op, Sizes};
use crate::error::{Error, Result};

/// Of the kernels in plain.cu.
const PLAIN_WARPS: usize = 4;
const DELTA_THREADS: usize = 256;
/// Blocks in the second dimension of a launch.
const MOST_HEADS: usize = 65_535;

impl Cuda {
    pub(super) fn attend(&mut self, run: &Run, op: &Op) -> Result<()> {
        let s = run.program.sizes;
        let scale = 1.0 / (s.head_dim as f32).sqrt();
        let positions = s.positions as u32;
        let (heads, key_heads) = (s.batch * s.heads, s.batch * s.kv_heads);
        let [forward, keys_back, queries_back] = self.tiles.shared(s.head_dim);
        match *op {
            Op::Attention {
                qkv,
                out,
                log_sums,
                site,
            } => {
                let arguments = [
                    self.at(qkv).into(),
                    positions.into(),
                    scale.into(),
                    mask(run, site).into(),
                    self.at(out).into(),
                    self.at(log_sums).into(),
                ];
                let names = ("attention_forward", "plain_forward");
                self.attention(&s, names, heads, forward, &arguments)
            }
            Op::AttentionBack {
                qkv,
                out,
                log_sums,
                dout,
                deltas,
                dqkv,
                site,
            } => {
                self.deltas(&s, out, dout, deltas)?;
                let arguments = [
                    self.at(qkv).into(),
                    self.at(dout).into(),
                    self.at(log_sums).into(),
                    self.at(deltas).into(),
                    positions.into(),
                    scale.into(),
                    mask(run, site).into(),
                    self.at(dqkv).into(),
                ];
                let names = ("attention_keys_back", "plain_keys_back");
                self.attention(&s, names, key_heads, keys_back, &arguments)?;
                let names = ("attention_queries_back", "plain_queries_back");
                self.attention(&s, names, heads, queries_back, &arguments)
            }
            _ => unreachable!("not attention"),
        }
    }

    /// One of two kernels, over blocks of positions and `heads` heads.
    fn attention(
        &mut self,
        s: &Sizes,
        (on_tensor_cores, plain): (&'static str, &'static str),
        heads: usize,
        shared: usize,
        arguments: &[Argument],
    ) -> Result<()> {
        if heads > MOST_HEADS {
            return Err(Error::input(format!(
                "micro-batches of {} sequences have {heads} heads, and CUDA runs {MOST_HEADS} at a time; take --batch-size {} or less",
                s.batch,
                s.batch * MOST_HEADS / heads
            )));
        }
        let (kernel, warps, each, shared) = match self.tensor_cores {
            true => (on_tensor_cores, self.tiles.warps, self.tiles.rows(), shared),
            false => (plain, PLAIN_WARPS, PLAIN_WARPS, 0),
        };
        self.device.launch(&Launch {
            kernel,
            blocks: [s.positions.div_ceil(each) as u32, heads as u32, 1],
            threads: 32 * warps as u32,
            shared: shared as u32,
            arguments,
        })
    }

    fn deltas(&mut self, s: &Sizes, out: Buf, dout: Buf, deltas: Buf) -> Result<()> {
        let count = s.tokens() * s.heads;
        let arguments = [
            self.at(out).into(),
            self.at(dout).into(),
            (s.positions as u32).into(),
            (count as u32).into(),
            self.at(deltas).into(),
        ];
        // As DELTA_LANES in plain.cu.
        let lanes = (s.head_dim / 8).next_power_of_two().min(32);
        let blocks = (count * lanes).div_ceil(DELTA_THREADS) as u32;
        let threads = DELTA_THREADS as u32;
        self.launch("attention_deltas", [blocks, 1, 1], threads, &arguments)
    }
}
