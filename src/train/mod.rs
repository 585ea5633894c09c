//! The trainer: the step, the loop, evaluation, metrics, checkpoints.
//!
//! A step's path: [`text::prefetch`](crate::text::prefetch) hands over a batch,
//! [`trainer::Trainer::step`] runs forward and backward over its micro-batches, clips, asks the
//! schedule for the learning rate and updates; [`run::Run`] writes the record down, evaluates,
//! samples and saves when each is due, and tells its [`run::Observer`] what happened.

pub mod average;
pub mod branch;
pub mod cached;
pub mod checkpoint;
pub mod config;
pub mod device;
pub mod evaluate;
pub mod export;
pub mod failures;
pub mod live;
pub mod load;
pub mod metrics;
pub mod probes;
pub mod recipe;
pub mod run;
mod run_file;
pub mod rundir;
pub mod setup;
pub mod speed;
pub mod start;
pub mod trainer;

pub use config::RunConfig;
pub use run::{Observer, Run, Summary};
