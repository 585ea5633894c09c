//! `lehr bench`: what the machine can do, and how much of it a training step reaches.

mod step;

use super::format::{thousands, wrap};
use crate::bench::machine::Machine;
use crate::bench::peak::{Bandwidth, FlopPeak};
use crate::bench::product::{self, ProductReport};
use crate::bench::{on_threads, update};
use crate::error::{Error, Result};
use crate::kernels::gemm::{self, Precision};
use clap::Subcommand;
use serde_json::json;
use std::num::NonZeroUsize;

/// Measure the machine and the training step
///
/// Every figure is a share of a peak that is measured beside it (of a GPU, its data sheet's where that is known). Leave the
/// machine idle meanwhile.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "one of these is parsed, once")]
enum What {
    Step(step::Args),
    Product(ProductArgs),
    Update(UpdateArgs),
    Peak(PeakArgs),
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
        What::Step(args) => step::run(args),
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
    if rate >= 1e13 {
        return format!("{:.1} TFLOP/s", rate / 1e12);
    }
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
    let in_hardware = gemm::has_bf16();
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
    let report = on_threads(machine.threads, || update::measure(params));
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
