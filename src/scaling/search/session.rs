//! Asking under a budget: every answer is kept, none is paid for twice, and no question goes out that the budget
//! cannot pay for.

use super::ledger::{Entry, Ledger};
use super::space::{self, Size};
use super::{Oracle, Query, Reply};
use crate::error::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};

/// Told of every answer: why it was asked, the answer, whether it was there already, FLOPs spent in all.
pub type Tell<'a> = dyn FnMut(&str, &Entry, bool, f64) + 'a;

/// An oracle, its answers and the budget.
pub struct Session<'a> {
    pub oracle: &'a mut dyn Oracle,
    pub ledger: Ledger,
    /// FLOPs that may be spent in all.
    pub budget: f64,
    /// Sizes that may be asked for, with their parameters.
    pub sizes: Vec<(Size, f64)>,
    /// Why the oracle took no more, in its words.
    pub refusal: Option<String>,
    /// Answers that this session paid for.
    pub new: usize,
    /// Answers that may be paid for in all.
    pub most: usize,
    stop: &'a AtomicBool,
    tell: &'a mut Tell<'a>,
}

impl<'a> Session<'a> {
    /// Takes in what the oracle has answered earlier, and finishes the questions that earlier processes left open.
    pub fn start(
        oracle: &'a mut dyn Oracle,
        ledger: Ledger,
        budget: f64,
        stop: &'a AtomicBool,
        tell: &'a mut Tell<'a>,
    ) -> Result<Session<'a>> {
        let mut session = Session::look(oracle, ledger, budget, stop, tell)?;
        // Each may have been charged or not; where the budget or the space does not cover it, it stays counted and unasked.
        for open in session.ledger.open.clone() {
            if session.may_be_asked(&open) && session.spent() <= budget {
                session.put("unfinished", &open)?;
            }
        }
        Ok(session)
    }

    /// As [`Session::start`], without asking anything.
    pub fn look(
        oracle: &'a mut dyn Oracle,
        ledger: Ledger,
        budget: f64,
        stop: &'a AtomicBool,
        tell: &'a mut Tell<'a>,
    ) -> Result<Session<'a>> {
        if !(budget.is_finite() && budget > 0.0) {
            return Err(Error::input(format!(
                "--budget {budget}: it must be a number of FLOPs above 0"
            )));
        }
        let sizes = match oracle.listed() {
            Some(list) => listed_sizes(list),
            None => oracle.space().sizes()?,
        };
        let mut session = Session {
            oracle,
            ledger,
            budget,
            sizes: Vec::new(),
            refusal: None,
            new: 0,
            most: usize::MAX,
            stop,
            tell,
        };
        session.sizes = sizes.iter().map(|s| (*s, session.params(s))).collect();
        session.import()?;
        Ok(session)
    }

    fn import(&mut self) -> Result<()> {
        let history = self.oracle.history()?;
        for (query, loss) in history.answered {
            if self.ledger.find(&query).is_none() {
                self.ledger.answered(Entry {
                    query,
                    loss: loss.is_finite().then_some(loss),
                    cost: self.oracle.cost(&query),
                    total_flops_used: None,
                    // A question that a killed process put is this search's own.
                    imported: !self.ledger.open.iter().any(|q| q.same(&query)),
                })?;
            }
        }
        self.ledger.told = history.total_flops_used.unwrap_or(0.0);
        Ok(())
    }

    /// FLOPs spent in all, by this and earlier sessions.
    pub fn spent(&self) -> f64 {
        self.ledger.spent(|q| self.oracle.cost(q))
    }

    pub fn left(&self) -> f64 {
        (self.budget - self.spent()).max(0.0)
    }

    /// Whether the budget pays for `query`, or it is answered already.
    pub fn affords(&self, query: &Query) -> bool {
        self.ledger.find(query).is_some()
            || (self.refusal.is_none()
                && self.paid() < self.most
                && self.spent() + self.oracle.cost(query) <= self.budget)
    }

    /// Answers that this and earlier sessions paid for.
    pub fn paid(&self) -> usize {
        let entries = self.ledger.entries.iter();
        entries.filter(|e| !e.imported).count()
    }

    /// N of a size.
    pub fn params(&self, size: &Size) -> f64 {
        let space = self.oracle.space();
        let any = size.query(
            space.batch_size[0],
            space.learning_rate.0,
            space.train_flops[0],
        );
        self.oracle.params(&any)
    }

    /// The size nearest to `params` parameters.
    pub fn size(&self, params: f64) -> Option<Size> {
        space::nearest(&self.sizes, params)
    }

    /// Asks, unless the answer is here or the budget does not allow it (then `None`). A listed oracle is asked
    /// for its row that is nearest to `query`, if one is near.
    pub fn ask(&mut self, why: &str, query: &Query) -> Result<Option<Entry>> {
        let Some(query) = self.exact(query) else {
            return Ok(None);
        };
        if let Some(entry) = self.ledger.find(&query) {
            let entry = *entry;
            let spent = self.spent();
            (self.tell)(why, &entry, true, spent);
            return Ok(Some(entry));
        }
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted(
                "stopped; every answer is kept, and the same command goes on from here".into(),
            ));
        }
        if !self.affords(&query) {
            return Ok(None);
        }
        self.ledger.asking(&query)?;
        self.put(why, &query)
    }

    /// Puts a question that is in the ledger already.
    fn put(&mut self, why: &str, query: &Query) -> Result<Option<Entry>> {
        let answer = match self.oracle.ask(query)? {
            Reply::Answered(answer) => answer,
            Reply::OverBudget(words) => {
                self.ledger.refused(query)?;
                self.refusal = Some(words);
                return Ok(None);
            }
            Reply::Refused(words) => {
                self.ledger.refused(query)?;
                return Err(Error::input(words));
            }
        };
        let entry = Entry {
            query: *query,
            loss: answer.loss.is_finite().then_some(answer.loss),
            cost: self.oracle.cost(query),
            total_flops_used: answer.total_flops_used,
            imported: false,
        };
        self.ledger.answered(entry)?;
        self.new += 1;
        let spent = self.spent();
        (self.tell)(why, &entry, false, spent);
        Ok(Some(entry))
    }

    fn may_be_asked(&self, query: &Query) -> bool {
        match self.oracle.listed() {
            Some(list) => list.iter().any(|q| q.same(query)),
            None => self.oracle.space().holds(query),
        }
    }

    /// The question that will really be put.
    pub fn exact(&self, query: &Query) -> Option<Query> {
        let Some(list) = self.oracle.listed() else {
            return Some(*query);
        };
        /// How far a row may be from what was meant, as a ratio of sizes or learning rates.
        const NEAR: f64 = 1.7;
        let n = self.oracle.params(query);
        let off = |q: &Query| {
            let size = (self.oracle.params(q) / n).ln().abs();
            let lr = (q.learning_rate / query.learning_rate).ln().abs();
            let batch = (f64::from(q.batch_size) / f64::from(query.batch_size))
                .ln()
                .abs();
            (size, lr, size + lr + 0.1 * batch)
        };
        let near = NEAR.ln();
        list.iter()
            .filter(|q| (q.train_flops / query.train_flops - 1.0).abs() < 0.05)
            .filter(|q| off(q).0 <= near && off(q).1 <= near)
            .min_by(|a, b| off(a).2.total_cmp(&off(b).2))
            .copied()
    }
}

fn listed_sizes(list: &[Query]) -> Vec<Size> {
    let mut sizes: Vec<Size> = Vec::new();
    for q in list {
        let size = Size {
            d_model: q.d_model,
            num_layers: q.num_layers,
            num_heads: q.num_heads,
        };
        if !sizes.contains(&size) {
            sizes.push(size);
        }
    }
    sizes
}
