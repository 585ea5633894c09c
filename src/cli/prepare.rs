//! `lehr prepare`.

use super::format::thousands;
use super::signal;
use crate::error::Result;
use crate::text::dataset::DatasetIndex;
use crate::text::prepare::{self, PrepareConfig, Progress};
use crate::text::shards::SplitIndex;
use crate::text::tokenizer::TokenizerSpec;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Turn text into token shards that `lehr train` reads.
///
/// Inputs are text files (a file is a document, or several separated by <|endoftext|>), JSON
/// Lines and Parquet files, the former two also as .gz or .zst, folders and quoted globs of
/// them, and Hugging Face data sets as owner/name or owner/name@revision.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  lehr prepare data/austen.txt --tokenizer bpe-4096 --out data/austen-bpe"
)]
pub struct Args {
    /// Files, folders, quoted globs, or Hub data sets (owner/name[@revision])
    #[arg(required = true)]
    input: Vec<String>,
    /// char, bpe-N (trained on the corpus), gpt2, or the path of a tokenizer.json
    #[arg(long, default_value = "bpe-4096")]
    tokenizer: String,
    /// Directory that becomes the data set
    #[arg(long)]
    out: PathBuf,
    /// JSON key or Parquet column that holds the text
    #[arg(long, default_value = "text")]
    field: String,
    /// Share of the documents that is held out for validation
    #[arg(long, default_value_t = 0.05)]
    val_fraction: f64,
    /// Chooses the held-out documents
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Tokens in a shard file
    #[arg(long, default_value_t = 100_000_000)]
    tokens_per_shard: u64,
    /// Hub: the split to take
    #[arg(long, value_name = "NAME", default_value = "train")]
    split: String,
    /// Hub: the folder to take, where a data set has several
    #[arg(long, value_name = "FOLDER")]
    subset: Option<String>,
    /// Hub: branch, tag or commit
    #[arg(long)]
    revision: Option<String>,
    /// Replace a data set that is already there
    #[arg(long)]
    overwrite: bool,
    /// Threads that encode [default: one a core]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    threads: usize,
    /// Replace bytes that are no UTF-8 by U+FFFD instead of refusing the file
    #[arg(long)]
    lossy: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let tokenizer: TokenizerSpec = args.tokenizer.parse()?;
    let config = PrepareConfig {
        inputs: args.input,
        tokenizer,
        out: args.out,
        field: args.field,
        val_fraction: args.val_fraction,
        seed: args.seed,
        tokens_per_shard: args.tokens_per_shard,
        split: args.split,
        subset: args.subset,
        revision: args.revision,
        overwrite: args.overwrite,
        threads: args.threads,
        lossy: args.lossy,
    };
    let mut watcher = Watcher::new()?;
    let began = Instant::now();
    let index = prepare::prepare(&config, &mut watcher);
    watcher.finish();
    let index = index?;
    let seconds = began.elapsed().as_secs_f64();
    if args.json {
        println!("{}", summary(&config, &index, seconds));
    } else {
        print(&config, &index, seconds);
    }
    Ok(())
}

fn summary(config: &PrepareConfig, index: &DatasetIndex, seconds: f64) -> serde_json::Value {
    let side = |split: &SplitIndex| {
        serde_json::json!({
            "documents": split.documents, "tokens": split.tokens, "bytes": split.bytes,
            "shards": split.shards.len()
        })
    };
    serde_json::json!({
        "out": config.out, "tokenizer": index.tokenizer, "vocab_size": index.vocab_size,
        "train": side(&index.train), "val": side(&index.val), "seconds": seconds
    })
}

fn print(config: &PrepareConfig, index: &DatasetIndex, seconds: f64) {
    let bytes = index.train.bytes + index.val.bytes;
    println!(
        "data  {}   {}, {} ids   {:.1} s, {:.1} MB/s",
        config.out.display(),
        index.tokenizer,
        thousands(index.vocab_size as u64),
        seconds,
        bytes as f64 / 1e6 / seconds.max(1e-9)
    );
    for (name, split) in [("train", &index.train), ("val", &index.val)] {
        println!(
            "{name:<5} {:>15} tokens  {:>11} documents  {:.2} bytes a token",
            thousands(split.tokens),
            thousands(split.documents),
            split.bytes as f64 / split.tokens as f64
        );
    }
    let lehr = super::invocation();
    println!("next  {lehr} train --data {}", config.out.display());
}

/// A bar on a terminal, a line every ten seconds elsewhere; both on stderr.
pub struct Watcher {
    stop: &'static AtomicBool,
    bar: Option<ProgressBar>,
    phase: String,
    total: u64,
    began: Instant,
    last_line: Instant,
}

impl Watcher {
    pub fn new() -> Result<Watcher> {
        let stop = signal::stop_flag()?;
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = "{msg:<24} {wide_bar} {bytes:>10}/{total_bytes} {bytes_per_sec} eta {eta}";
            let style = ProgressStyle::with_template(style).expect("a constant template");
            ProgressBar::new(0).with_style(style)
        });
        Ok(Watcher {
            stop,
            bar,
            phase: String::new(),
            total: 0,
            began: Instant::now(),
            last_line: Instant::now(),
        })
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Watcher {
    fn phase(&mut self, what: &str, total: u64) {
        (self.phase, self.total) = (what.to_owned(), total);
        (self.began, self.last_line) = (Instant::now(), Instant::now());
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_length(total);
            bar.set_message(what.to_owned());
        }
    }

    fn position(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        } else if self.last_line.elapsed() > Duration::from_secs(10) {
            self.last_line = Instant::now();
            let seconds = self.began.elapsed().as_secs_f64();
            eprintln!(
                "{} {:.0} %, {:.1} MB/s",
                self.phase,
                100.0 * bytes as f64 / self.total.max(1) as f64,
                bytes as f64 / 1e6 / seconds
            );
        }
    }

    fn note(&mut self, message: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{message}")),
            None => eprintln!("{message}"),
        }
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
