//! The coarse sweep: a few sizes at a few budgets, extended where the best size is the first or the last.

use super::lr::{self, LrLaw, Probes};
use super::run::Sought;
use super::space::{self, Size};
use super::{Query, Session};
use crate::error::{Error, Result};

/// Sizes of a budget, and how far they lie apart.
const SIZES: usize = 5;
const STEP: f64 = 2.2;
/// Share of the budget that the dearest, and each cheaper, row of the sweep may take.
const TOP_SHARE: f64 = 0.15;
const LOWER_SHARE: f64 = 0.05;
/// Further sizes of a budget while the best lies on the edge.
const MOST_EXTENSIONS: usize = 3;
/// Tokens a parameter near the optimum (Hoffmann et al. 2022): where the sweep is centred.
const TOKENS_A_PARAMETER: f64 = 20.0;

/// N that a rule of thumb gives for a budget.
pub fn guess(flops: f64) -> f64 {
    (flops / (6.0 * TOKENS_A_PARAMETER)).sqrt()
}

/// `count` sizes around the rule of thumb's for a budget, each `step` times the one before; fewer where the bounds merge
/// them.
pub fn ladder(session: &Session, level: f64, step: f64, count: usize) -> Vec<Size> {
    let space = session.oracle.space();
    let allowed = session.sizes.iter().filter(|(s, _)| {
        let query = s.query(space.batch_size[0], space.learning_rate.1, level);
        session.oracle.worth_asking(&query)
    });
    let allowed: Vec<(Size, f64)> = allowed.copied().collect();
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for (_, n) in &allowed {
        (least, most) = (least.min(*n), most.max(*n));
    }
    // Where the ladder would stick out of the bounds it is moved, not cut.
    let half = step.powf((count - 1) as f64 / 2.0);
    let (low, high) = (least * half, most / half);
    let centre = match low <= high {
        true => guess(level).clamp(low, high),
        false => (least * most).sqrt(),
    };
    let mut sizes: Vec<Size> = Vec::new();
    for i in 0..count {
        let n = centre / half * step.powi(i as i32);
        sizes.extend(space::nearest(&allowed, n).filter(|s| !sizes.contains(s)));
    }
    sizes
}

/// What is asked before the first fit, at learning rates by the rule of thumb.
#[derive(Clone, Debug)]
pub struct FirstStage {
    pub probes: Probes,
    pub sweep: Vec<Query>,
    /// FLOPs of both, without what is answered already.
    pub cost: f64,
}

/// The first stage of a search.
///
/// # Errors
/// The budget does not pay for the cheapest run.
pub fn first(session: &Session) -> Result<FirstStage> {
    affordable(session)?;
    let probes = lr::plan(session);
    let sought = Sought::new(session);
    let sweep: Vec<Query> = levels(session)
        .into_iter()
        .flat_map(|level| row(session, &sought, level))
        .collect();
    let mut asked: Vec<Query> = Vec::new();
    for q in probes.queries.iter().chain(&sweep) {
        let new = !asked.iter().any(|a| a.same(q)) && session.ledger.find(q).is_none();
        asked.extend(new.then_some(*q));
    }
    let cost = asked.iter().map(|q| session.oracle.cost(q)).sum();
    Ok(FirstStage {
        probes,
        sweep,
        cost,
    })
}

/// # Errors
/// Nothing is answered yet, and the cheapest run costs more than there is.
pub fn affordable(session: &Session) -> Result<()> {
    let space = session.oracle.space();
    let cheapest = match session.oracle.listed() {
        Some(list) => list
            .iter()
            .map(|q| session.oracle.cost(q))
            .fold(f64::INFINITY, f64::min),
        None => {
            let small = session.sizes.iter().map(|(s, _)| {
                let q = s.query(
                    space.batch_size[0],
                    space.learning_rate.0,
                    space.train_flops[0],
                );
                session.oracle.cost(&q)
            });
            small.fold(f64::INFINITY, f64::min)
        }
    };
    if session.ledger.entries.is_empty() && cheapest > session.left() {
        let already = match session.spent() {
            0.0 => String::new(),
            spent => format!(", of which {spent:e} are spent"),
        };
        return Err(Error::input(format!(
            "--budget {:e}{already}: the cheapest run costs {cheapest:e} FLOPs; nothing was asked and nothing spent; give a larger budget, or smaller runs in --space",
            session.budget
        )));
    }
    Ok(())
}

/// Budgets of the sweep, ascending: that of the probes, the dearest that a share allows, and one between.
fn levels(session: &Session) -> Vec<f64> {
    let all = &session.oracle.space().train_flops;
    let within = |share: f64| {
        let most = share * session.budget / SIZES as f64;
        all.iter().rposition(|c| *c <= most)
    };
    let mut chosen: Vec<usize> = Vec::new();
    if let Some(top) = within(TOP_SHARE) {
        chosen.push(top);
        // A factor of 9 or 10 between rows: two steps of 1, 3, 6 at least.
        let lower = within(LOWER_SHARE).map(|i| i.min(top.saturating_sub(2)));
        chosen.extend(lower.filter(|i| *i < top));
        let probes = lr::plan(session).train_flops;
        let probes = probes.and_then(|p| all.iter().position(|c| *c == p));
        chosen.extend(probes.filter(|i| *i < top));
    }
    chosen.sort_unstable();
    chosen.dedup();
    chosen.into_iter().map(|i| all[i]).collect()
}

fn row(session: &Session, sought: &Sought, level: f64) -> Vec<Query> {
    ladder(session, level, STEP, SIZES)
        .iter()
        .filter_map(|size| session.exact(&sought.query(session, size, level)))
        .collect()
}

/// Asks the sweep, cheapest row first.
pub fn sweep(session: &mut Session, sought: &Sought) -> Result<()> {
    for level in levels(session) {
        let mut tried: Vec<(f64, f64)> = Vec::new();
        for query in row(session, sought, level) {
            if let Some(entry) = session.ask("sweep", &query)? {
                let n = session.oracle.params(&entry.query);
                tried.push((n, entry.loss.unwrap_or(f64::INFINITY)));
            }
        }
        for _ in 0..MOST_EXTENSIONS {
            tried.sort_by(|a, b| a.0.total_cmp(&b.0));
            let best = (0..tried.len()).min_by(|a, b| tried[*a].1.total_cmp(&tried[*b].1));
            let next = match best {
                Some(0) => tried[0].0 / STEP,
                Some(b) if b + 1 == tried.len() => tried[b].0 * STEP,
                _ => break,
            };
            let Some(size) = session.size(next) else {
                break;
            };
            let n = session.params(&size);
            if tried.iter().any(|t| (t.0 / n).ln().abs() < 0.3 * STEP.ln()) {
                break;
            }
            let query = sought.query(session, &size, level);
            if !session.oracle.worth_asking(&query) {
                break;
            }
            match session.ask("sweep, extended", &query)? {
                Some(entry) => tried.push((n, entry.loss.unwrap_or(f64::INFINITY))),
                None => break,
            }
        }
    }
    Ok(())
}

impl Sought {
    /// Nothing sought yet: the rule's learning rates, the first batch size.
    pub fn new(session: &Session) -> Sought {
        Sought {
            lr: LrLaw::RULE,
            batch_size: session.oracle.space().batch_size[0],
            notes: Vec::new(),
        }
    }

    /// The run of `size` at its learning rate.
    pub fn query(&self, session: &Session, size: &Size, level: f64) -> Query {
        let lr = session
            .oracle
            .space()
            .clamp_lr(self.lr.at(session.params(size)));
        size.query(self.batch_size, lr, level)
    }
}
