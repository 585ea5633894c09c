//! Products that become dense matrices, line by line or as a whole.

use super::pack::packed_b_len;
use super::scratch::{Scratch, Use};
use super::{Matrix, Micro, PackedB, Precision, Tile, pack_b, product};
use crate::kernels::element::Element;
use crate::kernels::finish;
use crate::kernels::shared::Shared;

/// Hands every finished line of A·B to `use_it`, with its row and its first column; from many
/// threads at a time, never twice for one element.
pub fn product_lines<E: Element>(
    precision: Precision,
    a: Matrix<E>,
    b: PackedB,
    use_it: &(dyn Fn(&mut [f32], usize, usize) + Sync),
) {
    product(precision, a, b, &|mut tile: Tile| {
        for i in 0..tile.rows {
            let (row, column) = (tile.row + i, tile.column);
            use_it(tile.line(i), row, column);
        }
    });
}

/// `out = A·B`, or `out += A·B`, for a dense `out [M, N]`.
pub fn product_into<E: Element>(
    precision: Precision,
    a: Matrix<E>,
    b: PackedB,
    out: &mut [f32],
    add: bool,
) {
    let columns = b.columns;
    assert_eq!(out.len(), a.rows * columns);
    let out = Shared::new(out);
    product_lines(precision, a, b, &|line, row, column| {
        // SAFETY: every line of a product comes once.
        let out = unsafe { out.part(row * columns + column, line.len()) };
        if add {
            finish::add(line, out);
        } else {
            out.copy_from_slice(line);
        }
    });
}

/// As [`product_into`], for a B that is used once: it is packed into the thread's scratch.
///
/// With few rows, packing B would take longer than multiplying. Then Cᵀ = Bᵀ·Aᵀ is computed, for
/// which the few are packed and B is read as it lies.
pub fn multiply<A: Element, B: Element>(
    precision: Precision,
    a: Matrix<A>,
    b: Matrix<B>,
    out: &mut [f32],
    add: bool,
) {
    let micro = Micro::of(precision);
    if a.rows > micro.columns {
        let mut packed = Scratch::take(Use::Right, packed_b_len(micro, b.rows, b.columns));
        pack_b(precision, b, packed.units(), true);
        let b = PackedB::new(packed.units(), micro, b.rows, b.columns);
        product_into(precision, a, b, out, add);
        return;
    }
    assert_eq!(out.len(), a.rows * b.columns);
    let mut packed = Scratch::take(Use::Right, packed_b_len(micro, a.columns, a.rows));
    pack_b(precision, a.t(), packed.units(), true);
    let right = PackedB::new(packed.units(), micro, a.columns, a.rows);
    let out = Shared::new(out);
    product_lines(precision, b.t(), right, &|line, column, first| {
        for (row, x) in (first..).zip(line) {
            // SAFETY: every number of a product comes once.
            let out = unsafe { &mut out.part(row * b.columns + column, 1)[0] };
            *out = if add { *out + *x } else { *x };
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small whole numbers: every order of adding them gives the same sum.
    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * i + seed * i) % 7) as f32).collect()
    }

    #[test]
    fn few_rows_and_many_are_overwritten_and_added_to() {
        for (m, n, k) in [
            (1, 1, 1),
            (1, 70, 9),
            (70, 1, 9),
            (3, 300, 40),
            (65, 33, 700),
        ] {
            let (x, y) = (numbers(m * k, 1), numbers(k * n, 2));
            let a = Matrix::dense(&x, m, k);
            for (b, along, across) in [
                (Matrix::dense(&y, k, n), n, 1),
                (Matrix::dense(&y, n, k).t(), 1, k),
            ] {
                let at = |i: usize, j: usize| -> f32 {
                    let terms = (0..k).map(|l| x[i * k + l] * y[l * along + j * across]);
                    terms.sum()
                };
                let mut out = vec![f32::NAN; m * n];
                multiply(Precision::F32, a, b, &mut out, false);
                for (i, &got) in out.iter().enumerate() {
                    assert_eq!(got, at(i / n, i % n), "{m} {n} {k}");
                }
                let once = out.clone();
                multiply(Precision::F32, a, b, &mut out, true);
                for (twice, once) in out.iter().zip(once) {
                    assert_eq!(*twice, 2.0 * once, "{m} {n} {k}");
                }
            }
        }
    }
}
