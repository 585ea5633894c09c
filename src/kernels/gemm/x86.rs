//! Micro-kernels for AVX2 with FMA, AVX-512, and AVX512-BF16.
//!
//! A tile is `rows × 2` vectors wide and lives in registers: 6 × 2 of AVX2's 16, 12 × 2 of
//! AVX-512's 32, which leaves room for the two vectors of B and the broadcasts of A. A unit costs
//! two fused multiply-adds a row, two loads of B and a broadcast a row; at two of each a cycle the
//! multiply-adds bound it (12 cycles a unit against 7 of loads, for 12 × 2), if vectors of B do not
//! straddle cache lines.

use super::Precision;
use super::micro::Micro;
use crate::kernels::cpu::Level;
use std::arch::x86_64::*;

/// Micro-kernels and what they need, the best first.
type Ranked = [(Level, &'static Micro)];

static F32: &Ranked = &[(Level::Avx512, &AVX512_F32), (Level::Avx2, &AVX2_F32)];

static BF16: &Ranked = &[
    (Level::Avx512Bf16, &AVX512_BF16),
    (Level::Avx512, &AVX512_ROUNDED),
    (Level::Avx2, &AVX2_ROUNDED),
];

pub(super) fn all(precision: Precision) -> &'static Ranked {
    match precision {
        Precision::F32 => F32,
        Precision::Bf16 => BF16,
    }
}

static AVX2_F32: Micro = Micro {
    rows: 6,
    columns: 16,
    paired: false,
    rounds: false,
    block: 192,
    name: "avx2 f32 6x16",
    run: avx2_f32,
};

static AVX2_ROUNDED: Micro = Micro {
    rounds: true,
    name: "avx2 bf16 as f32 6x16",
    ..AVX2_F32
};

static AVX512_F32: Micro = Micro {
    rows: 12,
    columns: 32,
    paired: false,
    rounds: false,
    block: 256,
    name: "avx512 f32 12x32",
    run: avx512_f32,
};

static AVX512_ROUNDED: Micro = Micro {
    rounds: true,
    name: "avx512 bf16 as f32 12x32",
    ..AVX512_F32
};

static AVX512_BF16: Micro = Micro {
    paired: true,
    rounds: true,
    name: "avx512 bf16 12x32",
    run: avx512_bf16,
    ..AVX512_F32
};

/// Defines a micro-kernel of `$rows` rows and two vectors of `$width` columns.
macro_rules! kernel {
    (
        $(#[$doc:meta])*
        $name:ident, $features:literal, $rows:literal, $width:literal,
        $zero:expr, $load:ident, $broadcast:ident, $multiply_add:ident, $load_c:ident, $add:ident, $store:ident
    ) => {
        $(#[$doc])*
        #[target_feature(enable = $features)]
        unsafe fn $name(
            units: usize,
            mut a: *const u32,
            mut b: *const u32,
            c: *mut f32,
            c_stride: usize,
            add: bool,
        ) {
            // SAFETY: the caller's panels and tile are as large as `Micro::run` asks.
            unsafe {
                let mut sums = [[$zero; 2]; $rows];
                macro_rules! unit {
                    ($at:expr) => {
                        let b = b.add($at * 2 * $width);
                        let (left, right) = ($load(b), $load(b.add($width)));
                        for i in 0..$rows {
                            let a = $broadcast(a.add($at * $rows + i));
                            sums[i][0] = $multiply_add(a, left, sums[i][0]);
                            sums[i][1] = $multiply_add(a, right, sums[i][1]);
                        }
                    };
                }
                if add {
                    // The tile comes from the second level; the sums take a while.
                    for i in 0..$rows {
                        _mm_prefetch::<_MM_HINT_T0>(c.add(i * c_stride).cast());
                        _mm_prefetch::<_MM_HINT_T0>(c.add(i * c_stride + 2 * $width - 1).cast());
                    }
                }
                for _ in 0..units / 4 {
                    unit!(0);
                    unit!(1);
                    unit!(2);
                    unit!(3);
                    a = a.add(4 * $rows);
                    b = b.add(8 * $width);
                }
                for _ in 0..units % 4 {
                    unit!(0);
                    a = a.add($rows);
                    b = b.add(2 * $width);
                }
                for i in 0..$rows {
                    for j in 0..2 {
                        let c = c.add(i * c_stride + j * $width);
                        let mut sum = sums[i][j];
                        if add {
                            sum = $add(sum, $load_c(c));
                        }
                        $store(c, sum);
                    }
                }
            }
        }
    };
}

kernel!(
    avx2_f32,
    "avx2,fma",
    6,
    8,
    _mm256_setzero_ps(),
    load_256,
    broadcast_256,
    _mm256_fmadd_ps,
    _mm256_loadu_ps,
    _mm256_add_ps,
    _mm256_storeu_ps
);

kernel!(
    avx512_f32,
    "avx512f",
    12,
    16,
    _mm512_setzero_ps(),
    load_512,
    broadcast_512,
    _mm512_fmadd_ps,
    _mm512_loadu_ps,
    _mm512_add_ps,
    _mm512_storeu_ps
);

kernel!(
    /// `vdpbf16ps` adds the products of two pairs; it takes denormals as zero.
    avx512_bf16, "avx512f,avx512bf16", 12, 16,
    _mm512_setzero_ps(), load_pairs, broadcast_pairs, pairs, _mm512_loadu_ps, _mm512_add_ps, _mm512_storeu_ps
);

#[target_feature(enable = "avx2")]
#[inline]
unsafe fn load_256(p: *const u32) -> __m256 {
    // SAFETY: the caller's.
    unsafe { _mm256_loadu_ps(p.cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
unsafe fn broadcast_256(p: *const u32) -> __m256 {
    // SAFETY: the caller's.
    unsafe { _mm256_broadcast_ss(&*p.cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn load_512(p: *const u32) -> __m512 {
    // SAFETY: the caller's.
    unsafe { _mm512_loadu_ps(p.cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn broadcast_512(p: *const u32) -> __m512 {
    // SAFETY: the caller's.
    _mm512_set1_ps(unsafe { *p.cast() })
}

#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn load_pairs(p: *const u32) -> __m512i {
    // SAFETY: the caller's.
    unsafe { _mm512_loadu_si512(p.cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn broadcast_pairs(p: *const u32) -> __m512i {
    // SAFETY: the caller's.
    _mm512_set1_epi32(unsafe { *p.cast() })
}

#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn pairs(a: __m512i, b: __m512i, sum: __m512) -> __m512 {
    // SAFETY: both types are 512 bits without meaning of their own.
    let [a, b] = [a, b].map(|x| unsafe { std::mem::transmute::<__m512i, __m512bh>(x) });
    _mm512_dpbf16_ps(sum, a, b)
}
