//! Directories that transformers loads: `final/` of a run, and `lehr export`.

use super::rundir::{TOKENIZER_FILE, put};
use crate::error::{Error, Result};
use crate::files;
use crate::model::hf::{self, CONFIG_FILE, WEIGHTS_FILE};
use crate::model::{ModelConfig, Params};
use crate::text::tokenizer::Tokenizer;
use std::path::Path;

const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";

/// Writes `config.json`, `model.safetensors`, and with a tokenizer `tokenizer.json` and
/// `tokenizer_config.json`, into `dir`, which appears whole or not at all; an older one is
/// replaced.
pub fn write(
    dir: &Path,
    config: &ModelConfig,
    params: &Params,
    tokenizer: Option<&Tokenizer>,
) -> Result<()> {
    put(dir, |aside| write_into(aside, config, params, tokenizer))
}

/// As [`write`], into a directory that is there.
pub(super) fn write_into(
    dir: &Path,
    config: &ModelConfig,
    params: &Params,
    tokenizer: Option<&Tokenizer>,
) -> Result<()> {
    let json = |name: &str, value: &serde_json::Value| {
        let bytes = serde_json::to_vec_pretty(value).map_err(Error::backend)?;
        files::write(&dir.join(name), &bytes)
    };
    let eot = tokenizer.and_then(Tokenizer::eot);
    json(CONFIG_FILE, &hf::config_json(config, eot))?;
    if let Some(tokenizer) = tokenizer {
        tokenizer.save(&dir.join(TOKENIZER_FILE))?;
        let eot = eot.map(|id| tokenizer.decode(&[id])).transpose()?;
        json(
            TOKENIZER_CONFIG_FILE,
            &hf::tokenizer_config_json(eot.as_deref(), config.max_positions),
        )?;
    }
    hf::write_params(&dir.join(WEIGHTS_FILE), params)
}
