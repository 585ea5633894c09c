//! What the system and the allocator count for this process.

use serde::Serialize;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Allocations from this many bytes on are counted.
pub const LARGE: usize = 64 << 10;

static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, counting large allocations. A small one costs a comparison more.
pub struct Counting;

#[inline]
fn note(size: usize) {
    if size >= LARGE {
        COUNT.fetch_add(1, Relaxed);
        BYTES.fetch_add(size as u64, Relaxed);
    }
}

// SAFETY: every call goes to `System` as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promises, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promises, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the caller's promises, passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Counts since the process began; `None` where nobody counts.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    minor_faults: Option<u64>,
    major_faults: Option<u64>,
    large_allocations: Option<(u64, u64)>,
}

/// What happened between two counts, a step.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PerStep {
    /// Page faults served without a disk.
    pub minor_faults: Option<f64>,
    /// Page faults that waited for a disk.
    pub major_faults: Option<f64>,
    /// Allocations of [`LARGE`] bytes or more.
    pub large_allocations: Option<f64>,
    /// Bytes of those.
    pub large_allocated_bytes: Option<f64>,
}

impl Counts {
    /// The counts so far.
    pub fn now() -> Counts {
        let (minor_faults, major_faults) = faults().unzip();
        Counts {
            minor_faults,
            major_faults,
            large_allocations: counting().then(|| (COUNT.load(Relaxed), BYTES.load(Relaxed))),
        }
    }

    /// What was counted since `before`, over `steps` steps.
    pub fn since(&self, before: &Counts, steps: usize) -> PerStep {
        let each = |now: Option<u64>, then: Option<u64>| Some((now? - then?) as f64 / steps as f64);
        let (count, bytes) = self.large_allocations.unzip();
        let (count_then, bytes_then) = before.large_allocations.unzip();
        PerStep {
            minor_faults: each(self.minor_faults, before.minor_faults),
            major_faults: each(self.major_faults, before.major_faults),
            large_allocations: each(count, count_then),
            large_allocated_bytes: each(bytes, bytes_then),
        }
    }
}

/// Whether this program allocates through [`Counting`]: a binary that does has allocated
/// something large before it measures.
fn counting() -> bool {
    static INSTALLED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *INSTALLED.get_or_init(|| {
        let before = COUNT.load(Relaxed);
        drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
        COUNT.load(Relaxed) > before
    })
}

/// Minor and major page faults of this process.
#[cfg(target_os = "linux")]
fn faults() -> Option<(u64, u64)> {
    // SAFETY: all zeros is a value of this struct of integers; getrusage fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::getrusage(libc::RUSAGE_SELF, &mut usage) == 0).then_some(usage)
    }?;
    Some((usage.ru_minflt as u64, usage.ru_majflt as u64))
}

#[cfg(not(target_os = "linux"))]
fn faults() -> Option<(u64, u64)> {
    None
}

/// Bytes of memory that were resident at most so far.
///
/// Not `ru_maxrss`, which a process inherits from whatever started it.
pub fn peak_resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes << 10)
}

/// Processor time of this thread in seconds, where the system tells.
#[cfg(target_os = "linux")]
pub fn thread_seconds() -> Option<f64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: clock_gettime fills the struct that it is given.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    (failed == 0).then_some(time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64)
}

#[cfg(not(target_os = "linux"))]
pub fn thread_seconds() -> Option<f64> {
    None
}
