//! The flags of `lehr train` that ask for averages of the weights.

use super::lay;
use crate::average::AverageDtype;
use crate::error::{Error, Result};
use crate::train::recipe::Layers;
use toml::Value;

#[derive(clap::Args)]
pub struct AverageFlags {
    /// Averages the weights over windows of steps; each is a model in the run's averages/, and
    /// every evaluation evaluates the last one too
    #[arg(long)]
    weight_average: bool,
    /// Steps between the snapshots of a window, after steps 1, 1 + K, … of it; 5 if not given
    #[arg(long, value_name = "K")]
    wa_interval: Option<i64>,
    /// Steps a window, a multiple of --wa-interval; 500 if not given
    #[arg(long, value_name = "STEPS")]
    wa_horizon: Option<i64>,
    /// What a window is accumulated in; float32 if not given
    #[arg(long)]
    wa_dtype: Option<AverageDtype>,
    /// Evaluates the means of the last 1, 2, … windows and reports the best
    #[arg(long)]
    wa_sweep_horizon: bool,
    /// Windows that the sweep takes at most; 5 if not given
    #[arg(long, value_name = "WINDOWS")]
    max_num_wa_sweeps: Option<i64>,
    /// Keeps an exponential moving average of the weights, evaluated as windows are
    #[arg(long)]
    exponential_moving_average: bool,
    /// Steps between its updates; 10 if not given
    #[arg(long, value_name = "STEPS")]
    ema_interval: Option<i64>,
    /// What an update keeps of it; 0.95 if not given
    #[arg(long, value_name = "SHARE")]
    ema_decay: Option<f64>,
    /// It begins when warm-up ends, and not with the initial weights
    #[arg(long)]
    ema_after_warmup: bool,
    /// It starts from 0 and is divided by 1 - decay^n, and does not start from weights
    #[arg(long)]
    ema_bias_correction: bool,
}

impl AverageFlags {
    /// Lays the flags over.
    ///
    /// # Errors
    /// A flag of an average that neither the flags nor the recipe ask for.
    pub(super) fn lay(&self, layers: &mut Layers) -> Result<()> {
        let whole = |v: Option<i64>| v.map(Value::Integer);
        let on = |flag: bool| flag.then_some(Value::Boolean(true));
        let dtype = self.wa_dtype.map(|d| Value::String(d.name().to_string()));
        let windows = [
            ("--wa-interval", "interval", whole(self.wa_interval)),
            ("--wa-horizon", "horizon", whole(self.wa_horizon)),
            ("--wa-dtype", "dtype", dtype),
            ("--wa-sweep-horizon", "sweep", on(self.wa_sweep_horizon)),
            (
                "--max-num-wa-sweeps",
                "max_sweeps",
                whole(self.max_num_wa_sweeps),
            ),
        ];
        let moving = [
            ("--ema-interval", "ema_interval", whole(self.ema_interval)),
            ("--ema-decay", "ema_decay", self.ema_decay.map(Value::Float)),
            (
                "--ema-after-warmup",
                "ema_after_warmup",
                on(self.ema_after_warmup),
            ),
            (
                "--ema-bias-correction",
                "ema_bias_correction",
                on(self.ema_bias_correction),
            ),
        ];
        for (switch, key, given, flags) in [
            (
                "--weight-average",
                "weight_average",
                self.weight_average,
                &windows[..],
            ),
            (
                "--exponential-moving-average",
                "ema",
                self.exponential_moving_average,
                &moving[..],
            ),
        ] {
            lay(layers, switch, &format!("average.{key}"), on(given))?;
            let is_on = layers.get("average", key).and_then(Value::as_bool) == Some(true);
            for (flag, key, value) in flags {
                if value.is_some() && !is_on {
                    return Err(Error::input(format!(
                        "{flag} says how to average, and nothing asks for it; add {switch}"
                    )));
                }
                lay(layers, flag, &format!("average.{key}"), value.clone())?;
            }
        }
        Ok(())
    }
}
