//! `lehr resume`.

use super::prepare::Watcher;
use crate::error::Result;
use crate::train::device::DeviceKind;
use crate::train::run::Run;
use std::path::PathBuf;

/// Go on with a run at its newest whole checkpoint
///
/// The resumed run ends with the same bits as one that was never interrupted, unless it is moved to another device.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  lehr resume checkpoints/llama-wsd\n  lehr resume checkpoints/llama-wsd --device cuda"
)]
pub struct Args {
    /// The run's directory
    dir: PathBuf,
    /// The device it moves to [default: the one it was on]; auto: the first NVIDIA GPU that can be used, or else the processor
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceKind>,
}

pub fn run(args: Args) -> Result<()> {
    let mut progress = Watcher::new()?;
    let run = Run::resume(&args.dir, args.device, &mut progress)?;
    if run.is_finished() {
        eprintln!("nothing left to do: {} is finished", args.dir.display());
        return Ok(());
    }
    super::train::train(run).map(drop)
}
