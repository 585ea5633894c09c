//! Times every op, fused against composed, at the shapes of a small model:
//! `cargo bench --bench ops [-- NAME]`.
//!
//! A time is the median of several runs, alternating between the two, on all threads; it
//! includes what candle's tape adds (an addition to a zeroed gradient for every argument).

use candle_core::{Device, Result, Tensor, Var};
use lehr::ops::*;
use std::time::{Duration, Instant};

const B: usize = 16;
const T: usize = 256;
const D: usize = 256;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HIDDEN: usize = 704;
const V: usize = 4096;
const RUNS: usize = 9;

type Op<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

fn main() -> Result<()> {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    println!("B = {B}, T = {T}, D = {D}, heads {HEADS} ({KV_HEADS} for keys), V = {V}");
    println!(
        "{:<26}{:>22}{:>30}",
        "", "forward, ms", "forward and backward, ms"
    );
    println!(
        "{:<26}{:>10}{:>12}{:>10}{:>10}{:>12}{:>10}{:>10}",
        "", "fused", "composed", "ratio", "fused", "composed", "ratio", "GFLOP/s"
    );
    let ids = |count: usize, shape: &[usize]| {
        let ids: Vec<u32> = (0..count as u64)
            .map(|i| (i * i * 2_654_435_761 % V as u64) as u32)
            .collect();
        Tensor::from_vec(ids, shape, &Device::Cpu)
    };
    let bench =
        |name: &str, shapes: &[&[usize]], flops: usize, fused: Op, composed: Op| match &filter {
            Some(filter) if !name.contains(filter.as_str()) => Ok(()),
            _ => row(name, shapes, flops, fused, composed),
        };

    let n = B * T;
    let targets = ids(n, &[n])?;
    bench(
        "linear_cross_entropy",
        &[&[n, D], &[V, D]],
        6 * n * D * V,
        &|t| linear_cross_entropy(&t[0], &t[1], &targets),
        &|t| linear_cross_entropy::composition::linear_cross_entropy(&t[0], &t[1], &targets),
    )?;
    let head = D / HEADS;
    let q_shape = [B, T, HEADS, head];
    let kv_shape = [B, T, KV_HEADS, head];
    let attention_shapes: [&[usize]; 3] = [&q_shape, &kv_shape, &kv_shape];
    let drop = Dropout { p: 0.1, key: 1 };
    for (name, dropout) in [("attention", None), ("attention, dropout", Some(drop))] {
        bench(
            name,
            &attention_shapes,
            7 * B * T * T * D,
            &|t| attention(&t[0], &t[1], &t[2], dropout),
            &|t| attention::composition::attention(&t[0], &t[1], &t[2], dropout),
        )?;
    }
    for (name, layout) in [
        ("linear, out x in", WeightLayout::OutIn),
        ("linear, in x out", WeightLayout::InOut),
    ] {
        let weight = match layout {
            WeightLayout::OutIn => [HIDDEN, D],
            WeightLayout::InOut => [D, HIDDEN],
        };
        bench(
            name,
            &[&[B, T, D], &weight],
            6 * n * D * HIDDEN,
            &|t| linear(&t[0], &t[1], None, layout),
            &|t| linear::composition::linear(&t[0], &t[1], None, layout),
        )?;
    }
    bench(
        "linear, bias",
        &[&[B, T, D], &[HIDDEN, D], &[HIDDEN]],
        6 * n * D * HIDDEN,
        &|t| linear(&t[0], &t[1], Some(&t[2]), WeightLayout::OutIn),
        &|t| linear::composition::linear(&t[0], &t[1], Some(&t[2]), WeightLayout::OutIn),
    )?;
    bench(
        "rms_norm",
        &[&[B, T, D], &[D]],
        14 * n * D,
        &|t| rms_norm(&t[0], &t[1], 1e-5),
        &|t| rms_norm::composition::rms_norm(&t[0], &t[1], 1e-5),
    )?;
    bench(
        "layer_norm",
        &[&[B, T, D], &[D], &[D]],
        20 * n * D,
        &|t| layer_norm(&t[0], &t[1], &t[2], 1e-5),
        &|t| layer_norm::composition::layer_norm(&t[0], &t[1], &t[2], 1e-5),
    )?;
    bench(
        "swiglu",
        &[&[B, T, HIDDEN], &[B, T, HIDDEN]],
        0,
        &|t| swiglu(&t[0], &t[1]),
        &|t| swiglu::composition::swiglu(&t[0], &t[1]),
    )?;
    bench("gelu", &[&[B, T, 4 * D]], 0, &|t| gelu(&t[0]), &|t| {
        gelu::composition::gelu(&t[0])
    })?;
    let table = RopeTable::new(T, head, 10_000.0, &Device::Cpu)?;
    bench("rope", &[&q_shape], 0, &|t| rope(&t[0], &table), &|t| {
        rope::composition::rope(&t[0], &table)
    })?;
    let ids = ids(n, &[B, T])?;
    bench(
        "embedding",
        &[&[V, D]],
        0,
        &|t| embedding(&ids, &t[0]),
        &|t| embedding::composition::embedding(&ids, &t[0]),
    )?;
    bench(
        "dropout",
        &[&[B, T, D]],
        0,
        &|t| dropout(&t[0], drop),
        &|t| dropout::composition::dropout(&t[0], drop),
    )
}

fn row(name: &str, shapes: &[&[usize]], flops: usize, fused: Op, composed: Op) -> Result<()> {
    let vars: Vec<Var> = shapes
        .iter()
        .map(|&shape| Var::randn(0f32, 0.1, shape, &Device::Cpu))
        .collect::<Result<_>>()?;
    let tracked: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let detached: Vec<Tensor> = tracked.iter().map(Tensor::detach).collect();
    let time = |op: Op, inputs: &[Tensor], backward: bool| -> Result<Duration> {
        let start = Instant::now();
        let output = op(inputs)?;
        if backward {
            output.backward()?;
        }
        Ok(start.elapsed())
    };
    let mut times: [Vec<Duration>; 4] = Default::default();
    for _ in 0..RUNS {
        times[0].push(time(fused, &detached, false)?);
        times[1].push(time(composed, &detached, false)?);
        times[2].push(time(fused, &tracked, true)?);
        times[3].push(time(composed, &tracked, true)?);
    }
    let [f, cf, fb, cfb] = times.map(|mut times| {
        times.sort();
        times[RUNS / 2].as_secs_f64() * 1e3
    });
    let speed = match flops {
        0 => String::new(),
        flops => format!("{:.0}", flops as f64 / fb / 1e6),
    };
    println!(
        "{name:<26}{f:>10.2}{cf:>12.2}{:>9.1}x{fb:>10.2}{cfb:>12.2}{:>9.1}x{speed:>10}",
        cf / f,
        cfb / fb
    );
    Ok(())
}
