//! `lehr search`: which runs to pay for under a budget of FLOPs, and what they say of a larger one.

mod training;
mod words;

use super::format::count;
use super::picture::print;
use super::signal;
use crate::error::{Error, Result};
use crate::scaling::search::http::{Patience, Service};
use crate::scaling::search::ledger::{Entry, Ledger};
use crate::scaling::search::run::{Options, search};
use crate::scaling::search::simulate::Simulated;
use crate::scaling::search::table::Table;
use crate::scaling::search::{Oracle, Session, Space, plan};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Choose runs under a FLOPs budget, for the best model of a larger one
///
/// Probes learning rates at a cheap budget, sweeps sizes coarsely, then fits L(N, D) = E + A/N^alpha +
/// B/D^beta again and again and asks for the run that would tell most about the target per FLOP. Every
/// answer is kept in --state: the same command goes on where it ended and pays nothing twice.
#[derive(clap::Args)]
#[command(after_help = "\
Oracles:
  simulate[:E=..,A=..,B=..,alpha=..,beta=..,lr=..,noise=..,seed=..]
                  a law with noise, to try the search on
  table:FILE      answered queries, as CSV, JSON or JSON lines
  http://HOST     a training service: GET /loss, /total_flops_used, /previous_runs
  train:RECIPE    this trainer; --set changes keys of the recipe

Examples:
  lehr search --oracle simulate --budget 2e18 --target 1e19
  lehr search --oracle train:default --budget 3e12 --target 1e13 --dry-run")]
pub struct Args {
    /// What answers
    #[arg(long, value_name = "ORACLE")]
    oracle: String,
    /// FLOPs that the runs may cost in all
    #[arg(long, value_name = "FLOPS", allow_negative_numbers = true)]
    budget: f64,
    /// FLOPs of the model that is wanted in the end
    #[arg(long, value_name = "FLOPS", allow_negative_numbers = true)]
    target: f64,
    /// Where answers are kept
    #[arg(long, value_name = "FILE", default_value = "search.jsonl")]
    state: PathBuf,
    /// What may be asked: d_model=64..1024,num_layers=2..24,num_heads=2..16,batch_size=128/256,
    /// learning_rate=1e-4..1e-3,train_flops=1e13..1e18 [default: these; those of the recipe for
    /// train; what the table holds]
    #[arg(long, value_name = "NAME=LOW..HIGH,…")]
    space: Option<String>,
    /// Runs that may be paid for
    #[arg(long, value_name = "N", default_value_t = 60)]
    most_runs: usize,
    /// Ends when no run would take this share off the target's variance
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    enough: f64,
    /// Share of what is likely that an interval holds
    #[arg(long, value_name = "SHARE", default_value_t = 0.9)]
    level: f64,
    /// Of the intervals' draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Prints the first stage and what it costs, and asks nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// http: the key that the service wants [default: the environment's LEHR_API_KEY]
    #[arg(long, value_name = "KEY", help_heading = "Service")]
    api_key: Option<String>,
    /// http: seconds to wait for an answer
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 120.0,
        help_heading = "Service"
    )]
    timeout: f64,
    /// http: attempts at one question
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Service")]
    attempts: u32,
    /// train: sets any key of the recipe
    #[arg(long, value_name = "SECTION.KEY=VALUE", help_heading = "Training")]
    set: Vec<String>,
    /// train: where runs live
    #[arg(
        long,
        value_name = "DIR",
        default_value = "checkpoints/search",
        help_heading = "Training"
    )]
    out: PathBuf,
}

pub fn run(args: Args) -> Result<()> {
    let options = args.options()?;
    let mut oracle = args.oracle()?;
    let stop = signal::stop_flag()?;
    let ledger = match args.dry_run && !args.state.exists() {
        true => Ledger::in_memory(),
        false => open(&args.state, &oracle.name())?,
    };
    if args.dry_run {
        return dry_run(&args, oracle.as_mut(), ledger);
    }
    let mut rows = words::Rows::new(!args.json);
    let mut tell = |why: &str, entry: &Entry, free: bool, spent: f64| {
        if !free {
            rows.row(why, entry, spent);
        }
    };
    let mut session = Session::start(oracle.as_mut(), ledger, args.budget, stop, &mut tell)?;
    let outcome = search(&mut session, &options)?;
    let answers = std::mem::take(&mut session.ledger.entries);
    drop(session);
    if args.json {
        let mut value = serde_json::to_value(&outcome).map_err(Error::backend)?;
        value["oracle"] = json!(args.oracle);
        value["state"] = json!(args.state);
        value["level"] = json!(args.level);
        value["answers"] = serde_json::to_value(&answers).map_err(Error::backend)?;
        return print(&format!("{value:#}\n"));
    }
    print(&words::outcome(&outcome, args.level, &args.state))
}

fn dry_run(args: &Args, oracle: &mut dyn Oracle, ledger: Ledger) -> Result<()> {
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut tell = |_: &str, _: &Entry, _: bool, _: f64| {};
    let session = Session::look(oracle, ledger, args.budget, &stop, &mut tell)?;
    let first = plan::first(&session)?;
    if args.json {
        let value = json!({
            "oracle": args.oracle, "budget": args.budget, "target": args.target,
            "spent": session.spent(), "cost": first.cost,
            "probes": first.probes.queries, "sweep": first.sweep,
            "space": session.oracle.space(),
        });
        return print(&format!("{value:#}\n"));
    }
    print(&words::plan(&session, &first, args.target))
}

fn open(path: &Path, oracle: &str) -> Result<Ledger> {
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(|e| Error::io("create the directory", dir, e))?;
    }
    Ledger::open(path, oracle)
}

impl Args {
    fn options(&self) -> Result<Options> {
        for (flag, x) in [("--budget", self.budget), ("--target", self.target)] {
            if !(x.is_finite() && x > 0.0) {
                return Err(Error::input(format!(
                    "{flag} {x}: give a number of FLOPs above 0, such as 2e18"
                )));
            }
        }
        for (flag, x) in [("--enough", self.enough), ("--level", self.level)] {
            if !(x > 0.0 && x < 1.0) {
                return Err(Error::input(format!(
                    "{flag} {x}: give a share between 0 and 1"
                )));
            }
        }
        if self.most_runs == 0 {
            return Err(Error::input("--most-runs 0: it must be at least 1"));
        }
        Ok(Options {
            target: self.target,
            most: self.most_runs,
            enough: self.enough,
            level: self.level,
            seed: self.seed,
        })
    }

    fn oracle(&self) -> Result<Box<dyn Oracle>> {
        let spec = self.oracle.as_str();
        let (kind, rest) = spec.split_once(':').unwrap_or((spec, ""));
        let space = || -> Result<Space> {
            let mut space = Space::cs336();
            space.lay(self.space.as_deref().unwrap_or_default())?;
            Ok(space)
        };
        if kind != "train" && !self.set.is_empty() {
            return Err(Error::input(
                "--set changes a recipe: it goes with --oracle train:RECIPE",
            ));
        }
        match kind {
            "simulate" => Ok(Box::new(Simulated::parse(rest, space()?)?)),
            "table" if self.space.is_some() => Err(Error::input(
                "--space has no part in a table, whose rows are all there is; leave it out",
            )),
            "table" => Ok(Box::new(Table::read(Path::new(rest))?)),
            "http" | "https" => Ok(Box::new(Service::connect(
                spec,
                self.key(),
                self.patience()?,
                space()?,
            )?)),
            "train" => Ok(Box::new(training::Training::new(
                rest,
                &self.set,
                self.space.as_deref(),
                self.budget,
                &self.out,
            )?)),
            _ => Err(Error::input(format!(
                "--oracle {spec}: give simulate, table:FILE, http://HOST:PORT or train:RECIPE"
            ))),
        }
    }

    fn key(&self) -> Option<String> {
        let from_environment = || std::env::var("LEHR_API_KEY").ok();
        self.api_key.clone().or_else(from_environment)
    }

    fn patience(&self) -> Result<Patience> {
        if !(self.timeout > 0.0 && self.timeout <= 1e6) {
            return Err(Error::input(format!(
                "--timeout {}: give seconds above 0",
                self.timeout
            )));
        }
        if self.attempts == 0 {
            return Err(Error::input("--attempts 0: it must be at least 1"));
        }
        Ok(Patience {
            timeout: Duration::from_secs_f64(self.timeout),
            attempts: self.attempts,
            ..Patience::default()
        })
    }
}

/// `6.0e15 FLOPs` reads better as `6.00 PFLOP`; beyond the multiples that people know it does not.
fn flop(x: f64) -> String {
    let number = count(x);
    match number.ends_with(|c: char| c.is_ascii_digit()) {
        true if number.contains('e') => format!("{number} FLOPs"),
        true => format!("{number} FLOP"),
        false => format!("{number}FLOP"),
    }
}

#[cfg(test)]
mod unit {
    use super::flop;

    #[test]
    fn flops_of_every_size() {
        assert_eq!(flop(0.0), "0 FLOP");
        assert_eq!(flop(980.0), "980 FLOP");
        assert_eq!(flop(6e15), "6.00 PFLOP");
        assert_eq!(flop(1e25), "1.0e25 FLOPs");
    }
}
