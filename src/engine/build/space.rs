//! Where regions lie in the arena.

/// Regions start at multiples of this many bytes.
const ALIGN: usize = 64;

/// Which bytes of the arena are taken; first fit.
#[derive(Default)]
pub(super) struct Space {
    /// Offset and size of what is taken, by offset.
    taken: Vec<(usize, usize)>,
    /// The most that was ever taken.
    pub(super) bytes: usize,
}

impl Space {
    pub(super) fn take(&mut self, bytes: usize) -> usize {
        let size = bytes.next_multiple_of(ALIGN);
        let mut offset = 0;
        let mut place = self.taken.len();
        for (i, &(start, len)) in self.taken.iter().enumerate() {
            if offset + size <= start {
                place = i;
                break;
            }
            offset = start + len;
        }
        self.taken.insert(place, (offset, size));
        self.bytes = self.bytes.max(offset + size);
        offset
    }

    pub(super) fn free(&mut self, offset: usize) {
        let at = self.taken.iter().position(|&(start, _)| start == offset);
        self.taken.remove(at.expect("a region that was taken"));
    }
}
