//! `--scheduler law:FILE` in `lehr train`: designed when the run is made, a table from then on.

use super::super::fit::table::item;
use super::table::shape;
use super::{Outcome, input, json};
use crate::design::{Among, Designed, Judged, Limits, Problem, file, trust};
use crate::error::{Error, Result};
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
        if under.model.law.needs_size() {
            return Err(Error::input(format!(
                "law:{0}: the law {1} is one over model sizes, and knows no size here; write the schedule with `lehr design --law {0} --parameters N`, and train with --scheduler table:schedule.json",
                law.display(),
                under.model.law.name()
            )));
        }
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
        let judged = Judged::new(problem, rule, under.fit.as_ref(), Among::Free, false, 0)?;
        let mut outcome = Outcome::new(under, None, judged);
        outcome.settle();
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
        let Designed { lrs, knots, .. } = &self.outcome.judged.designed;
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
        let mut out = item("law", &format!("{} {}", o.under.model.law.name(), found(o)));
        out.push_str(&item("gain", &o.judged.verdict.sentence));
        for note in o.notes() {
            out.push_str(&item("note", &note));
        }
        out
    }
}

impl Outcome {
    /// Where the design is not worth believing, the best usual schedule that keeps the trust rule takes its place: the law
    /// cannot tell them apart, and of that one people know what it does.
    fn settle(&mut self) {
        let rival = self.judged.rival();
        let same = rival.baseline.lrs == self.judged.designed.lrs;
        if self.judged.verdict.believable != Some(false) || !rival.within || same {
            return;
        }
        let said = format!(
            "the run trains {}, the best usual schedule that keeps the trust rule, since the law's own design is not worth \
             believing over it; lehr design --out and --scheduler table:FILE train the design all the same",
            rival.baseline.family.words()
        );
        let rival = Designed::of(rival.baseline.clone());
        self.judged.replace(rival, self.under.fit.as_ref());
        self.judged.warnings.insert(0, said);
    }
}

/// What the run trains and where the law sees its end, after the law's name.
fn found(o: &Outcome) -> String {
    let what = match o.judged.designed.family {
        Some(family) => family.words(),
        None => "its design".into(),
    };
    format!(
        "predicts {:.4} nats a token for {what}, which {}",
        o.judged.designed.loss,
        shape(o)
    )
}
