//! How numbers are stored: f32, or bf16 (the upper half of an f32).

use std::fmt::Debug;

/// A stored number; arithmetic happens in f32.
pub trait Element: Copy + Default + Debug + PartialEq + Send + Sync + 'static {
    /// Whether [`Element::from_f32`] rounds.
    const ROUNDS: bool;
    fn to_f32(self) -> f32;
    fn from_f32(x: f32) -> Self;
}

impl Element for f32 {
    const ROUNDS: bool = false;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from_f32(x: f32) -> f32 {
        x
    }
}

/// The upper 16 bits of an f32: its sign, its exponent and 7 bits of its mantissa.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
#[repr(transparent)]
pub struct Bf16(pub u16);

impl Element for Bf16 {
    const ROUNDS: bool = true;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    /// To the nearest, ties to even; NaN stays NaN. Free of branches, so that loops vectorise.
    #[inline(always)]
    fn from_f32(x: f32) -> Bf16 {
        let bits = x.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
        let quiet = bits | 0x0040_0000;
        let chosen = if x.is_nan() { quiet } else { rounded };
        Bf16((chosen >> 16) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_the_nearest_even() {
        for (bits, expected) in [
            (0x3f80_0000, 0x3f80), // 1
            (0x3f80_8000, 0x3f80), // a tie, to the even one below
            (0x3f81_8000, 0x3f82), // a tie, to the even one above
            (0x3f80_8001, 0x3f81),
            (0xbf80_7fff, 0xbf80),
            (0x7f7f_ffff, 0x7f80), // the largest f32 becomes infinite
            (0x7f80_0000, 0x7f80),
            (0x0000_0001, 0x0000),
        ] {
            assert_eq!(Bf16::from_f32(f32::from_bits(bits)).0, expected, "{bits:x}");
        }
        assert!(Bf16::from_f32(f32::NAN).to_f32().is_nan());
        assert!(
            Bf16::from_f32(f32::from_bits(0x7f80_0001))
                .to_f32()
                .is_nan()
        );
        for upper in 0..=u16::MAX {
            let x = Bf16(upper).to_f32();
            assert!(x.is_nan() || Bf16::from_f32(x).0 == upper);
        }
    }
}
