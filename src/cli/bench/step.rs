//! `lehr bench step`: whole training steps.

use super::{gflops, print_json, print_machine, print_peaks, row};
use crate::bench::gpu::{OnGpu, PeakSource};
use crate::bench::process::LARGE;
use crate::bench::step::{self, Implementation, Length, OpTime, Rate, StepReport, Timed};
use crate::cli::flops::vocab_size;
use crate::cli::format::{count, thousands, wrap};
use crate::cli::train::{ModelFlags, lay};
use crate::error::{Error, Result};
use crate::train::RunConfig;
use crate::train::config::Dtype;
use crate::train::device::DeviceKind;
use crate::train::recipe::Layers;
use std::num::NonZeroUsize;
use toml::Value;

/// Whole training steps of a recipe's model on random tokens
#[derive(clap::Args)]
#[command(
    args_override_self = true,
    allow_negative_numbers = true,
    after_help = "Example:\n  lehr bench step --config bench-gpt2-10m --steps 20"
)]
pub(super) struct Args {
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
    /// What products are computed in
    #[arg(long)]
    dtype: Option<Dtype>,
    /// Where to train
    #[arg(long)]
    device: Option<DeviceKind>,
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

impl Args {
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
        let device = self.device.map(|d| Value::String(d.to_string()));
        lay(&mut layers, "--device", "train.device", device)?;
        let dtype = self.dtype.map(|d| Value::String(d.to_string()));
        lay(&mut layers, "--dtype", "train.dtype", dtype)?;
        for assignment in &self.set {
            layers.assign(assignment)?;
        }
        layers.finish()
    }
}

pub(super) fn run(args: Args) -> Result<()> {
    let timed = match args.seconds {
        Some(s) if s.is_finite() && s >= 0.0 => Timed::Seconds(s),
        Some(s) => {
            return Err(Error::input(format!("--seconds {s}: it must be 0 or more")));
        }
        None => Timed::Steps(args.steps.get()),
    };
    let mut config = args.config()?;
    if args.implementation == Implementation::Candle && config.train.dtype == Dtype::Auto {
        config.train.dtype = Dtype::F32;
    }
    for notice in config.train.resolve() {
        eprintln!("note  {}", wrap(&notice, 74, "      ").trim_start());
    }
    if args.implementation == Implementation::Candle && config.train.dtype == Dtype::Bf16 {
        return Err(Error::input(
            "--dtype bf16: plain candle widens bf16 to f32, and is measured in f32; give --dtype f32",
        ));
    }
    if args.implementation == Implementation::Candle && config.train.device != DeviceKind::Cpu {
        return Err(Error::input(format!(
            "--device {}: plain candle is timed on the processor; give --device cpu",
            config.train.device
        )));
    }
    let vocab_size = vocab_size(&config)?;
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

/// What the shares of the peak are made of.
const FORMULA: &str = "share = 3 × FLOPs of the forward pass ÷ (median seconds × peak); recomputation not counted (lehr flops lists the FLOPs)";

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
    if let Some((peak, bandwidth)) = r.peak.as_ref().zip(r.bandwidth.as_ref()) {
        print_peaks(peak, bandwidth);
    }
    for (name, text) in gpu_rows(r.gpu.as_ref(), r.dtype) {
        row(name, &text);
    }
    println!("\n{:<18}{:>14}{:>14}{:>14}", "", "median", "min", "max");
    let t = &r.tokens_per_second_spread;
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
            "{} of {}FLOP{} ({what})",
            gflops(rate.flops_per_second),
            count(rate.flops_per_step),
            rate.of_peak.map_or(String::new(), |x| format!(
                ", {:.1} % of the peak",
                100.0 * x
            )),
        );
        row(name, &text);
    };
    rate("causal", &r.causal, "as executed");
    rate("full square", &r.full_square, "the convention");
    row("", FORMULA);
    let peak = match r.peak_rss {
        Some(bytes) => format!("{:.0} MB", bytes as f64 / 1e6),
        None => "not known on this system".into(),
    };
    row(
        match r.gpu {
            Some(_) => "host memory",
            None => "peak memory",
        },
        &peak,
    );
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

/// Name, peak and memory of a GPU, as rows.
fn gpu_rows(gpu: Option<&OnGpu>, dtype: &str) -> Vec<(&'static str, String)> {
    let Some(gpu) = gpu else {
        return Vec::new();
    };
    let mut rows = vec![("GPU", gpu.name.clone())];
    if let Some(peak) = gpu.peak {
        let from = match peak.from {
            PeakSource::DataSheet => "dense, from the data sheet",
            PeakSource::Measured => "measured by products of 8192³, for want of a data sheet",
        };
        rows.push(("peak", format!("{dtype} {}, {from}", gflops(peak.flops))));
    }
    if let Some(memory) = gpu.memory {
        let gib = |bytes: usize| format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30));
        let card = memory.in_use.zip(memory.total);
        let card = card.map_or(String::new(), |(used, total)| {
            format!(
                "; {} of the card's {} in use, context and libraries included",
                gib(used),
                gib(total)
            )
        });
        rows.push((
            "GPU memory",
            format!("{} allocated at most{card}", gib(memory.peak)),
        ));
    }
    rows
}

fn print_ops(ops: &[OpTime]) {
    if ops.is_empty() {
        return;
    }
    let total: f64 = ops.iter().map(|op| op.seconds).sum();
    println!(
        "\n{:<27}{:>10}{:>10}{:>10}{:>11}{:>11}",
        "op", "ms", "floor", "share", "GFLOP/s", "GB/s"
    );
    for op in ops {
        let per_second = |n: f64| match n > 0.0 {
            true => format!("{:.1}", n / op.seconds.max(1e-9) / 1e9),
            false => String::new(),
        };
        println!(
            "{:<27}{:>10.2}{:>10.2}{:>8.1} %{:>11}{:>11}",
            op.name,
            1e3 * op.seconds,
            1e3 * op.floor_seconds,
            100.0 * op.seconds / total,
            per_second(op.flops),
            per_second(op.bytes)
        );
    }
    let floor: f64 = ops.iter().map(|op| op.floor_seconds).sum();
    println!(
        "{:<27}{:>10.2}{:>10.2}",
        "together",
        1e3 * total,
        1e3 * floor
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::gpu::GpuPeak;
    use crate::engine::cuda::ledger::Taken;

    #[test]
    fn a_gpu_has_a_name_a_peak_with_its_source_and_memory() {
        assert!(gpu_rows(None, "bf16").is_empty());
        let mut gpu = OnGpu {
            name: "NVIDIA H200".into(),
            peak: Some(GpuPeak {
                flops: 989.4e12,
                from: PeakSource::DataSheet,
            }),
            memory: Some(Taken {
                allocated: 0,
                peak: 3 << 30,
                in_use: Some(4 << 30),
                total: Some(140 << 30),
            }),
        };
        let rows = gpu_rows(Some(&gpu), "bf16");
        assert_eq!(rows[0], ("GPU", "NVIDIA H200".to_string()));
        assert_eq!(rows[1].1, "bf16 989.4 TFLOP/s, dense, from the data sheet");
        assert_eq!(
            rows[2].1,
            "3.00 GiB allocated at most; 4.00 GiB of the card's 140.00 GiB in use, context and libraries included"
        );
        (gpu.peak, gpu.memory) = (None, None);
        assert_eq!(gpu_rows(Some(&gpu), "f32").len(), 1);
    }
}
