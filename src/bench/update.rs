//! The optimiser's step alone, as a share of the memory bandwidth.

use super::best;
use super::peak::Bandwidth;
use crate::model::params::{Init, ParamSpec};
use crate::model::{ParamKind, Params};
use crate::optim::{AdamW, AdamWConfig, clip_coefficient};
use serde::Serialize;

/// Bytes a parameter that clipping and AdamW in f32 cannot do without: the norm reads the gradient
/// (4); the update reads weight, gradient and two moments (16) and writes all but the gradient (12).
pub const BYTES_A_PARAMETER: f64 = 32.0;

/// AdamW with clipping over `params` parameters.
#[derive(Clone, Debug, Serialize)]
pub struct UpdateReport {
    pub params: usize,
    pub threads: usize,
    /// Seconds of one norm and one update.
    pub seconds: f64,
    /// [`BYTES_A_PARAMETER`] × parameters.
    pub bytes: f64,
    pub bandwidth: Bandwidth,
}

/// Times updates in the current pool.
pub fn measure(params: usize) -> UpdateReport {
    let spec = ParamSpec {
        name: "weight".into(),
        shape: vec![params],
        kind: ParamKind::Matrix,
        init: Init::Ones,
    };
    let mut weights = Params::init(vec![spec], 0);
    let gradients = vec![1e-3; params];
    let config = AdamWConfig::default();
    let max_norm = config.grad_clip;
    let mut optimizer = AdamW::new(config, weights.specs());
    let seconds = best(1.0, || {
        let clip = clip_coefficient(optimizer.global_norm(&gradients), max_norm);
        optimizer.step(weights.values_mut(), &gradients, 1e-3, clip);
    });
    UpdateReport {
        params,
        threads: rayon::current_num_threads(),
        seconds,
        bytes: BYTES_A_PARAMETER * params as f64,
        bandwidth: Bandwidth::measure(),
    }
}
