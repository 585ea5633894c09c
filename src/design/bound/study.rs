//! The experiments of the reference package, one a preset: each is a table, a few sentences and a picture. Two are left out: the
//! lower bound that PEPit finds numerically, and horizon transfer with 1-sqrt cooldowns.
//!
//! All use the reference package's schedules and horizons. Distance, gradient norms and the kind of bound are the caller's.

mod cooldown;
pub mod horizon;
mod horizons;
mod sgd;
mod shapes;
mod transfer;

use super::omega::points;
use super::schedules::Reference;
use super::{Bound, GradNorms, Iterate, Split};
use crate::error::{Error, Result};

/// Name of every study, and what it asks.
pub const STUDIES: &[(&str, &str)] = &[
    (
        "cooldown-length",
        "how long to cool down, at fixed and at tuned base LR",
    ),
    (
        "lr-transfer",
        "the best base LR by cooldown fraction, against linear decay's",
    ),
    ("horizon-transfer", "ways to go on to a longer horizon"),
    ("cosine-cycle", "what stopping a longer cosine early costs"),
    (
        "wsd-detail",
        "wsd against constant LR, 1/√T and its closed form",
    ),
    ("grad-norm-shape", "gradient norms that fall"),
    ("multiple-horizon", "wsd and cosine at five horizons"),
    (
        "schedule-comparison",
        "six schedules at their best base LRs",
    ),
    (
        "ablation",
        "the bound on the best iterate instead of the last",
    ),
    (
        "optimal",
        "the schedule with the least bound, against linear decay",
    ),
    (
        "convex-example",
        "SGD itself, on a convex problem of two unknowns",
    ),
];

/// What Ω assumes, for any number of steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub iterate: Iterate,
    /// D, positive.
    pub distance: f64,
    pub norms: GradNorms,
}

impl Problem {
    /// D = G = 1, the last iterate.
    pub fn unit() -> Problem {
        Problem {
            iterate: Iterate::Last,
            distance: 1.0,
            norms: GradNorms::Constant(1.0),
        }
    }

    /// With the norms of [`GradNorms::over`].
    pub fn bound<'a>(&self, norms: &'a [f64]) -> Bound<'a> {
        Bound {
            iterate: self.iterate,
            distance: self.distance,
            norms,
        }
    }

    /// Of a unit schedule.
    ///
    /// # Errors
    /// Norms that do not reach as far.
    pub fn split(&self, lrs: &[f64]) -> Result<Split> {
        Ok(self.bound(&self.norms.over(lrs.len())?).split(lrs))
    }
}

/// What a study found.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    pub title: String,
    pub columns: Vec<Column>,
    /// As many cells as columns.
    pub rows: Vec<Vec<Cell>>,
    /// Sentences under the table.
    pub notes: Vec<String>,
    pub picture: Picture,
}

/// Its name in JSON, and over the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub key: String,
    pub head: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Text(String),
    Count(u64),
    /// Shown with five digits.
    Number(f64),
    /// Shown with so many decimals.
    Fixed(f64, usize),
}

/// Panels over one x axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    pub x: String,
    /// Whether x counts steps.
    pub steps: bool,
    pub panels: Vec<Panel>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    pub label: String,
    pub log: bool,
    /// Beside the point: drawn low, and not in the terminal.
    pub small: bool,
    pub lines: Vec<Line>,
}

/// Lines of one name have one colour in all panels.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub name: String,
    pub points: Vec<[f64; 2]>,
}

impl Column {
    fn new(key: impl Into<String>, head: impl Into<String>) -> Column {
        let (key, head) = (key.into(), head.into());
        Column { key, head }
    }
}

impl Panel {
    pub fn new(label: &str, lines: Vec<Line>) -> Panel {
        Panel {
            label: label.into(),
            log: false,
            small: false,
            lines,
        }
    }

    pub fn small(label: &str, lines: Vec<Line>) -> Panel {
        Panel {
            small: true,
            ..Panel::new(label, lines)
        }
    }
}

/// Runs a study by name.
///
/// # Errors
/// An unknown name; norms that do not reach as far as its horizons; a bound that it is not about.
pub fn run(name: &str, problem: &Problem) -> Result<Study> {
    if problem.iterate == Iterate::Min
        && matches!(name, "ablation" | "horizon-transfer" | "optimal")
    {
        return Err(Error::input(format!(
            "the study {name} is about the last iterate's bound; leave --type min out"
        )));
    }
    match name {
        "cooldown-length" => cooldown::length(problem),
        "lr-transfer" => transfer::lr(problem),
        "horizon-transfer" => horizon::transfer(problem),
        "cosine-cycle" => cooldown::cosine_cycle(problem),
        "wsd-detail" => horizons::wsd_detail(problem),
        "grad-norm-shape" => shapes::grad_norm(problem),
        "multiple-horizon" => horizons::multiple(problem),
        "schedule-comparison" => shapes::comparison(problem),
        "ablation" => shapes::ablation(problem),
        "optimal" => shapes::optimal_schedule(problem),
        "convex-example" => sgd::example(),
        _ => {
            let known: Vec<&str> = STUDIES.iter().map(|(name, _)| *name).collect();
            Err(Error::input(format!(
                "unknown preset '{name}'{}; known are {}",
                crate::schedule::keys::nearest(name, &known),
                known.join(", ")
            )))
        }
    }
}

/// Points of a drawn curve.
const DRAWN: usize = 400;

/// LRs of `gamma` times a unit schedule, at most about 400 of them; x is the number of steps taken with the LR's.
pub fn lr_line(name: &str, lrs: &[f64], gamma: f64) -> Line {
    let points = std::iter::once(1).chain(points(lrs.len(), DRAWN));
    let mut points: Vec<[f64; 2]> = points.map(|t| [t as f64, gamma * lrs[t - 1]]).collect();
    points.dedup_by_key(|p| p[0]);
    Line {
        name: name.into(),
        points,
    }
}

/// Ω_t at the base LR `gamma` along a unit schedule.
///
/// # Errors
/// Norms that do not reach as far.
pub fn omega_line(problem: &Problem, name: &str, lrs: &[f64], gamma: f64) -> Result<Line> {
    let points = points(lrs.len(), DRAWN);
    let norms = problem.norms.over(lrs.len())?;
    let curve = problem.bound(&norms).curve(lrs, &points);
    let at = points.iter().zip(&curve);
    Ok(Line {
        name: name.into(),
        points: at.map(|(t, split)| [*t as f64, split.at(gamma)]).collect(),
    })
}

/// A schedule of the reference package, without warm-up.
fn reference(text: &str, steps: usize) -> Result<Vec<f64>> {
    text.parse::<Reference>()?.lrs(steps, 0)
}

/// `n` values from `low` to `high`, evenly.
fn linspace(low: f64, high: f64, n: usize) -> Vec<f64> {
    let last = (n - 1).max(1) as f64;
    (0..n)
        .map(|i| low + (high - low) * i as f64 / last)
        .collect()
}

#[cfg(test)]
mod tests;
