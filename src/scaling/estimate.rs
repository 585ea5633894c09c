//! A number with its interval.

use serde::Serialize;

/// A value; the bounds are absent where nothing was resampled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    pub value: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

impl Estimate {
    /// Bounds that are not finite are none.
    pub fn new(value: f64, (low, high): (f64, f64)) -> Estimate {
        let told = low.is_finite() && high.is_finite();
        Estimate {
            value,
            low: told.then_some(low),
            high: told.then_some(high),
        }
    }
}
