//! `lehr average`.

use super::format::thousands;
use crate::error::{Error, Result};
use crate::train::average;
use crate::train::average::saved::{Chosen, Steps, Which};
use serde_json::json;
use std::path::PathBuf;

/// Average saved weights of a run after the fact
///
/// Takes the checkpoints in a range of steps, or the last windows of a run that was trained with
/// --weight-average, averages them in f64, and writes a directory that lehr and transformers load.
/// Along a constant learning rate the average of late weights does better than the weights
/// themselves, though not quite what a cooldown does; --evaluate shows by how much. A run keeps all
/// of its checkpoints with --keep-last 0.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  lehr average checkpoints/llama-wsd --steps 1200..1500 --evaluate"
)]
pub struct Args {
    /// A run
    run: PathBuf,
    /// The first and the last step whose checkpoints are averaged
    #[arg(
        long,
        value_name = "A..B",
        group = "what",
        required_unless_present = "windows"
    )]
    steps: Option<String>,
    /// Averages the last N finished windows instead
    #[arg(long, value_name = "N", group = "what")]
    windows: Option<u64>,
    /// With --steps: only checkpoints at multiples of K
    #[arg(long, value_name = "K", requires = "steps")]
    every: Option<u64>,
    /// Weighs exponentially, the newest most: every model takes 1 - DECAY of the average
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    ema: Option<f64>,
    /// The directory to write, which must not exist; in the run's averages/ if not given
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Evaluates the average, and the last model in it, as the run evaluates
    #[arg(long)]
    evaluate: bool,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    if let Some(decay) = args.ema
        && !(decay > 0.0 && decay < 1.0)
    {
        return Err(Error::input(format!(
            "--ema {decay}: it must lie between 0 and 1, such as 0.9"
        )));
    }
    let which = match (&args.steps, args.windows) {
        (Some(steps), _) => Which::Steps {
            steps: steps.parse::<Steps>()?,
            every: args.every.unwrap_or(1),
        },
        (None, count) => Which::Windows(count.unwrap_or(1)),
    };
    if let Some(out) = args.out.as_ref().filter(|out| out.exists()) {
        return Err(Error::input(format!(
            "--out {} exists already; name a directory that does not",
            out.display()
        )));
    }
    let chosen = Chosen::find(&args.run, which)?;
    let found = chosen.average(args.ema)?;
    let losses = match args.evaluate {
        true => Some(chosen.evaluate(&found)?),
        false => None,
    };
    let out = args.out.unwrap_or_else(|| chosen.default_out(args.ema));
    average::write(
        &out,
        &found.config,
        &found.params,
        found.tokenizer.as_ref(),
        &chosen.origin(args.ema),
    )?;
    let steps = chosen.steps();
    let (first, last) = (steps[0], steps[steps.len() - 1]);
    if args.json {
        let of = |get: fn(&average::saved::Losses) -> Option<f64>| losses.as_ref().and_then(get);
        let value = json!({
            "out": out,
            "kind": if args.windows.is_some() { "windows" } else { "checkpoints" },
            "steps": steps,
            "decay": args.ema,
            "parameters": found.params.elements(),
            "loss": of(|l| Some(l.0.loss)),
            "bits_per_byte": of(|l| l.0.bits_per_byte),
            "tokens": losses.as_ref().map(|l| l.0.tokens),
            "last_loss": of(|l| Some(l.1.loss)),
            "last_bits_per_byte": of(|l| l.1.bits_per_byte),
        });
        println!("{value:#}");
        return Ok(());
    }
    let (one, many) = match which {
        Which::Steps { .. } => ("checkpoint", "checkpoints"),
        Which::Windows(_) => ("window", "windows"),
    };
    match steps.len() {
        1 => println!("average  1 {one}, of step {}", thousands(first)),
        n => println!(
            "average  {n} {many}, of steps {} to {}",
            thousands(first),
            thousands(last)
        ),
    }
    if !chosen.evenly_spaced() {
        let listed: Vec<String> = steps.iter().map(u64::to_string).collect();
        let listed = listed.join(", ");
        println!("note     they are not evenly spaced ({listed}), and each counts as much");
    }
    if let Some((average, of_last)) = losses {
        let bits = |b: Option<f64>| b.map_or(String::new(), |b| format!(" ({b:.4} bits a byte)"));
        println!(
            "loss     {:.4} nats a token{}",
            average.loss,
            bits(average.bits_per_byte)
        );
        println!(
            "alone    {:.4} nats a token{}, the last of them",
            of_last.loss,
            bits(of_last.bits_per_byte)
        );
    }
    println!("written  {}", out.display());
    let verb = match found.tokenizer {
        Some(_) => "sample",
        None => "evaluate",
    };
    println!("next     {} {verb} {}", super::invocation(), out.display());
    Ok(())
}
