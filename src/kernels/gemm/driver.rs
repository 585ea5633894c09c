//! Tiles over tasks: which thread computes which part of C, and in what order.

use super::pack::{PackedB, pack_a, packed_a_len};
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

/// Rows and columns of a task's tile, before rounding up to whole micro-tiles.
const TILE: [usize; 2] = [96, 512];

/// Computes A·B and hands each tile, complete over K, to `finish` once. `finish` is called from
/// many threads at a time, never twice for one element of C.
pub fn product<E: Element>(
    precision: Precision,
    a: Matrix<E>,
    b: PackedB,
    finish: &(dyn Fn(Tile) + Sync),
) {
    let micro = Micro::of(precision);
    assert_eq!(
        a.columns(),
        b.k,
        "A has {} columns and B {} rows",
        a.columns(),
        b.k
    );
    let units = micro.units(b.k);
    let rows_a_tile = TILE[0].next_multiple_of(micro.rows);
    let columns_a_tile = TILE[1].next_multiple_of(micro.columns);
    let (down, across) = (
        a.rows().div_ceil(rows_a_tile),
        b.columns.div_ceil(columns_a_tile),
    );
    (0..down * across).into_par_iter().for_each(|task| {
        let (row, column) = (task / across * rows_a_tile, task % across * columns_a_tile);
        let rows = rows_a_tile.min(a.rows() - row);
        let columns = columns_a_tile.min(b.columns - column);
        let mut packed = vec![0; packed_a_len(micro, rows, b.k)];
        let part = Matrix {
            data: &a.data[row * a.row_stride..],
            rows,
            ..a
        };
        pack_a(precision, part, &mut packed);
        let stride = columns_a_tile;
        let mut c = vec![0.0; rows_a_tile * stride];
        for j in (0..columns).step_by(micro.columns) {
            let b = &b.data[(column + j) * units..];
            for i in (0..rows).step_by(micro.rows) {
                // SAFETY: panels are whole, and the tile's rows and columns are whole micro-tiles.
                unsafe {
                    let a = packed.as_ptr().add(i * units);
                    let c = c.as_mut_ptr().add(i * stride + j);
                    micro.run(units, a, b.as_ptr(), c, stride, false);
                }
            }
        }
        finish(Tile {
            row,
            column,
            rows,
            columns,
            stride,
            data: &mut c,
        });
    });
}
