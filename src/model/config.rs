//! What a model is: family and sizes, validated before anything is allocated.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The two architectures that Lehr trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Learned positions, LayerNorm, GELU (tanh form), biases (Radford et al. 2019).
    #[value(alias = "base")]
    Gpt2,
    /// RMSNorm, rotary positions (half rotation), SwiGLU, grouped-query attention, no biases
    /// (Touvron et al. 2023).
    Llama,
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Family::Gpt2 => "gpt2",
            Family::Llama => "llama",
        })
    }
}

/// More parameters than this are a typing error: products of the sizes stay far from overflow.
const LARGEST: f64 = 1e13;

/// Every size of a model, resolved: nothing here is a default waiting to be filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    pub family: Family,
    /// Rows of the embedding table and of the head.
    pub vocab_size: usize,
    /// Longest sequence: the number of learned positions (GPT-2) or of rotary angles (Llama).
    pub max_positions: usize,
    pub n_layer: usize,
    pub n_head: usize,
    /// Key/value heads; `n_head` unless grouped-query attention is wanted (Llama only).
    pub n_kv_head: usize,
    pub n_embd: usize,
    /// Width of one head: `n_embd / n_head` in all that Lehr trains.
    pub head_dim: usize,
    /// Hidden width of the MLP.
    pub intermediate_size: usize,
    /// Whether the head shares the token embedding's table.
    pub tied: bool,
    pub dropout: f64,
    pub norm_eps: f64,
    /// Rotary base θ (Llama only).
    pub rope_theta: f64,
    /// Standard deviation of the initial weights; residual projections get `init_std / √(2 n_layer)`.
    pub init_std: f64,
}

impl ModelConfig {
    /// Hidden width of a SwiGLU MLP: 8d/3 rounded up to a multiple of `multiple_of`
    /// (Llama; schedules-and-scaling uses 256).
    pub fn swiglu_width(n_embd: usize, multiple_of: usize) -> usize {
        (8 * n_embd / 3).div_ceil(multiple_of) * multiple_of
    }

    /// The number of parameters but for norms and biases, in floating point, where no size wraps
    /// however absurd; [`super::flops::ParamCount`] counts exactly.
    pub fn about_parameters(&self) -> f64 {
        let real = |n: usize| n as f64;
        let tables = if self.tied { 1.0 } else { 2.0 } * real(self.vocab_size) * real(self.n_embd);
        let (matrices, positions) = match self.family {
            Family::Gpt2 => (2.0, real(self.max_positions) * real(self.n_embd)),
            Family::Llama => (3.0, 0.0),
        };
        let kv = real(self.n_kv_head) * real(self.head_dim);
        let attention = 2.0 * real(self.n_embd) * (real(self.n_embd) + kv);
        let mlp = matrices * real(self.n_embd) * real(self.intermediate_size);
        tables + positions + real(self.n_layer) * (attention + mlp)
    }

    /// Checks that the sizes make a model.
    ///
    /// # Errors
    /// One sentence that names the sizes and what would fit.
    pub fn validate(&self) -> Result<()> {
        let positive = [
            ("n_layer", self.n_layer),
            ("n_head", self.n_head),
            ("n_kv_head", self.n_kv_head),
            ("n_embd", self.n_embd),
            ("vocab_size", self.vocab_size),
            ("sequence_length", self.max_positions),
            ("intermediate_size", self.intermediate_size),
        ];
        for (name, value) in positive {
            if value == 0 {
                return Err(Error::input(format!("{name} is 0; it must be at least 1")));
            }
        }
        let about = self.about_parameters();
        if about > LARGEST {
            return Err(Error::input(format!(
                "the sizes ask for about {about:.0e} parameters (n_layer {}, n_embd {}, sequence_length {}, vocabulary {}); one of them has too many digits",
                self.n_layer, self.n_embd, self.max_positions, self.vocab_size
            )));
        }
        if !self.n_embd.is_multiple_of(self.n_head) {
            let near = nearest_divisor(self.n_embd, self.n_head);
            return Err(Error::input(format!(
                "n_embd {} is not divisible by n_head {}; {near} heads would fit, or n_embd {}",
                self.n_embd,
                self.n_head,
                self.n_embd.div_ceil(self.n_head) * self.n_head
            )));
        }
        if self.head_dim * self.n_head != self.n_embd {
            return Err(Error::input(format!(
                "head_dim {} times n_head {} is not n_embd {}; Lehr trains only heads that fill the width",
                self.head_dim, self.n_head, self.n_embd
            )));
        }
        if !self.n_head.is_multiple_of(self.n_kv_head) {
            return Err(Error::input(format!(
                "n_head {} is not divisible by n_kv_head {}; {} would fit",
                self.n_head,
                self.n_kv_head,
                nearest_divisor(self.n_head, self.n_kv_head)
            )));
        }
        match self.family {
            Family::Llama if !self.head_dim.is_multiple_of(2) => Err(Error::input(format!(
                "rotary positions need an even head width, but n_embd {} over n_head {} gives {}",
                self.n_embd, self.n_head, self.head_dim
            ))),
            Family::Gpt2 if self.n_kv_head != self.n_head => Err(Error::input(format!(
                "gpt2 has no grouped-query attention, so n_kv_head {} must equal n_head {}; use --model llama",
                self.n_kv_head, self.n_head
            ))),
            _ => self.validate_reals(),
        }
    }

    fn validate_reals(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::input(format!(
                "dropout {} is outside [0, 1)",
                self.dropout
            )));
        }
        let positive = [
            ("norm_eps", self.norm_eps),
            ("rope_theta", self.rope_theta),
            ("init_std", self.init_std),
        ];
        for (name, value) in positive {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::input(format!(
                    "{name} is {value}; it must be a positive number"
                )));
            }
        }
        Ok(())
    }
}

/// The divisor of `n` closest to `wanted`.
fn nearest_divisor(n: usize, wanted: usize) -> usize {
    (1..=n)
        .filter(|d| n.is_multiple_of(*d))
        .min_by_key(|d| d.abs_diff(wanted))
        .unwrap_or(1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A model small enough for finite differences.
    pub(crate) fn tiny(family: Family, tied: bool) -> ModelConfig {
        ModelConfig {
            family,
            vocab_size: 13,
            max_positions: 8,
            n_layer: 2,
            n_head: 2,
            n_kv_head: if family == Family::Llama { 1 } else { 2 },
            n_embd: 8,
            head_dim: 4,
            intermediate_size: 16,
            tied,
            dropout: 0.0,
            norm_eps: 1e-5,
            rope_theta: 10000.0,
            init_std: 0.2,
        }
    }

    #[test]
    fn swiglu_width_is_the_papers() {
        assert_eq!(ModelConfig::swiglu_width(768, 256), 2048);
        assert_eq!(ModelConfig::swiglu_width(384, 256), 1024);
        assert_eq!(ModelConfig::swiglu_width(512, 256), 1536);
    }

    #[test]
    fn sizes_that_do_not_divide_say_what_would() {
        let mut c = tiny(Family::Llama, true);
        c.n_embd = 100;
        c.n_head = 6;
        let message = c.validate().unwrap_err().to_string();
        assert!(message.contains("n_embd 100"), "{message}");
        assert!(message.contains("5 heads"), "{message}");
        let mut c = tiny(Family::Llama, true);
        c.n_head = 4;
        c.head_dim = 2;
        c.n_kv_head = 3;
        assert!(c.validate().unwrap_err().to_string().contains("n_kv_head"));
        let mut c = tiny(Family::Gpt2, true);
        c.n_kv_head = 1;
        assert!(c.validate().is_err());
    }
}
