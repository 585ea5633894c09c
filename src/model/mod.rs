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
use candle_core::{Device, Tensor};

/// A causal language model whose weights live in a [`Params`].
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

    /// A model that records its operations, so that its loss can be differentiated.
    pub fn for_training(config: &ModelConfig, params: &Params, device: &Device) -> Result<Self> {
        Self::new(config, params, true, device)
    }

    /// A model over the same weights that records nothing.
    pub fn for_inference(config: &ModelConfig, params: &Params, device: &Device) -> Result<Self> {
        Self::new(config, params, false, device)
    }

    fn new(c: &ModelConfig, params: &Params, tracked: bool, device: &Device) -> Result<Self> {
        let (body, embedding, head) = match c.family {
            Family::Gpt2 => (
                Body::Gpt2(gpt2::Gpt2::new(c, params, tracked)),
                gpt2::EMBEDDING,
                gpt2::HEAD,
            ),
            Family::Llama => (
                Body::Llama(llama::Llama::new(c, params, tracked, device).map_err(Error::backend)?),
                llama::EMBEDDING,
                llama::HEAD,
            ),
        };
        Ok(LanguageModel {
            body,
            head_vd: params.tensor(if c.tied { embedding } else { head }, tracked),
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

    /// The mask of the next site, `None` when dropout is off.
    fn next(&mut self) -> Option<ops::Dropout> {
        self.site += 1;
        // Odd multiplier (2⁶⁴/φ): distinct sites get distinct keys.
        let key = self.key ^ self.site.wrapping_mul(0x9E37_79B9_7F4A_7C15);
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
