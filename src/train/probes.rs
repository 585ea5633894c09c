//! Earlier runs that the live law is fitted to as well, held in the run's directory: a probe that moves, or trains on, changes
//! no forecast.

use super::RunConfig;
use super::run_file;
use super::rundir::{PROBES_FILE, RUN_FILE};
use crate::curve::{LossCurve, LossKind, LrOrigin, Point, WarmUp};
use crate::error::{Error, Result};
use crate::files;
use crate::forecast::Probe;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Keys of a configuration that may differ between a probe and the run: how long, along which LRs, what is shown.
const MAY_DIFFER: &[&str] = &[
    "schedule.",
    "eval.every",
    "sample.",
    "data.path",
    "data.cache",
    // Of prepared data it is what they were prepared with, whatever it says here; the fingerprint tells.
    "data.tokenizer",
    "data.val_fraction",
    "train.iterations",
    "train.seed",
    "train.non_finite",
    "train.dtype",
    "law.",
];

/// What a run keeps of its probes.
#[derive(Serialize, Deserialize)]
pub struct Probes {
    /// As the configuration names them.
    paths: Vec<String>,
    probes: Vec<Kept>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    name: String,
    parameters: Option<f64>,
    lrs: Vec<f64>,
    warmup: u64,
    /// (step, loss) each.
    training: Vec<(u64, f64)>,
    held_out: Vec<(u64, f64)>,
}

/// The probes that `config` names, of a run on the data of `fingerprint`.
///
/// # Errors
/// One that cannot be read, or is of another model, of other data or of another batch, by the first such key.
pub fn read(config: &RunConfig, fingerprint: &str) -> Result<Probes> {
    let one = |path: &String| {
        let in_words = |e| Error::input(format!("law.probes: {e}"));
        check(Path::new(path), config, fingerprint).map_err(in_words)?;
        Probe::read(path).map(Kept::of).map_err(in_words)
    };
    Ok(Probes {
        paths: config.law.probes.clone(),
        probes: config.law.probes.iter().map(one).collect::<Result<_>>()?,
    })
}

fn check(probe: &Path, config: &RunConfig, fingerprint: &str) -> Result<()> {
    let file = probe.join(RUN_FILE);
    if !file.exists() {
        // A log from elsewhere says nothing of its model.
        return Ok(());
    }
    let of = run_file::read(&file)?;
    let may = |difference: &String| MAY_DIFFER.iter().any(|key| difference.starts_with(key));
    let differences = of.config.differences(config);
    if let Some(difference) = differences.iter().find(|d| !may(d)) {
        return Err(Error::input(format!(
            "{} is no probe of this run: its {}",
            probe.display(),
            difference.replace(" and was ", ", and here it is ")
        )));
    }
    match of.data_fingerprint {
        Some(other) if other != fingerprint => Err(Error::input(format!(
            "{} was trained on other data than this run; give a probe on the same",
            probe.display()
        ))),
        _ => Ok(()),
    }
}

impl Probes {
    /// Keeps them in the run's directory, if there are any.
    ///
    /// # Errors
    /// A directory that cannot be written.
    pub fn keep(&self, dir: &Path) -> Result<()> {
        if self.probes.is_empty() {
            return Ok(());
        }
        let text = serde_json::to_vec(self).map_err(Error::backend)?;
        files::write(&dir.join(PROBES_FILE), &text)
    }

    /// As curves.
    pub fn curves(&self) -> Vec<Probe> {
        self.probes.iter().map(Kept::probe).collect()
    }
}

/// The probes that were kept in `dir`; those that `config` names where it names others.
///
/// # Errors
/// As [`read`]; a damaged file.
pub fn kept(dir: &Path, config: &RunConfig, fingerprint: &str) -> Result<Probes> {
    let path = dir.join(PROBES_FILE);
    if config.law.probes.is_empty() || !path.exists() {
        return read(config, fingerprint);
    }
    let text = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
    let kept: Probes =
        serde_json::from_slice(&text).map_err(|e| Error::corrupt(&path, e.to_string()))?;
    match kept.paths == config.law.probes {
        true => Ok(kept),
        false => read(config, fingerprint),
    }
}

impl Kept {
    fn of(probe: Probe) -> Kept {
        let pairs = |curve: &LossCurve| -> Vec<(u64, f64)> {
            let finite = curve.points.iter().filter(|p| p.loss.is_finite());
            finite.map(|p| (p.step, p.loss)).collect()
        };
        let training = &probe.training;
        Kept {
            name: training.name.clone(),
            parameters: training.parameters,
            lrs: training.lrs.clone(),
            warmup: match training.warmup {
                WarmUp::Known(steps) => steps,
                WarmUp::Unlogged => 0,
            },
            training: pairs(training),
            held_out: probe.held_out.as_ref().map(pairs).unwrap_or_default(),
        }
    }

    fn probe(&self) -> Probe {
        let curve = |points: &[(u64, f64)], kind| LossCurve {
            name: self.name.clone(),
            points: points
                .iter()
                .map(|&(step, loss)| Point { step, loss })
                .collect(),
            lrs: self.lrs.clone(),
            lr_origin: LrOrigin::EveryStep,
            kind,
            warmup: WarmUp::Known(self.warmup),
            parameters: self.parameters,
            notes: Vec::new(),
        };
        let held_out = !self.held_out.is_empty();
        Probe {
            training: curve(&self.training, LossKind::TrainBatch),
            held_out: held_out.then(|| curve(&self.held_out, LossKind::Validation)),
        }
    }
}
