//! `lehr fit`: a law's parameters from loss curves, and how well it predicts others.

pub mod flags;
pub mod scored;
pub mod table;

use super::picture::{PictureFlags, print};
use crate::curve::LossCurve;
use crate::error::{Error, Result};
use crate::fit::{self, Fit};
use crate::law;
use crate::report::{fitted, terminal};
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
  lehr fit --law mpl --train cosine.csv constant.csv --test wsd.csv \\
      --warmup-steps 300 --out law.json --png fit.png")]
pub struct Args {
    /// A law by name, auto (chosen on the fitted curves alone), or all
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
