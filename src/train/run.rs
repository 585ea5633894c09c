//! The loop: batches in, records, evaluations, samples and checkpoints out.

use super::checkpoint::{self, Contents};
use super::config::{NonFinite, RunConfig};
use super::evaluate::HeldOut;
use super::export;
use super::load::tokenizer_file;
use super::metrics::{EvalRecord, Metrics, SampleRecord, StepRecord};
use super::run_file;
use super::rundir::{self, FINAL_DIR, RUN_FILE, RunDir, TOKENIZER_FILE};
use super::setup::{Source, Start, check_same_tokenizer, initial_model, is_dataset};
use super::trainer::Trainer;
use crate::error::{Error, Result};
use crate::model::LanguageModel;
use crate::model::flops::{ForwardFlops, ParamCount};
use crate::model::generate::{SamplingConfig, generate};
use crate::text::loader::{Loader, StepBatch};
use crate::text::prefetch::Prefetcher;
use crate::text::prepare::Progress;
use crate::text::tokenizer::Tokenizer;
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
    fn evaluated(&mut self, _record: &EvalRecord) {}
    fn sampled(&mut self, _record: &SampleRecord) {}
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
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Summary {
    pub dir: PathBuf,
    pub steps: u64,
    pub last_checkpoint: Option<u64>,
    pub eval: EvalRecord,
    pub sample: Option<SampleRecord>,
    /// Updates that this process left out because loss or gradient was not finite.
    pub skipped: u64,
    /// Wall time of this process's share of the run.
    pub elapsed: Duration,
}

/// How a new run starts, besides its configuration.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    /// Weights to start from instead of the seed's.
    pub init_from: Option<PathBuf>,
    /// Where every micro-batch is written as it is consumed: u32, little-endian, rows of
    /// sequence_length + 1 ids.
    pub record_batches: Option<PathBuf>,
}

/// A run that holds its directory and is ready to train.
pub struct Run {
    dir: RunDir,
    source: Source,
    trainer: Trainer,
    held_out: HeldOut,
    metrics: Metrics,
    recorder: Option<BufWriter<File>>,
    fingerprint: String,
    notices: Vec<String>,
}

impl Run {
    /// Starts a new run in `dir`, which must not hold one.
    pub fn start(
        dir: &Path,
        mut config: RunConfig,
        options: &StartOptions,
        progress: &mut dyn Progress,
    ) -> Result<Run> {
        let source = Source::open(&config, progress)?;
        if let Some(name) = source.tokenizer_name()
            && is_dataset(Path::new(&config.data.path))
        {
            // The data set's own tokenizer is the one that counts.
            config.data.tokenizer = name.to_string();
        }
        if let Some(dir) = &options.init_from
            && let (Some(file), Some(of_data)) = (tokenizer_file(dir), &source.tokenizer)
        {
            let of_model = Tokenizer::from_file(&file)?;
            check_same_tokenizer((dir, &of_model), (source.dataset.dir(), of_data))?;
        }
        let mut notices = Vec::new();
        notices.extend(config.train.dtype.resolve());
        // Everything that can be wrong with the input is found before the directory exists.
        let trainer = new_trainer(&config, &source, options.init_from.as_deref())?;
        let held_out = held_out(&config, &source)?;
        Loader::new(source.dataset.train().clone(), config.loader())?;
        let dir = RunDir::create(dir)?;
        let recorder = options.record_batches.as_deref().map(create).transpose()?;
        rundir::sweep(dir.path())?;
        if let Some(tokenizer) = &source.tokenizer {
            tokenizer.save(&dir.join(TOKENIZER_FILE))?;
        }
        run_file::write(&dir.join(RUN_FILE), &config, options, &trainer, &source)?;
        let metrics = Metrics::open(&dir, 0)?;
        let mut run = Run {
            dir,
            fingerprint: source.dataset.fingerprint(),
            source,
            trainer,
            held_out,
            metrics,
            recorder,
            notices,
        };
        if config.checkpoint.every > 0 {
            run.save()?;
        }
        Ok(run)
    }

    /// Takes up the run in `dir` at its newest whole checkpoint, or from the start if nothing has
    /// been saved.
    ///
    /// # Errors
    /// The directory holds no run or a live process holds it; `run.toml` or the data set differ
    /// from what the checkpoint was trained with, by name; no checkpoint is whole.
    pub fn resume(dir: &Path, progress: &mut dyn Progress) -> Result<Run> {
        let dir = RunDir::open(dir)?;
        rundir::sweep(dir.path())?;
        let run_file::RunFile {
            mut config,
            init_from,
            dataset,
            data_fingerprint,
        } = run_file::read(&dir.join(RUN_FILE))?;
        let newest = checkpoint::newest_whole(dir.path())?;
        let source = match dataset.filter(|dir| dir.exists()) {
            Some(dir) => Source::from_dataset(&dir, &config)?,
            None => Source::open(&config, progress)?,
        };
        let fingerprint = source.dataset.fingerprint();
        // The checkpoint's word counts; run.toml's stands in before the first one.
        let trained_on = newest.as_ref().map(|n| n.state.data.clone());
        if trained_on
            .or(data_fingerprint)
            .is_some_and(|was| was != fingerprint)
        {
            return Err(Error::input(format!(
                "the data set {} is not the one that this run was started on; put that one back, or start another run",
                source.dataset.dir().display()
            )));
        }
        let mut notices = Vec::new();
        notices.extend(config.train.dtype.resolve());
        let trainer = match newest {
            None => new_trainer(&config, &source, init_from.as_deref())?,
            Some(newest) => {
                let state = &newest.state;
                let differences = config.differences(&state.config);
                if !differences.is_empty() {
                    return Err(Error::input(format!(
                        "{} and the checkpoint at step {} disagree: {}; set them back, or start another run",
                        dir.join(RUN_FILE).display(),
                        state.step,
                        differences.join("; ")
                    )));
                }
                if checkpoint::schedule_fingerprint(&config.schedule()?) != state.schedule {
                    return Err(Error::input(format!(
                        "the schedule {} gives other learning rates than at step {} of this run, so its file has changed; put the old one back, or start another run",
                        config.schedule.scheduler, state.step
                    )));
                }
                for (damaged, why) in &newest.damage {
                    notices.push(format!("passed over a checkpoint: {why}"));
                    rundir::set_aside(damaged)?;
                }
                let start = Some(newest.dir.as_path());
                let mut trainer = new_trainer(&config, &source, start)?;
                trainer.continue_from(state.step, |optimizer| {
                    checkpoint::restore_optimizer(&newest.dir, state, optimizer)
                })?;
                trainer
            }
        };
        // A process that was killed between its last save and this left one checkpoint too many.
        checkpoint::retain(
            dir.path(),
            config.checkpoint.keep_last,
            config.checkpoint.permanent_every,
        )?;
        let metrics = Metrics::open(&dir, trainer.completed())?;
        Ok(Run {
            held_out: held_out(&config, &source)?,
            dir,
            fingerprint,
            source,
            trainer,
            metrics,
            recorder: None,
            notices,
        })
    }

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
        while self.trainer.completed() < steps {
            let clock = Instant::now();
            let (_, batch) = batches.next()?;
            self.record(&batch)?;
            let mut record = self.trainer.step(&batch);
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

            let step = record.step;
            let due = |every: u64| step == steps || (every > 0 && step.is_multiple_of(every));
            if due(config.eval.every) {
                let eval = self.evaluate()?;
                self.metrics.eval(&eval)?;
                observer.evaluated(&eval);
                last_eval = Some(eval);
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
            let interrupted = stop.load(Ordering::Relaxed);
            // Weights whose loss is not finite are not worth going on from.
            if (due(config.checkpoint.every) && !record.skipped) || interrupted {
                let dir = self.save()?;
                observer.saved(step, &dir);
            }
            if interrupted && step < steps {
                return Err(Error::Interrupted(format!(
                    "stopped after step {step}; everything is saved in {}",
                    self.dir.path().display()
                )));
            }
        }
        if let Some(mut recorder) = self.recorder.take() {
            recorder
                .flush()
                .map_err(|e| Error::io("write", "the recorded batches", e))?;
        }
        // Logged before the last checkpoint; a run that resumes there looks again.
        let eval = last_eval.map_or_else(|| self.evaluate(), Ok)?;
        if !eval.val_loss.is_finite() {
            return Err(Error::input(format!(
                "the held-out loss after the last step is {}, so there is no model to keep; {}",
                eval.val_loss,
                self.last_good(steps)
            )));
        }
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

    /// Text from the model as it is; `None` without a tokenizer or with `sample.tokens` 0.
    fn sample(&self) -> Result<Option<SampleRecord>> {
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

    fn save(&mut self) -> Result<PathBuf> {
        let config = self.trainer.config();
        self.metrics.sync()?;
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
            },
        )?;
        let c = &config.checkpoint;
        checkpoint::retain(self.dir.path(), c.keep_last, c.permanent_every)?;
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

    fn info(&self) -> Info {
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
        }
    }
}

fn new_trainer(config: &RunConfig, source: &Source, weights: Option<&Path>) -> Result<Trainer> {
    let start = weights.map_or(Start::Seed, Start::Directory);
    let (model, params) = initial_model(config, source.vocab_size(config)?, &start)?;
    Trainer::new(config.clone(), model, params)
}

fn held_out(config: &RunConfig, source: &Source) -> Result<HeldOut> {
    HeldOut::new(
        source.dataset.val().clone(),
        config.train.sequence_length,
        config.train.batch_size,
        config.eval.sequences,
        source.token_bytes(),
    )
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    let file = File::create(path).map_err(|e| Error::io("create", path, e))?;
    Ok(BufWriter::new(file))
}
