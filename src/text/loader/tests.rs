use super::*;
use crate::text::store::tests::store_of;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A corpus whose tokens are their own positions, so that a row's first token says where it was
/// cut.
fn positions(tokens: u32) -> Arc<TokenStore> {
    Arc::new(store_of(&(0..tokens).collect::<Vec<_>>()))
}

fn loader(tokens: u32, config: LoaderConfig) -> Result<Loader> {
    Loader::new(positions(tokens), config)
}

fn config(seed: u64, t: usize, b: usize, accumulation: usize) -> LoaderConfig {
    LoaderConfig {
        seed,
        sequence_length: t,
        batch_size: b,
        grad_accumulation: accumulation,
        rank: 0,
        world: 1,
    }
}

fn starts(batch: &MicroBatch) -> Vec<u32> {
    batch
        .tokens
        .iter()
        .step_by(batch.sequence_length)
        .copied()
        .collect()
}

/// Where the windows of `step` begin, in the order of the whole step, on all of `world`.
fn step_starts(store: &Arc<TokenStore>, config: &LoaderConfig, step: u64) -> Vec<u32> {
    let ranks: Vec<StepBatch> = (0..config.world)
        .map(|rank| {
            let config = LoaderConfig {
                rank,
                ..config.clone()
            };
            Loader::new(store.clone(), config).unwrap().batch(step)
        })
        .collect();
    (0..config.grad_accumulation)
        .flat_map(|a| ranks.iter().flat_map(move |r| starts(&r.micro_batches[a])))
        .collect()
}

proptest! {
    #[test]
    fn every_window_comes_once_an_epoch(
        seed: u64, t in 1usize..20, b in 1usize..4, accumulation in 1usize..4,
        tokens in 400u32..700,
    ) {
        let loader = loader(tokens, config(seed, t, b, accumulation)).unwrap();
        let windows = loader.windows_per_epoch();
        prop_assert_eq!(windows, u64::from(tokens) / t as u64 - 1);
        let steps = (3 * windows).div_ceil((b * accumulation) as u64);
        let all: Vec<u32> = (0..steps)
            .flat_map(|s| loader.batch(s).micro_batches)
            .flat_map(|m| starts(&m))
            .collect();
        for epoch in all.chunks_exact(windows as usize) {
            let distinct: BTreeSet<u32> = epoch.iter().copied().collect();
            prop_assert_eq!(distinct.len(), epoch.len());
            // All on one grid of spacing T, which begins in 0..T.
            let first = *distinct.first().unwrap();
            prop_assert!(first < t as u32);
            prop_assert!(distinct.iter().all(|s| (s - first).is_multiple_of(t as u32)));
        }
    }

    #[test]
    fn targets_are_shifted_by_one(seed: u64, t in 1usize..20, step in 0u64..1000) {
        let loader = loader(500, config(seed, t, 3, 2)).unwrap();
        for batch in loader.batch(step).micro_batches {
            prop_assert_eq!((batch.rows, batch.tokens.len()), (3, 3 * t));
            for row in 0..3 {
                let window: Vec<u32> = batch.window(row).collect();
                let first = window[0];
                prop_assert!(window.into_iter().eq(first..=first + t as u32));
            }
            let shifted: Vec<u32> = batch.tokens.iter().map(|id| id + 1).collect();
            prop_assert_eq!(batch.targets, shifted);
        }
    }

    /// A loader that starts at any step, in any order, gives what an uninterrupted one gives.
    #[test]
    fn a_batch_depends_on_the_step_alone(seed: u64, step in 0u64..10_000) {
        let store = positions(500);
        let make = || Loader::new(store.clone(), config(seed, 8, 2, 3)).unwrap();
        let running = make();
        for other in [0, step + 1, step / 2] {
            running.batch(other);
        }
        prop_assert_eq!(running.batch(step), make().batch(step));
    }

    /// 12 windows a step, however they are split.
    #[test]
    fn splits_keep_the_sequences_of_a_step(seed: u64, step in 0u64..500) {
        let store = positions(500);
        let whole = step_starts(&store, &config(seed, 8, 12, 1), step);
        for world in [1, 2, 3, 4, 6, 12] {
            for batch_size in (1..=12 / world).filter(|b| (12 / world) % b == 0) {
                let split = LoaderConfig {
                    world,
                    batch_size,
                    grad_accumulation: 12 / world / batch_size,
                    ..config(seed, 8, 1, 1)
                };
                prop_assert_eq!(&step_starts(&store, &split, step), &whole);
            }
        }
    }
}

#[test]
fn epochs_and_seeds_differ() {
    let store = positions(20_000);
    let epoch = |seed, number: u64| {
        let loader = Loader::new(store.clone(), config(seed, 64, 1, 1)).unwrap();
        let from = number * loader.windows_per_epoch();
        (from..from + 8)
            .flat_map(|s| starts(&loader.batch(s).micro_batches[0]))
            .collect::<Vec<u32>>()
    };
    assert_eq!(epoch(1, 0), epoch(1, 0));
    assert_ne!(epoch(1, 0), epoch(1, 1));
    assert_ne!(epoch(1, 0), epoch(2, 0));
    let offsets: BTreeSet<u32> = (0..32).map(|e| epoch(1, e)[0] % 64).collect();
    assert!(offsets.len() > 16, "{offsets:?}");
}

/// The order is part of what a checkpoint relies on: it must not change between versions.
#[test]
fn the_order_is_pinned() {
    let loader = loader(2000, config(1337, 16, 4, 1)).unwrap();
    assert_eq!(
        starts(&loader.batch(0).micro_batches[0]),
        [657, 1937, 321, 1393]
    );
    assert_eq!(
        starts(&loader.batch(1000).micro_batches[0]),
        [1456, 1744, 112, 896]
    );
}

#[test]
fn a_corpus_of_exactly_one_batch_will_do() {
    let loader = loader(9 * 16, config(3, 16, 4, 2)).unwrap();
    assert_eq!(loader.windows_per_epoch(), 8);
    assert_eq!(loader.tokens_per_step(), 128);
    loader.batch(7);
}

#[test]
fn refuses_what_cannot_be_batched() {
    let message = |tokens, config| loader(tokens, config).unwrap_err().to_string();
    assert_eq!(
        message(9 * 16 - 1, config(3, 16, 4, 2)),
        "the corpus is shorter than one batch: its 143 tokens give 7 sequences of 16, and a \
         step takes 8 (--batch-size 4 × --acc-steps 2); give more text, or make one of these \
         or --sequence-length smaller"
    );
    assert!(message(0, config(3, 16, 4, 2)).contains("0 tokens give 0 sequences"));
    let ranks = LoaderConfig {
        rank: 2,
        world: 2,
        ..config(3, 16, 4, 2)
    };
    assert!(message(900, ranks).contains("rank 2"));
    assert!(message(900, config(3, 0, 4, 2)).contains("--sequence-length"));
    assert!(message(900, config(3, 16, 0, 2)).contains("--batch-size"));
    assert!(message(900, config(3, 16, 4, 0)).contains("--acc-steps"));
    assert!(message(900, config(3, 16, usize::MAX, 2)).contains("beyond counting"));
}

#[test]
fn evaluation_covers_the_text_in_order() {
    let store = Arc::new(store_of(&(0..103).collect::<Vec<_>>()));
    let batches = fixed_eval_batches(store.clone(), 10, 4, usize::MAX).unwrap();
    assert_eq!(batches.len(), 3);
    let batches: Vec<MicroBatch> = batches.collect();
    assert_eq!(
        batches.iter().map(|b| b.rows).collect::<Vec<_>>(),
        [4, 4, 2]
    );
    let tokens: Vec<u32> = batches.iter().flat_map(|b| b.tokens.clone()).collect();
    assert!(tokens.into_iter().eq(0..100));
    assert_eq!(batches[2].targets.last(), Some(&100));

    let bounded = fixed_eval_batches(store.clone(), 10, 4, 2).unwrap();
    assert_eq!(bounded.map(|b| b.rows).collect::<Vec<_>>(), [4, 4]);
    // The last window needs a target after it.
    assert_eq!(
        fixed_eval_batches(store.clone(), 102, 4, 2).unwrap().len(),
        1
    );
    let message = fixed_eval_batches(store.clone(), 103, 4, 2)
        .unwrap_err()
        .to_string();
    assert!(message.contains("103 tokens, too few"), "{message}");
    assert!(fixed_eval_batches(store, 10, 0, 2).is_err());
}
