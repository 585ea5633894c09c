//! What a search comes to: the optimum of the target, a model to train there, and how sure that is.

use super::belief::Belief;
use super::choose::{self, Candidate};
use super::cross::{self, Check};
use super::lr::LrLaw;
use super::run::{Options, Sought};
use super::space::{self, Size};
use super::{Query, Session};
use crate::error::Result;
use crate::scaling::law::ScalingLaw;
use serde::Serialize;

/// A number and the bounds that hold the asked share of the draws.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// The model to train with the target's FLOPs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Architecture {
    #[serde(flatten)]
    pub size: Size,
    pub batch_size: u32,
    pub learning_rate: f64,
    /// N as the oracle counts parameters.
    pub params: f64,
    pub tokens: f64,
    /// Predicted, in nats a token.
    pub loss: Estimate,
}

/// What the answers say of the target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forecast {
    pub law: ScalingLaw,
    /// Answers that the law was fitted to.
    pub points: usize,
    /// Standard deviation of one answer about the law, in nats.
    pub noise: f64,
    pub n_opt: Estimate,
    pub d_opt: Estimate,
    /// Predicted at the optimum.
    pub loss: Estimate,
    pub architecture: Architecture,
    /// What other methods make of the same answers.
    pub checks: Vec<Check>,
}

/// A run that would tell more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Next {
    #[serde(flatten)]
    pub query: Query,
    /// FLOPs.
    pub cost: f64,
    /// Share of the target's variance that it would take off.
    pub gain: f64,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub target: f64,
    pub budget: f64,
    /// FLOPs, by this and earlier searches on the same answers.
    pub spent: f64,
    pub left: f64,
    /// Answers paid for, and answers that came with the oracle.
    pub paid: usize,
    pub imported: usize,
    /// Answers that this search paid for; the others were kept from earlier ones.
    pub new: usize,
    pub lr: LrLaw,
    pub batch_size: u32,
    /// Absent while too few answers are there.
    pub forecast: Option<Forecast>,
    pub stopped: String,
    pub next: Option<Next>,
    pub notes: Vec<String>,
}

/// Fewer answers than the law has constants, and one more, predict nothing.
const FEWEST: usize = crate::scaling::parametric::FEWEST_POINTS;
const DRAWS: usize = 2000;

/// Draws the conclusions.
pub fn conclude(
    session: &Session,
    sought: Sought,
    options: &Options,
    stopped: String,
    next: Option<Candidate>,
) -> Result<Outcome> {
    let mut notes = sought.notes.clone();
    let seen = choose::seen(session, &sought);
    let several = |of: fn(&super::belief::Seen) -> f64| {
        seen.iter()
            .any(|s| (of(s) / of(&seen[0]) - 1.0).abs() > 0.05)
    };
    let forecast = match seen.len() >= FEWEST && several(|s| s.params) && several(|s| s.tokens) {
        true => forecast(session, &sought, options, &seen, &mut notes),
        false => {
            notes.push(format!(
                "{} usable answers of {} sizes cannot tell the five constants of L(N, D): no forecast",
                seen.len(),
                if several(|s| s.params) { "several" } else { "too few" }
            ));
            None
        }
    };
    let entries = &session.ledger.entries;
    let imported = entries.iter().filter(|e| e.imported).count();
    Ok(Outcome {
        target: options.target,
        budget: session.budget,
        spent: session.spent(),
        left: session.left(),
        paid: entries.len() - imported,
        imported,
        new: session.new,
        lr: sought.lr,
        batch_size: sought.batch_size,
        forecast,
        stopped,
        next: next.map(|c| Next {
            query: c.query,
            cost: c.cost,
            gain: c.gain,
        }),
        notes,
    })
}

fn forecast(
    session: &Session,
    sought: &Sought,
    options: &Options,
    seen: &[super::belief::Seen],
    notes: &mut Vec<String>,
) -> Option<Forecast> {
    let belief = Belief::from(seen, DRAWS, options.seed);
    let law = belief.law;
    let target = options.target;
    let estimate = |of: &dyn Fn(&ScalingLaw) -> f64| {
        let (low, high) = belief.interval(options.level, of);
        Estimate {
            value: of(&law),
            low,
            high,
        }
    };
    let (n, d) = law.optimum(target);
    let size = fitting(session, n, notes)?;
    let any = |lr: f64| size.query(sought.batch_size, lr, target);
    let params = session.oracle.params(&any(1e-3));
    let learning_rate = rate(session, sought, &size, params, notes);
    let learning_rate = any(learning_rate).learning_rate;
    let tokens = session.oracle.tokens(&any(learning_rate));
    let largest = seen.iter().map(|s| s.params).fold(0.0, f64::max);
    if params > 3.0 * largest {
        notes.push(format!(
            "the target's model has {:.0} times the parameters of the largest that was asked for: an extrapolation",
            params / largest
        ));
    }
    let checks = cross::checks(seen, target, belief.noise, options.level, options.seed);
    let n_opt = estimate(&|l| l.optimum(target).0);
    notes.extend(
        checks
            .iter()
            .filter_map(|c| cross::note(c, &checks, &n_opt)),
    );
    Some(Forecast {
        checks,
        law,
        points: seen.len(),
        noise: belief.noise * law.loss(n, d),
        n_opt,
        d_opt: estimate(&|l| l.optimum(target).1),
        loss: estimate(&|l| l.loss(n, d)),
        architecture: Architecture {
            size,
            batch_size: sought.batch_size,
            learning_rate,
            params,
            tokens,
            loss: estimate(&|l| l.loss(params, tokens)),
        },
    })
}

/// The learning rate of `size`, within the bounds where the size lies within them too.
fn rate(
    session: &Session,
    sought: &Sought,
    size: &Size,
    params: f64,
    notes: &mut Vec<String>,
) -> f64 {
    let lr = sought.lr.at(params);
    let clamped = session.oracle.space().clamp_lr(lr);
    if !session.sizes.iter().any(|(s, _)| s == size) {
        return lr;
    }
    if (clamped / lr).ln().abs() > 0.01 {
        notes.push(format!(
            "lr*(N) gives the target's model {lr:.1e}, outside what may be asked: its learning rate is the bound {clamped:.1e}"
        ));
    }
    clamped
}

/// The size nearest to the optimum, beyond the query space's bounds where it lies there.
fn fitting(session: &Session, n: f64, notes: &mut Vec<String>) -> Option<Size> {
    let of = |s: &Size| session.params(s);
    let within = session.size(n)?;
    if (of(&within) / n).ln().abs() < 0.25
        || session.oracle.listed().is_some() && of(&within) < n * 1.5 && of(&within) > n / 1.5
    {
        return Some(within);
    }
    let beyond = session.oracle.space().beyond(n);
    let beyond: Vec<(Size, f64)> = beyond.iter().map(|s| (*s, of(s))).collect();
    let beyond = space::nearest(&beyond, n).unwrap_or(within);
    if (of(&beyond) / n).ln().abs() < (of(&within) / n).ln().abs() {
        notes.push("the target's model lies outside the bounds of what may be asked for".into());
        return Some(beyond);
    }
    Some(within)
}
