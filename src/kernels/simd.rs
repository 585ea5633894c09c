//! Loops that the compiler vectorises for the CPU it finds at run time.
//!
//! `simd!` compiles a function body once for AVX-512, once for AVX2 with FMA and once for the
//! target's baseline, and picks at run time. The body is plain Rust over slices; sums go through
//! `Lanes`, which fixes their order, so the vector width never shows in the result. Only
//! fused multiply-add does.

/// Independent partial sums of a reduction: enough for four 256-bit registers.
const LANES: usize = 32;

/// Defines a function whose body is compiled for several instruction sets. `$fma` names a
/// constant that is true where [`madd`] should fuse; type parameters may follow it:
/// `fn name<FMA; E: Element>(…)`.
macro_rules! simd {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident<$fma:ident $(; $($ty_arg:ident: $bound:path),+)?>($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name<$($($ty_arg: $bound),+)?>($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body<$($($ty_arg: $bound,)+)? const $fma: bool>($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512<$($($ty_arg: $bound),+)?>($($arg: $ty),*) $(-> $ret)? {
                    body::<$($($ty_arg,)+)? true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2<$($($ty_arg: $bound),+)?>($($arg: $ty),*) $(-> $ret)? {
                    body::<$($($ty_arg,)+)? true>($($arg),*)
                }
                use $crate::kernels::cpu::Level;
                // SAFETY: level() reports only what this CPU has.
                match $crate::kernels::cpu::level() {
                    Level::Avx512Bf16 | Level::Avx512 => return unsafe { avx512::<$($($ty_arg),+)?>($($arg),*) },
                    Level::Avx2 => return unsafe { avx2::<$($($ty_arg),+)?>($($arg),*) },
                    Level::Portable => {}
                }
            }
            body::<$($($ty_arg,)+)? { cfg!(target_arch = "aarch64") }>($($arg),*)
        }
    };
}
pub(crate) use simd;

/// `a·b + c`, with one rounding where the hardware can. (Without FMA, `f32::mul_add` would be a
/// call into the C library.)
#[inline(always)]
pub(crate) fn madd<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// eˣ to 2 units in the last place for −87.3 ≤ x ≤ 88.0; clamped to that range outside it, NaN
/// for NaN. Cephes' `expf` (Moshier 1989): eˣ = 2ⁿ·eʳ with |r| ≤ ln 2 / 2.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    // Adding 1.5·2²³ rounds to an integer that then stands in the low mantissa bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Comparisons, not min and max: those would turn NaN into a number.
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let rounded = madd::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = madd::<FMA>(n, -LN2_HIGH, x);
    let r = madd::<FMA>(n, -LN2_LOW, r);
    let mut p = 1.987_569_1e-4;
    p = madd::<FMA>(p, r, 1.398_199_9e-3);
    p = madd::<FMA>(p, r, 8.333_452e-3);
    p = madd::<FMA>(p, r, 4.166_579_6e-2);
    p = madd::<FMA>(p, r, 1.666_666_5e-1);
    p = madd::<FMA>(p, r, 0.5);
    let fraction = madd::<FMA>(p, r * r, r) + 1.0;
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    fraction * power
}

/// 1/(1 + e⁻ˣ).
#[inline(always)]
pub(crate) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

/// A sum of f32 in a fixed order: lane i takes every element whose index is i modulo the lane
/// count, and the lanes are added as a tree.
struct Lanes([f32; LANES]);

impl Lanes {
    #[inline(always)]
    fn total(mut self) -> f32 {
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                self.0[i] += self.0[i + width];
            }
            width /= 2;
        }
        self.0[0]
    }
}

/// Σᵢ f(aᵢ, bᵢ, …) over slices of one length, where `f` is cheap and inlines.
#[inline(always)]
pub(crate) fn sum<const K: usize>(slices: [&[f32]; K], f: impl Fn([f32; K]) -> f32) -> f32 {
    let mut lanes = Lanes([0.0; LANES]);
    let split = slices.map(|slice| slice.as_chunks::<LANES>());
    for chunk in 0..split[0].0.len() {
        let chunks: [&[f32; LANES]; K] = std::array::from_fn(|k| &split[k].0[chunk]);
        for (i, lane) in lanes.0.iter_mut().enumerate() {
            *lane += f(std::array::from_fn(|k| chunks[k][i]));
        }
    }
    for i in 0..split[0].1.len() {
        lanes.0[i] += f(std::array::from_fn(|k| split[k].1[i]));
    }
    lanes.total()
}

simd! {
    /// The largest element; NaN elements are passed over.
    pub(crate) fn max<_FMA>(x: &[f32]) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let (whole, rest) = x.as_chunks::<LANES>();
        for x in whole {
            for (lane, &x) in lanes.iter_mut().zip(x) {
                *lane = if x > *lane { x } else { *lane };
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(rest) {
            *lane = if x > *lane { x } else { *lane };
        }
        let mut highest = f32::NEG_INFINITY;
        for lane in lanes {
            highest = if lane > highest { lane } else { highest };
        }
        highest
    }
}

simd! {
    /// xᵢ ← e^(scale·xᵢ − shift); returns the sum of the results.
    pub(crate) fn exp_in_place<FMA>(x: &mut [f32], scale: f32, shift: f32) -> f32 {
        let mut lanes = Lanes([0.0; LANES]);
        let (whole, rest) = x.as_chunks_mut::<LANES>();
        for x in whole {
            for (lane, x) in lanes.0.iter_mut().zip(x) {
                *x = exp::<FMA>(madd::<FMA>(*x, scale, -shift));
                *lane += *x;
            }
        }
        for (lane, x) in lanes.0.iter_mut().zip(rest) {
            *x = exp::<FMA>(madd::<FMA>(*x, scale, -shift));
            *lane += *x;
        }
        lanes.total()
    }
}

simd! {
    /// xᵢ ← factor·xᵢ.
    pub(crate) fn scale_in_place<_FMA>(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    simd! {
        fn exp_all<FMA>(x: &[f32], y: &mut [f32]) {
            for (x, y) in x.iter().zip(y) {
                *y = exp::<FMA>(*x);
            }
        }
    }

    #[test]
    fn exp_is_accurate_to_two_units_in_the_last_place() {
        let x: Vec<f32> = (0..200_000).map(|i| -87.3 + i as f32 * 8.765e-4).collect();
        let mut y = vec![0.0; x.len()];
        exp_all(&x, &mut y);
        for (x, y) in x.iter().zip(&y) {
            let exact = f64::from(*x).exp();
            let relative = (f64::from(*y) - exact).abs() / exact;
            assert!(relative < 2.4e-7, "exp({x}) = {y}, off by {relative:e}");
        }
    }

    #[test]
    fn exp_keeps_nan_and_does_not_overflow() {
        assert!(exp::<false>(f32::NAN).is_nan());
        assert!(exp::<false>(f32::NEG_INFINITY) < 1.3e-38);
        assert!(exp::<false>(f32::INFINITY).is_finite());
        assert_eq!(exp::<false>(0.0), 1.0);
    }

    #[test]
    fn reductions_take_every_element_once() {
        for n in [0, 1, 31, 32, 33, 100] {
            let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let expected: f32 = x.iter().sum();
            assert_eq!(sum([&x], |[x]| x), expected);
            assert_eq!(sum([&x, &vec![2.0; n]], |[x, two]| x * two), 2.0 * expected);
            let highest = x.last().copied().unwrap_or(f32::NEG_INFINITY);
            assert_eq!(max(&x), highest);
        }
    }
}
