//! The loop: batches in, records, evaluations, samples and checkpoints out.

use super::average::{Averages, Cost};
use super::checkpoint::{self, Contents};
use super::config::{NonFinite, RunConfig};
use super::evaluate::HeldOut;
use super::export;
use super::live::{Account, Live};
use super::metrics::{
    AverageRecord, EvalRecord, ForecastRecord, Metrics, SampleRecord, StepRecord,
};
use super::rundir::{self, FINAL_DIR, RunDir};
use super::setup::Source;
use super::trainer::Trainer;
use crate::error::{Error, Result};
use crate::forecast::{Alarm, Decision};
use crate::model::LanguageModel;
use crate::model::flops::{ForwardFlops, ParamCount};
use crate::model::generate::{SamplingConfig, generate};
use crate::text::loader::{Loader, StepBatch};
use crate::text::prefetch::Prefetcher;
use candle_core::Device;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Steps whose batches are made ready ahead of the trainer.
const PREFETCH: usize = 4;

/// With `non_finite = "skip"`, more updates than this left out one after another end the run: the
/// weights themselves are lost.
const MOST_SKIPS_IN_A_ROW: u32 = 20;

/// What hangs on a run: told of everything, in order, on the run's own thread.
pub trait Observer {
    fn started(&mut self, _info: &Info) {}
    fn stepped(&mut self, _record: &StepRecord) {}
    /// An evaluation, of the weights and of their averages.
    fn evaluated(&mut self, _record: &EvalRecord, _averages: &[AverageRecord]) {}
    fn sampled(&mut self, _record: &SampleRecord) {}
    /// What the law says, now and then.
    fn forecast(&mut self, _record: &ForecastRecord) {}
    fn alarmed(&mut self, _alarm: &Alarm) {}
    fn decided(&mut self, _step: u64, _decision: &Decision) {}
    fn saved(&mut self, _step: u64, _dir: &Path) {}
    /// Something that the user should know and that does not stop the run.
    fn noticed(&mut self, _message: &str) {}
}

/// What is known before the first step.
#[derive(Clone, Debug)]
pub struct Info {
    pub dir: PathBuf,
    pub config: RunConfig,
    /// Completed steps: 0, or where a resumed run goes on.
    pub step: u64,
    pub params: ParamCount,
    /// Executed FLOPs of training on one token; see [`crate::model::flops`].
    pub flops_per_token: f64,
    pub schedule: crate::schedule::Schedule,
    pub data: String,
    pub tokenizer: Option<String>,
    pub train_tokens: u64,
    pub val_tokens: u64,
    pub threads: usize,
    /// The CUDA device, where that is what it trains on.
    pub gpu: Option<Gpu>,
}

/// What a run has of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    pub name: String,
    /// Bytes of its memory that will be taken once it trains, by whom ever, and all that there are, where it tells.
    pub memory: Option<(usize, usize)>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Summary {
    pub dir: PathBuf,
    pub steps: u64,
    pub last_checkpoint: Option<u64>,
    pub eval: EvalRecord,
    pub averages: Averaged,
    /// None without a live law.
    pub law: Option<Account>,
    pub sample: Option<SampleRecord>,
    /// Updates that this process left out because loss or gradient was not finite.
    pub skipped: u64,
    /// Wall time of this process's share of the run.
    pub elapsed: Duration,
}

/// What averaging the weights came to.
#[derive(Clone, Debug)]
pub struct Averaged {
    /// The losses at the end.
    pub records: Vec<AverageRecord>,
    /// Where the last finished window lies, and the moving average.
    pub window: Option<PathBuf>,
    pub ema: Option<PathBuf>,
    pub cost: Cost,
    /// Wall time of the steps themselves.
    pub stepping: Duration,
}

/// A run that holds its directory and is ready to train.
pub struct Run {
    pub(super) dir: RunDir,
    pub(super) source: Source,
    pub(super) trainer: Trainer,
    pub(super) held_out: HeldOut,
    pub(super) averages: Averages,
    pub(super) law: Option<Live>,
    pub(super) metrics: Metrics,
    pub(super) recorder: Option<BufWriter<File>>,
    pub(super) fingerprint: String,
    pub(super) notices: Vec<String>,
}

impl Run {
    /// Whether every step is done and `final/` is there.
    pub fn is_finished(&self) -> bool {
        self.trainer.completed() == self.steps() && self.dir.join(FINAL_DIR).exists()
    }

    /// The run's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn steps(&self) -> u64 {
        self.trainer.config().train.iterations
    }

    /// Trains to the end, or until `stop` is set: then it saves and returns
    /// [`Error::Interrupted`].
    pub fn train(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Summary> {
        let begin = Instant::now();
        let config = self.trainer.config().clone();
        observer.started(&self.info());
        for notice in self.notices.drain(..) {
            observer.noticed(&notice);
        }
        let steps = self.steps();
        let loader = Loader::new(self.source.dataset.train().clone(), config.loader())?;
        let batches = Prefetcher::start(loader, self.trainer.completed(), steps, PREFETCH)?;
        let mut last_eval = None;
        let mut last_sample = None;
        let (mut skipped, mut in_a_row) = (0, 0);
        let mut stepping = Duration::ZERO;
        while self.trainer.completed() < steps {
            let clock = Instant::now();
            let (_, batch) = batches.next()?;
            self.record(&batch)?;
            let mut record = self.trainer.step(&batch)?;
            stepping += clock.elapsed();
            self.averages.add(&mut self.trainer)?;
            record.tokens_per_second =
                config.tokens_per_step() as f64 / clock.elapsed().as_secs_f64();
            in_a_row = if record.skipped { in_a_row + 1 } else { 0 };
            let patience = match config.train.non_finite {
                NonFinite::Stop => 0,
                NonFinite::Skip => MOST_SKIPS_IN_A_ROW,
            };
            if in_a_row > patience {
                return Err(self.not_finite(&record));
            }
            skipped += u64::from(record.skipped);
            self.metrics.step(&record)?;
            observer.stepped(&record);
            if let Some(alarm) = self.look(&record) {
                self.metrics.alarm(&alarm)?;
                observer.alarmed(&alarm);
            }
            let tokenizer = self.source.tokenizer.as_ref();
            self.averages.close_window(&self.trainer, tokenizer)?;

            let step = record.step;
            let mut stop_here = None;
            let due = |every: u64| step == steps || (every > 0 && step.is_multiple_of(every));
            if due(config.eval.every) {
                let eval = self.evaluate()?;
                self.metrics.eval(&eval)?;
                let averages = self.evaluate_averages(observer);
                self.metrics.averages(&averages)?;
                observer.evaluated(&eval, &averages);
                stop_here = self.consult(&eval, observer)?;
                last_eval = Some((eval, averages));
            }
            if due(config.sample.every) {
                match self.sample() {
                    Ok(Some(sample)) => {
                        self.metrics.sample(&sample)?;
                        observer.sampled(&sample);
                        last_sample = Some(sample);
                    }
                    Ok(None) => {}
                    // Text is for looking at: a model that cannot write goes on training.
                    Err(e) => observer.noticed(&e.to_string()),
                }
            }
            let interrupted = stop.load(Ordering::Relaxed) || stop_here.is_some();
            // Weights whose loss is not finite are not worth going on from.
            let save = due(config.checkpoint.every) || config.checkpoint.at.contains(&step);
            if (save && !record.skipped) || interrupted {
                let dir = self.save()?;
                observer.saved(step, &dir);
            }
            if interrupted && step < steps {
                let saved = format!(
                    "stopped after step {step}; everything is saved in {}",
                    self.dir.path().display()
                );
                return Err(match stop_here {
                    Some(why) => Error::Ended(format!("{why}; {saved}")),
                    None => Error::Interrupted(saved),
                });
            }
        }
        if let Some(mut recorder) = self.recorder.take() {
            recorder
                .flush()
                .map_err(|e| Error::io("write", "the recorded batches", e))?;
        }
        // Logged before the last checkpoint; a run that resumes there looks again.
        let (eval, records) = match last_eval {
            Some(found) => found,
            None => (self.evaluate()?, self.evaluate_averages(observer)),
        };
        if !eval.val_loss.is_finite() {
            return Err(Error::input(format!(
                "the held-out loss after the last step is {}, so there is no model to keep; {}",
                eval.val_loss,
                self.last_good(steps)
            )));
        }
        let tokenizer = self.source.tokenizer.as_ref();
        let averages = Averaged {
            records,
            window: self.averages.last_window(),
            ema: self.averages.export_ema(&self.trainer, tokenizer)?,
            cost: self.averages.cost(),
            stepping,
        };
        self.trainer.fetch()?;
        export::write(
            &self.dir.join(FINAL_DIR),
            self.trainer.model_config(),
            self.trainer.params(),
            self.source.tokenizer.as_ref(),
        )?;
        Ok(Summary {
            dir: self.dir.path().to_path_buf(),
            steps,
            last_checkpoint: rundir::saved_steps(self.dir.path())?.last().copied(),
            eval,
            averages,
            law: self.law.as_ref().map(Live::account),
            sample: last_sample.or_else(|| self.sample().ok().flatten()),
            skipped,
            elapsed: begin.elapsed(),
        })
    }

    fn evaluate(&mut self) -> Result<EvalRecord> {
        let evaluation = self.held_out.evaluate(self.trainer.engine())?;
        Ok(EvalRecord {
            step: self.trainer.completed(),
            val_loss: evaluation.loss,
            val_bits_per_byte: evaluation.bits_per_byte,
            val_tokens: evaluation.tokens,
        })
    }

    fn look(&mut self, record: &StepRecord) -> Option<Alarm> {
        let law = self.law.as_mut().filter(|_| !record.skipped)?;
        law.step(record.step, record.loss)
    }

    /// Hears the law at an evaluation; why the run ends here, if it does.
    fn consult(
        &mut self,
        eval: &EvalRecord,
        observer: &mut dyn Observer,
    ) -> Result<Option<String>> {
        let Some(law) = &mut self.law else {
            return Ok(None);
        };
        let told = law.evaluated(eval.step, eval.val_loss)?;
        if let Some(record) = &told.forecast {
            self.metrics.forecast(record)?;
            observer.forecast(record);
        }
        if let Some(why) = &told.silent {
            observer.noticed(why);
        }
        if let Some(decision) = &told.decision {
            self.metrics.decision(eval.step, decision)?;
            observer.decided(eval.step, decision);
        }
        if let Some(schedule) = told.schedule {
            self.trainer.set_schedule(schedule);
        }
        if let Some(why) = &told.stop {
            self.metrics.stopped(eval.step, why)?;
        }
        Ok(told.stop)
    }

    /// Averages are for looking at: a run whose windows somebody has removed goes on training.
    fn evaluate_averages(&mut self, observer: &mut dyn Observer) -> Vec<AverageRecord> {
        let found = self.averages.evaluate(&self.held_out, &mut self.trainer);
        found.unwrap_or_else(|e| {
            observer.noticed(&format!("the averages are not evaluated: {e}"));
            Vec::new()
        })
    }

    /// Text from the model as it is; `None` without a tokenizer or with `sample.tokens` 0.
    fn sample(&mut self) -> Result<Option<SampleRecord>> {
        self.trainer.fetch()?;
        let s = &self.trainer.config().sample;
        let Some(tokenizer) = self.source.tokenizer.as_ref().filter(|_| s.tokens > 0) else {
            return Ok(None);
        };
        let mut prompt = tokenizer.encode(&s.prompt)?;
        if prompt.is_empty() {
            prompt.extend(tokenizer.eot());
        }
        let sampling = SamplingConfig {
            temperature: s.temperature,
            top_k: (s.top_k > 0).then_some(s.top_k),
            top_p: None,
            seed: self.trainer.config().train.seed ^ self.trainer.completed(),
        };
        // A copy for as long as it writes.
        let params = self.trainer.params();
        let model =
            LanguageModel::for_inference(self.trainer.model_config(), params, &Device::Cpu)?;
        let ids = generate(&model, &prompt, s.tokens, tokenizer.eot(), &sampling)?;
        // A model's vocabulary may be padded beyond the tokenizer's.
        let known: Vec<u32> = ids
            .into_iter()
            .filter(|&id| (id as usize) < tokenizer.vocab_size())
            .collect();
        Ok(Some(SampleRecord {
            step: self.trainer.completed(),
            prompt: s.prompt.clone(),
            sample: tokenizer.decode(&known)?,
        }))
    }

    pub(super) fn save(&mut self) -> Result<PathBuf> {
        self.metrics.sync()?;
        self.trainer.fetch_all()?;
        let law = self.law.as_mut().map(Live::state);
        let config = self.trainer.config();
        let dir = checkpoint::save(
            self.dir.path(),
            &Contents {
                step: self.trainer.completed(),
                config,
                data: &self.fingerprint,
                schedule: self.trainer.schedule(),
                model: self.trainer.model_config(),
                eot: self.source.eot(),
                params: self.trainer.params(),
                optimizer: self.trainer.optimizer(),
                averages: &self.averages,
                law,
            },
        )?;
        checkpoint::retain(self.dir.path(), &config.checkpoint)?;
        Ok(dir)
    }

    fn record(&mut self, batch: &StepBatch) -> Result<()> {
        let Some(out) = &mut self.recorder else {
            return Ok(());
        };
        for micro in &batch.micro_batches {
            for row in 0..micro.rows {
                for id in micro.window(row) {
                    out.write_all(&id.to_le_bytes())
                        .map_err(|e| Error::io("write", "the recorded batches", e))?;
                }
            }
        }
        Ok(())
    }

    /// The error of a step whose loss or gradient is not finite.
    ///
    /// The loss of step s was computed with the weights after s − 1 steps. If it is not finite, a
    /// checkpoint of those weights is set aside, so that a resumed run starts before them.
    fn not_finite(&self, record: &StepRecord) -> Error {
        let before = record.step - 1;
        let newest_good = if record.loss.is_finite() {
            before
        } else {
            let spoilt = rundir::step_dir(self.dir.path(), before);
            if spoilt.exists() && before > 0 {
                let _ = rundir::set_aside(&spoilt);
            }
            before.saturating_sub(1)
        };
        Error::input(format!(
            "step {}: the loss is {} and the gradient norm {} at learning rate {:e}; lower --lr, lengthen the warm-up, or leave single updates out with --non-finite skip; {}",
            record.step,
            record.loss,
            record.grad_norm,
            record.lr,
            self.last_good(newest_good)
        ))
    }

    /// Where the newest checkpoint up to a step lies, in words.
    fn last_good(&self, newest: u64) -> String {
        let steps = rundir::saved_steps(self.dir.path()).unwrap_or_default();
        match steps.into_iter().rfind(|&s| s <= newest) {
            Some(step) => format!(
                "the last good checkpoint is {}",
                rundir::step_dir(self.dir.path(), step).display()
            ),
            None => "no good checkpoint has been kept".to_string(),
        }
    }

    fn info(&mut self) -> Info {
        let gpu = self.gpu();
        let config = self.trainer.config();
        let model = self.trainer.model_config();
        let dataset = &self.source.dataset;
        Info {
            dir: self.dir.path().to_path_buf(),
            config: config.clone(),
            step: self.trainer.completed(),
            params: ParamCount::of(model),
            flops_per_token: ForwardFlops::train_per_token(model, config.train.sequence_length),
            schedule: self.trainer.schedule().clone(),
            data: config.data.path.clone(),
            tokenizer: self.source.tokenizer.as_ref().map(|t| t.name().to_string()),
            train_tokens: dataset.train().len(),
            val_tokens: dataset.val().len(),
            threads: rayon::current_num_threads(),
            gpu,
        }
    }

    fn gpu(&mut self) -> Option<Gpu> {
        let t = &self.trainer.config().train;
        let (rows, positions) = (t.batch_size, t.sequence_length);
        let name = self.trainer.gpu()?;
        let engine = self.trainer.engine();
        let will_take = engine.will_take(rows, positions);
        let total = engine.cuda()?.taken().total;
        let memory = will_take.zip(total);
        Some(Gpu { name, memory })
    }
}
