//! `run.toml`: what was run.

use super::branch::BranchPoint;
use super::config::{Dtype, RunConfig};
use super::device::DeviceKind;
use super::setup::Source;
use super::trainer::Trainer;
use crate::error::{Error, Result};
use crate::files;
use crate::model::flops::{ForwardFlops, ParamCount};
use std::path::{Path, PathBuf};

/// Where a run's weights come from, besides its seed.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    pub init_from: Option<PathBuf>,
    pub branched_from: Option<BranchedFrom>,
}

/// The checkpoint that a run goes on from under another schedule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BranchedFrom {
    /// The trunk's directory, absolute.
    pub run: PathBuf,
    /// Completed steps.
    pub step: u64,
}

impl BranchedFrom {
    /// # Errors
    /// The trunk is not there.
    pub fn of(point: &BranchPoint) -> Result<BranchedFrom> {
        let run = absolute(&point.trunk)?;
        let step = point.at;
        Ok(BranchedFrom { run, step })
    }
}

/// So that a run resumes from any working directory.
fn absolute(dir: &Path) -> Result<PathBuf> {
    dir.canonicalize().map_err(|e| Error::io("find", dir, e))
}

/// Writes what is run, under `[run]`, and the resolved configuration.
pub(super) fn write(
    path: &Path,
    config: &RunConfig,
    origin: &Origin,
    trainer: &mut Trainer,
    source: &Source,
) -> Result<()> {
    let gpu = trainer.gpu();
    let model = trainer.model_config();
    let per_token = ForwardFlops::train_per_token(model, config.train.sequence_length);
    let tokens = config.tokens_per_step() * config.train.iterations;
    let mut run = toml::Table::new();
    let mut put = |key: &str, value: toml::Value| run.insert(key.to_string(), value);
    put("lehr_version", env!("CARGO_PKG_VERSION").into());
    put("device", config.train.device.to_string().into());
    if let Some(name) = gpu {
        put("gpu", name.into());
    }
    put("threads", (rayon::current_num_threads() as i64).into());
    put("parameters", (ParamCount::of(model).total as i64).into());
    put("vocab_size", (model.vocab_size as i64).into());
    put("tokens", (tokens as i64).into());
    put("train_flops", (per_token * tokens as f64).into());
    let dataset = absolute(source.dataset.dir())?;
    put("dataset", dataset.display().to_string().into());
    put("data_fingerprint", source.dataset.fingerprint().into());
    if let Some(dir) = &origin.init_from {
        put("init_from", absolute(dir)?.display().to_string().into());
    }
    if let Some(trunk) = &origin.branched_from {
        put("branched_from", trunk.run.display().to_string().into());
        put("branched_at", (trunk.step as i64).into());
    }
    let mut table = toml::Table::new();
    table.insert("run".into(), run.into());
    table.extend(config.to_table());
    let text = toml::to_string(&table).map_err(Error::backend)?;
    files::write(path, text.as_bytes())
}

/// Says what a run is trained on from here on.
///
/// # Errors
/// A file that cannot be read or written.
pub(super) fn move_to(
    path: &Path,
    device: DeviceKind,
    dtype: Dtype,
    gpu: Option<&str>,
) -> Result<()> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let bad = |e: toml::de::Error| Error::corrupt(path, e.message().to_string());
    let mut table: toml::Table = text.parse().map_err(bad)?;
    let device = Some(device.to_string());
    for (section, key, value) in [
        ("run", "device", device.clone()),
        ("run", "gpu", gpu.map(String::from)),
        ("train", "device", device),
        ("train", "dtype", Some(dtype.to_string())),
    ] {
        let Some(section) = table.get_mut(section).and_then(|s| s.as_table_mut()) else {
            continue;
        };
        match value {
            Some(value) => section.insert(key.into(), value.into()),
            None => section.remove(key),
        };
    }
    let text = toml::to_string(&table).map_err(Error::backend)?;
    files::write(path, text.as_bytes())
}

/// What `run.toml` says that a resumed run needs.
pub(super) struct RunFile {
    pub config: RunConfig,
    pub origin: Origin,
    /// What it was last trained on, if that was CUDA.
    pub gpu: Option<String>,
    /// The tokens that the run was started on.
    pub dataset: Option<PathBuf>,
    pub data_fingerprint: Option<String>,
}

/// Reads it back.
///
/// # Errors
/// A file that cannot be read, or that holds no valid configuration.
pub(super) fn read(path: &Path) -> Result<RunFile> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let bad = |e: toml::de::Error| Error::corrupt(path, e.message().to_string());
    let mut table: toml::Table = text.parse().map_err(bad)?;
    let run = table.remove("run");
    let config: RunConfig = table.try_into().map_err(bad)?;
    config.validate()?;
    let text_of = |key: &str| Some(run.as_ref()?.get(key)?.as_str()?.to_string());
    let branched_at = || Some(run.as_ref()?.get("branched_at")?.as_integer()? as u64);
    let branched_from = text_of("branched_from").zip(branched_at());
    Ok(RunFile {
        config,
        origin: Origin {
            init_from: text_of("init_from").map(PathBuf::from),
            branched_from: branched_from.map(|(run, step)| BranchedFrom {
                run: run.into(),
                step,
            }),
        },
        gpu: text_of("gpu"),
        dataset: text_of("dataset").map(PathBuf::from),
        data_fingerprint: text_of("data_fingerprint"),
    })
}
