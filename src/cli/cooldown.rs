//! `lehr cooldown`: branches from checkpoints, one after the other.

use super::format::thousands;
use super::prepare::Watcher;
use super::train::{check_name, train};
use crate::error::{Error, Result};
use crate::schedule::{Decay, Tail, percent};
use crate::train::RunConfig;
use crate::train::branch::{self, BranchPoint, Cooldown};
use crate::train::run::Run;
use crate::train::rundir::RUN_FILE;
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
The branch is a run like any other: lehr resume goes on with it. Called again with the same
arguments, cooldowns that are finished are passed over.

Examples:
  lehr train --name trunk --scheduler constant --iterations 1600 --checkpoint-at 400,800
  lehr cooldown --from checkpoints/trunk@400,800 --fraction 0.2 --decay-type sqrt"
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
    /// Steps between evaluations [default: the trunk's]
    #[arg(long, value_name = "STEPS")]
    eval_interval: Option<u64>,
    /// Prints what would be run and ends
    #[arg(long)]
    dry_run: bool,
}

/// One cooldown that is asked for.
struct Planned {
    point: BranchPoint,
    cooldown: Cooldown,
    config: RunConfig,
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
    for p in planned {
        let mut progress = Watcher::new()?;
        let run = if p.dir.join(RUN_FILE).exists() {
            let run = Run::resume(&p.dir, &mut progress)?;
            if run.is_finished() {
                eprintln!("{} is finished", p.dir.display());
                continue;
            }
            run
        } else {
            Run::branch(&p.point, p.config, &p.dir, &mut progress)?
        };
        train(run)?;
    }
    Ok(())
}

/// Every combination of checkpoints, lengths and shapes; whatever is wrong with any of them is found here.
fn plan(args: &Args) -> Result<Vec<Planned>> {
    if args.fraction.is_empty() && args.steps.is_empty() {
        return Err(Error::input(
            "a cooldown needs a length: --fraction 0.2 (of the run that ends with it), or --steps N",
        ));
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
                let dir = directory(args, &point, &cooldown)?;
                planned.push(Planned {
                    point: point.clone(),
                    cooldown,
                    config,
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
                "{} holds another run already ({how}); give another --name or --out",
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
                Tail::Decay { decay, .. } => decay.to_string().replace(':', ""),
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
    /// `cooldown  checkpoints/trunk@400 → trunk-400-sqrt-100: 100 steps, to 500`
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
