//! How far a law is to be believed: laws can be exploited.
//!
//! The multi-power law's own optimum, step by step, drops most of the peak in a single step, and the momentum law's
//! drops to 0 within two; no run behind their fits shows such a thing. So drops are limited to what the
//! fitted curves show, what the fit cannot support is refused, and a gain is held against what the fit does not know.

use super::families::Candidate;
use super::problem::Problem;
use crate::error::{Error, Result};
use crate::fit::{self, Fit, FittedCurve};
use crate::schedule::{count, percent};

/// Shares of a run over which the whole peak may fall at the fastest, unless the user says otherwise.
///
/// A law that has seen cooldowns over 20 % of runs alone will say that 5 % is better: on `docs/cooldown-experiment.md`'s
/// runs `elr` said so by 0.016 nats where it was worse by 0.05. So a design falls as fast as the fitted curves do, for
/// their length, and no faster; but a cooldown over a fifth of a run is what everybody trains with, and may always be.
const USUAL: f64 = 0.2;
/// Where a fitted curve jumps, so that the law has seen what a steep fall does, or where there is no fit to ask. Of the
/// optima of three published fits of the multi-power law, smooth ones, none falls as fast.
const SEEN: f64 = 0.05;
/// However steep the fitted curves are.
const FASTEST: f64 = 0.01;

/// A horizon of so many times the longest fitted run is no longer extrapolation but a guess.
pub const MOST_EXTRAPOLATION: f64 = 20.0;
/// Within this factor of what was fitted nothing is beyond it.
const SLACK: f64 = 1.02;
/// Curves whose LR never falls below this share of its peak do not show what a decay does.
const DECAYED: f64 = 0.9;
/// A design that ends above this share of the LR that it starts from never cools down.
pub const HELD: f64 = 0.9;
/// A design that spends this share of its fall at the limit would fall faster if it were let.
const HELD_BACK: f64 = 0.5;

/// The largest drop a step, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustRule {
    /// Share of the peak.
    pub largest_drop: f64,
    /// As a phrase.
    pub why: String,
}

/// The rule for a run of `steps`, of which the last `free` are to be designed.
pub fn rule(fit: Option<&Fit>, steps: u64, free: u64) -> TrustRule {
    let curves = || fit.iter().flat_map(|fit| &fit.curves);
    let steep = |curve: &FittedCurve| Some(curve.steepest? * curve.steps as f64);
    let shown = curves().filter_map(steep).fold(0.0, f64::max);
    let shown = if shown > 0.0 {
        1.0 / shown
    } else {
        f64::INFINITY
    };
    let jumped = curves()
        .any(|c| c.steepest == Some(0.0) && c.lowest_lr.is_some_and(|share| share <= DECAYED));
    let (share, why) = match fit {
        None => (
            SEEN,
            "parameters given by hand do not say what the curves showed",
        ),
        Some(_) if shown < FASTEST => (FASTEST, "the fitted curves fall faster still"),
        Some(_) if jumped && shown > SEEN => (
            SEEN,
            "the LR of a fitted curve jumps, so steep falls were seen",
        ),
        Some(_) if shown <= SLACK * USUAL => {
            (shown, "as steep, for their length, as the fitted curves")
        }
        Some(_) if shown.is_finite() => (
            USUAL,
            "a usual cooldown; the fitted curves fall more slowly",
        ),
        Some(_) => (
            USUAL,
            "a usual cooldown; the law file does not say how the fitted curves fall",
        ),
    };
    // A fall of the whole peak must fit into what is left.
    let length = (share * steps as f64).min(free as f64).max(1.0);
    TrustRule {
        largest_drop: (1.0 / length).min(1.0),
        why: why.to_string(),
    }
}

/// Refuses what a fit cannot support; gives warnings for what it hardly does. `force` turns refusals that are a matter
/// of degree into warnings.
///
/// # Errors
/// Curves without a decay; unless forced, curves that the law does not describe, a peak LR outside those fitted, and a
/// horizon beyond [`MOST_EXTRAPOLATION`] times the longest curve.
pub fn support(fit: &Fit, problem: &Problem, force: bool) -> Result<Vec<String>> {
    let lowest = fit.curves.iter().map(|c| c.lowest_lr);
    let lowest = lowest.collect::<Option<Vec<f64>>>();
    if let Some(lowest) = lowest
        && lowest.iter().all(|share| *share > DECAYED)
    {
        return Err(Error::input(format!(
            "the law {} was fitted to runs whose learning rate never falls below {} of its peak, so it cannot say what a decay gains; fit it with one curve that decays",
            fit.law.name(),
            percent(lowest.iter().copied().fold(1.0, f64::min))
        )));
    }
    let mut warnings = Vec::new();
    let mut doubt = |what: String, advice: &str| match force {
        true => {
            warnings.push(what);
            Ok(())
        }
        false => Err(Error::input(format!(
            "{what}; {advice}, or give lehr design --force"
        ))),
    };
    if let Some(missed) = fit::undescribed(fit) {
        doubt(
            missed,
            "look at the picture of lehr fit, and fit runs of different models or data apart",
        )?;
    }
    let peaks = || fit.curves.iter().map(|c| c.peak_lr);
    let (low, high) = (
        peaks().fold(f64::INFINITY, f64::min),
        peaks().fold(0.0, f64::max),
    );
    let peak = problem.limits.peak_lr;
    if !(low / SLACK..=high * SLACK).contains(&peak) {
        let seen = match low == high {
            true => format!("{low:e} alone"),
            false => format!("{low:e} to {high:e}"),
        };
        doubt(
            format!("the peak LR {peak:e} lies outside what the law was fitted to ({seen})"),
            "train at one of these, fit curves with this one",
        )?;
    }
    let longest = fit.curves.iter().map(|c| c.steps).max().unwrap_or(0).max(1);
    let steps = problem.limits.steps;
    let beyond = steps as f64 / longest as f64;
    if beyond > MOST_EXTRAPOLATION {
        doubt(
            format!(
                "{} steps are {beyond:.0} times the longest fitted run ({}), and beyond {MOST_EXTRAPOLATION} times a law is a guess",
                count(steps),
                count(longest)
            ),
            "shorten the run, fit longer curves",
        )?;
    } else if beyond > SLACK {
        warnings.push(format!(
            "{} steps are {beyond:.1} times the longest fitted run ({}): the end is an extrapolation",
            count(steps),
            count(longest)
        ));
    }
    Ok(warnings)
}

/// A sentence where the trust rule, and not the law, decides the shape, or where nothing falls.
pub fn held_back(problem: &Problem, lrs: &[f64]) -> Option<String> {
    let end = lrs.last().copied().unwrap_or_default();
    // A floor that high is the user's doing.
    let may_fall = problem.limits.min_lr < HELD * problem.level();
    if end >= HELD * problem.level() && may_fall {
        return Some(format!(
            "the law {} would hold the learning rate to the end: it predicts more from training at it than from \
             lowering it as slowly as the trust rule asks; that is rarely so in long runs, and a longer fitted cooldown would tell",
            problem.model.law.name()
        ));
    }
    let limit = 0.99 * problem.limits.largest_drop * problem.limits.peak_lr;
    let from = problem.prefix().len() - 1;
    let drops = lrs[from..].windows(2).map(|w| w[0] - w[1]);
    let (mut all, mut held) = (0.0, 0.0);
    for drop in drops {
        all += drop;
        held += if drop >= limit { drop } else { 0.0 };
    }
    (all > 0.0 && held > HELD_BACK * all).then(|| {
        format!(
            "the trust rule shapes this, not the law: {} of the fall is as steep as the rule allows; left alone, {} \
             would fall faster than the curves that it was fitted to, about which it can say nothing \
             (a fitted run with a steeper cooldown lets it, and so does --largest-drop)",
            percent(held / all),
            problem.model.law.name()
        )
    })
}

/// A design beside one other schedule of the same run.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    pub baseline: Candidate,
    /// Predicted final loss of the design minus the baseline's, in nats: below 0 the design is better.
    pub difference: f64,
    /// Half-width of its 90 % interval, from what the fit does not know of its parameters; none without a fit.
    pub half_width: Option<f64>,
    /// Whether the baseline falls no faster than the trust rule lets a design, on the average over half of its fall. A
    /// law that is not believed about a steeper design is not believed about a steeper baseline either.
    pub within: bool,
}

/// The best of those that the law is believed about; of all, where there is none.
pub fn rival(compared: &[Comparison]) -> &Comparison {
    let within = compared.iter().find(|c| c.within);
    within.unwrap_or(&compared[0])
}

/// The design beside each of `baselines`; differences are paired, so that what all schedules share cancels.
pub fn compare(
    fit: Option<&Fit>,
    problem: &Problem,
    designed: (&[f64], f64),
    baselines: Vec<Candidate>,
) -> Vec<Comparison> {
    let compared = baselines.into_iter().map(|baseline| Comparison {
        difference: designed.1 - baseline.loss,
        half_width: fit.map(|fit| difference(fit, problem, designed.0, &baseline.lrs).1),
        within: keeps(problem, &baseline.lrs),
        baseline,
    });
    compared.collect()
}

/// Predicted final loss under the LRs `a` minus that under `b`, nats, and the half-width of its 90 % interval from what the
/// fit does not know of its parameters.
pub fn difference(fit: &Fit, problem: &Problem, a: &[f64], b: &[f64]) -> (f64, f64) {
    let span = a.len().div_ceil(2000);
    let (mean, sd) = fit.difference(&problem.path(a, span), &problem.path(b, span));
    (mean, narrow(fit) * fit.interval_factor() * sd)
}

/// Where a parameter lies on a bound, the linearised intervals hold it there and come out too narrow: of 192 of them, from
/// synthetic fits of which most were such, 136 held the truth instead of 173.
const ON_A_BOUND: f64 = 2.0;

/// By what the intervals of a fit's differences are widened.
fn narrow(fit: &Fit) -> f64 {
    match fit.params.iter().any(|p| p.at_bound) {
        true => ON_A_BOUND,
        false => 1.0,
    }
}

/// A sentence where intervals were widened.
pub fn on_a_bound(fit: &Fit) -> Option<String> {
    let names = fit.law.parameters().iter().zip(&fit.params);
    let names: Vec<&str> = names
        .filter(|(_, p)| p.at_bound)
        .map(|(info, _)| info.name)
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "the intervals of the gains are doubled, since {} on a bound of the law",
            match names[..] {
                [one] => format!("{one} lies"),
                _ => format!("{} lie", names.join(", ")),
            }
        )
    })
}

/// Whether a schedule falls no faster than the trust rule's, on the average over half of its fall.
pub fn keeps(problem: &Problem, lrs: &[f64]) -> bool {
    let from = problem.prefix().len() - 1;
    let steepest = fit::steepest_fall(&lrs[from..], problem.limits.peak_lr);
    steepest <= problem.limits.largest_drop * 1.02
}

/// What is to be made of a gain.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Predicted gain over the best baseline, in nats.
    pub gain: f64,
    /// Half-width of its 90 % interval from the parameters.
    pub half_width: Option<f64>,
    /// By how much two runs that share their batches differ for reasons that no law knows, 90 %.
    pub pair_noise: Option<f64>,
    /// Share of the parameter sets drawn from the fit under which the design is better.
    pub wins: Option<f64>,
    /// Whether the gain exceeds both together; unknown without a fit.
    pub believable: Option<bool>,
    pub sentence: String,
}

/// Differences that are rounding, in nats.
const NOTHING: f64 = 5e-5;

/// A final loss that is open by more than this share of itself is not known.
const UNKNOWN: f64 = 0.1;

/// A sentence where the fit leaves the design's final loss itself open, `half_width` being that of its 90 % interval.
pub fn open(loss: f64, half_width: f64) -> Option<String> {
    (half_width > UNKNOWN * loss.abs()).then(|| {
        format!(
            "the fit leaves the final loss open by ± {half_width:.2} nats, so it cannot tell schedules apart: fit longer curves, one of them cooled down"
        )
    })
}

/// Parameter sets drawn from a fit.
const DRAWS: usize = 200;

/// Holds the gain over the best baseline against what is not known.
pub fn judge(
    fit: Option<&Fit>,
    problem: &Problem,
    designed: &[f64],
    best: &Comparison,
    seed: u64,
) -> Verdict {
    let gain = -best.difference;
    let name = best.baseline.family.words();
    let none = format!(
        "no gain: under the same law {name} ends {:.4} nats lower",
        -gain
    );
    let (Some(fit), Some(half_width)) = (fit, best.half_width) else {
        return Verdict {
            gain,
            half_width: None,
            pair_noise: None,
            wins: None,
            believable: None,
            sentence: match gain < -NOTHING {
                true => none,
                false => format!(
                    "{gain:.4} nats under {name}, the best of the usual schedules; parameters given by hand do not say how sure that is"
                ),
            },
        };
    };
    let loss = match fit.options.residual.is_log() {
        true => best.baseline.loss,
        false => 1.0,
    };
    let noise = &fit.noise;
    let run = (noise.offset_sd.powi(2) + noise.correlated * noise.sd.powi(2)).sqrt();
    let pair_noise = fit.interval_factor() * std::f64::consts::SQRT_2 * run * loss;
    let unknown = half_width.hypot(pair_noise);
    let believable = gain > unknown;
    let sentence = if believable {
        format!(
            "{gain:.4} ± {half_width:.4} nats under {name}, the best of the usual schedules; two runs that share their batches differ by ± {pair_noise:.4} by chance"
        )
    } else if gain < -NOTHING {
        format!("{none} (± {half_width:.4})")
    } else if gain < NOTHING {
        format!(
            "none: within the trust rule nothing ends lower than {name} by a ten-thousandth of a nat (± {half_width:.4})"
        )
    } else if gain <= half_width {
        format!(
            "not worth believing: {gain:.4} nats under {name}, the best of the usual schedules, and the fit does not know that to better than ± {half_width:.4}; either is a fair choice"
        )
    } else {
        format!(
            "not worth believing from one pair of runs: {gain:.4} ± {half_width:.4} nats under {name}, the best of the usual schedules, where two runs that share their batches differ by ± {pair_noise:.4} by chance"
        )
    };
    Verdict {
        gain,
        half_width: Some(half_width),
        pair_noise: Some(pair_noise),
        wins: wins(fit, problem, designed, &best.baseline.lrs, seed),
        believable: Some(believable),
        sentence,
    }
}

fn wins(fit: &Fit, problem: &Problem, designed: &[f64], other: &[f64], seed: u64) -> Option<f64> {
    let span = designed.len().div_ceil(2000);
    let paths = [problem.path(designed, span), problem.path(other, span)];
    let draws = fit.draws(DRAWS, seed);
    let better = |parameters: &Vec<f64>| {
        let [own, other] = [&paths[0], &paths[1]].map(|path| {
            let mut out = [f64::NAN];
            fit.law.evaluate(path, parameters, &mut out, None);
            out[0]
        });
        own < other
    };
    let won = draws.iter().filter(|parameters| better(parameters)).count();
    (!draws.is_empty()).then(|| won as f64 / draws.len() as f64)
}
