//! Points of equal compute, and their sizes.

use crate::error::{Error, Result};
use crate::fit::random::below;
use crate::scaling::point::Point;
use rand_chacha::ChaCha8Rng;

/// Budgets this near one another are one (largest over smallest).
const SAME_BUDGET: f64 = 1.05;
/// Sizes this near one another are one.
const SAME_SIZE: f64 = 1.001;
/// Sizes that a budget must hold: a parabola needs as many.
const LEAST_SIZES: usize = 3;

/// The models of one size at one budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    pub params: f64,
    pub tokens: f64,
    /// Mean of all runs.
    pub loss: f64,
}

/// The models trained with one compute budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Geometric mean of the models' FLOPs.
    pub flops: f64,
    /// As read, several runs of one size apart.
    pub(super) runs: Vec<Size>,
    /// By increasing parameters, each size once.
    pub sizes: Vec<Size>,
    /// Which end of the sizes holds the lowest loss, if one does.
    pub edge: Option<Edge>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    Smallest,
    Largest,
}

/// Which budgets are left out, and at which end their minimum lies.
pub(super) fn edges(budgets: &[Budget]) -> Vec<String> {
    let name = |b: &Budget| {
        let (which, size) = match b.edge? {
            Edge::Smallest => ("smallest", b.sizes[0]),
            Edge::Largest => ("largest", b.sizes[b.sizes.len() - 1]),
        };
        Some(format!(
            "{:.2e} FLOPs ({which} size, {:.3e})",
            b.flops, size.params
        ))
    };
    budgets.iter().filter_map(name).collect()
}

/// Points of equal compute together.
pub(super) fn budgets(points: &[Point]) -> Result<(Vec<Budget>, Vec<String>)> {
    let mut sorted: Vec<&Point> = points.iter().collect();
    sorted.sort_by(|a, b| a.flops.total_cmp(&b.flops));
    let mut groups: Vec<Vec<&Point>> = Vec::new();
    for point in sorted {
        match groups.last_mut() {
            Some(group) if point.flops <= group[0].flops * SAME_BUDGET => group.push(point),
            _ => groups.push(vec![point]),
        }
    }
    // A scatter of budgets forms groups by chance; those of a grid stand apart from one another.
    let apart = |i: usize| {
        let last = |g: &Vec<&Point>| g[g.len() - 1].flops;
        i == 0 || groups[i][0].flops > last(&groups[i - 1]) * SAME_BUDGET
    };
    let whole: Vec<Budget> = (0..groups.len())
        .filter(|i| apart(*i) && (*i + 1 == groups.len() || apart(*i + 1)))
        .map(|i| Budget::new(&groups[i]))
        .filter(|b| b.sizes.len() >= LEAST_SIZES)
        .collect();
    let inside: usize = whole.iter().map(|b| b.runs.len()).sum();
    if whole.len() < 2 || inside * 2 < points.len() {
        return Err(Error::input(format!(
            "no groups of equal compute: isoFLOP needs at least {LEAST_SIZES} sizes at each of two budgets or \
             more (FLOPs within 5 %), and of {} points {inside} lie in such groups",
            points.len()
        )));
    }
    let mut notes = Vec::new();
    if inside < points.len() {
        notes.push(format!(
            "{} of {} points lie in no group of equal compute and are left out",
            points.len() - inside,
            points.len()
        ));
    }
    Ok((whole, notes))
}

impl Budget {
    fn new(points: &[&Point]) -> Budget {
        let flops = points.iter().map(|p| p.flops.ln()).sum::<f64>() / points.len() as f64;
        let mut runs: Vec<Size> = points
            .iter()
            .map(|p| Size {
                params: p.params,
                tokens: p.tokens,
                loss: p.loss,
            })
            .collect();
        runs.sort_by(|a, b| {
            a.params
                .total_cmp(&b.params)
                .then(a.loss.total_cmp(&b.loss))
        });
        let sizes = merged(&runs);
        let last = sizes.len() - 1;
        let best = (0..sizes.len()).min_by(|i, j| sizes[*i].loss.total_cmp(&sizes[*j].loss));
        Budget {
            flops: flops.exp(),
            runs,
            edge: match best {
                Some(0) => Some(Edge::Smallest),
                Some(i) if i == last => Some(Edge::Largest),
                _ => None,
            },
            sizes,
        }
    }

    /// As many runs, drawn with replacement.
    pub(super) fn resampled(&self, rng: &mut ChaCha8Rng) -> Vec<Size> {
        let n = self.runs.len();
        let mut drawn: Vec<usize> = (0..n).map(|_| below(rng, n)).collect();
        drawn.sort_unstable();
        merged(&drawn.into_iter().map(|i| self.runs[i]).collect::<Vec<_>>())
    }
}

/// Each size once, with the means of its runs, which come sorted by parameters.
fn merged(runs: &[Size]) -> Vec<Size> {
    let same = runs.chunk_by(|a, b| b.params <= a.params * SAME_SIZE);
    same.map(|same| {
        let mean = |of: fn(&Size) -> f64| same.iter().map(of).sum::<f64>() / same.len() as f64;
        Size {
            params: mean(|s| s.params),
            tokens: mean(|s| s.tokens),
            loss: mean(|s| s.loss),
        }
    })
    .collect()
}
