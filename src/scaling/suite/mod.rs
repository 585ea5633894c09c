//! Suites: model sizes × horizons for a fraction of the compute.
//!
//! A [`spec::Spec`] is what a TOML file asks for; [`suite::Suite`] is that, resolved against recipes and a corpus into
//! [`cell::Cell`]s, each of which is a run cached by the hash of its configuration; [`plan`] says what they
//! cost, [`execute`] runs them, [`failures`] keeps why one failed, [`results`] gathers what came out, [`missing`] says what
//! is lacking, [`slurm`] writes the same as jobs for a cluster.
//!
//! The protocol is the cooldown paper's (Hägele et al. 2024, arXiv 2405.18392): a trunk a size at a constant LR, half of
//! the cosine's, and cooldowns from its checkpoints that end at the horizons.

pub mod cell;
pub mod cost;
pub mod execute;
pub mod failures;
pub mod missing;
pub mod plan;
mod pool;
pub mod results;
mod section;
pub mod slurm;
pub mod spec;
#[allow(clippy::module_inception, reason = "the room and what lives in it")]
pub mod suite;

pub use suite::Suite;

#[cfg(test)]
mod tests;
