//! Where a run trains.

use super::config::Dtype;
use crate::engine::Engine;
use crate::engine::cuda::device::Device;
use crate::error::{Error, Result};
use crate::kernels::gemm::Precision;
use crate::model::{ModelConfig, Params};
use serde::{Deserialize, Serialize};

/// What a run trains on. `auto` becomes one of the others when a run starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The first NVIDIA GPU, if there is one that can be used
    Auto,
    #[default]
    Cpu,
    /// The first NVIDIA GPU
    Cuda,
    /// Apple's GPU, through candle; f32
    Metal,
}

impl std::fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DeviceKind::Auto => "auto",
            DeviceKind::Cpu => "cpu",
            DeviceKind::Cuda => "cuda",
            DeviceKind::Metal => "metal",
        })
    }
}

impl DeviceKind {
    /// Configurations that say nothing are of runs on the processor, and their hashes stay what they were.
    pub fn is_cpu(&self) -> bool {
        *self == DeviceKind::Cpu
    }

    /// Settles `auto`; what the user should know about the choice.
    pub fn resolve(&mut self) -> Option<String> {
        if *self != DeviceKind::Auto {
            return None;
        }
        let (kind, notice) = match usable() {
            Ok(name) => (DeviceKind::Cuda, format!("device auto: {name}")),
            Err(why) => {
                let why = why.to_string();
                // That is what is done here.
                let why = why.trim_end_matches("; give --device cpu");
                (DeviceKind::Cpu, format!("device auto: cpu; {why}"))
            }
        };
        *self = kind;
        Some(notice)
    }

    /// An engine on it.
    ///
    /// # Errors
    /// There is no such device here, or it cannot be used: one sentence.
    pub fn engine(
        self,
        config: &ModelConfig,
        params: Params,
        dtype: Dtype,
        recompute: bool,
    ) -> Result<Engine> {
        let precision = dtype.precision();
        match self {
            DeviceKind::Cuda => {
                let device = open(config, precision, dtype == Dtype::Tf32)?;
                Engine::on_cuda(device, config, params, precision, recompute)
            }
            _ if dtype == Dtype::Tf32 => Err(Error::input(format!(
                "--dtype tf32: products round to TF32 on CUDA alone, and this run is on {self}; give --dtype f32",
            ))),
            DeviceKind::Metal if precision == Precision::Bf16 => Err(Error::input(
                "--dtype bf16: on Metal training is in f32; give --dtype f32",
            )),
            DeviceKind::Metal => Engine::on_tape(&metal()?, config, params),
            DeviceKind::Cpu | DeviceKind::Auto => {
                Ok(Engine::new(config, params, precision, recompute))
            }
        }
    }
}

#[cfg(feature = "cuda")]
fn open(config: &ModelConfig, precision: Precision, tf32: bool) -> Result<Box<dyn Device>> {
    use crate::engine::cuda::driver::Driver;
    Ok(Box::new(Driver::open(config, precision, tf32)?))
}

#[cfg(not(feature = "cuda"))]
fn open(_: &ModelConfig, _: Precision, _: bool) -> Result<Box<dyn Device>> {
    Err(not_built())
}

#[cfg(feature = "metal")]
fn metal() -> Result<candle_core::Device> {
    crate::ops::metal::device().map_err(|why| {
        Error::input(format!(
            "there is no GPU that Metal can use: {why}; give --device cpu"
        ))
    })
}

#[cfg(not(feature = "metal"))]
fn metal() -> Result<candle_core::Device> {
    Err(Error::input(
        "this lehr was built without Metal; build it on a Mac with `cargo build --release --features metal`",
    ))
}

/// The name of the GPU that `auto` would take.
#[cfg(feature = "cuda")]
fn usable() -> Result<String> {
    crate::engine::cuda::driver::usable()
}

#[cfg(not(feature = "cuda"))]
fn usable() -> Result<String> {
    Err(not_built())
}

#[cfg(not(feature = "cuda"))]
fn not_built() -> Error {
    Error::input(
        "this lehr was built without CUDA; build it with `cargo build --release --features cuda`, which needs no toolkit",
    )
}
