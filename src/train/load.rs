//! A trained model from wherever it lies: a run, a checkpoint, a Hugging Face directory.

use super::checkpoint::{self, STATE_FILE};
use super::rundir::{FINAL_DIR, RUN_FILE, TOKENIZER_FILE};
use crate::error::{Error, Result};
use crate::model::{LanguageModel, ModelConfig, Params, hf};
use crate::text::tokenizer::Tokenizer;
use candle_core::Device;
use std::path::{Path, PathBuf};

/// A model that is ready to be read.
pub struct Loaded {
    /// The directory that held the weights.
    pub dir: PathBuf,
    pub config: ModelConfig,
    pub params: Params,
    pub tokenizer: Option<Tokenizer>,
}

impl Loaded {
    /// Loads a model from a run (its `final/`, or else its newest whole checkpoint), a checkpoint
    /// (checked against its checksums), or a Hugging Face directory.
    ///
    /// # Errors
    /// Nothing there, or what is there is damaged, by file.
    pub fn open(path: &Path) -> Result<Loaded> {
        let dir = weights_dir(path)?;
        let config = hf::read_config(&dir)?;
        let params = hf::read_params(&dir, &config)?;
        let tokenizer = tokenizer_file(&dir)
            .map(|file| Tokenizer::from_file(&file))
            .transpose()?;
        Ok(Loaded {
            dir,
            config,
            params,
            tokenizer,
        })
    }

    /// The model as candle's tensors, for sampling.
    pub fn model(&self) -> Result<LanguageModel> {
        LanguageModel::for_inference(&self.config, &self.params, &Device::Cpu)
    }

    /// The tokenizer, or an error that says where it is missed.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer.as_ref().ok_or_else(|| {
            Error::input(format!(
                "{} has no {TOKENIZER_FILE}, so text cannot become tokens; put the model's there",
                self.dir.display()
            ))
        })
    }

    /// Checks that ids can be looked up.
    ///
    /// # Errors
    /// Names the first id beyond the vocabulary.
    pub fn check_ids(&self, ids: &[u32]) -> Result<()> {
        match ids
            .iter()
            .find(|&&id| id as usize >= self.config.vocab_size)
        {
            None => Ok(()),
            Some(id) => Err(Error::input(format!(
                "token id {id} lies beyond the vocabulary of {} ids of the model in {}",
                self.config.vocab_size,
                self.dir.display()
            ))),
        }
    }
}

/// The directory that holds the weights that `path` means, checked if it is a checkpoint.
pub fn weights_dir(path: &Path) -> Result<PathBuf> {
    if !path.exists() {
        return Err(Error::input(format!(
            "there is no {}; give a run, a checkpoint or a Hugging Face directory",
            path.display()
        )));
    }
    let dir = if !path.join(RUN_FILE).exists() {
        path.to_path_buf()
    } else if path.join(FINAL_DIR).exists() {
        path.join(FINAL_DIR)
    } else {
        match checkpoint::newest_whole(path)? {
            Some(newest) => return Ok(newest.dir),
            None => {
                return Err(Error::input(format!(
                    "the run {} has saved no checkpoint yet",
                    path.display()
                )));
            }
        }
    };
    if dir.join(STATE_FILE).exists() {
        checkpoint::read_state(&dir)?;
    }
    Ok(dir)
}

/// The `tokenizer.json` of a model directory: its own, or for a checkpoint the run's.
pub fn tokenizer_file(dir: &Path) -> Option<PathBuf> {
    let own = dir.join(TOKENIZER_FILE);
    if own.is_file() {
        return Some(own);
    }
    let run = dir.parent().filter(|_| dir.join(STATE_FILE).exists())?;
    Some(run.join(TOKENIZER_FILE)).filter(|file| file.is_file())
}

/// The data set that the run of a model directory was started on; `None` where no run is.
pub fn dataset_of(dir: &Path) -> Result<Option<PathBuf>> {
    // A checkpoint lies in its run, an average in a directory of averages there.
    let runs = dir.ancestors().skip(1).take(2);
    let Some(file) = runs
        .map(|run| run.join(RUN_FILE))
        .find(|file| file.is_file())
    else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(&file).map_err(|e| Error::io("read", &file, e))?;
    let table: toml::Table = text
        .parse()
        .map_err(|e: toml::de::Error| Error::corrupt(&file, e.message().to_string()))?;
    let dataset = table.get("run").and_then(|run| run.get("dataset"));
    Ok(dataset.and_then(toml::Value::as_str).map(PathBuf::from))
}
