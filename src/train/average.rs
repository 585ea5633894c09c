//! The averages that hang on a run: taken after steps, evaluated, saved, exported.
//!
//! Nothing here changes what is trained: [`crate::average`] reads the weights after a step, and an
//! evaluation swaps an average in for them and swaps it out again, bit for bit. What is evaluated
//! is what was finished: the last whole window (up to a horizon old, as schedules-and-scaling has
//! it), the best mean of the last windows, and the moving average.

pub mod saved;

use super::checkpoint::{AVERAGE_FILE, State};
use super::evaluate::{Evaluation, HeldOut};
use super::export;
use super::metrics::{AverageKind, AverageRecord};
use super::rundir::{AVERAGES_DIR, put};
use super::trainer::Trainer;
use crate::average::{self, Accumulator, AverageConfig, AverageDtype, AverageState, Ema, Window};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::files;
use crate::model::{ModelConfig, ParamSpec, Params, hf};
use crate::text::tokenizer::Tokenizer;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What an average was made of, beside its weights.
pub const ORIGIN_FILE: &str = "average.json";
const WINDOW_PREFIX: &str = "window-";
const EMA_DIR: &str = "ema";

/// The averages of one run, at some step.
pub struct Averages {
    config: AverageConfig,
    /// Steps after which a moving average begins.
    ema_from: u64,
    window: Option<Window>,
    ema: Option<Ema>,
    /// The last steps of the finished windows that lie in `dir`.
    finished: Vec<u64>,
    dir: PathBuf,
    cost: Cost,
}

/// Wall time that this process spent on averages, evaluations apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Moving the averages after steps.
    pub taking: Duration,
    /// Writing finished windows.
    pub writing: Duration,
}

/// Where the window that ended with a step lies: `averages/window-00000500`.
pub fn window_dir(averages: &Path, last_step: u64) -> PathBuf {
    averages.join(format!("{WINDOW_PREFIX}{last_step:08}"))
}

impl Averages {
    /// Averages that begin where the trainer stands, for a run in `run`.
    pub fn new(run: &Path, trainer: &Trainer) -> Averages {
        let config = trainer.config().average.clone();
        let n = trainer.elements();
        let mut averages = Averages {
            ema_from: match config.ema_after_warmup {
                true => trainer.schedule().warmup_steps(),
                false => 0,
            },
            window: config.weight_average.then(|| Window::new(&config, n)),
            ema: None,
            finished: Vec::new(),
            dir: run.join(AVERAGES_DIR),
            cost: Cost::default(),
            config,
        };
        averages.begin_ema(trainer);
        averages
    }

    /// Takes up the averages of the checkpoint in `dir`; the inverse of [`Averages::save`].
    ///
    /// Averages that the checkpoint does not hold, or holds with other settings, begin anew, and
    /// a notice says so. Windows that are not there any more are left out.
    ///
    /// # Errors
    /// The checkpoint's averages cannot be read.
    pub fn restore(
        run: &Path,
        dir: &Path,
        state: &State,
        trainer: &Trainer,
        notices: &mut Vec<String>,
    ) -> Result<Averages> {
        let mut averages = Averages::new(run, trainer);
        averages.sweep()?;
        let config = averages.config.clone();
        let was = state.average.as_ref();
        let mut anew = |what: &str| {
            if state.step > 0 {
                notices.push(format!(
                    "the checkpoint at step {} holds no {what} of these settings, so a new one begins there",
                    state.step
                ));
            }
        };
        let mut named: Vec<(&str, &mut Accumulator)> = Vec::new();
        if let Some(window) = &mut averages.window {
            match was.filter(|was| config.same_windows(&was.config)) {
                Some(was) => {
                    let last = was.windows.iter().rev();
                    averages.finished = last
                        .copied()
                        .take_while(|&step| window_dir(&averages.dir, step).exists())
                        .collect();
                    averages.finished.reverse();
                    let mean = window.restore(was.snapshots);
                    if was.snapshots > 0 {
                        named.push(("window", mean));
                    }
                }
                None => anew("average over windows"),
            }
        }
        if let Some(ema) = &mut averages.ema {
            match was.and_then(|was| was.ema_of(&config)) {
                Some(stood) => named.push(("ema", ema.restore(stood))),
                None => anew("moving average"),
            }
        }
        if !named.is_empty() {
            let specs = trainer.specs();
            average::file::read(&dir.join(AVERAGE_FILE), specs, named)?;
        }
        Ok(averages)
    }

    /// Writes the accumulators into the directory of a checkpoint after `step` completed steps;
    /// what its state says about them. `None` where nothing is averaged.
    pub fn save(&self, dir: &Path, step: u64, specs: &[ParamSpec]) -> Result<Option<AverageState>> {
        if !self.config.is_on() {
            return Ok(None);
        }
        let mut named = Vec::new();
        let snapshots = self.window.as_ref().map_or(0, |w| w.in_progress(step));
        if let Some(window) = self.window.as_ref().filter(|_| snapshots > 0) {
            named.push(("window", window.mean()));
        }
        if let Some(ema) = &self.ema {
            named.push(("ema", ema.accumulator()));
        }
        if !named.is_empty() {
            average::file::write(&dir.join(AVERAGE_FILE), specs, &named)?;
        }
        Ok(Some(AverageState {
            config: self.config.clone(),
            snapshots,
            windows: self.finished.clone(),
            ema: self.ema.as_ref().map(Ema::state),
        }))
    }

    /// What a user should know who asks for windows that a run has no room for.
    pub fn too_short(&self, steps: u64) -> Option<String> {
        let horizon = self.config.horizon;
        (self.window.is_some() && steps < horizon).then(|| {
            format!("no window of {horizon} steps ends within {steps} steps, so there will be no average; give a smaller --wa-horizon")
        })
    }

    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Takes the weights after the step that the trainer has just completed.
    ///
    /// # Errors
    /// The weights cannot be had from the device.
    pub fn add(&mut self, trainer: &mut Trainer) -> Result<()> {
        let step = trainer.completed();
        let window_due = self.window.as_ref().is_some_and(|w| w.is_due(step));
        let ema_due = match &self.ema {
            Some(ema) => ema.is_due(step),
            None => self.config.ema && step >= self.ema_from,
        };
        // From another device weights are a copy, which takes its time.
        if !(window_due || ema_due) {
            return Ok(());
        }
        let clock = Instant::now();
        trainer.fetch()?;
        let weights = trainer.params().values();
        if let Some(window) = &mut self.window {
            window.add(step, weights);
        }
        match &mut self.ema {
            Some(ema) => ema.add(step, weights),
            None => self.begin_ema(trainer),
        }
        self.cost.taking += clock.elapsed();
        Ok(())
    }

    fn begin_ema(&mut self, trainer: &Trainer) {
        let step = trainer.completed();
        if self.config.ema && step >= self.ema_from {
            self.ema = Some(Ema::begin(&self.config, step, trainer.params().values()));
        }
    }

    /// Writes the window that the last step finished, if it did, as a model directory.
    ///
    /// # Errors
    /// An average that is not finite; a full disk.
    pub fn close_window(&mut self, trainer: &Trainer, tokenizer: Option<&Tokenizer>) -> Result<()> {
        let step = trainer.completed();
        let Some(window) = self.window.as_ref().filter(|w| w.is_finished(step)) else {
            return Ok(());
        };
        let clock = Instant::now();
        let c = &self.config;
        let origin = json!({
            "kind": "window",
            "from": step - c.horizon + 1,
            "to": step,
            "horizon": c.horizon,
            "interval": c.interval,
            "snapshots": c.horizon / c.interval,
            "dtype": c.dtype.name(),
        });
        let params = read(window.mean(), 1.0, trainer.specs())?;
        let dir = window_dir(&self.dir, step);
        write(&dir, trainer.model_config(), &params, tokenizer, &origin)?;
        self.finished.push(step);
        self.cost.writing += clock.elapsed();
        Ok(())
    }

    /// Writes the moving average as a model directory; `None` where there is none.
    pub fn export_ema(
        &self,
        trainer: &Trainer,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Option<PathBuf>> {
        let Some((ema, divisor)) = self.ready_ema() else {
            return Ok(None);
        };
        let origin = json!({
            "kind": "ema",
            "from": ema.state().from,
            "to": ema.newest(),
            "interval": self.config.ema_interval,
            "decay": self.config.ema_decay,
            "bias_correction": self.config.ema_bias_correction,
            "updates": ema.state().updates,
        });
        let params = read(ema.accumulator(), divisor, trainer.specs())?;
        let dir = self.dir.join(EMA_DIR);
        write(&dir, trainer.model_config(), &params, tokenizer, &origin)?;
        Ok(Some(dir))
    }

    /// Where the last finished window lies.
    pub fn last_window(&self) -> Option<PathBuf> {
        self.finished
            .last()
            .map(|&step| window_dir(&self.dir, step))
    }

    fn ready_ema(&self) -> Option<(&Ema, f64)> {
        let ema = self.ema.as_ref()?;
        Some((ema, ema.divisor()?))
    }

    /// The held-out losses of what has been averaged so far.
    ///
    /// # Errors
    /// A finished window that cannot be read any more.
    pub fn evaluate(
        &self,
        held_out: &HeldOut,
        trainer: &mut Trainer,
    ) -> Result<Vec<AverageRecord>> {
        let step = trainer.completed();
        let mut records = Vec::new();
        let mut values = match self.config.is_on() {
            true => vec![0.0; trainer.elements()],
            false => Vec::new(),
        };
        let record = |average, found: Evaluation, windows, from, to| AverageRecord {
            step,
            average,
            val_loss: found.loss,
            val_bits_per_byte: found.bits_per_byte,
            windows,
            from,
            to,
        };
        if let Some(&to) = self.finished.last() {
            let most = match self.config.sweep {
                true => self.finished.len().min(self.config.max_sweeps as usize),
                false => 1,
            };
            let mut mean = Accumulator::zeroed(AverageDtype::Float64, values.len());
            let mut sweep = Vec::new();
            for (windows, &last) in (1..=most as u64).zip(self.finished.iter().rev()) {
                let dir = window_dir(&self.dir, last);
                let window = hf::read_params(&dir, trainer.model_config())?;
                mean.approach(window.values(), 1.0 / windows as f64);
                mean.read(1.0, &mut values);
                let found = with_weights(trainer.engine(), &mut values, held_out)?;
                let from = last - self.config.horizon + 1;
                sweep.push(record(AverageKind::Window, found, windows, from, to));
            }
            // The shortest of equals.
            let best = sweep
                .iter()
                .min_by(|a, b| a.val_loss.total_cmp(&b.val_loss))
                .filter(|_| self.config.sweep)
                .cloned();
            records.push(sweep.swap_remove(0));
            records.extend(best.map(|best| AverageRecord {
                average: AverageKind::Sweep,
                ..best
            }));
        }
        if let Some((ema, divisor)) = self.ready_ema() {
            ema.accumulator().read(divisor, &mut values);
            let found = with_weights(trainer.engine(), &mut values, held_out)?;
            let (from, to) = (ema.state().from, ema.newest());
            records.push(record(AverageKind::Ema, found, 0, from, to));
        }
        Ok(records)
    }

    /// Removes what a killed process left half written.
    fn sweep(&self) -> Result<()> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else {
            return Ok(());
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let ours = name.starts_with(WINDOW_PREFIX) || name.starts_with(EMA_DIR);
            if ours && name.ends_with(".tmp") {
                let path = entry.path();
                std::fs::remove_dir_all(&path).map_err(|e| Error::io("remove", &path, e))?;
            }
        }
        Ok(())
    }
}

/// The held-out loss of other weights than the engine's, which are its own again afterwards.
fn with_weights(engine: &mut Engine, values: &mut [f32], held_out: &HeldOut) -> Result<Evaluation> {
    engine.swap_weights(values)?;
    let found = held_out.evaluate(engine);
    engine.swap_weights(values)?;
    found
}

/// The average as parameters.
///
/// # Errors
/// It is not finite.
fn read(average: &Accumulator, divisor: f64, specs: &[ParamSpec]) -> Result<Params> {
    let mut params = Params::build(specs.to_vec(), |_, _| Ok(()))?;
    average.read(divisor, params.values_mut());
    match params.first_not_finite() {
        None => Ok(params),
        Some(name) => Err(Error::input(format!(
            "the average weights of {name} are not finite, so they are not saved; lower --lr or lengthen the warm-up"
        ))),
    }
}

/// Writes a model directory with the origin of its weights; whole or not at all.
pub fn write(
    dir: &Path,
    config: &ModelConfig,
    params: &Params,
    tokenizer: Option<&Tokenizer>,
    origin: &serde_json::Value,
) -> Result<()> {
    let origin = serde_json::to_vec_pretty(origin).map_err(Error::backend)?;
    put(dir, |aside| {
        export::write_into(aside, config, params, tokenizer)?;
        files::write(&aside.join(ORIGIN_FILE), &origin)
    })
}
