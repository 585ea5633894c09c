//! A thread's working memory: grows to the largest task seen, then stays.

use std::cell::RefCell;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; LINE]);

const LINE: usize = 16;

thread_local! {
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with buffers of these many units, each starting at a cache line and holding whatever
/// it held. Does not nest.
pub(super) fn with_scratch<const N: usize>(lens: [usize; N], f: impl FnOnce([&mut [u32]; N])) {
    let lines = lens.map(|len| len.div_ceil(LINE));
    SCRATCH.with_borrow_mut(|scratch| {
        let total = lines.iter().sum();
        if scratch.len() < total {
            scratch.resize(total, Line([0; LINE]));
        }
        let mut rest = &mut scratch[..];
        let buffers = std::array::from_fn(|i| {
            let (taken, left) = std::mem::take(&mut rest).split_at_mut(lines[i]);
            rest = left;
            // SAFETY: a line is LINE units without gaps.
            let units = unsafe {
                std::slice::from_raw_parts_mut(taken.as_mut_ptr().cast(), taken.len() * LINE)
            };
            &mut units[..lens[i]]
        });
        f(buffers);
    });
}

/// The same numbers as f32.
pub(super) fn floats(units: &mut [u32]) -> &mut [f32] {
    // SAFETY: same size and alignment, and every bit pattern is a number.
    unsafe { std::slice::from_raw_parts_mut(units.as_mut_ptr().cast(), units.len()) }
}
