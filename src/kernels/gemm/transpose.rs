//! Panels of matrices whose K is contiguous: blocks of 8 rows × 8 units, transposed in registers.

use super::Matrix;
use super::pack::Units;
use super::prefetch::prefetch;
use crate::kernels::cpu::{Level, level};
use crate::kernels::element::Element;
use std::arch::x86_64::*;

/// Units along K for which all rows of a panel are packed before the next units: few enough that
/// the panel's lines are still in the first level of the cache when the next eight rows come.
const DEPTH: usize = 64;

/// Packs the first units of the panel `[units][width]` of `m`, as many as come in whole blocks;
/// returns how many.
pub(super) fn panel<E: Element>(
    units: Units,
    m: Matrix<E>,
    width: usize,
    out: &mut [u32],
) -> usize {
    assert!(m.column_stride == 1 && m.rows <= width);
    let numbers_a_unit = match units {
        Units::Stored => 4 / size_of::<E>(),
        Units::Paired => 2,
        Units::Widened | Units::Rounded => 1,
    };
    let whole = m.columns / numbers_a_unit / 8 * 8;
    if level() < Level::Avx2 || !matches!(width % 8, 0 | 4 | 6) {
        return 0;
    }
    assert!(whole == 0 || (m.rows - 1) * m.row_stride + whole * numbers_a_unit <= m.data.len());
    assert!(whole * width <= out.len());
    for first in (0..whole).step_by(DEPTH) {
        let depth = DEPTH.min(whole - first);
        for row in (0..width).step_by(8) {
            let lanes = (width - row).min(8);
            let rows = m.rows.saturating_sub(row).min(lanes);
            // Rows beyond the last are read as the panel's first, then masked.
            let start = |i: usize| if i < rows { row + i } else { 0 } * m.row_stride;
            // SAFETY: the processor has AVX2. Blocks stay within rows of `m` and within the panel,
            // both asserted above.
            unsafe {
                let at = |i| m.data.as_ptr().add(start(i) + first * numbers_a_unit);
                let at: [*const u8; 8] = std::array::from_fn(|i| at(i).cast());
                let ahead = lanes * m.row_stride * size_of::<E>();
                let out = out.as_mut_ptr().add(first * width + row);
                match (units, lanes) {
                    (Units::Stored, 8) => blocks::<STORED, 8>(at, rows, depth, width, out, ahead),
                    (Units::Stored, 6) => blocks::<STORED, 6>(at, rows, depth, width, out, ahead),
                    (Units::Stored, _) => blocks::<STORED, 4>(at, rows, depth, width, out, ahead),
                    (Units::Widened, 8) => blocks::<WIDENED, 8>(at, rows, depth, width, out, ahead),
                    (Units::Widened, 6) => blocks::<WIDENED, 6>(at, rows, depth, width, out, ahead),
                    (Units::Widened, _) => blocks::<WIDENED, 4>(at, rows, depth, width, out, ahead),
                    (Units::Rounded, 8) => blocks::<ROUNDED, 8>(at, rows, depth, width, out, ahead),
                    (Units::Rounded, 6) => blocks::<ROUNDED, 6>(at, rows, depth, width, out, ahead),
                    (Units::Rounded, _) => blocks::<ROUNDED, 4>(at, rows, depth, width, out, ahead),
                    (Units::Paired, 8) => blocks::<PAIRED, 8>(at, rows, depth, width, out, ahead),
                    (Units::Paired, 6) => blocks::<PAIRED, 6>(at, rows, depth, width, out, ahead),
                    (Units::Paired, _) => blocks::<PAIRED, 4>(at, rows, depth, width, out, ahead),
                }
            }
        }
    }
    whole
}

const STORED: u8 = 0;
const WIDENED: u8 = 1;
const ROUNDED: u8 = 2;
const PAIRED: u8 = 3;

/// `depth` units (whole eights) of up to eight rows, into `LANES` of a panel's `width` columns;
/// zeros from `rows` on. The rows `ahead` bytes after these come next.
#[target_feature(enable = "avx2")]
unsafe fn blocks<const UNITS: u8, const LANES: usize>(
    mut at: [*const u8; 8],
    rows: usize,
    depth: usize,
    width: usize,
    mut out: *mut u32,
    ahead: usize,
) {
    let bytes = match UNITS {
        WIDENED => 16,
        PAIRED => 64,
        _ => 32,
    };
    // SAFETY: the caller's rows and panel hold `depth` units.
    unsafe {
        let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(rows as i32), lane);
        for _ in 0..depth / 8 {
            let mut x = [_mm256_setzero_si256(); 8];
            for i in 0..LANES {
                x[i] = load::<UNITS>(at[i]);
                // Rows are short and many: the processor does not foresee the next ones.
                prefetch(at[i].wrapping_add(ahead));
                at[i] = at[i].add(bytes);
            }
            for x in transposed(x) {
                let x = _mm256_and_si256(x, mask);
                if LANES == 8 {
                    prefetch(out.wrapping_add(DEPTH * width));
                    _mm256_storeu_si256(out.cast(), x);
                } else {
                    _mm_storeu_si128(out.cast(), _mm256_castsi256_si128(x));
                    if LANES == 6 {
                        _mm_storeu_si64(out.add(4).cast(), _mm256_extracti128_si256::<1>(x));
                    }
                }
                out = out.add(width);
            }
        }
    }
}

/// Eight units of a row.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn load<const UNITS: u8>(at: *const u8) -> __m256i {
    // SAFETY: the caller's row holds them.
    unsafe {
        match UNITS {
            WIDENED => {
                let x = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
                _mm256_slli_epi32::<16>(x)
            }
            ROUNDED => {
                let upper = _mm256_set1_epi32(0xffff_0000_u32 as i32);
                _mm256_and_si256(rounded(_mm256_loadu_si256(at.cast())), upper)
            }
            PAIRED => {
                let x = rounded(_mm256_loadu_si256(at.cast()));
                let y = rounded(_mm256_loadu_si256(at.add(32).cast()));
                let (x, y) = (_mm256_srli_epi32::<16>(x), _mm256_srli_epi32::<16>(y));
                // Packing works within halves of the register.
                _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(x, y))
            }
            _ => _mm256_loadu_si256(at.cast()),
        }
    }
}

/// `Bf16::from_f32` in the upper halves; the lower ones are left over.
#[target_feature(enable = "avx2")]
#[inline]
fn rounded(x: __m256i) -> __m256i {
    let last = _mm256_and_si256(_mm256_srli_epi32::<16>(x), _mm256_set1_epi32(1));
    let half = _mm256_add_epi32(last, _mm256_set1_epi32(0x7fff));
    let nearest = _mm256_add_epi32(x, half);
    let quiet = _mm256_or_si256(x, _mm256_set1_epi32(0x0040_0000));
    let number = _mm256_castsi256_ps(x);
    let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(number, number));
    _mm256_blendv_epi8(nearest, quiet, nan)
}

/// The transposed 8 × 8 matrix: pairs, fours, then halves of the registers are exchanged.
#[target_feature(enable = "avx2")]
#[inline]
fn transposed(x: [__m256i; 8]) -> [__m256i; 8] {
    let mut pairs = x;
    for i in 0..4 {
        pairs[2 * i] = _mm256_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
        pairs[2 * i + 1] = _mm256_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
    }
    let mut fours = x;
    for i in 0..2 {
        for j in 0..2 {
            let (low, high) = (pairs[4 * i + j], pairs[4 * i + 2 + j]);
            fours[4 * i + 2 * j] = _mm256_unpacklo_epi64(low, high);
            fours[4 * i + 2 * j + 1] = _mm256_unpackhi_epi64(low, high);
        }
    }
    let mut out = x;
    for i in 0..4 {
        out[i] = _mm256_permute2x128_si256::<0x20>(fours[i], fours[4 + i]);
        out[4 + i] = _mm256_permute2x128_si256::<0x31>(fours[i], fours[4 + i]);
    }
    out
}
