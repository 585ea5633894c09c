//! GPT-2 and Llama over [`crate::ops`]: sizes, parameters, forward passes, FLOPs, and the way to
//! and from Hugging Face's files.

pub mod config;
pub mod flops;
pub mod generate;
pub mod hf;
pub mod params;

mod gpt2;
mod llama;

pub use config::{Family, ModelConfig};
pub use params::{ParamKind, ParamSpec, Params};

use crate::error::{Error, Result};
use crate::ops;
use candle_core::{Device, Tensor, Var};
use std::collections::HashMap;

/// A model's tensors by parameter.
type Tensors<'a> = HashMap<&'a str, Tensor>;

/// A causal language model as candle's tensors: what samples, what a tape differentiates. Training
/// goes through [`crate::engine`].
pub struct LanguageModel {
    body: Body,
    head_vd: Tensor,
    max_positions: usize,
    device: Device,
}

enum Body {
    Gpt2(gpt2::Gpt2),
    Llama(llama::Llama),
}

impl LanguageModel {
    /// The parameters of a model of these sizes, in order.
    pub fn specs(config: &ModelConfig) -> Vec<ParamSpec> {
        match config.family {
            Family::Gpt2 => gpt2::specs(config),
            Family::Llama => llama::specs(config),
        }
    }

    /// A model over a copy of the weights on `device` that records its operations on candle's tape,
    /// and the variables by which its loss can be differentiated, in the parameters' order.
    pub fn for_training(
        config: &ModelConfig,
        params: &Params,
        device: &Device,
    ) -> Result<(Self, Vec<Var>)> {
        let vars = || {
            let vars = params
                .iter()
                .map(|p| Var::from_slice(p.values, p.spec.shape.as_slice(), device));
            vars.collect::<candle_core::Result<Vec<_>>>()
        };
        let vars = vars().map_err(Error::backend)?;
        let named = params.specs().iter().zip(&vars);
        let tensors = named.map(|(s, v)| (s.name.as_str(), v.as_tensor().clone()));
        let model = Self::new(config, &tensors.collect(), device).map_err(Error::backend)?;
        Ok((model, vars))
    }

    /// A model over the memory of these variables, in the parameters' order, which sees what becomes of them and records
    /// nothing.
    pub fn beside_training(
        config: &ModelConfig,
        specs: &[ParamSpec],
        vars: &[Var],
        device: &Device,
    ) -> Result<Self> {
        let named = specs.iter().zip(vars);
        let tensors = named.map(|(s, v)| (s.name.as_str(), v.as_detached_tensor()));
        Self::new(config, &tensors.collect(), device).map_err(Error::backend)
    }

    /// A model over a copy of the weights on `device` that records nothing.
    pub fn for_inference(config: &ModelConfig, params: &Params, device: &Device) -> Result<Self> {
        let model = || {
            let mut tensors = Tensors::new();
            for p in params.iter() {
                let tensor = Tensor::from_slice(p.values, p.spec.shape.as_slice(), device)?;
                tensors.insert(&p.spec.name, tensor);
            }
            Self::new(config, &tensors, device)
        };
        model().map_err(Error::backend)
    }

    fn new(c: &ModelConfig, tensors: &Tensors, device: &Device) -> candle_core::Result<Self> {
        let (body, embedding, head) = match c.family {
            Family::Gpt2 => (
                Body::Gpt2(gpt2::Gpt2::new(c, tensors)),
                gpt2::EMBEDDING,
                gpt2::HEAD,
            ),
            Family::Llama => (
                Body::Llama(llama::Llama::new(c, tensors, device)?),
                llama::EMBEDDING,
                llama::HEAD,
            ),
        };
        Ok(LanguageModel {
            body,
            head_vd: tensors[if c.tied { embedding } else { head }].clone(),
            max_positions: c.max_positions,
            device: device.clone(),
        })
    }

    pub fn max_positions(&self) -> usize {
        self.max_positions
    }

    /// Mean next-token cross-entropy in nats over all `rows × T` targets.
    ///
    /// `tokens` and `targets` are row-major `[rows, T]`.
    pub fn loss(
        &self,
        tokens: &[u32],
        targets: &[u32],
        rows: usize,
        dropout: DropoutStream,
    ) -> Result<Tensor> {
        self.loss_on_device(tokens, targets, rows, dropout)
            .map_err(Error::backend)
    }

    fn loss_on_device(
        &self,
        tokens: &[u32],
        targets: &[u32],
        rows: usize,
        dropout: DropoutStream,
    ) -> candle_core::Result<Tensor> {
        let t = tokens.len() / rows;
        let ids_bt = Tensor::from_slice(tokens, (rows, t), &self.device)?;
        let targets_n = Tensor::from_slice(targets, rows * t, &self.device)?;
        let h_btd = self.hidden(&ids_bt, dropout)?;
        let h_nd = h_btd.flatten(0, 1)?;
        ops::linear_cross_entropy(&h_nd, &self.head_vd, &targets_n)
    }

    /// Logits `[rows, T, V]` of `tokens`, row-major `[rows, T]`.
    pub fn logits(&self, tokens: &[u32], rows: usize) -> Result<Tensor> {
        let logits = || {
            let ids_bt = Tensor::from_slice(tokens, (rows, tokens.len() / rows), &self.device)?;
            let h_btd = self.hidden(&ids_bt, DropoutStream::off())?;
            ops::linear(&h_btd, &self.head_vd, None, ops::WeightLayout::OutIn)
        };
        logits().map_err(Error::backend)
    }

    /// Logits `[V]` of the token that follows `tokens`.
    pub fn next_logits(&self, tokens: &[u32]) -> Result<Tensor> {
        let logits = || {
            let ids_bt = Tensor::from_slice(tokens, (1, tokens.len()), &self.device)?;
            let h_btd = self.hidden(&ids_bt, DropoutStream::off())?;
            let last_1d = h_btd.narrow(1, tokens.len() - 1, 1)?.flatten(0, 1)?;
            ops::linear(&last_1d, &self.head_vd, None, ops::WeightLayout::OutIn)?.squeeze(0)
        };
        logits().map_err(Error::backend)
    }

    fn hidden(&self, ids_bt: &Tensor, dropout: DropoutStream) -> candle_core::Result<Tensor> {
        match &self.body {
            Body::Gpt2(m) => m.hidden(ids_bt, dropout),
            Body::Llama(m) => m.hidden(ids_bt, dropout),
        }
    }
}

/// Where the dropout masks of one forward pass come from: site after site, each mask is a pure
/// function of the stream's key and its place, so that a resumed run draws the same.
#[derive(Clone, Debug)]
pub struct DropoutStream {
    p: f64,
    key: u64,
    site: u64,
}

impl DropoutStream {
    /// No dropout: evaluation, sampling, or `p = 0`.
    pub fn off() -> Self {
        DropoutStream {
            p: 0.0,
            key: 0,
            site: 0,
        }
    }

    /// The stream of one micro-batch of one step.
    pub fn new(p: f64, seed: u64, step: u64, micro_batch: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"lehr dropout");
        for word in [seed, step, micro_batch] {
            hasher.update(&word.to_le_bytes());
        }
        let hash = hasher.finalize();
        let key = u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight bytes"));
        DropoutStream { p, key, site: 0 }
    }

    /// Whether anything is dropped.
    pub fn is_on(&self) -> bool {
        self.p > 0.0
    }

    /// The mask of the next site, `None` when dropout is off.
    fn next(&mut self) -> Option<ops::Dropout> {
        self.site += 1;
        self.at(self.site)
    }

    /// The mask of a site, counted from 1 in the order of the forward pass; `None` when dropout is
    /// off.
    pub fn at(&self, site: u64) -> Option<ops::Dropout> {
        // Odd multiplier (2⁶⁴/φ): distinct sites get distinct keys.
        let key = self.key ^ site.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (self.p > 0.0).then_some(ops::Dropout { p: self.p, key })
    }

    fn apply(&mut self, x: Tensor) -> candle_core::Result<Tensor> {
        match self.next() {
            Some(d) => ops::dropout(&x, d),
            None => Ok(x),
        }
    }
}

#[cfg(test)]
mod tests;
