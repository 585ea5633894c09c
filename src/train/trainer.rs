//! One step of training: loss, gradients, clipping, update.

use super::config::RunConfig;
use super::metrics::StepRecord;
use crate::engine::{Engine, Times, Tokens};
use crate::error::Result;
use crate::model::{DropoutStream, ModelConfig, Params};
use crate::optim::{AdamW, clip_coefficient};
use crate::schedule::Schedule;
use crate::text::loader::{MicroBatch, StepBatch};
use std::time::Instant;

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
        let precision = config.train.dtype.precision();
        let engine = Engine::new(&model_config, params, precision, config.train.recompute);
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

    pub fn params(&self) -> &Params {
        self.engine.params()
    }

    pub fn optimizer(&self) -> &AdamW {
        &self.optimizer
    }

    /// The weights and what computes with them.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Where the time of the steps went so far.
    pub fn times(&self) -> &Times {
        self.engine.times()
    }

    /// Trains on one batch. The learning rate is `schedule.lr(step)` of this step, the loss the
    /// mean over all of its tokens before the update.
    ///
    /// When loss or gradient norm is not finite, weights and moments stay as they are and the
    /// record says `skipped`.
    pub fn step(&mut self, batch: &StepBatch) -> StepRecord {
        let lr = self.schedule.lr(self.step);
        let loss = self.gradients(batch);
        let n = self.params().elements() as f64;
        let clock = Instant::now();
        let grad_norm = self.optimizer.global_norm(self.engine.flat_gradients());
        let finite = loss.is_finite() && grad_norm.is_finite();
        self.engine
            .times_mut()
            .record("gradient norm", clock.elapsed(), 0.0, 4.0 * n);
        if finite {
            let clock = Instant::now();
            let clip = clip_coefficient(grad_norm, self.config.optim.grad_clip);
            let (weights, gradients) = self.engine.for_update();
            self.optimizer.step(weights, gradients, lr, clip);
            self.engine
                .times_mut()
                .record("update", clock.elapsed(), 0.0, 28.0 * n);
        }
        self.step += 1;
        StepRecord {
            step: self.step,
            lr,
            loss,
            grad_norm,
            tokens: self.step * self.config.tokens_per_step(),
            skipped: !finite,
            tokens_per_second: 0.0,
        }
    }

    /// Mean loss over the batch in nats; the engine has its gradient by every parameter.
    ///
    /// Micro-batches are of one size, so the mean of their means is the mean over all tokens, and
    /// the sum of their scaled gradients is the gradient of the large batch.
    pub fn gradients(&mut self, batch: &StepBatch) -> f64 {
        let (p, seed) = (self.model_config.dropout, self.config.train.seed);
        let step = self.step;
        let numbered = batch.micro_batches.iter().enumerate();
        self.engine.gradients(numbered.map(|(i, micro)| {
            let dropout = DropoutStream::new(p, seed, step, i as u64);
            (tokens(micro), dropout)
        }))
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
