//! The same models as a newcomer to candle would write them: candle's own operations that have a
//! backward, its tape, its AdamW. The rung that the ladder of `benches/LADDER.md` starts from.
//!
//! Not what candle can be made to do: `softmax_last_dim`, `rms_norm` and `rope` are faster but have no
//! backward. It does profit from what `main.rs` sets up (an allocator that keeps its memory, idle
//! threads that sleep) and from the AVX-512 kernels of `gemm`.

use crate::error::{Error, Result};
use crate::model::{Family, ModelConfig, ParamKind, Params};
use crate::optim::AdamWConfig;
use crate::text::loader::StepBatch;
use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::ops::{layer_norm_slow, rms_norm_slow, softmax};
use candle_nn::rotary_emb::rope_slow;
use candle_nn::{AdamW, Embedding, Linear, Module, Optimizer, ParamsAdamW};
use std::collections::HashMap;

/// A model, its weights and their optimiser.
pub struct Naive {
    config: ModelConfig,
    vars: HashMap<String, Var>,
    optimizer: AdamW,
    max_norm: f64,
}

impl Naive {
    /// Starts from copies of these weights.
    ///
    /// # Errors
    /// A model with dropout.
    pub fn new(
        config: &ModelConfig,
        params: &Params,
        optim: &AdamWConfig,
        lr: f64,
    ) -> Result<Naive> {
        if config.dropout > 0.0 {
            return Err(Error::input(format!(
                "the model in plain candle has no dropout and model.dropout is {}; give --dropout 0",
                config.dropout
            )));
        }
        let build = || {
            let mut vars = HashMap::new();
            for p in params.iter() {
                // Linear layers in candle store [out, in]; GPT-2's files [in, out].
                let turned = config.family == Family::Gpt2 && p.spec.kind == ParamKind::Matrix;
                let shape = p.spec.shape.as_slice();
                let values = Tensor::from_slice(p.values, shape, &Device::Cpu)?;
                let values = match turned {
                    true => values.t()?.contiguous()?,
                    false => values,
                };
                vars.insert(p.spec.name.clone(), Var::from_tensor(&values)?);
            }
            let settings = ParamsAdamW {
                lr,
                beta1: optim.beta1,
                beta2: optim.beta2,
                eps: optim.eps,
                weight_decay: optim.weight_decay,
            };
            let optimizer = AdamW::new(vars.values().cloned().collect(), settings)?;
            Ok((vars, optimizer))
        };
        let (vars, optimizer) = build().map_err(|e: candle_core::Error| Error::backend(e))?;
        Ok(Naive {
            config: config.clone(),
            vars,
            optimizer,
            max_norm: optim.grad_clip,
        })
    }

    /// Trains on one batch; returns its mean loss before the update.
    pub fn step(&mut self, batch: &StepBatch) -> Result<f64> {
        self.try_step(batch).map_err(Error::backend)
    }

    fn try_step(&mut self, batch: &StepBatch) -> candle_core::Result<f64> {
        let scale = 1.0 / batch.micro_batches.len() as f64;
        let mut total = 0.0;
        let mut sum: Option<GradStore> = None;
        for micro in &batch.micro_batches {
            let loss = (self.loss(&micro.tokens, &micro.targets, micro.rows)? * scale)?;
            let grads = loss.backward()?;
            total += loss.to_scalar::<f32>()? as f64;
            match &mut sum {
                None => sum = Some(grads),
                Some(sum) => {
                    for var in self.vars.values() {
                        if let (Some(a), Some(b)) = (sum.get(var), grads.get(var)) {
                            let added = (a + b)?;
                            sum.insert(var, added);
                        }
                    }
                }
            }
        }
        let mut grads = sum.expect("a step has at least one micro-batch");
        if self.max_norm > 0.0 {
            self.clip(&mut grads)?;
        }
        self.optimizer.step(&grads)?;
        Ok(total)
    }

    fn clip(&self, grads: &mut GradStore) -> candle_core::Result<()> {
        let mut squares = 0.0;
        for var in self.vars.values() {
            if let Some(grad) = grads.get(var) {
                squares += grad.sqr()?.sum_all()?.to_scalar::<f32>()? as f64;
            }
        }
        let norm = squares.sqrt();
        if norm > self.max_norm {
            for var in self.vars.values() {
                if let Some(grad) = grads.get(var) {
                    let clipped = (grad * (self.max_norm / norm))?;
                    grads.insert(var, clipped);
                }
            }
        }
        Ok(())
    }

    /// Mean cross-entropy over full logits `[rows · T, V]`; `tokens` and `targets` are `[rows, T]`.
    pub fn loss(
        &self,
        tokens: &[u32],
        targets: &[u32],
        rows: usize,
    ) -> candle_core::Result<Tensor> {
        let t = tokens.len() / rows;
        let ids = Tensor::from_slice(tokens, (rows, t), &Device::Cpu)?;
        let targets = Tensor::from_slice(targets, rows * t, &Device::Cpu)?;
        let (hidden, table) = match self.config.family {
            Family::Gpt2 => (self.gpt2(&ids)?, "transformer.wte.weight"),
            Family::Llama => (self.llama(&ids)?, "model.embed_tokens.weight"),
        };
        let head = match self.config.tied {
            true => table,
            false => "lm_head.weight",
        };
        let logits = Linear::new(self.weight(head), None).forward(&hidden)?;
        candle_nn::loss::cross_entropy(&logits.flatten_to(1)?, &targets)
    }

    fn weight(&self, name: &str) -> Tensor {
        self.vars[name].as_tensor().clone()
    }

    /// A linear layer, with a bias if the model has one of that name.
    fn linear(&self, name: &str) -> Linear {
        let bias = self.vars.get(&format!("{name}.bias"));
        Linear::new(
            self.weight(&format!("{name}.weight")),
            bias.map(|b| b.as_tensor().clone()),
        )
    }

    fn norm(&self, x: &Tensor, name: &str) -> candle_core::Result<Tensor> {
        let gain = self.weight(&format!("{name}.weight"));
        let eps = self.config.norm_eps as f32;
        match self.vars.get(&format!("{name}.bias")) {
            Some(bias) => layer_norm_slow(x, &gain, bias, eps),
            None => rms_norm_slow(x, &gain, eps),
        }
    }

    fn embed(&self, ids: &Tensor, name: &str) -> candle_core::Result<Tensor> {
        Embedding::new(self.weight(name), self.config.n_embd).forward(ids)
    }

    fn gpt2(&self, ids: &Tensor) -> candle_core::Result<Tensor> {
        let c = &self.config;
        let (_, t) = ids.dims2()?;
        let positions = Tensor::arange(0, t as u32, &Device::Cpu)?;
        let positions = self.embed(&positions, "transformer.wpe.weight")?;
        let tokens = self.embed(ids, "transformer.wte.weight")?;
        let mut x = tokens.broadcast_add(&positions)?;
        for i in 0..c.n_layer {
            let at = |rest: &str| format!("transformer.h.{i}.{rest}");
            let n = self.norm(&x, &at("ln_1"))?;
            let qkv = self.linear(&at("attn.c_attn")).forward(&n)?;
            let part = |i: usize| qkv.narrow(D::Minus1, i * c.n_embd, c.n_embd);
            let [q, k, v] = [part(0)?, part(1)?, part(2)?];
            let heads = |x: &Tensor| self.heads(x, c.n_head);
            let y = self.attention(&heads(&q)?, &heads(&k)?, &heads(&v)?)?;
            x = (x + self.linear(&at("attn.c_proj")).forward(&y)?)?;
            let n = self.norm(&x, &at("ln_2"))?;
            let h = self.linear(&at("mlp.c_fc")).forward(&n)?.gelu()?;
            x = (x + self.linear(&at("mlp.c_proj")).forward(&h)?)?;
        }
        self.norm(&x, "transformer.ln_f")
    }

    fn llama(&self, ids: &Tensor) -> candle_core::Result<Tensor> {
        let c = &self.config;
        let (b, t) = ids.dims2()?;
        let (cos, sin) = angles(t, c.head_dim, c.rope_theta)?;
        let rotate = |x: &Tensor| rope_slow(&x.contiguous()?, &cos, &sin);
        // Query head h reads key/value head h / groups.
        let groups = c.n_head / c.n_kv_head;
        let spread = |x: &Tensor| match groups {
            1 => Ok(x.clone()),
            _ => x
                .unsqueeze(2)?
                .expand((b, c.n_kv_head, groups, t, c.head_dim))?
                .reshape((b, c.n_head, t, c.head_dim)),
        };
        let mut x = self.embed(ids, "model.embed_tokens.weight")?;
        for i in 0..c.n_layer {
            let at = |rest: &str| format!("model.layers.{i}.{rest}");
            let n = self.norm(&x, &at("input_layernorm"))?;
            let project = |name: &str, heads: usize| {
                let y = self.linear(&at(name)).forward(&n)?;
                self.heads(&y, heads)
            };
            let q = rotate(&project("self_attn.q_proj", c.n_head)?)?;
            let k = rotate(&project("self_attn.k_proj", c.n_kv_head)?)?;
            let v = project("self_attn.v_proj", c.n_kv_head)?;
            let y = self.attention(&q, &spread(&k)?, &spread(&v)?)?;
            x = (x + self.linear(&at("self_attn.o_proj")).forward(&y)?)?;
            let n = self.norm(&x, &at("post_attention_layernorm"))?;
            let gate = self.linear(&at("mlp.gate_proj")).forward(&n)?.silu()?;
            let up = self.linear(&at("mlp.up_proj")).forward(&n)?;
            let y = self.linear(&at("mlp.down_proj")).forward(&(gate * up)?)?;
            x = (x + y)?;
        }
        self.norm(&x, "model.norm")
    }

    /// `[B, T, heads · width]` to `[B, heads, T, width]`.
    fn heads(&self, x: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
        let (b, t, _) = x.dims3()?;
        let split = x.reshape((b, t, heads, self.config.head_dim))?;
        split.transpose(1, 2)?.contiguous()
    }

    /// Causal softmax attention over `[B, H, T, width]`; returns `[B, T, H · width]`.
    fn attention(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> candle_core::Result<Tensor> {
        let (b, h, t, width) = q.dims4()?;
        let scores = (q.matmul(&k.t()?)? / (width as f64).sqrt())?;
        let hidden: Vec<u8> = (0..t * t).map(|i| u8::from(i % t > i / t)).collect();
        let hidden = Tensor::from_vec(hidden, (t, t), &Device::Cpu)?.broadcast_as((b, h, t, t))?;
        let minus_infinity = Tensor::new(f32::NEG_INFINITY, &Device::Cpu)?;
        let minus_infinity = minus_infinity.broadcast_as((b, h, t, t))?;
        let scores = hidden.where_cond(&minus_infinity, &scores)?;
        let y = softmax(&scores, D::Minus1)?.matmul(&v.contiguous()?)?;
        y.transpose(1, 2)?.reshape((b, t, h * width))
    }
}

/// Cosines and sines `[T, width / 2]` of the rotary angles.
fn angles(t: usize, width: usize, theta: f64) -> candle_core::Result<(Tensor, Tensor)> {
    let frequencies: Vec<f32> = (0..width / 2)
        .map(|i| theta.powf(-2.0 * i as f64 / width as f64) as f32)
        .collect();
    let frequencies = Tensor::from_vec(frequencies, (1, width / 2), &Device::Cpu)?;
    let positions = Tensor::arange(0, t as u32, &Device::Cpu)?.to_dtype(DType::F32)?;
    let angles = positions.reshape((t, 1))?.matmul(&frequencies)?;
    Ok((angles.cos()?, angles.sin()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::tests::tiny;
    use crate::model::{DropoutStream, LanguageModel};
    use crate::text::loader::MicroBatch;

    fn batch() -> MicroBatch {
        MicroBatch {
            tokens: (0..14).map(|i| i * 5 % 13).collect(),
            targets: (0..14).map(|i| (i * 7 + 1) % 13).collect(),
            rows: 2,
            sequence_length: 7,
        }
    }

    #[test]
    fn losses_equal_the_models() {
        for (family, tied) in [
            (Family::Gpt2, true),
            (Family::Gpt2, false),
            (Family::Llama, true),
            (Family::Llama, false),
        ] {
            let config = tiny(family, tied);
            let params = Params::init(LanguageModel::specs(&config), 3);
            let model = LanguageModel::for_inference(&config, &params, &Device::Cpu).unwrap();
            let micro = batch();
            let ours = model
                .loss(&micro.tokens, &micro.targets, 2, DropoutStream::off())
                .unwrap();
            let optim = AdamWConfig::default();
            let mut naive = Naive::new(&config, &params, &optim, 1e-2).unwrap();
            let ours = f64::from(ours.to_scalar::<f32>().unwrap());
            let batch = StepBatch {
                micro_batches: vec![micro.clone(), micro],
            };
            let first = naive.step(&batch).unwrap();
            assert!(
                (first - ours).abs() < 1e-5,
                "{family} {tied}: {first} {ours}"
            );
            // Every parameter is reached, and the update goes downhill.
            for p in params.iter() {
                let shape = p.spec.shape.as_slice();
                let start = Tensor::from_slice(p.values, shape, &Device::Cpu).unwrap();
                let moved = match &naive.vars[&p.spec.name] {
                    var if var.dims() == shape => var.as_tensor() - start,
                    var => var.t().unwrap() - start,
                };
                let moved = moved.unwrap().sqr().unwrap().sum_all().unwrap();
                assert!(moved.to_scalar::<f32>().unwrap() > 0.0, "{}", p.spec.name);
            }
            assert!(naive.step(&batch).unwrap() < first);
        }
    }

    #[test]
    fn dropout_is_refused() {
        let config = ModelConfig {
            dropout: 0.1,
            ..tiny(Family::Gpt2, true)
        };
        let params = Params::init(LanguageModel::specs(&config), 3);
        let error = Naive::new(&config, &params, &AdamWConfig::default(), 1e-3);
        assert!(error.err().unwrap().to_string().contains("--dropout 0"));
    }
}
