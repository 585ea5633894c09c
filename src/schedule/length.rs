//! A length or a moment of the run, in steps or as a fraction of the horizon.

use super::describe::count;
use super::keys::{check_ratio, ratio};
use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// `300` is steps; `0.05`, `5%` and `1.0` are fractions of the horizon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    Steps(u64),
    Fraction(f64),
}

impl Length {
    /// In steps of a run of `total`; `shape` and `key` name it in the error.
    pub(super) fn resolve(self, shape: &str, key: &str, total: u64) -> Result<u64> {
        match self {
            Length::Steps(steps) => Ok(steps),
            Length::Fraction(fraction) => {
                check_ratio(shape, key, fraction)?;
                Ok(steps_of(fraction, total))
            }
        }
    }
}

/// `fraction` of `total` steps, to the nearest step.
pub(super) fn steps_of(fraction: f64, total: u64) -> u64 {
    ((fraction * total as f64).round() as u64).min(total)
}

/// Resolves moments that must follow one another within a run of `total` steps. In a short run
/// fractions may round to one and the same step; none rounds to step 0.
pub(super) fn increasing(shape: &str, key: &str, at: &[Length], total: u64) -> Result<Vec<u64>> {
    let mut resolved: Vec<u64> = Vec::with_capacity(at.len());
    let mut before: Option<Length> = None;
    for &moment in at {
        let step = match moment {
            Length::Fraction(f) if f > 0.0 => moment.resolve(shape, key, total)?.max(1),
            _ => moment.resolve(shape, key, total)?,
        };
        if step == 0 || step > total {
            return Err(Error::input(format!(
                "{shape}: {key} names step {}, outside the run of {} steps",
                count(step),
                count(total)
            )));
        }
        if let (Some(before), Some(&step_before)) = (before, resolved.last()) {
            let rises = match (before, moment) {
                (Length::Fraction(a), Length::Fraction(b)) => a < b,
                _ => step_before < step,
            };
            if !rises {
                return Err(Error::input(format!(
                    "{shape}: {key} must rise, but {moment} follows {before} in a run of {} steps",
                    count(total)
                )));
            }
        }
        before = Some(moment);
        resolved.push(step);
    }
    Ok(resolved)
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Length::Steps(steps) => write!(f, "{steps}"),
            // Debug keeps the point of 1.0, which is what tells a fraction from steps.
            Length::Fraction(fraction) => write!(f, "{fraction:?}"),
        }
    }
}

impl FromStr for Length {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        if let Ok(steps) = text.replace('_', "").parse() {
            return Ok(Length::Steps(steps));
        }
        // What has neither point, exponent nor percent sign would be steps, and is not (`-3`).
        match ratio(text).filter(|_| text.contains(['.', 'e', 'E', '%'])) {
            Some(fraction) => Ok(Length::Fraction(fraction)),
            None => Err(Error::input(format!(
                "'{text}' is neither steps (300) nor a fraction of the run (0.05, 5%)"
            ))),
        }
    }
}
