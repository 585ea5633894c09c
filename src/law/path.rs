//! A schedule as laws see it: intrinsic time at the points, and the changes of the LR before them.

use std::sync::{Arc, OnceLock};

/// A change of the LR, or several adjacent ones taken together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    /// Step `k` whose LR differs from the one before it (a quadrature point, for several).
    pub step: f64,
    /// `S₁(k) = Σ_{s<k} η_s`: intrinsic time when the change happens (likewise).
    pub s1: f64,
    /// LR before the change; 0 before the first step of all.
    pub before: f64,
    /// LR after it. A drop has `before > after`.
    pub after: f64,
    /// The LR that sets the speed of the response, `η_k` of the papers: `after`, or for several
    /// changes the mean of their `after`s near this node. At least [`LR_FLOOR`] × the peak.
    pub lr: f64,
    pub ln_lr: f64,
}

impl Node {
    /// How far the LR falls here, `Δ_k = η_{k−1} − η_k`; negative for a rise.
    pub fn drop(&self) -> f64 {
        self.before - self.after
    }
}

/// Response rates `∝ η_k^−γ` take an LR below this share of the run's peak as this share, so that a
/// schedule which ends at 0 stays finite. Schedules that decay linearly to 0 over 10,000 steps or fewer
/// come this low only in their last step.
pub const LR_FLOOR: f64 = 1e-4;

/// Changes smaller than this share of the peak are rounding of the schedule, not events: they are
/// carried until they add up to more.
const JITTER: f64 = 1e-12;

/// What a law needs of one curve. Built by [`Path::exact`] or [`Path::grouped`].
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Of each point: updates done, intrinsic time `Σ_{s<t} η_s`, LR of the last update, and how many
    /// of `nodes` happened before it.
    pub steps: Vec<f64>,
    pub s1: Vec<f64>,
    pub lr: Vec<f64>,
    pub seen: Vec<usize>,
    /// In step order; the rise to the first LR is node 0.
    pub nodes: Vec<Node>,
    /// How many of the first steps belong to the warm-up.
    pub warmup: usize,
    /// How many of the first nodes belong to the warm-up, node 0 always.
    pub warmup_nodes: usize,
    /// `S₁` when the warm-up ends; 0 without one.
    pub warmup_s1: f64,
    /// How much larger `S₁` would be had the warm-up stood at its last LR throughout.
    pub warmup_deficit: f64,
    /// Highest LR before the last point.
    pub peak: f64,
    /// Parameters of the model, for laws over model size.
    pub size: Option<f64>,
    /// LR of every step before the last point, for laws that are not sums over changes.
    pub lrs: Arc<[f64]>,
    /// Steps of the whole run, as far as it was given.
    pub horizon: usize,
    /// `ln S₁` of each point (see [`Path::s1_floor`]).
    pub ln_s1: Vec<f64>,
    /// `S₁` of a point is taken as no less than this: the first LR that is not 0.
    pub s1_floor: f64,
    pub(super) sums: Sums,
}

/// Sums over the steps of a path that hang on no fitted parameter, each at every point and made when
/// first asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub omega: OnceLock<Vec<f64>>,
    /// Without and with the warm-up.
    pub forward_momentum: [OnceLock<Vec<f64>>; 2],
    pub jumps: OnceLock<Vec<f64>>,
}

/// One change at one step.
#[derive(Clone, Copy)]
struct Change {
    step: usize,
    s1: f64,
    before: f64,
    after: f64,
}

/// A whole run, for derivatives in its schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run<'a> {
    /// LR of every step.
    pub lrs: &'a [f64],
    /// How many of the first steps belong to the warm-up.
    pub warmup: u64,
    /// Parameters of the model, for laws over model size.
    pub size: Option<f64>,
}

impl Path {
    /// Every change of the LR is a node of its own.
    ///
    /// `lrs[s]` is the LR of update `s`; where a point lies beyond them the last LR is taken as held.
    /// `warmup` is how many of the first steps belong to the warm-up (0 if unknown or none).
    /// `steps` are the points, in increasing order.
    pub fn exact(lrs: &[f64], warmup: u64, steps: &[u64]) -> Path {
        Path::build(lrs, warmup, steps, |changes, nodes| {
            nodes.extend(changes.iter().map(|change| Node {
                step: change.step as f64,
                s1: change.s1,
                before: change.before,
                after: change.after,
                lr: change.after,
                ln_lr: 0.0,
            }));
        })
    }

    /// As [`Path::exact`], with adjacent changes of one sign that span up to `most_steps_a_node`
    /// steps merged, never across a point nor across the end of the warm-up. A merged block becomes
    /// two nodes of half its drop each, at its mean ± one standard deviation (weighted by drop), so
    /// that the response is integrated exactly up to quadratic terms.
    pub fn grouped(lrs: &[f64], warmup: u64, steps: &[u64], most_steps_a_node: usize) -> Path {
        let span = most_steps_a_node.max(1);
        Path::build(lrs, warmup, steps, |mut changes, nodes| {
            while !changes.is_empty() {
                let falls = changes[0].before > changes[0].after;
                let block = changes
                    .iter()
                    .take_while(|c| {
                        c.step < changes[0].step + span && (c.before > c.after) == falls
                    })
                    .count();
                merge(&changes[..block], nodes);
                changes = &changes[block..];
            }
        })
    }

    /// The same path for a model of this many parameters.
    pub fn of_size(mut self, parameters: Option<f64>) -> Path {
        self.size = parameters;
        self
    }

    /// `flush` turns the changes between two points (or ends of the warm-up) into nodes.
    fn build(
        lrs: &[f64],
        warmup: u64,
        steps: &[u64],
        flush: impl Fn(&[Change], &mut Vec<Node>),
    ) -> Path {
        debug_assert!(steps.is_sorted(), "points come in step order");
        let last = steps.last().map_or(0, |&step| step as usize);
        let held = lrs.last().copied().unwrap_or(0.0);
        let lr_of = |step: usize| lrs.get(step).copied().unwrap_or(held);
        let run: Arc<[f64]> = (0..last).map(lr_of).collect();
        let peak = run.iter().copied().fold(0.0, f64::max);
        let warmup = usize::try_from(warmup).unwrap_or(usize::MAX);
        let mut path = Path {
            steps: steps.iter().map(|&step| step as f64).collect(),
            s1: Vec::with_capacity(steps.len()),
            lr: Vec::with_capacity(steps.len()),
            seen: Vec::with_capacity(steps.len()),
            nodes: Vec::new(),
            warmup,
            warmup_nodes: 0,
            warmup_s1: 0.0,
            warmup_deficit: 0.0,
            peak,
            size: None,
            s1_floor: run.iter().copied().find(|lr| *lr > 0.0).unwrap_or(1.0),
            horizon: lrs.len().max(last),
            lrs: run,
            ln_s1: Vec::with_capacity(steps.len()),
            sums: Sums::default(),
        };
        let mut pending: Vec<Change> = Vec::new();
        let (mut s1, mut lost, mut level) = (0.0, 0.0, 0.0);
        let mut points = steps.iter().map(|&step| step as usize).peekable();
        for step in 0..=last {
            if step == warmup {
                flush(&pending, &mut path.nodes);
                pending.clear();
                path.warmup_nodes = path.nodes.len();
                path.warmup_s1 = s1;
                path.warmup_deficit = level * warmup as f64 - s1;
            }
            while points.next_if_eq(&step).is_some() {
                flush(&pending, &mut path.nodes);
                pending.clear();
                path.s1.push(s1);
                path.ln_s1.push(s1.max(path.s1_floor).ln());
                path.lr.push(lr_of(step.max(1) - 1));
                path.seen.push(path.nodes.len());
            }
            if step == last {
                break;
            }
            let lr = path.lrs[step];
            if (lr - level).abs() > JITTER * peak {
                pending.push(Change {
                    step,
                    s1,
                    before: level,
                    after: lr,
                });
                level = lr;
            }
            if step == 0 {
                // Node 0 is the rise to the first LR, never merged.
                flush(&pending, &mut path.nodes);
                pending.clear();
            }
            // Kahan's sum: S₁ of a run of 10⁶ steps stays exact to the last bits.
            let sum = s1 + (lr - lost);
            lost = (sum - s1) - (lr - lost);
            s1 = sum;
        }
        if warmup > last {
            path.warmup_nodes = path.nodes.len();
            path.warmup_s1 = s1;
        }
        path.warmup_nodes = path.warmup_nodes.max(path.nodes.len().min(1));
        for node in &mut path.nodes {
            node.lr = node.lr.max(LR_FLOOR * peak).max(f64::MIN_POSITIVE);
            node.ln_lr = node.lr.ln();
        }
        path
    }
}

/// Appends a block of changes of one sign as one node, or as two of equal weight whose mean and
/// variance are the block's.
fn merge(block: &[Change], nodes: &mut Vec<Node>) {
    let (first, last) = (block[0], block[block.len() - 1]);
    if block.len() == 1 {
        nodes.push(Node {
            step: first.step as f64,
            s1: first.s1,
            before: first.before,
            after: first.after,
            lr: first.after,
            ln_lr: 0.0,
        });
        return;
    }
    let total = first.before - last.after;
    let moments = |value: fn(&Change) -> f64| {
        let weight = |c: &Change| (c.before - c.after) / total;
        let mean: f64 = block.iter().map(|c| weight(c) * value(c)).sum();
        let variance: f64 = block
            .iter()
            .map(|c| weight(c) * (value(c) - mean).powi(2))
            .sum();
        (mean, variance.max(0.0).sqrt())
    };
    let (step, step_sd) = moments(|c| c.step as f64);
    let (s1, s1_sd) = moments(|c| c.s1);
    let (lr, lr_sd) = moments(|c| c.after);
    let middle = 0.5 * (first.before + last.after);
    for (sign, before, after) in [(-1.0, first.before, middle), (1.0, middle, last.after)] {
        nodes.push(Node {
            step: step + sign * step_sd,
            s1: s1 + sign * s1_sd,
            before,
            after,
            // Along a fall the LR is above its mean at the earlier node; along a rise, below.
            lr: lr - sign * lr_sd * total.signum(),
            ln_lr: 0.0,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Warm-up over 10 steps, plateau, cosine, one sharp drop, and a rise again.
    fn lrs() -> Vec<f64> {
        (0..500)
            .map(|s| match s {
                0..10 => 1e-3 * (s + 1) as f64 / 10.0,
                10..100 => 1e-3,
                100..300 => 5.5e-4 + 4.5e-4 * (0.0157 * (s - 100) as f64).cos(),
                300..400 => 2e-5,
                _ => 2e-5 + 1e-6 * (s - 400) as f64,
            })
            .collect()
    }

    #[test]
    fn points_count_updates_done() {
        let path = Path::exact(&[1.0, 2.0, 2.0, 0.5], 2, &[0, 1, 3, 4, 6]);
        assert_eq!(path.s1, [0.0, 1.0, 5.0, 5.5, 6.5]);
        assert_eq!(path.lr, [1.0, 1.0, 2.0, 0.5, 0.5]);
        assert_eq!(path.seen, [0, 1, 2, 3, 3]);
        let nodes: Vec<_> = path
            .nodes
            .iter()
            .map(|n| (n.step, n.s1, n.before, n.after))
            .collect();
        let expected = [
            (0.0, 0.0, 0.0, 1.0),
            (1.0, 1.0, 1.0, 2.0),
            (3.0, 5.0, 2.0, 0.5),
        ];
        assert_eq!(nodes, expected);
        assert_eq!(
            (path.warmup_nodes, path.warmup_s1, path.warmup_deficit),
            (2, 3.0, 1.0)
        );
        assert_eq!((path.peak, path.horizon), (2.0, 6));
    }

    #[test]
    fn grouping_keeps_drops_means_and_variances() {
        let lrs = lrs();
        let points = [5, 50, 120, 121, 200, 310, 450, 500];
        let exact = Path::exact(&lrs, 10, &points);
        for span in [1, 7, 64, 1000] {
            let grouped = Path::grouped(&lrs, 10, &points, span);
            assert_eq!(grouped.s1, exact.s1);
            if span == 1 {
                assert_eq!(grouped, exact);
            }
            assert!(span == 1 || grouped.nodes.len() < exact.nodes.len());
            assert_eq!(grouped.nodes[0], exact.nodes[0]);
            // Between any two points (and the end of the warm-up) the moments weighted by drop agree.
            let stretch = |path: &Path, from: f64, to: f64| {
                let mut sums = [0.0; 5];
                for node in path.nodes.iter().filter(|n| from <= n.step && n.step < to) {
                    let moments = [1.0, node.step, node.step.powi(2), node.s1, node.s1.powi(2)];
                    for (sum, moment) in sums.iter_mut().zip(moments) {
                        *sum += node.drop() * moment;
                    }
                }
                sums
            };
            let ends = [0, 1, 5, 10, 50, 120, 121, 200, 310, 450, 500];
            for pair in ends.windows(2) {
                let (from, to) = (pair[0] as f64, pair[1] as f64);
                let (a, b) = (stretch(&grouped, from, to), stretch(&exact, from, to));
                for (a, b) in a.iter().zip(b) {
                    assert!(
                        (a - b).abs() <= 1e-9 * b.abs().max(1e-9),
                        "span {span} {pair:?}: {a} {b}"
                    );
                }
            }
            for (point, &step) in points.iter().enumerate() {
                let before = grouped
                    .nodes
                    .iter()
                    .filter(|n| n.step < step as f64)
                    .count();
                assert_eq!(grouped.seen[point], before, "span {span} step {step}");
            }
        }
    }

    #[test]
    fn rounding_of_a_schedule_is_no_change() {
        let lrs: Vec<f64> = (0..100).map(|s| 1e-3 + 1e-19 * (s % 3) as f64).collect();
        assert_eq!(Path::exact(&lrs, 0, &[100]).nodes.len(), 1);
    }
}
