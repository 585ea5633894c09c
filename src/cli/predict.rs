//! `lehr predict`: what a fitted law says of a schedule that nobody has run.

use super::fit::table::{item, plural};
use super::format::thousands;
use super::picture::{PictureFlags, print};
use crate::curve;
use crate::error::{Error, Result};
use crate::files;
use crate::fit::{self, Band, Fit};
use crate::report::{fitted, terminal};
use crate::schedule::{Schedule, ScheduleSpec, Shape, Warmup};
use serde_json::json;
use std::fmt::Write;
use std::path::PathBuf;

/// Predict the loss under a schedule, with a 90 % band
///
/// The band holds what the fit does not know of its parameters; it knows nothing of what the law itself
/// leaves out. Says so where the schedule goes beyond the runs that were fitted.
#[derive(clap::Args)]
#[command(after_help = "\
Schedules are written as for lehr schedule: wsd:fraction=0.2,decay=sqrt, cosine:final=0.1,
811, table:FILE, …

Example:
  lehr predict --law law.json --schedule wsd:fraction=0.2 --steps 20000 \\
      --lr 1e-3 --warmup-steps 300 --csv curve.csv")]
pub struct Args {
    /// A law that lehr fit wrote
    #[arg(long, value_name = "FILE")]
    law: PathBuf,
    /// The schedule, name:key=value,…
    #[arg(long, value_name = "SPEC")]
    schedule: String,
    /// Steps of the run
    #[arg(long, visible_alias = "iterations", value_name = "N")]
    steps: u64,
    /// Peak learning rate [default: the highest that was fitted]
    #[arg(long, value_name = "PEAK", allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Warm-up in steps [default: the longest of the fitted runs]
    #[arg(long, value_name = "STEPS")]
    warmup_steps: Option<u64>,
    /// Evaluate the schedule as schedules-and-scaling does
    #[arg(long)]
    compat: bool,
    /// Steps between predictions; the last step always has one [default: about 500 in all]
    #[arg(long, value_name = "STEPS")]
    every: Option<u64>,
    /// Parameters of the model, for laws over model size
    #[arg(long, value_name = "N")]
    parameters: Option<f64>,
    /// Write the curve: step,lr,loss,low,high
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    #[command(flatten)]
    pictures: PictureFlags,
    /// Leave the picture in the terminal out
    #[arg(long)]
    no_plot: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Predictions of a run unless `--every` says otherwise.
const POINTS: u64 = 500;
/// A longer run would fill the memory with its LRs.
const MOST_STEPS: u64 = 50_000_000;
/// A prediction within this factor of what was fitted is none beyond it.
const SLACK: f64 = 1.02;

pub fn run(args: Args) -> Result<()> {
    let fit = fit::file::read(&args.law)?;
    let schedule = schedule(&args, &fit)?;
    let lrs: Vec<f64> = (0..args.steps).map(|s| schedule.lr(s)).collect();
    let warmup = match schedule.spec().shape {
        Shape::Table { .. } => args.warmup_steps,
        _ => None,
    };
    let warmup = warmup.unwrap_or_else(|| curve::warmup_of(&schedule, &lrs));
    let steps = steps(args.steps, warmup, args.every);
    let path = fit::path(&lrs, warmup, &steps).of_size(args.parameters);
    let forecast = Forecast {
        band: fit.band(&path),
        warnings: warnings(&fit, &schedule),
        fit,
        schedule,
        lrs,
        steps,
    };
    let chart = forecast.chart();
    let mut written = args.pictures.write(&chart)?;
    if let Some(path) = &args.csv {
        files::write(path, forecast.csv().as_bytes())?;
        written.push_str(&format!("wrote {}\n", path.display()));
    }
    if args.json {
        return print(&format!("{:#}\n", forecast.json()));
    }
    let mut out = forecast.words();
    if !args.no_plot {
        out.push_str(&terminal::draw(&chart, terminal::colour_wanted()));
    }
    out.push_str(&written);
    print(&out)
}

fn schedule(args: &Args, fit: &Fit) -> Result<Schedule> {
    if args.steps > MOST_STEPS {
        return Err(Error::input(format!(
            "--steps {}: predictions go up to {} steps",
            args.steps,
            thousands(MOST_STEPS)
        )));
    }
    if args.every == Some(0) {
        return Err(Error::input("--every 0: it must be at least 1"));
    }
    let fitted = fit.curves.iter().map(|c| c.peak_lr).fold(0.0, f64::max);
    let warmup = fit.curves.iter().map(|c| c.warmup).max().unwrap_or(0);
    Schedule::new(&ScheduleSpec {
        shape: args.schedule.parse()?,
        peak_lr: args.lr.unwrap_or(fitted),
        warmup: Warmup::Steps(args.warmup_steps.unwrap_or(warmup)),
        steps: args.steps,
        tokens_per_step: None,
        compat: args.compat,
    })
}

/// From the end of the warm-up on, evenly; the last step is among them.
fn steps(total: u64, warmup: u64, every: Option<u64>) -> Vec<u64> {
    let first = warmup.min(total - 1) + 1;
    let every = every.unwrap_or((total - first) / POINTS).max(1);
    let mut steps: Vec<u64> = (first..=total).step_by(every as usize).collect();
    if steps.last() != Some(&total) {
        steps.push(total);
    }
    steps
}

/// Where the schedule goes beyond what the fit saw, one sentence each.
fn warnings(fit: &Fit, schedule: &Schedule) -> Vec<String> {
    let mut warnings = Vec::new();
    let peaks = || fit.curves.iter().map(|c| c.peak_lr);
    let (low, high) = (
        peaks().fold(f64::INFINITY, f64::min),
        peaks().fold(0.0, f64::max),
    );
    let peak = schedule.peak_lr();
    if !(low / SLACK..=high * SLACK).contains(&peak) {
        let seen = match low == high {
            true => format!("{low:e} alone"),
            false => format!("{low:e} to {high:e}"),
        };
        warnings.push(format!(
            "the peak LR {peak:e} lies outside what was fitted ({seen}): the band does not tell how \
             the law fails there"
        ));
    }
    let longest = fit.curves.iter().map(|c| c.steps).max().unwrap_or(0);
    let steps = schedule.steps();
    if steps as f64 > longest as f64 * SLACK {
        warnings.push(format!(
            "{} steps are {:.1} times the longest fitted run ({}): the end is an extrapolation",
            thousands(steps),
            steps as f64 / longest.max(1) as f64,
            thousands(longest)
        ));
    }
    warnings
}

struct Forecast {
    fit: Fit,
    schedule: Schedule,
    lrs: Vec<f64>,
    steps: Vec<u64>,
    band: Band,
    warnings: Vec<String>,
}

impl Forecast {
    /// Loss, low, high after the last step.
    fn last(&self) -> (f64, f64, f64) {
        let end = self.steps.len() - 1;
        (self.band.loss[end], self.band.low[end], self.band.high[end])
    }

    /// `3.0213 ± 0.0031`: half of the band's width.
    fn ends(&self) -> String {
        let (loss, low, high) = self.last();
        format!("{loss:.4} ± {:.4}", (high - low) / 2.0)
    }

    fn words(&self) -> String {
        let mut out = String::new();
        let law = format!(
            "{}, fitted to {} up to step {}",
            self.fit.law.name(),
            plural(self.fit.curves.len(), "curve"),
            thousands(self.fit.curves.iter().map(|c| c.steps).max().unwrap_or(0))
        );
        out.push_str(&item("law", &law));
        let schedule = format!(
            "{}, {} steps",
            self.schedule.describe(),
            thousands(self.schedule.steps())
        );
        out.push_str(&item("lr", &schedule));
        let end = self.steps.len() - 1;
        let logged = (self.band.observed_high[end] - self.band.observed_low[end]) / 2.0;
        let ends = format!(
            "at {} nats a token (90 %); one logged loss of such a run lies within ± {logged:.4}",
            self.ends()
        );
        out.push_str(&item("ends", &ends));
        for warning in &self.warnings {
            out.push_str(&item("note", warning));
        }
        out.push('\n');
        out
    }

    fn chart(&self) -> crate::report::Chart {
        let subtitle = format!(
            "{}, {} steps, ends at {} nats a token",
            self.fit.law.name(),
            thousands(self.schedule.steps()),
            self.ends()
        );
        fitted::forecast(
            self.schedule.describe(),
            subtitle,
            &fitted::Forecast {
                lrs: &self.lrs,
                steps: &self.steps,
                loss: &self.band.loss,
                low: &self.band.low,
                high: &self.band.high,
            },
        )
    }

    /// LR of the last update before each point.
    fn lr(&self, step: u64) -> f64 {
        self.lrs[step as usize - 1]
    }

    fn csv(&self) -> String {
        let mut out = String::from("step,lr,loss,low,high\n");
        for (i, step) in self.steps.iter().enumerate() {
            let band = (self.band.loss[i], self.band.low[i], self.band.high[i]);
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "{step},{:e},{:.6},{:.6},{:.6}",
                self.lr(*step),
                band.0,
                band.1,
                band.2
            );
        }
        out
    }

    fn json(&self) -> serde_json::Value {
        let (loss, low, high) = self.last();
        let end = self.steps.len() - 1;
        let lrs: Vec<f64> = self.steps.iter().map(|s| self.lr(*s)).collect();
        json!({
            "law": self.fit.law.name(),
            "schedule": self.schedule.spec().shape,
            "describe": self.schedule.describe(),
            "steps": self.schedule.steps(),
            "peak_lr": self.schedule.peak_lr(),
            "warmup_steps": self.schedule.warmup_steps(),
            "final": {
                "loss": loss,
                "low": low,
                "high": high,
                "observed_low": self.band.observed_low[end],
                "observed_high": self.band.observed_high[end],
            },
            "coverage": fit::COVERAGE,
            "warnings": self.warnings,
            "curve": {
                "step": self.steps,
                "lr": lrs,
                "loss": self.band.loss,
                "low": self.band.low,
                "high": self.band.high,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_reach_the_last_step() {
        assert_eq!(steps(10, 0, None), (1..=10).collect::<Vec<_>>());
        assert_eq!(steps(10, 3, Some(4)), [4, 8, 10]);
        let many = steps(100_000, 300, None);
        assert!(many.len() <= 510 && many[0] == 301 && many.last() == Some(&100_000));
        // A run that never leaves its warm-up has its end all the same.
        assert_eq!(steps(10, 50, None), [10]);
        assert_eq!(steps(1, 0, None), [1]);
    }
}
