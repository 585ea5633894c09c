//! From a configuration to what a run starts with: data, tokenizer, initial weights.

use super::config::RunConfig;
use crate::error::{Error, Result};
use crate::model::{LanguageModel, ModelConfig, Params, hf};
use crate::text::dataset::Dataset;
use crate::text::prepare::{self, PrepareConfig, Progress};
use crate::text::tokenizer::{Tokenizer, TokenizerSpec};
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
        match is_dataset(path) {
            true => Source::from_dataset(path, config),
            false => Source::from_dataset(&prepared(config, progress)?, config),
        }
    }

    /// What made the tokens, by the data set's own word: what `run.toml` must say.
    pub fn tokenizer_name(&self) -> Option<&str> {
        let named = self.dataset.index().map(|index| index.tokenizer.as_str());
        named.or(self.tokenizer.as_ref().map(Tokenizer::name))
    }

    /// Opens a prepared or nanoGPT directory.
    ///
    /// # Errors
    /// What [`Dataset::open`] says, or a checksum that is wrong.
    pub fn from_dataset(dir: &Path, config: &RunConfig) -> Result<Source> {
        let dataset = Dataset::open(dir)?;
        if dataset.train().len() + dataset.val().len() <= VERIFY_UP_TO {
            dataset.verify()?;
        }
        let mut tokenizer = dataset.tokenizer()?;
        if dataset.index().is_none() && tokenizer.is_none() {
            // nanoGPT's files do not say what made them; these are known without their text.
            tokenizer = match config.data.tokenizer.parse()? {
                TokenizerSpec::Gpt2 => Some(Tokenizer::gpt2()?),
                TokenizerSpec::File(file) => Some(Tokenizer::from_file(&file)?),
                TokenizerSpec::Char | TokenizerSpec::Bpe(_) => None,
            };
        }
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
                    "{} does not say how large its vocabulary is; give --tokenizer gpt2 (or the tokenizer.json that made it), or --vocab-size",
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
        if self.dataset.index().is_none() {
            // An index has said how large the ids are; bare tokens have to be read.
            self.dataset.check_vocab(vocab_size)?;
        }
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

/// Whether a directory holds tokens, prepared or nanoGPT's.
pub fn is_dataset(path: &Path) -> bool {
    use crate::text::dataset::INDEX_FILE;
    path.join(INDEX_FILE).exists()
        || path.join("train.bin").exists()
        || path.join("val.bin").exists()
}

/// The directory of the tokens of `data.path`, which is text.
fn prepared(config: &RunConfig, progress: &mut dyn Progress) -> Result<PathBuf> {
    let d = &config.data;
    let mut request =
        PrepareConfig::new(vec![d.path.clone()], d.tokenizer.parse()?, PathBuf::new());
    request.field = d.field.clone();
    request.val_fraction = d.val_fraction;
    let fingerprint = prepare::source_fingerprint(&request)?;
    // A glob or a Hub id becomes a plain name.
    let plain = |path: &str| -> String {
        let stem = Path::new(path).file_stem().unwrap_or_default();
        let keep = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let stem = stem.to_string_lossy();
        stem.chars().filter(|&c| keep(c)).collect()
    };
    let name = format!(
        "{}-{}-{}",
        plain(&d.path),
        plain(&d.tokenizer),
        &fingerprint[..8]
    );
    let dir = Path::new(&d.cache).join(name);
    if !is_dataset(&dir) {
        request.out = dir.clone();
        prepare::prepare(&request, progress)?;
    }
    Ok(dir)
}

/// Checks that two tokenizers mean the same by every id.
///
/// # Errors
/// They do not; `model` and `data` name whose they are.
pub fn check_same_tokenizer(
    (model, of_model): (&Path, &Tokenizer),
    (data, of_data): (&Path, &Tokenizer),
) -> Result<()> {
    let same = of_model.vocab_size() == of_data.vocab_size()
        && (0..of_model.vocab_size() as u32).all(|id| {
            let (a, b) = (of_model.decode(&[id]), of_data.decode(&[id]));
            a.is_ok_and(|a| b.is_ok_and(|b| a == b))
        });
    if same {
        return Ok(());
    }
    Err(Error::input(format!(
        "{} was tokenised with {} and the model in {} has another tokenizer ({} ids); prepare the text with that model's tokenizer.json",
        data.display(),
        of_data.name(),
        model.display(),
        of_model.vocab_size()
    )))
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
) -> Result<(ModelConfig, Params)> {
    match start {
        Start::Seed => {
            let model = config.model_config(vocab_size)?;
            check_memory(&model)?;
            let specs = LanguageModel::specs(&model);
            let params = Params::init(specs, config.train.seed);
            Ok((model, params))
        }
        Start::Directory(dir) => {
            let mut model = hf::read_config(dir)?;
            if model.max_positions < config.train.sequence_length {
                return Err(Error::input(format!(
                    "the model in {} takes at most {} positions; give --sequence-length {} or less",
                    dir.display(),
                    model.max_positions,
                    model.max_positions
                )));
            }
            model.dropout = config.model.dropout;
            let asked = ModelConfig {
                max_positions: model.max_positions,
                ..config.model_config(vocab_size)?
            };
            if asked != model {
                return Err(Error::input(format!(
                    "the model in {} has other sizes than the configuration asks for ({}); leave the flags out that set them",
                    dir.display(),
                    size_differences(&asked, &model)
                )));
            }
            let params = hf::read_params(dir, &model)?;
            Ok((model, params))
        }
    }
}

/// Refuses a model whose weights, gradients and moments alone exceed the machine's memory.
fn check_memory(model: &ModelConfig) -> Result<()> {
    const BYTES_A_PARAMETER: f64 = 16.0;
    const GB: f64 = (1u64 << 30) as f64;
    let parameters = model.about_parameters();
    let needed = parameters * BYTES_A_PARAMETER;
    match total_memory() {
        Some(total) if needed > total as f64 => Err(Error::input(format!(
            "{parameters:.1e} parameters with gradients and moments take {:.0} GB and this machine has {:.0}; make the model smaller",
            needed / GB,
            total as f64 / GB
        ))),
        _ => Ok(()),
    }
}

/// The machine's memory in bytes, where the system tells.
fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes << 10)
}

fn size_differences(asked: &ModelConfig, has: &ModelConfig) -> String {
    let fields = |c: &ModelConfig| match serde_json::to_value(c) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => unreachable!("a struct is a JSON object"),
    };
    let has = fields(has);
    let list: Vec<_> = fields(asked)
        .iter()
        .filter(|(name, value)| has[*name] != **value)
        .map(|(name, value)| format!("{name} {value}, there {}", has[name]))
        .collect();
    list.join("; ")
}
