//! From loss curves to what is fitted: which points, binned how, weighted how, on which path.

use super::options::{FitOptions, Weights};
use crate::curve::{LossCurve, LossKind, Point, WarmUp};
use crate::error::{Error, Result};
use crate::law::{Path, Scales};

/// Bins are made for curves of more points than this …
const DENSE: usize = 600;
/// … of a width that leaves at most this many.
const BINNED: u64 = 400;
/// A bin ends where the LR changes by more than this share from one point to the next.
const JUMP: f64 = 0.05;
/// The default first step, as a share of the shortest curve.
const FIRST_SHARE: f64 = 0.05;
/// Changes of the LR are taken together over this share of a run, and over ten times as much while
/// starts are sorted. Blocks keep mean and variance, so that predictions move by far less than any noise.
const GROUP_SHARE: f64 = 1e-3;

/// The fitted points of one curve.
#[derive(Clone, Debug)]
pub struct FitCurve {
    pub name: String,
    /// Whether these are training or held-out losses.
    pub kind: LossKind,
    pub path: Path,
    /// Loss at each point of `path`: the logged one, or the mean of a bin.
    pub losses: Vec<f64>,
    /// What each point counts.
    pub weight: f64,
    /// Steps a bin; 1: as logged.
    pub bin: u64,
    /// Highest LR up to the last point.
    pub peak_lr: f64,
    /// Length of the warm-up in steps, 0 where unknown.
    pub warmup: u64,
}

/// What a fit sees.
#[derive(Clone, Debug)]
pub struct FitData {
    pub curves: Vec<FitCurve>,
    /// First step fitted.
    pub from: u64,
    pub scales: Scales,
}

impl FitData {
    /// Selects, bins and weighs the points of `curves`.
    ///
    /// # Errors
    /// One sentence naming the curve, for: no curve at all, no point from the first fitted step on,
    /// a loss that is not finite or not positive, a loss that never
    /// changes, an LR that is negative or not finite, LRs of 0 throughout, LRs that end before the points.
    pub fn new(curves: &[&LossCurve], options: &FitOptions) -> Result<FitData> {
        check_options(options)?;
        let shortest = curves
            .iter()
            .filter_map(|c| c.points.last())
            .map(|p| p.step)
            .min();
        let Some(shortest) = shortest else {
            return Err(Error::input(
                "there is no point to fit: give at least one loss curve",
            ));
        };
        let warmup = curves.iter().map(|c| warmup_of(c)).max().unwrap_or(0);
        let from = options.from.unwrap_or_else(|| {
            warmup
                .max((FIRST_SHARE * shortest as f64).round() as u64)
                .max(1)
        });
        let mut fitted = Vec::with_capacity(curves.len());
        for curve in curves {
            check(curve, from)?;
            fitted.push(FitCurve::new(curve, from, options.bin));
        }
        let total: usize = fitted.iter().map(|c| c.losses.len()).sum();
        if options.weights == Weights::Curves {
            let share = total as f64 / fitted.len() as f64;
            for curve in &mut fitted {
                curve.weight = share / curve.losses.len() as f64;
            }
        }
        let scales = scales(&fitted);
        if scales.loss_high - scales.loss_low <= 1e-9 * scales.loss_high.abs() {
            return Err(Error::input(format!(
                "{} never changes from step {from} on (it is {} throughout): there is nothing to fit",
                if fitted.len() == 1 {
                    "the loss"
                } else {
                    "no loss"
                },
                scales.loss_low
            )));
        }
        Ok(FitData {
            curves: fitted,
            from,
            scales,
        })
    }

    /// How many points are fitted.
    pub fn points(&self) -> usize {
        self.curves.iter().map(|c| c.losses.len()).sum()
    }

    /// The same with at most `most` points a curve, evenly chosen, ends kept, and coarser paths: enough to
    /// tell good starts from bad ones.
    pub(crate) fn thinned(&self, most: usize) -> FitData {
        let curves = self.curves.iter().map(|c| c.thinned(most)).collect();
        FitData {
            curves,
            from: self.from,
            scales: self.scales,
        }
    }

    /// Whether the LR of every curve stays where it is from the first fitted step on.
    pub(crate) fn constant_lr(&self) -> bool {
        self.curves.iter().all(|curve| {
            let lrs = &curve.path.lrs[(curve.warmup as usize).min(curve.path.lrs.len())..];
            let low = lrs.iter().copied().fold(f64::INFINITY, f64::min);
            curve.peak_lr - low <= 1e-3 * curve.peak_lr
        })
    }
}

impl FitCurve {
    fn new(curve: &LossCurve, from: u64, bin: Option<u64>) -> FitCurve {
        let points: Vec<Point> = curve
            .points
            .iter()
            .copied()
            .filter(|p| p.step >= from)
            .collect();
        let bin = bin.unwrap_or_else(|| automatic_bin(&points));
        let (steps, losses) = binned(&points, &curve.lrs, from, bin);
        let warmup = warmup_of(curve);
        let last = *steps.last().expect("checked: a point to fit");
        let path = Path::grouped(&curve.lrs, warmup, &steps, group(last, GROUP_SHARE));
        FitCurve {
            name: curve.name.clone(),
            kind: curve.kind,
            peak_lr: path.lrs.iter().copied().fold(0.0, f64::max),
            path: path.of_size(curve.parameters),
            losses,
            weight: 1.0,
            bin,
            warmup,
        }
    }

    /// Whether both have one name and the LRs of one run, as far as both go.
    pub(crate) fn is_of_one_run(&self, other: &FitCurve) -> bool {
        let (own, other_lrs) = (&self.path.lrs, &other.path.lrs);
        let both = own.len().min(other_lrs.len());
        self.name == other.name && own[..both] == other_lrs[..both]
    }

    fn thinned(&self, most: usize) -> FitCurve {
        let n = self.losses.len();
        let kept: Vec<usize> = match n <= most {
            true => (0..n).collect(),
            false => (0..most).map(|i| i * (n - 1) / (most - 1)).collect(),
        };
        let steps: Vec<u64> = kept.iter().map(|&i| self.path.steps[i] as u64).collect();
        let last = steps.last().copied().unwrap_or(0);
        let path = Path::grouped(
            &self.path.lrs,
            self.warmup,
            &steps,
            group(last, 10.0 * GROUP_SHARE),
        );
        FitCurve {
            name: self.name.clone(),
            path: path.of_size(self.path.size),
            losses: kept.iter().map(|&i| self.losses[i]).collect(),
            weight: self.weight * n as f64 / kept.len() as f64,
            ..*self
        }
    }

    /// The same curve with other losses: what resampling fits.
    pub(crate) fn with_losses(&self, losses: Vec<f64>) -> FitCurve {
        FitCurve {
            losses,
            ..self.clone()
        }
    }
}

/// Steps taken together as one change of the LR, in a run of `last` steps.
pub(crate) fn group(last: u64, share: f64) -> usize {
    ((last as f64 * share) as usize).max(1)
}

/// The path of `lrs` at `steps` as fits evaluate it: changes of the LR over a thousandth of the
/// run are taken together.
pub fn path(lrs: &[f64], warmup: u64, steps: &[u64]) -> Path {
    let last = steps.last().copied().unwrap_or(0);
    Path::grouped(lrs, warmup, steps, group(last, GROUP_SHARE))
}

/// The path of a curve at all of its points.
pub fn path_of(curve: &LossCurve) -> Path {
    let steps: Vec<u64> = curve.points.iter().map(|p| p.step).collect();
    path(&curve.lrs, warmup_of(curve), &steps).of_size(curve.parameters)
}

/// Steps of warm-up: as known, and on while the LR still rises, so that no last bit of the rise counts as an
/// event of the run; 0 where unknown.
pub(crate) fn warmup_of(curve: &LossCurve) -> u64 {
    let WarmUp::Known(known) = curve.warmup else {
        return 0;
    };
    if known == 0 {
        return 0;
    }
    let from = (known as usize - 1).min(curve.lrs.len());
    let rising = curve.lrs[from..]
        .windows(2)
        .take_while(|pair| pair[1] > pair[0])
        .count();
    known + rising as u64
}

fn scales(curves: &[FitCurve]) -> Scales {
    let all = |of: fn(&FitCurve) -> &[f64]| curves.iter().flat_map(move |c| of(c).iter().copied());
    let highest = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::NEG_INFINITY, f64::max);
    let lowest = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
    Scales {
        lr: highest(&mut curves.iter().map(|c| c.peak_lr)),
        s1: highest(&mut all(|c| &c.path.s1)),
        s1_first: lowest(&mut all(|c| &c.path.s1)),
        steps: highest(&mut all(|c| &c.path.steps)),
        loss_low: lowest(&mut all(|c| &c.losses)),
        loss_high: highest(&mut all(|c| &c.losses)),
    }
}

/// The smallest of 1, 2, 5, 10, 20, … steps that leaves at most [`BINNED`] points; 1 for a curve that
/// is not dense.
fn automatic_bin(points: &[Point]) -> u64 {
    if points.len() <= DENSE {
        return 1;
    }
    let span = points[points.len() - 1].step - points[0].step + 1;
    let least = span.div_ceil(BINNED);
    let mut decade = 1;
    loop {
        for digit in [1, 2, 5] {
            if digit * decade >= least {
                return digit * decade;
            }
        }
        decade *= 10;
    }
}

/// Mean step (rounded) and mean loss of each bin of `width` steps counted from `from`.
fn binned(points: &[Point], lrs: &[f64], from: u64, width: u64) -> (Vec<u64>, Vec<f64>) {
    if width <= 1 {
        return (
            points.iter().map(|p| p.step).collect(),
            points.iter().map(|p| p.loss).collect(),
        );
    }
    let lr = |p: &Point| lrs.get(p.step.max(1) as usize - 1).copied().unwrap_or(0.0);
    let same_bin = |a: &Point, b: &Point| {
        let jump = (lr(a) - lr(b)).abs() > JUMP * lr(a).max(lr(b));
        (a.step - from) / width == (b.step - from) / width && !jump
    };
    points
        .chunk_by(same_bin)
        .map(|bin| {
            let n = bin.len() as f64;
            // Relative to the first, so that large steps lose no digits.
            let step: f64 = bin.iter().map(|p| (p.step - bin[0].step) as f64).sum();
            let loss: f64 = bin.iter().map(|p| p.loss).sum();
            (bin[0].step + (step / n).round() as u64, loss / n)
        })
        .unzip()
}

fn check_options(options: &FitOptions) -> Result<()> {
    if !(options.delta.is_finite() && options.delta > 0.0) {
        return Err(Error::input(format!(
            "the Huber threshold must be a positive number, not {} (--delta)",
            options.delta
        )));
    }
    if options.bin == Some(0) {
        return Err(Error::input(
            "a bin must hold at least 1 step, not 0 (--bin)",
        ));
    }
    if options.starts == Some(0) {
        return Err(Error::input(
            "a fit needs at least 1 start, not 0 (--starts)",
        ));
    }
    Ok(())
}

fn check(curve: &LossCurve, from: u64) -> Result<()> {
    let name = &curve.name;
    let fitted = || curve.points.iter().filter(|p| p.step >= from);
    let Some(last) = fitted().next_back() else {
        let last = curve.points.last().map_or(0, |p| p.step);
        return Err(Error::input(format!(
            "{name} has no point from step {from} on (it ends at step {last}): fit from an earlier step (--from)"
        )));
    };
    if let Some(bad) = fitted().find(|p| !p.loss.is_finite()) {
        return Err(Error::input(format!(
            "{name}: the loss at step {} is {}, which cannot be fitted: drop that point",
            bad.step, bad.loss
        )));
    }
    if let Some(bad) = fitted().find(|p| p.loss <= 0.0) {
        return Err(Error::input(format!(
            "{name}: the loss at step {} is {}, but a cross-entropy is positive: check the loss column",
            bad.step, bad.loss
        )));
    }
    if curve
        .points
        .windows(2)
        .any(|pair| pair[1].step <= pair[0].step)
    {
        return Err(Error::input(format!(
            "{name}: steps must increase from point to point"
        )));
    }
    if (curve.lrs.len() as u64) < last.step {
        return Err(Error::input(format!(
            "{name}: the LR is known for {} steps only, but the curve goes on to step {}: give its whole schedule",
            curve.lrs.len(),
            last.step
        )));
    }
    let lrs = &curve.lrs[..last.step as usize];
    if let Some(step) = lrs.iter().position(|lr| !(lr.is_finite() && *lr >= 0.0)) {
        return Err(Error::input(format!(
            "{name}: the LR of step {step} is {}: an LR is a finite number of at least 0",
            lrs[step]
        )));
    }
    if lrs.iter().all(|lr| *lr == 0.0) {
        return Err(Error::input(format!(
            "{name}: the LR is 0 at every step, so nothing was trained: check the LR column"
        )));
    }
    Ok(())
}
