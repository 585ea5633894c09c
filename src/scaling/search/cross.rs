//! The same answers by other methods: parabolas through the runs of each budget, which assume no law, and L(N, D) without
//! priors. Where the truth is not of the form E + A/N^α + B/D^β the first is nearer to it, and says so by differing.

use super::belief::Seen;
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
    /// What a disagreement means.
    #[serde(skip)]
    verdict: &'static str,
}

/// Methods that differ by no more than this share agree, as far as a search can tell.
const AGREE: f64 = 0.1;

/// Whatever the answers allow; a method that they do not allow is left out.
pub fn checks(seen: &[Seen], target: f64) -> Vec<Check> {
    let points: Vec<Point> = seen.iter().map(point).collect();
    let mut checks = Vec::new();
    if let Ok(fit) = isoflop::fit(&points, 0, 0)
        && let Some(parabola) = fit.method(Method::Parabola)
    {
        checks.push(Check {
            method: "isoFLOP parabolas",
            n_opt: parabola.params.at(target),
            verdict: "L(N, D) is not the form of these losses, the interval is too narrow, and the parabolas are the better guess",
        });
    }
    if let Ok(fit) = parametric::fit(&points, &FitOptions::default()) {
        checks.push(Check {
            method: "L(N, D) without priors",
            n_opt: fit.law.optimum(target).0,
            verdict: "the answers alone do not fix the law",
        });
    }
    checks.retain(|c| c.n_opt.is_finite() && c.n_opt > 0.0);
    checks
}

/// A sentence where a check differs from `n_opt`.
pub fn note(check: &Check, n_opt: f64) -> Option<String> {
    let off = check.n_opt / n_opt - 1.0;
    let way = if off > 0.0 { "above" } else { "below" };
    (off.abs() > AGREE).then(|| {
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
