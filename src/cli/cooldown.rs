//! `lehr cooldown`: branches from checkpoints, one after the other.

use super::format::thousands;
use super::prepare::Watcher;
use super::train::{check_name, train};
use crate::error::{Error, Result};
use crate::schedule::{Decay, Tail, percent};
use crate::train::RunConfig;
use crate::train::branch::{self, BranchPoint, Cooldown};
use crate::train::device::DeviceKind;
use crate::train::run::Run;
use crate::train::rundir::{RUN_FILE, VAL_CURVE_FILE};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Cool a run down from one of its checkpoints
///
/// Branches a new run: weights, moments, data and dropout go on exactly where the trunk was, only the learning rate
/// falls. The trunk is left as it is. A cooldown begun at step t of a constant trunk equals, bit for bit, the WSD run
/// whose decay starts at t. Several checkpoints, lengths and shapes in one call make a cooldown each.
#[derive(clap::Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
The branch is a run like any other: lehr resume goes on with it. Called again
with the same arguments, finished cooldowns are passed over.

Examples:
  lehr train --name trunk --scheduler constant --checkpoint-at 400,800
  lehr cooldown --from checkpoints/trunk@400,800 --fraction 0.2"
)]
pub struct Args {
    /// Checkpoints: RUN@STEP, RUN@STEP,STEP,… or RUN for its newest one
    #[arg(long, required = true, value_name = "RUN@STEP")]
    from: Vec<String>,
    /// Cooldown over the whole run that ends with it, such as 0.2; several: 0.1,0.2
    #[arg(long, value_name = "SHARE", value_delimiter = ',')]
    fraction: Vec<f64>,
    /// Steps of the cooldown; several: 100,200
    #[arg(long, value_name = "STEPS", value_delimiter = ',')]
    steps: Vec<i64>,
    /// linear | cosine | mirror-cosine | square | sqrt | exp | power:P | table:FILE; several: linear,sqrt
    #[arg(
        long,
        value_name = "TYPE",
        value_delimiter = ',',
        default_value = "linear"
    )]
    decay_type: Vec<String>,
    /// Where it ends, as a share of the learning rate at the branch
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    final_lr_scale: f64,
    /// Name of the run, if there is one cooldown [default: TRUNK-STEP-TYPE-STEPS]
    #[arg(long)]
    name: Option<String>,
    /// Where the runs go [default: beside the trunk]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What it trains on; auto: the first NVIDIA GPU that can be used, or else the processor [default: the trunk's]
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceKind>,
    /// Steps between evaluations [default: the trunk's]
    #[arg(long, value_name = "STEPS")]
    eval_interval: Option<u64>,
    /// Prints what would be run and ends
    #[arg(long)]
    dry_run: bool,
    /// Prints one JSON object, with the loss of each cooldown
    #[arg(long)]
    json: bool,
}

/// One cooldown that is asked for.
struct Planned {
    point: BranchPoint,
    cooldown: Cooldown,
    config: RunConfig,
    /// If one was asked for.
    device: Option<DeviceKind>,
    dir: PathBuf,
}

pub fn run(args: Args) -> Result<()> {
    let planned = plan(&args)?;
    for p in &planned {
        eprintln!("{}", p.words()?);
        for warning in p.warnings()? {
            eprintln!("  note: {warning}");
        }
    }
    if args.dry_run {
        return Ok(());
    }
    let mut outcomes = Vec::new();
    let several = planned.len() > 1;
    for p in &planned {
        match p.run() {
            Err(e @ Error::Interrupted(_)) => {
                if several {
                    eprintln!("      the same command goes on with this cooldown and the rest");
                }
                return Err(e);
            }
            // A cooldown that fails is no reason to leave the others out.
            Err(e) if several => {
                eprintln!("failed {}: {e}", p.dir.display());
                outcomes.push(Err(e.to_string()));
            }
            outcome => outcomes.push(Ok(outcome?)),
        }
    }
    if args.json {
        print_json(&planned, &outcomes);
    } else if several {
        print_table(&planned, &outcomes);
    }
    match outcomes.iter().filter(|o| o.is_err()).count() {
        0 => Ok(()),
        n => Err(Error::input(format!(
            "{n} of {} cooldowns failed; the same command tries these again",
            planned.len()
        ))),
    }
}

/// The final losses, or why there is none.
type Outcome = std::result::Result<f64, String>;

fn print_json(planned: &[Planned], outcomes: &[Outcome]) {
    let all = planned.iter().zip(outcomes);
    let all: Vec<_> = all.map(|(p, outcome)| p.json(outcome)).collect();
    println!("{:#}", json!({ "cooldowns": all }));
}

fn print_table(planned: &[Planned], outcomes: &[Outcome]) {
    eprintln!("\n   from      to  decay            val  run");
    for (p, outcome) in planned.iter().zip(outcomes) {
        let loss = match outcome {
            Ok(loss) => format!("{loss:.4}"),
            Err(_) => "failed".into(),
        };
        eprintln!(
            "{:>7} {:>7}  {:<12} {loss:>7}  {}",
            thousands(p.point.at),
            thousands(p.config.train.iterations),
            p.shape(),
            p.dir.display()
        );
    }
}

/// Every combination of checkpoints, lengths and shapes; whatever is wrong with any of them is found here.
fn plan(args: &Args) -> Result<Vec<Planned>> {
    if args.fraction.is_empty() && args.steps.is_empty() {
        return Err(Error::input(
            "a cooldown needs a length: --fraction 0.2 (of the run that ends with it), or --steps N",
        ));
    }
    let mut device = args.device;
    if let Some(notice) = device.as_mut().and_then(DeviceKind::resolve) {
        eprintln!("note  {notice}");
    }
    let mut planned: Vec<Planned> = Vec::new();
    for point in points(&args.from)? {
        for steps in lengths(args, &point)? {
            for shape in &args.decay_type {
                let cooldown = Cooldown {
                    steps,
                    tail: tail(shape, args.final_lr_scale)?,
                };
                let mut config = point.config(&cooldown)?;
                config.eval.every = args.eval_interval.unwrap_or(config.eval.every);
                config.train.device = device.unwrap_or(config.train.device);
                config.train.dtype = config.train.dtype.moved_to(config.train.device);
                let dir = directory(args, &point, &cooldown)?;
                planned.push(Planned {
                    point: point.clone(),
                    cooldown,
                    config,
                    device,
                    dir,
                });
            }
        }
    }
    if let (Some(name), true) = (&args.name, planned.len() > 1) {
        return Err(Error::input(format!(
            "--name {name}: {} cooldowns cannot share a name; leave the flag out, and each is named after its trunk, step and length",
            planned.len()
        )));
    }
    for (i, p) in planned.iter().enumerate() {
        if planned[..i].iter().any(|other| other.dir == p.dir) {
            return Err(Error::input(format!(
                "{} is asked for twice",
                p.dir.display()
            )));
        }
        if p.dir.join(RUN_FILE).exists()
            && let Some(how) = branch::differs(&p.dir, &p.point, &p.config)?
        {
            return Err(Error::input(format!(
                "{} holds another run already: {how}; give another --name or --out",
                p.dir.display()
            )));
        }
    }
    Ok(planned)
}

/// `RUN@1000,2000` and plain `RUN`.
fn points(from: &[String]) -> Result<Vec<BranchPoint>> {
    let mut all = Vec::new();
    for text in from {
        let (run, steps) = match text.rsplit_once('@') {
            // A directory may have an @ in its name.
            Some(_) if Path::new(text).join(RUN_FILE).exists() => (text.as_str(), None),
            Some((run, steps)) => (run, Some(steps)),
            None => (text.as_str(), None),
        };
        let Some(steps) = steps else {
            all.push(BranchPoint::find(Path::new(run), None)?);
            continue;
        };
        for step in steps.split(',') {
            let step = step.trim().parse().map_err(|_| {
                Error::input(format!(
                    "--from {text}: '{step}' is no step; write RUN@1000 or RUN@1000,2000"
                ))
            })?;
            all.push(BranchPoint::find(Path::new(run), Some(step))?);
        }
    }
    Ok(all)
}

fn lengths(args: &Args, point: &BranchPoint) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    for &fraction in &args.fraction {
        all.push(point.steps_of(fraction)?);
    }
    for &steps in &args.steps {
        if !(1..=1_000_000_000).contains(&steps) {
            return Err(Error::input(format!(
                "--steps {steps}: a cooldown has at least one step, and at most a thousand million"
            )));
        }
        all.push(steps as u64);
    }
    Ok(all)
}

fn tail(text: &str, final_ratio: f64) -> Result<Tail> {
    if let Some(file) = text.strip_prefix("table:") {
        // Absolute, so that the branch resumes from any working directory.
        let path = Path::new(file);
        let path = path
            .canonicalize()
            .map_err(|e| Error::io("find the table", path, e))?;
        // They are part of the schedule's written form.
        let text = path.to_string_lossy();
        if text.contains(',') || text.contains("trunk=") {
            return Err(Error::input(format!(
                "--decay-type table:{file}: the path {text} has a comma or `trunk=` in it, which a schedule cannot hold; put the table elsewhere"
            )));
        }
        if final_ratio != 0.0 {
            return Err(Error::input(
                "--final-lr-scale has no part in a table, which holds the learning rate of every step; leave it out",
            ));
        }
        return Ok(Tail::Table(path));
    }
    let decay = Decay::from_str(text)?;
    Ok(Tail::Decay { decay, final_ratio })
}

/// `OUT/NAME`.
fn directory(args: &Args, point: &BranchPoint, cooldown: &Cooldown) -> Result<PathBuf> {
    let trunk = point
        .trunk
        .canonicalize()
        .map_err(|e| Error::io("find", &point.trunk, e))?;
    let base = trunk.file_name().unwrap_or_default().to_string_lossy();
    let name = match &args.name {
        Some(name) => name.clone(),
        None => {
            let shape = match &cooldown.tail {
                Tail::Decay { decay, final_ratio } => {
                    let decay = decay.to_string().replace(':', "");
                    match final_ratio {
                        0.0 => decay,
                        floor => format!("{decay}-to-{floor}"),
                    }
                }
                Tail::Table(path) => path
                    .file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
            };
            format!("{base}-{}-{shape}-{}", point.at, cooldown.steps)
        }
    };
    check_name(&name)?;
    let beside = point.trunk.parent().unwrap_or(Path::new("."));
    let out = args.out.as_deref().unwrap_or(beside);
    Ok(out.join(name))
}

impl Planned {
    /// Trains it, or goes on with it; the held-out loss at its end.
    fn run(&self) -> Result<f64> {
        let mut progress = Watcher::new()?;
        let run = if self.dir.join(RUN_FILE).exists() {
            let run = Run::resume(&self.dir, self.device, &mut progress)?;
            if run.is_finished() {
                eprintln!("{} is finished", self.dir.display());
                return self.logged_loss();
            }
            run
        } else {
            Run::branch(&self.point, self.config.clone(), &self.dir, &mut progress)?
        };
        Ok(train(run)?.eval.val_loss)
    }

    /// The last held-out loss in the log of a finished run.
    fn logged_loss(&self) -> Result<f64> {
        let path = self.dir.join(VAL_CURVE_FILE);
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
        let last = text.lines().last().and_then(|l| l.split(',').nth(1));
        last.and_then(|loss| loss.parse().ok())
            .ok_or_else(|| Error::corrupt(&path, "its last line holds no loss"))
    }

    /// `sqrt`, `linear`, or the table's file.
    fn shape(&self) -> String {
        match &self.cooldown.tail {
            Tail::Decay { decay, .. } => decay.to_string(),
            Tail::Table(path) => {
                let name = path.file_name().unwrap_or_default();
                name.to_string_lossy().into_owned()
            }
        }
    }

    fn json(&self, outcome: &Outcome) -> serde_json::Value {
        json!({
            "run": self.dir.display().to_string(),
            "from": self.point.trunk.display().to_string(),
            "at": self.point.at,
            "steps": self.cooldown.steps,
            "iterations": self.config.train.iterations,
            "decay": self.shape(),
            "loss": outcome.as_ref().ok(),
            "error": outcome.as_ref().err(),
        })
    }

    /// Where it goes on from, how long, and where to.
    fn words(&self) -> Result<String> {
        Ok(format!(
            "cooldown  {}@{}, {} steps to step {}\n          into {}",
            self.point.trunk.display(),
            self.point.at,
            thousands(self.cooldown.steps),
            thousands(self.config.train.iterations),
            self.dir.display()
        ))
    }

    fn warnings(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        if let Some(share) = self.point.decayed_to()? {
            all.push(format!(
                "the trunk had decayed to {} of its peak at this step; the cooldown goes on down from there",
                percent(share)
            ));
        }
        let warmup = self.point.config.schedule()?.warmup_steps();
        if self.point.at < warmup {
            all.push(format!(
                "the trunk was still warming up (until step {}); the cooldown starts from what it had reached",
                thousands(warmup)
            ));
        }
        Ok(all)
    }
}
