//! How fast this machine trains a model: a few steps on random tokens.

use super::RunConfig;
use super::setup::{Start, initial_model};
use super::trainer::Trainer;
use crate::text::loader::{MicroBatch, StepBatch};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::time::Instant;

/// A sequence that takes more FLOPs than this is not tried: about a second for one step on a laptop.
const LARGEST_SEQUENCE: f64 = 5e10;
/// A step is cut down to about so many FLOPs, where its batch is larger.
const STEP: f64 = 1e10;
/// Seconds that the clock runs.
const SECONDS: f64 = 0.4;

/// Seconds that training takes a token; `None` where the model is too large to be tried here.
///
/// By the median step: evaluations, checkpoints and the start of a run are not in it.
pub fn seconds_per_token(
    config: &RunConfig,
    vocab_size: usize,
    flops_per_token: f64,
) -> Option<f64> {
    let mut config = config.clone();
    let length = config.train.sequence_length;
    let sequence = flops_per_token * length as f64;
    if sequence > LARGEST_SEQUENCE {
        return None;
    }
    let rows = (STEP / sequence).ceil() as usize;
    config.train.batch_size = rows.clamp(1, config.train.batch_size);
    config.train.grad_accumulation = 1;
    config.train.iterations = config.train.iterations.max(100);
    let (sizes, params) = initial_model(&config, vocab_size, &Start::Seed).ok()?;
    let batch = random_batch(config.train.batch_size, length, vocab_size);
    let mut trainer = Trainer::new(config.clone(), sizes, params).ok()?;
    // The first step takes the memory.
    trainer.step(&batch).ok()?;
    let mut times = Vec::new();
    let began = Instant::now();
    for step in 0.. {
        if step >= 2 && began.elapsed().as_secs_f64() > SECONDS || step >= 50 {
            break;
        }
        let clock = Instant::now();
        trainer.step(&batch).ok()?;
        times.push(clock.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Some(times[times.len() / 2] / config.tokens_per_step() as f64)
}

fn random_batch(rows: usize, length: usize, vocab_size: usize) -> StepBatch {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut ids = || -> Vec<u32> {
        let id = |_| (rng.next_u64() % vocab_size as u64) as u32;
        (0..rows * length).map(id).collect()
    };
    StepBatch {
        micro_batches: vec![MicroBatch {
            tokens: ids(),
            targets: ids(),
            rows,
            sequence_length: length,
        }],
    }
}
