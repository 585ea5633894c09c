//! Widths and depths that divide well, by how close they come to a number of parameters.

use super::{Counted, FARTHEST, Request};
use crate::model::flops::ParamCount;
use crate::model::{Family, ModelConfig};
use std::ops::RangeInclusive;

/// Width over depth: 48 is the middle of Hägele's 33M to 360M (width 1024 at most), whose ends are a third away …
const USUAL: f64 = 48.0;
const USUAL_UP_TO: f64 = 1024.0;
const RANGE: RangeInclusive<f64> = 2.0 / 3.0..=4.0 / 3.0;
/// … and larger models are wider: Chinchilla's 8192 over 80 is on this power.
const GROWTH: f64 = 1.0 / 3.0;
/// A shape a third away from the usual counts as much as 3 % of N, which changes the loss by less than a run's noise.
const SHAPE: f64 = 0.1;
const WIDEST: usize = 16384;
/// This many of the closest are counted exactly.
const EXACT: usize = 64;

/// Models, and what their MLP's width is a multiple of, best first, one a width.
pub(super) fn near(n: f64, request: &Request) -> Vec<(ModelConfig, usize)> {
    let mut found: Vec<(f64, ModelConfig, usize)> = Vec::new();
    for n_embd in widths() {
        let usual = USUAL * (n_embd as f64 / USUAL_UP_TO).max(1.0).powf(GROWTH);
        let depth = |off: f64| n_embd as f64 / (usual * off);
        let fewest = (depth(*RANGE.end()).ceil() as usize).max(1);
        let most = (depth(*RANGE.start()).floor() as usize).max(fewest);
        for n_layer in fewest..=most {
            let (model, multiple_of) = model(n_embd, n_layer, request);
            let shape = SHAPE * (depth(1.0) / n_layer as f64).ln().abs();
            let off = (about(&model, request) / n).ln().abs();
            found.push((off + shape, model, multiple_of));
        }
    }
    // Stable sorts: of equals the narrower comes first, on every machine.
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found.truncate(EXACT);
    found.retain_mut(|(score, model, _)| {
        let exact = request.counted.of(&ParamCount::of(model)) as f64;
        let off = (exact / n).ln().abs();
        *score += off - (about(model, request) / n).ln().abs();
        off <= FARTHEST.ln()
    });
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut seen = Vec::new();
    found.retain(|(_, model, _)| {
        let new = !seen.contains(&model.n_embd);
        seen.push(model.n_embd);
        new
    });
    let models = found.into_iter();
    models
        .map(|(_, model, multiple)| (model, multiple))
        .collect()
}

/// Parameters but for the norms, counted as the law counts them.
fn about(model: &ModelConfig, request: &Request) -> f64 {
    let table = model.vocab_size as f64 * model.n_embd as f64;
    let tables = if model.tied { table } else { 2.0 * table };
    let blocks = model.about_parameters() - tables;
    match request.counted {
        Counted::Total => blocks + tables,
        Counted::NonEmbedding => blocks,
        Counted::WithHead => blocks + table,
    }
}

/// Multiples of 32 below 256, of 64 below 1024, of 128 above.
fn widths() -> impl Iterator<Item = usize> {
    (32..256)
        .step_by(32)
        .chain((256..1024).step_by(64))
        .chain((1024..=WIDEST).step_by(128))
}

fn model(n_embd: usize, n_layer: usize, request: &Request) -> (ModelConfig, usize) {
    let head_dim = if n_embd >= 256 { 64 } else { 32 };
    let multiple_of = if n_embd >= 256 { 256 } else { 64 };
    let model = ModelConfig {
        family: Family::Llama,
        vocab_size: request.vocab_size,
        max_positions: request.sequence_length,
        n_layer,
        n_head: n_embd / head_dim,
        n_kv_head: n_embd / head_dim,
        n_embd,
        head_dim,
        intermediate_size: ModelConfig::swiglu_width(n_embd, multiple_of),
        tied: request.tied,
        dropout: 0.0,
        norm_eps: 1e-5,
        rope_theta: 1e4,
        init_std: 0.02,
    };
    (model, multiple_of)
}
