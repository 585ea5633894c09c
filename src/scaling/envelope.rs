//! Approach 1 of Hoffmann et al. 2022 (arXiv 2203.15556, §3.1): at each of 1500 compute budgets the size whose
//! training curve is lowest, and a power law through these.
//!
//! The best size is a staircase of the budget: one step a size. A power law through all 1500 points of a
//! staircase with s like steps is flatter than its slope by a factor 1 − 1/s². So a second one goes through the
//! crossings, at which the lead passes from one size to the next: between two sizes N₁ and N₂ it stands for
//! √(N₁·N₂). Budgets at which the smallest or the largest size wins say nothing of where the best one lies, nor do
//! those at which a neighbouring size has no loss: they are left out of the first.

use super::curves::{Curve, Made};
use super::power::PowerLaw;
use crate::error::{Error, Result};
use crate::fit::random::{below, stream};
use rayon::prelude::*;

/// Budgets, evenly in the logarithm.
const BUDGETS: usize = 1500;
/// Logged losses are averaged over bins of this width in ln D.
const BIN: f64 = 0.02;
/// Parameters this near one another are one size.
const SAME_SIZE: f64 = 1.01;
/// Streams of random numbers for the resamples.
const RESAMPLES: u64 = 22;

/// N_opt = k·C^a and D_opt = k·C^a.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Laws {
    pub params: PowerLaw,
    pub tokens: PowerLaw,
}

/// Budgets from `from` to `to` at which one size wins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    pub params: f64,
    pub from: f64,
    pub to: f64,
    /// Geometric mean of its tokens.
    pub tokens: f64,
}

#[derive(Clone, Debug)]
pub struct Envelope {
    /// Through every budget, as the paper does it.
    pub laws: Laws,
    /// Through the crossings; `None` with fewer than two.
    pub crossings: Option<Laws>,
    pub steps: Vec<Step>,
    /// Share of the budgets that were kept.
    pub kept: f64,
    /// Of the resamples that have them.
    pub draws: Vec<Laws>,
    pub crossings_draws: Vec<Laws>,
    /// Crossings left out, and the mean relative error of N there, as a ratio less one, by the other crossings.
    pub held_out: Option<(usize, f64)>,
    /// Sentences for the user.
    pub notes: Vec<String>,
}

/// Losses of every curve at every budget; curves by increasing size.
struct Table {
    flops: Vec<f64>,
    /// Place of each curve's size among `params`.
    size: Vec<usize>,
    params: Vec<f64>,
    flops_per_token: Vec<f64>,
    /// A row a curve; NaN outside it.
    losses: Vec<Vec<f64>>,
}

/// Fits both power laws; `resamples` draws of the curves, with replacement, give the intervals.
///
/// # Errors
/// Fewer than two sizes other than the smallest and the largest win at any budget.
pub fn fit(curves: &[Curve], resamples: usize, seed: u64) -> Result<Envelope> {
    let table = Table::new(curves);
    let all: Vec<usize> = (0..table.losses.len()).collect();
    let staircase = table.staircase(&all);
    let Some(laws) = table.laws(&staircase.steps) else {
        return Err(Error::input(format!(
            "the envelope has no slope: of {} sizes, {} won at a budget that its neighbours reach too, the \
             smallest and the largest not counted, and it takes two; train more sizes, or each on more \
             tokens",
            table.params.len(),
            staircase.steps.len()
        )));
    };
    let drawn: Vec<(Option<Laws>, Option<Laws>)> = (0..resamples as u64)
        .into_par_iter()
        .map(|index| {
            let mut rng = stream(seed, RESAMPLES, index);
            let mut drawn: Vec<usize> = all.iter().map(|_| below(&mut rng, all.len())).collect();
            drawn.sort_unstable();
            drawn.dedup();
            let staircase = table.staircase(&drawn);
            (table.laws(&staircase.steps), through(&staircase.crossings))
        })
        .collect();
    let mut notes = notes(curves, &staircase);
    let crossings = through(&staircase.crossings);
    let draws: Vec<Laws> = drawn.iter().filter_map(|d| d.0).collect();
    let crossings_draws: Vec<Laws> = drawn.iter().filter_map(|d| d.1).collect();
    let mut enough = |what: &str, draws: Vec<Laws>| {
        if draws.len() < resamples {
            notes.push(survivors(what, draws.len(), resamples));
        }
        match 2 * draws.len() < resamples {
            true => Vec::new(),
            false => draws,
        }
    };
    Ok(Envelope {
        draws: enough("the envelope", draws),
        crossings_draws: match crossings {
            Some(_) => enough("envelope crossings", crossings_draws),
            None => Vec::new(),
        },
        crossings,
        laws,
        held_out: held_out(&staircase.crossings),
        steps: staircase.steps.iter().map(|s| table.step(s)).collect(),
        kept: staircase.kept,
        notes,
    })
}

/// Resamples that lose a size lose crossings, and the ones left are those that agree with the fit: an interval of few
/// is too narrow.
fn survivors(what: &str, left: usize, resamples: usize) -> String {
    let shown = match 2 * left < resamples {
        true => "too few for an interval",
        false => "the interval is of these",
    };
    format!("{what}: {left} of {resamples} resamples of the curves still have a slope; {shown}")
}

/// How far the line through the lower crossings misses the upper third of them.
fn held_out(crossings: &[[f64; 3]]) -> Option<(usize, f64)> {
    let left_out = ((crossings.len() as f64 / 3.0).round() as usize).max(1);
    let (seen, unseen) = crossings.split_at(crossings.len().checked_sub(left_out)?);
    let law = through(seen)?.params;
    let error = |c: &[f64; 3]| (law.at(c[0]) / c[1]).ln().abs();
    let mean = unseen.iter().map(error).sum::<f64>() / left_out as f64;
    Some((left_out, mean.exp_m1()))
}

fn notes(curves: &[Curve], staircase: &Staircase) -> Vec<String> {
    let mut notes = Vec::new();
    let count = |made: Made| curves.iter().filter(|c| c.made == made).count();
    if count(Made::Ends) > 0 {
        notes.push(
            "the envelope is drawn through final losses of few runs, straight between them in logarithms: \
             coarser than training curves"
                .to_string(),
        );
    }
    let decaying = count(Made::Decaying);
    if decaying > 0 {
        notes.push(format!(
            "{decaying} of {} curves are of a decaying LR: their losses before the end lie above what a run that \
             ends there reaches, which favours small sizes; ends of cooldowns are better",
            curves.len()
        ));
    }
    if count(Made::Constant) > 0 {
        notes.push(
            "curves at a constant LR have not cooled down: the sizes are right where a cooldown lowers the \
             loss of all alike"
                .to_string(),
        );
    }
    if count(Made::Unknown) > 0 {
        notes.push(
            "whether the curves' LR was constant or decayed is not known; losses in the middle of a decaying \
             schedule are not final ones"
                .to_string(),
        );
    }
    notes.push(format!(
        "{} sizes win in the envelope over {:.0} % of the budgets; the rest, at the edge of the sizes or of \
         the curves, is left out",
        staircase.steps.len(),
        staircase.kept * 100.0
    ));
    notes
}

/// A run of budgets that one size wins: place of the size, first and last place of the budget.
type Won = (usize, usize, usize);

/// Who leads at which budget.
struct Staircase {
    /// Without its edges.
    steps: Vec<Won>,
    /// C, N and D at which the lead passes on.
    crossings: Vec<[f64; 3]>,
    /// Share of the budgets in `steps`.
    kept: f64,
}

impl Table {
    fn new(curves: &[Curve]) -> Table {
        let mut curves: Vec<&Curve> = curves.iter().collect();
        curves.sort_by(|a, b| a.params.total_cmp(&b.params));
        let (mut params, mut flops_per_token, mut size) = (Vec::new(), Vec::new(), Vec::new());
        for curve in &curves {
            if params.last().is_none_or(|p| curve.params > p * SAME_SIZE) {
                params.push(curve.params);
                flops_per_token.push(curve.flops_per_token);
            }
            size.push(params.len() - 1);
        }
        let logs: Vec<Vec<(f64, f64)>> = curves.iter().map(|c| smoothed(c)).collect();
        let ends = logs
            .iter()
            .filter_map(|l| Some((l.first()?.0, l.last()?.0)));
        let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), (a, b)| {
            (l.min(a), h.max(b))
        });
        let at = |i: usize| low + (high - low) * i as f64 / (BUDGETS - 1) as f64;
        let losses = logs
            .iter()
            .map(|log| (0..BUDGETS).map(|i| between(log, at(i))).collect())
            .collect();
        Table {
            flops: (0..BUDGETS).map(|i| at(i).exp()).collect(),
            size,
            params,
            flops_per_token,
            losses,
        }
    }

    /// The staircase that `curves` make.
    fn staircase(&self, curves: &[usize]) -> Staircase {
        let mut present: Vec<usize> = curves.iter().map(|c| self.size[*c]).collect();
        present.dedup();
        let mut best = vec![f64::NAN; present.len()];
        let mut steps: Vec<Won> = Vec::new();
        let mut crossings = Vec::new();
        let mut kept = 0;
        let mut leader: Option<usize> = None;
        for budget in 0..self.flops.len() {
            // Of the budget before: who is not seen there has not been overtaken.
            let seen_before: Vec<bool> = best.iter().map(|l| l.is_finite()).collect();
            best.fill(f64::NAN);
            let mut place = 0;
            for curve in curves {
                while present[place] < self.size[*curve] {
                    place += 1;
                }
                // `min` prefers a number to NaN.
                best[place] = best[place].min(self.losses[*curve][budget]);
            }
            let seen = (0..best.len()).filter(|i| best[*i].is_finite());
            let won = seen.min_by(|i, j| best[*i].total_cmp(&best[*j]));
            if let (Some(a), Some(b)) = (leader, won)
                && a != b
                && (a.min(b)..=a.max(b)).all(|i| seen_before[i] && best[i].is_finite())
            {
                let (a, b) = (present[a], present[b]);
                let middle = |of: &[f64]| (of[a] * of[b]).sqrt();
                let flops = (self.flops[budget - 1] * self.flops[budget]).sqrt();
                let tokens = flops / middle(&self.flops_per_token);
                crossings.push([flops, middle(&self.params), tokens]);
            }
            leader = won;
            let Some(won) = won else { continue };
            let bracketed = won > 0
                && won + 1 < best.len()
                && best[won - 1].is_finite()
                && best[won + 1].is_finite();
            if !bracketed {
                continue;
            }
            kept += 1;
            let won = present[won];
            match steps.iter_mut().find(|s| s.0 == won) {
                Some(step) => step.2 = budget,
                None => steps.push((won, budget, budget)),
            }
        }
        Staircase {
            steps,
            crossings,
            kept: f64::from(kept) / self.flops.len() as f64,
        }
    }

    /// Through every budget of the steps; `None` where fewer than two sizes win.
    fn laws(&self, steps: &[Won]) -> Option<Laws> {
        if steps.len() < 2 {
            return None;
        }
        let budgets = steps.iter().flat_map(|step| {
            let (n, per_token) = (self.params[step.0], self.flops_per_token[step.0]);
            (step.1..=step.2).map(move |i| [self.flops[i], n, self.flops[i] / per_token])
        });
        through(&budgets.collect::<Vec<_>>())
    }

    fn step(&self, step: &Won) -> Step {
        let (from, to) = (self.flops[step.1], self.flops[step.2]);
        Step {
            params: self.params[step.0],
            from,
            to,
            tokens: (from * to).sqrt() / self.flops_per_token[step.0],
        }
    }
}

/// Through C, N and D; `None` with fewer than two.
fn through(points: &[[f64; 3]]) -> Option<Laws> {
    let of = |i: usize| PowerLaw::in_logs(&points.iter().map(|p| (p[0], p[i])).collect::<Vec<_>>());
    Some(Laws {
        params: of(1)?,
        tokens: of(2)?,
    })
}

/// ln C and ln L, means over bins of ln C.
fn smoothed(curve: &Curve) -> Vec<(f64, f64)> {
    let log = |p: &(f64, f64)| ((p.0 * curve.flops_per_token).ln(), p.1.ln());
    let points: Vec<(f64, f64)> = curve.points.iter().map(log).collect();
    points
        .chunk_by(|a, b| (a.0 / BIN).floor() == (b.0 / BIN).floor())
        .map(|bin| {
            let n = bin.len() as f64;
            let sum = bin.iter().fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
            (sum.0 / n, sum.1 / n)
        })
        .collect()
}

/// Between two points of a curve, straight; NaN outside it.
fn between(log: &[(f64, f64)], x: f64) -> f64 {
    let after = log.partition_point(|p| p.0 < x);
    match (after.checked_sub(1).map(|i| log[i]), log.get(after)) {
        (None, Some(b)) if b.0 - x < 1e-9 => b.1,
        (Some(a), None) if x - a.0 < 1e-9 => a.1,
        (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (x - a.0) / (b.0 - a.0),
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::law::ScalingLaw;

    const LAW: ScalingLaw = ScalingLaw {
        e: 1.7,
        a: 400.0,
        b: 900.0,
        alpha: 0.34,
        beta: 0.3,
    };

    fn curves(sizes: usize, ratio: f64, from: f64, to: f64) -> Vec<Curve> {
        let one = |i: usize| {
            let params = 1e7 * ratio.powi(i as i32);
            let points = (0..400).map(|j| {
                let tokens = from * (to / from).powf(f64::from(j) / 399.0);
                (tokens, LAW.loss(params, tokens))
            });
            Curve {
                name: format!("size {i}"),
                params,
                flops_per_token: 6.0 * params,
                points: points.collect(),
                made: Made::Ends,
            }
        };
        (0..sizes).map(one).collect()
    }

    #[test]
    fn the_crossings_give_the_exponent() {
        let exact = LAW.beta / (LAW.alpha + LAW.beta);
        let few = fit(&curves(6, 2.0, 1e7, 1e12), 0, 0).unwrap();
        assert_eq!(few.steps.len(), 4);
        let crossings = few.crossings.unwrap().params;
        assert!((crossings.a - exact).abs() < 0.004, "{few:?}");
        let (n, _) = LAW.optimum(1e18);
        assert!((crossings.at(1e18) / n - 1.0).abs() < 0.05, "{few:?}");
        // A staircase of four steps is flatter by 1/16.
        let flat = few.laws.params.a / crossings.a;
        assert!((flat - 15.0 / 16.0).abs() < 0.01, "{flat}");
        let many = fit(&curves(40, 1.2, 1e7, 1e12), 0, 0).unwrap();
        assert!((many.laws.params.a - exact).abs() < 0.004, "{many:?}");
        let (n, _) = LAW.optimum(1e19);
        assert!((many.laws.params.at(1e19) / n - 1.0).abs() < 0.02);
        assert!((many.laws.tokens.a + many.laws.params.a - 1.0).abs() < 1e-3);
    }

    #[test]
    fn what_is_not_bracketed_is_left_out() {
        // Two sizes have an edge each and no middle.
        let error = fit(&curves(2, 2.0, 1e7, 1e12), 0, 0)
            .unwrap_err()
            .to_string();
        assert!(error.contains("no slope"), "{error}");
        // Short curves: no size is seen at the budgets that its neighbours win.
        let short = fit(&curves(6, 10.0, 1e9, 3e9), 0, 0);
        assert!(short.is_err());
    }

    #[test]
    fn resamples_have_the_same_bits_every_time() {
        let curves = curves(12, 1.5, 1e7, 1e12);
        let (a, b) = (fit(&curves, 50, 3).unwrap(), fit(&curves, 50, 3).unwrap());
        assert_eq!(a.draws, b.draws);
        assert!(a.draws.len() > 40);
        assert_ne!(a.draws, fit(&curves, 50, 4).unwrap().draws);
    }

    #[test]
    fn noise_along_a_curve_is_averaged() {
        let mut noisy = curves(6, 2.0, 1e7, 1e12);
        for curve in &mut noisy {
            let mut rng = stream(1, 0, curve.params as u64);
            let dense = (1..40_000).map(|i| {
                let tokens = 1e7 * f64::from(i);
                let noise = 0.02 * crate::fit::random::normal(&mut rng);
                (tokens, LAW.loss(curve.params, tokens) + noise)
            });
            curve.points = dense.collect();
        }
        let exact = LAW.beta / (LAW.alpha + LAW.beta);
        let found = fit(&noisy, 0, 0).unwrap();
        let found = found.crossings.unwrap().params;
        assert!((found.a / exact - 1.0).abs() < 0.1, "{found:?}");
    }
}
