//! Widths and depths that divide well, by how close they come to a number of parameters.

use super::{FARTHEST, Request};
use crate::model::flops::ParamCount;
use crate::model::{Family, ModelConfig};

/// Width over depth of Hägele's models; Chinchilla and Llama go on to about 128 where they are wide.
const NARROWEST: f64 = 32.0;
const WIDEST: f64 = 64.0;
const WIDEST_OF_LARGE: f64 = 128.0;
const LARGE: usize = 2048;
/// In the middle of the table: what an equally close model is measured by.
const USUAL: f64 = 48.0;
/// A shape twice off [`USUAL`] counts as much as 3.5 % of N.
const SHAPE: f64 = 0.05;
const WIDEST_MODEL: usize = 16384;

/// Models, and what their MLP's width is a multiple of, best first.
pub(super) fn near(n: f64, request: &Request) -> Vec<(ModelConfig, usize)> {
    let mut found: Vec<(f64, ModelConfig, usize)> = Vec::new();
    for n_embd in widths() {
        let widest = if n_embd >= LARGE {
            WIDEST_OF_LARGE
        } else {
            WIDEST
        };
        let depth = |ratio: f64| n_embd as f64 / ratio;
        let fewest = (depth(widest).ceil() as usize).max(1);
        let most = (depth(NARROWEST).floor() as usize).max(fewest);
        for n_layer in fewest..=most {
            let (model, multiple_of) = model(n_embd, n_layer, request);
            // Cheap first: most shapes are far from what is wanted.
            let about = model.about_parameters();
            if request.counted == super::Counted::Total
                && !(n / (2.0 * FARTHEST)..=n * 2.0 * FARTHEST).contains(&about)
            {
                continue;
            }
            let params = request.counted.of(&ParamCount::of(&model)) as f64;
            let off = (params / n).ln().abs();
            if off <= FARTHEST.ln() {
                let shape = (depth(1.0) / n_layer as f64 / USUAL).ln().abs();
                found.push((off + SHAPE * shape, model, multiple_of));
            }
        }
    }
    // Sorted stably: of equals the narrower comes first, on every machine.
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found
        .into_iter()
        .map(|(_, m, multiple)| (m, multiple))
        .collect()
}

/// Multiples of 32 below 256, of 64 below 2048, of 256 above.
fn widths() -> impl Iterator<Item = usize> {
    (32..256)
        .step_by(32)
        .chain((256..LARGE).step_by(64))
        .chain((LARGE..=WIDEST_MODEL).step_by(256))
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
