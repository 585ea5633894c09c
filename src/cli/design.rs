//! `lehr design`: the schedule that a law would train with.

mod input;
mod json;
mod picture;
mod table;
pub mod train;

use super::picture::{PictureFlags, print};
use crate::design::{Among, Judged, Limits, file};
use crate::error::Result;
use crate::report::terminal;
use input::{Start, Under};
use std::path::PathBuf;

/// Design the schedule that a law predicts the lowest final loss for
///
/// Searches among all schedules that never rise after the warm-up, by the law's own gradient, and holds the result
/// against cosine, linear, WSD and 811 under the same law. Laws can be exploited: no step falls faster than the trust
/// rule allows, and a gain that the fit cannot vouch for is called that. The result trains with
/// --scheduler table:FILE; lehr train --scheduler law:law.json does both at once.
#[derive(clap::Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Examples:
  lehr design --law law.json --steps 20000 --out schedule.json
  lehr design --law law.json --from checkpoints/trunk@800 --steps 1600
  lehr design --law law.json --price 1e-7
  lehr design --law mpl --steps 24000 --peak-lr 3e-4 --warmup 2160 --params \\
      L0=2.6514,A=.60115,alpha=.45296,B=437.95,C=2.1325,beta=.59785,gamma=.65524"
)]
pub struct Args {
    /// A law that lehr fit wrote; with --params the name of a law
    #[arg(long, value_name = "FILE|NAME")]
    law: String,
    /// Every parameter of a law that was not fitted here: L0=2.6,A=0.6,…
    #[arg(long, value_name = "NAME=VALUE,…")]
    params: Option<String>,
    /// How the warm-up enters a law given by --params
    #[arg(long, value_enum, default_value = "ignored", requires = "params")]
    warmup_rule: super::fit::flags::Rule,
    /// Steps of the whole run
    #[arg(
        long,
        visible_alias = "iterations",
        value_name = "N",
        required_unless_present_any = ["price", "loss_target"],
        conflicts_with_all = ["price", "loss_target"]
    )]
    steps: Option<u64>,
    /// Let the length be free too: nats that a step must gain
    #[arg(long, value_name = "NATS", conflicts_with = "loss_target")]
    price: Option<f64>,
    /// The shortest run that ends at this loss
    #[arg(long, value_name = "LOSS")]
    loss_target: Option<f64>,
    /// Peak learning rate [default: the highest that was fitted]
    #[arg(long, visible_alias = "lr", value_name = "PEAK")]
    peak_lr: Option<f64>,
    /// Lowest learning rate after the warm-up
    #[arg(long, value_name = "LR", default_value_t = 0.0)]
    min_lr: f64,
    /// Warm-up: 300 (steps), 0.05 or 5% (of the run) [default: the longest of the fitted runs]
    #[arg(long, alias = "warmup-steps", value_name = "LENGTH")]
    warmup: Option<String>,
    /// What a run or log has trained so far is kept: RUN@STEP, or RUN for its newest checkpoint
    #[arg(long, value_name = "RUN@STEP")]
    from: Option<String>,
    /// Among which schedules
    #[arg(long, value_enum, default_value = "free")]
    family: Among,
    /// The trust rule: largest drop a step, as a share of the peak [default: as steep, for their
    /// length, as the fitted curves, and at least a fall over 20 % of the run (5 % without a fit)]
    #[arg(long, value_name = "SHARE")]
    largest_drop: Option<f64>,
    /// Parameters of the model, for laws over model size
    #[arg(long, value_name = "N")]
    parameters: Option<f64>,
    /// Go beyond what the law was fitted to: another peak, more than 20 times the steps, curves
    /// that it does not describe
    #[arg(long)]
    force: bool,
    /// Of the parameter sets that are drawn from the fit
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write the schedule, a table for --scheduler table:FILE
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pictures: PictureFlags,
    /// Leave the picture in the terminal out
    #[arg(long)]
    no_plot: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A design, where it came from, and where it went.
struct Outcome {
    under: Under,
    start: Option<Start>,
    judged: Judged,
    /// What the fit said of itself, where no warning says it too.
    fit_notes: Vec<String>,
    written: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<()> {
    let under = input::under(&args)?;
    let start = args.from.as_deref().map(input::start).transpose()?;
    let (problem, rule, note) = input::problem(&args, &under, start.as_ref())?;
    let fit = under.fit.as_ref();
    let mut judged = Judged::new(problem, rule, fit, args.family, args.force, args.seed)?;
    judged.warnings.extend(note);
    let mut outcome = Outcome::new(under, start, judged);
    if let Some(path) = &args.out {
        let (lrs, knots) = (&outcome.judged.designed.lrs, &outcome.judged.designed.knots);
        file::write(path, json::head(&outcome), lrs, knots)?;
        outcome.written = Some(path.clone());
    }
    let chart = picture::chart(&outcome);
    let mut written = args.pictures.write(&chart)?;
    if let Some(path) = &outcome.written {
        written.push_str(&format!("wrote {}\n", path.display()));
    }
    if args.json {
        return print(&format!("{:#}\n", json::object(&outcome)));
    }
    let mut out = table::words(&outcome);
    if !args.no_plot {
        out.push_str(&terminal::draw(&chart, terminal::colour_wanted()));
    }
    out.push_str(&written);
    out.push_str(&table::next(&outcome));
    print(&out)
}

impl Outcome {
    fn new(under: Under, start: Option<Start>, judged: Judged) -> Outcome {
        let said = &judged.warnings;
        let unsaid = |note: &&String| !said.iter().any(|said| note.starts_with(said.as_str()));
        let notes = under.fit.iter().flat_map(|fit| &fit.notes);
        let fit_notes = notes.filter(unsaid).cloned().collect();
        Outcome {
            under,
            start,
            judged,
            fit_notes,
            written: None,
        }
    }

    /// Warnings of the design, then what the fit said of itself.
    fn notes(&self) -> impl Iterator<Item = String> {
        let of_fit = self
            .fit_notes
            .iter()
            .map(|note| format!("of the fit: {note}"));
        self.judged.warnings.iter().cloned().chain(of_fit)
    }

    fn limits(&self) -> &Limits {
        &self.judged.problem.limits
    }
}
