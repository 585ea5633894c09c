//! The innermost loop: a tile of C from a panel of A and a panel of B.
//!
//! Panels are made of 32-bit *units*: an f32, or, where the CPU multiplies pairs of bf16, two
//! neighbouring k's as bf16 (the earlier one in the lower half). A panel of A holds, unit after
//! unit along K, one number a row of the tile; a panel of B one a column.

use super::Precision;

/// A micro-kernel: the shape of its tile and the function.
#[derive(Clone, Copy)]
pub struct Micro {
    /// Rows of a tile.
    pub rows: usize,
    /// Columns of a tile.
    pub columns: usize,
    /// Two k's a unit (bf16 pairs), or one (f32).
    pub paired: bool,
    /// Whether operands are rounded to bf16 as they are packed.
    pub rounds: bool,
    pub name: &'static str,
    run: Run,
}

/// `(units, a, b, c, c_stride, add)`: C = A·B, or C += A·B, over `units` units.
type Run = unsafe fn(usize, *const u32, *const u32, *mut f32, usize, bool);

impl Micro {
    /// The fastest micro-kernel that this CPU has for a precision.
    pub fn of(precision: Precision) -> &'static Micro {
        match precision {
            Precision::F32 => &PORTABLE_F32,
            Precision::Bf16 => &PORTABLE_BF16,
        }
    }

    /// Units of a panel along K.
    pub fn units(&self, k: usize) -> usize {
        if self.paired { k.div_ceil(2) } else { k }
    }

    /// C = A·B, or C += A·B, for one whole tile.
    ///
    /// # Safety
    /// `a` holds `units × self.rows` units, `b` `units × self.columns`, and `c` a tile of
    /// `self.rows × self.columns` numbers, rows `c_stride` apart, that nobody else touches.
    #[inline]
    pub unsafe fn run(
        &self,
        units: usize,
        a: *const u32,
        b: *const u32,
        c: *mut f32,
        c_stride: usize,
        add: bool,
    ) {
        // SAFETY: passed on.
        unsafe { (self.run)(units, a, b, c, c_stride, add) }
    }
}

static PORTABLE_F32: Micro = Micro {
    rows: 4,
    columns: 16,
    paired: false,
    rounds: false,
    name: "portable f32",
    run: portable::<4, 16>,
};

/// bf16 where the CPU cannot multiply it: rounded to bf16, held and multiplied as f32.
static PORTABLE_BF16: Micro = Micro {
    rounds: true,
    name: "portable bf16 as f32",
    ..PORTABLE_F32
};

unsafe fn portable<const R: usize, const C: usize>(
    units: usize,
    a: *const u32,
    b: *const u32,
    c: *mut f32,
    c_stride: usize,
    add: bool,
) {
    // SAFETY: the caller's panels and tile are as large as `Micro::run` asks.
    unsafe {
        let a = std::slice::from_raw_parts(a.cast::<f32>(), units * R);
        let b = std::slice::from_raw_parts(b.cast::<f32>(), units * C);
        let mut sums = [[0.0f32; C]; R];
        for (a, b) in a.chunks_exact(R).zip(b.chunks_exact(C)) {
            for (row, &a) in sums.iter_mut().zip(a) {
                for (sum, &b) in row.iter_mut().zip(b) {
                    *sum += a * b;
                }
            }
        }
        for (i, row) in sums.iter().enumerate() {
            let c = std::slice::from_raw_parts_mut(c.add(i * c_stride), C);
            for (c, &sum) in c.iter_mut().zip(row) {
                *c = if add { *c + sum } else { sum };
            }
        }
    }
}
