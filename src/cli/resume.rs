//! `lehr resume`.

use super::prepare::Watcher;
use crate::error::Result;
use crate::train::run::Run;
use std::path::PathBuf;

/// Go on with a run at its newest whole checkpoint
///
/// The resumed run ends with the same bits as one that was never interrupted.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  lehr resume checkpoints/llama-wsd")]
pub struct Args {
    /// The run's directory
    dir: PathBuf,
}

pub fn run(args: Args) -> Result<()> {
    let mut progress = Watcher::new()?;
    let run = Run::resume(&args.dir, &mut progress)?;
    if run.is_finished() {
        eprintln!("nothing left to do: {} is finished", args.dir.display());
        return Ok(());
    }
    super::train::train(run).map(drop)
}
