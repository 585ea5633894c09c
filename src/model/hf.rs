//! Directories that Hugging Face's transformers loads, written and read.
//!
//! A model directory holds `config.json`, `model.safetensors` (or shards named by
//! `model.safetensors.index.json`), and a tokenizer, which [`crate::text`] writes beside them.

use super::config::{Family, ModelConfig};
use super::{LanguageModel, ParamSpec, Params};
use crate::error::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

pub const CONFIG_FILE: &str = "config.json";
pub const WEIGHTS_FILE: &str = "model.safetensors";
const WEIGHTS_INDEX_FILE: &str = "model.safetensors.index.json";

/// The `config.json` of a model: what `AutoModelForCausalLM.from_pretrained` needs, for
/// transformers 4 and 5 (`rope_theta` and `rope_parameters` both).
pub fn config_json(c: &ModelConfig, eot: Option<u32>) -> Value {
    match c.family {
        Family::Gpt2 => json!({
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "vocab_size": c.vocab_size,
            "n_positions": c.max_positions,
            "n_embd": c.n_embd,
            "n_layer": c.n_layer,
            "n_head": c.n_head,
            "n_inner": c.intermediate_size,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": c.norm_eps,
            "initializer_range": c.init_std,
            "resid_pdrop": c.dropout,
            "embd_pdrop": c.dropout,
            "attn_pdrop": c.dropout,
            "bos_token_id": eot,
            "eos_token_id": eot,
            "tie_word_embeddings": c.tied,
            "torch_dtype": "float32",
        }),
        Family::Llama => json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": c.vocab_size,
            "hidden_size": c.n_embd,
            "intermediate_size": c.intermediate_size,
            "num_hidden_layers": c.n_layer,
            "num_attention_heads": c.n_head,
            "num_key_value_heads": c.n_kv_head,
            "head_dim": c.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": c.max_positions,
            "rms_norm_eps": c.norm_eps,
            "rope_theta": c.rope_theta,
            "rope_parameters": {"rope_type": "default", "rope_theta": c.rope_theta},
            "initializer_range": c.init_std,
            "attention_bias": false,
            "attention_dropout": c.dropout,
            "mlp_bias": false,
            "bos_token_id": eot,
            "eos_token_id": eot,
            "tie_word_embeddings": c.tied,
            "torch_dtype": "float32",
        }),
    }
}

/// Reads `config.json`; `path` names it in errors.
///
/// # Errors
/// Another architecture, a variant that Lehr does not compute (biases in Llama, scaled rotary
/// positions, another activation), or a missing size: each by name.
pub fn parse_config(text: &str, path: &Path) -> Result<ModelConfig> {
    let json: Value = serde_json::from_str(text)
        .map_err(|e| Error::corrupt(path, format!("it is not JSON ({e})")))?;
    let reader = ConfigReader { json: &json, path };
    let config = match reader.json["model_type"].as_str() {
        Some("gpt2") => reader.gpt2()?,
        Some("llama") => reader.llama()?,
        other => {
            return Err(Error::input(format!(
                "{} describes a model of type {}, and Lehr reads gpt2 and llama",
                path.display(),
                other.unwrap_or("(none)")
            )));
        }
    };
    config.validate()?;
    Ok(config)
}

struct ConfigReader<'a> {
    json: &'a Value,
    path: &'a Path,
}

impl ConfigReader<'_> {
    fn size(&self, key: &str) -> Result<usize> {
        self.json[key].as_u64().map(|n| n as usize).ok_or_else(|| {
            Error::corrupt(self.path, format!("\"{key}\" is missing or not a number"))
        })
    }

    fn size_or(&self, key: &str, default: usize) -> usize {
        self.json[key].as_u64().map_or(default, |n| n as usize)
    }

    fn real_or(&self, key: &str, default: f64) -> f64 {
        self.json[key].as_f64().unwrap_or(default)
    }

    fn refuse(&self, what: &str) -> Error {
        Error::input(format!(
            "{} asks for {what}, which Lehr does not compute",
            self.path.display()
        ))
    }

    fn gpt2(&self) -> Result<ModelConfig> {
        let activation = self.json["activation_function"]
            .as_str()
            .unwrap_or("gelu_new");
        if !matches!(activation, "gelu_new" | "gelu_pytorch_tanh") {
            return Err(self.refuse(&format!("the activation {activation}")));
        }
        for (key, computed) in [
            ("scale_attn_weights", true),
            ("scale_attn_by_inverse_layer_idx", false),
            ("add_cross_attention", false),
        ] {
            if self.json[key].as_bool() == Some(!computed) {
                return Err(self.refuse(&format!("\"{key}\": {}", !computed)));
            }
        }
        let (n_embd, n_head) = (self.size("n_embd")?, self.size("n_head")?);
        Ok(ModelConfig {
            family: Family::Gpt2,
            vocab_size: self.size("vocab_size")?,
            max_positions: self.size("n_positions")?,
            n_layer: self.size("n_layer")?,
            n_head,
            n_kv_head: n_head,
            n_embd,
            head_dim: n_embd / n_head.max(1),
            intermediate_size: self.size_or("n_inner", 4 * n_embd),
            tied: self.json["tie_word_embeddings"].as_bool().unwrap_or(true),
            dropout: self.real_or("resid_pdrop", 0.0),
            norm_eps: self.real_or("layer_norm_epsilon", 1e-5),
            rope_theta: 10000.0,
            init_std: self.real_or("initializer_range", 0.02),
        })
    }

    fn llama(&self) -> Result<ModelConfig> {
        let activation = self.json["hidden_act"].as_str().unwrap_or("silu");
        if activation != "silu" {
            return Err(self.refuse(&format!("the activation {activation}")));
        }
        for key in ["attention_bias", "mlp_bias"] {
            if self.json[key].as_bool() == Some(true) {
                return Err(self.refuse(&format!("\"{key}\"")));
            }
        }
        let rope = &self.json["rope_parameters"];
        let scaling = &self.json["rope_scaling"];
        let kind = |v: &Value| {
            v["rope_type"]
                .as_str()
                .or(v["type"].as_str())
                .map(str::to_string)
        };
        for kind in [kind(rope), kind(scaling)].into_iter().flatten() {
            if kind != "default" {
                return Err(self.refuse(&format!("rotary positions of type {kind}")));
            }
        }
        if self.real_or("partial_rotary_factor", 1.0) != 1.0 {
            return Err(self.refuse("rotary positions on a part of each head"));
        }
        let (n_embd, n_head) = (self.size("hidden_size")?, self.size("num_attention_heads")?);
        Ok(ModelConfig {
            family: Family::Llama,
            vocab_size: self.size("vocab_size")?,
            max_positions: self.size("max_position_embeddings")?,
            n_layer: self.size("num_hidden_layers")?,
            n_head,
            n_kv_head: self.size_or("num_key_value_heads", n_head),
            n_embd,
            head_dim: self.size_or("head_dim", n_embd / n_head.max(1)),
            intermediate_size: self.size("intermediate_size")?,
            tied: self.json["tie_word_embeddings"].as_bool().unwrap_or(false),
            dropout: self.real_or("attention_dropout", 0.0),
            norm_eps: self.real_or("rms_norm_eps", 1e-6),
            rope_theta: rope["rope_theta"]
                .as_f64()
                .unwrap_or_else(|| self.real_or("rope_theta", 10000.0)),
            init_std: self.real_or("initializer_range", 0.02),
        })
    }
}

/// The `tokenizer_config.json` beside a `tokenizer.json`.
pub fn tokenizer_config_json(eot: Option<&str>, max_positions: usize) -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": eot,
        "eos_token": eot,
        "model_max_length": max_positions,
        "clean_up_tokenization_spaces": false,
    })
}

/// Reads the configuration of a model directory.
pub fn read_config(dir: &Path) -> Result<ModelConfig> {
    let path = dir.join(CONFIG_FILE);
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
    parse_config(&text, &path)
}

/// Reads the weights of a model directory into parameters of `config`.
///
/// Half-precision weights are widened to f32. Names may lack GPT-2's `transformer.` prefix (as
/// OpenAI's own export does); masks and rotary frequencies stored as buffers are passed over.
///
/// # Errors
/// A missing, extra or misshapen tensor, by name; a truncated or damaged file.
pub fn read_params(dir: &Path, config: &ModelConfig) -> Result<Params> {
    let mut tensors = HashMap::new();
    for file in weight_files(dir)? {
        let loaded = candle_core::safetensors::load(&file, &Device::Cpu).map_err(|e| {
            Error::corrupt(&file, format!("it cannot be read as safetensors ({e})"))
        })?;
        tensors.extend(loaded);
    }
    let shown = dir.join(WEIGHTS_FILE);
    let params = Params::build(LanguageModel::specs(config), |spec, values| {
        let tensor = tensors
            .remove(&spec.name)
            .or_else(|| tensors.remove(spec.name.strip_prefix("transformer.")?))
            .ok_or_else(|| {
                Error::corrupt(&shown, format!("the tensor {} is missing", spec.name))
            })?;
        values.copy_from_slice(&flatten(&tensor, spec, &shown)?);
        Ok(())
    })?;
    let is_buffer = |name: &str| {
        name.ends_with(".attn.bias")
            || name.ends_with(".attn.masked_bias")
            || name.ends_with("rotary_emb.inv_freq")
            || (config.tied && name == "lm_head.weight")
    };
    let mut extra: Vec<_> = tensors
        .into_keys()
        .filter(|name| !is_buffer(name))
        .collect();
    extra.sort();
    match extra.first() {
        None => Ok(params),
        Some(name) => Err(Error::corrupt(
            &shown,
            format!("it holds {name}, which {CONFIG_FILE} does not account for"),
        )),
    }
}

fn flatten(tensor: &Tensor, spec: &ParamSpec, path: &Path) -> Result<Vec<f32>> {
    if tensor.dims() != spec.shape {
        return Err(Error::corrupt(
            path,
            format!(
                "the tensor {} has shape {:?} and {CONFIG_FILE} means {:?}",
                spec.name,
                tensor.dims(),
                spec.shape
            ),
        ));
    }
    tensor
        .to_dtype(DType::F32)
        .and_then(|t| t.flatten_all()?.to_vec1())
        .map_err(Error::backend)
}

fn weight_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let index = dir.join(WEIGHTS_INDEX_FILE);
    if !index.exists() {
        let single = dir.join(WEIGHTS_FILE);
        return match single.exists() {
            true => Ok(vec![single]),
            false => Err(Error::input(format!(
                "{} holds no {WEIGHTS_FILE}; give a checkpoint or a Hugging Face model directory",
                dir.display()
            ))),
        };
    }
    let text = std::fs::read_to_string(&index).map_err(|e| Error::io("read", &index, e))?;
    let json: Value = serde_json::from_str(&text)
        .map_err(|e| Error::corrupt(&index, format!("it is not JSON ({e})")))?;
    let map = json["weight_map"]
        .as_object()
        .ok_or_else(|| Error::corrupt(&index, "it has no \"weight_map\""))?;
    let mut files: Vec<_> = map
        .values()
        .filter_map(|v| v.as_str())
        .map(|name| dir.join(name))
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// f32 numbers on their way into a file.
pub struct Floats<'a> {
    pub shape: &'a [usize],
    pub values: &'a [f32],
}

impl safetensors::View for Floats<'_> {
    fn dtype(&self) -> safetensors::Dtype {
        safetensors::Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        if cfg!(target_endian = "little") {
            let (data, len) = (self.values.as_ptr(), size_of_val(self.values));
            // SAFETY: the bytes of the numbers, which is how the file holds them.
            Cow::Borrowed(unsafe { std::slice::from_raw_parts(data.cast(), len) })
        } else {
            Cow::Owned(self.values.iter().flat_map(|x| x.to_le_bytes()).collect())
        }
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

/// Writes the weights as safetensors with the metadata that transformers expects, and syncs.
pub fn write_params(path: &Path, params: &Params) -> Result<()> {
    let named = params.iter().map(|p| {
        let shape = p.spec.shape.as_slice();
        let values = p.values;
        (p.spec.name.clone(), Floats { shape, values })
    });
    write_tensors(path, named.collect())
}

/// Writes numbers as safetensors and syncs. The file grows in place: write it into a directory
/// that is renamed when whole.
pub fn write_tensors(path: &Path, named: Vec<(String, Floats)>) -> Result<()> {
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize_to_file(named, Some(metadata), path).map_err(|e| match e {
        safetensors::SafeTensorError::IoError(e) => Error::io("write", path, e),
        e => Error::backend(e),
    })?;
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|e| Error::io("write", path, e))
}
