//! Fits of any law to any curves: objective, multi-start optimiser, uncertainty, held-out scores.

mod coordinates;
mod data;
mod engine;
mod fitted;
mod identify;
mod linalg;
mod multistart;
mod noise;
mod objective;
mod optimise;
mod options;
mod random;
mod score;

pub use data::{FitCurve, FitData, path, path_of};
pub use engine::fit;
pub use fitted::{Band, COVERAGE, Fit, FittedCurve, FittedParameter};
pub use multistart::AGREEMENT;
pub use noise::Noise;
pub use options::{FitOptions, Residual, S1Offset, Weights};
pub use score::{EMA_SPAN, Scores, noise_ceiling, score, score_paired, score_smoothed};
