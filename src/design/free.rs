//! The schedule of least predicted loss among all that keep the limits.

use super::families::{self, Candidate, Family};
use super::knots::Grid;
use super::minimise::{Set, Stop, minimise};
use super::problem::Problem;
use crate::error::{Error, Result};
use crate::law::kernel::scratch;

/// A schedule made for a problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Designed {
    /// LR of every step, the prefix's first.
    pub lrs: Vec<f64>,
    /// (step, LR) from the end of the prefix on, straight lines between; empty where the shape is no such thing.
    pub knots: Vec<(u64, f64)>,
    /// Predicted final loss, nats a token.
    pub loss: f64,
    /// The family whose schedule it is, where it is one.
    pub family: Option<Family>,
    /// Gradients of the law that it took.
    pub evaluations: usize,
}

/// Knots of a free design.
pub const KNOTS: usize = 300;
/// Knots of a design in few straight lines.
pub const FEW_KNOTS: usize = 24;

const STOP: Stop = Stop {
    evaluations: 120,
    gain: 6e-8,
};

impl Designed {
    pub fn of(candidate: Candidate) -> Designed {
        Designed {
            lrs: candidate.lrs,
            knots: Vec::new(),
            loss: candidate.loss,
            family: Some(candidate.family),
            evaluations: 0,
        }
    }
}

/// Minimises the predicted final loss over straight lines between `knots` knots, from a smooth start.
///
/// Unknown are the drops from knot to knot: none negative (a schedule that never rises), none steeper than the trust
/// rule, together no more than leads to the lowest LR.
pub(super) fn free(problem: &Problem, start: &Candidate, knots: usize) -> Designed {
    let grid = Grid::new(problem, knots);
    let gaps = grid.gaps();
    let (level, limits) = (problem.level(), &problem.limits);
    // In units in which a slope that is spread over the run has length 1, whatever the knots.
    let unit: Vec<f64> = gaps.iter().map(|gap| gap.sqrt()).collect();
    let cap = limits.largest_drop * limits.peak_lr / level;
    let set = Set {
        high: (gaps.iter().zip(&unit))
            .map(|(gap, unit)| (cap * gap).min(1.0) / unit)
            .collect(),
        weights: unit.clone(),
        budget: 1.0 - limits.min_lr / level,
    };
    let values = |x: &[f64]| -> Vec<f64> {
        let mut left = 1.0;
        let falls = x.iter().zip(&unit).map(|(x, unit)| {
            left = f64::max(left - x * unit, 0.0);
            (level * left).max(limits.min_lr)
        });
        std::iter::once(level).chain(falls).collect()
    };
    let from = grid.sample(&start.lrs);
    let x: Vec<f64> = (from.windows(2).zip(&unit))
        .map(|(w, unit)| (w[0] - w[1]) / (level * unit))
        .collect();
    let found = minimise(&set, &x, STOP, |x| {
        let lrs = grid.lrs(problem, &values(x));
        let (loss, by_lr) = problem.gradient(&lrs);
        let by_value = grid.pull_back(&by_lr);
        scratch::give_back(lrs);
        scratch::give_back(by_lr);
        // A drop lowers every knot after it.
        let mut sum = 0.0;
        let mut by_x = vec![0.0; x.len()];
        for i in (0..x.len()).rev() {
            sum += by_value[i + 1];
            by_x[i] = -level * unit[i] * sum;
        }
        (loss, by_x)
    });
    let mut values = values(&found.x);
    let floored = learns_to_the_end(problem, &mut values);
    let lrs = grid.lrs(problem, &values);
    Designed {
        loss: if floored {
            problem.loss(&lrs)
        } else {
            found.value
        },
        knots: grid.steps.iter().copied().zip(values).collect(),
        lrs,
        family: None,
        evaluations: found.evaluations,
    }
}

/// LRs below this share of the one that a design starts from are what rounding left of 0.
const NOTHING: f64 = 1e-9;

/// Where a design ends at nothing, lifts its end to the last LR of a linear decay over the same steps: as for the usual
/// shapes, the last step still learns. Says whether it did. What never rises, and falls no faster than the trust rule
/// lets it, does so afterwards too.
fn learns_to_the_end(problem: &Problem, values: &mut [f64]) -> bool {
    let level = problem.level();
    let ends_at_nothing = values.last().is_some_and(|last| *last < NOTHING * level);
    if ends_at_nothing {
        let last = level / problem.free_steps().max(1) as f64;
        values.iter_mut().for_each(|lr| *lr = lr.max(last));
    }
    ends_at_nothing
}

/// The best that is known: a free design over `knots` knots from the best power family and, where that is better, from
/// the best of `baselines`; never worse than any of these that keeps the limits.
///
/// # Errors
/// A law that predicts no number, or that does not see when the LR falls.
pub fn best(problem: &Problem, baselines: &[Candidate], knots: usize) -> Result<Designed> {
    let power = families::power(problem);
    let mut found = vec![free(problem, &power, knots)];
    let allowed = |candidate: &&Candidate| problem.allows(&candidate.lrs);
    let by_loss = |a: &&Candidate, b: &&Candidate| a.loss.total_cmp(&b.loss);
    let other = baselines.iter().filter(allowed).min_by(by_loss);
    if let Some(other) = other.filter(|other| other.loss < power.loss.min(found[0].loss)) {
        found.push(free(problem, other, knots));
        found.push(Designed::of(other.clone()));
    }
    if problem.allows(&power.lrs) {
        found.push(Designed::of(power));
    }
    let best = found.into_iter().min_by(|a, b| a.loss.total_cmp(&b.loss));
    let best = best.expect("a design was found");
    check(problem, &best)?;
    Ok(best)
}

/// A design that means something.
///
/// # Errors
/// As [`best`].
pub fn check(problem: &Problem, designed: &Designed) -> Result<()> {
    let law = problem.model.law.name();
    if !designed.loss.is_finite() {
        return Err(Error::input(format!(
            "the law {law} predicts no finite loss for this run; look at its parameters"
        )));
    }
    if is_blind(problem) {
        return Err(Error::input(format!(
            "the law {law} does not see when the learning rate falls, so there is no schedule to design under it; fit a law that does, such as elr or mpl"
        )));
    }
    Ok(())
}

/// Whether the law predicts the same for high LRs before low ones as for low before high.
fn is_blind(problem: &Problem) -> bool {
    let half = problem.free_steps() / 2;
    let level = problem.level();
    let last = if problem.free_steps().is_multiple_of(2) {
        None
    } else {
        Some(level)
    };
    let halves = |first: f64, second: f64| {
        let parts = (0..2 * half).map(|s| if s < half { first } else { second });
        problem.loss(&problem.lrs(parts.chain(last)))
    };
    let (falling, rising) = (halves(level, 0.5 * level), halves(0.5 * level, level));
    half > 0 && (falling - rising).abs() <= 1e-9 * falling.abs()
}
