//! `--stop-when`: a condition on the forecast.

use super::Fitted;
use crate::error::{Error, Result};
use std::str::FromStr;

/// Forecasts in a row that must agree, since each of many looks may err.
pub const LOOKS: u32 = 3;
/// Share of the run before which no forecast ends it.
pub const EARLIEST: f64 = 0.2;

/// `forecast>3.2`: ends a run that will not come below 3.2, as soon as the whole interval of the forecast lies above it;
/// `forecast<3.0`: one that surely will.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StopWhen {
    Above(f64),
    Below(f64),
}

impl StopWhen {
    /// Whether the forecast, its interval included, says so.
    pub fn holds(self, fitted: &Fitted) -> bool {
        fitted.describes
            && match self {
                StopWhen::Above(loss) => fitted.low > loss,
                StopWhen::Below(loss) => fitted.high < loss,
            }
    }
}

impl FromStr for StopWhen {
    type Err = Error;

    fn from_str(text: &str) -> Result<StopWhen> {
        let wrong = || {
            Error::input(format!(
                "law.stop_when is {text}; write forecast>LOSS or forecast<LOSS, such as forecast>3.2"
            ))
        };
        let rest = text
            .trim()
            .strip_prefix("forecast")
            .ok_or_else(wrong)?
            .trim();
        let (make, loss): (fn(f64) -> StopWhen, &str) = match rest.split_at_checked(1) {
            Some((">", loss)) => (StopWhen::Above, loss),
            Some(("<", loss)) => (StopWhen::Below, loss),
            _ => return Err(wrong()),
        };
        let loss: f64 = loss.trim().parse().map_err(|_| wrong())?;
        match loss.is_finite() && loss > 0.0 {
            true => Ok(make(loss)),
            false => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let parse = |text: &str| text.parse::<StopWhen>();
        assert_eq!(parse("forecast>3.2").unwrap(), StopWhen::Above(3.2));
        assert_eq!(parse(" forecast < 3 ").unwrap(), StopWhen::Below(3.0));
        for wrong in [
            "",
            "forecast",
            "forecast=3",
            "loss>3",
            "forecast>x",
            "forecast>-1",
            "forecast>inf",
        ] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.contains("such as forecast>3.2"), "{error}");
        }
    }
}
