//! Schedules that a law designs: the shape, and the length, of least predicted loss within limits; and what convex
//! theory says of any schedule ([`bound`]).
//!
//! A [`Problem`] is a law, a run and its limits; what has been trained already is kept to the bit. [`best`] minimises
//! the predicted final loss over schedules that never rise, as straight lines between knots, by the law's
//! analytic gradient; [`baselines`] are what people train with, tuned under the same law; [`horizon`] finds the
//! length; [`trust`] says how far to believe any of it; [`Judged`] is all of that in one; [`mod@file`] writes a table that
//! the trainer reads.

pub mod bound;
mod families;
pub mod file;
mod free;
pub mod horizon;
mod judged;
mod knots;
mod minimise;
mod problem;
#[cfg(test)]
mod tests;
pub mod trust;

pub use families::{Candidate, Family, baselines, power, tuned_wsd};
pub use free::{Designed, FEW_KNOTS, KNOTS, best, check};
pub use judged::{Among, Judged};
pub use problem::{Limits, MOST_STEPS, Model, Problem};
