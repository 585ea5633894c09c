//! `lehr bench`: what the machine can do, and how much of it a training step reaches.

use super::flops::vocabulary;
use super::format::{count, thousands, wrap};
use super::train::{ModelFlags, lay};
use crate::bench::machine::Machine;
use crate::bench::peak::{Bandwidth, FlopPeak};
use crate::bench::process::LARGE;
use crate::bench::product::{self, ProductReport};
use crate::bench::step::{self, Implementation, Length, OpTime, Rate, StepReport, Timed};
use crate::bench::{on_threads, update};
use crate::error::{Error, Result};
use crate::kernels::gemm::Precision;
use crate::train::RunConfig;
use crate::train::recipe::Layers;
use clap::Subcommand;
use serde_json::json;
use std::num::NonZeroUsize;
use toml::Value;

/// Measure the machine and the training step
///
/// Every figure is a share of a peak that is measured beside it. Leave the machine idle meanwhile.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "one of these is parsed, once")]
enum What {
    Step(StepArgs),
    Product(ProductArgs),
    Update(UpdateArgs),
    Peak(PeakArgs),
}

/// Whole training steps of a recipe's model on random tokens
#[derive(clap::Args)]
#[command(
    args_override_self = true,
    allow_negative_numbers = true,
    after_help = "Example:\n  lehr bench step --config bench-gpt2-10m --steps 20"
)]
struct StepArgs {
    /// Recipe: the name of one that ships, or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    config: Option<String>,
    /// Sets any key of the configuration
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    model: ModelFlags,
    /// Rows of the embedding
    #[arg(long)]
    vocab_size: Option<i64>,
    /// Tokens a sequence
    #[arg(long)]
    sequence_length: Option<i64>,
    /// Sequences a micro-batch
    #[arg(long)]
    batch_size: Option<i64>,
    /// Micro-batches a step
    #[arg(long, alias = "grad-accumulation")]
    acc_steps: Option<i64>,
    /// Of weights and tokens
    #[arg(long)]
    seed: Option<i64>,
    /// What products are computed in: f32 | bf16 | auto
    #[arg(long, default_value = "auto")]
    dtype: String,
    /// Who computes the step
    #[arg(long, value_enum, default_value_t = Implementation::Lehr)]
    implementation: Implementation,
    /// Steps on the clock
    #[arg(long, default_value = "10")]
    steps: NonZeroUsize,
    /// Seconds on the clock instead, three steps at least
    #[arg(long, conflicts_with = "steps")]
    seconds: Option<f64>,
    /// Steps before the clock runs
    #[arg(long, default_value = "2")]
    warmup: NonZeroUsize,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// The product kernel: C [M, N] = A [M, K] · B [K, N]
#[derive(clap::Args)]
#[command(after_help = "Example:\n  lehr bench product 3072 1536 1536 --dtype bf16")]
struct ProductArgs {
    #[arg(value_name = "M")]
    m: NonZeroUsize,
    #[arg(value_name = "N")]
    n: NonZeroUsize,
    #[arg(value_name = "K")]
    k: NonZeroUsize,
    /// What products are computed in: f32 | bf16 | auto
    #[arg(long, default_value = "auto")]
    dtype: String,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// Clipping and AdamW
#[derive(clap::Args)]
#[command(after_help = "Example:\n  lehr bench update --params 50000000")]
struct UpdateArgs {
    /// Parameters, in one tensor
    #[arg(long, default_value = "50000000")]
    params: NonZeroUsize,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// The peaks alone: arithmetic and memory
#[derive(clap::Args)]
struct PeakArgs {
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    match args.what {
        What::Step(args) => run_step(args),
        What::Product(args) => run_product(args),
        What::Update(args) => run_update(args),
        What::Peak(args) => run_peak(args),
    }
}

/// What `--dtype` asks for; `None` is "auto".
fn dtype(text: &str) -> Result<Option<Precision>> {
    match text {
        "f32" => Ok(Some(Precision::F32)),
        "bf16" => Ok(Some(Precision::Bf16)),
        "auto" => Ok(None),
        other => Err(Error::input(format!(
            "--dtype {other}: there are f32, bf16 and auto"
        ))),
    }
}

impl StepArgs {
    fn config(&self) -> Result<RunConfig> {
        let mut layers = Layers::new();
        if let Some(recipe) = &self.config {
            layers.recipe(recipe)?;
        }
        // A few steps have no schedule, and how many is not the recipe's to say.
        let steps = match self.seconds {
            Some(_) => 1_000_000,
            None => self.warmup.get() + self.steps.get(),
        };
        for (key, value) in [
            ("schedule.scheduler", Value::String("constant".into())),
            ("schedule.warmup", Value::String("0".into())),
            ("train.iterations", Value::Integer(steps as i64)),
        ] {
            layers.set(key, value, "lehr bench")?;
        }
        self.model.lay(&mut layers)?;
        for (flag, key, value) in [
            ("--vocab-size", "data.vocab_size", self.vocab_size),
            (
                "--sequence-length",
                "train.sequence_length",
                self.sequence_length,
            ),
            ("--batch-size", "train.batch_size", self.batch_size),
            ("--acc-steps", "train.grad_accumulation", self.acc_steps),
            ("--seed", "train.seed", self.seed),
        ] {
            lay(&mut layers, flag, key, value.map(Value::Integer))?;
        }
        for assignment in &self.set {
            layers.assign(assignment)?;
        }
        layers.finish()
    }
}

fn run_step(args: StepArgs) -> Result<()> {
    let bf16 = dtype(&args.dtype)? == Some(Precision::Bf16);
    if bf16 && args.implementation == Implementation::Candle {
        return Err(Error::input(
            "--dtype bf16: plain candle is timed in f32 only, since its tape has no mixed precision; give --dtype f32",
        ));
    }
    if bf16 {
        return Err(Error::input(
            "--dtype bf16: the training step is computed in f32 so far; give --dtype f32",
        ));
    }
    let timed = match args.seconds {
        Some(s) if s.is_finite() && s >= 0.0 => Timed::Seconds(s),
        Some(s) => {
            return Err(Error::input(format!("--seconds {s}: it must be 0 or more")));
        }
        None => Timed::Steps(args.steps.get()),
    };
    let config = args.config()?;
    let vocab_size = match config.data.vocab_size {
        0 => vocabulary(&config.data.tokenizer).ok_or_else(|| {
            Error::input(format!(
                "the vocabulary of the tokenizer {} is known only from its text; give --vocab-size N",
                config.data.tokenizer
            ))
        })?,
        n => n,
    };
    let length = Length {
        warmup: args.warmup.get(),
        timed,
    };
    let report = step::measure(args.implementation, &config, vocab_size, length)?;
    if args.json {
        return print_json(&report);
    }
    print_step(&report);
    Ok(())
}

fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(Error::backend)?;
    println!("{text}");
    Ok(())
}

fn row(name: &str, value: &str) {
    println!("{}", wrap_row(name, value));
}

/// A name, and what follows in a column of its own.
fn wrap_row(name: &str, value: &str) -> String {
    const NAME: usize = 18;
    let indent = " ".repeat(NAME);
    format!("{name:<NAME$}{}", wrap(value, 80, &indent).trim_start())
}

fn gflops(rate: f64) -> String {
    format!("{:.1} GFLOP/s", rate / 1e9)
}

fn print_machine(machine: &Machine) {
    let sets = match machine.instruction_sets.is_empty() {
        true => "no vector instructions that matter here".into(),
        false => machine.instruction_sets.join(" "),
    };
    row(
        "machine",
        &format!("{}, {} threads, {sets}", machine.cpu, machine.threads),
    );
}

fn print_peaks(flops: &FlopPeak, bandwidth: &Bandwidth) {
    let bf16 = match flops.bf16 {
        Some(rate) => format!("bf16 {}", gflops(rate)),
        None => "bf16 not in hardware".into(),
    };
    row("peak", &format!("f32 {}, {bf16}", gflops(flops.f32)));
    row(
        "memory",
        &format!(
            "read {:.1}, copy {:.1}, triad {:.1} GB/s",
            bandwidth.read / 1e9,
            bandwidth.copy / 1e9,
            bandwidth.triad / 1e9
        ),
    );
}

fn print_step(r: &StepReport) {
    let m = &r.model;
    let who = match r.implementation {
        Implementation::Lehr => "",
        Implementation::Candle => ", plain candle",
    };
    row(
        "model",
        &format!(
            "{} {} × {}, {} heads ({} key/value), MLP {}, V {}, {} parameters",
            m.family,
            m.n_layer,
            m.n_embd,
            m.n_head,
            m.n_kv_head,
            m.intermediate_size,
            m.vocab_size,
            thousands(r.params as u64)
        ),
    );
    row(
        "step",
        &format!(
            "{} × {} × {} tokens in {}{who}; {} timed after {}",
            r.grad_accumulation, r.batch_size, r.sequence_length, r.dtype, r.steps, r.warmup_steps
        ),
    );
    print_machine(&r.machine);
    print_peaks(&r.peak, &r.bandwidth);
    println!("\n{:<18}{:>14}{:>14}{:>14}", "", "median", "min", "max");
    let t = &r.tokens_per_second;
    let whole = |x: f64| thousands(x.round() as u64);
    println!(
        "{:<18}{:>14}{:>14}{:>14}",
        "tokens/s",
        whole(t.median),
        whole(t.min),
        whole(t.max)
    );
    let t = &r.seconds_per_step;
    let ms = |x: f64| format!("{:.1}", 1e3 * x);
    println!(
        "{:<18}{:>14}{:>14}{:>14}\n",
        "ms a step",
        ms(t.median),
        ms(t.min),
        ms(t.max)
    );
    let rate = |name: &str, rate: &Rate, what: &str| {
        let text = format!(
            "{} of {}FLOP, {:.1} % of the peak ({what})",
            gflops(rate.flops_per_second),
            count(rate.flops_per_step),
            100.0 * rate.of_peak
        );
        row(name, &text);
    };
    rate("causal", &r.causal, "as executed");
    rate("full square", &r.full_square, "the convention");
    let peak = match r.peak_resident_bytes {
        Some(bytes) => format!("{:.0} MB", bytes as f64 / 1e6),
        None => "not known on this system".into(),
    };
    row("peak memory", &peak);
    let each = |n: Option<f64>| n.map_or("?".into(), |n| format!("{n:.1}"));
    let p = &r.per_step;
    row(
        "a step takes",
        &format!(
            "{} page faults ({} from disk), {} allocations of {} KiB or more ({} MB)",
            each(p.minor_faults.zip(p.major_faults).map(|(a, b)| a + b)),
            each(p.major_faults),
            each(p.large_allocations),
            LARGE >> 10,
            each(p.large_allocated_bytes.map(|b| b / 1e6))
        ),
    );
    row(
        "loss",
        &format!(
            "{:.3} at first (ln V is {:.3}), {:.3} at last",
            r.first_loss,
            (m.vocab_size as f64).ln(),
            r.last_loss
        ),
    );
    print_ops(&r.ops);
}

fn print_ops(ops: &[OpTime]) {
    if ops.is_empty() {
        return;
    }
    let total: f64 = ops.iter().map(|op| op.seconds).sum();
    println!(
        "\n{:<32}{:>10}{:>10}{:>13}{:>13}",
        "op", "ms", "share", "GFLOP/s", "GB/s"
    );
    for op in ops {
        let per_second = |n: f64| match n > 0.0 {
            true => format!("{:.1}", n / op.seconds.max(1e-9) / 1e9),
            false => String::new(),
        };
        println!(
            "{:<32}{:>10.2}{:>8.1} %{:>13}{:>13}",
            op.name,
            1e3 * op.seconds,
            100.0 * op.seconds / total,
            per_second(op.flops),
            per_second(op.bytes)
        );
    }
    println!("{:<32}{:>10.2}", "together", 1e3 * total);
}

/// One thread, then all, where that is more than one.
fn thread_counts() -> Vec<usize> {
    match rayon::current_num_threads() {
        1 => vec![1],
        all => vec![1, all],
    }
}

fn run_product(args: ProductArgs) -> Result<()> {
    let machine = Machine::here();
    let (m, n, k) = (args.m.get(), args.n.get(), args.k.get());
    if m as f64 * n as f64 > 1e9 || m as f64 * k as f64 > 1e9 || k as f64 * n as f64 > 1e9 {
        return Err(Error::input(format!(
            "{m} × {n} × {k}: a matrix has more than 1e9 elements; take smaller ones"
        )));
    }
    let asked = dtype(&args.dtype)?;
    let in_hardware = crate::bench::peak::has_bf16();
    let precision = asked.unwrap_or(match in_hardware {
        true => Precision::Bf16,
        false => Precision::F32,
    });
    let rounded = precision == Precision::Bf16 && !in_hardware;
    let reports: Vec<ProductReport> = thread_counts()
        .into_iter()
        .map(|threads| on_threads(threads, || product::measure(precision, m, n, k)))
        .collect();
    if args.json {
        let dtype = match precision {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        };
        return print_json(&json!({
            "machine": machine, "dtype": dtype, "peak_is_f32": rounded, "products": reports,
        }));
    }
    print_machine(&machine);
    row(
        "product",
        &format!("{m} × {n} × {k}, kernel {}", reports[0].kernel),
    );
    if rounded {
        row(
            "peak",
            "of f32: this CPU does not multiply bf16, which is rounded and multiplied as f32",
        );
    }
    println!(
        "\n{:<32}{:>10}{:>12}{:>12}{:>12}",
        "", "threads", "ms", "GFLOP/s", "of peak"
    );
    for r in &reports {
        let line = |name: &str, seconds: f64, multiplies: bool| {
            let rate = r.flops / seconds;
            let (rate, share) = match multiplies {
                true => (
                    format!("{:.1}", rate / 1e9),
                    format!("{:.1} %", 100.0 * rate / r.peak),
                ),
                false => (String::new(), String::new()),
            };
            println!(
                "{name:<32}{:>10}{:>12.3}{rate:>12}{share:>12}",
                r.threads,
                1e3 * seconds
            );
        };
        line("product, B packed before", r.product, true);
        line("product and packing of B", r.together, true);
        line("packing of B", r.pack_b, false);
        if r.threads == 1 {
            line("packing of A (in the product)", r.pack_a, false);
        }
    }
    Ok(())
}

fn run_update(args: UpdateArgs) -> Result<()> {
    let machine = Machine::here();
    let params = args.params.get();
    if params > 4_000_000_000 {
        return Err(Error::input(format!(
            "--params {params}: 4e9 at most, which already take 64 GB"
        )));
    }
    let report = on_threads(machine.threads, || update::measure(params))?;
    let rate = report.bytes / report.seconds;
    let best = report.bandwidth.best();
    if args.json {
        return print_json(&json!({
            "machine": machine, "update": report,
            "bytes_per_second": rate, "of_bandwidth": rate / best,
        }));
    }
    print_machine(&machine);
    row(
        "update",
        &format!(
            "{} parameters, {:.1} ms, {:.1} GB/s at {} bytes a parameter",
            thousands(params as u64),
            1e3 * report.seconds,
            rate / 1e9,
            update::BYTES_A_PARAMETER
        ),
    );
    let b = &report.bandwidth;
    for (name, rate_of) in [("read", b.read), ("copy", b.copy), ("triad", b.triad)] {
        let mark = if rate_of == best { ", the peak" } else { "" };
        row(
            &format!("of {name}"),
            &format!(
                "{:.1} % of {:.1} GB/s{mark}",
                100.0 * rate / rate_of,
                rate_of / 1e9
            ),
        );
    }
    Ok(())
}

fn run_peak(args: PeakArgs) -> Result<()> {
    let machine = Machine::here();
    let (flops, bandwidth) = on_threads(machine.threads, || {
        (FlopPeak::measure(), Bandwidth::measure())
    });
    if args.json {
        return print_json(&json!({"machine": machine, "peak": flops, "bandwidth": bandwidth}));
    }
    print_machine(&machine);
    print_peaks(&flops, &bandwidth);
    Ok(())
}
