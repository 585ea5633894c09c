//! The next run: the one whose answer would tell most about the target, per FLOP.
//!
//! Draws of the law disagree about the optimum of the target, and about what each run would end at. Where
//! the two disagreements go together, the answer decides between the draws: an answer f with noise σ takes the share
//! cov(f, g)²/(var f + σ²)/var g off the variance of g, to first order (the gain of an ensemble Kalman filter; Evensen
//! 1994). g is ln N of the target's optimum and its loss, each counting half. Every run is charged a fixed part of the budget
//! besides its FLOPs, so that crumbs are not free, and small runs are trusted less, since no law holds over decades.

use super::belief::{Belief, Seen};
use super::run::Sought;
use super::{Query, Session};
use crate::scaling::law::ScalingLaw;

/// A run that could be next.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub query: Query,
    pub cost: f64,
    /// Share of the target's variance that its answer would take off.
    pub gain: f64,
}

/// Sizes around a budget's optimum, as e-foldings of N. Further out the law itself is less to be trusted: where the truth
/// is Kaplan's form, sizes up to e^±2.1 put the optimum off by half as much again.
const AROUND: [f64; 7] = [-1.4, -0.93, -0.47, 0.0, 0.47, 0.93, 1.4];
/// Runs cheaper than this share of the budget tell about another regime.
const CHEAPEST: f64 = 1e-2;
/// How far the loss of a run strays from the law for each e-folding between its FLOPs and the target's: relative.
const STRAY: f64 = 1e-3;
/// A fit is believed about where the optimum lies within this factor of the rule of thumb.
const BELIEVED: f64 = 10.0;

/// Every run that is worth a look, answered ones and ones that are too dear left out; best first by gain per FLOP and charge.
pub fn candidates(
    session: &Session,
    sought: &Sought,
    belief: &Belief,
    target: f64,
    charge: f64,
    purse: f64,
) -> Vec<Candidate> {
    let goals = goals(belief, target);
    let gain = |query: &Query| {
        let (n, d) = (session.oracle.params(query), session.oracle.tokens(query));
        let stray = STRAY * (target / query.train_flops).ln().max(0.0);
        let noise = belief.noise.hypot(stray);
        let values: Vec<f64> = belief.draws.iter().map(|l| l.loss(n, d).ln()).collect();
        0.5 * goals
            .iter()
            .map(|g| explained(&values, g, noise))
            .sum::<f64>()
    };
    let mut list: Vec<Candidate> = runs(session, sought, belief)
        .into_iter()
        .filter(|q| session.ledger.find(q).is_none() && session.oracle.worth_asking(q))
        .map(|query| Candidate {
            cost: session.oracle.cost(&query),
            gain: gain(&query),
            query,
        })
        .filter(|c| c.cost <= purse)
        .collect();
    let worth = |c: &Candidate| c.gain / (c.cost + charge);
    list.sort_by(|a, b| worth(b).total_cmp(&worth(a)));
    list
}

fn runs(session: &Session, sought: &Sought, belief: &Belief) -> Vec<Query> {
    if let Some(list) = session.oracle.listed() {
        return list.to_vec();
    }
    let mut runs: Vec<Query> = Vec::new();
    for level in &session.oracle.space().train_flops {
        if *level < CHEAPEST * session.budget {
            continue;
        }
        let rule = super::plan::guess(*level);
        let centre = belief
            .law
            .optimum(*level)
            .0
            .clamp(rule / BELIEVED, rule * BELIEVED);
        for step in AROUND {
            let Some(size) = session.size(centre * step.exp()) else {
                continue;
            };
            let query = sought.query(session, &size, *level);
            if !runs.iter().any(|q| q.same(&query)) {
                runs.push(query);
            }
        }
    }
    runs
}

/// What is to be told: ln N of the target's optimum, and the loss there, over the draws.
fn goals(belief: &Belief, target: f64) -> [Vec<f64>; 2] {
    let (n, d) = belief.law.optimum(target);
    let over = |of: &dyn Fn(&ScalingLaw) -> f64| belief.draws.iter().map(of).collect::<Vec<f64>>();
    let mut goals = [
        over(&|l| l.optimum(target).0.ln()),
        over(&|l| l.loss(n, d).ln()),
    ];
    goals.iter_mut().for_each(|g| tame(g));
    goals
}

/// Holds the outer tenths of the draws at their bounds: one wild draw must not decide alone.
fn tame(values: &mut [f64]) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (
        sorted[sorted.len() / 20],
        sorted[sorted.len() - 1 - sorted.len() / 20],
    );
    values.iter_mut().for_each(|v| *v = v.clamp(low, high));
}

/// cov(f, g)²/((var f + noise²)·var g).
fn explained(f: &[f64], g: &[f64], noise: f64) -> f64 {
    let k = f.len() as f64;
    let (mf, mg) = (f.iter().sum::<f64>() / k, g.iter().sum::<f64>() / k);
    let (mut vf, mut vg, mut cov) = (0.0, 0.0, 0.0);
    for (f, g) in f.iter().zip(g) {
        vf += (f - mf).powi(2) / k;
        vg += (g - mg).powi(2) / k;
        cov += (f - mf) * (g - mg) / k;
    }
    match vg > 0.0 {
        true => cov * cov / ((vf + noise * noise) * vg),
        false => 0.0,
    }
}

/// The answers that a fit may use: one a size and budget, and none far from its best learning rate.
/// Of several the nearest to that rate, unless another's loss is less by more than noise explains: the least of them all would be
/// too low by the noise.
pub fn seen(session: &Session, sought: &Sought) -> Vec<Seen> {
    /// A run at another rate than this factor of its best shows the rate more than the size.
    const FAR: f64 = 3.0;
    /// A loss below this share of another is less.
    const CLEARLY: f64 = 0.99;
    let off = |q: &Query| {
        let best = session
            .oracle
            .space()
            .clamp_lr(sought.lr.at(session.oracle.params(q)));
        let batch = f64::from(q.batch_size) / f64::from(sought.batch_size);
        (q.learning_rate / best).ln().abs() + 0.5 * batch.ln().abs()
    };
    let mut kept: Vec<(Query, f64)> = Vec::new();
    for entry in &session.ledger.entries {
        let Some(loss) = entry.loss else { continue };
        let query = entry.query;
        if off(&query) > FAR.ln() {
            continue;
        }
        let rival = kept
            .iter_mut()
            .find(|(q, _)| q.same_size(&query) && q.train_flops == query.train_flops);
        match rival {
            Some(rival) => {
                let (less, more) = (loss < CLEARLY * rival.1, rival.1 < CLEARLY * loss);
                if less || !more && off(&query) < off(&rival.0) {
                    *rival = (query, loss);
                }
            }
            None => kept.push((query, loss)),
        }
    }
    kept.iter()
        .map(|(q, loss)| Seen {
            params: session.oracle.params(q),
            tokens: session.oracle.tokens(q),
            loss: *loss,
        })
        .collect()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn an_answer_explains_what_it_goes_with() {
        let g: Vec<f64> = (0..100).map(|i| (i as f64 * 0.7).sin()).collect();
        let other: Vec<f64> = (0..100).map(|i| (i as f64 * 2.9 + 1.0).cos()).collect();
        assert!((explained(&g, &g, 0.0) - 1.0).abs() < 1e-12);
        assert!(explained(&other, &g, 0.0) < 0.1);
        assert!(explained(&g, &g, 1.0) < 0.5);
        assert_eq!(explained(&g, &[1.0; 100], 0.0), 0.0);
    }
}
