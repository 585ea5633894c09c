//! Ways on to a longer horizon, with the base LR of the shorter one.

use super::{
    Cell, Column, Panel, Picture, Problem, Study, linspace, lr_line, omega_line, reference,
};
use crate::design::bound::schedules::Reference;
use crate::error::Result;
use crate::schedule::count;

/// The horizon trained for, with wsd and this cooldown.
const FIRST: usize = 4000;
const COOLDOWN: f64 = 0.2;
const TRIALS: usize = 33;

/// The LRs of `prefix` and then a straight line from its last to 0, which step `steps + 1` would have.
pub fn cooled_from(prefix: &[f64], steps: usize) -> Vec<f64> {
    let last = prefix.last().copied().unwrap_or(1.0);
    let free = (steps + 1).saturating_sub(prefix.len());
    let mut lrs = prefix.to_vec();
    lrs.extend((1..free).map(|t| last - t as f64 * last / free as f64));
    lrs
}

/// Of `trials`, the one whose schedule's γ* is nearest to `gamma`, and that schedule's LRs.
fn nearest(
    problem: &Problem,
    gamma: f64,
    trials: &[f64],
    lrs: impl Fn(f64) -> Result<Vec<f64>>,
) -> Result<(f64, Vec<f64>)> {
    let mut best = (f64::INFINITY, f64::NAN, Vec::new());
    for &trial in trials {
        let lrs = lrs(trial)?;
        let off = (problem.split(&lrs)?.best_lr() - gamma).abs();
        if off < best.0 {
            best = (off, trial, lrs);
        }
    }
    Ok((best.1, best.2))
}

/// The LRs of `prefix`, then its last one times `rho`, then straight to 0 over `fraction` of the run.
fn staged(prefix: &[f64], rho: f64, fraction: f64, steps: usize) -> Vec<f64> {
    let total = steps + 1;
    let free = total.saturating_sub(prefix.len()).max(1);
    let cooldown = ((fraction * total as f64) as usize).clamp(1, free);
    let mut lrs = prefix.to_vec();
    lrs.resize(
        total - cooldown,
        rho * prefix.last().copied().unwrap_or(1.0),
    );
    cooled_from(&lrs, steps)
}

/// Two stages at one base LR: the factor ρ of the second for which `gamma` is the best base LR again, of 33 from 0.2 to 1. The
/// first is the unit LRs `prefix`, and the cooldown takes `fraction` of the run. Gives ρ and the unit LRs.
///
/// # Errors
/// Norms that do not reach as far.
pub fn two_stage(
    problem: &Problem,
    gamma: f64,
    prefix: &[f64],
    fraction: f64,
    steps: usize,
) -> Result<(f64, Vec<f64>)> {
    let lrs = |rho: f64| Ok(staged(prefix, rho, fraction, steps));
    nearest(problem, gamma, &linspace(0.2, 1.0, TRIALS), lrs)
}

/// T1 = 4000 to 1.5 to 4 times as many steps.
pub fn transfer(problem: &Problem) -> Result<Study> {
    let first = problem.split(&Reference::wsd(COOLDOWN, false).lrs(FIRST, 0)?)?;
    let gamma = first.best_lr();
    let kept = ((1.0 - COOLDOWN) * FIRST as f64) as usize;
    let (mut rows, mut panels) = (Vec::new(), Vec::new());
    for times in [1.5, 2.0, 2.5, 3.0, 3.5, 4.0] {
        let steps = (times * FIRST as f64) as usize;
        let norms = problem.norms.over(steps)?;
        let bound = problem.bound(&norms);
        let naive = Reference::wsd(COOLDOWN, false).lrs(steps, 0)?;
        let (rho, staged) = two_stage(problem, gamma, &vec![1.0; kept], COOLDOWN, steps)?;
        let adapted = |c: f64| Reference::wsd(c, false).lrs(steps, 0);
        let (fraction, adapted) = nearest(problem, gamma, &linspace(0.1, 1.0, TRIALS), adapted)?;
        let cooled = cooled_from(&vec![1.0; kept + 1], steps);
        let exact = bound.extend(&vec![gamma; kept], steps)?;
        let linear = reference("linear", steps)?;
        let linear_lr = bound.split(&linear).best_lr();
        let at = |lrs: &[f64]| Cell::Number(bound.split(lrs).at(gamma));
        rows.push(vec![
            Cell::Count(steps as u64),
            at(&naive),
            Cell::Fixed(rho, 3),
            at(&staged),
            Cell::Fixed(fraction, 3),
            at(&adapted),
            at(&cooled),
            Cell::Number(exact.omega),
            Cell::Number(bound.split(&linear).best()),
        ]);
        if times == 2.0 {
            let all = [
                ("same cooldown", &naive, gamma),
                ("two stages", &staged, gamma),
                ("cooldown from the end of the prefix", &cooled, gamma),
                ("exact", &exact.lrs, 1.0),
                ("linear from scratch", &linear, linear_lr),
            ];
            let lrs = all
                .iter()
                .map(|(name, lrs, gamma)| lr_line(name, lrs, *gamma));
            panels.push(Panel::small("learning rate", lrs.collect()));
            let curves = all
                .iter()
                .map(|(name, lrs, g)| omega_line(problem, name, lrs, *g));
            panels.push(Panel::new("Ω", curves.collect::<Result<_>>()?));
        }
    }
    Ok(Study {
        title: format!(
            "From T = {}, wsd with a cooldown of {COOLDOWN}, to longer horizons",
            count(FIRST as u64)
        ),
        columns: vec![
            Column::new("steps", "T"),
            Column::new("naive", "naive"),
            Column::new("rho", "ρ"),
            Column::new("two_stage", "2 stages"),
            Column::new("fraction", "c"),
            Column::new("adapted", "adapted"),
            Column::new("cooldown", "cooldown"),
            Column::new("exact", "exact"),
            Column::new("linear", "linear"),
        ],
        rows,
        notes: vec![
            format!(
                "all but linear keep the base LR γ* = {gamma:.4e} of T = {}",
                count(FIRST as u64)
            ),
            format!(
                "naive: the same cooldown fraction; 2 stages: the LR times ρ from step {} on; adapted: a cooldown of c, \
                 which may begin before that step; cooldown: all after it; exact: the least Ω with that prefix; linear: \
                 from scratch, at its own γ*",
                count(kept as u64)
            ),
        ],
        picture: Picture {
            x: "step".into(),
            steps: true,
            panels,
        },
    })
}
