//! Batches made ready by a thread of their own, so that no step waits for a disk.

use super::loader::{Loader, StepBatch};
use crate::error::{Error, Result};
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Hands out the batches of consecutive steps, up to `depth` of them made ready beforehand.
/// Dropping it ends the thread.
#[derive(Debug)]
pub struct Prefetcher {
    /// `None` only while it is being dropped.
    batches: Option<Receiver<Result<(u64, StepBatch)>>>,
    worker: Option<JoinHandle<()>>,
    to_step: u64,
}

impl Prefetcher {
    /// Starts making the batches of `from_step` up to but not including `to_step`.
    ///
    /// # Errors
    /// [`Error::Backend`] when the system starts no thread.
    pub fn start(loader: Loader, from_step: u64, to_step: u64, depth: usize) -> Result<Prefetcher> {
        let (send, batches) = sync_channel(depth);
        let worker = std::thread::Builder::new()
            .name("prefetch".into())
            .spawn(move || work(from_step..to_step, |step| loader.batch(step), &send))
            .map_err(Error::backend)?;
        Ok(Prefetcher {
            batches: Some(batches),
            worker: Some(worker),
            to_step,
        })
    }

    /// The next step and its batch; waits for it if need be.
    ///
    /// # Errors
    /// [`Error::Backend`] when the batch could not be made, or when all have been handed out.
    pub fn next(&self) -> Result<(u64, StepBatch)> {
        let batches = self.batches.as_ref().expect("present until dropped");
        batches.recv().unwrap_or_else(|_| {
            Err(Error::backend(format!(
                "there is no batch beyond step {}",
                self.to_step
            )))
        })
    }
}

impl Drop for Prefetcher {
    fn drop(&mut self) {
        // Hanging up wakes a worker that waits to send.
        self.batches = None;
        if let Some(worker) = self.worker.take() {
            // It catches its panics, so there is nothing to hear from it.
            let _ = worker.join();
        }
    }
}

fn work(
    steps: Range<u64>,
    make: impl Fn(u64) -> StepBatch,
    send: &SyncSender<Result<(u64, StepBatch)>>,
) {
    for step in steps {
        let made = catch_unwind(AssertUnwindSafe(|| make(step)))
            .map(|batch| (step, batch))
            .map_err(|panic| {
                let what = message(panic.as_ref());
                Error::backend(format!(
                    "the batch of step {step} could not be made: {what}"
                ))
            });
        let failed = made.is_err();
        if send.send(made).is_err() || failed {
            return;
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    (panic.downcast_ref::<String>().map(String::as_str))
        .or(panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::loader::LoaderConfig;
    use crate::text::store::tests::store_of;
    use std::sync::Arc;

    fn loader() -> Loader {
        let config = LoaderConfig {
            seed: 1,
            sequence_length: 8,
            batch_size: 2,
            grad_accumulation: 2,
            rank: 0,
            world: 1,
        };
        Loader::new(Arc::new(store_of(&(0..300).collect::<Vec<_>>())), config).unwrap()
    }

    #[test]
    fn hands_out_the_loaders_batches_in_order() {
        for depth in [0, 1, 5] {
            let prefetcher = Prefetcher::start(loader(), 3, 40, depth).unwrap();
            for expected in 3..40 {
                let (step, batch) = prefetcher.next().unwrap();
                assert_eq!(step, expected);
                assert_eq!(batch, loader().batch(expected));
            }
            let message = prefetcher.next().unwrap_err().to_string();
            assert!(message.contains("beyond step 40"), "{message}");
        }
    }

    #[test]
    fn ends_when_dropped() {
        let prefetcher = Prefetcher::start(loader(), 0, u64::MAX, 2).unwrap();
        prefetcher.next().unwrap();
        // Hangs here if the worker does not notice.
        drop(prefetcher);
    }

    #[test]
    fn delivers_a_failure_at_its_step() {
        let (send, batches) = sync_channel(9);
        let good = loader();
        let make = |step| match step {
            2 => panic!("no such window"),
            _ => good.batch(step),
        };
        work(0..5, make, &send);
        drop(send);
        let results: Vec<_> = batches.iter().collect();
        assert_eq!(results.len(), 3);
        assert_eq!(results[1].as_ref().unwrap().0, 1);
        let message = results[2].as_ref().unwrap_err().to_string();
        assert!(
            message.contains("step 2") && message.contains("no such window"),
            "{message}"
        );
    }
}
