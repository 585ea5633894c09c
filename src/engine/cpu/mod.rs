//! Runs programs on the CPU.

mod arena;
mod attend;
mod products;

use super::build::{Form, partials};
use super::program::{Norm, Op, Program, Site, Span, Store};
use super::times::Times;
use crate::kernels::dropout::Mask;
use crate::kernels::element::{Bf16, Element};
use crate::kernels::gemm::{Micro, Precision, pack};
use crate::kernels::{WeightLayout, activation, finish, norm, reduce, rope, table};
use crate::memory::Block;
use crate::model::DropoutStream;
use arena::Arena;
use rayon::prelude::*;
use std::time::Instant;

/// One micro-batch and what becomes of its gradients.
pub struct Batch<'a> {
    pub tokens: &'a [u32],
    pub targets: &'a [u32],
    pub dropout: &'a DropoutStream,
    /// Flat parameters.
    pub weights: &'a [f32],
    /// Flat gradients; empty where the program makes none.
    pub gradients: &'a mut [f32],
    /// Whether gradients are added to what is there.
    pub add: bool,
    /// The share of the mean loss whose gradient is wanted.
    pub scale: f32,
}

/// Memory and clock of the programs that run here; grows to the largest program.
pub struct Cpu {
    precision: Precision,
    arena: Arena,
    scratch: Scratch,
    /// Cosines and sines of the positions seen so far.
    rope: [Vec<f32>; 2],
    pub times: Times,
}

/// What an operation needs while it runs.
struct Scratch {
    /// Packed right-hand sides.
    packed: Block<u32>,
    partials: Block<f32>,
    /// Positions sorted by token.
    starts: Block<u32>,
    order: Block<u32>,
}

/// What every operation of a run sees.
struct Run<'a> {
    program: &'a Program,
    precision: Precision,
    arena: &'a Arena,
    rope: [&'a [f32]; 2],
}

impl Cpu {
    pub fn new(precision: Precision) -> Cpu {
        Cpu {
            precision,
            arena: Arena::default(),
            scratch: Scratch {
                packed: Block::zeroed(0),
                partials: Block::zeroed(0),
                starts: Block::zeroed(0),
                order: Block::zeroed(0),
            },
            rope: Default::default(),
            times: Times::default(),
        }
    }

    /// What programs that run here look like.
    pub fn form(precision: Precision) -> Form {
        Form {
            act_bytes: match precision {
                Precision::F32 => size_of::<f32>(),
                Precision::Bf16 => size_of::<Bf16>(),
            },
            logits: Store::F32,
            stride: 1,
            most_logits: if cfg!(test) { 1 << 9 } else { 1 << 24 },
            fewest_rows: if cfg!(test) { 5 } else { 256 },
            even: None,
            // Products read numbers of either kind.
            rounded: false,
        }
    }

    /// Runs a program; the losses of the tokens, in order.
    pub fn run(&mut self, program: &Program, batch: &mut Batch) -> &[f32] {
        self.reserve(program);
        let run = Run {
            program,
            precision: self.precision,
            arena: &self.arena,
            rope: [&self.rope[0], &self.rope[1]],
        };
        let (scratch, times) = (&mut self.scratch, &mut self.times);
        // Inside the pool, so that no operation has to wake it from outside.
        rayon::scope(|_| {
            for op in &program.ops {
                let clock = Instant::now();
                match run.precision {
                    Precision::F32 => run.op::<f32>(op, batch, scratch),
                    Precision::Bf16 => run.op::<Bf16>(op, batch, scratch),
                }
                times.record(
                    op.name(),
                    clock.elapsed(),
                    program.flops(op),
                    program.traffic(op),
                );
            }
        });
        self.arena.read(program.losses)
    }

    /// Makes room; nothing happens from the second time on.
    fn reserve(&mut self, program: &Program) {
        let s = &program.sizes;
        let n = s.tokens();
        let micro = Micro::of(self.precision);
        let len = |k: usize, columns: usize| pack::packed_b_len(micro, k, columns);
        let packed = program.ops.iter().map(|op| match op {
            Op::Linear { weight: w, .. } => len(w.inputs, w.outputs),
            Op::LinearInput { weight: w, .. } => len(w.outputs, w.inputs),
            Op::LinearWeight { weight: w, .. } => match w.layout {
                WeightLayout::InOut => len(n, w.outputs),
                WeightLayout::OutIn => len(n, w.inputs),
            },
            Op::Loss { head, rows, dx, .. } => {
                let forward = len(head.inputs, head.outputs);
                let back = if dx.is_some() {
                    len(*rows, head.inputs)
                } else {
                    0
                };
                forward.max(len(head.outputs, head.inputs)) + back
            }
            _ => 0,
        });
        self.scratch.packed.grow(packed.max().unwrap_or(0));
        self.scratch.partials.grow(partials(s));
        self.scratch.starts.grow(s.vocab + 1);
        self.scratch.order.grow(n);
        self.arena.grow(program.bytes);
        let turns = program.ops.iter().any(|op| matches!(op, Op::Rope { .. }));
        if turns && self.rope[0].len() < s.positions * (s.head_dim / 2) {
            self.rope = rope::table(s.positions, s.head_dim, s.rope_theta);
        }
    }
}

impl Run<'_> {
    fn op<E: Element>(&self, op: &Op, batch: &mut Batch, scratch: &mut Scratch) {
        let (arena, s) = (self.arena, &self.program.sizes);
        let (n, d) = (s.tokens(), s.width);
        match *op {
            Op::Embed {
                tokens,
                positions,
                out,
                site,
            } => {
                let ids = batch.tokens;
                let positions = positions.map(|p| &span(batch.weights, p)[..s.positions * d]);
                let table = span(batch.weights, tokens);
                table::forward(
                    ids,
                    table,
                    positions,
                    d,
                    mask(batch, site),
                    arena.write(out),
                );
            }
            Op::Norm {
                norm: of,
                x,
                out,
                stats,
            } => {
                let norm = parameters(of, batch.weights, s.eps);
                norm::forward::<E>(norm, arena.read(x), arena.write(out), arena.write(stats));
            }
            Op::Rope { qkv, back } => {
                let heads = s.heads + s.kv_heads;
                let (x, sign) = (arena.write::<E>(qkv), if back { -1.0 } else { 1.0 });
                rope::rotate(
                    x,
                    s.qkv(),
                    heads,
                    s.positions,
                    self.rope,
                    s.head_dim / 2,
                    sign,
                );
            }
            Op::Swiglu { gate_up, out } => {
                activation::swiglu::<E>(arena.read(gate_up), arena.write(out), s.mlp);
            }
            Op::Attention { .. } | Op::AttentionBack { .. } => self.attend::<E>(op, batch),
            Op::Linear { .. } | Op::LinearInput { .. } | Op::LinearWeight { .. } => {
                self.multiply::<E>(op, batch, scratch);
            }
            Op::Loss { .. } => self.loss::<E>(op, batch, scratch),
            Op::NormBack {
                norm: of,
                x,
                stats,
                dy,
                dx,
                add,
                rounded: _,
            } => {
                let norm = parameters(of, batch.weights, s.eps);
                let partials = &mut scratch.partials[..reduce::blocks(n) * 2 * d];
                let (x, stats, dy) = (arena.read(x), arena.read(stats), arena.read::<E>(dy));
                norm::backward(norm, x, stats, dy, arena.write(dx), add, partials);
                let gain = span_mut(batch.gradients, of.gain);
                reduce::sum_partials(partials, 2 * d, gain, batch.add);
                if let Some(bias) = of.bias {
                    let bias = span_mut(batch.gradients, bias);
                    reduce::sum_partials(&partials[d..], 2 * d, bias, batch.add);
                }
            }
            Op::DropBack { x, out, site } => {
                let mask = mask(batch, site).expect("made only where there is dropout");
                let (x, out) = (arena.read::<f32>(x), arena.write::<E>(out));
                finish::masked_all(x, mask, out);
            }
            Op::EmbedBack {
                dx,
                tokens,
                positions,
                site,
                shared,
            } => {
                let dx = arena.write::<f32>(dx);
                if let Some(mask) = mask(batch, site) {
                    let rows = dx.par_chunks_mut(d).enumerate();
                    rows.for_each(|(i, dx)| table::drop_line(dx, mask, (i * d) as u64));
                }
                let (starts, order) = (&mut scratch.starts[..s.vocab + 1], &mut scratch.order[..n]);
                table::bucket(batch.tokens, starts, order);
                let out = span_mut(batch.gradients, tokens);
                if !shared && !batch.add {
                    out.fill(0.0);
                }
                table::backward(starts, order, dx, d, out);
                if let Some(positions) = positions {
                    let out = span_mut(batch.gradients, positions);
                    if !batch.add {
                        out.fill(0.0);
                    }
                    // Positions beyond the batch's have no gradient, whatever was there before.
                    table::positions_backward(dx, d, &mut out[..s.positions * d]);
                }
            }
        }
    }
}

fn mask(batch: &Batch, site: Site) -> Option<Mask> {
    site.and_then(|site| batch.dropout.at(site)).map(Mask::new)
}

fn span(flat: &[f32], span: Span) -> &[f32] {
    &flat[span.offset..span.offset + span.len]
}

fn span_mut(flat: &mut [f32], span: Span) -> &mut [f32] {
    &mut flat[span.offset..span.offset + span.len]
}

fn parameters(of: Norm, weights: &[f32], eps: f32) -> norm::Norm<'_> {
    norm::Norm {
        gain: span(weights, of.gain),
        bias: of.bias.map(|bias| span(weights, bias)),
        eps,
    }
}
