//! Dispatch only: arguments in, exit code out.

/// Counts large allocations, for `lehr bench`.
#[global_allocator]
static ALLOCATOR: lehr::bench::process::Counting = lehr::bench::process::Counting;

fn main() -> std::process::ExitCode {
    keep_freed_memory();
    let_idle_threads_sleep();
    lehr::cli::main()
}

/// Tells glibc to keep the memory that tensors give back.
///
/// A step frees and takes the same large blocks again and again; by default each goes back to the
/// system and returns as fresh pages that must be faulted in and zeroed. GELU's forward and
/// backward over 4096 × 704 takes 80 ms that way and 22 ms so.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn keep_freed_memory() {
    // SAFETY: mallopt only sets the allocator's parameters, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}

/// Lets candle's own worker threads park at once when they have nothing to do.
///
/// candle adds tensors in a pool of its own, whose threads spin long after each addition, on the
/// cores that rayon's threads (the products, the fused ops) need meanwhile: on two cores a step
/// takes 1.35 times as long that way.
fn let_idle_threads_sleep() {
    const SPIN_LIMIT: &str = "CANDLE_BARRIER_POOL_SPIN_LIMIT";
    if std::env::var_os(SPIN_LIMIT).is_none() {
        // SAFETY: no other thread runs yet that could read the environment.
        unsafe { std::env::set_var(SPIN_LIMIT, "200") };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_freed_memory() {}
