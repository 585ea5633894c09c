//! What the data cannot tell, in plain sentences.

use super::coordinates::Coordinates;
use super::data::FitData;
use super::fitted::Fit;
use crate::error::{Error, Result};
use crate::law::Law;

/// A prior dominates a parameter whose interval is at least this share of the prior's own.
const DOMINATED: f64 = 0.8;
/// A positive parameter is loose when its 90 % interval spans more than this factor.
const LOOSE_FACTOR: f64 = 10.0;
/// Above this condition number some combination of parameters is all but free.
const ILL_CONDITIONED: f64 = 1e6;

/// R² of the fitted (binned) losses of a curve below which a law cannot be said to describe it; noise alone brings raw
/// single-batch losses down to .9.
const DESCRIBES: f64 = 0.8;

/// What to do about that.
pub(crate) const AT_ODDS: &str =
    "look at the picture, and fit runs of different models or data apart";

/// Laws of no more parameters than the power law alone have nothing to say of cooldowns.
const BASE_PARAMETERS: usize = 3;

/// Refuses a fit to constant LRs where some parameter without a prior acts through changes only.
/// `asked` is the law that the user named: `law` itself, or the one it rests on.
pub(crate) fn refuse_blind_parameters(
    law: &dyn Law,
    asked: &str,
    data: &FitData,
    coordinates: &Coordinates,
) -> Result<()> {
    if !data.constant_lr() {
        return Ok(());
    }
    let p = coordinates.len();
    let starts = law.starts(&data.scales);
    let Some(start) = starts.first() else {
        return Ok(());
    };
    let parameters = coordinates.parameters(&coordinates.of(start));
    let mut seen = vec![false; p];
    for curve in &data.curves {
        let n = curve.losses.len();
        let (mut out, mut jacobian) = (vec![0.0; n], vec![0.0; n * p]);
        law.evaluate(&curve.path, &parameters, &mut out, Some(&mut jacobian));
        for row in jacobian.chunks_exact(p) {
            for j in 0..p {
                seen[j] |= (row[j] * parameters[j].abs().max(1e-3)).abs() > 1e-9;
            }
        }
    }
    let blind: Vec<&str> = (0..p)
        .filter(|&j| !seen[j] && !coordinates.is_fixed(j) && !coordinates.has_prior(j))
        .map(|j| law.parameters()[j].name)
        .collect();
    if blind.is_empty() {
        return Ok(());
    }
    Err(Error::input(format!(
        "the LR of the fitted curves never falls, so that the law {asked} cannot learn {}: add a curve with a cooldown, or fit --law opl",
        list(&blind)
    )))
}

impl Fit {
    /// Whether the law describes the fitted curve of that name, all parts of it together (R² of at least 0.8); it does not where
    /// there is no such curve.
    pub fn describes(&self, curve: &str) -> bool {
        let own = self.curves.iter().find(|c| c.name == curve);
        own.and_then(|c| c.r2).is_some_and(|r2| r2 >= DESCRIBES)
    }
}

/// A sentence where the law does not describe what it was fitted to, with the curves and their R². Also of a fit that was
/// read from a file, unless an older version wrote it.
pub fn undescribed(fit: &Fit) -> Option<String> {
    let mut missed: Vec<String> = (fit.curves.iter())
        .filter_map(|curve| {
            let r2 = curve.r2.filter(|r2| *r2 < DESCRIBES)?;
            Some(format!("{} (R² {r2:.2})", curve.name))
        })
        .collect();
    // Parts of one run.
    missed.dedup();
    (!missed.is_empty()).then(|| {
        format!(
            "the law {} does not describe {}: neither its parameters nor its predictions mean anything there",
            fit.law.name(),
            missed.join(" and ")
        )
    })
}

/// What a reader of the parameters should know, one sentence each; and whether more data would help.
pub(crate) fn notes(fit: &Fit, data: &FitData) -> (Vec<String>, bool) {
    let mut notes = Vec::new();
    if let Some(missed) = undescribed(fit) {
        notes.push(format!("{missed}; {AT_ODDS}"));
    }
    if data.constant_lr() && fit.law.parameters().len() > BASE_PARAMETERS {
        notes.push(
            "the LR of the fitted curves never falls: what the law says of a cooldown rests on its priors, or on the warm-up"
                .to_string(),
        );
    }
    let p = fit.params.len();
    let names = |keep: &dyn Fn(usize) -> bool| -> Vec<&'static str> {
        (0..p)
            .filter(|&j| keep(j))
            .map(|j| fit.law.parameters()[j].name)
            .collect()
    };
    let at_bound = names(&|j| fit.params[j].at_bound);
    if !at_bound.is_empty() {
        notes.push(format!(
            "{} {} on a bound of the law: the data ask for more, or cannot tell",
            list(&at_bound),
            if at_bound.len() == 1 { "lies" } else { "lie" }
        ));
    }
    let dominated = names(&|j| {
        fit.coordinates
            .prior_sd(j)
            .is_some_and(|sd| fit.covariance[j * p + j].sqrt() >= DOMINATED * sd)
    });
    if !dominated.is_empty() {
        notes.push(format!(
            "{}: the prior says it, not the data",
            list(&dominated)
        ));
    }
    let loose = names(&|j| {
        let param = &fit.params[j];
        fit.coordinates.log[j]
            && !fit.coordinates.has_prior(j)
            && !param.at_bound
            && param.high > LOOSE_FACTOR * param.low
    });
    if !loose.is_empty() {
        notes.push(format!(
            "these curves hardly tell {}: its interval spans more than a factor of {LOOSE_FACTOR}",
            list(&loose)
        ));
    } else if fit.condition > ILL_CONDITIONED {
        notes.push(format!(
            "some combination of the parameters is all but free (condition number {:.0e}): trust predictions of similar schedules, not single parameters",
            fit.condition
        ));
    }
    let lacking = !notes.is_empty();
    if fit.starts > 3 && 4 * fit.agree < fit.starts {
        notes.push(format!(
            "only {} of {} starts agree: the best fit may not be the only one",
            fit.agree, fit.starts
        ));
    }
    (notes, lacking)
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_string(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
