//! Exponentials and logarithms over slices, without branches, so that the compiler works on several at once.
//!
//! Both are within 2 ulp of the library's on the ranges that a fit visits, and give the same bits on every machine.

/// 1.5·2⁵²: adding and taking it off rounds to an integer, whose bits are then the low ones of the sum.
const ROUND: f64 = 6755399441055744.0;
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// Beyond e^±700 nothing fits anything; the bound keeps powers of two representable.
const LARGEST: f64 = 700.0;

/// eˣ, with x held within ±700.
#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    let x = if x < LARGEST { x } else { LARGEST };
    let x = if x > -LARGEST { x } else { -LARGEST };
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = (x - k * LN2_HIGH) - k * LN2_LOW;
    // Taylor's series on |r| ≤ ln 2 / 2: the first term left out is below 2⁻⁵⁶.
    let r2 = r * r;
    let low = 1.0 / 6.0 + r * (1.0 / 24.0);
    let mid = 1.0 / 120.0 + r * (1.0 / 720.0);
    let high = 1.0 / 5040.0 + r * (1.0 / 40320.0);
    let top = 1.0 / 362_880.0 + r * (1.0 / 3_628_800.0);
    let tip = 1.0 / 39_916_800.0 + r * (1.0 / 479_001_600.0) + r2 * (1.0 / 6_227_020_800.0);
    let tail = low + r2 * (mid + r2 * (high + r2 * (top + r2 * tip)));
    let power = 1.0 + (r + r2 * (0.5 + r * tail));
    let scale = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    power * scale
}

/// ln x of a positive, normal x.
#[inline(always)]
pub(super) fn ln(x: f64) -> f64 {
    // x = m·2ᵏ with m in [√½, √2).
    const HALF_ROOT: u64 = 0x3fe6_a09e_667f_3bcd;
    let above = x.to_bits().wrapping_sub(HALF_ROOT);
    // Shifted without sign: 2¹¹ more than k where k < 0; the bias makes it positive first.
    let biased = above.wrapping_add(1024 << 52) >> 52;
    let m = f64::from_bits((above & 0x000f_ffff_ffff_ffff).wrapping_add(HALF_ROOT));
    let k = f64::from_bits(biased | 0x4330_0000_0000_0000) - (4503599627370496.0 + 1024.0);
    // ln m = 2 artanh(s), s = (m−1)/(m+1), |s| < 0.1716; fdlibm's coefficients.
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w
        * (3.999_999_999_940_942e-1
            + w * (2.222_219_843_214_978_4e-1 + w * 1.531_383_769_920_937_3e-1));
    let odd = z
        * (6.666_666_666_666_735e-1
            + w * (2.857_142_874_366_239e-1
                + w * (1.818_357_216_161_805e-1 + w * 1.479_819_860_511_658_6e-1)));
    let half = 0.5 * f * f;
    k * LN2_HIGH - ((half - (s * (half + (even + odd)) + k * LN2_LOW)) - f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agree_with_the_library() {
        for i in -70_000..=70_000 {
            let x = i as f64 * 0.01 - 1e-3;
            let want = x.clamp(-700.0, 700.0).exp();
            assert!((exp(x) / want - 1.0).abs() < 5e-16, "{x}");
            let y = (i as f64 * 0.009).exp();
            let want = y.ln();
            assert!(
                (ln(y) - want).abs() <= 5e-16 * want.abs().max(1e-300),
                "{y}: {} {want}",
                ln(y)
            );
        }
        for y in [
            1.0,
            1.0 + 1e-9,
            1.0 - 1e-9,
            2f64.sqrt(),
            0.5f64.sqrt(),
            2.0,
            0.5,
        ] {
            assert!((ln(y) - y.ln()).abs() <= 4e-16 * y.ln().abs(), "{y}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f64::INFINITY), exp(700.0));
    }
}
