//! How long the linear warm-up is: in steps, in tokens, or as a fraction of the horizon.

use super::describe::count;
use super::length::{Length, steps_of};
use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Written `300` or `300 steps`; `0.05` or `5%` of the horizon; `2M tokens`
/// (K, M, B and T are powers of a thousand). `1` is one step, `1.0` the whole run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Warmup {
    Steps(u64),
    Tokens(u64),
    Fraction(f64),
}

impl Warmup {
    /// In steps. Tokens are rounded up to whole steps, a fraction to the nearest.
    /// `tokens_per_step` must not be 0.
    pub(super) fn resolve(self, steps: u64, tokens_per_step: Option<u64>) -> Result<u64> {
        match self {
            Warmup::Steps(steps) => Ok(steps),
            Warmup::Fraction(fraction) if (0.0..=1.0).contains(&fraction) => {
                Ok(steps_of(fraction, steps))
            }
            Warmup::Fraction(fraction) => Err(Error::input(format!(
                "a warm-up must be between 0 and 1 as a fraction of the run, not {fraction}"
            ))),
            Warmup::Tokens(tokens) => match tokens_per_step {
                None => Err(Error::input(format!(
                    "a warm-up of {} tokens needs the tokens of one step to become steps \
                     (--tokens-per-step)",
                    count(tokens)
                ))),
                Some(per_step) => Ok(tokens.div_ceil(per_step)),
            },
        }
    }
}

/// A count with an optional unit of K, M, B (or G) or T, powers of a thousand: `2.5M`.
fn scaled_count(text: &str) -> Option<u64> {
    let text = text.trim().replace('_', "");
    let (number, unit) = match text.char_indices().next_back()? {
        (at, 'k' | 'K') => (&text[..at], 1e3),
        (at, 'm' | 'M') => (&text[..at], 1e6),
        (at, 'b' | 'B' | 'g' | 'G') => (&text[..at], 1e9),
        (at, 't' | 'T') => (&text[..at], 1e12),
        _ => return text.parse().ok(),
    };
    let value = number.trim().parse::<f64>().ok()? * unit;
    (value >= 0.0 && value < u64::MAX as f64).then(|| value.round() as u64)
}

impl fmt::Display for Warmup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warmup::Steps(steps) => write!(f, "{steps}"),
            Warmup::Tokens(tokens) => write!(f, "{tokens} tokens"),
            Warmup::Fraction(fraction) => write!(f, "{fraction:?}"),
        }
    }
}

impl FromStr for Warmup {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::input(format!(
                "a warm-up is written 300 (steps), 0.05 or 5% (of the run) or '2M tokens', not '{text}'"
            ))
        };
        let lower = text.trim().to_ascii_lowercase();
        for unit in ["tokens", "token", "tok"] {
            if let Some(number) = lower.strip_suffix(unit) {
                return scaled_count(number).map(Warmup::Tokens).ok_or_else(bad);
            }
        }
        for unit in ["steps", "step"] {
            if let Some(number) = lower.strip_suffix(unit) {
                return scaled_count(number).map(Warmup::Steps).ok_or_else(bad);
            }
        }
        match lower.parse() {
            Ok(Length::Steps(steps)) => Ok(Warmup::Steps(steps)),
            Ok(Length::Fraction(fraction)) => Ok(Warmup::Fraction(fraction)),
            Err(_) => Err(bad()),
        }
    }
}

impl serde::Serialize for Warmup {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Warmup {
    /// From a string as above, an integer (steps) or a float (fraction).
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Written {
            Steps(u64),
            Fraction(f64),
            Text(String),
        }
        match Written::deserialize(from)? {
            Written::Steps(steps) => Ok(Warmup::Steps(steps)),
            Written::Fraction(fraction) => Ok(Warmup::Fraction(fraction)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let cases = [
            ("300", Warmup::Steps(300)),
            ("1_000", Warmup::Steps(1000)),
            ("300 steps", Warmup::Steps(300)),
            ("2k steps", Warmup::Steps(2000)),
            ("1", Warmup::Steps(1)),
            ("1.0", Warmup::Fraction(1.0)),
            ("0.05", Warmup::Fraction(0.05)),
            ("5%", Warmup::Fraction(0.05)),
            ("2M tokens", Warmup::Tokens(2_000_000)),
            ("2.5Mtok", Warmup::Tokens(2_500_000)),
            ("1B tokens", Warmup::Tokens(1_000_000_000)),
            ("512 tokens", Warmup::Tokens(512)),
        ];
        for (text, expected) in cases {
            let warmup: Warmup = text.parse().unwrap();
            assert_eq!(warmup, expected, "{text}");
            assert_eq!(warmup.to_string().parse::<Warmup>().unwrap(), expected);
        }
        for text in ["", "-3", "NaN", "x", "tokens", "-1M tokens", "3 miles", "é"] {
            assert!(text.parse::<Warmup>().is_err(), "{text}");
        }
    }

    #[test]
    fn resolves_to_steps() {
        let steps = |text: &str, per_step| {
            text.parse::<Warmup>()
                .unwrap()
                .resolve(1000, per_step)
                .map_err(|e| e.to_string())
        };
        assert_eq!(steps("12", None), Ok(12));
        assert_eq!(steps("0.05", None), Ok(50));
        assert_eq!(steps("4097 tokens", Some(4096)), Ok(2));
        assert_eq!(steps("4096 tokens", Some(4096)), Ok(1));
        assert!(
            steps("1M tokens", None)
                .unwrap_err()
                .contains("--tokens-per-step")
        );
        assert!(steps("1.5", None).unwrap_err().contains("1.5"));
        assert!(Warmup::Fraction(f64::NAN).resolve(1000, None).is_err());
    }
}
