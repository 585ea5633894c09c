//! `lehr fit`: a law's parameters from loss curves, and how well it predicts others.

mod contest;
pub mod flags;
pub mod scored;
pub mod table;

use super::compare;
use super::picture::{PictureFlags, print};
use crate::curve::LossCurve;
use crate::error::{Error, Result};
use crate::fit::{self, Fit};
use crate::law;
use crate::report::{fitted, terminal};
use contest::Contest;
use flags::{CurveFlags, FitFlags};
use scored::Judged;
use std::path::{Path, PathBuf};

/// Fit a law of the loss under learning-rate schedules
///
/// Prints parameters with 90 % intervals, scores of the fitted and of the test curves, and what the data
/// cannot tell; draws curves, law and differences; writes the fitted law for `lehr predict`.
#[derive(clap::Args)]
#[command(after_help = "\
A curve is a log (CSV, JSONL, a run of ours, and what other tools write), with its
exact schedule behind it if the log has none: FILE@SPEC, as in
  run.csv@wsd:fraction=0.2,peak=1e-3,steps=5000
and FILE#KEY takes one of several curves in a file.

Example:
  lehr fit --law elr --train cosine.csv constant.csv --test wsd.csv \\
      --warmup-steps 300 --out law.json --png fit.png

Laws (`elr` where nothing speaks for another):
  elr elr-fixed               effective LR under weight decay (ours)
  tissue                      momentum law; -999 -power -lr: variants
  mpl                         multi-power law; -no-gamma -spl -mel: ablations
  fsl fsl-fixed               functional scaling law
  mplx mplx-free              MPL with fading amplitude (ours)
  hybrid hybrid-course        momentum with a third term S3
  forward-momentum convex     2512.13705; last-iterate bound
  opl lldl chinchilla         baselines: S1 alone, linear in the LR, steps
  sized                       over model size, for curves that say theirs")]
pub struct Args {
    /// A law by name, several (a,b), auto (elr, unless another predicts
    /// held-out fitted curves twice as well), or all
    #[arg(long, default_value = "auto")]
    law: String,
    /// Curves to fit
    #[arg(long, value_name = "CURVE", num_args = 1.., required = true)]
    train: Vec<String>,
    /// Curves to predict
    #[arg(long, value_name = "CURVE", num_args = 1..)]
    test: Vec<String>,
    #[command(flatten)]
    curves: CurveFlags,
    #[command(flatten)]
    fitting: FitFlags,
    /// Replace the intervals by those of N block-bootstrap draws
    #[arg(long, value_name = "N")]
    bootstrap: Option<usize>,
    /// Where the fitted law goes [default: law.json; with --json or --law all nowhere]
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

pub fn run(args: Args) -> Result<()> {
    let train = args.curves.read(&args.train)?;
    let test = args.curves.read(&args.test)?;
    let fitted: Vec<&LossCurve> = train.iter().collect();
    let options = args.fitting.options()?;
    let law_options = args.fitting.law_options(&fitted)?;
    if args.law.trim() == "all" || args.law.contains(',') {
        let single = [
            ("--out", args.out.is_some()),
            ("--bootstrap", args.bootstrap.is_some()),
        ];
        if let Some((flag, _)) = single.iter().find(|(_, given)| *given) {
            return Err(Error::input(format!(
                "{flag} is for one law: name it with --law, or leave {flag} out"
            )));
        }
        let laws = flags::laws(&args.law, &law_options, &fitted)?;
        let tried = compare::fit_all(&laws, &options, &train, &test)?;
        let show = compare::Show {
            pictures: &args.pictures,
            plot: !args.no_plot,
            json: args.json,
        };
        return compare::side_by_side(&tried, &train, &test, &show);
    }
    let (law, contest) = match args.law.trim() {
        "auto" => {
            let laws = flags::laws(&law::CANDIDATES.join(","), &law_options, &fitted)?;
            let choice = fit::choose(&laws, &fitted, &options)?;
            let contest = Contest::new(&laws, &choice);
            (laws[choice.chosen].clone(), Some(contest))
        }
        name => (law::by_name(name, &law_options)?.into(), None),
    };
    let mut fit = fit::fit(&law, &fitted, &options)?;
    if let Some(draws) = args.bootstrap {
        bootstrap(&mut fit, draws)?;
    }
    let judged = Judged::new(fit, &train, &test)?;
    show(&args, &judged, contest.as_ref(), &train, &test)
}

/// Fewer draws than this have no 5 % quantile to speak of.
const FEWEST_DRAWS: usize = 40;

/// Puts the intervals of a block bootstrap in place of the fit's own.
fn bootstrap(fit: &mut Fit, draws: usize) -> Result<()> {
    if draws < FEWEST_DRAWS {
        return Err(Error::input(format!(
            "--bootstrap {draws}: 90 % intervals need at least {FEWEST_DRAWS} draws; 200 are usual"
        )));
    }
    let found = fit::bootstrap(fit, draws, fit.options.seed)?;
    for (param, (low, high)) in fit.params.iter_mut().zip(found.intervals()) {
        // Where the bootstrap is biased the value may lie outside.
        (param.low, param.high) = (low.min(param.value), high.max(param.value));
    }
    fit.notes.push(format!(
        "the intervals of the parameters are those of {draws} block-bootstrap draws; bands of \
         predictions still come from the covariance"
    ));
    Ok(())
}

/// Prints, draws and writes one fit.
fn show(
    args: &Args,
    judged: &Judged,
    contest: Option<&Contest>,
    train: &[LossCurve],
    test: &[LossCurve],
) -> Result<()> {
    let out = args.out.as_deref();
    let file = out.or((!args.json).then_some(Path::new("law.json")));
    let chart = fitted::fit(title(&judged.fit), &judged.drawn(train, test));
    let pictures = args.pictures.write(&chart)?;
    if let Some(path) = file {
        fit::file::write(&judged.fit, path)?;
    }
    if args.json {
        let mut value = judged.json(train, test);
        if let Some(contest) = contest {
            value["chosen_from"] = contest.json();
        }
        return print(&format!("{value:#}\n"));
    }
    let mut out = contest.map(Contest::words).unwrap_or_default();
    out.push_str(&table::fit(judged, train, test));
    if !args.no_plot {
        if !out.ends_with("\n\n") {
            out.push('\n');
        }
        out.push_str(&terminal::draw(&chart, terminal::colour_wanted()));
    }
    out.push_str(&pictures);
    if let Some(path) = file {
        out.push_str(&format!("wrote {}\n", path.display()));
        out.push_str(&next(path, train));
    }
    print(&out)
}

fn title(fit: &Fit) -> String {
    let names: Vec<&str> = fit.curves.iter().map(|c| &c.name[..]).collect();
    match names.len() {
        0..4 => format!("{}, fitted to {}", fit.law.name(), names.join(", ")),
        n => format!("{}, fitted to {n} curves", fit.law.name()),
    }
}

/// What to type next: a schedule within what the fit saw.
fn next(file: &Path, train: &[LossCurve]) -> String {
    let steps = train.iter().map(|c| c.last_step()).max().unwrap_or(0);
    let program = format!("{} predict --law {}", super::invocation(), file.display());
    let run = format!("--schedule wsd:fraction=0.2 --steps {steps}");
    // To be pasted as it stands, so that a long line is broken as shells allow it.
    let between = match 6 + program.chars().count() + 1 + run.len() <= 80 {
        true => " ",
        false => " \\\n          ",
    };
    format!("next  {program}{between}{run}\n")
}
