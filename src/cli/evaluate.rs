//! `lehr evaluate`.

use super::format::thousands;
use crate::error::{Error, Result};
use crate::files;
use crate::model::hf::{self, Floats};
use crate::text::dataset::Dataset;
use crate::text::store::TokenStore;
use crate::train::config::Dtype;
use crate::train::device::DeviceKind;
use crate::train::evaluate::HeldOut;
use crate::train::load::{self, Loaded};
use crate::train::setup::check_same_tokenizer;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Held-out loss of a model on any text or tokens
///
/// Without --text, --data or --tokens: on the held-out split that the run was trained with.
/// The text is cut into windows of the model's length that do not overlap; each is predicted
/// from its own beginning. The loss is the mean over all predicted tokens.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  lehr evaluate checkpoints/llama-wsd --text data/austen.txt --sequences 64"
)]
pub struct Args {
    /// A run, a checkpoint, or a Hugging Face directory
    dir: PathBuf,
    /// UTF-8 text, tokenised with the model's tokenizer
    #[arg(long, value_name = "FILE", group = "what")]
    text: Option<PathBuf>,
    /// A prepared or nanoGPT directory; its held-out split is read
    #[arg(long, value_name = "DIR", group = "what")]
    data: Option<PathBuf>,
    /// Token ids
    #[arg(long, value_name = "ID,ID,…", value_delimiter = ',', group = "what")]
    tokens: Option<Vec<u32>>,
    /// With --tokens: writes their logits, f32 [tokens, vocabulary], as safetensors, and no more; on the processor
    #[arg(long, value_name = "FILE", requires = "tokens", conflicts_with_all = ["device", "dtype"])]
    logits: Option<PathBuf>,
    /// Windows evaluated, from the beginning; 0: all
    #[arg(long, default_value_t = 0)]
    sequences: usize,
    /// Tokens a window; the model's length if not given
    #[arg(long)]
    sequence_length: Option<usize>,
    /// Windows at a time
    #[arg(long, default_value_t = 8)]
    batch_size: usize,
    /// What it runs on; auto: the first NVIDIA GPU that can be used, or else the processor
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceKind,
    /// What products are computed in, as in training
    #[arg(long, value_name = "DTYPE", default_value_t)]
    dtype: Dtype,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let loaded = Loaded::open(&args.dir)?;
    let store = match (&args.text, &args.data, &args.tokens) {
        (Some(text), _, _) => text_store(text, &loaded)?,
        (_, Some(dir), _) => held_out_split(dir, &loaded)?,
        (_, _, Some(ids)) => {
            loaded.check_ids(ids)?;
            if let Some(path) = &args.logits {
                write_logits(path, ids, &loaded)?;
                println!("{} written", path.display());
                return Ok(());
            }
            ids_store(ids)?
        }
        _ => match load::dataset_of(&loaded.dir)? {
            Some(dir) => held_out_split(&dir, &loaded)?,
            None => {
                return Err(Error::input(
                    "nothing to evaluate; give --text FILE, --data DIR or --tokens ID,ID,…",
                ));
            }
        },
    };
    if args.batch_size == 0 {
        return Err(Error::input("--batch-size 0: it must be at least 1"));
    }
    let longest = loaded.config.max_positions;
    let wanted = args.sequence_length.unwrap_or(longest);
    if wanted > longest {
        return Err(Error::input(format!(
            "--sequence-length {wanted}: the model takes at most {longest} tokens"
        )));
    }
    // Text shorter than one window is one shorter window.
    let window = wanted.min(store.len().saturating_sub(1).max(1) as usize);
    let token_bytes = loaded.tokenizer.as_ref().map(|t| t.token_bytes());
    let held_out = HeldOut::new(store, window, args.batch_size, args.sequences, token_bytes)?;
    let (mut device, mut dtype) = (args.device, args.dtype);
    let device_chosen = device.resolve();
    for notice in device_chosen.into_iter().chain(dtype.resolve(device)) {
        eprintln!("note  {notice}");
    }
    let mut engine = device.engine(&loaded.config, loaded.params, dtype, false)?;
    let found = held_out.evaluate(&mut engine)?;
    if args.json {
        let value = json!({
            "loss": found.loss,
            "bits_per_byte": found.bits_per_byte,
            "perplexity": found.loss.exp(),
            "tokens": found.tokens,
            "sequence_length": window,
        });
        println!("{value:#}");
    } else {
        println!("loss           {:.4} nats a token", found.loss);
        if let Some(bits) = found.bits_per_byte {
            println!("bits per byte  {bits:.4}");
        }
        println!("perplexity     {:.2}", found.loss.exp());
        println!(
            "tokens         {} in windows of {}",
            thousands(found.tokens),
            thousands(window as u64)
        );
    }
    Ok(())
}

fn held_out_split(dir: &Path, loaded: &Loaded) -> Result<Arc<TokenStore>> {
    let dataset = Dataset::open(dir)?;
    if let (Some(of_model), Some(of_data)) = (&loaded.tokenizer, dataset.tokenizer()?) {
        check_same_tokenizer((&loaded.dir, of_model), (dir, &of_data))?;
    }
    dataset.check_vocab(loaded.config.vocab_size)?;
    Ok(dataset.val().clone())
}

fn text_store(path: &Path, loaded: &Loaded) -> Result<Arc<TokenStore>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        Error::input(format!(
            "{} is not UTF-8 text (byte {})",
            path.display(),
            e.utf8_error().valid_up_to()
        ))
    })?;
    let ids = loaded.tokenizer()?.encode(&text)?;
    loaded.check_ids(&ids)?;
    if ids.len() < 2 {
        return Err(Error::input(format!(
            "{} holds {} tokens, and a loss needs at least 2",
            path.display(),
            ids.len()
        )));
    }
    ids_store(&ids)
}

fn ids_store(ids: &[u32]) -> Result<Arc<TokenStore>> {
    if ids.len() < 2 {
        return Err(Error::input("a loss needs at least 2 tokens"));
    }
    Ok(Arc::new(TokenStore::from_ids(ids)?))
}

fn write_logits(path: &Path, ids: &[u32], loaded: &Loaded) -> Result<()> {
    let longest = loaded.config.max_positions;
    if ids.len() > longest {
        return Err(Error::input(format!(
            "--logits takes at most {longest} tokens with this model, and {} were given",
            ids.len()
        )));
    }
    let logits_tv = loaded
        .model()?
        .logits(ids, 1)?
        .flatten_all()
        .and_then(|logits| logits.to_vec1())
        .map_err(Error::backend)?;
    let aside = files::aside(path);
    let logits = Floats {
        shape: &[ids.len(), loaded.config.vocab_size],
        values: &logits_tv,
    };
    hf::write_tensors(&aside, vec![("logits".into(), logits)])?;
    files::rename(&aside, path)
}
