//! Whole training steps on random tokens.

use super::gpu::{self, OnGpu};
use super::machine::Machine;
use super::median;
use super::naive::Naive;
use super::on_threads;
use super::peak::{Bandwidth, FlopPeak};
use super::process::{Counts, PerStep, peak_resident};
use crate::error::Result;
use crate::kernels::gemm::{Micro, Precision};
use crate::model::ModelConfig;
use crate::model::flops::{ForwardFlops, TRAIN_OVER_FORWARD};
use crate::text::loader::{MicroBatch, StepBatch};
use crate::train::RunConfig;
use crate::train::config::Dtype;
use crate::train::device::DeviceKind;
use crate::train::setup::{Start, initial_model};
use crate::train::trainer::Trainer;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Serialize;
use std::time::Instant;

/// Who computes the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Implementation {
    /// The trainer of `lehr train`
    Lehr,
    /// Plain candle operations, candle's tape and AdamW
    Candle,
}

/// How many steps.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// Steps before the clock runs, at least 1: the first takes the memory.
    pub warmup: usize,
    pub timed: Timed,
}

/// How long the clock runs.
#[derive(Clone, Copy, Debug)]
pub enum Timed {
    Steps(usize),
    /// About this long, three steps at least.
    Seconds(f64),
}

/// Time that one kind of operation took in one step.
#[derive(Clone, Debug, Serialize)]
pub struct OpTime {
    pub name: String,
    pub seconds: f64,
    pub flops: f64,
    pub bytes: f64,
    /// What the machine could do it in: its operations at the peak or its bytes at the memory's
    /// bandwidth, whichever takes longer (a working set inside the caches may beat the latter).
    pub floor_seconds: f64,
}

/// What can be timed.
trait Subject {
    /// One step; returns the loss before its update.
    fn step(&mut self, batch: &StepBatch) -> Result<f64>;

    /// One more step, timed operation by operation; nothing where nobody measures. Apart from the timed
    /// steps, so that looking at the clock costs them nothing.
    fn op_times(&mut self, _batch: &StepBatch) -> Result<Vec<OpTime>> {
        Ok(Vec::new())
    }

    /// What it ran on, if not on the processor.
    fn on_gpu(&mut self) -> Result<Option<OnGpu>> {
        Ok(None)
    }
}

impl Subject for Trainer {
    /// Returns after the device has finished, for the loss is read from it.
    fn step(&mut self, batch: &StepBatch) -> Result<f64> {
        Ok(Trainer::step(self, batch)?.loss)
    }

    fn on_gpu(&mut self) -> Result<Option<OnGpu>> {
        let kind = self.config().train.device;
        let dtype = self.config().train.dtype;
        let Some(device) = self.engine().cuda() else {
            return Ok((kind == DeviceKind::Metal).then(|| OnGpu {
                name: "Metal".into(),
                peak: None,
                memory: None,
            }));
        };
        // Before the peak may have to be measured, which takes memory.
        let memory = Some(device.taken());
        let name = device.name().to_string();
        let peak = Some(gpu::peak(device, dtype)?);
        Ok(Some(OnGpu { name, peak, memory }))
    }

    fn op_times(&mut self, batch: &StepBatch) -> Result<Vec<OpTime>> {
        self.engine().clear_times();
        Trainer::step(self, batch)?;
        let times = self.times();
        let times = times.list().iter().map(|t| OpTime {
            name: t.name.into(),
            seconds: t.elapsed.as_secs_f64(),
            flops: t.flops,
            bytes: t.bytes,
            floor_seconds: 0.0,
        });
        Ok(times.collect())
    }
}

impl Subject for Naive {
    fn step(&mut self, batch: &StepBatch) -> Result<f64> {
        Naive::step(self, batch)
    }
}

/// Median, smallest and largest over the timed steps.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        Spread {
            median: median(&values),
            min: values[0],
            max: values[values.len() - 1],
        }
    }
}

/// Operations of one step by one way of counting, and what they make of the median step.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rate {
    pub flops_per_step: f64,
    pub flops_per_second: f64,
    /// Of the peak of the step's precision; on a GPU this is the model FLOPs utilisation (MFU). None where no peak is known.
    pub of_peak: Option<f64>,
}

/// What `lehr bench step` says.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    pub implementation: Implementation,
    /// What products are computed in: "f32", "tf32" or "bf16".
    pub dtype: &'static str,
    pub machine: Machine,
    pub model: ModelConfig,
    pub params: usize,
    pub sequence_length: usize,
    pub batch_size: usize,
    pub grad_accumulation: usize,
    /// Activations inside blocks computed again on the way back.
    pub recompute: bool,
    /// Where it ran, if not on the processor; peaks and bandwidth of the processor are then none of this report's.
    pub gpu: Option<OnGpu>,
    /// The micro-kernel of the products, or the library.
    pub kernel: &'static str,
    pub tokens_per_step: u64,
    pub warmup_steps: usize,
    pub steps: usize,
    /// Of the median step.
    pub tokens_per_second: f64,
    /// 10⁹ operations a second of the median step, counted as `causal` counts.
    pub gflops: f64,
    /// `gflops` over the peak of the step's dtype.
    pub fraction_of_peak: Option<f64>,
    /// Bytes of this machine's memory, over the whole process until the last timed step.
    pub peak_rss: Option<u64>,
    pub tokens_per_second_spread: Spread,
    pub seconds_per_step: Spread,
    /// As executed where attention leaves out what the causal mask hides: the pairs of a query and
    /// a key that it may see are S(S+1)/2 of S². Recomputation is not counted.
    pub causal: Rate,
    /// The convention of papers: attention charged for the full square.
    pub full_square: Rate,
    pub peak: Option<FlopPeak>,
    pub bandwidth: Option<Bandwidth>,
    pub per_step: PerStep,
    /// Mean loss of the first step, before any update: about ln V.
    pub first_loss: f64,
    pub last_loss: f64,
    pub ops: Vec<OpTime>,
}

/// Trains for a few steps on random tokens and reports.
pub fn measure(
    implementation: Implementation,
    config: &RunConfig,
    vocab_size: usize,
    length: Length,
) -> Result<StepReport> {
    let machine = Machine::here();
    let threads = machine.threads;
    let precision = match implementation {
        Implementation::Lehr => config.train.dtype.precision(),
        Implementation::Candle => Precision::F32,
    };
    let here = matches!(config.train.device, DeviceKind::Cpu | DeviceKind::Auto);
    let peak_before = here.then(|| on_threads(threads, FlopPeak::measure));

    let (model, params) = initial_model(config, vocab_size, &Start::Seed)?;
    let elements = params.elements();
    let mut subject: Box<dyn Subject> = match implementation {
        Implementation::Lehr => Box::new(Trainer::new(config.clone(), model.clone(), params)?),
        Implementation::Candle => {
            let lr = config.schedule.peak_lr;
            Box::new(Naive::new(&model, &params, &config.optim, lr)?)
        }
    };
    // A few different batches, made before the clock runs.
    let batches: Vec<_> = (0..4)
        .map(|i| random_batch(config, vocab_size, i))
        .collect();
    let mut batches = batches.iter().cycle();
    let mut next = || batches.next().expect("a cycle has no end");

    let first_loss = subject.step(next())?;
    for _ in 1..length.warmup {
        subject.step(next())?;
    }
    let mut seconds = Vec::new();
    let mut last_loss = first_loss;
    let before = Counts::now();
    let start = Instant::now();
    while match length.timed {
        Timed::Steps(n) => seconds.len() < n,
        Timed::Seconds(s) => seconds.len() < 3 || start.elapsed().as_secs_f64() < s,
    } {
        let batch = next();
        let began = Instant::now();
        last_loss = subject.step(batch)?;
        seconds.push(began.elapsed().as_secs_f64());
    }
    let steps = seconds.len();
    let per_step = Counts::now().since(&before, steps);
    let peak_rss = peak_resident();
    let mut ops = subject.op_times(next())?;
    let gpu = subject.on_gpu()?;
    drop(subject);

    let after = peak_before.map(|before| {
        let (peak, bandwidth) = on_threads(threads, || (FlopPeak::measure(), Bandwidth::measure()));
        (before.max(peak), bandwidth)
    });
    if let Some((peak, bandwidth)) = after {
        for op in &mut ops {
            let (flops, bytes) = (peak.of(precision), bandwidth.best());
            op.floor_seconds = (op.flops / flops).max(op.bytes / bytes);
        }
    }
    let (peak, bandwidth) = after.unzip();
    let held_against = match &gpu {
        Some(gpu) => gpu.peak.map(|p| p.flops),
        None => peak.map(|p| p.of(precision)),
    };
    let tokens = config.tokens_per_step();
    let seconds_per_step = Spread::of(seconds);
    let s = config.train.sequence_length;
    let forward = ForwardFlops::of(&model, s);
    let rate = |a_sequence: f64| {
        let sequences = tokens as f64 / s as f64;
        let flops_per_step = TRAIN_OVER_FORWARD * a_sequence * sequences;
        let flops_per_second = flops_per_step / seconds_per_step.median;
        Rate {
            flops_per_step,
            flops_per_second,
            of_peak: held_against.map(|peak| flops_per_second / peak),
        }
    };
    let causal = rate(forward.causal(s));
    let tokens_a_second = |seconds: f64| tokens as f64 / seconds;
    Ok(StepReport {
        implementation,
        dtype: match precision {
            Precision::F32 if config.train.dtype == Dtype::Tf32 => "tf32",
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        },
        machine,
        params: elements,
        sequence_length: s,
        batch_size: config.train.batch_size,
        grad_accumulation: config.train.grad_accumulation,
        recompute: config.train.recompute,
        kernel: match config.train.device {
            DeviceKind::Cuda => "cuBLASLt",
            DeviceKind::Metal => "candle",
            DeviceKind::Cpu | DeviceKind::Auto => Micro::of(precision).name,
        },
        gpu,
        tokens_per_step: tokens,
        warmup_steps: length.warmup,
        steps,
        tokens_per_second: tokens_a_second(seconds_per_step.median),
        gflops: causal.flops_per_second / 1e9,
        fraction_of_peak: causal.of_peak,
        peak_rss,
        tokens_per_second_spread: Spread {
            median: tokens_a_second(seconds_per_step.median),
            min: tokens_a_second(seconds_per_step.max),
            max: tokens_a_second(seconds_per_step.min),
        },
        causal,
        full_square: rate(forward.executed()),
        seconds_per_step,
        model,
        peak,
        bandwidth,
        per_step,
        first_loss,
        last_loss,
        ops,
    })
}

/// Uniform token ids: no batch is easier than another, and the loss starts at about ln V.
fn random_batch(config: &RunConfig, vocab_size: usize, number: u64) -> StepBatch {
    let t = &config.train;
    let n = t.batch_size * t.sequence_length;
    let mut rng = ChaCha8Rng::seed_from_u64(t.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut ids = |n: usize| -> Vec<u32> {
        let id = |_| (rng.next_u64() % vocab_size as u64) as u32;
        (0..n).map(id).collect()
    };
    let micro_batches = (0..t.grad_accumulation).map(|_| MicroBatch {
        tokens: ids(n),
        targets: ids(n),
        rows: t.batch_size,
        sequence_length: t.sequence_length,
    });
    StepBatch {
        micro_batches: micro_batches.collect(),
    }
}
