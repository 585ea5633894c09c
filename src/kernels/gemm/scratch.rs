//! Buffers that a thread keeps from one product to the next.

use std::cell::Cell;

/// A cache line, so that buffers begin with one.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; 16]);

thread_local! {
    static KEPT: [Cell<Vec<Line>>; 4] = const { [const { Cell::new(Vec::new()) }; 4] };
}

/// What a buffer is for; each has one a thread.
#[derive(Clone, Copy)]
pub(super) enum Use {
    /// A block of A, of one task.
    Block,
    /// A tile of C.
    Tile,
    /// The whole of A, for all tasks.
    Shared,
    /// The whole of B, where it is used once.
    Right,
}

/// A buffer, taken from the thread and given back when dropped. What it holds is left over from its
/// last use. Whoever takes one while it is taken (a product within a product's closure) gets a
/// fresh one.
pub(super) struct Scratch {
    of: Use,
    lines: Vec<Line>,
    len: usize,
}

impl Scratch {
    pub fn take(of: Use, len: usize) -> Self {
        let mut lines = KEPT.with(|kept| kept[of as usize].take());
        if lines.len() * 16 < len {
            lines = vec![Line([0; 16]); len.div_ceil(16)];
        }
        Scratch { of, lines, len }
    }

    pub fn units(&mut self) -> &mut [u32] {
        // SAFETY: lines are arrays of u32 without gaps.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }

    pub fn numbers(&mut self) -> &mut [f32] {
        // SAFETY: as above; every u32 is an f32.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // A thread that is ending keeps nothing.
        let _ = KEPT.try_with(|kept| kept[self.of as usize].set(lines));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_kept_and_is_never_given_twice() {
        let mut first = Scratch::take(Use::Tile, 100);
        assert_eq!(first.numbers().len(), 100);
        assert_eq!(first.units().as_ptr() as usize % 64, 0);
        let address = first.units().as_ptr();
        assert_ne!(Scratch::take(Use::Tile, 100).units().as_ptr(), address);
        drop(first);
        assert_eq!(Scratch::take(Use::Tile, 50).units().as_ptr(), address);
    }
}
