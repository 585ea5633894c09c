//! Peaks of the machine: arithmetic out of registers, and memory far larger than any cache.
//!
//! Both by loops that do nothing else, on every thread of the pool that they are called in.

use super::best;
use super::machine::last_level_cache;
use super::process::thread_seconds;
use crate::kernels::gemm::Precision;
use crate::kernels::simd::{simd, sum};
use rayon::prelude::*;
use serde::Serialize;
use std::hint::black_box;
use std::time::Instant;

/// Operations a second, a fused multiply-add counted as two.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FlopPeak {
    pub f32: f64,
    /// `None` where the CPU has no instruction that multiplies bf16.
    pub bf16: Option<f64>,
}

impl FlopPeak {
    /// Takes about half a second.
    pub fn measure() -> FlopPeak {
        FlopPeak {
            f32: measure(f32_loop()),
            bf16: bf16_loop().map(measure),
        }
    }

    /// What products in a precision are held against: bf16 that is multiplied as f32 against f32.
    pub fn of(&self, precision: Precision) -> f64 {
        match precision {
            Precision::F32 => self.f32,
            Precision::Bf16 => self.bf16.unwrap_or(self.f32),
        }
    }

    /// The higher of two measurements: nothing but a disturbance makes one lower.
    pub fn max(self, other: FlopPeak) -> FlopPeak {
        FlopPeak {
            f32: self.f32.max(other.f32),
            bf16: self.bf16.zip(other.bf16).map(|(a, b)| a.max(b)),
        }
    }
}

/// A loop of independent multiply-adds.
struct Loop {
    /// Operations of one round.
    flops: f64,
    /// Runs so many rounds. The result must be looked at, lest the loop is optimised away.
    run: fn(usize) -> f32,
}

/// The sum over all threads, which run together, of the best that each reached by its own
/// processor time: another program on the machine does not lower it.
fn measure(kernel: Loop) -> f64 {
    const RUNS: usize = 12;
    let run = |rounds: usize| {
        let start = Instant::now();
        let clock = || thread_seconds().unwrap_or_else(|| start.elapsed().as_secs_f64());
        let began = clock();
        black_box((kernel.run)(black_box(rounds)));
        clock() - began
    };
    let of_threads = rayon::broadcast(|_| {
        let mut rounds = 1 << 12;
        while run(rounds) < 0.01 {
            rounds *= 2;
        }
        let shortest = (0..RUNS).map(|_| run(rounds)).fold(f64::INFINITY, f64::min);
        rounds as f64 * kernel.flops / shortest
    });
    of_threads.iter().sum()
}

/// A different number for each chain of multiply-adds, so that none is computed for another.
fn start(i: usize) -> f32 {
    black_box(0.5 + i as f32 / 64.0)
}

/// The widest f32 multiply-add of this CPU.
fn f32_loop() -> Loop {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return Loop {
                flops: (x86::CHAINS_512 * 16 * 2) as f64,
                // SAFETY: the CPU has AVX-512F.
                run: |rounds| unsafe { x86::avx512_f32(rounds) },
            };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Loop {
                flops: (x86::CHAINS_256 * 8 * 2) as f64,
                // SAFETY: the CPU has AVX2 and FMA.
                run: |rounds| unsafe { x86::avx2_f32(rounds) },
            };
        }
    }
    Loop {
        flops: (CHAINS_BASELINE * 4 * 2) as f64,
        run: baseline_f32,
    }
}

/// bf16 pairs into f32 sums, where the products' kernels may use an instruction for them: otherwise
/// bf16 is multiplied as f32, whose peak then counts.
fn bf16_loop() -> Option<Loop> {
    #[cfg(target_arch = "x86_64")]
    if crate::kernels::gemm::has_bf16() {
        return Some(Loop {
            flops: (x86::CHAINS_512 * 32 * 2) as f64,
            // SAFETY: the CPU has AVX512-BF16, or the kernels would not use it.
            run: |rounds| unsafe { x86::avx512_bf16(rounds) },
        });
    }
    None
}

/// Vectors of four, of which every target has at least eight registers.
const CHAINS_BASELINE: usize = 8;

fn baseline_f32(rounds: usize) -> f32 {
    let mut chains: [[f32; 4]; CHAINS_BASELINE] = std::array::from_fn(|i| [start(i); 4]);
    let (b, c) = (black_box(0.999f32), black_box(0.001f32));
    for _ in 0..rounds {
        for x in chains.iter_mut().flatten() {
            // Without a fused instruction `mul_add` would call into the C library.
            *x = if cfg!(target_arch = "aarch64") {
                x.mul_add(b, c)
            } else {
                *x * b + c
            };
        }
    }
    chains.iter().flatten().sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::start;
    use std::arch::x86_64::*;
    use std::hint::black_box;

    /// Two units with a latency of 4 or 5 cycles want 8 to 10 chains; 16 registers hold 12 of
    /// them, and two constants.
    pub const CHAINS_256: usize = 12;
    /// 32 registers.
    pub const CHAINS_512: usize = 24;

    #[target_feature(enable = "avx2,fma")]
    pub fn avx2_f32(rounds: usize) -> f32 {
        let mut chains: [__m256; CHAINS_256] = std::array::from_fn(|i| _mm256_set1_ps(start(i)));
        let (b, c) = (
            _mm256_set1_ps(black_box(0.999)),
            _mm256_set1_ps(black_box(0.001)),
        );
        for _ in 0..rounds {
            for x in &mut chains {
                *x = _mm256_fmadd_ps(*x, b, c);
            }
        }
        chains.iter().map(|&x| _mm256_cvtss_f32(x)).sum()
    }

    #[target_feature(enable = "avx512f")]
    pub fn avx512_f32(rounds: usize) -> f32 {
        let mut chains: [__m512; CHAINS_512] = std::array::from_fn(|i| _mm512_set1_ps(start(i)));
        let (b, c) = (
            _mm512_set1_ps(black_box(0.999)),
            _mm512_set1_ps(black_box(0.001)),
        );
        for _ in 0..rounds {
            for x in &mut chains {
                *x = _mm512_fmadd_ps(*x, b, c);
            }
        }
        chains.iter().map(|&x| _mm512_cvtss_f32(x)).sum()
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub fn avx512_bf16(rounds: usize) -> f32 {
        let mut chains: [__m512; CHAINS_512] = std::array::from_fn(|i| _mm512_set1_ps(start(i)));
        // Pairs of small numbers: the sums stay finite.
        let [a, b] = [1e-3f32, -1e-3].map(|x| {
            let wide = _mm512_set1_ps(black_box(x));
            _mm512_cvtne2ps_pbh(wide, wide)
        });
        for _ in 0..rounds {
            for x in &mut chains {
                *x = _mm512_dpbf16_ps(*x, a, b);
            }
        }
        chains.iter().map(|&x| _mm512_cvtss_f32(x)).sum()
    }
}

/// Bytes a second, read and written ones counted as the program names them (not the lines that a
/// store makes the cache read first), as STREAM counts (McCalpin 1995).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bandwidth {
    /// Σ aᵢ: 4 bytes an element.
    pub read: f64,
    /// bᵢ = aᵢ: 8 bytes.
    pub copy: f64,
    /// cᵢ = aᵢ + s·bᵢ: 12 bytes.
    pub triad: f64,
}

simd! {
    fn sum_of<_FMA>(a: &[f32]) -> f32 {
        sum([a], |[a]| a)
    }
}

simd! {
    fn triad<FMA>(a: &[f32], b: &[f32], c: &mut [f32]) {
        for ((&a, &b), c) in a.iter().zip(b).zip(c) {
            *c = crate::kernels::simd::madd::<FMA>(3.0, b, a);
        }
    }
}

impl Bandwidth {
    /// Takes about two seconds, and memory of 12 times the last-level cache, given back.
    pub fn measure() -> Bandwidth {
        /// Bytes that one task goes through: fewer tasks than would cost time, many a thread.
        const PART: usize = 1 << 20;
        let cache = last_level_cache().unwrap_or(32 << 20);
        let bytes = (4 * cache).clamp(64 << 20, 512 << 20) / PART * PART;
        let [mut a, mut b, mut c] = std::array::from_fn(|_| Pages::new(bytes));
        let n = PART / 4;
        for (i, pages) in [&mut a, &mut b, &mut c].into_iter().enumerate() {
            let fill = |part: &mut [f32]| part.fill(1.0 + i as f32);
            pages.numbers().par_chunks_mut(n).for_each(fill);
        }
        let (a, b, c) = (a.numbers(), b.numbers(), c.numbers());
        let rate = |bytes: usize, seconds: f64| bytes as f64 / seconds;
        let read = best(0.4, || {
            let total: f32 = a.par_chunks(n).map(sum_of).sum();
            black_box(total);
        });
        let copy = best(0.4, || {
            let parts = b.par_chunks_mut(n).zip(a.par_chunks(n));
            parts.for_each(|(b, a)| b.copy_from_slice(a));
        });
        let triad = best(0.4, || {
            let parts = a.par_chunks(n).zip(b.par_chunks(n));
            let parts = parts.zip(c.par_chunks_mut(n));
            parts.for_each(|((a, b), c)| triad(a, b, c));
        });
        Bandwidth {
            read: rate(bytes, read),
            copy: rate(2 * bytes, copy),
            triad: rate(3 * bytes, triad),
        }
    }

    /// The highest of the three.
    pub fn best(&self) -> f64 {
        self.read.max(self.copy).max(self.triad)
    }
}

/// Memory straight from the system, which gets it back: the allocator would keep it.
struct Pages(memmap2::MmapMut);

impl Pages {
    fn new(bytes: usize) -> Pages {
        Pages(memmap2::MmapMut::map_anon(bytes).expect("memory for the measurement"))
    }

    fn numbers(&mut self) -> &mut [f32] {
        // SAFETY: every bit pattern is an f32, and pages are aligned.
        let (before, numbers, after) = unsafe { self.0.align_to_mut::<f32>() };
        assert!(before.is_empty() && after.is_empty());
        numbers
    }
}
