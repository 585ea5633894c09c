//! Large buffers that live long.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};

/// Zeroed numbers that start at a page of 2 MiB, so that the system can map them as such pages
/// (a step walks hundreds of megabytes: with pages of 4 KiB the processor spends its time looking
/// them up). Memory that is never written is never taken.
pub struct Block<T> {
    data: *mut T,
    len: usize,
}

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
        if len == 0 {
            return Block {
                data: std::ptr::dangling_mut(),
                len: 0,
            };
        }
        let layout = Self::layout(len);
        // SAFETY: the layout is not empty.
        let data = unsafe { alloc_zeroed(layout) };
        if data.is_null() {
            handle_alloc_error(layout);
        }
        #[cfg(target_os = "linux")]
        if layout.align() == HUGE_PAGE {
            // SAFETY: advice about memory that is ours; refusal is as good as silence.
            unsafe { libc::madvise(data.cast(), layout.size(), libc::MADV_HUGEPAGE) };
        }
        Block {
            data: data.cast(),
            len,
        }
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

    fn layout(len: usize) -> Layout {
        let bytes = len * size_of::<T>();
        let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { LINE };
        Layout::from_size_align(bytes, align).expect("a size below 2⁶³")
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
            let bytes = self.len * size_of::<T>();
            let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { LINE };
            // SAFETY: allocated in `zeroed` with this size and alignment.
            unsafe {
                dealloc(
                    self.data.cast(),
                    Layout::from_size_align_unchecked(bytes, align),
                );
            }
        }
    }
}
