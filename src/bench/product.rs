//! The product kernel alone, as a share of the peak.

use super::best;
use super::peak::FlopPeak;
use crate::kernels::element::{Bf16, Element};
use crate::kernels::gemm::pack::{packed_a_len, packed_b_len};
use crate::kernels::gemm::{Matrix, Micro, PackedB, Precision, Tile, pack_a, pack_b, product};
use serde::Serialize;

/// C [M, N] = A [M, K] · B [K, N], times in seconds.
#[derive(Clone, Debug, Serialize)]
pub struct ProductReport {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub threads: usize,
    pub kernel: &'static str,
    /// 2·M·N·K.
    pub flops: f64,
    /// Operations a second that it is held against.
    pub peak: f64,
    /// Packing A, alone and on one thread.
    pub pack_a: f64,
    /// Packing B, alone and on all threads.
    pub pack_b: f64,
    /// The product with B packed before: A is packed on the way, C written.
    pub product: f64,
    /// Packing B and the product.
    pub together: f64,
}

/// Times a product in the current pool, whose peak is `peak`.
pub fn measure(precision: Precision, m: usize, n: usize, k: usize) -> ProductReport {
    match precision {
        Precision::F32 => measure_in::<f32>(precision, m, n, k),
        Precision::Bf16 => measure_in::<Bf16>(precision, m, n, k),
    }
}

fn measure_in<E: Element>(precision: Precision, m: usize, n: usize, k: usize) -> ProductReport {
    let number = |i: usize| E::from_f32((i % 251) as f32 / 251.0 - 0.5);
    let a: Vec<E> = (0..m * k).map(number).collect();
    let b: Vec<E> = (0..k * n).map(number).collect();
    let (a, b) = (Matrix::dense(&a, m, k), Matrix::dense(&b, k, n));
    let micro = Micro::of(precision);
    let mut packed_a = vec![0; packed_a_len(micro, m, k)];
    let mut packed_b = vec![0; packed_b_len(micro, k, n)];
    let mut c = vec![0f32; m * n];
    let out = Out(c.as_mut_ptr());
    let multiply = |packed: &[u32]| {
        let b = PackedB::new(packed, micro, k, n);
        product(precision, a, b, &|mut tile: Tile| {
            for i in 0..tile.rows {
                let line = tile.line(i);
                let (length, source) = (line.len(), line.as_ptr());
                let at = (tile.row + i) * n + tile.column;
                // SAFETY: tiles lie inside C and never overlap.
                unsafe { std::ptr::copy_nonoverlapping(source, out.at(at), length) };
            }
        });
    };
    const SECONDS: f64 = 0.5;
    let mut peak = FlopPeak::measure();
    let pack_a = best(SECONDS, || pack_a(precision, a, &mut packed_a));
    let alone = best(SECONDS, || pack_b(precision, b, &mut packed_b, true));
    let product = best(SECONDS, || multiply(&packed_b));
    let together = best(SECONDS, || {
        pack_b(precision, b, &mut packed_b, true);
        multiply(&packed_b);
    });
    peak = peak.max(FlopPeak::measure());
    ProductReport {
        m,
        n,
        k,
        threads: rayon::current_num_threads(),
        kernel: micro.name,
        flops: 2.0 * m as f64 * n as f64 * k as f64,
        peak: peak.of(precision),
        pack_a,
        pack_b: alone,
        product,
        together,
    }
}

/// C, written by many threads.
#[derive(Clone, Copy)]
struct Out(*mut f32);

// SAFETY: tiles are disjoint, so no element has two writers.
unsafe impl Sync for Out {}
// SAFETY: as above.
unsafe impl Send for Out {}

impl Out {
    /// # Safety
    /// Element `i` lies inside C.
    unsafe fn at(&self, i: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(i) }
    }
}
