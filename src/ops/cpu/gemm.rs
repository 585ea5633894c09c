//! Matrix products over strided f32 views, by the `gemm` crate.
//!
//! It splits work over threads by rows and columns of the result and cuts the sum over the
//! inner dimension by its length alone, so the bits do not depend on the thread count.

use std::marker::PhantomData;

/// A matrix to read: element (i, j) is at `i·row_stride + j·column_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `columns` numbers, each row `row_stride` after the one before.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(last_offset(rows, columns, row_stride) < data.len());
        Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride: 1,
        }
    }

    /// A matrix without gaps.
    pub(crate) fn dense(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::new(data, rows, columns, columns)
    }

    /// The same numbers seen as the transposed matrix.
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// A matrix to write, in rows of consecutive numbers.
pub(crate) struct MatrixMut<'a> {
    data: *mut f32,
    rows: usize,
    columns: usize,
    row_stride: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

impl<'a> MatrixMut<'a> {
    /// Rows of `columns` numbers, each row `row_stride` after the one before.
    pub(crate) fn new(data: &'a mut [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(last_offset(rows, columns, row_stride) < data.len());
        // SAFETY: the slice is ours for 'a and holds the last element.
        unsafe { Self::from_raw(data.as_mut_ptr(), rows, columns, row_stride) }
    }

    /// A matrix without gaps.
    pub(crate) fn dense(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        Self::new(data, rows, columns, columns)
    }

    /// A matrix whose rows interleave with numbers that somebody else may write meanwhile.
    ///
    /// # Safety
    /// For the lifetime, its elements must be valid and nobody else's.
    pub(crate) unsafe fn from_raw(
        data: *mut f32,
        rows: usize,
        columns: usize,
        row_stride: usize,
    ) -> Self {
        Self {
            data,
            rows,
            columns,
            row_stride,
            lifetime: PhantomData,
        }
    }
}

/// The largest offset that a view touches.
fn last_offset(rows: usize, columns: usize, row_stride: usize) -> usize {
    assert!(rows > 0 && columns > 0, "an empty matrix");
    (rows - 1) * row_stride + columns - 1
}

/// What becomes of the numbers that the result matrix held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Overwrite,
    Add,
}

/// `out = factor·a·b`, or `out += factor·a·b`; on all threads of the current pool if `parallel`.
pub(crate) fn gemm(
    out: MatrixMut,
    store: Store,
    factor: f32,
    a: Matrix,
    b: Matrix,
    parallel: bool,
) {
    assert!(a.rows == out.rows && b.columns == out.columns && a.columns == b.rows);
    let threads = rayon::current_num_threads();
    let parallelism = if parallel && threads > 1 {
        gemm::Parallelism::Rayon(threads)
    } else {
        gemm::Parallelism::None
    };
    // SAFETY: constructors checked that every element lies inside its slice, and the shapes
    // fit each other.
    unsafe {
        gemm::gemm(
            out.rows,
            out.columns,
            a.columns,
            out.data,
            1,
            out.row_stride as isize,
            store == Store::Add,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// `a·b` as a new row-major matrix, on all threads of the current pool. Unlike [`gemm`] into a
/// fresh vector it does not write zeros first, which for a wide layer is a tenth of the time.
pub(crate) fn product(a: Matrix, b: Matrix) -> Vec<f32> {
    let len = a.rows * b.columns;
    let mut out = Vec::with_capacity(len);
    // SAFETY: the capacity is the matrix's size, and nobody else has the vector. `gemm` does not
    // read what it overwrites, and has written every element when it returns.
    unsafe {
        let matrix = MatrixMut::from_raw(out.as_mut_ptr(), a.rows, b.columns, b.columns);
        gemm(matrix, Store::Overwrite, 1.0, a, b, true);
        out.set_len(len);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overwriting_does_not_read() {
        for (m, n, k) in [(1, 1, 1), (1, 70, 9), (70, 1, 9), (3, 5, 1), (65, 33, 700)] {
            let (a, b) = (vec![1.0; m * k], vec![1.0; k * n]);
            let (a, b) = (Matrix::dense(&a, m, k), Matrix::dense(&b, k, n));
            for b in [b, Matrix::dense(b.data, n, k).t()] {
                for parallel in [false, true] {
                    let mut out = vec![f32::NAN; m * n];
                    let matrix = MatrixMut::dense(&mut out, m, n);
                    gemm(matrix, Store::Overwrite, 2.0, a, b, parallel);
                    assert!(out.iter().all(|&x| x == 2.0 * k as f32), "{m} {n} {k}");
                }
            }
        }
    }
}
