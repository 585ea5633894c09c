//! The memory that a program's regions lie in.

use crate::engine::program::Buf;
use crate::memory::Block;

/// Regions are read and written through a shared reference: `Program::check` has made sure that
/// no operation writes into a region that it also reads, and operations run one after another.
pub struct Arena {
    bytes: Block<u8>,
}

impl Default for Arena {
    fn default() -> Self {
        Arena {
            bytes: Block::zeroed(0),
        }
    }
}

impl Arena {
    pub fn grow(&mut self, bytes: usize) {
        self.bytes.grow(bytes);
    }

    pub fn read<T>(&self, buf: Buf) -> &[T] {
        let data = self.start::<T>(buf);
        // SAFETY: see the type: plain numbers inside the block, aligned, not being written.
        unsafe { std::slice::from_raw_parts(data, buf.len) }
    }

    #[allow(clippy::mut_from_ref)]
    pub fn write<T>(&self, buf: Buf) -> &mut [T] {
        let data = self.start::<T>(buf);
        // SAFETY: see the type: nobody else borrows this region within the operation.
        unsafe { std::slice::from_raw_parts_mut(data, buf.len) }
    }

    fn start<T>(&self, buf: Buf) -> *mut T {
        assert!(buf.offset + buf.bytes <= self.bytes.len());
        assert_eq!(
            buf.len * size_of::<T>(),
            buf.bytes,
            "read as what it was taken for"
        );
        // SAFETY: inside the block.
        unsafe { self.bytes.as_raw().add(buf.offset).cast() }
    }
}
