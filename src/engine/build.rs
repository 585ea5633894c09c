//! Programs of GPT-2 and Llama: which operations a micro-batch takes, and where their numbers lie.

mod block;
mod space;

use super::program::{Buf, Norm, Op, Program, Site, Sizes, Span, Store, Weight};
use crate::kernels::{WeightLayout, norm, reduce};
use crate::model::{Family, ModelConfig, ParamSpec};
use block::{Block, Sites, Stream};
use space::Space;
use std::collections::HashMap;

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Losses alone.
    Evaluate,
    /// Losses and gradients.
    Train {
        /// Keep only what enters a block, and compute the rest again on the way back.
        recompute: bool,
    },
}

/// How a device wants its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Form {
    /// Bytes of a stored activation.
    pub act_bytes: usize,
    /// How logits are stored, and numbers from one row of them to the next: the vocabulary, rounded up to a multiple of this.
    pub logits: Store,
    pub stride: usize,
    /// Logits that exist at a time, in numbers; and the fewest rows of them, since the head's gradient is read and written
    /// once a block of rows.
    pub most_logits: usize,
    pub fewest_rows: usize,
    /// Where blocks of rows are to be equally large: what their size is a multiple of.
    pub even: Option<usize>,
    /// Whether products take the residual stream's gradient as an activation, so that whoever makes it rounds it too.
    pub rounded: bool,
}

/// The program of a micro-batch of `batch` sequences of `positions` tokens.
///
/// `specs` are the model's parameters in the order in which they lie in memory, without gaps.
pub fn program(
    config: &ModelConfig,
    specs: &[ParamSpec],
    batch: usize,
    positions: usize,
    purpose: Purpose,
    form: Form,
) -> Program {
    assert!(
        batch > 0 && (1..=config.max_positions).contains(&positions),
        "{batch} sequences of {positions} tokens; the model takes at most {}",
        config.max_positions
    );
    let mut offset = 0;
    let mut spans = HashMap::new();
    for spec in specs {
        let len = spec.elements();
        spans.insert(spec.name.as_str(), Span { offset, len });
        offset += len;
    }
    let sizes = Sizes {
        batch,
        positions,
        width: config.n_embd,
        heads: config.n_head,
        kv_heads: config.n_kv_head,
        head_dim: config.head_dim,
        mlp: config.intermediate_size,
        vocab: config.vocab_size,
        eps: config.norm_eps as f32,
        rope_theta: config.rope_theta,
        dropout: match purpose {
            Purpose::Evaluate => 0.0,
            Purpose::Train { .. } => config.dropout,
        },
    };
    let mut builder = Builder {
        config,
        spans,
        sizes,
        ops: Vec::new(),
        space: Space::default(),
        form,
        site: 0,
    };
    let losses = builder.model(purpose);
    let program = Program {
        sizes,
        ops: builder.ops,
        bytes: builder.space.bytes,
        losses,
    };
    program.check();
    program
}

struct Builder<'a> {
    config: &'a ModelConfig,
    spans: HashMap<&'a str, Span>,
    sizes: Sizes,
    ops: Vec<Op>,
    space: Space,
    form: Form,
    site: u64,
}

impl Builder<'_> {
    fn model(&mut self, purpose: Purpose) -> Buf {
        let (n, d) = (self.sizes.tokens(), self.sizes.width);
        let is_gpt2 = self.config.family == Family::Gpt2;
        let (embedding, last) = match is_gpt2 {
            true => ("transformer.wte.weight", "transformer.ln_f"),
            false => ("model.embed_tokens.weight", "model.norm"),
        };
        let tokens = self.span(embedding);
        let positions = is_gpt2.then(|| self.span("transformer.wpe.weight"));
        let head = match self.config.tied {
            true => tokens,
            false => self.span("lm_head.weight"),
        };
        let head = Weight {
            offset: head.offset,
            inputs: d,
            outputs: self.sizes.vocab,
            layout: WeightLayout::OutIn,
        };
        let last = self.norm(last);
        let blocks: Vec<Block> = (0..self.config.n_layer).map(|i| self.block(i)).collect();

        let losses = self.take(n, Store::F32);
        let mut x = self.take(n * d, Store::F32);
        let embed_site = self.next_site();
        let out = x;
        let site = embed_site;
        self.ops.push(Op::Embed {
            tokens,
            positions,
            out,
            site,
        });
        let mut inputs = Vec::new();
        for block in &blocks {
            let sites = Sites {
                attention: self.next_site(),
                out: self.next_site(),
                mlp: self.next_site(),
            };
            let out = self.take(n * d, Store::F32);
            let saved = self.forward(block, x, Some(out), sites);
            let saved = match purpose {
                Purpose::Train { recompute: false } => Some(saved),
                _ => {
                    self.free_saved(&saved);
                    None
                }
            };
            match purpose {
                Purpose::Train { .. } => inputs.push((x, saved, sites)),
                Purpose::Evaluate => self.free(x),
            }
            x = out;
        }
        let stats = self.take(n * norm::STATS, Store::F32);
        let normed = self.take(n * d, Store::Act);
        self.ops.push(Op::Norm {
            norm: last,
            x,
            out: normed,
            stats,
        });
        let form = self.form;
        let stride = self.sizes.vocab.next_multiple_of(form.stride);
        let most = (form.most_logits / stride).max(form.fewest_rows).min(n);
        let rows = match form.even {
            Some(of) => n.div_ceil(n.div_ceil(most)).next_multiple_of(of).min(n),
            None => most,
        };
        let logits = self.take(rows * stride, form.logits);
        let train = purpose != Purpose::Evaluate;
        let dnormed = train.then(|| self.take(n * d, Store::Act));
        self.ops.push(Op::Loss {
            x: normed,
            head,
            rows,
            stride,
            logits,
            losses,
            dx: dnormed,
        });
        self.free(logits);
        self.free(normed);
        let Some(dnormed) = dnormed else {
            return losses;
        };

        let dx = self.take(n * d, Store::F32);
        // Under dropout products take the masked gradient, which is an activation as it is.
        let wanted = form.rounded && self.sizes.dropout == 0.0;
        let rounded = wanted.then(|| self.take(n * d, Store::Act));
        self.ops.push(Op::NormBack {
            norm: last,
            x,
            stats,
            dy: dnormed,
            dx,
            add: false,
            rounded,
        });
        let stream = Stream { dx, rounded };
        self.free(dnormed);
        self.free(stats);
        self.free(x);
        for (block, (x, saved, sites)) in blocks.iter().zip(inputs).rev() {
            let saved = saved.unwrap_or_else(|| self.forward(block, x, None, sites));
            self.backward(block, x, saved, stream, sites);
            self.free(x);
        }
        let shared = self.config.tied;
        let site = embed_site;
        self.ops.push(Op::EmbedBack {
            dx,
            tokens,
            positions,
            site,
            shared,
        });
        losses
    }

    fn block(&self, i: usize) -> Block {
        let s = &self.sizes;
        let (d, heads) = (s.width, s.heads * s.head_dim);
        match self.config.family {
            Family::Gpt2 => {
                let at = |rest: &str| format!("transformer.h.{i}.{rest}");
                let layout = WeightLayout::InOut;
                let weight = |name: &str, inputs, outputs| {
                    self.weight(&at(name), 1, inputs, outputs, layout)
                };
                Block {
                    norm_1: self.norm(&at("ln_1")),
                    qkv: weight("attn.c_attn.weight", d, 3 * d),
                    qkv_bias: Some(self.span(&at("attn.c_attn.bias"))),
                    out: weight("attn.c_proj.weight", d, d),
                    out_bias: Some(self.span(&at("attn.c_proj.bias"))),
                    norm_2: self.norm(&at("ln_2")),
                    up: weight("mlp.c_fc.weight", d, s.mlp),
                    up_bias: Some(self.span(&at("mlp.c_fc.bias"))),
                    down: weight("mlp.c_proj.weight", s.mlp, d),
                    down_bias: Some(self.span(&at("mlp.c_proj.bias"))),
                }
            }
            Family::Llama => {
                let at = |rest: &str| format!("model.layers.{i}.{rest}");
                let layout = WeightLayout::OutIn;
                let weight = |name: &str, parts, inputs, outputs| {
                    self.weight(&at(name), parts, inputs, outputs, layout)
                };
                Block {
                    norm_1: self.norm(&at("input_layernorm")),
                    qkv: weight("self_attn.q_proj.weight", 3, d, s.qkv()),
                    qkv_bias: None,
                    out: weight("self_attn.o_proj.weight", 1, heads, d),
                    out_bias: None,
                    norm_2: self.norm(&at("post_attention_layernorm")),
                    up: weight("mlp.gate_proj.weight", 2, d, 2 * s.mlp),
                    up_bias: None,
                    down: weight("mlp.down_proj.weight", 1, s.mlp, d),
                    down_bias: None,
                }
            }
        }
    }

    /// The matrix that starts with the parameter `name` and takes in `parts` parameters in all,
    /// which follow each other in memory as their order in the model says.
    fn weight(
        &self,
        name: &str,
        parts: usize,
        inputs: usize,
        outputs: usize,
        layout: WeightLayout,
    ) -> Weight {
        let first = self.span(name);
        let mut end = first.offset + first.len;
        for _ in 1..parts {
            let next = self.spans.values().find(|s| s.offset == end);
            end += next.expect("the parts of a matrix lie together").len;
        }
        assert_eq!(end - first.offset, inputs * outputs, "{name}");
        Weight {
            offset: first.offset,
            inputs,
            outputs,
            layout,
        }
    }

    fn norm(&self, name: &str) -> Norm {
        Norm {
            gain: self.span(&format!("{name}.weight")),
            bias: self.spans.get(format!("{name}.bias").as_str()).copied(),
        }
    }

    fn span(&self, name: &str) -> Span {
        *self
            .spans
            .get(name)
            .unwrap_or_else(|| panic!("no parameter {name}"))
    }

    fn next_site(&mut self) -> Site {
        self.site += 1;
        (self.sizes.dropout > 0.0).then_some(self.site)
    }

    fn take(&mut self, len: usize, store: Store) -> Buf {
        let bytes = len
            * match store {
                Store::F32 => 4,
                Store::Act => self.form.act_bytes,
            };
        Buf {
            offset: self.space.take(bytes),
            len,
            store,
            bytes,
        }
    }

    fn free(&mut self, buf: Buf) {
        self.space.free(buf.offset);
    }
}

/// Numbers of partial sums that the widest sum over rows of a program makes.
pub fn partials(sizes: &Sizes) -> usize {
    let widest = (2 * sizes.width).max(sizes.qkv()).max(2 * sizes.mlp);
    reduce::blocks(sizes.tokens()) * widest
}
