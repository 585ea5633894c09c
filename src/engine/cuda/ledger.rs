//! What has been taken of a device's memory.

use super::device::Address;
use serde::Serialize;
use std::collections::HashMap;

/// Memory of a device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// What this program asked for and has not given back; its context, its kernels and what libraries take for
    /// themselves are not in it.
    pub allocated: usize,
    /// The most of that at any time so far.
    pub peak: usize,
    /// Whatever is not free now, by whom ever it is used, contexts and libraries included; where the device tells.
    pub in_use: Option<usize>,
    /// All there is, where the device tells.
    pub total: Option<usize>,
}

/// Allocations by address, and their sum.
#[derive(Default)]
pub struct Ledger {
    sizes: HashMap<u64, usize>,
    now: usize,
    peak: usize,
}

impl Ledger {
    pub fn took(&mut self, at: Address, bytes: usize) {
        let before = self.sizes.insert(at.0, bytes);
        debug_assert!(before.is_none(), "{at:?} is given out twice");
        self.now += bytes;
        self.peak = self.peak.max(self.now);
    }

    pub fn gave_back(&mut self, at: Address) {
        self.now -= self.sizes.remove(&at.0).unwrap_or(0);
    }

    /// What has not been given back.
    pub fn addresses(&self) -> impl Iterator<Item = Address> {
        self.sizes.keys().map(|&at| Address(at))
    }

    /// With the bytes that are free and those that there are, where the device tells.
    pub fn taken(&self, memory: Option<(usize, usize)>) -> Taken {
        Taken {
            allocated: self.now,
            peak: self.peak,
            in_use: memory.map(|(free, total)| total - free),
            total: memory.map(|(_, total)| total),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_the_most_that_was_there_at_a_time() {
        let mut ledger = Ledger::default();
        ledger.took(Address(256), 100);
        ledger.took(Address(512), 50);
        ledger.gave_back(Address(256));
        ledger.took(Address(256), 30);
        let taken = ledger.taken(Some((5, 1000)));
        assert_eq!((taken.allocated, taken.peak), (80, 150));
        assert_eq!((taken.in_use, taken.total), (Some(995), Some(1000)));
        assert_eq!(ledger.taken(None).in_use, None);
    }
}
