//! The base `L0 + A·S₁^−α` of most laws: its parameters, bounds and starts; and lists of parameters of which
//! some are held fixed.

use super::{Bounds, Parameter, Prior, Scales};
use crate::error::{Error, Result};

/// Nats that a decay of the LR to a tenth typically gains: where fits of amplitudes start.
pub(super) const TYPICAL_DROP: f64 = 0.15;

pub(super) fn base_parameters(names: [&'static str; 3]) -> [Parameter; 3] {
    [
        Parameter {
            name: names[0],
            unit: "nats",
            what: "loss that no schedule gets below",
            log: false,
        },
        Parameter {
            name: names[1],
            unit: "nats·(lr·step)^alpha",
            what: "reducible loss at intrinsic time 1",
            log: true,
        },
        Parameter {
            name: names[2],
            unit: "",
            what: "exponent of intrinsic time",
            log: true,
        },
    ]
}

pub(super) const SIGMA: Parameter = Parameter {
    name: "sigma",
    unit: "lr·step",
    what: "offset of intrinsic time, for a warm-up not logged",
    log: false,
};

/// Priors by place in the full list become priors by column: what is fixed moves into the centre (as its logarithm
/// where `log` says so), and a prior on fixed parameters alone goes.
pub(super) fn free_priors(
    mut priors: Vec<Prior>,
    fixed: &[Option<f64>],
    log: impl Fn(usize) -> bool,
) -> Vec<Prior> {
    for prior in &mut priors {
        prior
            .terms
            .retain_mut(|(place, weight)| match fixed[*place] {
                Some(value) => {
                    prior.centre -= *weight * if log(*place) { value.ln() } else { value };
                    false
                }
                None => {
                    *place = fixed[..*place].iter().filter(|f| f.is_none()).count();
                    true
                }
            });
    }
    priors.retain(|prior| !prior.terms.is_empty());
    priors
}

/// Bounds of `L0, A, alpha`.
pub(super) fn base_bounds(scales: &Scales) -> Vec<Bounds> {
    let reach = scales.s1.max(1.0 / scales.s1).powi(2);
    vec![
        Bounds {
            // Where responses are subtracted this is the floor of a run that stays at its peak: it may lie
            // above what a cooldown reached.
            low: 0.0,
            high: scales.loss_high,
        },
        Bounds {
            low: 1e-4 / reach,
            high: 1e4 * reach,
        },
        Bounds {
            low: 0.01,
            high: 3.0,
        },
    ]
}

/// Starts of `L0, A, alpha`: power laws through the first and, `above` the lowest, the last loss, for
/// floors at several depths under the lowest loss.
pub(super) fn base_starts(scales: &Scales, above: f64) -> Vec<[f64; 3]> {
    let range = (scales.loss_high - scales.loss_low).max(1e-3);
    let ratio = (scales.s1 / scales.s1_first).max(1.0 + 1e-6).ln();
    let last = scales.loss_low + above.min(0.5 * range);
    [0.4, 0.1, 1.0]
        .map(|depth| {
            let l0 = (scales.loss_low - depth * range).max(0.3 * scales.loss_low);
            let alpha = ((scales.loss_high - l0) / (last - l0)).ln() / ratio;
            let alpha = if alpha.is_finite() {
                alpha.clamp(0.1, 1.0)
            } else {
                0.5
            };
            let a = (last - l0).max(1e-3) * scales.s1.powf(alpha);
            [l0, a, alpha]
        })
        .to_vec()
}

/// Bounds of the offset sigma. Lower than half the first point's S₁ the point itself would lie in the warm-up that
/// sigma stands for, where S₁ stands at its floor: the kink traps optimisers, so the bound lies at it.
pub(super) fn sigma_bounds(scales: &Scales) -> Bounds {
    Bounds {
        low: -0.5 * scales.s1_first,
        high: 0.5 * scales.s1,
    }
}

/// The full list of values, from those that are free.
pub(super) fn expand(fixed: &[Option<f64>], free: &[f64]) -> Vec<f64> {
    let mut free = free.iter();
    fixed
        .iter()
        .map(|fixed| fixed.unwrap_or_else(|| *free.next().expect("one value a parameter")))
        .collect()
}

/// Of a list over all parameters, the free ones.
pub(super) fn free<T: Copy>(all: &[T], fixed: &[Option<f64>]) -> Vec<T> {
    all.iter()
        .zip(fixed)
        .filter(|(_, fixed)| fixed.is_none())
        .map(|(value, _)| *value)
        .collect()
}

/// Enters the user's fixed values; an unknown name is an error that names the law's parameters.
pub(super) fn fix(
    law: &str,
    all: &[Parameter],
    fixed: &mut [Option<f64>],
    wanted: &[(String, f64)],
) -> Result<()> {
    for (name, value) in wanted {
        let Some(index) = all.iter().position(|parameter| parameter.name == name) else {
            let names: Vec<&str> = all.iter().map(|parameter| parameter.name).collect();
            return Err(Error::input(format!(
                "the law {law} has no parameter {name} to fix; it has {}",
                names.join(", ")
            )));
        };
        if !value.is_finite() || (all[index].log && *value <= 0.0) {
            return Err(Error::input(format!(
                "{name} of the law {law} cannot be fixed at {value}; give a {} number",
                if all[index].log { "positive" } else { "finite" }
            )));
        }
        fixed[index] = Some(*value);
    }
    Ok(())
}
