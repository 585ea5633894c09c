//! Llama (Touvron et al. 2023): RMSNorm, rotary positions by half rotation, SwiGLU, grouped-query
//! attention, no biases.
//!
//! Shape suffixes: `b` batch, `t` position, `d` width, `h` query head, `g` key/value head, `k` head
//! width, `f` MLP width, `v` vocabulary. Weights are stored `[out, in]`, as Hugging Face does.

use super::config::ModelConfig;
use super::params::{Init, ParamKind, ParamSpec};
use super::{DropoutStream, Tensors};
use crate::ops::{self, RopeTable, WeightLayout};
use candle_core::{Device, Result, Tensor};

pub(super) const EMBEDDING: &str = "model.embed_tokens.weight";
pub(super) const HEAD: &str = "lm_head.weight";

/// The parameters in order, with their initial distributions: N(0, init_std), the two projections
/// that write into the residual stream scaled by 1/√(2 n_layer), gains 1.
pub fn specs(c: &ModelConfig) -> Vec<ParamSpec> {
    let mut list = Vec::new();
    let mut add = |name: &str, shape: &[usize], kind, init| {
        list.push(ParamSpec {
            name: name.into(),
            shape: shape.into(),
            kind,
            init,
        })
    };
    let (d, f) = (c.n_embd, c.intermediate_size);
    let kv = c.n_kv_head * c.head_dim;
    let normal = Init::Normal(c.init_std);
    let residual = Init::Normal(c.init_std / (2.0 * c.n_layer as f64).sqrt());
    add(EMBEDDING, &[c.vocab_size, d], ParamKind::Embedding, normal);
    for i in 0..c.n_layer {
        let at = |rest: &str| format!("model.layers.{i}.{rest}.weight");
        let matrix = ParamKind::Matrix;
        add(&at("input_layernorm"), &[d], ParamKind::Norm, Init::Ones);
        add(&at("self_attn.q_proj"), &[d, d], matrix, normal);
        add(&at("self_attn.k_proj"), &[kv, d], matrix, normal);
        add(&at("self_attn.v_proj"), &[kv, d], matrix, normal);
        add(&at("self_attn.o_proj"), &[d, d], matrix, residual);
        add(
            &at("post_attention_layernorm"),
            &[d],
            ParamKind::Norm,
            Init::Ones,
        );
        add(&at("mlp.gate_proj"), &[f, d], matrix, normal);
        add(&at("mlp.up_proj"), &[f, d], matrix, normal);
        add(&at("mlp.down_proj"), &[d, f], matrix, residual);
    }
    add("model.norm.weight", &[d], ParamKind::Norm, Init::Ones);
    if !c.tied {
        add(HEAD, &[c.vocab_size, d], ParamKind::Head, normal);
    }
    list
}

pub struct Llama {
    embed_vd: Tensor,
    blocks: Vec<Block>,
    norm_d: Tensor,
    rope: RopeTable,
    n_head: usize,
    n_kv_head: usize,
    head_dim: usize,
    eps: f64,
}

struct Block {
    input_norm_d: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    post_norm_d: Tensor,
    gate: Tensor,
    up: Tensor,
    down: Tensor,
}

impl Llama {
    pub(super) fn new(c: &ModelConfig, tensors: &Tensors, device: &Device) -> Result<Llama> {
        let p = |name: &str| tensors[name].clone();
        let blocks = (0..c.n_layer).map(|i| {
            let at = |rest: &str| p(&format!("model.layers.{i}.{rest}.weight"));
            Block {
                input_norm_d: at("input_layernorm"),
                q: at("self_attn.q_proj"),
                k: at("self_attn.k_proj"),
                v: at("self_attn.v_proj"),
                o: at("self_attn.o_proj"),
                post_norm_d: at("post_attention_layernorm"),
                gate: at("mlp.gate_proj"),
                up: at("mlp.up_proj"),
                down: at("mlp.down_proj"),
            }
        });
        Ok(Llama {
            embed_vd: p(EMBEDDING),
            blocks: blocks.collect(),
            norm_d: p("model.norm.weight"),
            rope: RopeTable::new(c.max_positions, c.head_dim, c.rope_theta, device)?,
            n_head: c.n_head,
            n_kv_head: c.n_kv_head,
            head_dim: c.head_dim,
            eps: c.norm_eps,
        })
    }

    /// Token ids `[B, T]` to the final hidden states `[B, T, D]`.
    pub(super) fn hidden(&self, ids_bt: &Tensor, mut dropout: DropoutStream) -> Result<Tensor> {
        let mut x_btd = dropout.apply(ops::embedding(ids_bt, &self.embed_vd)?)?;
        for block in &self.blocks {
            let y_btd = self.attention(block, &x_btd, &mut dropout)?;
            x_btd = (x_btd + dropout.apply(y_btd)?)?;
            let y_btd = self.mlp(block, &x_btd)?;
            x_btd = (x_btd + dropout.apply(y_btd)?)?;
        }
        ops::rms_norm(&x_btd, &self.norm_d, self.eps)
    }

    fn attention(
        &self,
        block: &Block,
        x_btd: &Tensor,
        dropout: &mut DropoutStream,
    ) -> Result<Tensor> {
        let (b, t, _) = x_btd.dims3()?;
        let n_btd = ops::rms_norm(x_btd, &block.input_norm_d, self.eps)?;
        let heads = |w: &Tensor, n: usize| {
            out_in(&n_btd, w)?.reshape((b, t, n, self.head_dim)) // (B, T, n, K)
        };
        let q_bthk = ops::rope(&heads(&block.q, self.n_head)?, &self.rope)?;
        let k_btgk = ops::rope(&heads(&block.k, self.n_kv_head)?, &self.rope)?;
        let v_btgk = heads(&block.v, self.n_kv_head)?;
        let y_bthk = ops::attention(&q_bthk, &k_btgk, &v_btgk, dropout.next())?;
        let y_btd = y_bthk.reshape((b, t, self.n_head * self.head_dim))?;
        out_in(&y_btd, &block.o)
    }

    fn mlp(&self, block: &Block, x_btd: &Tensor) -> Result<Tensor> {
        let n_btd = ops::rms_norm(x_btd, &block.post_norm_d, self.eps)?;
        let gate_btf = out_in(&n_btd, &block.gate)?;
        let up_btf = out_in(&n_btd, &block.up)?;
        out_in(&ops::swiglu(&gate_btf, &up_btf)?, &block.down)
    }
}

fn out_in(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    ops::linear(x, w, None, WeightLayout::OutIn)
}
