//! Held-out loss: mean cross-entropy in nats a token, and bits a byte.

use super::trainer::tokens;
use crate::engine::Engine;
use crate::error::Result;
use crate::text::loader::{MicroBatch, fixed_eval_batches};
use crate::text::store::TokenStore;
use serde::Serialize;
use std::sync::Arc;

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Mean cross-entropy over all targets, in nats a token.
    pub loss: f64,
    /// Total nats over ln 2, divided by the UTF-8 bytes that the targets stand for; the end of a
    /// document stands for none. Absent when the tokenizer is not known.
    pub bits_per_byte: Option<f64>,
    /// Targets predicted.
    pub tokens: u64,
}

/// A fixed set of held-out windows and what their targets weigh in bytes.
pub struct HeldOut {
    store: Arc<TokenStore>,
    sequence_length: usize,
    batch_size: usize,
    sequences: usize,
    token_bytes: Option<Vec<u32>>,
}

impl HeldOut {
    /// The first `sequences` windows of `store` (0: all), evaluated `batch_size` at a time; which
    /// windows they are does not depend on `batch_size`.
    ///
    /// `token_bytes[id]` is the number of bytes that a token stands for.
    ///
    /// # Errors
    /// The text does not fill one window.
    pub fn new(
        store: Arc<TokenStore>,
        sequence_length: usize,
        batch_size: usize,
        sequences: usize,
        token_bytes: Option<Vec<u32>>,
    ) -> Result<HeldOut> {
        fixed_eval_batches(store.clone(), sequence_length, 1, 1)?;
        let all = (store.len().saturating_sub(1) / sequence_length as u64) as usize;
        let sequences = if sequences == 0 {
            all
        } else {
            sequences.min(all)
        };
        Ok(HeldOut {
            store,
            sequence_length,
            batch_size,
            sequences,
            token_bytes,
        })
    }

    /// The loss of the engine's model on these windows.
    pub fn evaluate(&self, engine: &mut Engine) -> Result<Evaluation> {
        let batches = self.sequences.div_ceil(self.batch_size);
        let mut nats = 0.0;
        let (mut targets, mut bytes, mut left) = (0u64, 0u64, self.sequences);
        for batch in fixed_eval_batches(
            self.store.clone(),
            self.sequence_length,
            self.batch_size,
            batches,
        )? {
            let batch = first_rows(batch, left);
            left -= batch.rows;
            nats += engine.loss(tokens(&batch))? * batch.targets.len() as f64;
            targets += batch.targets.len() as u64;
            bytes += self.bytes_of(&batch.targets);
        }
        let bits = nats / std::f64::consts::LN_2;
        Ok(Evaluation {
            loss: nats / targets as f64,
            bits_per_byte: (bytes > 0).then(|| bits / bytes as f64),
            tokens: targets,
        })
    }

    fn bytes_of(&self, ids: &[u32]) -> u64 {
        let Some(table) = &self.token_bytes else {
            return 0;
        };
        ids.iter()
            .map(|&id| u64::from(table.get(id as usize).copied().unwrap_or(0)))
            .sum()
    }
}

fn first_rows(mut batch: MicroBatch, rows: usize) -> MicroBatch {
    if batch.rows > rows {
        batch.rows = rows;
        batch.tokens.truncate(rows * batch.sequence_length);
        batch.targets.truncate(rows * batch.sequence_length);
    }
    batch
}
