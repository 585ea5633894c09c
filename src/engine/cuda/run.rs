//! Operations as launches, one or a few each.

use super::device::Address;
use super::{Cuda, NORM_BLOCKS, Run};
use crate::engine::program::{Buf, Norm, Op, Span};
use crate::error::Result;
use crate::kernels::dropout::Mask;

/// Of kernels that take four numbers a thread.
const THREADS: u32 = 256;
/// Of kernels in norm.cu.
const NORM_WARPS: usize = 8;
/// Of cross_entropy in loss.cu.
pub(super) const LOSS_THREADS: u32 = 512;

impl Cuda {
    pub(super) fn run(&mut self, run: &Run) -> Result<()> {
        for op in &run.program.ops {
            self.op(run, op)?;
        }
        Ok(())
    }

    pub(super) fn at(&self, buf: Buf) -> Address {
        self.arena.at.after(buf.offset)
    }

    pub(super) fn parameter(&self, span: Span) -> Address {
        self.weights.after(4 * span.offset)
    }

    pub(super) fn gradient(&self, span: Span) -> Address {
        self.gradients.at.after(4 * span.offset)
    }

    /// Launches a kernel that takes four of `count` numbers a thread; `count` is its last argument.
    pub(super) fn launch_over(
        &mut self,
        kernel: &'static str,
        count: usize,
        arguments: &[super::device::Argument],
    ) -> Result<()> {
        let mut all = arguments.to_vec();
        all.push((count as u64).into());
        let blocks = count.div_ceil(4 * THREADS as usize) as u32;
        self.launch(kernel, [blocks, 1, 1], THREADS, &all)
    }

    fn op(&mut self, run: &Run, op: &Op) -> Result<()> {
        let s = run.program.sizes;
        let (n, d) = (s.tokens(), s.width);
        // Threads that share the columns of a row, four each.
        let across = (d as u32).div_ceil(4).next_multiple_of(32).min(256);
        match *op {
            Op::Embed {
                tokens,
                positions,
                out,
                site,
            } => {
                let positions = positions.map_or(Address::NULL, |p| self.parameter(p));
                let arguments = [
                    run.micro.tokens.into(),
                    self.parameter(tokens).into(),
                    positions.into(),
                    (s.positions as u32).into(),
                    mask(run, site).into(),
                    self.at(out).into(),
                ];
                self.launch("embed", [n as u32, 1, 1], across, &arguments)
            }
            Op::Norm {
                norm,
                x,
                out,
                stats,
            } => {
                let arguments = [
                    self.parameter(norm.gain).into(),
                    self.bias_of(norm).into(),
                    s.eps.into(),
                    self.at(x).into(),
                    self.at(out).into(),
                    self.at(stats).into(),
                    (n as u32).into(),
                ];
                let blocks = n.div_ceil(NORM_WARPS) as u32;
                let threads = 32 * NORM_WARPS as u32;
                self.launch("norm_forward", [blocks, 1, 1], threads, &arguments)
            }
            Op::Rope { qkv, back } => {
                let half = s.head_dim / 2;
                let cosines = self.rope.at;
                let sines = cosines.after(4 * self.rope_positions * half);
                let arguments = [
                    self.at(qkv).into(),
                    cosines.into(),
                    sines.into(),
                    (s.positions as u32).into(),
                    (if back { -1.0f32 } else { 1.0 }).into(),
                    (n as u64).into(),
                ];
                let pairs = n * (s.heads + s.kv_heads) * half;
                let blocks = pairs.div_ceil(4 * THREADS as usize) as u32;
                self.launch("rope", [blocks, 1, 1], THREADS, &arguments)
            }
            Op::Swiglu { gate_up, out } => {
                let arguments = [self.at(gate_up).into(), self.at(out).into()];
                self.launch_over("swiglu", out.len, &arguments)
            }
            Op::Attention { .. } | Op::AttentionBack { .. } => self.attend(run, op),
            Op::Linear { .. } | Op::LinearInput { .. } | Op::LinearWeight { .. } => {
                self.products(run, op)
            }
            Op::Loss { .. } => self.head(run, op),
            Op::NormBack {
                norm,
                x,
                stats,
                dy,
                dx,
                add,
                rounded,
            } => {
                let blocks = n.div_ceil(NORM_WARPS).min(NORM_BLOCKS);
                let partials = self.partials.at;
                let arguments = [
                    self.parameter(norm.gain).into(),
                    norm.bias.is_some().into(),
                    self.at(x).into(),
                    self.at(stats).into(),
                    self.at(dy).into(),
                    self.at(dx).into(),
                    add.into(),
                    rounded.map_or(Address::NULL, |r| self.at(r)).into(),
                    partials.into(),
                    (n as u32).into(),
                ];
                let threads = 32 * NORM_WARPS as u32;
                self.launch("norm_back", [blocks as u32, 1, 1], threads, &arguments)?;
                let gain = self.gradient(norm.gain);
                self.sum_partials(partials, blocks, 2 * d, d, run.add, gain)?;
                if let Some(bias) = norm.bias {
                    let (partials, bias) = (partials.after(4 * d), self.gradient(bias));
                    self.sum_partials(partials, blocks, 2 * d, d, run.add, bias)?;
                }
                Ok(())
            }
            Op::DropBack { x, out, site } => {
                let (x, out_at) = (self.at(x), self.at(out));
                let arguments = [x.into(), mask(run, site).into(), out_at.into()];
                self.launch_over("masked", out.len, &arguments)
            }
            Op::EmbedBack {
                dx,
                tokens,
                positions,
                site,
                shared,
            } => {
                let mask = mask(run, site);
                let arguments = [
                    run.micro.starts.into(),
                    run.micro.order.into(),
                    self.at(dx).into(),
                    mask.into(),
                    (shared || run.add).into(),
                    self.gradient(tokens).into(),
                ];
                self.launch("table_back", [s.vocab as u32, 1, 1], across, &arguments)?;
                let Some(positions) = positions else {
                    return Ok(());
                };
                let to = self.gradient(positions);
                let held = positions.len / d;
                if !run.add && held > s.positions {
                    // Positions beyond the batch's have no gradient, whatever was there before.
                    let beyond = 4 * d * s.positions;
                    self.device
                        .clear(to.after(beyond), 4 * positions.len - beyond)?;
                }
                let arguments = [
                    self.at(dx).into(),
                    (s.batch as u32).into(),
                    (s.positions as u32).into(),
                    mask.into(),
                    run.add.into(),
                    to.into(),
                ];
                self.launch(
                    "positions_back",
                    [s.positions as u32, 1, 1],
                    across,
                    &arguments,
                )
            }
        }
    }

    fn bias_of(&self, norm: Norm) -> Address {
        norm.bias.map_or(Address::NULL, |b| self.parameter(b))
    }

    /// `out [width]` (+)= the sum of `blocks` rows of partial sums, `stride` numbers apart.
    pub(super) fn sum_partials(
        &mut self,
        partials: Address,
        blocks: usize,
        stride: usize,
        width: usize,
        add: bool,
        out: Address,
    ) -> Result<()> {
        let arguments = [
            partials.into(),
            (blocks as u32).into(),
            (stride as u32).into(),
            (width as u32).into(),
            add.into(),
            out.into(),
        ];
        let columns = width.div_ceil(32) as u32;
        self.launch("sum_partials", [columns, 1, 1], 256, &arguments)
    }
}

pub(super) fn mask(run: &Run, site: Option<u64>) -> Option<Mask> {
    site.and_then(|site| run.dropout.at(site)).map(Mask::new)
}
