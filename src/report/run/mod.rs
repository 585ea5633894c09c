//! A run's directory as plain data, read as far as it goes and, while it grows, on from there.
//!
//! Everything comes from `metrics.jsonl` (steps, evaluations, averages, samples, what the live law told) and `run.toml`. A run
//! whose `metrics.jsonl` is gone is read from `curve.csv` and `curve.val.csv`. A damaged line costs that line, and is
//! told in [`Run::notes`]; a torn last one is still being written, and waits.

pub mod config;
mod csv;
pub mod derived;
pub mod record;
mod tail;
pub mod told;
pub mod under;

use crate::error::{Error, Result};
use crate::schedule::Schedule;
use config::Facts;
use record::{Average, Eval, Record, Sample, Step, Stop};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tail::Tail;
use told::{Alarm, Decision, Forecast};

/// A run, as of the last [`Run::poll`].
#[derive(Debug)]
pub struct Run {
    pub dir: PathBuf,
    /// The last part of the directory's path.
    pub name: String,
    pub facts: Facts,
    /// In order of the step.
    pub steps: Vec<Step>,
    pub evals: Vec<Eval>,
    pub averages: Vec<Average>,
    pub samples: Vec<Sample>,
    pub forecasts: Vec<Forecast>,
    pub alarms: Vec<Alarm>,
    pub decisions: Vec<Decision>,
    /// The newest; a run that went on has steps after it.
    pub stop: Option<Stop>,
    /// The schedule that the newest decision put in place of the planned one, and the step from which it holds.
    pub redesigned: Option<(u64, Schedule)>,
    tail: Tail,
    damage: Damage,
}

#[derive(Debug, Default)]
struct Damage {
    lines: u64,
    /// Number of the first, and what is wrong with it.
    first: Option<(u64, &'static str)>,
    unknown: u64,
}

impl Run {
    /// Opens the directory of a run, which may have no step yet, and reads what is there.
    ///
    /// # Errors
    /// One sentence where `dir` holds no run, or its log cannot be read.
    pub fn open(dir: &Path) -> Result<Run> {
        let metadata = std::fs::metadata(dir).map_err(|e| Error::io("read", dir, e))?;
        let has = |name: &str| dir.join(name).is_file();
        if !metadata.is_dir() {
            return Err(Error::input(format!(
                "{} is a file: give the directory of a run, as `lehr train` printed it",
                dir.display()
            )));
        }
        if !has("run.toml") && !has("metrics.jsonl") {
            return Err(Error::input(format!(
                "{} holds no run (there is neither run.toml nor metrics.jsonl); give the directory \
                 that `lehr train` printed",
                dir.display()
            )));
        }
        let mut run = Run {
            name: name(dir),
            facts: config::read(dir),
            tail: Tail::new(&dir.join("metrics.jsonl")),
            dir: dir.to_path_buf(),
            steps: Vec::new(),
            evals: Vec::new(),
            averages: Vec::new(),
            samples: Vec::new(),
            forecasts: Vec::new(),
            alarms: Vec::new(),
            decisions: Vec::new(),
            stop: None,
            redesigned: None,
            damage: Damage::default(),
        };
        run.poll()?;
        if run.steps.is_empty() && has("curve.csv") && !has("metrics.jsonl") {
            let note = "metrics.jsonl is missing: the curves are those of curve.csv, and gradient norm, \
                        speed and samples are not known";
            run.facts.notes.push(note.to_string());
            (run.steps, run.evals) = csv::read(dir)?;
        }
        Ok(run)
    }

    /// Reads what was logged since; whether there was anything new.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn poll(&mut self) -> Result<bool> {
        let restarted = self.tail.restarted();
        if restarted {
            self.steps.clear();
            self.evals.clear();
            self.averages.clear();
            self.samples.clear();
            self.forecasts.clear();
            self.alarms.clear();
            self.decisions.clear();
            self.stop = None;
            self.damage = Damage::default();
        }
        let mut lines = Vec::new();
        let more = self.tail.poll(|number, line| {
            if !line.iter().all(u8::is_ascii_whitespace) {
                lines.push((number, record::parse(line)));
            }
        })?;
        for (number, record) in lines {
            match record {
                Ok(record) => self.take(record),
                Err(what) => {
                    self.damage.lines += 1;
                    self.damage.first.get_or_insert((number, what));
                }
            }
        }
        self.take_redesigned();
        Ok(more || restarted)
    }

    /// Reads the schedule of the newest decision, unless it is known already. One that cannot be read changes nothing: the
    /// learning rates logged are the truth, and what is to come stays as planned.
    fn take_redesigned(&mut self) {
        let newest = self.decisions.iter().rev().find(|d| !d.kept);
        let Some(decision) = newest else {
            self.redesigned = None;
            return;
        };
        if self
            .redesigned
            .as_ref()
            .is_some_and(|r| r.0 == decision.step)
        {
            return;
        }
        self.redesigned = None;
        // A file in the run's own directory, and no other.
        let name = decision.schedule.as_deref().map(Path::new);
        let Some(name) = name.filter(|n| n.file_name() == Some(n.as_os_str())) else {
            return;
        };
        let schedule = config::table(&self.dir.join(name), &self.facts);
        self.redesigned = schedule.map(|schedule| (decision.step, schedule));
    }

    /// A step at or below the one before it is a resumed run's, whose records replace the earlier ones.
    fn take(&mut self, record: Record) {
        fn put<T>(all: &mut Vec<T>, one: T, earlier: impl Fn(&T) -> bool) {
            while all.last().is_some_and(|last| !earlier(last)) {
                all.pop();
            }
            all.push(one);
        }
        match record {
            Record::Step(s) => put(&mut self.steps, s, |e| e.step < s.step),
            Record::Eval(s) => put(&mut self.evals, s, |e| e.step < s.step),
            Record::Average(s) => put(&mut self.averages, s, |e| {
                e.step < s.step || (e.step == s.step && e.kind != s.kind)
            }),
            Record::Sample(s) => {
                let step = s.step;
                put(&mut self.samples, s, |e| e.step < step);
            }
            Record::Forecast(s) => {
                let step = s.step;
                put(&mut self.forecasts, s, |e| e.step < step);
            }
            Record::Alarm(s) => {
                let step = s.step;
                put(&mut self.alarms, s, |e| e.step < step);
            }
            Record::Decision(s) => {
                let step = s.step;
                put(&mut self.decisions, s, |e| e.step < step);
            }
            Record::Stop(s) => self.stop = Some(s),
            Record::Unknown => self.damage.unknown += 1,
        }
    }

    /// Completed steps.
    pub fn last_step(&self) -> u64 {
        self.steps.last().map_or(0, |s| s.step)
    }

    /// Steps of the whole run: as planned, or as far as it has come.
    pub fn horizon(&self) -> u64 {
        self.facts.steps.unwrap_or(0).max(self.last_step())
    }

    /// Whether every step is done and the model is written. Of a run that does not say how many steps it was to have, the
    /// model alone tells.
    pub fn finished(&self) -> bool {
        let done = self.facts.steps.is_none_or(|n| self.last_step() >= n);
        done && self.dir.join("final").is_dir()
    }

    /// The condition that ended the run where it stands, short of its last step.
    pub fn stopped(&self) -> Option<&Stop> {
        self.stop.as_ref().filter(|s| s.step == self.last_step())
    }

    /// How long ago the log was last written to.
    pub fn quiet_for(&self) -> Option<Duration> {
        let log = std::fs::metadata(self.dir.join("metrics.jsonl")).ok()?;
        SystemTime::now().duration_since(log.modified().ok()?).ok()
    }

    /// What a reader should know, one sentence each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.facts.notes.clone();
        if let Some((line, what)) = self.damage.first {
            let left_out = match self.damage.lines {
                1 => "it is left out".to_string(),
                n => format!("it and {} more are left out", n - 1),
            };
            notes.push(format!(
                "line {line} of metrics.jsonl is damaged ({what}): {left_out}"
            ));
        }
        if self.damage.unknown > 0 {
            notes.push(format!(
                "{} of metrics.jsonl are of a kind that this version does not know, and left out",
                match self.damage.unknown {
                    1 => "1 line".to_string(),
                    n => format!("{n} lines"),
                }
            ));
        }
        let lost = self.steps.iter().filter(|s| !s.loss.is_finite()).count();
        let skipped = self.steps.iter().filter(|s| s.skipped).count();
        if skipped > 0 {
            notes.push(format!(
                "{skipped} of {} updates were left out because something was not finite",
                self.steps.len()
            ));
        }
        if lost > skipped {
            notes.push(format!(
                "{} losses are not finite and are not drawn",
                lost - skipped
            ));
        }
        notes
    }
}

/// The last part of a path, which may be `.`.
fn name(dir: &Path) -> String {
    let named = |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned());
    named(dir)
        .or_else(|| named(&dir.canonicalize().ok()?))
        .unwrap_or_else(|| dir.display().to_string())
}

/// Runs of one name are told apart by the directories that they lie in.
pub fn tell_apart(runs: &mut [Run]) {
    let names: Vec<String> = runs.iter().map(|r| r.name.clone()).collect();
    for (i, run) in runs.iter_mut().enumerate() {
        let same = |(j, name): (usize, &String)| j != i && *name == names[i];
        if names.iter().enumerate().any(same) {
            run.name = run.dir.display().to_string();
        }
    }
}

#[cfg(test)]
mod tests;
