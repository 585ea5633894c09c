//! `lehr loop`: probes, a law, a schedule, the long run, its baselines, and predicted against actual.

mod page;
mod picture;
mod plan;
mod screen;
mod table;

use super::fit::table::item;
use super::picture::{PictureFlags, print};
use super::prepare::Watcher;
use super::signal;
use super::train::{ModelFlags, lay};
use crate::campaign::cells::{self, Cell, Wanted};
use crate::campaign::execute::{self, Outcome};
use crate::campaign::results::{self, Row, Summary};
use crate::campaign::stages::{self, Design, Prediction};
use crate::campaign::{Plan, Spec, spec};
use crate::error::{Error, Result};
use crate::fit::Fit;
use crate::train::cached;
use crate::train::failures::Failure;
use crate::train::recipe::Layers;
use screen::LoopScreen;
use std::path::{Path, PathBuf};
use toml::Value;

/// Let short probes design the schedule of a long run, and see how it does
///
/// Trains cheap probes (a trunk at constant learning rate, a sharp cooldown that ends where it ends, and a short run at
/// half the peak), fits a law to their held-out losses, designs the long run's schedule under it, predicts that run and
/// its baselines, trains them all, and holds predicted against actual. The plan and its cost come first. Called again,
/// it goes on where it was; finished runs are passed over, and baselines, seeds and peaks may be added.
#[derive(clap::Args)]
#[command(
    args_override_self = true,
    allow_negative_numbers = true,
    after_help = "\
In OUT: law.json, schedule.json, predictions.csv (written before the long runs
begin), results.csv, report.html, runs/.

Examples:
  lehr loop --dry-run
  lehr loop shakespeare-char --data data/austen.txt --iterations 1000 \\
      --warmup-steps 50 --baselines cosine,wsd:fraction=0.2,decay=sqrt,811 \\
      --seeds 0,1"
)]
pub struct Args {
    /// Recipe of the long run: the name of one that ships, or a TOML file; its scheduler plays no
    /// part
    #[arg(value_name = "RECIPE")]
    recipe: Option<String>,
    /// The same
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "recipe")]
    config: Option<String>,
    /// Sets any key of the configuration
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Steps of the long run
    #[arg(long, value_name = "N")]
    iterations: Option<i64>,
    /// Peak learning rate
    #[arg(long, value_name = "PEAK")]
    lr: Option<f64>,
    /// Text, a folder or glob of it, a Hub data set, or a prepared directory
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    /// char | bpe-N | gpt2 | a tokenizer.json
    #[arg(long)]
    tokenizer: Option<String>,
    /// Warm-up of every run: steps, a share of the long run such as 5%, or tokens
    #[arg(long, alias = "warmup", value_name = "STEPS|SHARE|TOKENS")]
    warmup_steps: Option<String>,
    /// The probes' steps, as a share of the long run's
    #[arg(long, default_value_t = 0.25, value_name = "SHARE")]
    budget: f64,
    /// Share of the probes' steps for one at half the peak, constant: at one LR alone, no law can tell steps from LR·steps.
    /// 0: none
    #[arg(long, default_value_t = 0.3, value_name = "SHARE")]
    low_probe: f64,
    /// The probes' cooldowns, each as a share of the other steps; the trunk has the rest
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0.2",
        value_name = "SHARE,…"
    )]
    cooldowns: Vec<f64>,
    /// Held-out losses a probe
    #[arg(long, default_value_t = 40, value_name = "N")]
    points: u64,
    /// The law; of several the one that predicts held-out probes best. elr knows that progress is not in proportion
    /// to the LR, which the laws in S₁ take for granted [default: elr, and tissue with --low-probe 0]
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    law: Vec<String>,
    /// The trust rule: largest drop a step, as a share of the peak [default: as steep, for
    /// its length, as the probes' cooldowns, and at least a fall over 20 % of the run]
    #[arg(long, value_name = "SHARE")]
    largest_drop: Option<f64>,
    /// Schedules to train beside the designed one, or none
    #[arg(
        long,
        default_value = "cosine,linear,wsd:fraction=0.2,decay=sqrt",
        value_name = "SPEC,…|none"
    )]
    baselines: String,
    /// Seeds of the long runs, such as 0,1,2; the probes have the first [default: the recipe's]
    #[arg(long, alias = "seed", value_delimiter = ',', value_name = "SEED,…")]
    seeds: Vec<u64>,
    /// Further peaks of the baselines; each is kept at its best on the first seed
    #[arg(long, value_delimiter = ',', value_name = "PEAK,…")]
    peaks: Vec<f64>,
    /// Runs trained at a time, each on its share of the threads
    #[arg(long, default_value_t = 1, value_name = "N")]
    jobs: usize,
    /// Where everything goes [default: loops/RECIPE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the plan and its cost, and end
    #[arg(long)]
    dry_run: bool,
    #[command(flatten, next_help_heading = "Model")]
    model: ModelFlags,
    #[command(flatten)]
    pictures: PictureFlags,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A campaign that has come to its end.
struct Done {
    fit: Fit,
    design: Design,
    predictions: Vec<Prediction>,
    rows: Vec<Row>,
    summary: Summary,
    failed: Vec<Failure>,
    /// Long runs, finished or not.
    runs: usize,
    page: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<()> {
    let spec = args.spec()?;
    let mut progress = Watcher::new()?;
    let resolved = Plan::resolve(spec, &mut progress);
    progress.finish();
    let plan = resolved?;
    plan.check()?;
    let priced = plan::Priced::of(&plan)?;
    if args.dry_run {
        return match args.json {
            true => print(&format!("{:#}\n", priced.json(&plan))),
            false => print(&priced.words(&plan)),
        };
    }
    // The plan is for the person; stdout keeps the results.
    eprint!("{}", priced.words(&plan));
    plan.settle()?;
    let _lock = cached::lock(&plan.spec.out, "loop.lock")?;
    let screen = LoopScreen::new(&plan, args.jobs);
    let done = campaign(&plan, args.jobs, &screen);
    screen.clear();
    let done = done.map_err(|e| match e {
        Error::Interrupted(what) => {
            Error::Interrupted(format!("{what}\nnext  the same command goes on"))
        }
        e => e,
    })?;
    finish(&args, &plan, &done)
}

/// Every stage, those that are finished passed over.
fn campaign(plan: &Plan, jobs: usize, screen: &LoopScreen) -> Result<Done> {
    let stop = signal::stop_flag()?;
    let probes = cells::probes(plan);
    screen.stage("probes", &probes);
    let outcomes = execute::run(plan, &probes, jobs, screen, stop)?;
    if let Some(failure) = execute::failed(plan, &probes, &outcomes).first() {
        return Err(Error::input(format!(
            "there is no law without its probes: {}: {}",
            failure.cell, failure.why
        )));
    }
    let fit = stages::law(plan, &probes)?;
    screen.say(&table::law(plan, &fit));
    let design = stages::design(plan, &fit)?;
    screen.say(&table::design(plan, &design));
    let predictions = stages::predict(plan, &fit, &design)?;

    let long = |wanted: &[Wanted], title: &str| -> Result<(Vec<Cell>, Vec<Outcome>)> {
        let table = std::path::absolute(&design.path).unwrap_or_else(|_| design.path.clone());
        let cells = cells::long(plan, Some(&table), wanted)?;
        screen.stage(title, &cells);
        let outcomes = execute::run(plan, &cells, jobs, screen, stop)?;
        Ok((cells, outcomes))
    };
    let (mut all, outcomes) = long(&plan.first(), "long runs")?;
    let mut failed = execute::failed(plan, &all, &outcomes);
    let mut rows = results::collect(plan, &all, &predictions)?;
    results::write(plan, &rows)?;
    let rest = plan.rest(&results::best_peaks(plan, &rows));
    if !rest.is_empty() {
        let (cells, outcomes) = long(&rest, "other seeds")?;
        failed.extend(execute::failed(plan, &cells, &outcomes));
        rows.extend(results::collect(plan, &cells, &predictions)?);
        results::write(plan, &rows)?;
        all.extend(cells);
    }
    let summary = Summary::of(plan, &rows);
    let page = match page::write(plan, &fit, &summary, &rows) {
        Ok(page) => page,
        // Losses are worth more than their page.
        Err(e) => {
            screen.say(&item("note", &format!("no page was written: {e}")));
            None
        }
    };
    Ok(Done {
        fit,
        design,
        predictions,
        rows,
        summary,
        failed,
        runs: all.len(),
        page,
    })
}

/// Prints what came out, and fails if a run did.
fn finish(args: &Args, plan: &Plan, done: &Done) -> Result<()> {
    let written = args.pictures.write(&picture::chart(plan, &done.summary))?;
    match args.json {
        true => print(&format!("{:#}\n", table::json(plan, done)))?,
        false => print(&(table::words(plan, done) + &written))?,
    }
    match done.failed.len() {
        0 => Ok(()),
        n => Err(Error::input(format!(
            "{n} of {} long runs could not be trained ({}); the others are done, and the same command tries these once more",
            done.runs,
            plan.file(crate::train::failures::FAILURES_DIR).display()
        ))),
    }
}

impl Args {
    fn spec(&self) -> Result<Spec> {
        let mut layers = Layers::new();
        let recipe = self.recipe.as_ref().or(self.config.as_ref());
        if let Some(recipe) = recipe {
            layers.recipe(recipe)?;
        }
        self.model.lay(&mut layers)?;
        let text = |v: &Option<String>| v.clone().map(Value::String);
        let flags = [
            ("--data", "data.path", text(&self.data)),
            ("--tokenizer", "data.tokenizer", text(&self.tokenizer)),
            ("--lr", "schedule.peak_lr", self.lr.map(Value::Float)),
            (
                "--warmup-steps",
                "schedule.warmup",
                text(&self.warmup_steps),
            ),
            (
                "--iterations",
                "train.iterations",
                self.iterations.map(Value::Integer),
            ),
        ];
        for (flag, key, value) in flags {
            lay(&mut layers, flag, key, value)?;
        }
        for assignment in &self.set {
            layers.assign(assignment)?;
        }
        let scheduler = Value::String("constant".into());
        layers.set("schedule.scheduler", scheduler, "a loop")?;
        let config = layers.finish()?;
        let seeds = match self.seeds.is_empty() {
            true => vec![config.train.seed],
            false => self.seeds.clone(),
        };
        let name = recipe.map_or("default".into(), |recipe| {
            let stem = Path::new(recipe).file_stem().unwrap_or_default();
            stem.to_string_lossy().into_owned()
        });
        Ok(Spec {
            out: self.out.clone().unwrap_or(Path::new("loops").join(name)),
            config,
            budget: self.budget,
            cooldowns: self.cooldowns.clone(),
            low_probe: self.low_probe,
            points: self.points,
            laws: match self.law.is_empty() {
                false => self.law.clone(),
                true if self.low_probe > 0.0 => vec!["elr".into()],
                true => vec!["tissue".into()],
            },
            baselines: spec::baselines(&self.baselines)?,
            seeds,
            peaks: self.peaks.clone(),
            largest_drop: self.largest_drop,
        })
    }
}
