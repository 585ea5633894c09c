//! Fits of synthetic curves, whose truth is known, and of the public ones.

mod bad_input;
mod coverage;
mod invariance;
mod public;
mod recovery;
mod room;

use crate::curve::{LossCurve, LossKind, LrOrigin, Point, WarmUp};
use crate::fit::random;
use crate::law::{self, Law, LawOptions};
use std::f64::consts::PI;
use std::sync::Arc;

pub(super) const WARMUP: u64 = 400;

pub(super) fn law(name: &str) -> Arc<dyn Law> {
    law::by_name(name, &LawOptions::default()).unwrap().into()
}

/// LRs of a run with peak 1e-3 and a linear warm-up; `shape` maps the share of the run to that of the peak.
pub(super) fn run(steps: u64, shape: impl Fn(f64) -> f64) -> Vec<f64> {
    (0..steps)
        .map(|s| match s < WARMUP {
            true => 1e-3 * (s + 1) as f64 / WARMUP as f64,
            false => 1e-3 * shape((s - WARMUP) as f64 / (steps - WARMUP) as f64),
        })
        .collect()
}

pub(super) fn cosine(x: f64) -> f64 {
    0.1 + 0.45 * (1.0 + (PI * x).cos())
}

/// A cooldown to a tenth over the last fifth.
pub(super) fn wsd(x: f64) -> f64 {
    1.0 - 0.9 * (5.0 * (x - 0.8)).max(0.0)
}

/// A drop to 30 % half-way.
pub(super) fn drop(x: f64) -> f64 {
    if x < 0.5 { 1.0 } else { 0.3 }
}

/// A curve without losses yet, logged every `every` steps after the warm-up.
pub(super) fn curve(name: &str, lrs: Vec<f64>, every: u64) -> LossCurve {
    let last = lrs.len() as u64;
    let steps = (1..)
        .map(|i| WARMUP + every * i)
        .take_while(|&step| step <= last);
    LossCurve {
        name: name.into(),
        points: steps.map(|step| Point { step, loss: 0.0 }).collect(),
        lrs,
        lr_origin: LrOrigin::EveryStep,
        kind: LossKind::Validation,
        warmup: WarmUp::Known(WARMUP),
        parameters: None,
        notes: Vec::new(),
    }
}

/// Noise of a run, relative: `sd`, of which the share `slow` is correlated over `tau` steps, and the
/// standard deviation of the whole run's offset.
#[derive(Clone, Copy)]
pub(super) struct RunNoise {
    pub sd: f64,
    pub slow: f64,
    pub tau: f64,
    pub offset: f64,
}

/// The same curve with the losses that `law` says, and noise.
pub(super) fn observed(
    curve: &LossCurve,
    law: &dyn Law,
    truth: &[f64],
    noise: RunNoise,
    stream: u64,
) -> LossCurve {
    let mut rng = random::stream(stream, 99, 0);
    let path = super::path_of(curve);
    let mut losses = vec![0.0; path.steps.len()];
    law.evaluate(&path, truth, &mut losses, None);
    let offset = noise.offset * random::normal(&mut rng);
    let mut slow = random::normal(&mut rng);
    let mut out = curve.clone();
    for (i, loss) in losses.iter().enumerate() {
        if i > 0 {
            let keep = (-(path.steps[i] - path.steps[i - 1]) / noise.tau).exp();
            slow = keep * slow + (1.0 - keep * keep).sqrt() * random::normal(&mut rng);
        }
        let error = noise.slow.sqrt() * slow + (1.0 - noise.slow).sqrt() * random::normal(&mut rng);
        out.points[i].loss = loss * (offset + noise.sd * error).exp();
    }
    out
}

pub(super) const NO_NOISE: RunNoise = RunNoise {
    sd: 0.0,
    slow: 0.0,
    tau: 1.0,
    offset: 0.0,
};

/// Three short runs: constant, cosine, and one sharp drop.
pub(super) fn three() -> Vec<LossCurve> {
    vec![
        curve("cosine", run(6000, cosine), 60),
        curve("constant", run(6000, |_| 1.0), 60),
        curve("drop", run(5000, drop), 60),
    ]
}
