//! `lehr scaling`: compute-optimal sizes from trained models, and what to train next.

use super::picture::{PictureFlags, print};
use crate::error::{Error, Result};
use crate::report::{scaling as picture, terminal};
use crate::scaling::bootstrap;
use crate::scaling::compare::{Comparison, Request, compare};
use crate::scaling::parametric::FitOptions;
use clap::ValueEnum;
use std::path::PathBuf;

mod allocate;
mod input;
mod json;
mod table;

use input::Input;

/// Fit compute-optimal scaling by Chinchilla's three approaches
///
/// FILE is a table (CSV or JSON) of trained models with two or three of parameters, tokens and FLOPs, and the
/// final loss; or the directory of a suite; or directories of runs, whose held-out curves make the envelope. Every
/// approach stands in one table with its interval and its error on the largest budgets when these are held out.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Approaches:
  envelope    the lowest training curve at each budget
  isoflop     minima over sizes at equal compute: argmin, parabola, spline
  parametric  L(N, D) = E + A/N^alpha + B/D^beta

Examples:
  lehr scaling runs.csv --at 1e21,1e22 --png scaling.png
  lehr scaling runs.csv --approach parametric --json
  lehr scaling allocate runs.csv --flops 1e19"
)]
pub struct Args {
    #[command(subcommand)]
    next: Option<Next>,
    #[command(flatten)]
    fit: FitFlags,
    /// What to fit
    #[arg(long, value_enum, default_value_t = Approach::All, value_name = "NAME")]
    approach: Approach,
    /// FLOPs at which N and D are wanted [default: 10 and 100 times the largest budget]
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "C,…",
        allow_negative_numbers = true
    )]
    at: Vec<f64>,
    #[command(flatten)]
    pictures: PictureFlags,
    /// Leave the picture in the terminal out
    #[arg(long)]
    no_plot: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum Next {
    Allocate(allocate::Args),
}

/// What a fit needs, whatever becomes of it.
#[derive(clap::Args)]
pub(super) struct FitFlags {
    /// Trained models: a table, a suite's directory, or directories of runs
    #[arg(required = true, value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// Use only the models of this kind, where the table has a column kind
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Which column holds params, tokens, flops or loss, where its name does not say so
    #[arg(long, value_delimiter = ',', value_name = "WHAT=NAME,…")]
    columns: Vec<String>,
    /// Tokens a step, where the table has a column step in place of tokens
    #[arg(long, value_name = "N")]
    tokens_per_step: Option<f64>,
    /// Resamples for the intervals; 0 for none
    #[arg(long, default_value_t = bootstrap::RESAMPLES, value_name = "N")]
    bootstrap: usize,
    /// Level of the intervals
    #[arg(long, default_value_t = 0.95, value_name = "SHARE")]
    level: f64,
    /// Of the resamples
    #[arg(long, default_value_t = bootstrap::SEED, value_name = "S")]
    seed: u64,
    /// Huber's delta, in ln L
    #[arg(long, default_value_t = FitOptions::default().delta, value_name = "D")]
    delta: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Approach {
    Envelope,
    Isoflop,
    Parametric,
    All,
}

/// More resamples fill the memory.
const MOST_RESAMPLES: usize = 1_000_000;
/// The budgets at which N and D are told unless the user names some: times the largest seen.
const BEYOND: [f64; 2] = [10.0, 100.0];

pub fn run(args: Args) -> Result<()> {
    if let Some(Next::Allocate(args)) = args.next {
        return allocate::run(args);
    }
    args.fit.check()?;
    if let Some(bad) = args.at.iter().find(|c| !(c.is_finite() && **c > 0.0)) {
        return Err(Error::input(format!(
            "--at {bad}: give FLOPs above 0, such as 1e21"
        )));
    }
    let input = Input::read(&args.fit)?;
    let request = args.request(&input);
    let found = compare(&input.points, input.curves.as_deref(), &request);
    alone(args.approach, &found)?;
    let title = format!("Compute-optimal sizes, {}", input.name);
    let chart = picture::chart(title, &input.points, &found, &request.at);
    let written = args.pictures.write(&chart)?;
    if args.json {
        return print(&format!("{:#}\n", json::object(&input, &found, &request)));
    }
    let mut out = table::words(&input, &found, &request);
    if !args.no_plot {
        out.push('\n');
        out.push_str(&terminal::draw(&chart, terminal::colour_wanted()));
    }
    out.push_str(&written);
    print(&out)
}

impl FitFlags {
    fn check(&self) -> Result<()> {
        if self.bootstrap > MOST_RESAMPLES {
            return Err(Error::input(format!(
                "--bootstrap {}: at most {MOST_RESAMPLES} resamples",
                self.bootstrap
            )));
        }
        if !(self.delta > 0.0 && self.delta.is_finite()) {
            return Err(Error::input(format!(
                "--delta {}: give a number above 0, such as 1e-3",
                self.delta
            )));
        }
        if !(self.level > 0.0 && self.level < 1.0) {
            return Err(Error::input(format!(
                "--level {}: give a share between 0 and 1, such as 0.95",
                self.level
            )));
        }
        Ok(())
    }

    fn options(&self) -> FitOptions {
        FitOptions { delta: self.delta }
    }
}

impl Args {
    fn request(&self, input: &Input) -> Request {
        let asked = |approach| self.approach == approach || self.approach == Approach::All;
        let largest = input.points.iter().map(|p| p.flops).fold(0.0, f64::max);
        Request {
            envelope: asked(Approach::Envelope),
            isoflop: asked(Approach::Isoflop),
            parametric: asked(Approach::Parametric),
            resamples: self.fit.bootstrap,
            level: self.fit.level,
            seed: self.fit.seed,
            at: match self.at.is_empty() {
                true => BEYOND.map(|times| times * largest).to_vec(),
                false => self.at.clone(),
            },
            options: self.fit.options(),
        }
    }
}

/// An approach that was asked for by name and cannot be is an error, and so is none at all.
fn alone(approach: Approach, found: &Comparison) -> Result<()> {
    let why: Vec<&String> = [
        found.isoflop.as_ref().and_then(|r| r.as_ref().err()),
        found.envelope.as_ref().and_then(|r| r.as_ref().err()),
        found.parametric.as_ref().and_then(|r| r.as_ref().err()),
    ]
    .into_iter()
    .flatten()
    .collect();
    // A law without an optimum has no row, and is worth its constants.
    let nothing = found.rows.is_empty() && !matches!(found.parametric, Some(Ok(_)));
    match (approach, nothing) {
        (_, false) => Ok(()),
        // What keeps the parametric law from these data keeps everything.
        (Approach::All, true) => Err(Error::input(why.last().map_or("nothing to fit", |w| w))),
        (_, true) => Err(Error::input(why.first().map_or("nothing to fit", |w| w))),
    }
}
