//! One file a verb: arguments in, one call, words out.

use crate::error::{Error, Result};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod average;
mod bench;
mod bound;
mod compare;
mod cooldown;
mod design;
mod evaluate;
mod export;
mod fit;
mod flops;
mod format;
mod loop_;
mod picture;
mod predict;
mod prepare;
mod progress;
mod report;
mod resume;
mod sample;
mod scaling;
mod schedule;
mod search;
mod signal;
mod suite;
mod train;
mod watch;

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
    Train(train::Args),
    Resume(resume::Args),
    Cooldown(cooldown::Args),
    Suite(suite::Args),
    Evaluate(evaluate::Args),
    Sample(sample::Args),
    Prepare(prepare::Args),
    Average(average::Args),
    Export(export::Args),
    Scaling(scaling::Args),
    Schedule(schedule::Args),
    Search(search::Args),
    Fit(fit::Args),
    Predict(predict::Args),
    Design(design::Args),
    Loop(loop_::Args),
    Compare(compare::Args),
    Bound(bound::Args),
    Flops(flops::Args),
    Report(report::Args),
    Watch(watch::Args),
    Bench(bench::Args),
}

/// Parses the command line, runs the verb, and reports an error as one sentence on stderr.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let asked = crate::kernels::cpu::asked().map_err(Error::input);
    match asked.and_then(|_| run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            match &e {
                // What the user asked for is no error, but no success either.
                Error::Interrupted(what) | Error::Ended(what) if what.is_empty() => {}
                Error::Interrupted(what) => eprintln!("{what}"),
                e => eprintln!("error: {e}"),
            }
            ExitCode::from(e.exit_code())
        }
    }
}

/// How this program was started, for the lines that say what to type next.
fn invocation() -> String {
    if std::env::var_os("CARGO").is_some() {
        return "cargo run --release --".to_string();
    }
    let typed = std::env::args().next();
    typed.unwrap_or_else(|| "lehr".to_string())
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Train(args) => train::run(args),
        Command::Resume(args) => resume::run(args),
        Command::Cooldown(args) => cooldown::run(args),
        Command::Suite(args) => suite::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Sample(args) => sample::run(args),
        Command::Prepare(args) => prepare::run(args),
        Command::Average(args) => average::run(args),
        Command::Export(args) => export::run(args),
        Command::Scaling(args) => scaling::run(args),
        Command::Schedule(args) => schedule::run(args),
        Command::Search(args) => search::run(args),
        Command::Fit(args) => fit::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Design(args) => design::run(args),
        Command::Loop(args) => loop_::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Bound(args) => bound::run(args),
        Command::Flops(args) => flops::run(args),
        Command::Report(args) => report::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Bench(args) => bench::run(args),
    }
}
