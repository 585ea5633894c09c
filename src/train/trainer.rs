//! One step of training: loss, gradients, clipping, update.

use super::config::RunConfig;
use super::metrics::StepRecord;
use crate::engine::{Engine, Times, Tokens};
use crate::error::Result;
use crate::model::{DropoutStream, ModelConfig, ParamSpec, Params};
use crate::optim::AdamW;
use crate::schedule::Schedule;
use crate::text::loader::{MicroBatch, StepBatch};

/// Weights, optimiser and schedule, at some step.
pub struct Trainer {
    config: RunConfig,
    model_config: ModelConfig,
    schedule: Schedule,
    engine: Engine,
    optimizer: AdamW,
    step: u64,
}

impl Trainer {
    /// A trainer over these weights, before its first step.
    pub fn new(config: RunConfig, model_config: ModelConfig, params: Params) -> Result<Trainer> {
        let schedule = config.schedule()?;
        let optimizer = AdamW::new(config.optim.clone(), params.specs());
        let t = &config.train;
        let mut engine = (t.device).engine(&model_config, params, t.dtype, t.recompute)?;
        engine.check_room(t.batch_size, t.sequence_length)?;
        Ok(Trainer {
            config,
            model_config,
            schedule,
            engine,
            optimizer,
            step: 0,
        })
    }

    /// Continues after `step` completed steps, with the optimiser's state restored by `restore`.
    pub fn continue_from(
        &mut self,
        step: u64,
        restore: impl FnOnce(&mut AdamW) -> Result<()>,
    ) -> Result<()> {
        restore(&mut self.optimizer)?;
        self.step = step;
        Ok(())
    }

    /// Completed steps.
    pub fn completed(&self) -> u64 {
        self.step
    }

    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    pub fn model_config(&self) -> &ModelConfig {
        &self.model_config
    }

    /// From the next step on.
    pub fn set_schedule(&mut self, schedule: Schedule) {
        self.schedule = schedule;
    }

    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The weights, which [`Trainer::fetch`] has brought here.
    pub fn params(&self) -> &Params {
        self.engine.params()
    }

    /// Names and shapes of the parameters.
    pub fn specs(&self) -> &[ParamSpec] {
        self.engine.specs()
    }

    /// How many parameters there are.
    pub fn elements(&self) -> usize {
        self.specs().iter().map(ParamSpec::elements).sum()
    }

    /// Brings the weights from where they are trained.
    ///
    /// # Errors
    /// The device failed.
    pub fn fetch(&mut self) -> Result<()> {
        self.engine.fetch()
    }

    /// Brings the weights and the optimiser's state.
    ///
    /// # Errors
    /// The device failed.
    pub fn fetch_all(&mut self) -> Result<()> {
        self.engine.fetch()?;
        self.engine.fetch_moments(&mut self.optimizer)
    }

    pub fn optimizer(&self) -> &AdamW {
        &self.optimizer
    }

    /// The weights and what computes with them.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// What the CUDA device is sold as, where that is what it trains on.
    pub fn gpu(&mut self) -> Option<String> {
        Some(self.engine.cuda()?.name().to_string())
    }

    /// Where the time of the steps went so far.
    pub fn times(&self) -> Times {
        self.engine.times()
    }

    /// Trains on one batch. The learning rate is `schedule.lr(step)` of this step, the loss the
    /// mean over all of its tokens before the update.
    ///
    /// Micro-batches are of one size, so the mean of their means is the mean over all tokens, and
    /// the sum of their scaled gradients is the gradient of the large batch.
    ///
    /// When loss or gradient norm is not finite, weights and moments stay as they are and the
    /// record says `skipped`.
    ///
    /// # Errors
    /// The device failed.
    pub fn step(&mut self, batch: &StepBatch) -> Result<StepRecord> {
        let lr = self.schedule.lr(self.step);
        let (p, seed) = (self.model_config.dropout, self.config.train.seed);
        let numbered = batch.micro_batches.iter().enumerate();
        let micro_batches: Vec<(Tokens, DropoutStream)> = numbered
            .map(|(i, micro)| {
                let dropout = DropoutStream::new(p, seed, self.step, i as u64);
                (tokens(micro), dropout)
            })
            .collect();
        let stepped = self.engine.step(&micro_batches, &mut self.optimizer, lr)?;
        self.step += 1;
        Ok(StepRecord {
            step: self.step,
            lr,
            loss: stepped.loss,
            grad_norm: stepped.grad_norm,
            tokens: self.step * self.config.tokens_per_step(),
            skipped: !stepped.finite,
            tokens_per_second: 0.0,
        })
    }
}

/// A micro-batch as the engine takes it.
pub(super) fn tokens(micro: &MicroBatch) -> Tokens<'_> {
    Tokens {
        tokens: &micro.tokens,
        targets: &micro.targets,
        rows: micro.rows,
    }
}
