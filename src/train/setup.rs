//! From a configuration to what a run starts with: data, tokenizer, initial weights.

use super::config::RunConfig;
use crate::error::{Error, Result};
use crate::model::{LanguageModel, ModelConfig, Params, hf};
use crate::text::dataset::Dataset;
use crate::text::prepare::{self, PrepareConfig, Progress};
use crate::text::tokenizer::Tokenizer;
use candle_core::Device;
use std::path::{Path, PathBuf};

/// Data sets up to this many tokens have their checksums verified whenever a run opens them.
const VERIFY_UP_TO: u64 = 1 << 29;

/// The tokens of a run, and the tokenizer that made them if it is known.
pub struct Source {
    pub dataset: Dataset,
    pub tokenizer: Option<Tokenizer>,
}

impl Source {
    /// Opens `data.path`: a prepared or nanoGPT directory as it is; anything else is text, and is
    /// prepared into `data.cache` unless that has been done before.
    ///
    /// # Errors
    /// What [`Dataset::open`] and [`prepare::prepare`] say.
    pub fn open(config: &RunConfig, progress: &mut dyn Progress) -> Result<Source> {
        let path = Path::new(&config.data.path);
        let dataset = if is_dataset(path) {
            Dataset::open(path)?
        } else {
            prepared(config, progress)?
        };
        if dataset.train().len() + dataset.val().len() <= VERIFY_UP_TO {
            dataset.verify()?;
        }
        let tokenizer = dataset.tokenizer()?;
        Ok(Source { dataset, tokenizer })
    }

    /// Rows of the embedding: what the configuration asks for, or what the tokenizer needs.
    ///
    /// # Errors
    /// The vocabulary is unknown, too small for the tokenizer, or too small for a token that
    /// the data holds.
    pub fn vocab_size(&self, config: &RunConfig) -> Result<usize> {
        let tokenizer = self.tokenizer.as_ref().map(Tokenizer::vocab_size);
        let needed = self.dataset.vocab_size().or(tokenizer);
        let vocab_size = match (config.data.vocab_size, needed) {
            (0, Some(needed)) => needed,
            (0, None) => {
                return Err(Error::input(format!(
                    "{} does not say how large its vocabulary is; give --vocab-size (50304 for GPT-2's tokens), or put its tokenizer.json beside the tokens",
                    self.dataset.dir().display()
                )));
            }
            (asked, Some(needed)) if asked < needed => {
                return Err(Error::input(format!(
                    "data.vocab_size {asked} is smaller than the tokenizer's {needed}; leave it at 0 or make it at least that"
                )));
            }
            (asked, _) => asked,
        };
        self.dataset.check_vocab(vocab_size)?;
        Ok(vocab_size)
    }

    /// What the held-out split's bits a byte are computed from.
    pub fn token_bytes(&self) -> Option<Vec<u32>> {
        self.tokenizer.as_ref().map(Tokenizer::token_bytes)
    }

    pub fn eot(&self) -> Option<u32> {
        self.tokenizer.as_ref().and_then(Tokenizer::eot)
    }
}

fn is_dataset(path: &Path) -> bool {
    use crate::text::dataset::INDEX_FILE;
    path.join(INDEX_FILE).exists()
        || path.join("train.bin").exists()
        || path.join("val.bin").exists()
}

fn prepared(config: &RunConfig, progress: &mut dyn Progress) -> Result<Dataset> {
    let d = &config.data;
    let mut request =
        PrepareConfig::new(vec![d.path.clone()], d.tokenizer.parse()?, PathBuf::new());
    request.field = d.field.clone();
    request.val_fraction = d.val_fraction;
    let fingerprint = prepare::source_fingerprint(&request)?;
    let stem = Path::new(&d.path).file_stem().unwrap_or_default();
    let tokenizer = Path::new(&d.tokenizer).file_stem().unwrap_or_default();
    let name = format!(
        "{}-{}-{}",
        stem.to_string_lossy(),
        tokenizer.to_string_lossy(),
        &fingerprint[..8]
    );
    let dir = Path::new(&d.cache).join(name);
    if !is_dataset(&dir) {
        request.out = dir.clone();
        prepare::prepare(&request, progress)?;
    }
    Dataset::open(&dir)
}

/// Where a run's weights start.
pub enum Start<'a> {
    /// Drawn from the published distributions with the run's seed.
    Seed,
    /// Read from a checkpoint or a Hugging Face directory.
    Directory(&'a Path),
}

/// The model's sizes and its initial weights.
///
/// # Errors
/// Sizes that make no model; a directory whose model cannot be read, is too short for the
/// sequences, or has a vocabulary too small for the data.
pub fn initial_model(
    config: &RunConfig,
    vocab_size: usize,
    start: &Start,
    device: &Device,
) -> Result<(ModelConfig, Params)> {
    match start {
        Start::Seed => {
            let model = config.model_config(vocab_size)?;
            let specs = LanguageModel::specs(&model);
            let params = Params::init(specs, config.train.seed, device)?;
            Ok((model, params))
        }
        Start::Directory(dir) => {
            let mut model = hf::read_config(dir)?;
            if model.vocab_size < vocab_size {
                return Err(Error::input(format!(
                    "the model in {} has a vocabulary of {} ids and the data needs {vocab_size}; prepare the text with that model's tokenizer.json",
                    dir.display(),
                    model.vocab_size
                )));
            }
            if model.max_positions < config.train.sequence_length {
                return Err(Error::input(format!(
                    "the model in {} takes at most {} positions; give --sequence-length {} or less",
                    dir.display(),
                    model.max_positions,
                    model.max_positions
                )));
            }
            model.dropout = config.model.dropout;
            let params = hf::read_params(dir, &model, device)?;
            Ok((model, params))
        }
    }
}
