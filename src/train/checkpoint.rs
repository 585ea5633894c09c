//! Checkpoints: whole or absent, with everything in them.
//!
//! A checkpoint is written into `step-XXXXXXXX.tmp`, every file synced, and then renamed.
//! `state.json` holds the checksums of the others, the resolved configuration and the fingerprint
//! of the data; weights and moments are safetensors with Hugging Face's names. Batches, dropout
//! masks and samples are pure functions of the seed and the step, so the step is all the position
//! that there is.

use super::average::Averages;
use super::config::{CheckpointSection, RunConfig};
use super::live::LiveState;
use super::rundir::{discard, put, saved_steps, step_dir};
use crate::average::AverageState;
use crate::error::{Error, Result};
use crate::files;
use crate::model::hf::{self, CONFIG_FILE, Floats, WEIGHTS_FILE};
use crate::model::{ModelConfig, Params};
use crate::optim::AdamW;
use crate::schedule::Schedule;
use candle_core::Device;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

pub const STATE_FILE: &str = "state.json";
pub const OPTIMIZER_FILE: &str = "optimizer.safetensors";
pub const AVERAGE_FILE: &str = "average.safetensors";
const FORMAT: u32 = 1;

/// `state.json`: what a checkpoint holds besides tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    pub format: u32,
    pub lehr_version: String,
    /// Completed steps.
    pub step: u64,
    /// Updates that the optimiser's moments have seen; fewer than `step` if some were skipped.
    pub updates: u64,
    pub config: RunConfig,
    /// Fingerprint of the data set that the steps were drawn from.
    pub data: String,
    /// Fingerprint of the schedule: a table's file may have changed under its name.
    pub schedule: String,
    /// Where the averages of weights stand; absent where none are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<AverageState>,
    /// Where the live law stands; absent where there is none.
    /// One that cannot be read is no reason to lose the weights.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "readable"
    )]
    pub law: Option<LiveState>,
    /// BLAKE3 of each of the checkpoint's other files.
    pub checksums: BTreeMap<String, String>,
}

fn readable<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<LiveState>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(value).ok())
}

/// What is saved.
pub struct Contents<'a> {
    pub step: u64,
    pub config: &'a RunConfig,
    pub data: &'a str,
    pub schedule: &'a Schedule,
    pub model: &'a ModelConfig,
    pub eot: Option<u32>,
    pub params: &'a Params,
    pub optimizer: &'a AdamW,
    pub averages: &'a Averages,
    pub law: Option<LiveState>,
}

/// Writes the checkpoint of a step; at no moment is there a directory of its name that is not
/// whole. A checkpoint of the same step that is there already is replaced.
///
/// # Errors
/// Weights that are not finite: what is saved can always be gone on from. A full disk, or a place
/// that cannot be written to.
pub fn save(run: &Path, contents: &Contents) -> Result<PathBuf> {
    if let Some(name) = contents.params.first_not_finite() {
        return Err(Error::input(format!(
            "after step {} the weights of {name} are not finite, so this step is not saved; lower --lr or lengthen the warm-up",
            contents.step
        )));
    }
    let dir = step_dir(run, contents.step);
    put(&dir, |aside| write_into(aside, contents))?;
    Ok(dir)
}

fn write_into(dir: &Path, c: &Contents) -> Result<()> {
    let config = hf::config_json(c.model, c.eot);
    let config = serde_json::to_vec_pretty(&config).map_err(Error::backend)?;
    files::write(&dir.join(CONFIG_FILE), &config)?;
    hf::write_params(&dir.join(WEIGHTS_FILE), c.params)?;
    let moments = c.optimizer.moments().into_iter().map(|m| {
        let (shape, values) = (m.shape, m.values);
        (m.name, Floats { shape, values })
    });
    hf::write_tensors(&dir.join(OPTIMIZER_FILE), moments.collect())?;
    let average = c.averages.save(dir, c.step, c.params.specs())?;
    let mut checksums = BTreeMap::new();
    for name in [CONFIG_FILE, WEIGHTS_FILE, OPTIMIZER_FILE, AVERAGE_FILE] {
        if name == AVERAGE_FILE && !dir.join(name).exists() {
            continue;
        }
        checksums.insert(name.to_string(), checksum(&dir.join(name))?);
    }
    let state = State {
        format: FORMAT,
        lehr_version: env!("CARGO_PKG_VERSION").into(),
        step: c.step,
        updates: c.optimizer.updates(),
        config: c.config.clone(),
        data: c.data.into(),
        schedule: schedule_fingerprint(c.schedule),
        average,
        law: c.law.clone(),
        checksums,
    };
    let state = serde_json::to_vec_pretty(&state).map_err(Error::backend)?;
    files::write(&dir.join(STATE_FILE), &state)
}

/// Reads `state.json` and checks every file of the checkpoint against it.
///
/// # Errors
/// Names the file that is missing, truncated or changed.
pub fn read_state(dir: &Path) -> Result<State> {
    let path = dir.join(STATE_FILE);
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
    let state: State = serde_json::from_str(&text)
        .map_err(|e| Error::corrupt(&path, format!("it does not describe a checkpoint ({e})")))?;
    if state.format != FORMAT {
        return Err(Error::input(format!(
            "{} has format {} and this Lehr reads {FORMAT}; use the version that wrote it, {}",
            path.display(),
            state.format,
            state.lehr_version
        )));
    }
    for (name, expected) in &state.checksums {
        let file = dir.join(name);
        if checksum(&file)? != *expected {
            return Err(Error::corrupt(
                &file,
                "its checksum is not the one in state.json; remove this checkpoint and resume from an older one",
            ));
        }
    }
    Ok(state)
}

/// BLAKE3 of the learning rates of all steps, in hex.
pub fn schedule_fingerprint(schedule: &Schedule) -> String {
    let mut hasher = blake3::Hasher::new();
    for step in 0..schedule.steps() {
        hasher.update(&schedule.lr(step).to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// BLAKE3 of a file, in hex.
fn checksum(path: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    File::open(path)
        .and_then(|file| hasher.update_reader(file).map(drop))
        .map_err(|e| Error::io("read", path, e))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// The newest checkpoint of a run that is whole, and why each newer one is not.
///
/// `None` where nothing has been saved yet.
///
/// # Errors
/// There are checkpoints and none is whole: the newest one's damage.
pub fn newest_whole(run: &Path) -> Result<Option<Newest>> {
    let mut damage = Vec::new();
    for step in saved_steps(run)?.into_iter().rev() {
        let dir = step_dir(run, step);
        match read_state(&dir) {
            Ok(state) => return Ok(Some(Newest { dir, state, damage })),
            Err(e) => damage.push((dir, e)),
        }
    }
    match damage.into_iter().next() {
        None => Ok(None),
        Some((_, e)) => Err(Error::input(format!(
            "{} has no whole checkpoint; the newest one: {e}",
            run.display()
        ))),
    }
}

/// What [`newest_whole`] found.
pub struct Newest {
    pub dir: PathBuf,
    pub state: State,
    /// The newer checkpoints that were passed over, and why.
    pub damage: Vec<(PathBuf, Error)>,
}

/// Takes the moments of a checkpoint into the optimiser.
pub fn restore_optimizer(dir: &Path, state: &State, optimizer: &mut AdamW) -> Result<()> {
    let path = dir.join(OPTIMIZER_FILE);
    let unreadable = |e| Error::corrupt(&path, format!("it cannot be read as safetensors ({e})"));
    let tensors = candle_core::safetensors::load(&path, &Device::Cpu).map_err(unreadable)?;
    let read = |name: &str| {
        let tensor = tensors.get(name)?;
        let values = tensor.flatten_all().and_then(|t| t.to_vec1()).ok()?;
        Some((tensor.dims().to_vec(), values))
    };
    optimizer
        .restore(read, state.updates)
        .map_err(|e| Error::corrupt(&path, e.to_string()))
}

/// Deletes all but the newest `keep_last` checkpoints (0 keeps all) and those that are kept for good.
pub fn retain(run: &Path, c: &CheckpointSection) -> Result<()> {
    if c.keep_last == 0 {
        return Ok(());
    }
    let steps = saved_steps(run)?;
    let is_permanent = |step: u64| {
        (c.permanent_every > 0 && step.is_multiple_of(c.permanent_every)) || c.at.contains(&step)
    };
    let old = &steps[..steps.len().saturating_sub(c.keep_last)];
    for &step in old.iter().filter(|&&s| !is_permanent(s)) {
        discard(&step_dir(run, step))?;
    }
    Ok(())
}
