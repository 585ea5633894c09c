//! `lehr sample`.

use crate::error::{Error, Result};
use crate::model::generate::{SamplingConfig, generate};
use crate::train::load::Loaded;
use serde_json::json;
use std::path::PathBuf;

/// Text from a model
#[derive(clap::Args)]
#[command(after_help = "Example:\n  lehr sample checkpoints/llama-wsd --prompt \"It is a truth\"")]
pub struct Args {
    /// A run, a checkpoint, or a Hugging Face directory
    dir: PathBuf,
    /// What the text goes on from; nothing starts a document
    #[arg(long, default_value = "")]
    prompt: String,
    #[arg(long, default_value_t = 200)]
    max_tokens: usize,
    /// 0 takes the likeliest token
    #[arg(long, default_value_t = 0.8, allow_negative_numbers = true)]
    temperature: f64,
    /// Draws from the likeliest K tokens; 0: from all
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Draws from the likeliest tokens that hold this share of the probability
    #[arg(long, value_name = "SHARE")]
    top_p: Option<f64>,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Goes on after the end of a document
    #[arg(long)]
    ignore_eot: bool,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    if !(args.temperature >= 0.0 && args.temperature.is_finite()) {
        return Err(Error::input(format!(
            "--temperature {}: it must be 0 or more",
            args.temperature
        )));
    }
    if args.top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
        return Err(Error::input("--top-p must lie above 0 and at most at 1"));
    }
    let loaded = Loaded::open(&args.dir)?;
    let tokenizer = loaded.tokenizer()?;
    let mut prompt = tokenizer.encode(&args.prompt)?;
    if prompt.is_empty() {
        prompt.extend(tokenizer.eot());
    }
    loaded.check_ids(&prompt)?;
    let sampling = SamplingConfig {
        temperature: args.temperature,
        top_k: args.top_k.filter(|&k| k > 0),
        top_p: args.top_p,
        seed: args.seed,
    };
    let stop = tokenizer.eot().filter(|_| !args.ignore_eot);
    let ids = generate(&loaded.model()?, &prompt, args.max_tokens, stop, &sampling)?;
    // A model's vocabulary may be padded beyond the tokenizer's.
    let known: Vec<u32> = ids
        .iter()
        .copied()
        .filter(|&id| (id as usize) < tokenizer.vocab_size())
        .collect();
    let text = tokenizer.decode(&known)?;
    if args.json {
        let value = json!({
            "prompt": args.prompt,
            "text": text,
            "prompt_tokens": prompt,
            "tokens": ids,
        });
        println!("{value:#}");
    } else {
        println!("{}{text}", args.prompt);
    }
    Ok(())
}
