//! Fits of any law to any curves: objective, multi-start optimiser, uncertainty, held-out scores.
//!
//! [`fit()`] takes a law and curves and gives a [`Fit`]: parameters with 90 % intervals, how sure it is of them and in
//! plain sentences what the curves do not tell, and predictions with bands for any schedule. What is fitted, and
//! with which weights, is [`FitOptions`]; every default is free of the units of the LR and of the length of
//! runs. The rest of the room: [`score`] and its kin judge predictions; [`leave_one_out`] and [`choose`] judge laws on
//! the fitting curves alone; [`Average`] lets several laws predict together; [`bootstrap`] and [`profile`] are
//! slower, less presuming intervals; [`suggest`] names the extra run that would tell most; [`mod@file`] is `law.json`.
//!
//! Everything is deterministic: the same curves, options and seed give the same bits on any number of threads.
//!
//! # Example
//! ```
//! use lehr::curve::{LossCurve, LossKind, LrOrigin, Point, WarmUp};
//! use lehr::fit::{self, FitOptions};
//! use lehr::law::{self, Law, LawOptions};
//! use lehr::schedule::{Schedule, ScheduleSpec, Warmup};
//! use std::sync::Arc;
//!
//! // The LR of every step of two runs, from the schedule language.
//! let lrs = |shape: &str, steps: u64| -> Vec<f64> {
//!     let schedule = Schedule::new(&ScheduleSpec {
//!         shape: shape.parse().unwrap(),
//!         peak_lr: 1e-3,
//!         warmup: Warmup::Steps(200),
//!         steps,
//!         tokens_per_step: None,
//!         compat: false,
//!     })
//!     .unwrap();
//!     (0..steps).map(|step| schedule.lr(step)).collect()
//! };
//!
//! // A law with known parameters stands in for the model that was trained.
//! let law: Arc<dyn Law> = law::by_name("tissue", &LawOptions::default())?.into();
//! let truth = [2.5, 0.6, 0.45, 0.3, 400.0]; // L0, A, alpha, C, memory
//! let losses = |lrs: &[f64], steps: &[u64]| {
//!     let mut out = vec![0.0; steps.len()];
//!     law.evaluate(&fit::path(lrs, 200, steps), &truth, &mut out, None);
//!     out
//! };
//! let curve = |name: &str, lrs: Vec<f64>| {
//!     let steps: Vec<u64> = (250..=lrs.len() as u64).step_by(50).collect();
//!     // Logs are rounded to three digits.
//!     let points = steps.iter().zip(losses(&lrs, &steps));
//!     let points = points.map(|(&step, loss)| Point { step, loss: (loss * 1e3).round() / 1e3 });
//!     LossCurve {
//!         name: name.to_string(),
//!         points: points.collect(),
//!         lrs,
//!         lr_origin: LrOrigin::EveryStep,
//!         kind: LossKind::Validation,
//!         warmup: WarmUp::Known(200),
//!         parameters: None,
//!         notes: Vec::new(),
//!     }
//! };
//!
//! // Fit a constant and a cosine run ...
//! let constant = curve("constant", lrs("constant", 5000));
//! let cosine = curve("cosine", lrs("cosine:final=0.1", 5000));
//! let fit = fit::fit(&law, &[&constant, &cosine], &FitOptions::default())?;
//! let l0 = fit.param("L0").unwrap();
//! assert!(l0.low <= 2.5 && 2.5 <= l0.high);
//!
//! // ... and predict one that nobody ran: twice as long, with a cooldown at its end.
//! let wsd = lrs("wsd:fraction=0.2", 10_000);
//! let predicted = fit.predict_lrs(&wsd, 200, &[10_000])[0];
//! assert!((predicted - losses(&wsd, &[10_000])[0]).abs() < 2e-3);
//! # Ok::<(), lehr::Error>(())
//! ```

mod average;
mod bootstrap;
mod coordinates;
mod covariance;
mod data;
mod draws;
mod engine;
mod falls;
pub mod file;
mod fitted;
mod identify;
pub(crate) mod linalg;
mod multistart;
mod noise;
mod objective;
mod optimise;
mod options;
mod profile;
pub(crate) mod quantile;
pub(crate) mod random;
mod score;
mod select;
mod suggest;

#[cfg(test)]
mod tests;

pub use average::Average;
pub use bootstrap::{Bootstrap, bootstrap};
pub use data::{FitCurve, FitData, path, path_of};
pub use engine::{fit, law_for, refit};
pub use falls::steepest_fall;
pub(crate) use fitted::student;
pub use fitted::{Band, COVERAGE, Fit, FittedCurve, FittedLoss, FittedParameter};
pub use identify::undescribed;
pub use multistart::AGREEMENT;
pub use noise::Noise;
pub use options::{FitOptions, Residual, S1Offset, Weights};
pub use profile::{Profile, profile};
pub use score::{EMA_SPAN, Scores, noise_ceiling, score, score_paired, score_smoothed};
pub use select::{Choice, Fold, HeldOut, choose, leave_one_out};
pub use suggest::{Suggestion, suggest};
