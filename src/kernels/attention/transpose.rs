//! Transposed copies of 32-bit units.

#[cfg(target_arch = "x86_64")]
use crate::kernels::cpu::{Level, level};

/// `to[j·to_stride + i] = from[i·from_stride + j]` for i < rows and j < columns. What follows row j
/// in `to`, up to seven units, may be overwritten with anything before row j + 1 is written.
///
/// # Panics
/// `from` does not hold the matrix, or `to` not the result and seven units more.
pub(super) fn transpose(
    from: &[u32],
    from_stride: usize,
    [rows, columns]: [usize; 2],
    to: &mut [u32],
    to_stride: usize,
) {
    assert!(rows > 0 && columns > 0 && rows <= to_stride && columns <= from_stride);
    assert!((rows - 1) * from_stride + columns <= from.len());
    assert!((columns - 1) * to_stride + rows + 7 <= to.len());
    #[cfg(target_arch = "x86_64")]
    if level() >= Level::Avx2 {
        // SAFETY: the CPU has AVX2, and the assertions above are what it asks.
        unsafe { x86::transpose(from, from_stride, [rows, columns], to, to_stride) };
        return;
    }
    for j in 0..columns {
        for i in 0..rows {
            to[j * to_stride + i] = from[i * from_stride + j];
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// # Safety
    /// The assertions of [`super::transpose`] hold.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn transpose(
        from: &[u32],
        from_stride: usize,
        [rows, columns]: [usize; 2],
        to: &mut [u32],
        to_stride: usize,
    ) {
        let whole = columns / 8 * 8;
        for j in (0..whole).step_by(8) {
            // From the last rows to the first: what a block writes too much, its successor mends.
            for i in (0..rows).step_by(8).rev() {
                // SAFETY: rows i.. and columns j..j + 8 lie inside; the last store ends seven
                // units after the result at most.
                unsafe {
                    let from = from.as_ptr().add(i * from_stride + j);
                    let to = to.as_mut_ptr().add(j * to_stride + i);
                    block(from, from_stride, (rows - i).min(8), to, to_stride);
                }
            }
        }
        for j in whole..columns {
            for i in 0..rows {
                to[j * to_stride + i] = from[i * from_stride + j];
            }
        }
    }

    /// Eight columns of up to eight rows.
    ///
    /// # Safety
    /// `rows` rows of eight units can be read, and eight rows of eight units written.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn block(
        from: *const u32,
        from_stride: usize,
        rows: usize,
        to: *mut u32,
        to_stride: usize,
    ) {
        // SAFETY: only rows that exist are read.
        let row =
            |i: usize| unsafe { _mm256_loadu_ps(from.add(i.min(rows - 1) * from_stride).cast()) };
        let rows: [__m256; 8] = [
            row(0),
            row(1),
            row(2),
            row(3),
            row(4),
            row(5),
            row(6),
            row(7),
        ];
        let pair = |i: usize| {
            let (a, b) = (rows[i], rows[i + 1]);
            (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b))
        };
        let (p0, p1, p2, p3) = (pair(0), pair(2), pair(4), pair(6));
        let four = |a: __m256, b: __m256| {
            (
                _mm256_shuffle_ps::<0b01_00_01_00>(a, b),
                _mm256_shuffle_ps::<0b11_10_11_10>(a, b),
            )
        };
        let upper = [four(p0.0, p1.0), four(p0.1, p1.1)];
        let lower = [four(p2.0, p3.0), four(p2.1, p3.1)];
        // Columns 0 1 2 3 (and, in the other half, 4 5 6 7) of rows 0..4 and of rows 4..8.
        let upper = [upper[0].0, upper[0].1, upper[1].0, upper[1].1];
        let lower = [lower[0].0, lower[0].1, lower[1].0, lower[1].1];
        for j in 0..4 {
            // SAFETY: the caller's.
            unsafe {
                let x = _mm256_permute2f128_ps::<0x20>(upper[j], lower[j]);
                _mm256_storeu_ps(to.add(j * to_stride).cast(), x);
            }
        }
        for j in 0..4 {
            // SAFETY: the caller's.
            unsafe {
                let x = _mm256_permute2f128_ps::<0x31>(upper[j], lower[j]);
                _mm256_storeu_ps(to.add((j + 4) * to_stride).cast(), x);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_comes_out_transposed() {
        for rows in [1, 4, 6, 7, 8, 12, 14, 16, 64] {
            for columns in [1, 7, 8, 16, 21, 32] {
                let (from_stride, to_stride) = (columns + 3, rows + rows % 3);
                let from: Vec<u32> = (0..(rows * from_stride) as u32).collect();
                let mut to = vec![0; columns * to_stride + 7];
                transpose(&from, from_stride, [rows, columns], &mut to, to_stride);
                for j in 0..columns {
                    for i in 0..rows {
                        assert_eq!(to[j * to_stride + i], from[i * from_stride + j]);
                    }
                }
            }
        }
    }
}
