//! The resolved configuration of a run: recipe first, flags over it, `--set` over both.

use super::device::DeviceKind;
use crate::average::AverageConfig;
use crate::error::{Error, Result};
use crate::forecast::LawConfig;
use crate::kernels::gemm::{self, Precision};
use crate::model::{Family, ModelConfig};
use crate::optim::AdamWConfig;
use crate::schedule::{Schedule, ScheduleSpec, Shape, Warmup};
use crate::text::loader::LoaderConfig;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use toml::Value;

/// Everything that decides what a run computes. Saved in `run.toml` and in every checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    pub model: ModelSection,
    pub data: DataSection,
    pub schedule: ScheduleSection,
    pub optim: AdamWConfig,
    pub train: TrainSection,
    pub eval: EvalSection,
    pub checkpoint: CheckpointSection,
    pub sample: SampleSection,
    /// Absent in what older versions wrote.
    #[serde(default)]
    pub average: AverageConfig,
    #[serde(default)]
    pub law: LawConfig,
}

/// `[model]`: sizes; 0 stands for "derived from the others".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    pub family: Family,
    pub n_layer: usize,
    pub n_head: usize,
    pub n_kv_head: usize,
    pub n_embd: usize,
    pub intermediate_size: usize,
    pub multiple_of: usize,
    pub tied: bool,
    pub dropout: f64,
    pub norm_eps: f64,
    pub rope_theta: f64,
    pub init_std: f64,
}

/// `[data]`: where tokens come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    pub path: String,
    pub tokenizer: String,
    pub field: String,
    pub val_fraction: f64,
    pub vocab_size: usize,
    pub cache: String,
}

/// `[schedule]`: the learning rate of every step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSection {
    /// `name:key=value,…`, see [`crate::schedule`].
    pub scheduler: String,
    pub peak_lr: f64,
    pub warmup: String,
    pub compat: bool,
}

/// `[train]`: how long, on how much at once, from which seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSection {
    pub iterations: u64,
    pub sequence_length: usize,
    pub batch_size: usize,
    pub grad_accumulation: usize,
    pub seed: u64,
    pub non_finite: NonFinite,
    /// What it trains on. `auto` becomes one of the others when a run starts.
    #[serde(default, skip_serializing_if = "DeviceKind::is_cpu")]
    pub device: DeviceKind,
    /// What products are computed in. `auto` becomes one of the others when a run starts.
    #[serde(default)]
    pub dtype: Dtype,
    /// Compute the activations inside a block again on the way back: less memory, a third more
    /// work.
    #[serde(default)]
    pub recompute: bool,
}

impl TrainSection {
    /// Settles what says `auto`; what the user should know about the choices.
    pub fn resolve(&mut self) -> Vec<String> {
        let device = self.device.resolve();
        let dtype = self.dtype.resolve(self.device);
        device.into_iter().chain(dtype).collect()
    }
}

/// What a step computes in. Weights, moments, norms, softmax and sums are f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// The fastest that the device has in hardware
    Auto,
    #[default]
    F32,
    /// Operands of products rounded to TF32 on their way in; CUDA alone
    Tf32,
    /// Operands of products, and activations, rounded to bf16
    Bf16,
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Dtype::Auto => "auto",
            Dtype::F32 => "f32",
            Dtype::Tf32 => "tf32",
            Dtype::Bf16 => "bf16",
        })
    }
}

impl Dtype {
    /// What a run of this goes on in when it is moved: weights and moments are f32 everywhere, and not every device rounds.
    pub fn moved_to(self, device: DeviceKind) -> Dtype {
        match self {
            Dtype::Tf32 if device != DeviceKind::Cuda => Dtype::F32,
            Dtype::Bf16 if device == DeviceKind::Metal => Dtype::F32,
            other => other,
        }
    }

    /// Settles `auto` for a device that is settled; what the user should know about the choice.
    pub fn resolve(&mut self, device: DeviceKind) -> Option<String> {
        if device == DeviceKind::Metal {
            if *self == Dtype::Auto {
                *self = Dtype::F32;
            }
            return None;
        }
        if device == DeviceKind::Cuda {
            if *self == Dtype::Auto {
                *self = Dtype::Bf16;
            }
            return None;
        }
        let in_hardware = gemm::has_bf16();
        match (*self, in_hardware) {
            (Dtype::Auto, true) => {
                *self = Dtype::Bf16;
                Some("dtype auto: bf16, which this processor multiplies in hardware".into())
            }
            (Dtype::Auto, false) => {
                *self = Dtype::F32;
                Some("dtype auto: f32, since there are no bf16 products for this processor (they need AVX512-BF16)".into())
            }
            (Dtype::Bf16, false) => Some(
                "there are no bf16 products for this processor (they need AVX512-BF16), so bf16 is rounded and multiplied as f32; --dtype f32 is as fast and more exact".into(),
            ),
            _ => None,
        }
    }

    /// What products are computed in.
    pub fn precision(self) -> Precision {
        match self {
            Dtype::Bf16 => Precision::Bf16,
            Dtype::F32 | Dtype::Tf32 => Precision::F32,
            Dtype::Auto if gemm::has_bf16() => Precision::Bf16,
            Dtype::Auto => Precision::F32,
        }
    }
}

/// What to do when the loss or the gradient norm is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum NonFinite {
    /// End the run; the last good checkpoint stays as it is.
    Stop,
    /// Leave this update out and go on.
    Skip,
}

/// `[eval]`: the held-out loss along the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalSection {
    pub every: u64,
    /// Held-out windows of `sequence_length` tokens, always the same ones, whatever the batch size.
    pub sequences: usize,
}

/// `[checkpoint]`: when to save, what to keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointSection {
    pub every: u64,
    pub keep_last: usize,
    pub permanent_every: u64,
    /// Completed steps that are saved besides and never deleted: where cooldowns will branch.
    #[serde(default)]
    pub at: Vec<u64>,
}

/// `[sample]`: text drawn from the model along the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleSection {
    pub every: u64,
    pub prompt: String,
    pub tokens: usize,
    pub temperature: f64,
    pub top_k: usize,
}

impl RunConfig {
    /// Checks everything that can be checked before any data is seen.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn validate(&self) -> Result<()> {
        let t = &self.train;
        for (name, value) in [
            ("iterations", t.iterations as usize),
            ("sequence_length", t.sequence_length),
            ("batch_size", t.batch_size),
            ("grad_accumulation", t.grad_accumulation),
        ] {
            if value == 0 {
                return Err(Error::input(format!(
                    "train.{name} is 0; it must be at least 1"
                )));
            }
        }
        // In floating point, where nothing wraps.
        let tokens = t.batch_size as f64 * t.grad_accumulation as f64 * t.sequence_length as f64;
        if tokens > 1e12 || t.iterations > 1_000_000_000 {
            return Err(Error::input(format!(
                "train asks for {} steps of {tokens:e} tokens; one of iterations, batch_size, grad_accumulation and sequence_length has too many digits",
                t.iterations
            )));
        }
        if self.model.multiple_of == 0 {
            return Err(Error::input(
                "model.multiple_of is 0; it must be at least 1",
            ));
        }
        let v = self.data.val_fraction;
        if !(v > 0.0 && v <= 0.5) {
            return Err(Error::input(format!(
                "data.val_fraction is {v}; it must be above 0 and at most 0.5, since a held-out loss needs some text"
            )));
        }
        let t = self.sample.temperature;
        if !(t.is_finite() && t >= 0.0) {
            return Err(Error::input(format!(
                "sample.temperature is {t}; it must be 0 or more"
            )));
        }
        self.optim.validate()?;
        self.average.validate()?;
        self.law.validate()?;
        self.check_redesign()?;
        self.model_config(1)?;
        self.schedule()?;
        Ok(())
    }

    /// Each share of `law.redesign` needs an evaluation of its own to decide at, with two before it to decide by.
    fn check_redesign(&self) -> Result<()> {
        let (every, steps) = (self.eval.every, self.train.iterations);
        let mut before = 0;
        for share in &self.law.redesign {
            let at = match every {
                0 => steps,
                _ => ((share * steps as f64 / every as f64).ceil() as u64) * every,
            };
            if at >= steps || at == before || at < 3 * every {
                return Err(Error::input(format!(
                    "law.redesign asks for a decision at {share} of {steps} steps, and decides at an evaluation of its own, after two others and before the end; lower eval.every ({every}; --eval-interval), or choose other shares"
                )));
            }
            before = at;
        }
        Ok(())
    }

    /// Sizes of the model over a vocabulary of `vocab_size`.
    pub fn model_config(&self, vocab_size: usize) -> Result<ModelConfig> {
        let m = &self.model;
        let or = |value: usize, default: usize| if value == 0 { default } else { value };
        let width = match m.family {
            Family::Gpt2 => 4 * m.n_embd,
            Family::Llama => ModelConfig::swiglu_width(m.n_embd, m.multiple_of),
        };
        let config = ModelConfig {
            family: m.family,
            vocab_size,
            max_positions: self.train.sequence_length,
            n_layer: m.n_layer,
            n_head: m.n_head,
            n_kv_head: or(m.n_kv_head, m.n_head),
            n_embd: m.n_embd,
            head_dim: m.n_embd / m.n_head.max(1),
            intermediate_size: or(m.intermediate_size, width),
            tied: m.tied,
            dropout: m.dropout,
            norm_eps: m.norm_eps,
            rope_theta: m.rope_theta,
            init_std: m.init_std,
        };
        config.validate()?;
        Ok(config)
    }

    /// The schedule of the run.
    pub fn schedule(&self) -> Result<Schedule> {
        let s = &self.schedule;
        Schedule::new(&ScheduleSpec {
            shape: Shape::from_str(&s.scheduler)?,
            peak_lr: s.peak_lr,
            warmup: Warmup::from_str(&s.warmup)?,
            steps: self.train.iterations,
            tokens_per_step: Some(self.tokens_per_step()),
            compat: s.compat,
        })
    }

    /// Tokens that one step trains on: batch × accumulation × sequence length.
    pub fn tokens_per_step(&self) -> u64 {
        let t = &self.train;
        (t.batch_size * t.grad_accumulation * t.sequence_length) as u64
    }

    /// What the loader is asked for, on one rank.
    pub fn loader(&self) -> LoaderConfig {
        let t = &self.train;
        LoaderConfig {
            seed: t.seed,
            sequence_length: t.sequence_length,
            batch_size: t.batch_size,
            grad_accumulation: t.grad_accumulation,
            rank: 0,
            world: 1,
        }
    }

    /// The keys whose values differ between two configurations, as `section.key: here, there`,
    /// without those that only say when to save, what to keep, which averages to take, and what a law forecasts.
    pub fn differences(&self, other: &RunConfig) -> Vec<String> {
        let whole = |config: &RunConfig| {
            let mut table = config.to_table();
            let device = Value::from(config.train.device.to_string());
            let train = table["train"].as_table_mut();
            train.expect("a section").insert("device".into(), device);
            table
        };
        let (mine, theirs) = (whole(self), whole(other));
        let mut list = Vec::new();
        for (section, keys) in &mine {
            // A law decides something only where it redesigns.
            let forecasts =
                section == "law" && self.law.redesign.is_empty() && other.law.redesign.is_empty();
            if section == "checkpoint" || section == "average" || forecasts {
                continue;
            }
            let keys = keys.as_table().expect("every section is a table");
            for (key, value) in keys {
                // Change not one bit of what comes out.
                if key == "recompute" || key == "stop_when" {
                    continue;
                }
                let there = &theirs[section][key];
                if value != there {
                    list.push(format!("{section}.{key} is {value} and was {there}"));
                }
            }
        }
        list
    }

    /// The configuration as `[section]` tables.
    pub fn to_table(&self) -> toml::Table {
        toml::Table::try_from(self).expect("a configuration is a TOML table")
    }
}
