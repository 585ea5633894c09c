//! How a run comes to stand before its next step: new, or taken up at a checkpoint.

use super::average::Averages;
use super::branch::{self, BranchPoint, Departure};
use super::checkpoint;
use super::config::RunConfig;
use super::device::DeviceKind;
use super::evaluate::HeldOut;
use super::live::{self, Live, LiveState};
use super::load::tokenizer_file;
use super::metrics::Metrics;
use super::probes::{self, Probes};
use super::run::Run;
use super::run_file::{self, BranchedFrom, Origin};
use super::rundir::{self, RUN_FILE, RunDir, TOKENIZER_FILE};
use super::setup::{Source, Start, check_same_tokenizer, initial_model, is_dataset};
use super::trainer::Trainer;
use crate::error::{Error, Result};
use crate::model::flops::ParamCount;
use crate::text::loader::Loader;
use crate::text::prepare::Progress;
use crate::text::tokenizer::Tokenizer;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// How a new run starts, besides its configuration.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    /// Weights to start from instead of the seed's.
    pub init_from: Option<PathBuf>,
    /// Where every micro-batch is written as it is consumed: u32, little-endian, rows of
    /// sequence_length + 1 ids.
    pub record_batches: Option<PathBuf>,
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
        notices.extend(config.train.resolve());
        // Everything that can be wrong with the input is found before the directory exists.
        let mut trainer = new_trainer(&config, &source, options.init_from.as_deref())?;
        let held_out = held_out(&config, &source)?;
        Loader::new(source.dataset.train().clone(), config.loader())?;
        let probes = probes::read(&config, &source.dataset.fingerprint())?;
        let law = live(dir, &config, &trainer, &probes, None)?;
        let dir = RunDir::create(dir)?;
        let recorder = options.record_batches.as_deref().map(create).transpose()?;
        rundir::sweep(dir.path())?;
        if let Some(tokenizer) = &source.tokenizer {
            tokenizer.save(&dir.join(TOKENIZER_FILE))?;
        }
        let origin = Origin {
            init_from: options.init_from.clone(),
            branched_from: None,
        };
        probes.keep(dir.path())?;
        run_file::write(&dir.join(RUN_FILE), &config, &origin, &mut trainer, &source)?;
        let metrics = Metrics::open(&dir, 0)?;
        let averages = Averages::new(dir.path(), &trainer);
        notices.extend(averages.too_short(config.train.iterations));
        let mut run = Run {
            averages,
            law,
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

    /// Starts a run in `dir` that goes on from a checkpoint of another one, the trunk. Nothing of the trunk is changed.
    /// `config` is [`BranchPoint::config`]'s, in which a caller may have changed when things are evaluated, sampled and
    /// saved.
    ///
    /// # Errors
    /// A damaged checkpoint, or data that are not the trunk's any more; a run in `dir`.
    pub fn branch(
        point: &BranchPoint,
        mut config: RunConfig,
        dir: &Path,
        progress: &mut dyn Progress,
    ) -> Result<Run> {
        let branched_from = BranchedFrom::of(point)?;
        let dataset = run_file::read(&point.trunk.join(RUN_FILE))?.dataset;
        let source = reopen(dataset, &config, progress)?;
        let mut notices: Vec<String> = config.train.resolve();
        let (mut trainer, point) = at_branch(&config, &source, &branched_from)?;
        let held_out = held_out(&config, &source)?;
        let dir = RunDir::create(dir)?;
        rundir::sweep(dir.path())?;
        let origin = Origin {
            init_from: None,
            branched_from: Some(branched_from.clone()),
        };
        let probes = probes::kept(point.run(), &config, &source.dataset.fingerprint())?;
        probes.keep(dir.path())?;
        // First what the run is: a process that is killed after this resumes as the branch.
        run_file::write(&dir.join(RUN_FILE), &config, &origin, &mut trainer, &source)?;
        let averages = branch::fill(&dir, &point, &trainer, &mut notices)?;
        let metrics = Metrics::open(&dir, trainer.completed())?;
        let law = live(dir.path(), &config, &trainer, &probes, None)?;
        let mut run = Run {
            averages,
            law,
            dir,
            fingerprint: source.dataset.fingerprint(),
            source,
            trainer,
            held_out,
            metrics,
            recorder: None,
            notices,
        };
        run.save()?;
        Ok(run)
    }

    /// Takes up the run in `dir` at its newest whole checkpoint, or from the start if nothing has
    /// been saved; on another device than before, if one is given.
    ///
    /// # Errors
    /// The directory holds no run or a live process holds it; `run.toml` or the data set differ
    /// from what the checkpoint was trained with, by name; no checkpoint is whole.
    pub fn resume(
        dir: &Path,
        device: Option<DeviceKind>,
        progress: &mut dyn Progress,
    ) -> Result<Run> {
        let dir = RunDir::open(dir)?;
        rundir::sweep(dir.path())?;
        let run_file::RunFile {
            mut config,
            origin,
            gpu,
            dataset,
            data_fingerprint,
        } = run_file::read(&dir.join(RUN_FILE))?;
        let newest = checkpoint::newest_whole(dir.path())?;
        let source = reopen(dataset, &config, progress)?;
        // The checkpoint's word counts; run.toml's stands in before the first one.
        let trained_on = newest.as_ref().map(|n| n.state.data.clone());
        if let Some(was) = trained_on.or(data_fingerprint) {
            check_data(&was, &source)?;
        }
        let mut notices = Vec::new();
        let was = config.train.device;
        config.train.device = device.unwrap_or(was);
        notices.extend(config.train.resolve());
        let dtype = config.train.dtype.moved_to(config.train.device);
        if dtype != config.train.dtype {
            notices.push(format!(
                "on {} a run of {} goes on in {dtype}",
                config.train.device, config.train.dtype
            ));
            config.train.dtype = dtype;
        }
        // A branch has a checkpoint of its own as soon as it has begun: its trunk may go.
        let only_begun = newest.is_none() && origin.branched_from.is_some();
        let (trainer, averages, law) = match (newest, &origin.branched_from) {
            (None, None) => {
                let trainer = new_trainer(&config, &source, origin.init_from.as_deref())?;
                let averages = Averages::new(dir.path(), &trainer);
                (trainer, averages, None)
            }
            (None, Some(trunk)) => {
                let (trainer, point) = at_branch(&config, &source, trunk)?;
                let averages = branch::fill(&dir, &point, &trainer, &mut notices)?;
                (trainer, averages, None)
            }
            (Some(newest), _) => {
                let state = &newest.state;
                let mut then = state.config.clone();
                // Weights and moments are no device's.
                let moved = std::mem::replace(&mut then.train.device, config.train.device);
                then.train.dtype = then.train.dtype.moved_to(config.train.device);
                if moved != config.train.device {
                    notices.push(format!(
                        "trained on {moved} up to step {} and on {} from there on; the bits are those of neither alone",
                        state.step, config.train.device
                    ));
                }
                let differences = config.differences(&then);
                if !differences.is_empty() {
                    return Err(Error::input(format!(
                        "{} and the checkpoint at step {} disagree: {}; set them back, or start another run",
                        dir.join(RUN_FILE).display(),
                        state.step,
                        differences.join("; ")
                    )));
                }
                let redesigned = state.law.as_ref().and_then(|law| law.schedule.as_deref());
                let schedule = match redesigned {
                    Some(name) => live::in_force(dir.path(), name, &config)?,
                    None => config.schedule()?,
                };
                if checkpoint::schedule_fingerprint(&schedule) != state.schedule {
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
                trainer.set_schedule(schedule);
                trainer.continue_from(state.step, |optimizer| {
                    checkpoint::restore_optimizer(&newest.dir, state, optimizer)
                })?;
                let averages =
                    Averages::restore(dir.path(), &newest.dir, state, &trainer, &mut notices)?;
                (trainer, averages, newest.state.law)
            }
        };
        // A process that was killed between its last save and this left one checkpoint too many.
        checkpoint::retain(dir.path(), &config.checkpoint)?;
        let metrics = Metrics::open(&dir, trainer.completed())?;
        let probes = probes::kept(dir.path(), &config, &source.dataset.fingerprint())?;
        let law = live(dir.path(), &config, &trainer, &probes, law)?;
        let mut run = Run {
            law,
            held_out: held_out(&config, &source)?,
            averages,
            dir,
            fingerprint: source.dataset.fingerprint(),
            source,
            trainer,
            metrics,
            recorder: None,
            notices,
        };
        if only_begun {
            run.save()?;
        }
        // Where nothing is left to do, nothing is moved.
        let now = run.trainer.gpu();
        if !run.is_finished() && (config.train.device != was || now != gpu) {
            let t = &config.train;
            run_file::move_to(&run.dir.join(RUN_FILE), t.device, t.dtype, now.as_deref())?;
        }
        Ok(run)
    }
}

/// The law that looks on from where the trainer stands.
fn live(
    dir: &Path,
    config: &RunConfig,
    trainer: &Trainer,
    probes: &Probes,
    state: Option<LiveState>,
) -> Result<Option<Live>> {
    let parameters = ParamCount::of(trainer.model_config()).total as f64;
    let (schedule, step) = (trainer.schedule(), trainer.completed());
    Live::new(
        dir,
        config,
        parameters,
        probes.curves(),
        schedule,
        step,
        state,
    )
}

/// The tokens that a run was started on, or what its configuration says where they are gone.
fn reopen(
    dataset: Option<PathBuf>,
    config: &RunConfig,
    progress: &mut dyn Progress,
) -> Result<Source> {
    match dataset.filter(|dir| dir.exists()) {
        Some(dir) => Source::from_dataset(&dir, config),
        None => Source::open(config, progress),
    }
}

/// A trainer that stands where the trunk stood, and the checkpoint that it stands on.
fn at_branch(
    config: &RunConfig,
    source: &Source,
    trunk: &BranchedFrom,
) -> Result<(Trainer, Departure)> {
    let point = Departure::read(trunk)?;
    check_data(&point.state.data, source)?;
    let mut trainer = new_trainer(config, source, Some(&point.dir))?;
    trainer.continue_from(point.state.step, |optimizer| {
        checkpoint::restore_optimizer(&point.dir, &point.state, optimizer)
    })?;
    Ok((trainer, point))
}

/// The data set must be the one that the steps so far were drawn from.
fn check_data(was: &str, source: &Source) -> Result<()> {
    if was == source.dataset.fingerprint() {
        return Ok(());
    }
    Err(Error::input(format!(
        "the data set {} is not the one that this run was started on; put that one back, or start another run",
        source.dataset.dir().display()
    )))
}

fn new_trainer(config: &RunConfig, source: &Source, weights: Option<&Path>) -> Result<Trainer> {
    let start = weights.map_or(Start::Seed, Start::Directory);
    let (model, params) = initial_model(config, source.vocab_size(config)?, &start)?;
    Trainer::new(config.clone(), model, params)
}

pub(super) fn held_out(config: &RunConfig, source: &Source) -> Result<HeldOut> {
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
