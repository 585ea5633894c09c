//! `--scheduler law:FILE` in `lehr train`: designed when the run is made, a table from then on.

use super::super::fit::table::item;
use super::super::format::thousands;
use super::{Among, Outcome, input, json};
use crate::design::{Designed, Limits, Problem, file, trust};
use crate::error::{Error, Result};
use crate::schedule::percent;
use crate::train::RunConfig;
use crate::train::rundir::{RUN_FILE, SCHEDULE_FILE};
use std::path::{Path, PathBuf};

/// The law that a scheduler of the form `law:FILE` names.
pub fn law(scheduler: &str) -> Option<PathBuf> {
    let (name, file) = scheduler.trim().split_once(':')?;
    let is_law = name.trim().eq_ignore_ascii_case("law");
    is_law.then(|| PathBuf::from(file.trim()))
}

/// A schedule for a run that does not exist yet.
pub struct ForRun {
    outcome: Outcome,
    /// Where it goes.
    path: PathBuf,
}

impl ForRun {
    /// Designs the schedule of the run that `config` describes (whose scheduler is a placeholder), to live in `dir`.
    ///
    /// # Errors
    /// What `lehr design` refuses; a run in `dir`.
    pub fn new(law: &Path, config: &RunConfig, dir: &Path) -> Result<ForRun> {
        if dir.join(RUN_FILE).exists() {
            return Err(Error::input(format!(
                "{0} holds a run already; continue it with `lehr resume {0}`, or give another --name",
                dir.display()
            )));
        }
        let under = input::of_file(law, None)?;
        let schedule = config.schedule()?;
        let (steps, warmup) = (config.train.iterations, schedule.warmup_steps());
        let rule = trust::rule(under.fit.as_ref(), steps, steps.saturating_sub(warmup));
        let limits = Limits {
            steps,
            peak_lr: schedule.peak_lr(),
            min_lr: 0.0,
            warmup,
            largest_drop: rule.largest_drop,
        };
        let problem = Problem::fresh(under.model.clone(), limits)?;
        let outcome = super::solve(under, None, problem, rule, Among::Free, false, 0)?;
        let path = dir.join(SCHEDULE_FILE);
        Ok(ForRun { outcome, path })
    }

    /// The scheduler that the run has from then on. Absolute, so that it resumes from any working directory.
    pub fn scheduler(&self) -> String {
        let path = std::path::absolute(&self.path);
        let path = path.unwrap_or_else(|_| self.path.clone());
        format!("table:{}", path.display())
    }

    /// Writes it.
    pub fn write(&self) -> Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir).map_err(|e| Error::io("create the directory", dir, e))?;
        let Designed { lrs, knots, .. } = &self.outcome.designed;
        file::write(&self.path, json::head(&self.outcome), lrs, knots)
    }

    /// Takes it away again, where no run came about.
    pub fn remove(&self) {
        // What matters is why there is no run.
        let _ = std::fs::remove_file(&self.path);
    }

    /// What was designed, for the screen.
    pub fn words(&self) -> String {
        let o = &self.outcome;
        let steps = o.limits().steps;
        let from = o.falls_from();
        let text = format!(
            "{} predicts {:.4} nats a token: the LR falls over the last {}, from step {}",
            o.under.model.law.name(),
            o.designed.loss,
            percent((steps - from) as f64 / steps as f64),
            thousands(from)
        );
        let mut out = item("design", &text);
        out.push_str(&item("gain", &o.verdict.sentence));
        for warning in &o.warnings {
            out.push_str(&item("note", warning));
        }
        out
    }
}
