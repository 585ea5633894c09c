//! The innermost loop: a tile of C from a panel of A and a panel of B.
//!
//! Panels are made of 32-bit *units*: an f32, or, where the CPU multiplies pairs of bf16, two
//! neighbouring k's as bf16 (the earlier one in the lower half). A panel of A holds, unit after
//! unit along K, one number a row of the tile; a panel of B one a column.

use super::{Precision, portable};
use crate::kernels::cpu::{self, Level};

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
    /// Units of K after which the panels should change: as many as leave a panel of B in the
    /// first level of the cache, and more than make reading and writing the tile show.
    pub block: usize,
    pub name: &'static str,
    pub(super) run: Run,
}

/// `(units, a, b, c, c_stride, add)`: C = A·B, or C += A·B, over `units` units.
pub(super) type Run = unsafe fn(usize, *const u32, *const u32, *mut f32, usize, bool);

impl Micro {
    /// The fastest micro-kernel that this CPU has for a precision (see [`cpu::level`]).
    #[inline]
    pub fn of(precision: Precision) -> &'static Micro {
        Self::at(precision, cpu::level())
            .next()
            .expect("the portable one")
    }

    /// Every micro-kernel that this CPU can run, the fastest first; for tests.
    pub fn available(precision: Precision) -> Vec<&'static Micro> {
        Self::at(precision, cpu::detected()).collect()
    }

    fn at(precision: Precision, level: Level) -> impl Iterator<Item = &'static Micro> {
        #[cfg(target_arch = "x86_64")]
        let vectors = super::x86::all(precision);
        #[cfg(not(target_arch = "x86_64"))]
        let vectors: &'static [(Level, &'static Micro)] = &[];
        let portable = match precision {
            Precision::F32 => &portable::F32,
            Precision::Bf16 => &portable::ROUNDED,
        };
        let vectors = vectors.iter().filter(move |(needs, _)| *needs <= level);
        vectors.map(|&(_, micro)| micro).chain([portable])
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
