//! Intervals by profile likelihood: how far one parameter can go while the others make up for it.

use super::bootstrap::{fitted_data, objective};
use super::fitted::{Fit, student};
use super::objective::Objective;
use super::optimise::{Limits, minimise};
use crate::error::{Error, Result};

const REFIT: Limits = Limits {
    iterations: 100,
    tolerance: 1e-7,
};
/// Bisections of the crossing.
const HALVINGS: usize = 12;

/// How far a parameter can go, in its own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    pub low: f64,
    pub high: f64,
    /// Whether the law's bound came before the objective had risen enough: the data do not limit the
    /// parameter on that side.
    pub low_open: bool,
    pub high_open: bool,
}

/// The 90 % profile interval of the parameter called `name`: where the objective, minimised over all other
/// parameters, rises by `½·t²·V_jj/(H⁻¹)_jj`. For independent Gaussian noise of known size `V = H⁻¹`, and this
/// is the likelihood ratio; here `V` is the fit's covariance, so that correlated residuals count as few. Follows
/// curved valleys that a covariance cannot.
///
/// # Errors
/// An unknown or fixed parameter; a fit that was read from a file.
pub fn profile(fit: &Fit, name: &str) -> Result<Profile> {
    let data = fitted_data(fit)?;
    let names: Vec<&str> = fit.law.parameters().iter().map(|p| p.name).collect();
    let Some(j) = names.iter().position(|n| *n == name) else {
        return Err(Error::input(format!(
            "the law {} has no parameter {name}; it has {}",
            fit.law.name(),
            names.join(", ")
        )));
    };
    if fit.coordinates.is_fixed(j) {
        return Err(Error::input(format!(
            "{name} is fixed, so it has no interval"
        )));
    }
    let objective = objective(fit, data);
    let u = fit.coordinates.of(&fit.parameters());
    let best = minimise(&objective, &u, REFIT);
    let p = u.len();
    let sd = fit.covariance[j * p + j].sqrt();
    let ratio = fit.covariance[j * p + j] / fit.naive_variances[j].max(f64::MIN_POSITIVE);
    let rise = 0.5 * student(fit.degrees).powi(2) * ratio;
    let side = |sign: f64| walk(&objective, &best.u, best.value + rise, j, sign, sd);
    let (low, low_open) = side(-1.0);
    let (high, high_open) = side(1.0);
    let at = |u: f64| if fit.coordinates.log[j] { u.exp() } else { u };
    Ok(Profile {
        low: at(low),
        high: at(high),
        low_open,
        high_open,
    })
}

/// From the minimum in direction `sign`: where the profile crosses `target`, or the bound.
fn walk(
    objective: &Objective,
    best: &[f64],
    target: f64,
    j: usize,
    sign: f64,
    sd: f64,
) -> (f64, bool) {
    let coordinates = objective.coordinates;
    let bound = if sign < 0.0 {
        coordinates.low[j]
    } else {
        coordinates.high[j]
    };
    let within = |u: f64| {
        if sign < 0.0 {
            u.max(bound)
        } else {
            u.min(bound)
        }
    };
    let mut inside = (best[j], best.to_vec());
    let mut reach = sd.max(1e-6 * (1.0 + best[j].abs()));
    let value_at = |u: f64, start: &[f64]| {
        let held = coordinates.holding(j, u);
        let objective = Objective {
            coordinates: &held,
            ..*objective
        };
        let found = minimise(&objective, start, REFIT);
        (found.value, found.u)
    };
    let mut outside = loop {
        let next = within(inside.0 + sign * reach);
        let (value, u) = value_at(next, &inside.1);
        if value >= target {
            break next;
        }
        if next == bound {
            return (bound, true);
        }
        inside = (next, u);
        reach *= 1.6;
    };
    for _ in 0..HALVINGS {
        let middle = 0.5 * (inside.0 + outside);
        let (value, u) = value_at(middle, &inside.1);
        if value >= target {
            outside = middle;
        } else {
            inside = (middle, u);
        }
    }
    (0.5 * (inside.0 + outside), false)
}
