//! Parameters and floating-point operations, itemised.
//!
//! Counts follow Hoffmann et al. 2022, appendix F (a multiply-add is two operations), with the
//! grouped key/value heads and the three matrices of SwiGLU counted as they are. For a sequence of
//! S tokens, width d, h query heads and g key/value heads of width k, MLP width F, vocabulary V:
//!
//! | item | forward FLOPs per sequence |
//! |---|---|
//! | embedding (as the product with one-hot rows; a look-up in fact) | 2SVd |
//! | queries, keys, values | 2Sdk(h + 2g) per layer |
//! | QKᵀ | 2S²kh per layer |
//! | softmax | 3hS² per layer |
//! | weights × values | 2S²kh per layer |
//! | attention output | 2Skh·d per layer |
//! | MLP | 4SdF (GELU) or 6SdF (SwiGLU) per layer |
//! | head | 2SdV |
//!
//! The backward pass counts twice the forward. Norms, activations, residuals and biases are not
//! counted, and neither is the causal mask: attention is charged for the full square.

use super::config::{Family, ModelConfig};
use super::params::{ParamKind, ParamSpec};
use serde::Serialize;

/// Where the parameters sit. The word "N" means different things in different papers, so each
/// is spelled out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParamCount {
    /// Token table; with a tied head it is the head as well.
    pub token_embedding: usize,
    /// Learned positions (GPT-2); 0 for rotary ones.
    pub position_embedding: usize,
    pub attention: usize,
    pub mlp: usize,
    pub norms: usize,
    /// The head's own table; 0 when tied.
    pub head: usize,
    /// All trainable scalars.
    pub total: usize,
    /// N without embeddings and without the head (Kaplan et al. 2020).
    pub non_embedding: usize,
    /// N with the head but without input embeddings, a tied head counted (Porian et al. 2024).
    pub with_head: usize,
}

/// Floating-point operations of one forward pass over one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ForwardFlops {
    pub embedding: f64,
    pub attention_qkv: f64,
    pub attention_scores: f64,
    pub attention_softmax: f64,
    pub attention_values: f64,
    pub attention_output: f64,
    pub mlp: f64,
    pub head: f64,
}

impl ForwardFlops {
    /// All attention items together.
    pub fn attention(&self) -> f64 {
        self.attention_qkv
            + self.attention_scores
            + self.attention_softmax
            + self.attention_values
            + self.attention_output
    }

    /// Chinchilla's count: the embedding charged as a product with one-hot rows.
    pub fn chinchilla(&self) -> f64 {
        self.embedding + self.executed()
    }

    /// What is executed: the embedding is a look-up and costs nothing.
    pub fn executed(&self) -> f64 {
        self.attention() + self.mlp + self.head
    }

    /// What is executed over a sequence of `s` tokens where attention leaves out what the causal mask
    /// hides: S(S+1)/2 of the S² pairs of a query and a key.
    pub fn causal(&self, s: usize) -> f64 {
        let square = self.attention_scores + self.attention_softmax + self.attention_values;
        let hidden = (s as f64 - 1.0) / (2.0 * s as f64);
        self.executed() - hidden * square
    }
}

/// Training costs this many times the forward pass: one forward, two backward.
pub const TRAIN_OVER_FORWARD: f64 = 3.0;

impl ParamCount {
    pub fn of(config: &ModelConfig) -> ParamCount {
        let specs = super::LanguageModel::specs(config);
        let sum = |keep: &dyn Fn(&ParamSpec) -> bool| -> usize {
            specs.iter().filter(|s| keep(s)).map(|s| s.elements()).sum()
        };
        let is_position = |s: &ParamSpec| s.name.contains(".wpe.");
        let in_attention = |s: &ParamSpec| s.name.contains("attn.");
        let embedding = |s: &ParamSpec| s.kind == ParamKind::Embedding;
        let token_embedding = sum(&|s| embedding(s) && !is_position(s));
        let position_embedding = sum(&is_position);
        let head = sum(&|s| s.kind == ParamKind::Head);
        let total = sum(&|_| true);
        let non_embedding = total - token_embedding - position_embedding - head;
        ParamCount {
            token_embedding,
            position_embedding,
            attention: sum(&in_attention),
            mlp: sum(&|s| s.name.contains(".mlp.")),
            norms: sum(&|s| s.kind == ParamKind::Norm),
            head,
            total,
            non_embedding,
            with_head: non_embedding + config.vocab_size * config.n_embd,
        }
    }
}

impl ForwardFlops {
    /// Counts for one sequence of `s` tokens; see the table of this module.
    pub fn of(config: &ModelConfig, s: usize) -> ForwardFlops {
        let real = |n: usize| n as f64;
        let (s, d, v, k) = (
            real(s),
            real(config.n_embd),
            real(config.vocab_size),
            real(config.head_dim),
        );
        let (h, g, layers) = (
            real(config.n_head),
            real(config.n_kv_head),
            real(config.n_layer),
        );
        let matrices = match config.family {
            Family::Gpt2 => 2.0,
            Family::Llama => 3.0,
        };
        ForwardFlops {
            embedding: 2.0 * s * v * d,
            attention_qkv: layers * 2.0 * s * d * k * (h + 2.0 * g),
            attention_scores: layers * 2.0 * s * s * k * h,
            attention_softmax: layers * 3.0 * h * s * s,
            attention_values: layers * 2.0 * s * s * k * h,
            attention_output: layers * 2.0 * s * k * h * d,
            mlp: layers * 2.0 * matrices * s * d * real(config.intermediate_size),
            head: 2.0 * s * d * v,
        }
    }

    /// Executed FLOPs of training on one token: forward and backward, without the look-up.
    pub fn train_per_token(config: &ModelConfig, s: usize) -> f64 {
        TRAIN_OVER_FORWARD * ForwardFlops::of(config, s).executed() / s as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llama_210m(vocab_size: usize) -> ModelConfig {
        ModelConfig {
            family: Family::Llama,
            vocab_size,
            max_positions: 512,
            n_layer: 24,
            n_head: 12,
            n_kv_head: 12,
            n_embd: 768,
            head_dim: 64,
            intermediate_size: 2048,
            tied: true,
            dropout: 0.0,
            norm_eps: 1e-5,
            rope_theta: 1e4,
            init_std: 0.02,
        }
    }

    fn gpt2_124m() -> ModelConfig {
        ModelConfig {
            family: Family::Gpt2,
            vocab_size: 50257,
            max_positions: 1024,
            n_layer: 12,
            n_kv_head: 12,
            intermediate_size: 3072,
            ..llama_210m(50257)
        }
    }

    #[test]
    fn published_parameter_counts() {
        // schedules-and-scaling's default: 50304·768 + 24·7,079,424 + 768, the norms of the
        // blocks (2·768 each) being part of 7,079,424.
        assert_eq!(ParamCount::of(&llama_210m(50304)).total, 208_540_416);
        // OpenAI's smallest GPT-2.
        let gpt2 = ParamCount::of(&gpt2_124m());
        assert_eq!(gpt2.total, 124_439_808);
        assert_eq!(gpt2.position_embedding, 1024 * 768);
        assert_eq!(gpt2.head, 0);
        assert_eq!(
            gpt2.token_embedding + gpt2.position_embedding + gpt2.attention + gpt2.mlp + gpt2.norms,
            gpt2.total
        );
    }

    #[test]
    fn the_mask_hides_half_of_attention_but_for_the_diagonal() {
        let of = |s: usize| ForwardFlops::of(&gpt2_124m(), s);
        assert_eq!(of(1).causal(1), of(1).executed());
        let (square, full) = (of(2), of(2).executed());
        let pairs = square.attention_scores + square.attention_softmax + square.attention_values;
        assert_eq!(square.causal(2), full - pairs / 4.0);
    }

    #[test]
    fn flops_of_the_cooldown_papers_formula() {
        // 3·{2sVd + L[6s·d·kh + 4s²·kh + 3hs² + 2s·kh·d + 6s·d·ffw] + 2sdV}
        let (s, v, d, l, kh, h, f) = (512.0, 50257.0, 768.0, 24.0, 768.0, 12.0, 2048.0);
        let block: f64 = 6.0 * s * d * kh
            + 4.0 * s * s * kh
            + 3.0 * h * s * s
            + 2.0 * s * kh * d
            + 6.0 * s * d * f;
        let expected = 3.0 * (2.0 * s * v * d + l * block + 2.0 * s * d * v);
        let got = TRAIN_OVER_FORWARD * ForwardFlops::of(&llama_210m(50257), 512).chinchilla();
        assert!((got / expected - 1.0).abs() < 1e-14, "{got} {expected}");
    }
}
