//! Batches of training tokens: a batch is a pure function of (seed, step, rank, world), so a run
//! resumes at any step with nothing saved but the step.
//!
//! With `T` the sequence length and `N` the corpus's tokens, an epoch has `W = ⌊N/T⌋ − 1` windows.
//! Window `w` of epoch `e` holds the `T` input tokens from `offset(e) + w·T` on (and the one after
//! them as the last target); the offset is drawn afresh from `0..T` each epoch, so that windows
//! are not cut at the same places again. Within an epoch the windows come in the order of a
//! permutation without replacement ([`Permutation`], keyed by seed and epoch). Both are computed,
//! not stored: memory is that of one batch, whatever the corpus.
//!
//! The windows of all epochs, end to end, are one endless sequence. Step `s` takes the `G` windows
//! from `s·G` on, `G = batch_size × grad_accumulation × world`; micro-batch `a` of rank `r` is the
//! run of `batch_size` of them that starts at `(a·world + r)·batch_size`. So the windows of a step
//! depend on `G` alone, not on how it is split over ranks and micro-batches.

use super::permutation::{Permutation, ROUNDS};
use super::store::TokenStore;
use crate::error::{Error, Result};
use std::sync::Arc;

/// What a [`Loader`] needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderConfig {
    pub seed: u64,
    /// Tokens a sequence, T.
    pub sequence_length: usize,
    /// Sequences a micro-batch on each rank, B.
    pub batch_size: usize,
    /// Micro-batches a step on each rank.
    pub grad_accumulation: usize,
    /// This process among `world`.
    pub rank: usize,
    pub world: usize,
}

/// `rows` sequences, row after row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MicroBatch {
    /// `rows × sequence_length` input ids.
    pub tokens: Vec<u32>,
    /// The id after each of `tokens`.
    pub targets: Vec<u32>,
    pub rows: usize,
    pub sequence_length: usize,
}

impl MicroBatch {
    /// Reads one row from each of `starts`.
    fn read(store: &TokenStore, sequence_length: usize, starts: &[u64]) -> MicroBatch {
        let rows = starts.len();
        let mut batch = MicroBatch {
            tokens: Vec::with_capacity(rows * sequence_length),
            targets: Vec::with_capacity(rows * sequence_length),
            rows,
            sequence_length,
        };
        let mut window = vec![0; sequence_length + 1];
        for &start in starts {
            store.read(start, &mut window);
            batch.tokens.extend_from_slice(&window[..sequence_length]);
            batch.targets.extend_from_slice(&window[1..]);
        }
        batch
    }

    /// The `sequence_length + 1` ids of row `row`: its inputs and its last target.
    pub fn window(&self, row: usize) -> impl Iterator<Item = u32> {
        let range = row * self.sequence_length..(row + 1) * self.sequence_length;
        let last = self.targets[range.end - 1];
        self.tokens[range].iter().copied().chain([last])
    }
}

/// What one rank trains on in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepBatch {
    /// `grad_accumulation` of them, in the order of consumption.
    pub micro_batches: Vec<MicroBatch>,
}

/// The batches of a run; see the module's documentation.
#[derive(Clone, Debug)]
pub struct Loader {
    store: Arc<TokenStore>,
    config: LoaderConfig,
    /// Windows an epoch, W.
    windows: u64,
    /// Windows a step over all ranks, G.
    windows_per_step: u64,
}

impl Loader {
    /// # Errors
    /// [`Error::Input`] when a size is 0, the rank is not below `world`, or the corpus is shorter
    /// than one batch: an epoch has fewer windows than a step takes.
    pub fn new(store: Arc<TokenStore>, config: LoaderConfig) -> Result<Loader> {
        let LoaderConfig {
            sequence_length,
            batch_size,
            grad_accumulation,
            rank,
            world,
            ..
        } = config;
        for (name, size) in [
            ("--sequence-length", sequence_length),
            ("--batch-size", batch_size),
            ("--acc-steps", grad_accumulation),
        ] {
            if size == 0 {
                return Err(Error::input(format!("{name} must be 1 or more, not 0")));
            }
        }
        if rank >= world {
            return Err(Error::input(format!(
                "rank {rank} is not one of {world} ranks; they count from 0"
            )));
        }
        let windows_per_step = (batch_size as u64)
            .checked_mul(grad_accumulation as u64)
            .and_then(|n| n.checked_mul(world as u64))
            .filter(|&n| n.checked_mul(sequence_length as u64).is_some())
            .ok_or_else(|| {
                Error::input(format!(
                    "a batch of {batch_size} × {grad_accumulation} × {world} sequences of \
                     {sequence_length} tokens is beyond counting; make --batch-size smaller"
                ))
            })?;
        let windows = (store.len() / sequence_length as u64).saturating_sub(1);
        if windows < windows_per_step {
            let ranks = match world {
                1 => String::new(),
                _ => format!(" on {world} ranks"),
            };
            return Err(Error::input(format!(
                "the corpus is shorter than one batch: its {} tokens give {windows} sequences of \
                 {sequence_length}, and a step takes {windows_per_step} (--batch-size \
                 {batch_size} × --acc-steps {grad_accumulation}{ranks}); give more text, or make \
                 one of these or --sequence-length smaller",
                store.len()
            )));
        }
        Ok(Loader {
            store,
            config,
            windows,
            windows_per_step,
        })
    }

    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// Windows an epoch: the same number in every epoch.
    pub fn windows_per_epoch(&self) -> u64 {
        self.windows
    }

    /// Tokens that all ranks together train on in a step.
    pub fn tokens_per_step(&self) -> u64 {
        self.windows_per_step * self.config.sequence_length as u64
    }

    /// What this rank trains on in step `step`, which counts from 0.
    pub fn batch(&self, step: u64) -> StepBatch {
        let LoaderConfig {
            sequence_length,
            batch_size,
            grad_accumulation,
            rank,
            world,
            ..
        } = self.config;
        let mut epoch = Epoch::new(self, step * self.windows_per_step / self.windows);
        let micro_batches = (0..grad_accumulation)
            .map(|a| {
                let first = step * self.windows_per_step + ((a * world + rank) * batch_size) as u64;
                let starts: Vec<u64> = (first..first + batch_size as u64)
                    .map(|i| {
                        if i / self.windows != epoch.number {
                            epoch = Epoch::new(self, i / self.windows);
                        }
                        epoch.start(i % self.windows)
                    })
                    .collect();
                MicroBatch::read(&self.store, sequence_length, &starts)
            })
            .collect();
        StepBatch { micro_batches }
    }
}

/// How one epoch cuts and orders the corpus.
struct Epoch {
    number: u64,
    offset: u64,
    order: Permutation,
    sequence_length: u64,
}

impl Epoch {
    fn new(loader: &Loader, number: u64) -> Epoch {
        // The context keeps these keys apart from any other use of the same seed.
        let mut keys = blake3::Hasher::new_derive_key("lehr loader: order of an epoch, version 1")
            .update(&loader.config.seed.to_le_bytes())
            .update(&number.to_le_bytes())
            .finalize_xof();
        let mut next = || {
            let mut bytes = [0; 8];
            keys.fill(&mut bytes);
            u64::from_le_bytes(bytes)
        };
        let sequence_length = loader.config.sequence_length as u64;
        Epoch {
            number,
            offset: next() % sequence_length,
            order: Permutation::new(loader.windows, [(); ROUNDS].map(|()| next())),
            sequence_length,
        }
    }

    /// Where in the corpus the `i`-th window to be trained on begins.
    fn start(&self, i: u64) -> u64 {
        self.offset + self.order.at(i) * self.sequence_length
    }
}

/// The batches that every evaluation of `store` uses: its first windows in the order of the text,
/// end to end from the first token, `batch_size` a batch and at most `max_batches` batches. The
/// last batch has fewer rows when the text ends; tokens that fill no window are left out.
///
/// # Errors
/// [`Error::Input`] when a size is 0 or the text does not fill one window and its last target.
pub fn fixed_eval_batches(
    store: Arc<TokenStore>,
    sequence_length: usize,
    batch_size: usize,
    max_batches: usize,
) -> Result<EvalBatches> {
    if sequence_length == 0 || batch_size == 0 || max_batches == 0 {
        return Err(Error::input(format!(
            "nothing to evaluate in {max_batches} batches of {batch_size} sequences of \
             {sequence_length} tokens; make each 1 or more"
        )));
    }
    let whole = store.len().saturating_sub(1) / sequence_length as u64;
    if whole == 0 {
        return Err(Error::input(format!(
            "the held-out text has {} tokens, too few for one sequence of {sequence_length} and \
             its last target; hold out more text or make --sequence-length smaller",
            store.len()
        )));
    }
    let wanted = (max_batches as u64).saturating_mul(batch_size as u64);
    Ok(EvalBatches {
        store,
        sequence_length,
        batch_size: batch_size as u64,
        window: 0,
        windows: whole.min(wanted),
    })
}

/// See [`fixed_eval_batches`].
#[derive(Clone, Debug)]
pub struct EvalBatches {
    store: Arc<TokenStore>,
    sequence_length: usize,
    batch_size: u64,
    window: u64,
    windows: u64,
}

impl Iterator for EvalBatches {
    type Item = MicroBatch;

    fn next(&mut self) -> Option<MicroBatch> {
        let end = self.windows.min(self.window + self.batch_size);
        let length = self.sequence_length as u64;
        let starts: Vec<u64> = (self.window..end).map(|w| w * length).collect();
        self.window = end;
        (!starts.is_empty()).then(|| MicroBatch::read(&self.store, self.sequence_length, &starts))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.windows - self.window).div_ceil(self.batch_size) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for EvalBatches {}

#[cfg(test)]
mod tests;
