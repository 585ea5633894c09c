//! A step as data: operations in order, over spans of flat parameters and regions of one arena.
//!
//! A program is made once for a shape ([`super::build`]) and run for every micro-batch. It knows no
//! device: `engine::cpu` is what runs it here. Regions are reused as soon as nothing reads them
//! any more, which [`Program::check`] verifies operation by operation.

use crate::kernels::WeightLayout;

/// How the numbers of a region are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    F32,
    /// In the dtype of activations: f32, or bf16 in mixed precision.
    Act,
}

/// A region of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buf {
    /// In bytes.
    pub offset: usize,
    /// In numbers.
    pub len: usize,
    pub store: Store,
    /// In bytes.
    pub bytes: usize,
}

impl Buf {
    fn overlaps(&self, other: &Buf) -> bool {
        self.offset < other.offset + other.bytes && other.offset < self.offset + self.bytes
    }
}

/// A run of the flat parameters (and of their gradients and moments).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub offset: usize,
    pub len: usize,
}

/// A weight matrix among the flat parameters. Matrices that follow each other in memory and share
/// their input (queries, keys and values; gate and up) are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    pub offset: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub layout: WeightLayout,
}

impl Weight {
    pub fn span(self) -> Span {
        Span {
            offset: self.offset,
            len: self.inputs * self.outputs,
        }
    }
}

/// A norm's parameters; without a bias it is RMSNorm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Norm {
    pub gain: Span,
    pub bias: Option<Span>,
}

/// Where a dropout mask is applied; `None` without dropout. See [`crate::model::DropoutStream`].
pub type Site = Option<u64>;

/// What follows a linear layer's product `x·W`.
#[derive(Clone, Copy, Debug)]
pub enum Finish {
    /// `out = x·W + b`.
    Store { out: Buf },
    /// `pre = x·W + b`, `out = gelu(pre)`.
    Gelu { pre: Buf, out: Buf },
    /// `out = residual + drop(x·W + b)`, in f32.
    Residual { residual: Buf, out: Buf, site: Site },
}

/// What follows the product `dy·Wᵀ`, the gradient of a linear layer's input.
#[derive(Clone, Copy, Debug)]
pub enum FinishBack {
    Store {
        dx: Buf,
    },
    /// The input was `gelu(pre)`: `dpre` is its gradient, and `pre` becomes `gelu(pre)`.
    Gelu {
        pre: Buf,
        dpre: Buf,
    },
    /// The input was `swiglu(gate_up)`: its gradient, and the input again.
    Swiglu {
        gate_up: Buf,
        dgate_up: Buf,
        act: Buf,
    },
}

/// One operation. Letters: N tokens of a micro-batch, D width, V vocabulary.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// Token rows and positions into the residual stream `out [N, D]`.
    Embed {
        tokens: Span,
        positions: Option<Span>,
        out: Buf,
        site: Site,
    },
    /// `out = norm(x)`, and the rows' statistics.
    Norm {
        norm: Norm,
        x: Buf,
        out: Buf,
        stats: Buf,
    },
    Linear {
        x: Buf,
        weight: Weight,
        bias: Option<Span>,
        finish: Finish,
    },
    /// Turns queries and keys in place; backwards by the opposite angle.
    Rope {
        qkv: Buf,
        back: bool,
    },
    /// Queries, keys and values in rows `[N, (H + 2·KV)·hd]` to `out [N, H·hd]`.
    Attention {
        qkv: Buf,
        out: Buf,
        log_sums: Buf,
        site: Site,
    },
    Swiglu {
        gate_up: Buf,
        out: Buf,
    },
    /// Head and cross-entropy in blocks of `rows` rows of `stride` logits, the vocabulary first. With `dx` the gradients of
    /// the hidden states and of the head's weight come out at once, so that logits never outlive their block.
    Loss {
        x: Buf,
        head: Weight,
        rows: usize,
        stride: usize,
        logits: Buf,
        losses: Buf,
        dx: Option<Buf>,
    },

    LinearInput {
        dy: Buf,
        weight: Weight,
        finish: FinishBack,
    },
    LinearWeight {
        x: Buf,
        dy: Buf,
        weight: Weight,
        bias: Option<Span>,
    },
    /// Adds to `dx`, or overwrites it where nothing was there (`add` false); `rounded` gets what `dx` is then, for products.
    NormBack {
        norm: Norm,
        x: Buf,
        stats: Buf,
        dy: Buf,
        dx: Buf,
        add: bool,
        rounded: Option<Buf>,
    },
    AttentionBack {
        qkv: Buf,
        out: Buf,
        log_sums: Buf,
        dout: Buf,
        deltas: Buf,
        dqkv: Buf,
        site: Site,
    },
    /// `out = drop(x)`: the gradient of a residual branch that was masked.
    DropBack {
        x: Buf,
        out: Buf,
        site: Site,
    },
    /// `shared` if the head has already written this table's gradient.
    EmbedBack {
        dx: Buf,
        tokens: Span,
        positions: Option<Span>,
        site: Site,
        shared: bool,
    },
}

impl Op {
    /// Of the regions that it writes those whose old contents it needs.
    fn updates(&self) -> Vec<Buf> {
        match *self {
            Op::Rope { qkv, .. } => vec![qkv],
            Op::LinearInput {
                finish: FinishBack::Gelu { pre, .. },
                ..
            } => vec![pre],
            Op::NormBack { dx, add: true, .. } | Op::EmbedBack { dx, .. } => vec![dx],
            _ => vec![],
        }
    }

    /// What a table of times calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Embed { .. } => "embedding",
            Op::Norm { .. } => "norm",
            Op::Linear { .. } => "linear",
            Op::Rope { .. } => "rope",
            Op::Attention { .. } => "attention",
            Op::Swiglu { .. } => "swiglu",
            Op::Loss { .. } => "head and loss",
            Op::LinearInput { .. } => "linear, input gradient",
            Op::LinearWeight { .. } => "linear, weight gradient",
            Op::NormBack { .. } => "norm, backward",
            Op::AttentionBack { .. } => "attention, backward",
            Op::DropBack { .. } => "dropout, backward",
            Op::EmbedBack { .. } => "embedding, backward",
        }
    }

    /// The regions that it only reads, and those that it writes (or reads and writes).
    pub fn regions(&self) -> (Vec<Buf>, Vec<Buf>) {
        match *self {
            Op::Embed { out, .. } => (vec![], vec![out]),
            Op::Norm { x, out, stats, .. } => (vec![x], vec![out, stats]),
            Op::Linear { x, finish, .. } => match finish {
                Finish::Store { out } => (vec![x], vec![out]),
                Finish::Gelu { pre, out } => (vec![x], vec![pre, out]),
                Finish::Residual { residual, out, .. } => (vec![x, residual], vec![out]),
            },
            Op::Rope { qkv, .. } => (vec![], vec![qkv]),
            Op::Attention {
                qkv, out, log_sums, ..
            } => (vec![qkv], vec![out, log_sums]),
            Op::Swiglu { gate_up, out } => (vec![gate_up], vec![out]),
            Op::Loss {
                x,
                logits,
                losses,
                dx,
                ..
            } => {
                let mut writes = vec![logits, losses];
                writes.extend(dx);
                (vec![x], writes)
            }
            Op::LinearInput { dy, finish, .. } => match finish {
                FinishBack::Store { dx } => (vec![dy], vec![dx]),
                FinishBack::Gelu { pre, dpre } => (vec![dy], vec![pre, dpre]),
                FinishBack::Swiglu {
                    gate_up,
                    dgate_up,
                    act,
                } => (vec![dy, gate_up], vec![dgate_up, act]),
            },
            Op::LinearWeight { x, dy, .. } => (vec![x, dy], vec![]),
            Op::NormBack {
                x,
                stats,
                dy,
                dx,
                rounded,
                ..
            } => {
                let mut writes = vec![dx];
                writes.extend(rounded);
                (vec![x, stats, dy], writes)
            }
            Op::AttentionBack {
                qkv,
                out,
                log_sums,
                dout,
                deltas,
                dqkv,
                ..
            } => (vec![qkv, out, log_sums, dout], vec![deltas, dqkv]),
            Op::DropBack { x, out, .. } => (vec![x], vec![out]),
            Op::EmbedBack { dx, .. } => (vec![], vec![dx]),
        }
    }
}

/// The sizes that operations share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    pub batch: usize,
    pub positions: usize,
    pub width: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub mlp: usize,
    pub vocab: usize,
    pub eps: f32,
    pub rope_theta: f64,
    pub dropout: f64,
}

impl Sizes {
    /// Tokens of a micro-batch.
    pub fn tokens(&self) -> usize {
        self.batch * self.positions
    }

    /// Numbers a token in a row of queries, keys and values.
    pub fn qkv(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }
}

/// Operations in order, and the arena that they need.
#[derive(Clone, Debug)]
pub struct Program {
    pub sizes: Sizes,
    pub ops: Vec<Op>,
    /// Bytes of the arena.
    pub bytes: usize,
    /// Losses of the tokens, after the program has run.
    pub losses: Buf,
}

impl Program {
    /// # Panics
    /// A mistake of the builder, found before anything runs: an operation leaves the arena, writes
    /// into a region that it also reads, or reads a region that another one has overwritten.
    pub fn check(&self) {
        // What was last written where; a region that is written ends those that it overlaps.
        let mut alive: Vec<Buf> = Vec::new();
        for op in &self.ops {
            let (reads, writes) = op.regions();
            for (i, w) in writes.iter().enumerate() {
                assert!(w.offset + w.bytes <= self.bytes, "{op:?} leaves the arena");
                for other in reads.iter().chain(&writes[i + 1..]) {
                    assert!(!w.overlaps(other), "{op:?} writes what it reads");
                }
            }
            for read in reads.iter().chain(&op.updates()) {
                assert!(
                    alive.contains(read),
                    "{op:?} reads what is not there any more"
                );
            }
            for w in writes {
                alive.retain(|buf| !buf.overlaps(&w));
                alive.push(w);
            }
        }
        assert!(alive.contains(&self.losses), "the losses are overwritten");
    }

    /// Bytes of an operation's regions and parameters, each counted once: what would move if the
    /// caches held nothing between operations and everything within one.
    pub fn traffic(&self, op: &Op) -> f64 {
        let (reads, writes) = op.regions();
        let regions: usize = reads.iter().chain(&writes).map(|b| b.bytes).sum();
        let parameters = match op {
            Op::Linear { weight, .. } | Op::LinearInput { weight, .. } => weight.span().len,
            Op::LinearWeight { weight, .. } => weight.span().len,
            Op::Loss { head, dx, .. } => head.span().len * if dx.is_some() { 2 } else { 1 },
            Op::EmbedBack { tokens, .. } => tokens.len,
            _ => 0,
        };
        regions as f64 + 4.0 * parameters as f64
    }

    /// Floating-point operations of one operation as it is executed (a multiply-add is two;
    /// attention below the diagonal only; products and attention alone are counted).
    pub fn flops(&self, op: &Op) -> f64 {
        let s = &self.sizes;
        let n = s.tokens() as f64;
        let product = |w: &Weight| 2.0 * n * w.inputs as f64 * w.outputs as f64;
        let triangle = s.positions as f64 * (s.positions + 1) as f64 / 2.0;
        let attention = 2.0 * (s.batch * s.heads * s.head_dim) as f64 * triangle;
        match op {
            Op::Linear { weight, .. }
            | Op::LinearInput { weight, .. }
            | Op::LinearWeight { weight, .. } => product(weight),
            Op::Loss { head, dx, .. } => product(head) * if dx.is_some() { 3.0 } else { 1.0 },
            Op::Attention { .. } => 2.0 * attention,
            Op::AttentionBack { .. } => 5.0 * attention,
            _ => 0.0,
        }
    }
}
