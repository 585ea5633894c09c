//! The same answers by other methods: parabolas through the runs of each budget, which assume no law, and L(N, D) without
//! priors. Where the truth is not of the form E + A/N^α + B/D^β the first is nearer to it, and says so by differing.

use super::belief::Seen;
use super::outcome::Estimate;
use crate::fit::random;
use crate::scaling::isoflop::{self, Method};
use crate::scaling::parametric::{self, FitOptions};
use crate::scaling::point::{FLOPS_A_PAIR, Point};
use serde::Serialize;

/// What another method says of the target's optimum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Check {
    pub method: &'static str,
    /// Parameters N.
    pub n_opt: f64,
    /// Bounds that hold the asked share of fits to the answers with noise drawn anew; absent where the method draws none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
    /// What a disagreement means.
    #[serde(skip)]
    verdict: &'static str,
}

/// Methods that differ by no more than this share agree, however narrow their intervals.
const AGREE: f64 = 0.1;
/// Draws for the parabolas' interval, and the fewest that must have minima for one to be told. Rows of five sizes are too
/// short to be drawn from with replacement: which sizes are left would decide, not the noise.
const DRAWS: u64 = 200;
const FEWEST_DRAWS: usize = 50;
/// What the streams of random numbers are for; those of `fit` have other numbers.
const NOISE: u64 = 103;

/// Whatever the answers allow; a method that they do not allow is left out.
/// `noise` is that of ln loss.
pub fn checks(seen: &[Seen], target: f64, noise: f64, level: f64, seed: u64) -> Vec<Check> {
    let points: Vec<Point> = seen.iter().map(point).collect();
    let mut checks = Vec::new();
    let parabolas = |points: &[Point]| -> Option<f64> {
        let fit = isoflop::fit(points, 0, 0).ok()?;
        Some(fit.method(Method::Parabola)?.params.at(target))
    };
    if let Some(n_opt) = parabolas(&points) {
        let draws = (0..DRAWS).filter_map(|index| {
            let mut rng = random::stream(seed, NOISE, index);
            let mut drawn = points.clone();
            for point in &mut drawn {
                point.loss *= (noise * random::normal(&mut rng)).exp();
            }
            parabolas(&drawn)
        });
        checks.push(Check {
            method: "isoFLOP parabolas",
            n_opt,
            interval: interval(draws, level),
            verdict: "they disagree; either L(N, D) is not the form of these losses, the interval is too narrow and the parabolas are the better guess, or runs of few budgets mislead them",
        });
    }
    if let Ok(fit) = parametric::fit(&points, &FitOptions::default()) {
        checks.push(Check {
            method: "L(N, D) without priors",
            n_opt: fit.law.optimum(target).0,
            interval: None,
            verdict: "they disagree; either the answers alone do not fix the law, or the priors are wrong for it",
        });
    }
    checks.retain(|c| c.n_opt.is_finite() && c.n_opt > 0.0);
    checks
}

/// Bounds that hold a share `level` of what was drawn.
fn interval(draws: impl Iterator<Item = f64>, level: f64) -> Option<(f64, f64)> {
    let mut draws: Vec<f64> = draws.filter(|n| n.is_finite() && *n > 0.0).collect();
    draws.sort_by(f64::total_cmp);
    let at = |q: f64| draws[((draws.len() - 1) as f64 * q).round() as usize];
    (draws.len() >= FEWEST_DRAWS).then(|| (at((1.0 - level) / 2.0), at((1.0 + level) / 2.0)))
}

/// A sentence where a check differs from `n_opt` by more than both intervals, the law's and the parabolas', explain together.
pub fn note(check: &Check, checks: &[Check], n_opt: &Estimate) -> Option<String> {
    let off = check.n_opt / n_opt.value - 1.0;
    let (way, own) = match off > 0.0 {
        true => ("above", n_opt.high / n_opt.value),
        false => ("below", n_opt.value / n_opt.low),
    };
    let other = checks.iter().find_map(|c| {
        let (low, high) = c.interval?;
        Some(if off > 0.0 {
            c.n_opt / low
        } else {
            high / c.n_opt
        })
    });
    let joined = own.ln().hypot(other.unwrap_or(1.0).max(1.0).ln());
    let apart = (1.0 + off).ln().abs() > joined;
    (off.abs() > AGREE && apart).then(|| {
        format!(
            "{} put the target's best N {:.0} % {way}: {}",
            check.method,
            100.0 * off.abs(),
            check.verdict
        )
    })
}

fn point(seen: &Seen) -> Point {
    Point {
        params: seen.params,
        tokens: seen.tokens,
        flops: FLOPS_A_PAIR * seen.params * seen.tokens,
        loss: seen.loss,
        size: None,
        seed: None,
        kind: None,
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn methods_disagree_only_beyond_their_intervals() {
        let n_opt = Estimate {
            value: 1e8,
            low: 0.9e8,
            high: 1.1e8,
        };
        let check = |n_opt: f64, interval| Check {
            method: "isoFLOP parabolas",
            n_opt,
            interval,
            verdict: "they disagree",
        };
        let told = |c: Check| note(&c, &[c], &n_opt).is_some();
        assert!(told(check(1.5e8, Some((1.4e8, 1.6e8)))));
        assert!(!told(check(1.5e8, Some((0.9e8, 2e8)))));
        assert!(!told(check(1.05e8, Some((1.04e8, 1.06e8)))));
        assert!(told(check(0.6e8, None)));
        assert_eq!(interval([1.0; 49].into_iter(), 0.9), None);
        let draws = (0..=100).map(|i| 1.0 + f64::from(i));
        assert_eq!(interval(draws, 0.9), Some((6.0, 96.0)));
    }
}
