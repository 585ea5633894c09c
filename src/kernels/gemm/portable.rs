//! The micro-kernel in plain Rust, for every processor.

use super::micro::Micro;
use crate::kernels::simd::madd;

/// NEON has 32 registers of four numbers and multiplies by a lane; SSE2 has 16 and no fused
/// multiply-add.
const SHAPE: [usize; 2] = if cfg!(target_arch = "aarch64") {
    [6, 16]
} else {
    [4, 8]
};

pub(super) static F32: Micro = Micro {
    rows: SHAPE[0],
    columns: SHAPE[1],
    paired: false,
    rounds: false,
    block: 384,
    name: "portable f32",
    run: tile::<{ SHAPE[0] }, { SHAPE[1] }>,
};

/// bf16 where the CPU cannot multiply it: rounded to bf16, held and multiplied as f32.
pub(super) static ROUNDED: Micro = Micro {
    rounds: true,
    name: "portable bf16 as f32",
    ..F32
};

unsafe fn tile<const R: usize, const C: usize>(
    units: usize,
    a: *const u32,
    b: *const u32,
    c: *mut f32,
    c_stride: usize,
    add: bool,
) {
    const FMA: bool = cfg!(target_arch = "aarch64");
    // SAFETY: the caller's panels and tile are as large as `Micro::run` asks.
    unsafe {
        let a = std::slice::from_raw_parts(a.cast::<[f32; R]>(), units);
        let b = std::slice::from_raw_parts(b.cast::<[f32; C]>(), units);
        let mut sums = [[0.0f32; C]; R];
        for (a, b) in a.iter().zip(b) {
            for i in 0..R {
                for j in 0..C {
                    sums[i][j] = madd::<FMA>(a[i], b[j], sums[i][j]);
                }
            }
        }
        for (i, row) in sums.iter().enumerate() {
            let c = &mut *c.add(i * c_stride).cast::<[f32; C]>();
            for (c, &sum) in c.iter_mut().zip(row) {
                *c = if add { *c + sum } else { sum };
            }
        }
    }
}
