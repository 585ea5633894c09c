//! Campaigns: short probes → a law → a schedule for the long run → the run, beside the schedules that people train with,
//! and predicted against actual.
//!
//! A [`spec::Spec`] is what is asked for, [`plan::Plan`] is that over a corpus, with [`probes`] and cost;
//! [`cells`] are the runs, each cached by the hash of what decides its bits; [`execute`] trains those that are not
//! finished, several at a time; [`stages`] fits, designs and predicts, each into a file of its own; [`results`] says
//! how it came out. Every stage is known from the disk: killed anywhere and called again, a campaign goes on.
//!
//! The probes are a trunk at constant LR and cooldowns from its checkpoints which end where it ends, so that all of them
//! saw the same batches in the same order: what they differ by is the LR's doing. One more probe, at half the peak, tells
//! the law how much of the progress is the LR's and how much the steps'. WSD baselines of one peak and seed
//! share a trunk too, since a cooldown from a constant trunk is the WSD run, bit for bit.

pub mod cells;
pub mod execute;
pub mod plan;
pub mod probes;
pub mod results;
pub mod spec;
pub mod stages;
#[cfg(test)]
mod tests;

pub use plan::Plan;
pub use spec::Spec;
