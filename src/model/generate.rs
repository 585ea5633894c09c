//! Text from a model: one token after another, by candle-transformers' samplers.

use super::LanguageModel;
use crate::error::{Error, Result};
use candle_transformers::generation::{LogitsProcessor, Sampling};

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingConfig {
    /// 0 takes the likeliest token.
    pub temperature: f64,
    pub top_k: Option<usize>,
    pub top_p: Option<f64>,
    pub seed: u64,
}

impl SamplingConfig {
    fn sampling(&self) -> Sampling {
        let temperature = self.temperature;
        if temperature <= 0.0 {
            return Sampling::ArgMax;
        }
        match (self.top_k, self.top_p) {
            (None, None) => Sampling::All { temperature },
            (Some(k), None) => Sampling::TopK { k, temperature },
            (None, Some(p)) => Sampling::TopP { p, temperature },
            (Some(k), Some(p)) => Sampling::TopKThenTopP { k, p, temperature },
        }
    }
}

/// Continues `prompt` by at most `max_tokens` tokens, stopping before `stop`.
///
/// The model sees the last `max_positions` tokens; the whole window is computed again for each
/// token, so the cost grows with the window (there is no key/value cache).
///
/// # Errors
/// An empty prompt, or a model whose weights are not finite.
pub fn generate(
    model: &LanguageModel,
    prompt: &[u32],
    max_tokens: usize,
    stop: Option<u32>,
    config: &SamplingConfig,
) -> Result<Vec<u32>> {
    if prompt.is_empty() {
        return Err(Error::input(
            "the prompt holds no token; give at least one character with --prompt",
        ));
    }
    let mut sampler = LogitsProcessor::from_sampling(config.seed, config.sampling());
    let mut tokens = prompt.to_vec();
    for _ in 0..max_tokens {
        let window = &tokens[tokens.len().saturating_sub(model.max_positions())..];
        let logits_v = model.next_logits(window)?;
        let next = sampler.sample(&logits_v).map_err(|_| {
            Error::input("the model's logits are not finite, so no text can be drawn from it")
        })?;
        if Some(next) == stop {
            break;
        }
        tokens.push(next);
    }
    Ok(tokens.split_off(prompt.len()))
}
