//! Slices shared out among threads.

/// Memory that many threads write, each its own part.
pub struct Shared<T> {
    data: *mut T,
    len: usize,
}

// SAFETY: every use goes through `part`, whose callers own disjoint parts.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub fn new(data: &mut [T]) -> Self {
        Shared {
            data: data.as_mut_ptr(),
            len: data.len(),
        }
    }

    /// # Safety
    /// No two parts that live at a time overlap, and the slice outlives them.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start + len <= self.len);
        // SAFETY: inside the slice.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(start), len) }
    }
}
