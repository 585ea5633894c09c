//! One step of training: loss, gradients, clipping, update.

use super::config::RunConfig;
use super::metrics::StepRecord;
use crate::error::{Error, Result};
use crate::model::{DropoutStream, LanguageModel, ModelConfig, Params};
use crate::optim::{AdamW, clip_coefficient, global_norm};
use crate::schedule::Schedule;
use crate::text::loader::StepBatch;
use candle_core::{Device, Tensor};

/// Weights, optimiser and schedule, at some step.
pub struct Trainer {
    config: RunConfig,
    model_config: ModelConfig,
    schedule: Schedule,
    params: Params,
    model: LanguageModel,
    reader: LanguageModel,
    optimizer: AdamW,
    step: u64,
}

impl Trainer {
    /// A trainer over these weights, before its first step.
    pub fn new(
        config: RunConfig,
        model_config: ModelConfig,
        params: Params,
        device: &Device,
    ) -> Result<Trainer> {
        let schedule = config.schedule()?;
        let model = LanguageModel::for_training(&model_config, &params, device)?;
        let reader = LanguageModel::for_inference(&model_config, &params, device)?;
        let optimizer = AdamW::new(config.optim.clone(), &params, device)?;
        Ok(Trainer {
            config,
            model_config,
            schedule,
            params,
            model,
            reader,
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

    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    pub fn params(&self) -> &Params {
        &self.params
    }

    pub fn optimizer(&self) -> &AdamW {
        &self.optimizer
    }

    /// The model for evaluation and sampling: the same weights, nothing recorded.
    pub fn reader(&self) -> &LanguageModel {
        &self.reader
    }

    /// Trains on one batch. The learning rate is `schedule.lr(step)` of this step, the loss the
    /// mean over all of its tokens before the update.
    ///
    /// When loss or gradient norm is not finite, weights and moments stay as they are and the
    /// record says `skipped`.
    pub fn step(&mut self, batch: &StepBatch) -> Result<StepRecord> {
        let lr = self.schedule.lr(self.step);
        let (loss, grads) = self.gradients(batch)?;
        let grad_norm = global_norm(&grads)?;
        let finite = loss.is_finite() && grad_norm.is_finite();
        if finite {
            let clip = clip_coefficient(grad_norm, self.config.optim.grad_clip);
            self.optimizer.step(&self.params, &grads, lr, clip)?;
        }
        self.step += 1;
        Ok(StepRecord {
            step: self.step,
            lr,
            loss,
            grad_norm,
            tokens: self.step * self.config.tokens_per_step(),
            skipped: !finite,
            tokens_per_second: 0.0,
        })
    }

    /// Mean loss over the batch in nats, and its gradient by every parameter, in order.
    ///
    /// Micro-batches are of one size, so the mean of their means is the mean over all tokens, and
    /// the sum of their scaled gradients is the gradient of the large batch.
    pub fn gradients(&self, batch: &StepBatch) -> Result<(f64, Vec<Tensor>)> {
        let scale = 1.0 / batch.micro_batches.len() as f64;
        let mut loss = 0.0;
        let mut sum: Vec<Tensor> = Vec::new();
        for (i, micro) in batch.micro_batches.iter().enumerate() {
            let dropout = DropoutStream::new(
                self.model_config.dropout,
                self.config.train.seed,
                self.step,
                i as u64,
            );
            let mean = self
                .model
                .loss(&micro.tokens, &micro.targets, micro.rows, dropout)?;
            let (value, grads) = self.backward(&mean, scale).map_err(Error::backend)?;
            loss += value * scale;
            sum = if sum.is_empty() {
                grads
            } else {
                sum.iter()
                    .zip(&grads)
                    .map(|(a, b)| a + b)
                    .collect::<candle_core::Result<_>>()
                    .map_err(Error::backend)?
            };
        }
        Ok((loss, sum))
    }

    fn backward(&self, mean: &Tensor, scale: f64) -> candle_core::Result<(f64, Vec<Tensor>)> {
        let scaled = if scale == 1.0 {
            mean.clone()
        } else {
            (mean * scale)?
        };
        let mut store = scaled.backward()?;
        let grads = self
            .params
            .iter()
            .map(|p| match store.remove(p.var.as_tensor()) {
                Some(grad) => Ok(grad),
                None => candle_core::bail!("no gradient reached {}", p.spec.name),
            })
            .collect::<candle_core::Result<_>>()?;
        Ok((mean.to_scalar::<f32>()? as f64, grads))
    }
}
