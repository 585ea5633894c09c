//! `lehr export`.

use crate::error::{Error, Result};
use crate::train::export;
use crate::train::load::Loaded;
use std::path::PathBuf;

/// Write a checkpoint as a directory that transformers loads
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  lehr export checkpoints/llama-wsd/step-00000500 --out exported"
)]
pub struct Args {
    /// A run, a checkpoint, or a Hugging Face directory
    dir: PathBuf,
    /// The directory to write; it must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: Args) -> Result<()> {
    if args.out.exists() {
        return Err(Error::input(format!(
            "--out {} exists already; name a directory that does not",
            args.out.display()
        )));
    }
    let loaded = Loaded::open(&args.dir)?;
    export::write(
        &args.out,
        &loaded.config,
        &loaded.params,
        loaded.tokenizer.as_ref(),
    )?;
    println!(
        "{} written from {}",
        args.out.display(),
        loaded.dir.display()
    );
    Ok(())
}
