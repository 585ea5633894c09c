//! Dispatch only: arguments in, exit code out.

/// Counts large allocations, for `lehr bench`.
#[global_allocator]
static ALLOCATOR: lehr::bench::process::Counting = lehr::bench::process::Counting;

fn main() -> std::process::ExitCode {
    let_idle_threads_sleep();
    lehr::cli::main()
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
