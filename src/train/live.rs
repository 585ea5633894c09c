//! The law that looks on while a run trains.
//!
//! After every evaluation a fit to all that was logged so far begins, off the step's path, and what it says is
//! told at the next evaluation: so what is told, and what is decided, hangs on steps and losses and never on how
//! long a fit took. A checkpoint holds what was told last and what will be told next; a resumed run tells, and decides,
//! the same.

use super::metrics::ForecastRecord;
use super::rundir::{CURVE_FILE, VAL_CURVE_FILE};
use crate::curve::{self, Point};
use crate::design::file;
use crate::error::{Error, Result};
use crate::fit;
use crate::forecast::{
    self, Alarm, Decision, EARLIEST, Fitted, LOOKS, Probe, Seen, StopWhen, Subject, Watch,
    WatchState,
};
use crate::schedule::Schedule;
use crate::train::RunConfig;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The last fit, in the format of `lehr fit`, beside the run's curves.
pub const LAW_FILE: &str = "law.json";

/// What one look at the losses so far came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// Why there is no forecast, otherwise.
    fitted: std::result::Result<Fitted, String>,
    /// What is to become of the schedule when this is told; none where nothing is due.
    decision: Option<Decision>,
}

/// What a checkpoint holds of the law.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveState {
    told: Option<Fitted>,
    ready: Option<Look>,
    watch: WatchState,
    /// Of the shares at which the run is designed anew, how many lie behind.
    decided: usize,
    /// Forecasts in a row that `law.stop_when` holds of.
    agreeing: u32,
    /// The schedule in force, a file in the run's directory; none before the first redesign.
    pub schedule: Option<String>,
    midway: Option<f64>,
}

/// What is told at an evaluation.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub forecast: Option<ForecastRecord>,
    pub decision: Option<Decision>,
    /// The schedule from now on, if it is another one.
    pub schedule: Option<Schedule>,
    /// Why the run ends here.
    pub stop: Option<String>,
    /// Why there is no forecast, said once, when the run is under way.
    pub silent: Option<String>,
}

/// What the law came to over a run.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The forecast of the final held-out loss that was told halfway, nats a token.
    pub midway: Option<f64>,
    /// Time that fits took, on a thread of their own, and that the run waited for them.
    pub fitting: Duration,
    pub waiting: Duration,
}

enum Next {
    Nothing,
    Running(JoinHandle<(Look, Duration)>),
    Ready(Box<Look>),
}

/// Looks on.
pub struct Live {
    dir: PathBuf,
    config: RunConfig,
    subject: Arc<Subject>,
    seen: Seen,
    told: Option<Fitted>,
    next: Next,
    watch: Watch,
    stop_when: Option<StopWhen>,
    decided: usize,
    agreeing: u32,
    schedule: Option<String>,
    account: Account,
    /// Whether this process has said why there is no forecast.
    said: bool,
}

impl Live {
    /// For a run in `dir` that stands after `step` steps under `schedule`, with what its logs hold; `state` is the checkpoint's.
    /// None where `law.live` is off.
    ///
    /// # Errors
    /// Logs that cannot be read, a state of another version.
    pub fn new(
        dir: &Path,
        config: &RunConfig,
        parameters: f64,
        probes: Vec<Probe>,
        schedule: &Schedule,
        step: u64,
        state: Option<LiveState>,
    ) -> Result<Option<Live>> {
        if !config.law.live {
            return Ok(None);
        }
        let lrs = lrs(schedule);
        let subject = Subject {
            law: config.law.law.clone(),
            warmup: curve::warmup_of(&config.schedule()?, &lrs),
            lrs,
            parameters,
            probes,
        };
        let seen = match step {
            0 => Seen::default(),
            _ => logged(dir, step, &subject.lrs)?,
        };
        let mut live = Live {
            dir: dir.to_path_buf(),
            config: config.clone(),
            subject: Arc::new(subject),
            seen,
            told: None,
            next: Next::Nothing,
            watch: Watch::default(),
            stop_when: config.law.stop_when()?,
            decided: 0,
            agreeing: 0,
            schedule: None,
            account: Account::default(),
            said: false,
        };
        if state.is_none() && step > 0 {
            // A branch: what its trunk logged is enough to begin with.
            live.next = live.begin(step);
        }
        if let Some(state) = state {
            live.told = state.told;
            live.next = state
                .ready
                .map_or(Next::Nothing, |look| Next::Ready(Box::new(look)));
            live.decided = state.decided;
            live.agreeing = state.agreeing;
            live.schedule = state.schedule;
            live.account.midway = state.midway;
            if let Some(told) = &live.told {
                live.watch = Watch::new(&live.subject, told, step + 1, state.watch)?;
            }
        }
        Ok(Some(live))
    }

    /// Sees a step; an alarm where losses have left the law.
    pub fn step(&mut self, step: u64, loss: f64) -> Option<Alarm> {
        self.seen.training.push(Point { step, loss });
        self.watch.look(step, loss)
    }

    /// Sees an evaluation, after its step: tells what the look before this one found, and begins another.
    ///
    /// # Errors
    /// A schedule or a `law.json` that cannot be written.
    pub fn evaluated(&mut self, step: u64, loss: f64) -> Result<Told> {
        self.seen.held_out.push(Point { step, loss });
        let steps = self.config.train.iterations;
        let told = match self.take() {
            Some(look) => self.tell(step, look)?,
            None => Told::default(),
        };
        if step < steps {
            self.next = self.begin(step);
        }
        Ok(told)
    }

    fn tell(&mut self, step: u64, look: Look) -> Result<Told> {
        let steps = self.config.train.iterations;
        let mut schedule = None;
        if let Some(decision) = &look.decision {
            self.decided = self.due(step);
            if let Some(name) = &decision.schedule {
                let new = in_force(&self.dir, name, &self.config)?;
                Arc::make_mut(&mut self.subject).lrs = lrs(&new);
                self.schedule = Some(name.clone());
                schedule = Some(new);
            }
        }
        let (mut stop, mut forecast, mut silent) = (None, None, None);
        let first_quarter = 4 * step < steps;
        if let Err(why) = &look.fitted
            && self.told.is_none()
            && !first_quarter
            && !self.said
        {
            self.said = true;
            silent = Some(format!("no forecast of the end yet: {why}"));
        }
        if let Ok(fitted) = look.fitted {
            let state = self.watch.state();
            self.watch = Watch::new(&self.subject, &fitted, step + 1, state)?;
            // What is told of a schedule that has just been replaced says nothing of the new one.
            let stands = schedule.is_none();
            let holds = stands && self.stop_when.is_some_and(|when| when.holds(&fitted));
            self.agreeing = if holds { self.agreeing + 1 } else { 0 };
            let late = step < steps && step as f64 >= EARLIEST * steps as f64;
            if late && self.agreeing >= LOOKS {
                let Fitted {
                    forecast,
                    low,
                    high,
                    ..
                } = fitted;
                let when = &self.config.law.stop_when;
                stop = Some(format!(
                    "the run is forecast to end at {forecast:.4} nats a token (between {low:.4} and {high:.4}), and law.stop_when is {when}"
                ));
            }
            if 2 * step <= steps && stands {
                self.account.midway = fitted.describes.then_some(fitted.forecast);
            }
            forecast = Some(ForecastRecord::new(step, &fitted));
            self.told = Some(fitted);
        } else {
            self.agreeing = 0;
        }
        Ok(Told {
            forecast,
            decision: look.decision,
            schedule,
            stop,
            silent,
        })
    }

    /// How many of the shares at which the run is designed anew lie at or before `step`.
    fn due(&self, step: u64) -> usize {
        let steps = self.config.train.iterations as f64;
        let shares = self.config.law.redesign.iter();
        shares.filter(|share| *share * steps <= step as f64).count()
    }

    /// Waits for the look under way, if there is one.
    fn take(&mut self) -> Option<Look> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => None,
            Next::Ready(look) => Some(*look),
            Next::Running(thread) => {
                let clock = Instant::now();
                let (look, took) = thread.join().unwrap_or_else(|_| {
                    let fitted = Err("the fit ended in an error of its own".to_string());
                    let decision = None;
                    (Look { fitted, decision }, Duration::ZERO)
                });
                self.account.waiting += clock.elapsed();
                self.account.fitting += took;
                Some(look)
            }
        }
    }

    fn begin(&self, step: u64) -> Next {
        let every = self.config.eval.every;
        let steps = self.config.train.iterations;
        let told_at = match every {
            0 => steps,
            _ => ((step / every + 1) * every).min(steps),
        };
        let job = Job {
            subject: self.subject.clone(),
            seen: self.seen.clone(),
            before: self.told.clone(),
            dir: self.dir.clone(),
            departed: self.watch.departed(),
            redesign_at: (told_at < steps && self.due(told_at) > self.decided).then_some(told_at),
        };
        let thread = std::thread::Builder::new().name("law".into());
        match thread.spawn(move || job.run()) {
            Ok(thread) => Next::Running(thread),
            // A machine without room for a thread trains on.
            Err(_) => Next::Nothing,
        }
    }

    /// What a checkpoint must hold; waits for the look under way.
    pub fn state(&mut self) -> LiveState {
        let ready = self.take();
        let state = LiveState {
            told: self.told.clone(),
            ready: ready.clone(),
            watch: self.watch.state(),
            decided: self.decided,
            agreeing: self.agreeing,
            schedule: self.schedule.clone(),
            midway: self.account.midway,
        };
        self.next = ready.map_or(Next::Nothing, |look| Next::Ready(Box::new(look)));
        state
    }

    /// What it came to.
    pub fn account(&self) -> Account {
        self.account.clone()
    }
}

/// What the run in `dir` logged up to `step`, under a schedule of `lrs`.
fn logged(dir: &Path, step: u64, lrs: &[f64]) -> Result<Seen> {
    let points = |name: &str, column: usize| -> Result<Vec<Point>> {
        let path = dir.join(name);
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
        let point = |line: &str| {
            let step: u64 = line.split(',').next()?.parse().ok()?;
            let loss = line.split(',').nth(column)?.parse().ok()?;
            // A step whose update was left out stands there with an LR of 0 that is not its schedule's, and was not seen.
            let left_out = |lr: f64| lr == 0.0 && lrs.get(step as usize - 1) != Some(&0.0);
            if column == 2 && step > 0 && left_out(line.split(',').nth(1)?.parse().ok()?) {
                return None;
            }
            Some(Point { step, loss })
        };
        let points = text.lines().filter_map(point);
        Ok(points.filter(|p| p.step <= step).collect())
    };
    Ok(Seen {
        training: points(CURVE_FILE, 2)?,
        held_out: points(VAL_CURVE_FILE, 1)?,
    })
}

fn lrs(schedule: &Schedule) -> Vec<f64> {
    (0..schedule.steps()).map(|s| schedule.lr(s)).collect()
}

/// The schedule of a file in the run's directory.
///
/// # Errors
/// A table that is gone, or does not fit the run.
pub fn in_force(dir: &Path, name: &str, config: &RunConfig) -> Result<Schedule> {
    let mut config = config.clone();
    config.schedule.scheduler = scheduler(dir, name);
    config.schedule()
}

/// As a configuration names it, from any working directory.
pub fn scheduler(dir: &Path, name: &str) -> String {
    let path = dir.join(name);
    let path = std::path::absolute(&path).unwrap_or(path);
    format!("table:{}", path.display())
}

/// One look at the losses so far.
struct Job {
    subject: Arc<Subject>,
    seen: Seen,
    before: Option<Fitted>,
    dir: PathBuf,
    /// Whether losses have left the law.
    departed: bool,
    /// The step from which the rest is to be designed.
    redesign_at: Option<u64>,
}

impl Job {
    fn run(self) -> (Look, Duration) {
        let clock = Instant::now();
        // One core at most, whatever a fit would like: the others are training.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let look = match pool {
            Ok(pool) => pool.install(|| self.look()),
            Err(_) => self.look(),
        };
        (look, clock.elapsed())
    }

    fn look(&self) -> Look {
        let (fit, fitted) = match forecast::fit(&self.subject, &self.seen, self.before.as_ref()) {
            Ok(found) => found,
            Err(e) => {
                let why = format!("there is no law to design by: {e}");
                return Look {
                    fitted: Err(e.to_string()),
                    decision: self.redesign_at.map(|_| Decision::kept(why)),
                };
            }
        };
        // For whoever looks at the run; nothing hangs on it.
        let _ = fit::file::write(&fit, &self.dir.join(LAW_FILE));
        let decision = self.redesign_at.map(|at| {
            if self.departed {
                let why = "losses have left the law, so it designs nothing";
                return Decision::kept(why.into());
            }
            let (mut decision, designed) = forecast::redesign(&self.subject, &fit, &fitted, at);
            if let Some(designed) = designed {
                let name = format!("schedule-{at:08}.json");
                let mut head = serde_json::Map::new();
                head.insert("law".into(), fit.law.name().into());
                head.insert("designed_at".into(), at.into());
                head.insert("predicted_loss".into(), decision.predicted.into());
                let written =
                    file::write(&self.dir.join(&name), head, &designed.lrs, &designed.knots);
                match written {
                    Ok(()) => decision.schedule = Some(name),
                    Err(e) => decision = Decision::kept(e.to_string()),
                }
            }
            decision
        });
        Look {
            fitted: Ok(fitted),
            decision,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_of_the_schedule_is_seen_and_an_update_left_out_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let log = "step,lr,loss\n1,0.1,5\n2,0,9\n3,0,4\n4,0,3\n";
        std::fs::write(dir.path().join(CURVE_FILE), log).unwrap();
        std::fs::write(dir.path().join(VAL_CURVE_FILE), "step,loss\n").unwrap();
        let seen = logged(dir.path(), 3, &[0.1, 0.05, 0.0, 0.0]).unwrap();
        let steps: Vec<u64> = seen.training.iter().map(|p| p.step).collect();
        assert_eq!(steps, [1, 3]);
    }
}
