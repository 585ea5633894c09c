//! Budgeted search: which models to train next, when a budget of FLOPs is all there is.
//!
//! Somebody wants the compute-optimal model of a *target* budget and may spend a fraction of it on small runs
//! (CS336's third assignment: 2·10¹⁸ FLOPs of runs for a model of 10¹⁹). A [`Query`] is one run, an [`Oracle`] answers
//! it with a loss, [`Session`] sees to it that nothing is paid twice and that the budget is never exceeded,
//! and [`search`](run::search) chooses, in three stages that can be explained:
//!
//! 1. [`lr`]: at a cheap budget, three sizes at a few learning rates each; a power law lr*(N) carries the best one over to all
//!    other sizes.
//! 2. [`plan`]: a coarse isoFLOP sweep, extended where the best size lies on the edge of what was tried.
//! 3. [`choose`]: L(N, D) is fitted to all answers and bootstrapped; the next run is the one whose answer would take most variance
//!    off the predicted optimum of the target, per FLOP. It ends when no run that can be paid for would tell enough.
//!
//! Every decision is a function of the answers alone, so a search that is started again goes on where it
//! ended, with all earlier answers free.

pub mod belief;
pub mod choose;
pub mod cross;
pub mod http;
pub mod ledger;
pub mod lr;
pub mod outcome;
pub mod plan;
pub mod run;
pub mod session;
pub mod simulate;
pub mod space;
pub mod table;
#[cfg(test)]
mod tests;

use crate::error::Result;
use serde::{Deserialize, Serialize};
pub use session::Session;
pub use space::Space;

/// One run that can be asked for. The names are those of the course's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Query {
    /// Width of the residual stream.
    pub d_model: u32,
    /// Blocks.
    pub num_layers: u32,
    pub num_heads: u32,
    /// Sequences a step.
    pub batch_size: u32,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Nominal training FLOPs.
    pub train_flops: f64,
}

impl Query {
    /// N = 12·layers·width²: matrices of the blocks of a plain transformer, no embeddings.
    pub fn block_params(&self) -> f64 {
        12.0 * f64::from(self.num_layers) * f64::from(self.d_model).powi(2)
    }

    /// Whether two queries are one run: numbers that went through text differ in their last digits.
    pub fn same(&self, other: &Query) -> bool {
        let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
        self.same_size(other)
            && self.num_heads == other.num_heads
            && self.batch_size == other.batch_size
            && close(self.learning_rate, other.learning_rate)
            && close(self.train_flops, other.train_flops)
    }

    /// Whether both train the same width and depth.
    pub fn same_size(&self, other: &Query) -> bool {
        (self.d_model, self.num_layers) == (other.d_model, other.num_layers)
    }
}

impl std::fmt::Display for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "d_model={} num_layers={} num_heads={} batch_size={} learning_rate={} train_flops={:e}",
            self.d_model,
            self.num_layers,
            self.num_heads,
            self.batch_size,
            self.learning_rate,
            self.train_flops
        )
    }
}

/// What a run ended at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// Final loss in nats a token; infinite where training diverged.
    pub loss: f64,
    /// FLOPs that the oracle says it has charged so far in all, where it says so.
    pub total_flops_used: Option<f64>,
}

/// What asking comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Answered(Answer),
    /// The oracle's own budget does not allow this run; its words. Nothing was charged.
    OverBudget(String),
    /// The oracle does not take this query; a sentence. Nothing was charged.
    Refused(String),
}

/// What an oracle knows before it is asked anything.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Runs that were paid for earlier, perhaps by somebody else, and their losses.
    pub answered: Vec<(Query, f64)>,
    pub total_flops_used: Option<f64>,
}

/// Something that trains a model, or knows what training it would give.
pub trait Oracle {
    /// Names this oracle in the file of answers, which serves no other.
    fn name(&self) -> String;

    /// What may be asked.
    fn space(&self) -> &Space;

    /// Parameters N of the model, as the law L(N, D) counts them.
    fn params(&self, query: &Query) -> f64 {
        query.block_params()
    }

    /// Training tokens D.
    fn tokens(&self, query: &Query) -> f64 {
        query.train_flops / (6.0 * self.params(query))
    }

    /// Whether the run has steps enough to tell anything.
    fn worth_asking(&self, _: &Query) -> bool {
        true
    }

    /// FLOPs that the answer is charged with.
    fn cost(&self, query: &Query) -> f64 {
        query.train_flops
    }

    /// The only queries that have an answer, where they can be counted.
    fn listed(&self) -> Option<&[Query]> {
        None
    }

    /// Called once, before anything is asked.
    fn history(&mut self) -> Result<History> {
        Ok(History::default())
    }

    /// Answers one query. Asked again with the same one (after a crash in between, say), it must not charge again.
    ///
    /// # Errors
    /// One sentence; whatever was answered before is safe.
    fn ask(&mut self, query: &Query) -> Result<Reply>;
}
