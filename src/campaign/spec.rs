//! What is asked of a campaign.

use crate::curve::MIN_POINTS;
use crate::error::{Error, Result};
use crate::schedule::{Decay, Shape};
use crate::train::RunConfig;
use std::path::PathBuf;

/// What is asked for, none of it held against a corpus yet.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Where everything goes.
    pub out: PathBuf,
    /// The long run. Its scheduler is nothing to a campaign, which designs one.
    pub config: RunConfig,
    /// Steps of the probes over those of the long run, in (0, 1).
    pub budget: f64,
    /// Each cooldown's share of the probes' steps; the trunk has the rest.
    pub cooldowns: Vec<f64>,
    /// Share of the probes' steps that one of them has at half the peak; 0: there is none.
    pub low_probe: f64,
    /// Held-out losses a probe.
    pub points: u64,
    /// Laws by name; of several the one that predicts held-out probes best.
    pub laws: Vec<String>,
    pub baselines: Vec<Baseline>,
    /// The first is the probes' too.
    pub seeds: Vec<u64>,
    /// Peak LRs of the baselines besides the long run's own.
    pub peaks: Vec<f64>,
    /// The trust rule, as a share of the peak a step; none: as the probes' cooldowns.
    pub largest_drop: Option<f64>,
}

/// A schedule that the designed one is held against.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    pub shape: Shape,
}

impl Baseline {
    /// What the schedule is called: its spec without what is usual.
    pub fn label(&self) -> String {
        let Shape::Wsd {
            fraction,
            decay,
            final_ratio,
        } = &self.shape
        else {
            return self.shape.to_string();
        };
        let mut label = format!("wsd:fraction={fraction}");
        if *decay != Decay::Linear {
            label += &format!(",decay={decay}");
        }
        if *final_ratio != 0.0 {
            label += &format!(",final={final_ratio}");
        }
        label
    }

    /// Whether it has LRs of its own, to which no peak is anything.
    pub fn is_table(&self) -> bool {
        matches!(self.shape, Shape::Table { .. })
    }
}

/// `cosine,wsd:fraction=0.2,decay=sqrt,811`: a setting goes with the schedule before it. `none` is none; the same
/// schedule twice is one.
///
/// # Errors
/// A schedule that is unknown, has settings that it cannot have, or is a branch.
pub fn baselines(text: &str) -> Result<Vec<Baseline>> {
    let mut specs: Vec<String> = Vec::new();
    for part in text.split(',') {
        // `decay=sqrt` is a setting, `cosine:final=0` a schedule.
        let setting = part.split('=').next().is_some_and(|key| !key.contains(':'));
        match specs.last_mut() {
            Some(last) if part.contains('=') && setting => {
                last.push(if last.contains(':') { ',' } else { ':' });
                last.push_str(part);
            }
            _ => specs.push(part.to_string()),
        }
    }
    if specs.len() == 1 && specs[0].trim() == "none" {
        return Ok(Vec::new());
    }
    let mut all: Vec<Baseline> = Vec::new();
    for spec in specs {
        let shape: Shape = spec
            .parse()
            .map_err(|e| Error::input(format!("--baselines: {e}")))?;
        let shape = match shape {
            Shape::Branch { .. } => {
                return Err(Error::input(format!(
                    "--baselines {spec}: a branch goes on from another run; name a schedule of its own, such as wsd:fraction=0.2"
                )));
            }
            // Absolute, so that the run resumes from any working directory.
            Shape::Table { path } => Shape::Table {
                path: path
                    .canonicalize()
                    .map_err(|e| Error::io("find the table", &path, e))?,
            },
            shape => shape,
        };
        let baseline = Baseline { shape };
        if !all.contains(&baseline) {
            all.push(baseline);
        }
    }
    Ok(all)
}

/// A value of `--budget` or of `--cooldowns`.
fn share(flag: &str, x: f64) -> Result<()> {
    if x > 0.0 && x < 1.0 {
        return Ok(());
    }
    Err(Error::input(format!(
        "{flag} {x}: it is a share, above 0 and below 1, such as 0.2"
    )))
}

impl Spec {
    /// Checks what needs no corpus.
    ///
    /// # Errors
    /// One sentence naming the flag.
    pub fn validate(&self) -> Result<()> {
        share("--budget", self.budget)?;
        for &cooldown in &self.cooldowns {
            share("--cooldowns", cooldown)?;
        }
        let all: f64 = self.cooldowns.iter().sum();
        if self.cooldowns.is_empty() || all > 0.5 + 1e-9 {
            return Err(Error::input(format!(
                "--cooldowns make up {all} of the probes; it takes at least one, and half of the steps at most, since the trunk has the rest"
            )));
        }
        if !(0.0..=0.5).contains(&self.low_probe) {
            return Err(Error::input(format!(
                "--low-probe {}: it is a share of the probes' steps, from 0 (none) to 0.5",
                self.low_probe
            )));
        }
        if self.points < MIN_POINTS as u64 {
            return Err(Error::input(format!(
                "--points {}: a law takes at least {MIN_POINTS} held-out losses a probe; 40 are usual",
                self.points
            )));
        }
        let bad = |lr: &&f64| !(lr.is_finite() && **lr > 0.0);
        if let Some(lr) = self.peaks.iter().find(bad) {
            return Err(Error::input(format!(
                "--peaks {lr}: a peak learning rate is a positive number, such as 1e-3"
            )));
        }
        for (i, seed) in self.seeds.iter().enumerate() {
            if self.seeds[..i].contains(seed) {
                return Err(Error::input(format!(
                    "--seeds: {seed} is there twice; give each once"
                )));
            }
        }
        if let Some(drop) = self.largest_drop
            && !(drop > 0.0 && drop <= 1.0)
        {
            return Err(Error::input(format!(
                "--largest-drop {drop}: the largest drop a step is above 0 and at most 1, as a share of the peak"
            )));
        }
        if self.config.schedule.compat {
            return Err(Error::input(
                "schedule.compat: schedules are designed by our own convention alone; leave it false",
            ));
        }
        Ok(())
    }

    /// The long run's peak LR.
    pub fn peak(&self) -> f64 {
        self.config.schedule.peak_lr
    }

    /// Peak LRs of the baselines, the long run's own first, each once.
    pub fn all_peaks(&self) -> Vec<f64> {
        let mut all = vec![self.peak()];
        for &peak in &self.peaks {
            if !all.contains(&peak) {
                all.push(peak);
            }
        }
        all
    }
}
