//! `lehr bound`: what convex theory says of a schedule, and the schedule that it would have.

mod answer;
mod extend;
mod preset;

use super::fit::table::short;
use super::format::thousands;
use super::picture::{PictureFlags, print};
use crate::design::bound::study::Problem;
use crate::design::bound::{Convention, GradNorms, Iterate, Spec};
use crate::error::{Error, Result};
use crate::report::{Chart, chart::letter};
use std::path::PathBuf;

/// The convex bound of a schedule, its best base LR, and the schedule with the least bound
///
/// SGD on a convex function, started D from the optimum, with gradients of norm G: after the run the loss is
/// at most Ω above the optimum's (Theorem 10 of arXiv 2310.07831). Ω = T1/γ + γ·T2 at the base LR γ, so
/// γ* = √(T1/T2) is best and gives Ω* = 2·√(T1·T2). It needs the schedule alone; only its ratios carry over to
/// language models (arXiv 2501.18965).
#[derive(clap::Args)]
#[command(after_help = "\
Schedules are written as for lehr schedule. With --convention schaipp they are
those of the package of arXiv 2501.18965:
  constant       linear          1-sqrt
  cosine         final=0
  wsd            fraction=0.2  decay=linear|sqrt  final=0
  poly           alpha=1  fraction=0  decay=linear|sqrt  final=0
  inverse-sqrt   fraction=0  decay=linear|sqrt  final=0
  poly-backward  alpha=1  final=0
  piecewise      at=300/600 (steps)  factor=0.5/0.5  fraction=0
Gradient norms:
  1              the same at every step
  param:g1=1,a1=-0.01,g2=0,a2=0,b=0.5     g1·e^(a1·t) + g2·t^a2 + b
  table:FILE     one a line, or a column grad_norm; with a column step too,
                 steps may be missing
  run:DIR        as a run logged them
Presets (grad-norm-shape brings its own norms, convex-example its own problem):
  cooldown-length  lr-transfer  horizon-transfer  cosine-cycle  wsd-detail
  grad-norm-shape  multiple-horizon  schedule-comparison  ablation  optimal
  convex-example

Examples:
  lehr bound wsd:fraction=0.2 --steps 4000 --against cosine,linear --optimal
  lehr bound wsd:fraction=0.2 --steps 4000 --extend 8000 --out next.csv
  lehr bound --preset lr-transfer --svg transfer.svg")]
pub struct Args {
    /// The schedule, name:key=value,…
    #[arg(
        value_name = "SPEC",
        required_unless_present = "preset",
        conflicts_with = "preset"
    )]
    spec: Option<String>,
    /// Steps of the run
    #[arg(
        long,
        visible_alias = "iterations",
        value_name = "T",
        required_unless_present = "preset",
        conflicts_with = "preset"
    )]
    steps: Option<usize>,
    /// Warm-up of all schedules but tables: 300 (steps), 0.05 or 5% (of the run)
    #[arg(
        long,
        default_value = "0",
        value_name = "LENGTH",
        conflicts_with = "preset"
    )]
    warmup: String,
    /// Whose formulas schedules are read by
    #[arg(long, value_enum, default_value = "lehr", conflicts_with = "preset")]
    convention: ConventionFlag,
    /// The bound on the last iterate or on the best one [default: last]
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    iterate: Option<IterateFlag>,
    /// D, from the start to the optimum [default: 1]
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    distance: Option<f64>,
    /// G of every step: a number, param:…, table:FILE or run:DIR [default: 1]
    #[arg(long, value_name = "G", allow_negative_numbers = true)]
    grad_norm: Option<String>,
    /// Other schedules beside it
    #[arg(long, value_name = "SPEC,…", conflicts_with = "preset")]
    against: Vec<String>,
    /// With the schedule whose bound is the least
    #[arg(long, conflicts_with = "preset")]
    optimal: bool,
    /// Ways to go on to so many steps, at the base LR that is best for --steps
    #[arg(long, value_name = "T2", conflicts_with = "preset")]
    extend: Option<usize>,
    /// Steps that an extension keeps [default: to the last one at the highest LR]
    #[arg(long, value_name = "STEPS", requires = "extend")]
    prefix: Option<usize>,
    /// With Ω along the run, at the best base LR
    #[arg(long, conflicts_with = "preset")]
    curve: bool,
    /// Run an experiment of arXiv 2501.18965's package
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Write the schedule with the least bound (with --extend, the best way on) for table:FILE
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    out: Option<PathBuf>,
    /// Highest LR of what --out writes [default: 1]
    #[arg(long, value_name = "PEAK", allow_negative_numbers = true)]
    peak_lr: Option<f64>,
    #[command(flatten)]
    pictures: PictureFlags,
    /// Leave the picture in the terminal out
    #[arg(long)]
    no_plot: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum ConventionFlag {
    /// As lehr trains
    Lehr,
    /// As the package of arXiv 2501.18965 does
    Schaipp,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum IterateFlag {
    /// The last iterate
    Last,
    /// The best iterate, an older bound that no cooldown improves
    Min,
}

/// A longer run would take minutes for its curve.
const MOST_STEPS: usize = 20_000_000;

pub fn run(args: Args) -> Result<()> {
    let problem = problem(&args)?;
    let said = match (&args.preset, &args.spec, args.steps) {
        (Some(name), _, _) => preset::run(name, &problem, &args)?,
        (None, Some(spec), Some(steps)) => answer::run(spec, steps, problem, &args)?,
        // clap has asked for both.
        _ => return Err(Error::input("give a schedule and --steps, or --preset")),
    };
    print(&said)
}

fn problem(args: &Args) -> Result<Problem> {
    for (flag, value) in [("--distance", args.distance), ("--peak-lr", args.peak_lr)] {
        if let Some(value) = value.filter(|value| !(1e-100..1e100).contains(value)) {
            return Err(Error::input(format!(
                "{flag} {value}: it must be a positive number"
            )));
        }
    }
    nothing_unheard(args)?;
    Ok(Problem {
        iterate: match args.iterate {
            None | Some(IterateFlag::Last) => Iterate::Last,
            Some(IterateFlag::Min) => Iterate::Min,
        },
        distance: args.distance.unwrap_or(1.0),
        norms: GradNorms::parse(args.grad_norm.as_deref().unwrap_or("1"))?,
    })
}

/// # Errors
/// A flag that would change nothing.
fn nothing_unheard(args: &Args) -> Result<()> {
    if args.peak_lr.is_some() && args.out.is_none() {
        return Err(Error::input(match args.preset {
            Some(_) => {
                "--peak-lr is about what --out writes, and a preset writes nothing: leave it out"
            }
            None => "--peak-lr is about what --out writes: give --out FILE too, or leave it out",
        }));
    }
    let own: &[&str] = match args.preset.as_deref() {
        Some("convex-example") => &["--distance", "--type", "--grad-norm"],
        Some("grad-norm-shape") => &["--grad-norm"],
        _ => &[],
    };
    let given = [
        ("--distance", args.distance.is_some()),
        ("--type", args.iterate.is_some()),
        ("--grad-norm", args.grad_norm.is_some()),
    ];
    let unheard = given
        .iter()
        .find(|(flag, given)| *given && own.contains(flag));
    match (unheard, &args.preset) {
        (Some((flag, _)), Some(preset)) => Err(Error::input(format!(
            "the preset {preset} brings its own problem: leave {flag} out"
        ))),
        _ => Ok(()),
    }
}

fn spec(text: &str, args: &Args) -> Result<Spec> {
    let convention = match args.convention {
        ConventionFlag::Lehr => Convention::Lehr,
        ConventionFlag::Schaipp => Convention::Schaipp,
    };
    Spec::parse(text, convention)
}

/// What can be bounded in reasonable time.
fn within_reach(flag: &str, steps: usize) -> Result<()> {
    match steps > MOST_STEPS {
        true => Err(Error::input(format!(
            "{flag} {steps}: bounds go up to {} steps",
            thousands(MOST_STEPS as u64)
        ))),
        false => Ok(()),
    }
}

/// Unit LRs, within what can be bounded in reasonable time.
fn unit_lrs(spec: &Spec, flag: &str, steps: usize, args: &Args) -> Result<Vec<f64>> {
    within_reach(flag, steps)?;
    spec.lrs(steps, args.warmup.parse()?)
}

fn highest(lrs: &[f64]) -> f64 {
    lrs.iter().copied().fold(0.0, f64::max)
}

/// What the letters of a picture in the terminal are; nothing where there is one alone.
fn legend(chart: &Chart) -> String {
    let entries = chart.legend.iter().filter(|_| chart.legend.len() > 1);
    entries
        .map(|entry| format!("{:>12}  {}\n", letter(entry.key), short(&entry.text, 64)))
        .collect()
}
