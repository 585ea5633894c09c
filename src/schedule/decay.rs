//! The ways down from the peak to its final ratio, used by the cooldowns of `wsd` and `wsd-s`.
//!
//! With progress `x` in \[0, 1\] and final ratio `f`, every one of them is `f + (1−f)·g(x)`
//! with `g(0) = 1` and `g(1) = 0`; only `exp` with `f > 0` is `f^x`, a straight line on a log scale.

use super::keys::nearest;
use crate::error::{Error, Result};
use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

/// A decay's form, `g(x)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// 1 − x
    Linear,
    /// (1 + cos πx)/2
    Cosine,
    /// The cosine mirrored at the line, 2(1−x) − (1 + cos πx)/2: steep at both ends, flat between.
    MirrorCosine,
    /// 1 − x²
    Square,
    /// 1 − √x
    Sqrt,
    /// `f^x` for `f > 0`. An exponential cannot reach 0, so for `f = 0` it is shifted and
    /// rescaled so that it does: (100^(1−x) − 1)/99, which is `0.01^x` with its end moved to 0.
    Exp,
    /// 1 − x^p for p > 0: `power:1` is `linear`, `power:2` is `square`, `power:0.5` is `sqrt`.
    Power(f64),
}

/// How many times smaller than the start the exponential with `f = 0` is before it is shifted to 0.
const EXP_RANGE: f64 = 100.0;

const NAMES: &[&str] = &[
    "linear",
    "cosine",
    "mirror-cosine",
    "square",
    "sqrt",
    "exp",
    "power:P",
];

impl Decay {
    /// The multiple of the peak at progress `x`, going from 1 at 0 to `final_ratio` at 1.
    pub fn between(self, final_ratio: f64, x: f64) -> f64 {
        if self == Decay::Exp && final_ratio > 0.0 {
            return final_ratio.powf(x);
        }
        final_ratio + (1.0 - final_ratio) * self.unit(x).clamp(0.0, 1.0)
    }

    fn unit(self, x: f64) -> f64 {
        let cosine = || 0.5 * (1.0 + (PI * x).cos());
        match self {
            Decay::Linear => 1.0 - x,
            Decay::Cosine => cosine(),
            Decay::MirrorCosine => 2.0 * (1.0 - x) - cosine(),
            Decay::Square => 1.0 - x * x,
            Decay::Sqrt => 1.0 - x.sqrt(),
            Decay::Exp => (EXP_RANGE.powf(1.0 - x) - 1.0) / (EXP_RANGE - 1.0),
            Decay::Power(p) => 1.0 - x.powf(p),
        }
    }

    pub(super) fn check(self, shape: &str) -> Result<()> {
        match self {
            Decay::Power(p) if !(p.is_finite() && p > 0.0) => Err(Error::input(format!(
                "{shape}: decay=power:P needs a positive P, not {p}"
            ))),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Decay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Decay::Linear => "linear",
            Decay::Cosine => "cosine",
            Decay::MirrorCosine => "mirror-cosine",
            Decay::Square => "square",
            Decay::Sqrt => "sqrt",
            Decay::Exp => "exp",
            Decay::Power(p) => return write!(f, "power:{p}"),
        })
    }
}

impl FromStr for Decay {
    type Err = Error;

    /// The names above, and those of schedules-and-scaling (`miror_cosine`); `1-sqrt` is `sqrt`.
    fn from_str(text: &str) -> Result<Self> {
        let name = text.trim().to_ascii_lowercase().replace('_', "-");
        Ok(match name.as_str() {
            "linear" => Decay::Linear,
            "cosine" | "cos" => Decay::Cosine,
            "mirror-cosine" | "miror-cosine" => Decay::MirrorCosine,
            "square" | "1-square" => Decay::Square,
            "sqrt" | "1-sqrt" => Decay::Sqrt,
            "exp" | "exponential" => Decay::Exp,
            other => {
                let Some(power) = other.strip_prefix("power:") else {
                    return Err(Error::input(format!(
                        "unknown decay '{text}'{}; known are {}",
                        nearest(&name, NAMES),
                        NAMES.join(", ")
                    )));
                };
                let p = power.parse().map_err(|_| {
                    Error::input(format!("decay=power:P needs a number for P, not '{power}'"))
                })?;
                Decay::Power(p)
            }
        })
    }
}

impl serde::Serialize for Decay {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Decay {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Decay; 8] = [
        Decay::Linear,
        Decay::Cosine,
        Decay::MirrorCosine,
        Decay::Square,
        Decay::Sqrt,
        Decay::Exp,
        Decay::Power(0.3),
        Decay::Power(4.0),
    ];

    #[test]
    fn runs_from_one_to_the_final_ratio_and_never_up() {
        for decay in ALL {
            for f in [0.0, 0.1, 1.0] {
                assert_eq!(decay.between(f, 0.0), 1.0, "{decay} f={f}");
                assert!((decay.between(f, 1.0) - f).abs() < 1e-15, "{decay} f={f}");
                let values: Vec<f64> = (0..=1000)
                    .map(|i| decay.between(f, i as f64 / 1000.0))
                    .collect();
                for pair in values.windows(2) {
                    assert!(pair[1] <= pair[0] + 1e-15, "{decay} f={f}: {pair:?}");
                }
            }
        }
    }

    #[test]
    fn halfway_values() {
        let half = |d: Decay, f| d.between(f, 0.5);
        assert_eq!(half(Decay::Linear, 0.0), 0.5);
        assert!((half(Decay::Cosine, 0.0) - 0.5).abs() < 1e-15);
        assert!((half(Decay::MirrorCosine, 0.0) - 0.5).abs() < 1e-15);
        assert_eq!(half(Decay::Square, 0.0), 0.75);
        assert!((half(Decay::Sqrt, 0.0) - (1.0 - 0.5f64.sqrt())).abs() < 1e-15);
        assert!((half(Decay::Exp, 0.01) - 0.1).abs() < 1e-15);
        assert!((half(Decay::Exp, 0.0) - 9.0 / 99.0).abs() < 1e-15);
    }

    #[test]
    fn names_of_other_codebases() {
        assert_eq!(
            "miror_cosine".parse::<Decay>().unwrap(),
            Decay::MirrorCosine
        );
        assert_eq!("1-sqrt".parse::<Decay>().unwrap(), Decay::Sqrt);
        assert_eq!("power:1.5".parse::<Decay>().unwrap(), Decay::Power(1.5));
    }

    #[test]
    fn unknown_name_suggests_the_nearest() {
        let error = "sqr".parse::<Decay>().unwrap_err().to_string();
        assert!(error.contains("did you mean 'sqrt'"), "{error}");
        assert!("power:x".parse::<Decay>().is_err());
    }
}
