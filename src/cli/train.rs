//! `lehr train`: flags to a configuration, a run, its closing lines.

mod average;
mod law;

use super::design::train::ForRun;
use super::prepare::Watcher;
use super::progress::Screen;
use super::signal;
use crate::error::{Error, Result};
use crate::model::{Family, hf};
use crate::schedule::{Decay, Shape};
use crate::text::dataset::{DatasetIndex, INDEX_FILE};
use crate::train::RunConfig;
use crate::train::config::{Dtype, NonFinite};
use crate::train::device::DeviceKind;
use crate::train::load;
use crate::train::recipe::Layers;
use crate::train::run::{Run, Summary};
use crate::train::rundir::RUN_FILE;
use crate::train::start::StartOptions;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use toml::Value;

/// Pretrain a model
///
/// Without any flag: a small Llama on the corpus that ships, in minutes. The recipe comes first,
/// flags over it, --set over both. configs/default.toml lists every key with its default;
/// --dry-run prints what is resolved.
#[derive(clap::Args)]
#[command(
    args_override_self = true,
    allow_negative_numbers = true,
    after_help = "Example:\n  lehr train --scheduler wsd --wsd-fract-decay 0.2"
)]
pub struct Args {
    /// Recipe: the name of one that ships, or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    config: Option<String>,
    /// Sets any key of the configuration
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Name of the run, a directory under --out
    #[arg(long)]
    name: Option<String>,
    /// Where runs live
    #[arg(long, default_value = "checkpoints", value_name = "DIR")]
    out: PathBuf,
    /// Starts from these weights: a checkpoint or a Hugging Face directory
    #[arg(long, value_name = "DIR")]
    init_from: Option<PathBuf>,
    /// Writes the batches as they are consumed: u32, rows of sequence_length + 1
    #[arg(long, value_name = "FILE")]
    record_batches: Option<PathBuf>,
    /// Prints the resolved configuration and ends
    #[arg(long)]
    dry_run: bool,

    #[command(flatten, next_help_heading = "Model")]
    model: ModelFlags,
    #[command(flatten, next_help_heading = "Data")]
    data: DataFlags,
    #[command(flatten, next_help_heading = "Schedule")]
    schedule: ScheduleFlags,
    #[command(flatten, next_help_heading = "Training")]
    training: TrainingFlags,
    #[command(flatten, next_help_heading = "Averages of the weights")]
    average: average::AverageFlags,
    #[command(flatten, next_help_heading = "The law that looks on")]
    law: law::LawFlags,
}

#[derive(clap::Args)]
pub struct ModelFlags {
    /// Architecture
    #[arg(long)]
    model: Option<Family>,
    /// Blocks
    #[arg(long)]
    n_layer: Option<i64>,
    /// Attention heads; they divide --n-embd
    #[arg(long)]
    n_head: Option<i64>,
    /// Key/value heads; 0: as many as --n-head
    #[arg(long)]
    n_kv_head: Option<i64>,
    /// Width of the residual stream
    #[arg(long)]
    n_embd: Option<i64>,
    /// Whether the head shares the embedding's table
    #[arg(long)]
    tied: Option<bool>,
    /// Probability that an activation is dropped
    #[arg(long)]
    dropout: Option<f64>,
    /// Standard deviation of the initial weights
    #[arg(long)]
    init_std: Option<f64>,
}

#[derive(clap::Args)]
struct DataFlags {
    /// Text, a folder or glob of it, a Hub data set, or a prepared directory
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    /// char | bpe-N | gpt2 | a tokenizer.json
    #[arg(long)]
    tokenizer: Option<String>,
    /// Rows of the embedding; 0: as many as the tokenizer needs
    #[arg(long)]
    vocab_size: Option<i64>,
}

#[derive(clap::Args)]
struct ScheduleFlags {
    /// constant | linear | cosine | cos-inf | wsd | wsd-s | 811 | multistep | inverse-sqrt |
    /// table:FILE, each with :key=value,…; law:FILE designs one under a law that lehr fit wrote;
    /// auto starts as WSD, and the law that looks on designs the rest along the way
    #[arg(long, value_name = "SPEC")]
    scheduler: Option<String>,
    /// Peak learning rate
    #[arg(long)]
    lr: Option<f64>,
    /// Warm-up: steps, a share such as 5%, or tokens
    #[arg(long, alias = "warmup", value_name = "STEPS|SHARE|TOKENS")]
    warmup_steps: Option<String>,
    /// Share of the run that WSD cools down over
    #[arg(long, value_name = "SHARE")]
    wsd_fract_decay: Option<f64>,
    /// Where WSD ends, as a share of the peak
    #[arg(long, value_name = "SHARE")]
    wsd_final_lr_scale: Option<f64>,
    /// How WSD cools down: linear | cosine | mirror-cosine | square | sqrt | exp | power:P
    #[arg(long)]
    decay_type: Option<String>,
}

#[derive(clap::Args)]
struct TrainingFlags {
    /// Steps
    #[arg(long)]
    iterations: Option<i64>,
    /// Tokens a sequence
    #[arg(long)]
    sequence_length: Option<i64>,
    /// Sequences a micro-batch
    #[arg(long)]
    batch_size: Option<i64>,
    /// Micro-batches a step
    #[arg(long, alias = "grad-accumulation")]
    acc_steps: Option<i64>,
    /// Of weights, batches, dropout and samples
    #[arg(long)]
    seed: Option<i64>,
    /// AdamW's decoupled decay of matrices
    #[arg(long)]
    weight_decay: Option<f64>,
    /// AdamW's first-moment average
    #[arg(long)]
    beta1: Option<f64>,
    /// AdamW's second-moment average
    #[arg(long)]
    beta2: Option<f64>,
    /// Largest global gradient norm; 0: never clip
    #[arg(long)]
    grad_clip: Option<f64>,
    /// Where to train; cpu if not given
    #[arg(long)]
    device: Option<DeviceKind>,
    /// bf16: products and kept activations rounded; auto: what the device is fastest in [default: f32]
    #[arg(long)]
    dtype: Option<Dtype>,
    /// Computes activations again on the way back: less memory, a third more work
    #[arg(long)]
    recompute: bool,
    /// What a NaN or infinite loss does
    #[arg(long)]
    non_finite: Option<NonFinite>,
    /// Steps between evaluations
    #[arg(long)]
    eval_interval: Option<i64>,
    /// Steps between checkpoints
    #[arg(long)]
    checkpoint_every: Option<i64>,
    /// Steps that are saved and never deleted, such as 1000,2000: where cooldowns will branch
    #[arg(long, value_name = "STEPS", value_delimiter = ',')]
    checkpoint_at: Option<Vec<i64>>,
    /// Checkpoints kept; 0: all
    #[arg(long)]
    keep_last: Option<i64>,
    /// Multiples of this step are never deleted
    #[arg(long)]
    permanent_every: Option<i64>,
    /// Steps between text samples
    #[arg(long)]
    sample_every: Option<i64>,
    /// What samples continue
    #[arg(long)]
    prompt: Option<String>,
}

pub fn run(args: Args) -> Result<()> {
    let (layers, law) = args.layers()?;
    let mut config = layers.finish()?;
    let scheduler = &config.schedule.scheduler;
    let shape = match law {
        Some(_) => "law".to_string(),
        None => scheduler.split(':').next().unwrap_or("run").to_string(),
    };
    let name = match &args.name {
        Some(name) => name.clone(),
        None => free_name(&args.out, &format!("{}-{shape}", config.model.family)),
    };
    let dir = args.out.join(&name);
    let designed = law
        .map(|law| ForRun::new(&law, &config, &dir))
        .transpose()?;
    if let Some(designed) = &designed {
        eprint!("{}", designed.words());
        config.schedule.scheduler = designed.scheduler();
    }
    if args.dry_run {
        print!(
            "{}",
            toml::to_string(&config.to_table()).map_err(Error::backend)?
        );
        return Ok(());
    }
    check_name(&name)?;
    if args.data.tokenizer.is_some() {
        check_tokenizer(&config)?;
    }
    if args.schedule.lr.is_some() && shape == "table" {
        return Err(Error::input(
            "--lr has no part in a table, which holds the learning rate of every step; leave it out",
        ));
    }
    let options = StartOptions {
        init_from: args
            .init_from
            .as_deref()
            .map(load::weights_dir)
            .transpose()?,
        record_batches: args.record_batches,
    };
    let mut progress = Watcher::new()?;
    if let Some(designed) = &designed {
        designed.write()?;
    }
    let run = Run::start(&dir, config, &options, &mut progress).inspect_err(|_| {
        if let Some(designed) = &designed {
            designed.remove();
        }
    })?;
    train(run).map(drop)
}

/// Trains a run to its end, with the screen and Ctrl-C attached.
pub fn train(mut run: Run) -> Result<Summary> {
    let stop = signal::stop_flag()?;
    let mut screen = Screen::new();
    let outcome = run.train(&mut screen, stop);
    match outcome {
        Err(Error::Interrupted(what)) => {
            screen.stopped(&what, run.dir());
            Err(Error::Interrupted(String::new()))
        }
        Err(Error::Ended(what)) => {
            screen.stopped(&what, run.dir());
            eprintln!("      once law.stop_when in its run.toml is \"\"");
            Err(Error::Ended(String::new()))
        }
        outcome => {
            let summary = outcome?;
            screen.finish(&summary);
            Ok(summary)
        }
    }
}

/// A run is one directory under --out.
pub fn check_name(name: &str) -> Result<()> {
    let plain = !matches!(name, "" | "." | "..") && !name.contains(['/', '\\']);
    if plain {
        return Ok(());
    }
    Err(Error::input(format!(
        "--name \"{name}\": give the name of one directory, and its parent with --out"
    )))
}

/// A tokenizer that is asked for by name must be the one that made the tokens.
fn check_tokenizer(config: &RunConfig) -> Result<()> {
    let path = Path::new(&config.data.path);
    let index = match path.join(INDEX_FILE).exists() {
        true => DatasetIndex::read(path)?,
        false => return Ok(()),
    };
    if index.tokenizer == config.data.tokenizer {
        return Ok(());
    }
    Err(Error::input(format!(
        "--tokenizer {}: {} is tokenised with {} already; leave the flag out, or give the text itself as --data",
        config.data.tokenizer,
        path.display(),
        index.tokenizer
    )))
}

/// `base`, or `base-2`, `base-3`, … where runs of that name exist.
fn free_name(out: &Path, base: &str) -> String {
    let taken = |name: &str| out.join(name).join(RUN_FILE).exists();
    if !taken(base) {
        return base.to_string();
    }
    let numbered = (2..).map(|i| format!("{base}-{i}"));
    numbered
        .into_iter()
        .find(|name| !taken(name))
        .expect("some number is free")
}

impl Args {
    /// The layers, and the law that is to design the schedule; the scheduler stands at `constant` then.
    fn layers(&self) -> Result<(Layers, Option<PathBuf>)> {
        let mut layers = Layers::new();
        if let Some(recipe) = &self.config {
            layers.recipe(recipe)?;
        }
        if let Some(path) = &self.init_from {
            let dir = load::weights_dir(path)?;
            layers.adopt_model(&hf::read_config(&dir)?, "--init-from")?;
            if let Some(tokenizer) = load::tokenizer_file(&dir) {
                let value = Value::String(tokenizer.display().to_string());
                layers.set("data.tokenizer", value, "--init-from")?;
            }
        }
        self.model.lay(&mut layers)?;
        let (d, t) = (&self.data, &self.training);
        let text = |v: &Option<String>| v.clone().map(Value::String);
        let whole = |v: Option<i64>| v.map(Value::Integer);
        let real = |v: Option<f64>| v.map(Value::Float);
        let flags = [
            ("--data", "data.path", text(&d.data)),
            ("--tokenizer", "data.tokenizer", text(&d.tokenizer)),
            ("--vocab-size", "data.vocab_size", whole(d.vocab_size)),
            ("--lr", "schedule.peak_lr", real(self.schedule.lr)),
            (
                "--warmup-steps",
                "schedule.warmup",
                text(&self.schedule.warmup_steps),
            ),
            ("--iterations", "train.iterations", whole(t.iterations)),
            (
                "--sequence-length",
                "train.sequence_length",
                whole(t.sequence_length),
            ),
            ("--batch-size", "train.batch_size", whole(t.batch_size)),
            ("--acc-steps", "train.grad_accumulation", whole(t.acc_steps)),
            ("--seed", "train.seed", whole(t.seed)),
            ("--weight-decay", "optim.weight_decay", real(t.weight_decay)),
            ("--beta1", "optim.beta1", real(t.beta1)),
            ("--beta2", "optim.beta2", real(t.beta2)),
            ("--grad-clip", "optim.grad_clip", real(t.grad_clip)),
            (
                "--device",
                "train.device",
                t.device.map(|d| Value::String(d.to_string())),
            ),
            (
                "--dtype",
                "train.dtype",
                t.dtype.map(|d| Value::String(d.to_string())),
            ),
            (
                "--recompute",
                "train.recompute",
                t.recompute.then_some(Value::Boolean(true)),
            ),
            (
                "--non-finite",
                "train.non_finite",
                t.non_finite
                    .map(|n| Value::String(format!("{n:?}").to_lowercase())),
            ),
            ("--eval-interval", "eval.every", whole(t.eval_interval)),
            (
                "--checkpoint-every",
                "checkpoint.every",
                whole(t.checkpoint_every),
            ),
            (
                "--checkpoint-at",
                "checkpoint.at",
                t.checkpoint_at
                    .as_ref()
                    .map(|at| Value::Array(at.iter().map(|&n| Value::Integer(n)).collect())),
            ),
            ("--keep-last", "checkpoint.keep_last", whole(t.keep_last)),
            (
                "--permanent-every",
                "checkpoint.permanent_every",
                whole(t.permanent_every),
            ),
            ("--sample-every", "sample.every", whole(t.sample_every)),
            ("--prompt", "sample.prompt", text(&t.prompt)),
        ];
        for (flag, key, value) in flags {
            lay(&mut layers, flag, key, value)?;
        }
        let law = self.schedule.lay(&mut layers)?;
        self.average.lay(&mut layers)?;
        let scheduler = self.schedule.scheduler.as_deref();
        let auto = scheduler.is_some_and(|spec| law::first_guess(spec).is_some());
        self.law.lay(&mut layers, auto)?;
        for assignment in &self.set {
            layers.assign(assignment)?;
        }
        Ok((layers, law))
    }
}

impl ModelFlags {
    /// Lays the sizes over.
    pub fn lay(&self, layers: &mut Layers) -> Result<()> {
        let m = self;
        let whole = |v: Option<i64>| v.map(Value::Integer);
        let real = |v: Option<f64>| v.map(Value::Float);
        let flags = [
            (
                "--model",
                "model.family",
                m.model.map(|f| Value::String(f.to_string())),
            ),
            ("--n-layer", "model.n_layer", whole(m.n_layer)),
            ("--n-head", "model.n_head", whole(m.n_head)),
            ("--n-kv-head", "model.n_kv_head", whole(m.n_kv_head)),
            ("--n-embd", "model.n_embd", whole(m.n_embd)),
            ("--tied", "model.tied", m.tied.map(Value::Boolean)),
            ("--dropout", "model.dropout", real(m.dropout)),
            ("--init-std", "model.init_std", real(m.init_std)),
        ];
        for (flag, key, value) in flags {
            lay(layers, flag, key, value)?;
        }
        Ok(())
    }
}

/// Lays one flag over, if it was given.
pub fn lay(layers: &mut Layers, flag: &str, key: &str, value: Option<Value>) -> Result<()> {
    match value {
        None => Ok(()),
        Some(Value::Integer(n)) if n < 0 => {
            Err(Error::input(format!("{flag} {n}: it must be 0 or more")))
        }
        Some(value) => layers.set(key, value, flag),
    }
}

impl ScheduleFlags {
    /// Lays `--scheduler` over, and the flags of the field's schedule codebase over its WSD. Of `law:FILE`, the file.
    fn lay(&self, layers: &mut Layers) -> Result<Option<PathBuf>> {
        let current = layers.get("schedule", "scheduler").and_then(Value::as_str);
        let spec = self.scheduler.as_deref().or(current).unwrap_or_default();
        let spec = law::first_guess(spec).unwrap_or(spec);
        let law = super::design::train::law(spec);
        let mut shape = match &law {
            Some(_) => Shape::Constant,
            None => Shape::from_str(spec)?,
        };
        let touched = self.wsd_fract_decay.is_some()
            || self.wsd_final_lr_scale.is_some()
            || self.decay_type.is_some();
        match &mut shape {
            Shape::Wsd {
                fraction,
                decay,
                final_ratio,
            } => {
                *fraction = self.wsd_fract_decay.unwrap_or(*fraction);
                *final_ratio = self.wsd_final_lr_scale.unwrap_or(*final_ratio);
                if let Some(text) = &self.decay_type {
                    *decay = Decay::from_str(text)?;
                }
            }
            _ if touched => {
                return Err(Error::input(format!(
                    "--wsd-fract-decay, --wsd-final-lr-scale and --decay-type shape WSD, but the schedule is {spec}; add --scheduler wsd"
                )));
            }
            _ => {}
        }
        let value = Value::String(shape.to_string());
        layers.set("schedule.scheduler", value, "--scheduler")?;
        Ok(law)
    }
}
