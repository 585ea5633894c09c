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

/// Resolves moments that must follow one another within a run of `total` steps.
pub(super) fn increasing(shape: &str, key: &str, at: &[Length], total: u64) -> Result<Vec<u64>> {
    if at.is_empty() {
        return Err(Error::input(format!(
            "{shape}: {key} needs at least one moment, such as {key}=0.8"
        )));
    }
    let mut resolved: Vec<u64> = Vec::with_capacity(at.len());
    for &moment in at {
        let step = moment.resolve(shape, key, total)?;
        if step == 0 || step > total {
            return Err(Error::input(format!(
                "{shape}: {key} names step {}, outside the run of {} steps",
                count(step),
                count(total)
            )));
        }
        if let Some(&before) = resolved.last()
            && step <= before
        {
            return Err(Error::input(format!(
                "{shape}: {key} must rise, but step {} follows step {} in a run of {} steps",
                count(step),
                count(before),
                count(total)
            )));
        }
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
        match ratio(text) {
            Some(fraction) => Ok(Length::Fraction(fraction)),
            None => Err(Error::input(format!(
                "'{text}' is neither steps (300) nor a fraction of the run (0.05, 5%)"
            ))),
        }
    }
}
