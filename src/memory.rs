//! Large buffers that live long.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};

/// Zeroed numbers, which on Linux lie in pages of 2 MiB where the system grants them: a step walks
/// hundreds of megabytes, and with pages of 4 KiB the processor spends its time looking them up.
/// There, memory that is never written is never taken.
pub struct Block<T> {
    data: *mut T,
    len: usize,
}

#[cfg(target_os = "linux")]
const HUGE_PAGE: usize = 2 << 20;
const LINE: usize = 64;

/// Types for which all bits zero is a value.
pub trait Plain: Copy + Send + Sync {}
impl Plain for u8 {}
impl Plain for u32 {}
impl Plain for f32 {}
impl Plain for f64 {}

// SAFETY: a block owns its memory as a `Vec` does.
unsafe impl<T: Plain> Send for Block<T> {}
unsafe impl<T: Plain> Sync for Block<T> {}

impl<T: Plain> Block<T> {
    pub fn zeroed(len: usize) -> Block<T> {
        let data = match len {
            0 => std::ptr::dangling_mut(),
            _ => take(len * size_of::<T>()).cast(),
        };
        Block { data, len }
    }

    /// The numbers as they lie, for those who share them out in parts.
    pub fn as_raw(&self) -> *mut T {
        self.data
    }

    /// Makes room for `len` numbers; what was there is gone if there was less.
    pub fn grow(&mut self, len: usize) {
        if self.len < len {
            *self = Block::zeroed(0);
            *self = Block::zeroed(len);
        }
    }
}

impl<T> Deref for Block<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` zeroed values since `zeroed`.
        unsafe { std::slice::from_raw_parts(self.data, self.len) }
    }
}

impl<T> DerefMut for Block<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the block is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.data, self.len) }
    }
}

impl<T> Drop for Block<T> {
    fn drop(&mut self) {
        if self.len > 0 {
            give(self.data.cast(), self.len * size_of::<T>());
        }
    }
}

/// Zeroed bytes, aligned to a cache line at least; the counterpart of [`give`].
fn take(bytes: usize) -> *mut u8 {
    #[cfg(target_os = "linux")]
    if bytes >= HUGE_PAGE {
        return map(bytes);
    }
    // SAFETY: the layout is not empty.
    let data = unsafe { alloc_zeroed(small(bytes)) };
    if data.is_null() {
        handle_alloc_error(small(bytes));
    }
    data
}

fn give(data: *mut u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    if bytes >= HUGE_PAGE {
        // SAFETY: mapped by `map` with this length.
        unsafe { libc::munmap(data.cast(), bytes.next_multiple_of(HUGE_PAGE)) };
        return;
    }
    // SAFETY: allocated by `take` with this layout.
    unsafe { dealloc(data, small(bytes)) };
}

fn small(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, LINE).expect("a size below 2⁶³")
}

/// Whole huge pages from the system, at a multiple of their size.
#[cfg(target_os = "linux")]
fn map(bytes: usize) -> *mut u8 {
    let bytes = bytes.next_multiple_of(HUGE_PAGE);
    let wide = bytes + HUGE_PAGE;
    // SAFETY: a new mapping; what is cut off of it and advised about is inside it.
    unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let start = libc::mmap(std::ptr::null_mut(), wide, protection, flags, -1, 0);
        if start == libc::MAP_FAILED {
            handle_alloc_error(small(bytes));
        }
        let start: *mut u8 = start.cast();
        let before = start.align_offset(HUGE_PAGE);
        let data = start.add(before);
        if before > 0 {
            libc::munmap(start.cast(), before);
        }
        if before < HUGE_PAGE {
            libc::munmap(data.add(bytes).cast(), HUGE_PAGE - before);
        }
        // Refusal is as good as silence.
        libc::madvise(data.cast(), bytes, libc::MADV_HUGEPAGE);
        data
    }
}
