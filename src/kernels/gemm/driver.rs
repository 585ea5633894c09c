//! Tiles over tasks: which thread computes which part of C, and in what order.

use super::pack::{PackedB, panels};
use super::plan::Plan;
use super::prefetch::{LINE, prefetch};
use super::scratch::{Scratch, Use};
use super::{Matrix, Micro, Precision};
use crate::kernels::element::Element;
use rayon::prelude::*;

/// A finished part of C: rows `row..row + rows`, columns `column..column + columns`; row i's
/// numbers begin at `data[i·stride]`.
pub struct Tile<'a> {
    pub row: usize,
    pub column: usize,
    pub rows: usize,
    pub columns: usize,
    pub stride: usize,
    pub data: &'a mut [f32],
}

impl Tile<'_> {
    /// The numbers of row `i` of the tile.
    pub fn line(&mut self, i: usize) -> &mut [f32] {
        let start = i * self.stride;
        &mut self.data[start..start + self.columns]
    }
}

/// Columns that are handed over at a time. Their rows lie [`STRIDE`] apart, an odd number of
/// cache lines, so that the rows of a micro-tile do not compete for one set of the cache.
const GROUP: usize = 256;
const STRIDE: usize = GROUP + 16;

/// Computes A·B and hands each tile, complete over K, to `finish` once. `finish` is called from
/// many threads at a time, never twice for one element of C.
pub fn product<E: Element>(
    precision: Precision,
    a: Matrix<E>,
    b: PackedB,
    finish: &(dyn Fn(Tile) + Sync),
) {
    product_for(Micro::of(precision), a, b, finish);
}

/// The same, to the same bits, on this thread alone.
pub fn product_serial<E: Element>(
    precision: Precision,
    a: Matrix<E>,
    b: PackedB,
    finish: &mut dyn FnMut(Tile),
) {
    product_serial_for(Micro::of(precision), a, b, finish);
}

pub(super) fn product_for<E: Element>(
    micro: &Micro,
    a: Matrix<E>,
    b: PackedB,
    finish: &(dyn Fn(Tile) + Sync),
) {
    check(micro, &a, &b);
    let plan = Plan::parallel(micro, a.rows, b.columns, b.k);
    let tasks = (0..plan.tasks()).into_par_iter();
    if !plan.shares {
        tasks.for_each(|task| run(&plan, task, a, None, b, &mut |tile| finish(tile)));
        return;
    }
    let mut packed = Scratch::take(Use::Shared, plan.padded_rows(0..a.rows) * plan.units);
    let packed = packed.units();
    let tiles = packed.par_chunks_mut(plan.rows * plan.units);
    tiles.enumerate().for_each(|(tile, out)| {
        let rows = plan.rows_of(tile);
        let blocks = out.par_chunks_mut(plan.padded_rows(rows.clone()) * plan.depth);
        blocks.enumerate().for_each(|(block, out)| {
            let part = a.block(rows.clone(), plan.ks(block));
            panels(micro, part, micro.rows, out);
        });
    });
    let packed = &*packed;
    tasks.for_each(|task| run(&plan, task, a, Some(packed), b, &mut |tile| finish(tile)));
}

pub(super) fn product_serial_for<E: Element>(
    micro: &Micro,
    a: Matrix<E>,
    b: PackedB,
    finish: &mut dyn FnMut(Tile),
) {
    check(micro, &a, &b);
    let plan = Plan::serial(micro, a.rows, b.columns, b.k);
    for task in 0..plan.tasks() {
        run(&plan, task, a, None, b, finish);
    }
}

fn check<E: Element>(micro: &Micro, a: &Matrix<E>, b: &PackedB) {
    assert_eq!(
        a.columns, b.k,
        "A has {} columns and B {} rows",
        a.columns, b.k
    );
    let panel = micro.columns * micro.units(b.k);
    assert_eq!(b.panel, panel, "B was packed for another micro-kernel");
}

/// One tile: along K block by block, of each the block of A with panel after panel of B.
fn run<E: Element>(
    plan: &Plan,
    task: usize,
    a: Matrix<E>,
    packed_a: Option<&[u32]>,
    b: PackedB,
    finish: &mut dyn FnMut(Tile),
) {
    let micro = plan.micro;
    // Tasks of the same columns follow each other, so that B comes from memory once.
    let rows = plan.rows_of(task % plan.down);
    let columns = plan.columns_of(task / plan.down);
    let padded = plan.padded_rows(rows.clone());
    let group_len = padded * STRIDE;
    // With one block along K, a group is finished before the next begins.
    let groups = match plan.blocks {
        1 => 1,
        _ => columns.len().div_ceil(GROUP),
    };
    let mut c = Scratch::take(Use::Tile, groups * group_len);
    let c = c.numbers();
    let own = match packed_a {
        Some(_) => 0,
        None => padded * plan.depth,
    };
    let mut own = Scratch::take(Use::Block, own);
    for block in 0..plan.blocks {
        let units = plan.units_of(block);
        let depth = units.len();
        let a = match packed_a {
            Some(packed) => {
                &packed[rows.start * plan.units + padded * units.start..][..padded * depth]
            }
            None => {
                let out = &mut own.units()[..padded * depth];
                let part = a.block(rows.clone(), plan.ks(block));
                panels(micro, part, micro.rows, out);
                &*out
            }
        };
        for (group, first) in columns.clone().step_by(GROUP).enumerate() {
            let last = columns.end.min(first + GROUP);
            let c = &mut c[group % groups * group_len..][..group_len];
            for j in (first..last).step_by(micro.columns) {
                let b = &b.data[j * plan.units + units.start * micro.columns..];
                assert!(b.len() >= depth * micro.columns);
                // The panel of B that comes next is fetched a part at a time.
                let next = b.as_ptr().wrapping_add(micro.columns * plan.units);
                let lines = (depth * micro.columns / LINE).div_ceil(padded / micro.rows);
                for i in (0..padded).step_by(micro.rows) {
                    let part = next.wrapping_add(i / micro.rows * lines * LINE);
                    for line in 0..lines {
                        prefetch(part.wrapping_add(line * LINE));
                    }
                    // SAFETY: panels of A and B are whole, and the tile has room for whole
                    // micro-tiles: STRIDE ≥ GROUP, which is a multiple of a micro-tile's columns.
                    unsafe {
                        let c = c.as_mut_ptr().add(i * STRIDE + j - first);
                        let a = a.as_ptr().add(i * depth);
                        micro.run(depth, a, b.as_ptr(), c, STRIDE, block > 0);
                    }
                }
            }
            if block + 1 == plan.blocks {
                finish(Tile {
                    row: rows.start,
                    column: first,
                    rows: rows.len(),
                    columns: last - first,
                    stride: STRIDE,
                    data: c,
                });
            }
        }
    }
}
