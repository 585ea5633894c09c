//! One file a verb: arguments in, one call, words out.

use crate::error::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod prepare;
mod schedule;

/// An LLM pretraining harness that knows the laws its own learning-rate schedule obeys.
#[derive(Parser)]
#[command(name = "lehr", version, max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "one of these is parsed, once")]
enum Command {
    Prepare(prepare::Args),
    Schedule(schedule::Args),
}

/// Parses the command line, runs the verb, and reports an error as one sentence on stderr.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(e.exit_code())
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Prepare(args) => prepare::run(args),
        Command::Schedule(args) => schedule::run(args),
    }
}
