//! Fits of any law to any curves: objective, multi-start optimiser, uncertainty, held-out scores.

mod average;
mod bootstrap;
mod coordinates;
mod data;
mod engine;
pub mod file;
mod fitted;
mod identify;
mod linalg;
mod multistart;
mod noise;
mod objective;
mod optimise;
mod options;
mod profile;
mod random;
mod score;
mod select;

pub use average::Average;
pub use bootstrap::{Bootstrap, bootstrap};
pub use data::{FitCurve, FitData, path, path_of};
pub use engine::fit;
pub use fitted::{Band, COVERAGE, Fit, FittedCurve, FittedParameter};
pub use multistart::AGREEMENT;
pub use noise::Noise;
pub use options::{FitOptions, Residual, S1Offset, Weights};
pub use profile::{Profile, profile};
pub use score::{EMA_SPAN, Scores, noise_ceiling, score, score_paired, score_smoothed};
pub use select::{Choice, Fold, HeldOut, choose, leave_one_out};
