//! `[average]`: which averages of the weights a run keeps.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Settings of the averages. They change no bit of the training itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AverageConfig {
    /// Whether windows are averaged.
    pub weight_average: bool,
    /// Steps between the snapshots of a window; divides `horizon`.
    pub interval: u64,
    /// Steps a window.
    pub horizon: u64,
    /// What a window is accumulated in.
    pub dtype: AverageDtype,
    /// Whether the means of the last 1, 2, … windows are evaluated too.
    pub sweep: bool,
    /// The most windows that such a mean takes.
    pub max_sweeps: u64,
    /// Whether a moving average is kept.
    pub ema: bool,
    /// Steps between its updates.
    pub ema_interval: u64,
    /// What an update keeps of it.
    pub ema_decay: f64,
    /// Whether it begins when warm-up ends, or with the initial weights.
    pub ema_after_warmup: bool,
    /// Whether it starts from 0 and is divided by 1 − decayⁿ, or starts from the weights.
    pub ema_bias_correction: bool,
}

/// What a window's mean is accumulated in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AverageDtype {
    #[default]
    #[serde(alias = "f32")]
    #[value(alias = "f32")]
    Float32,
    #[serde(alias = "f64")]
    #[value(alias = "f64")]
    Float64,
}

impl AverageDtype {
    pub fn name(self) -> &'static str {
        match self {
            AverageDtype::Float32 => "float32",
            AverageDtype::Float64 => "float64",
        }
    }
}

impl Default for AverageConfig {
    fn default() -> Self {
        AverageConfig {
            weight_average: false,
            interval: 5,
            horizon: 500,
            dtype: AverageDtype::Float32,
            sweep: false,
            max_sweeps: 5,
            ema: false,
            ema_interval: 10,
            ema_decay: 0.95,
            ema_after_warmup: false,
            ema_bias_correction: false,
        }
    }
}

impl AverageConfig {
    /// Whether anything is averaged.
    pub fn is_on(&self) -> bool {
        self.weight_average || self.ema
    }

    /// # Errors
    /// A setting outside its range, by name.
    pub fn validate(&self) -> Result<()> {
        for (name, value) in [
            ("interval", self.interval),
            ("horizon", self.horizon),
            ("max_sweeps", self.max_sweeps),
            ("ema_interval", self.ema_interval),
        ] {
            if value == 0 {
                return Err(Error::input(format!(
                    "average.{name} is 0; it must be at least 1"
                )));
            }
        }
        if !self.horizon.is_multiple_of(self.interval) {
            let below = self.horizon - self.horizon % self.interval;
            return Err(Error::input(format!(
                "average.horizon is {}, no multiple of average.interval, {}, so windows would differ; {} is one (--wa-horizon)",
                self.horizon,
                self.interval,
                below.max(self.interval)
            )));
        }
        if !(self.ema_decay > 0.0 && self.ema_decay < 1.0) {
            return Err(Error::input(format!(
                "average.ema_decay is {}; it must lie between 0 and 1, such as 0.95 (--ema-decay)",
                self.ema_decay
            )));
        }
        if self.sweep && !self.weight_average {
            return Err(Error::input(
                "average.sweep takes means of windows, and none are kept; add --weight-average",
            ));
        }
        Ok(())
    }

    /// Whether windows made with `other` can be gone on with.
    pub fn same_windows(&self, other: &AverageConfig) -> bool {
        let key = |c: &AverageConfig| (c.weight_average, c.interval, c.horizon, c.dtype);
        key(self) == key(other)
    }

    /// Whether a moving average made with `other` can be gone on with.
    pub fn same_ema(&self, other: &AverageConfig) -> bool {
        let key = |c: &AverageConfig| {
            let start = (c.ema_after_warmup, c.ema_bias_correction);
            (c.ema, c.ema_interval, c.ema_decay, start)
        };
        key(self) == key(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let error = |change: fn(&mut AverageConfig)| {
            let mut config = AverageConfig::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        AverageConfig::default().validate().unwrap();
        assert!(error(|c| c.interval = 0).contains("average.interval is 0"));
        assert!(error(|c| c.horizon = 0).contains("average.horizon"));
        let uneven = error(|c| c.interval = 7);
        assert!(uneven.contains("497 is one"), "{uneven}");
        assert!(error(|c| c.interval = 501).contains("501 is one"));
        for decay in [0.0, 1.0, -0.5, f64::NAN] {
            let config = AverageConfig {
                ema_decay: decay,
                ..AverageConfig::default()
            };
            assert!(config.validate().is_err(), "{decay}");
        }
        assert!(error(|c| c.sweep = true).contains("--weight-average"));
    }
}
