//! Corpus to data set: read, choose the held-out documents, make or load the tokenizer, encode,
//! write shards.
//!
//! The corpus is streamed two or three times and never held: a *survey* of its first documents
//! (are there any? is there only one?), a pass that makes the tokenizer where it comes from the
//! corpus, and the pass that encodes. What is held is bounded by constants of this room, whatever
//! the corpus' size: parts of 256 KiB, a few for each thread, and the sample that a BPE is
//! trained on. Two exceptions: a tokenizer.json of a shape that is not known to allow cuts
//! encodes every document whole, and a JSON line is parsed whole.
//!
//! The data set appears at once: it is written into a hidden directory beside, its index last,
//! and renamed. A failure, Ctrl-C or a kill leaves nothing at the place asked for.

mod pieces;
mod pipeline;
mod progress;
mod sample;
mod split;
mod staging;
#[cfg(test)]
mod tests;

pub use progress::Progress;

use super::dataset::{DatasetIndex, FORMAT, TOKENIZER_FILE};
use super::readers::{self, Flow, Input, ReadOptions, Sink, Source, Stop};
use super::shards::{ShardWriter, TokenWidth};
use super::tokenizer::{Tokenizer, TokenizerSpec};
use crate::error::{Error, Result};
use pieces::{Piece, Pieces};
use sample::{CharacterSet, Sample};
use serde_json::{Value, json};
use split::{Split, Survey};
use staging::Staging;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What to prepare, and how.
#[derive(Clone, Debug)]
pub struct PrepareConfig {
    /// Files, folders, globs, Hub data sets (`owner/name[@revision]`).
    pub inputs: Vec<String>,
    pub tokenizer: TokenizerSpec,
    /// The directory that becomes the data set.
    pub out: PathBuf,
    /// The JSON key or Parquet column that holds the text.
    pub field: String,
    /// The expected share of documents held out for validation, above 0 and at most one half.
    pub val_fraction: f64,
    /// Chooses the held-out documents.
    pub seed: u64,
    pub tokens_per_shard: u64,
    /// Hub only: the split to take.
    pub split: String,
    /// Hub only: the folder or configuration to take, where a data set has several.
    pub subset: Option<String>,
    /// Hub only: a branch, tag or commit; `@revision` in the input wins.
    pub revision: Option<String>,
    /// Replace a data set that is already at `out`.
    pub overwrite: bool,
    /// Threads that encode; 0 means one a core.
    pub threads: usize,
    /// Replace bytes that are no UTF-8 by U+FFFD instead of refusing the file.
    pub lossy: bool,
}

impl PrepareConfig {
    /// The defaults of `lehr prepare`.
    pub fn new(inputs: Vec<String>, tokenizer: TokenizerSpec, out: PathBuf) -> Self {
        PrepareConfig {
            inputs,
            tokenizer,
            out,
            field: "text".to_owned(),
            val_fraction: 0.05,
            seed: 0,
            tokens_per_shard: 100_000_000,
            split: "train".to_owned(),
            subset: None,
            revision: None,
            overwrite: false,
            threads: 0,
            lossy: false,
        }
    }

    fn validate(&self) -> Result<()> {
        if !(self.val_fraction > 0.0 && self.val_fraction <= 0.5) {
            return Err(Error::input(format!(
                "--val-fraction {} must be above 0 and at most 0.5",
                self.val_fraction
            )));
        }
        if self.tokens_per_shard == 0 {
            return Err(Error::input("--tokens-per-shard must be at least 1"));
        }
        Ok(())
    }

    fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        }
    }
}

/// Prepares a data set and returns its index, which is also `dataset.json` in `config.out`.
///
/// # Errors
/// One sentence for every kind of bad input; [`Error::Interrupted`] when `progress` says to stop.
/// Nothing is left at `config.out` then, or what was there before.
pub fn prepare(config: &PrepareConfig, progress: &mut dyn Progress) -> Result<DatasetIndex> {
    config.validate()?;
    let staging = Staging::start(&config.out, config.overwrite)?;
    // Before the files are read: a file that changes meanwhile makes the data set stale.
    let fingerprint = source_fingerprint(config)?;
    let (corpus, hub) = Corpus::open(config, progress)?;
    // A tokenizer that comes from a file fails before the corpus is read, not after.
    let ready = match &config.tokenizer {
        TokenizerSpec::Gpt2 => Some(Tokenizer::gpt2()?),
        TokenizerSpec::File(path) => Some(Tokenizer::from_file(path)?),
        TokenizerSpec::Char | TokenizerSpec::Bpe(_) => None,
    };
    progress.phase("reading", 0);
    let split = corpus.survey(config, progress)?;
    if split.is_by_position() {
        progress.note(&format!(
            "the corpus is one document: its last {} % are held out",
            (1e5 * config.val_fraction).round() / 1e3
        ));
    }
    let tokenizer = match ready {
        Some(tokenizer) => tokenizer,
        None => corpus.train_tokenizer(config, &split, progress)?,
    };
    if tokenizer.eot().is_none() {
        progress.note(
            "this tokenizer.json has no end-of-text token: documents follow each other directly",
        );
    }

    let width = TokenWidth::for_vocab(tokenizer.vocab_size());
    let writer = |name| ShardWriter::create(staging.dir(), name, width, config.tokens_per_shard);
    let mut writers = pipeline::Writers {
        train: writer("train")?,
        val: writer("val")?,
    };
    let counts = pipeline::run(
        &corpus,
        &tokenizer,
        &split,
        config.threads(),
        &mut writers,
        progress,
    )?;
    let (train, val) = (writers.train.finish()?, writers.val.finish()?);
    for (side, index) in [("train", &train), ("val", &val)] {
        if index.tokens == 0 {
            return Err(Error::input(format!(
                "the corpus is too short to split: nothing is left for {side}; add text"
            )));
        }
    }
    let index = DatasetIndex {
        format: FORMAT,
        tokenizer: tokenizer.name().to_owned(),
        vocab_size: tokenizer.vocab_size(),
        eot: tokenizer.eot(),
        width,
        train,
        val,
        source: corpus.describe(config, &split, hub, counts.skipped, fingerprint),
    };
    tokenizer.save(&staging.dir().join(TOKENIZER_FILE))?;
    index.write(staging.dir())?;
    staging.commit()?;
    Ok(index)
}

/// A fingerprint of everything that decides what [`prepare`] writes: the inputs (the contents of
/// the first 64 MiB of files, of the others size and time of change; a Hub data set by its name),
/// the tokenizer, the split, the options. Equal to `source.fingerprint` in the index of a data set
/// that is current.
pub fn source_fingerprint(config: &PrepareConfig) -> Result<String> {
    let mut contents_left: u64 = 64 << 20;
    let mut hash = blake3::Hasher::new();
    let add = |hash: &mut blake3::Hasher, part: &[u8]| {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    let mut file = |hash: &mut blake3::Hasher, path: &Path| -> Result<()> {
        let io = |e| Error::io("read", path, e);
        let metadata = std::fs::metadata(path).map_err(io)?;
        add(hash, &metadata.len().to_le_bytes());
        if metadata.len() <= contents_left {
            contents_left -= metadata.len();
            let contents = std::fs::read(path).map_err(io)?;
            add(hash, blake3::hash(&contents).as_bytes());
        } else {
            let changed = metadata.modified().map_err(io)?;
            let since = changed
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap_or_default();
            add(hash, &since.as_nanos().to_le_bytes());
        }
        Ok(())
    };
    add(&mut hash, &FORMAT.to_le_bytes());
    add(&mut hash, config.tokenizer.to_string().as_bytes());
    if let TokenizerSpec::File(path) = &config.tokenizer {
        match path.is_dir() {
            true => file(&mut hash, &path.join(TOKENIZER_FILE))?,
            false => file(&mut hash, path)?,
        }
    }
    let options = json!([
        config.field,
        config.val_fraction,
        config.seed,
        config.tokens_per_shard,
        config.lossy,
        config.split,
        config.subset,
        config.revision
    ]);
    add(&mut hash, options.to_string().as_bytes());
    for input in readers::resolve(&config.inputs)? {
        match input {
            Input::Files(files) => {
                for source in files {
                    add(&mut hash, source.name.as_bytes());
                    file(&mut hash, &source.path)?;
                }
            }
            Input::Hub(id) => add(&mut hash, format!("{id:?}").as_bytes()),
        }
    }
    Ok(hash.finalize().to_hex()[..32].to_owned())
}

/// The files of a corpus, in the order of their documents.
struct Corpus {
    sources: Vec<Source>,
    options: ReadOptions,
    bytes: u64,
}

impl Corpus {
    /// Finds the files, fetching those on the Hub; with what the index says of the latter.
    fn open(config: &PrepareConfig, progress: &mut dyn Progress) -> Result<(Corpus, Vec<Value>)> {
        let (mut sources, mut hub) = (Vec::new(), Vec::new());
        for input in readers::resolve(&config.inputs)? {
            match input {
                Input::Files(files) => sources.extend(files),
                Input::Hub(id) => {
                    let fetched = fetch(&id, config, progress)?;
                    sources.extend(fetched.0);
                    hub.push(fetched.1);
                }
            }
        }
        let corpus = Corpus {
            bytes: sources.iter().map(|s| s.size).sum(),
            sources,
            options: ReadOptions {
                field: config.field.clone(),
                lossy: config.lossy,
                bytes_read: Arc::new(AtomicU64::new(0)),
            },
        };
        Ok((corpus, hub))
    }

    /// Streams every document into `sink`, from the start.
    fn read(&self, sink: &mut dyn Sink) -> Flow {
        self.options.bytes_read.store(0, Ordering::Relaxed);
        for source in &self.sources {
            readers::read(source, &self.options, sink)?;
        }
        Ok(())
    }

    fn bytes_read(&self) -> u64 {
        self.options.bytes_read.load(Ordering::Relaxed)
    }

    /// Reads as many documents as the split needs to know of.
    fn survey(&self, config: &PrepareConfig, progress: &mut dyn Progress) -> Result<Split> {
        let mut survey = Survey::new(config.val_fraction, config.seed);
        let mut look = |piece: Piece| {
            if progress.cancelled() {
                return Err(Stop::Failed(interrupted()));
            }
            survey.see(&piece)
        };
        let mut pieces = Pieces::new(super::tokenizer::Cuts::Anywhere, &mut look);
        let read = self.read(&mut pieces);
        let skipped = pieces.skipped();
        match read {
            Ok(()) | Err(Stop::Enough) => {}
            Err(Stop::Failed(e)) => return Err(e),
        }
        survey.split().ok_or_else(|| {
            let names: Vec<&str> = self
                .sources
                .iter()
                .map(|s| s.name.as_str())
                .take(3)
                .collect();
            let more = match self.sources.len() {
                n if n > 3 => format!(" and {} more files", n - 3),
                _ => String::new(),
            };
            Error::input(format!(
                "the corpus is empty: {}{more} {} no text{}",
                names.join(", "),
                if self.sources.len() == 1 {
                    "holds"
                } else {
                    "hold"
                },
                match skipped {
                    0 => String::new(),
                    n => format!(" ({n} documents are blank)"),
                }
            ))
        })
    }

    /// Makes the tokenizer from the documents that are trained on.
    fn train_tokenizer(
        &self,
        config: &PrepareConfig,
        split: &Split,
        progress: &mut dyn Progress,
    ) -> Result<Tokenizer> {
        progress.phase("learning the vocabulary", self.bytes);
        let size = match config.tokenizer {
            TokenizerSpec::Bpe(size) => Some(size),
            _ => None,
        };
        let cuts = match size {
            Some(_) => super::tokenizer::Cuts::AtWords,
            None => super::tokenizer::Cuts::Anywhere,
        };
        let mut sample = Sample::new(config.seed);
        let mut characters = CharacterSet::new();
        let mut look = |piece: Piece| {
            if progress.cancelled() {
                return Err(Stop::Failed(interrupted()));
            }
            progress.position(self.bytes_read());
            if !split.is_val(piece.document) {
                match size {
                    Some(_) => sample.add(piece.text),
                    None => characters.add(&piece.text),
                }
            }
            Ok(())
        };
        let mut pieces = Pieces::new(cuts, &mut look);
        match split.read(self, &mut pieces) {
            Ok(()) | Err(Stop::Enough) => {}
            Err(Stop::Failed(e)) => return Err(e),
        }
        let Some(size) = size else {
            return Ok(Tokenizer::train_chars(&characters.into_set()));
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(config.threads())
            .build()
            .map_err(Error::backend)?;
        pool.install(|| Tokenizer::train_bpe(&sample.into_texts(), size))
    }

    /// What the index remembers of where the text came from.
    fn describe(
        &self,
        config: &PrepareConfig,
        split: &Split,
        hub: Vec<Value>,
        skipped: u64,
        fingerprint: String,
    ) -> Value {
        const NAMED: usize = 1000;
        let files = self.sources.iter().take(NAMED);
        json!({
            "inputs": config.inputs,
            "tokenizer": config.tokenizer.to_string(),
            "field": config.field,
            "held_out": match split.is_by_position() {
                true => "the end of the only document",
                false => "documents",
            },
            "val_fraction": config.val_fraction,
            "seed": config.seed,
            "lossy": config.lossy,
            "files": files.map(|s| json!({"name": s.name, "bytes": s.size})).collect::<Vec<_>>(),
            "file_count": self.sources.len(),
            "blank_documents_skipped": skipped,
            "hub": hub,
            "fingerprint": fingerprint,
            "lehr": env!("CARGO_PKG_VERSION"),
        })
    }
}

#[cfg(feature = "hub")]
fn fetch(
    id: &readers::HubId,
    config: &PrepareConfig,
    progress: &mut dyn Progress,
) -> Result<(Vec<Source>, Value)> {
    let request = readers::hub::Request {
        id: &id.id,
        revision: id.revision.as_deref().or(config.revision.as_deref()),
        split: &config.split,
        subset: config.subset.as_deref(),
    };
    let mut tell = |message: &str| -> Result<()> {
        progress.note(message);
        match progress.cancelled() {
            true => Err(interrupted()),
            false => Ok(()),
        }
    };
    let fetched = readers::hub::fetch(&request, &mut tell)?;
    let origin = json!({"id": id.id, "revision": fetched.commit, "split": config.split});
    Ok((fetched.sources, origin))
}

#[cfg(not(feature = "hub"))]
fn fetch(
    id: &readers::HubId,
    _: &PrepareConfig,
    _: &mut dyn Progress,
) -> Result<(Vec<Source>, Value)> {
    Err(Error::input(format!(
        "{} would be a data set on the Hub, which this build cannot fetch: build lehr with \
         --features hub, or name a file",
        id.id
    )))
}

fn interrupted() -> Error {
    Error::Interrupted("interrupted; no data set was written".to_owned())
}
