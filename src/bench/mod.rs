//! Measurements: what this machine can do, and how much of that a training step reaches.
//!
//! Peaks of a processor are measured, never looked up: the same loops on the same threads, seconds away
//! from what they are compared with. A GPU's is its data sheet's where that is known, as the literature has
//! it. Nothing here is asserted in tests but that the numbers exist.

pub mod gpu;
pub mod machine;
pub mod naive;
pub mod peak;
pub mod process;
pub mod product;
pub mod step;
pub mod update;

use process::thread_seconds;
use std::time::Instant;

/// Runs `work` in a pool of its own with `threads` threads.
pub fn on_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("threads can be started")
        .install(work)
}

/// The shortest time in seconds that `work` took, run again and again for about `seconds` and
/// three times at least; called inside a pool ([`on_threads`]).
///
/// A thread that works alone is timed by its own processor time, which other programs on the machine
/// do not lengthen; several by the wall clock.
pub fn best(seconds: f64, mut work: impl FnMut()) -> f64 {
    let alone = rayon::current_num_threads() == 1;
    let start = Instant::now();
    let clock = || match alone.then(thread_seconds).flatten() {
        Some(seconds) => seconds,
        None => start.elapsed().as_secs_f64(),
    };
    let mut shortest = f64::INFINITY;
    let mut runs = 0;
    while runs < 3 || start.elapsed().as_secs_f64() < seconds {
        let began = clock();
        work();
        shortest = shortest.min(clock() - began);
        runs += 1;
    }
    // A clock that did not move must not divide by zero.
    shortest.max(1e-9)
}

/// The element in the middle of sorted numbers; of two, their mean.
pub fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted[middle],
        _ => 0.5 * (sorted[middle - 1] + sorted[middle]),
    }
}
