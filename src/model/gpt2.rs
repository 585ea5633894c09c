//! GPT-2 (Radford et al. 2019): learned positions, pre-LayerNorm, biases, GELU (tanh form).
//!
//! Shape suffixes: `b` batch, `t` position, `d` width, `h` head, `k` head width, `f` MLP width,
//! `v` vocabulary. Weights of the blocks are stored `[in, out]`, as Hugging Face's `Conv1D` does,
//! so that a checkpoint needs no transposing on its way out.

use super::config::ModelConfig;
use super::params::{Init, ParamKind, ParamSpec};
use super::{DropoutStream, Tensors};
use crate::ops::{self, WeightLayout};
use candle_core::{D, IndexOp, Result, Tensor};

pub(super) const EMBEDDING: &str = "transformer.wte.weight";
pub(super) const HEAD: &str = "lm_head.weight";

/// The parameters in order, with their published initial distributions: N(0, 0.02), the two
/// projections that write into the residual stream scaled by 1/√(2 n_layer), biases 0, gains 1.
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
    let normal = Init::Normal(c.init_std);
    let residual = Init::Normal(c.init_std / (2.0 * c.n_layer as f64).sqrt());
    add(EMBEDDING, &[c.vocab_size, d], ParamKind::Embedding, normal);
    add(
        "transformer.wpe.weight",
        &[c.max_positions, d],
        ParamKind::Embedding,
        normal,
    );
    for i in 0..c.n_layer {
        let at = |rest: &str| format!("transformer.h.{i}.{rest}");
        add(&at("ln_1.weight"), &[d], ParamKind::Norm, Init::Ones);
        add(&at("ln_1.bias"), &[d], ParamKind::Norm, Init::Zeros);
        add(
            &at("attn.c_attn.weight"),
            &[d, 3 * d],
            ParamKind::Matrix,
            normal,
        );
        add(
            &at("attn.c_attn.bias"),
            &[3 * d],
            ParamKind::Bias,
            Init::Zeros,
        );
        add(
            &at("attn.c_proj.weight"),
            &[d, d],
            ParamKind::Matrix,
            residual,
        );
        add(&at("attn.c_proj.bias"), &[d], ParamKind::Bias, Init::Zeros);
        add(&at("ln_2.weight"), &[d], ParamKind::Norm, Init::Ones);
        add(&at("ln_2.bias"), &[d], ParamKind::Norm, Init::Zeros);
        add(&at("mlp.c_fc.weight"), &[d, f], ParamKind::Matrix, normal);
        add(&at("mlp.c_fc.bias"), &[f], ParamKind::Bias, Init::Zeros);
        add(
            &at("mlp.c_proj.weight"),
            &[f, d],
            ParamKind::Matrix,
            residual,
        );
        add(&at("mlp.c_proj.bias"), &[d], ParamKind::Bias, Init::Zeros);
    }
    add("transformer.ln_f.weight", &[d], ParamKind::Norm, Init::Ones);
    add("transformer.ln_f.bias", &[d], ParamKind::Norm, Init::Zeros);
    if !c.tied {
        add(HEAD, &[c.vocab_size, d], ParamKind::Head, normal);
    }
    list
}

pub struct Gpt2 {
    wte_vd: Tensor,
    wpe_td: Tensor,
    blocks: Vec<Block>,
    ln_f: Norm,
    n_head: usize,
    eps: f64,
}

struct Norm {
    weight_d: Tensor,
    bias_d: Tensor,
}

struct Block {
    ln_1: Norm,
    attn_in_w: Tensor,
    attn_in_b: Tensor,
    attn_out_w: Tensor,
    attn_out_b: Tensor,
    ln_2: Norm,
    fc_w: Tensor,
    fc_b: Tensor,
    proj_w: Tensor,
    proj_b: Tensor,
}

impl Gpt2 {
    pub(super) fn new(c: &ModelConfig, tensors: &Tensors) -> Gpt2 {
        let p = |name: &str| tensors[name].clone();
        let norm = |name: &str| Norm {
            weight_d: p(&format!("{name}.weight")),
            bias_d: p(&format!("{name}.bias")),
        };
        let blocks = (0..c.n_layer).map(|i| {
            let at = |rest: &str| format!("transformer.h.{i}.{rest}");
            Block {
                ln_1: norm(&at("ln_1")),
                attn_in_w: p(&at("attn.c_attn.weight")),
                attn_in_b: p(&at("attn.c_attn.bias")),
                attn_out_w: p(&at("attn.c_proj.weight")),
                attn_out_b: p(&at("attn.c_proj.bias")),
                ln_2: norm(&at("ln_2")),
                fc_w: p(&at("mlp.c_fc.weight")),
                fc_b: p(&at("mlp.c_fc.bias")),
                proj_w: p(&at("mlp.c_proj.weight")),
                proj_b: p(&at("mlp.c_proj.bias")),
            }
        });
        Gpt2 {
            wte_vd: p(EMBEDDING),
            wpe_td: p("transformer.wpe.weight"),
            blocks: blocks.collect(),
            ln_f: norm("transformer.ln_f"),
            n_head: c.n_head,
            eps: c.norm_eps,
        }
    }

    /// Token ids `[B, T]` to the final hidden states `[B, T, D]`.
    pub(super) fn hidden(&self, ids_bt: &Tensor, mut dropout: DropoutStream) -> Result<Tensor> {
        let t = ids_bt.dim(1)?;
        let token_btd = ops::embedding(ids_bt, &self.wte_vd)?;
        let x_btd = token_btd.broadcast_add(&self.wpe_td.i(..t)?)?;
        let mut x_btd = dropout.apply(x_btd)?;
        for block in &self.blocks {
            x_btd = block.forward(&x_btd, self.n_head, self.eps, &mut dropout)?;
        }
        self.ln_f.forward(&x_btd, self.eps)
    }
}

impl Norm {
    fn forward(&self, x: &Tensor, eps: f64) -> Result<Tensor> {
        ops::layer_norm(x, &self.weight_d, &self.bias_d, eps)
    }
}

impl Block {
    fn forward(
        &self,
        x_btd: &Tensor,
        n_head: usize,
        eps: f64,
        dropout: &mut DropoutStream,
    ) -> Result<Tensor> {
        let in_out =
            |x: &Tensor, w: &Tensor, b: &Tensor| ops::linear(x, w, Some(b), WeightLayout::InOut);
        let (b, t, d) = x_btd.dims3()?;

        let n_btd = self.ln_1.forward(x_btd, eps)?;
        let qkv = in_out(&n_btd, &self.attn_in_w, &self.attn_in_b)?; // (B, T, 3D)
        let heads = |i: usize| {
            qkv.narrow(D::Minus1, i * d, d)?
                .reshape((b, t, n_head, d / n_head)) // (B, T, H, K)
        };
        let y_bthk = ops::attention(&heads(0)?, &heads(1)?, &heads(2)?, dropout.next())?;
        let y_btd = y_bthk.reshape((b, t, d))?;
        let y_btd = in_out(&y_btd, &self.attn_out_w, &self.attn_out_b)?;
        let x_btd = (x_btd + dropout.apply(y_btd)?)?;

        let n_btd = self.ln_2.forward(&x_btd, eps)?;
        let h_btf = ops::gelu(&in_out(&n_btd, &self.fc_w, &self.fc_b)?)?;
        let y_btd = in_out(&h_btf, &self.proj_w, &self.proj_b)?;
        x_btd + dropout.apply(y_btd)?
    }
}
