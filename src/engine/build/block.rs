//! A block of the model, forward and backward.

use super::Builder;
use crate::engine::program::{Buf, Finish, FinishBack, Norm, Op, Site, Span, Store, Weight};
use crate::kernels::norm;
use crate::model::Family;

/// The parameters of a block.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) norm_1: Norm,
    pub(super) qkv: Weight,
    pub(super) qkv_bias: Option<Span>,
    pub(super) out: Weight,
    pub(super) out_bias: Option<Span>,
    pub(super) norm_2: Norm,
    pub(super) up: Weight,
    pub(super) up_bias: Option<Span>,
    pub(super) down: Weight,
    pub(super) down_bias: Option<Span>,
}

/// The dropout sites of a block, in the order of its forward pass.
#[derive(Clone, Copy)]
pub(super) struct Sites {
    pub(super) attention: Site,
    pub(super) out: Site,
    pub(super) mlp: Site,
}

/// The gradient of the residual stream, and that gradient as an activation where products take it as one.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    pub(super) dx: Buf,
    pub(super) rounded: Option<Buf>,
}

/// What the backward pass of a block reads.
pub(super) struct Saved {
    pub(super) stats_1: Buf,
    pub(super) qkv: Buf,
    pub(super) log_sums: Buf,
    pub(super) attended: Buf,
    pub(super) middle: Buf,
    pub(super) stats_2: Buf,
    /// Before the activation: GELU's argument, or gate and up.
    pub(super) pre: Buf,
}

impl Builder<'_> {
    /// A block from `x`, into `result` if it is wanted (the backward pass does not read it).
    pub(super) fn forward(
        &mut self,
        b: &Block,
        x: Buf,
        result: Option<Buf>,
        sites: Sites,
    ) -> Saved {
        let s = self.sizes;
        let (n, d) = (s.tokens(), s.width);
        let stats_1 = self.take(n * norm::STATS, Store::F32);
        let qkv = self.take(n * s.qkv(), Store::Act);
        let normed = self.take(n * d, Store::Act);
        self.normalise(b.norm_1, x, normed, stats_1);
        let finish = Finish::Store { out: qkv };
        self.linear(normed, b.qkv, b.qkv_bias, finish);
        self.free(normed);
        if self.config.family == Family::Llama {
            self.ops.push(Op::Rope { qkv, back: false });
        }
        let attended = self.take(n * s.heads * s.head_dim, Store::Act);
        let log_sums = self.take(n * s.heads, Store::F32);
        let site = sites.attention;
        self.ops.push(Op::Attention {
            qkv,
            out: attended,
            log_sums,
            site,
        });
        let middle = self.take(n * d, Store::F32);
        let finish = Finish::Residual {
            residual: x,
            out: middle,
            site: sites.out,
        };
        self.linear(attended, b.out, b.out_bias, finish);

        let stats_2 = self.take(n * norm::STATS, Store::F32);
        let pre = self.take(n * b.up.outputs, Store::Act);
        let normed = self.take(n * d, Store::Act);
        self.normalise(b.norm_2, middle, normed, stats_2);
        let act = match self.config.family {
            Family::Gpt2 => {
                let act = self.take(n * s.mlp, Store::Act);
                let finish = Finish::Gelu { pre, out: act };
                self.linear(normed, b.up, b.up_bias, finish);
                self.free(normed);
                act
            }
            Family::Llama => {
                let finish = Finish::Store { out: pre };
                self.linear(normed, b.up, b.up_bias, finish);
                self.free(normed);
                let act = self.take(n * s.mlp, Store::Act);
                if result.is_some() {
                    self.ops.push(Op::Swiglu {
                        gate_up: pre,
                        out: act,
                    });
                }
                act
            }
        };
        if let Some(out) = result {
            let finish = Finish::Residual {
                residual: middle,
                out,
                site: sites.mlp,
            };
            self.linear(act, b.down, b.down_bias, finish);
        }
        self.free(act);
        Saved {
            stats_1,
            qkv,
            log_sums,
            attended,
            middle,
            stats_2,
            pre,
        }
    }

    /// Takes `stream` from the gradient of the block's result to that of its input `x`.
    pub(super) fn backward(
        &mut self,
        b: &Block,
        x: Buf,
        saved: Saved,
        stream: Stream,
        sites: Sites,
    ) {
        let s = self.sizes;
        let (n, d) = (s.tokens(), s.width);
        let Saved {
            stats_1,
            qkv,
            log_sums,
            attended,
            middle,
            stats_2,
            pre,
        } = saved;

        let dy = self.masked(stream, sites.mlp);
        let dpre = self.take(n * b.up.outputs, Store::Act);
        let act = match self.config.family {
            Family::Gpt2 => {
                let finish = FinishBack::Gelu { pre, dpre };
                self.input_gradient(dy, b.down, finish);
                pre
            }
            Family::Llama => {
                let act = self.take(n * s.mlp, Store::Act);
                let finish = FinishBack::Swiglu {
                    gate_up: pre,
                    dgate_up: dpre,
                    act,
                };
                self.input_gradient(dy, b.down, finish);
                act
            }
        };
        self.weight_gradient(act, dy, b.down, b.down_bias);
        self.unmask(dy, stream);
        self.free(pre);
        if act != pre {
            self.free(act);
        }
        let normed = self.take(n * d, Store::Act);
        self.normalise(b.norm_2, middle, normed, stats_2);
        self.weight_gradient(normed, dpre, b.up, b.up_bias);
        // The norm's output is not needed any more, and its gradient is as large.
        let finish = FinishBack::Store { dx: normed };
        self.input_gradient(dpre, b.up, finish);
        self.free(dpre);
        self.normalise_back(b.norm_2, middle, stats_2, normed, stream);
        self.free(normed);
        self.free(stats_2);
        self.free(middle);

        let dy = self.masked(stream, sites.out);
        let dattended = self.take(attended.len, Store::Act);
        let finish = FinishBack::Store { dx: dattended };
        self.input_gradient(dy, b.out, finish);
        self.weight_gradient(attended, dy, b.out, b.out_bias);
        self.unmask(dy, stream);
        let deltas = self.take(n * s.heads, Store::F32);
        let dqkv = self.take(qkv.len, Store::Act);
        self.ops.push(Op::AttentionBack {
            qkv,
            out: attended,
            log_sums,
            dout: dattended,
            deltas,
            dqkv,
            site: sites.attention,
        });
        for done in [deltas, dattended, attended, log_sums, qkv] {
            self.free(done);
        }
        if self.config.family == Family::Llama {
            self.ops.push(Op::Rope {
                qkv: dqkv,
                back: true,
            });
        }
        let normed = self.take(n * d, Store::Act);
        self.normalise(b.norm_1, x, normed, stats_1);
        self.weight_gradient(normed, dqkv, b.qkv, b.qkv_bias);
        let finish = FinishBack::Store { dx: normed };
        self.input_gradient(dqkv, b.qkv, finish);
        self.free(dqkv);
        self.normalise_back(b.norm_1, x, stats_1, normed, stream);
        self.free(normed);
        self.free(stats_1);
    }

    fn normalise(&mut self, norm: Norm, x: Buf, out: Buf, stats: Buf) {
        self.ops.push(Op::Norm {
            norm,
            x,
            out,
            stats,
        });
    }

    fn normalise_back(&mut self, norm: Norm, x: Buf, stats: Buf, dy: Buf, stream: Stream) {
        self.ops.push(Op::NormBack {
            norm,
            x,
            stats,
            dy,
            dx: stream.dx,
            add: true,
            rounded: stream.rounded,
        });
    }

    fn linear(&mut self, x: Buf, weight: Weight, bias: Option<Span>, finish: Finish) {
        self.ops.push(Op::Linear {
            x,
            weight,
            bias,
            finish,
        });
    }

    fn input_gradient(&mut self, dy: Buf, weight: Weight, finish: FinishBack) {
        self.ops.push(Op::LinearInput { dy, weight, finish });
    }

    fn weight_gradient(&mut self, x: Buf, dy: Buf, weight: Weight, bias: Option<Span>) {
        self.ops.push(Op::LinearWeight {
            x,
            dy,
            weight,
            bias,
        });
    }

    /// The gradient of a residual branch: the stream's, through the branch's mask if it has one.
    fn masked(&mut self, stream: Stream, site: Site) -> Buf {
        if site.is_none() {
            return stream.rounded.unwrap_or(stream.dx);
        }
        let out = self.take(stream.dx.len, Store::Act);
        let x = stream.dx;
        self.ops.push(Op::DropBack { x, out, site });
        out
    }

    fn unmask(&mut self, dy: Buf, stream: Stream) {
        if dy != stream.dx && Some(dy) != stream.rounded {
            self.free(dy);
        }
    }

    pub(super) fn free_saved(&mut self, s: &Saved) {
        for buf in [
            s.stats_1, s.qkv, s.log_sums, s.attended, s.middle, s.stats_2, s.pre,
        ] {
            self.free(buf);
        }
    }
}
