//! The search: probes, sweep, then the most telling run again and again.

use super::belief::Belief;
use super::choose::{self, Candidate};
use super::lr::{self, LrLaw};
use super::outcome::{self, Outcome};
use super::{Session, plan};
use crate::error::{Error, Result};

/// What is searched for, and when it is enough.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// FLOPs of the model that is wanted in the end.
    pub target: f64,
    /// Answers that may be paid for.
    pub most: usize,
    /// Ends when no run would take more than this share off the target's variance.
    pub enough: f64,
    /// Share of the draws within an interval.
    pub level: f64,
    pub seed: u64,
}

impl Options {
    pub fn of_target(target: f64) -> Options {
        Options {
            target,
            most: 60,
            enough: 0.01,
            level: 0.9,
            seed: 0,
        }
    }
}

/// What the first stage settles.
#[derive(Clone, Debug)]
pub struct Sought {
    pub lr: LrLaw,
    pub batch_size: u32,
    /// Sentences for the user.
    pub notes: Vec<String>,
}

/// Draws of the law that the choice rests on.
const DRAWS: usize = 400;

/// Runs the search to its end.
///
/// # Errors
/// A target that is none, a budget smaller than one run, whatever the oracle cannot mend.
pub fn search(session: &mut Session, options: &Options) -> Result<Outcome> {
    if !(options.target.is_finite() && options.target > 0.0) {
        return Err(Error::input(format!(
            "--target {}: it must be a number of FLOPs above 0",
            options.target
        )));
    }
    plan::affordable(session)?;
    session.most = options.most;
    let mut sought = Sought::new(session);
    lr::tune(session, &mut sought)?;
    plan::sweep(session, &sought)?;
    let (stopped, next) = adapt(session, &sought, options)?;
    outcome::conclude(session, sought, options, stopped, next)
}

/// Asks the most telling run until something ends it: why, and the run that would come next if somebody paid for it.
fn adapt(
    session: &mut Session,
    sought: &Sought,
    options: &Options,
) -> Result<(String, Option<Candidate>)> {
    let charge = session.budget / options.most.max(1) as f64;
    loop {
        let belief = Belief::from(&choose::seen(session, sought), DRAWS, options.seed);
        let rank = |session: &Session, purse: f64| {
            choose::candidates(session, sought, &belief, options.target, charge, purse)
        };
        let next = |session: &Session| {
            let best = rank(session, f64::INFINITY).into_iter().next();
            best.filter(|c| c.gain >= options.enough)
        };
        if let Some(words) = session.refusal.clone() {
            return Ok((format!("the oracle takes no more: {words}"), next(session)));
        }
        let paid = session.paid();
        if paid >= options.most {
            let why = format!("{paid} runs are paid for, the most that --most-runs allows");
            return Ok((why, next(session)));
        }
        let affordable = rank(session, session.left());
        let best = affordable.iter().find(|c| c.gain >= options.enough);
        let Some(best) = best else {
            let why = match (affordable.is_empty(), next(session)) {
                (true, _) => "no further run fits what is left of the budget".to_string(),
                (false, Some(_)) => format!(
                    "no run that what is left pays for would take {} % off the target's variance",
                    100.0 * options.enough
                ),
                (false, None) => format!(
                    "no run at all would take {} % off the target's variance",
                    100.0 * options.enough
                ),
            };
            return Ok((why, next(session)));
        };
        let query = best.query;
        if session.ask("most telling", &query)?.is_none() && session.refusal.is_none() {
            return Err(Error::input(format!(
                "the budget was to pay for {query} and does not: the oracle's charges changed"
            )));
        }
    }
}
