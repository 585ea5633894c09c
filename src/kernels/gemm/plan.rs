//! How a product is cut: by its shape and the micro-kernel alone, never by the number of threads.
//!
//! A task owns a tile of C and goes along K in blocks; of each it takes a block of A that stays in
//! the second level of the cache and, one after another, panels of B that stay in the first, each
//! multiplied with every panel of that block of A.
//!
//! Where there are many rows, a tile is as wide as C, and each task packs its own rows of A: once.
//! Where there are few (weight gradients), tiles are narrow so that there are enough of them, and
//! A is packed for all tasks before they begin: once, too.

use super::Micro;
use std::ops::Range;

/// Rows of a tile at most: with `Micro::block` units, an eighth of a MiB of A.
const ROWS: usize = 96;

/// Columns of a tile at most, where each task packs its A: packing then costs one or two percent.
const WIDE: usize = 1536;

/// Columns of a tile at most, where A is packed for all: B's part of a tile then stays in the third
/// level of the cache for all tiles below.
const SHARED_WIDE: usize = 512;

/// Columns of a tile at least, where A is packed for all, and where each task packs its own.
const NARROW: [usize; 2] = [128, 256];

/// Tasks that are enough for 16 threads.
const TASKS: usize = 32;

/// Units of A that may be packed for all tasks (16 MiB).
const SHARED: usize = 1 << 22;

pub(super) struct Plan<'a> {
    pub micro: &'a Micro,
    /// Of C.
    size: [usize; 2],
    k: usize,
    /// Units along K.
    pub units: usize,
    /// Of a tile: whole micro-tiles.
    pub rows: usize,
    pub columns: usize,
    /// Tiles.
    pub down: usize,
    pub across: usize,
    /// Units of a block along K, and blocks.
    pub depth: usize,
    pub blocks: usize,
    /// Whether A is packed for all tasks before they begin.
    pub shares: bool,
}

impl<'a> Plan<'a> {
    pub fn parallel(micro: &'a Micro, m: usize, n: usize, k: usize) -> Self {
        let (down, wide) = (m.div_ceil(ROWS), n.div_ceil(WIDE));
        let fits = m.next_multiple_of(micro.rows) * micro.units(k) <= SHARED;
        let (shares, across) = match down < TASKS && fits {
            true => (true, n.div_ceil(SHARED_WIDE).max(TASKS.div_ceil(down))),
            false => (false, wide.max(TASKS.div_ceil(down))),
        };
        let across = across.min(n / NARROW[usize::from(!shares)]).max(wide);
        Self::new(micro, [m, n, k], across, shares && across > 1)
    }

    /// For one thread: tiles as wide as may be.
    pub fn serial(micro: &'a Micro, m: usize, n: usize, k: usize) -> Self {
        Self::new(micro, [m, n, k], n.div_ceil(WIDE), false)
    }

    fn new(micro: &'a Micro, [m, n, k]: [usize; 3], across: usize, shares: bool) -> Self {
        let balanced = |n: usize, whole: usize, parts: usize| n.div_ceil(whole * parts) * whole;
        let units = micro.units(k);
        let rows = balanced(m, micro.rows, m.div_ceil(ROWS));
        let columns = balanced(n, micro.columns, across);
        // A multiple of 8 keeps every block but the last in step with the packing.
        let depth = balanced(units, 8, units.div_ceil(micro.block));
        Plan {
            micro,
            size: [m, n],
            k,
            units,
            rows,
            columns,
            down: m.div_ceil(rows),
            across: n.div_ceil(columns),
            depth,
            blocks: units.div_ceil(depth),
            shares,
        }
    }

    pub fn tasks(&self) -> usize {
        self.down * self.across
    }

    pub fn rows_of(&self, tile: usize) -> Range<usize> {
        tile * self.rows..self.size[0].min((tile + 1) * self.rows)
    }

    pub fn columns_of(&self, tile: usize) -> Range<usize> {
        tile * self.columns..self.size[1].min((tile + 1) * self.columns)
    }

    pub fn units_of(&self, block: usize) -> Range<usize> {
        block * self.depth..self.units.min((block + 1) * self.depth)
    }

    /// Along K, as the units of a block.
    pub fn ks(&self, block: usize) -> Range<usize> {
        let units = self.units_of(block);
        let each = if self.micro.paired { 2 } else { 1 };
        units.start * each..self.k.min(units.end * each)
    }

    /// Filled up to whole micro-tiles.
    pub fn padded_rows(&self, rows: Range<usize>) -> usize {
        rows.len().next_multiple_of(self.micro.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::gemm::Precision;

    #[test]
    fn tiles_and_blocks_cover_the_product_once() {
        for precision in [Precision::F32, Precision::Bf16] {
            for micro in Micro::available(precision) {
                for [m, n, k] in [
                    [1, 1, 1],
                    [97, 1537, 769],
                    [3072, 1536, 384],
                    [384, 1536, 3072],
                    [512, 640, 50_304],
                    [2048, 4100, 1023],
                ] {
                    for plan in [Plan::parallel(micro, m, n, k), Plan::serial(micro, m, n, k)] {
                        let cover = |n: usize, part: &dyn Fn(usize) -> Range<usize>, whole| {
                            let parts = (0..n).map(part);
                            parts.fold(0, |end, part| {
                                assert_eq!(part.start, end);
                                assert!(!part.is_empty() && part.len() <= whole);
                                part.end
                            })
                        };
                        let rows = cover(plan.down, &|i| plan.rows_of(i), ROWS);
                        let columns = cover(plan.across, &|i| plan.columns_of(i), WIDE);
                        assert_eq!([rows, columns], [m, n]);
                        let units = cover(plan.blocks, &|i| plan.units_of(i), micro.block);
                        assert_eq!(units, plan.units);
                        assert_eq!(cover(plan.blocks, &|i| plan.ks(i), 2 * micro.block), k);
                    }
                }
            }
        }
    }

    #[test]
    fn sixteen_threads_find_work_in_weight_gradients() {
        let micro = Micro::of(Precision::F32);
        assert!(Plan::parallel(micro, 384, 1536, 3072).tasks() >= 24);
        assert!(Plan::parallel(micro, 3072, 384, 1536).tasks() >= 32);
    }
}
