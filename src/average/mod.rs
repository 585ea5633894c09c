//! Averages of weights along a run: most of what a cooldown would gain, without one.
//!
//! * [`Window`]: the plain mean over a window of W steps, one snapshot every K (stochastic weight
//!   averaging, Izmailov et al. 2018, as Hägele et al. 2024, §3.3, use it along a trunk).
//! * [`Ema`]: the exponential moving average (Polyak and Juditsky 1992), with or without the
//!   correction of its start's bias (Kingma and Ba 2015, §3).
//!
//! Both move one [`Accumulator`] towards the weights by a share, 1/n or 1 − decay. They see flat
//! weights and steps, never a trainer.

pub mod accumulator;
pub mod config;
pub mod ema;
pub mod file;
pub mod window;

pub use accumulator::Accumulator;
pub use config::{AverageConfig, AverageDtype};
pub use ema::Ema;
pub use window::Window;

use serde::{Deserialize, Serialize};

/// What a checkpoint says about the averages in it, besides their numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AverageState {
    /// The settings that they were made with.
    pub config: AverageConfig,
    /// Snapshots in the window in progress.
    pub snapshots: u64,
    /// The last step of every window finished so far, in order.
    pub windows: Vec<u64>,
    /// Absent before the moving average has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<EmaState>,
}

/// Where a moving average stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmaState {
    /// Completed steps when it began.
    pub from: u64,
    pub updates: u64,
}
