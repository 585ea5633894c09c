//! The optimiser's step alone, as a share of the memory bandwidth.

use super::best;
use super::peak::Bandwidth;
use crate::error::{Error, Result};
use crate::model::params::{Init, ParamSpec};
use crate::model::{ParamKind, Params};
use crate::optim::{AdamW, AdamWConfig, clip_coefficient, global_norm};
use candle_core::{Device, Tensor};
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
pub fn measure(params: usize) -> Result<UpdateReport> {
    let spec = ParamSpec {
        name: "weight".into(),
        shape: vec![params],
        kind: ParamKind::Matrix,
        init: Init::Ones,
    };
    let device = Device::Cpu;
    let weights = Params::init(vec![spec], 0, &device)?;
    let grads = [Tensor::full(1e-3f32, params, &device).map_err(Error::backend)?];
    let config = AdamWConfig::default();
    let max_norm = config.grad_clip;
    let mut optimizer = AdamW::new(config, &weights, &device)?;
    let mut outcome = Ok(());
    let seconds = best(1.0, || {
        let step = global_norm(&grads).and_then(|norm| {
            let clip = clip_coefficient(norm, max_norm);
            optimizer.step(&weights, &grads, 1e-3, clip)
        });
        if step.is_err() {
            outcome = step;
        }
    });
    outcome?;
    Ok(UpdateReport {
        params,
        threads: rayon::current_num_threads(),
        seconds,
        bytes: BYTES_A_PARAMETER * params as f64,
        bandwidth: Bandwidth::measure(),
    })
}
