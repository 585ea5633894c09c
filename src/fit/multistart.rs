//! Many starts: sorted on thinned data, the best polished on all of it.

use super::coordinates::Coordinates;
use super::data::FitData;
use super::objective::Objective;
use super::optimise::{Limits, Minimum, minimise};
use super::options::FitOptions;
use super::random;
use crate::law::Law;
use rayon::prelude::*;

/// Points that starts are sorted on, over all curves, and no fewer than this many a curve.
const SORTING_POINTS: usize = 120;
const SORTING_POINTS_A_CURVE: usize = 16;
const SORTING: Limits = Limits {
    iterations: 40,
    tolerance: 1e-4,
};
/// Sorting takes δ this many times as wide: nearly squares, whose minima are reached in far fewer steps.
const SORTING_WIDTH: f64 = 4.0;
const POLISHING: Limits = Limits {
    iterations: 400,
    tolerance: 1e-9,
};
/// How many of the sorted starts are polished.
const POLISHED: usize = 3;
/// Two starts agree when, on the thinned data that they are sorted on, they end within this share of one
/// objective.
pub const AGREEMENT: f64 = 0.01;
/// Spread, in fitting coordinates, of the starts that are drawn around a law's own.
const SPREAD: f64 = 0.7;

/// What a search found.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) best: Minimum,
    pub(crate) starts: usize,
    /// Starts whose sorting ended within [`AGREEMENT`] of the best.
    pub(crate) agree: usize,
}

/// The best minimum from all starts. The same bits for any number of threads: every start is
/// computed alone, and compared in order.
pub(crate) fn search(
    law: &dyn Law,
    data: &FitData,
    coordinates: &Coordinates,
    options: &FitOptions,
) -> Search {
    let starts = starts(law, data, coordinates, options);
    let most = (SORTING_POINTS / data.curves.len()).max(SORTING_POINTS_A_CURVE);
    let thinned = data.thinned(most);
    let objective = |data, delta| Objective {
        law,
        data,
        coordinates,
        residual: options.residual,
        delta,
    };
    let coarse = objective(&thinned, SORTING_WIDTH * options.delta);
    let mut sorted: Vec<Minimum> = starts
        .par_iter()
        .map(|start| minimise(&coarse, start, SORTING))
        .collect();
    sorted.sort_by(|a, b| a.value.total_cmp(&b.value));
    let least = sorted[0].value;
    let agree = sorted
        .iter()
        .filter(|m| m.value <= least * (1.0 + AGREEMENT) + 1e-6)
        .count();
    // One of each basin: starts that agree in objective and place need no second polish.
    let mut basins: Vec<&Minimum> = Vec::new();
    for minimum in sorted.iter().filter(|m| m.value.is_finite()) {
        let known = |b: &&Minimum| {
            (minimum.value - b.value).abs() <= AGREEMENT * b.value + 1e-6
                && b.u
                    .iter()
                    .zip(&minimum.u)
                    .all(|(a, b)| (a - b).abs() <= 0.1 * (1.0 + a.abs()))
        };
        if !basins.iter().any(known) {
            basins.push(minimum);
        }
        if basins.len() == POLISHED {
            break;
        }
    }
    let fine = objective(data, options.delta);
    let polished: Vec<Minimum> = basins
        .par_iter()
        .map(|minimum| minimise(&fine, &minimum.u, POLISHING))
        .collect();
    let best = polished
        .into_iter()
        .min_by(|a, b| a.value.total_cmp(&b.value))
        .unwrap_or_else(|| sorted[0].clone());
    Search {
        best,
        starts: starts.len(),
        agree,
    }
}

/// The minimum next to `start`, parameters in their own units, on all of the data.
pub(crate) fn near(
    law: &dyn Law,
    data: &FitData,
    coordinates: &Coordinates,
    options: &FitOptions,
    start: &[f64],
) -> Search {
    let objective = Objective {
        law,
        data,
        coordinates,
        residual: options.residual,
        delta: options.delta,
    };
    let mut start = coordinates.of(start);
    coordinates.clamp(&mut start);
    Search {
        best: minimise(&objective, &start, POLISHING),
        starts: 1,
        agree: 1,
    }
}

/// The law's own starts, and as many drawn around them as `options.starts` asks beyond those.
fn starts(
    law: &dyn Law,
    data: &FitData,
    coordinates: &Coordinates,
    options: &FitOptions,
) -> Vec<Vec<f64>> {
    let own: Vec<Vec<f64>> = law
        .starts(&data.scales)
        .iter()
        .map(|start| coordinates.of(start))
        .collect();
    let wanted = options.starts.unwrap_or(own.len()).max(1);
    (0..wanted)
        .map(|i| {
            let mut start = own[i % own.len()].clone();
            if i >= own.len() {
                let mut draw = random::stream(options.seed, random::STARTS, i as u64);
                for (u, log) in start.iter_mut().zip(&coordinates.log) {
                    let width = if *log { SPREAD } else { SPREAD * u.abs() };
                    *u += width * random::normal(&mut draw);
                }
                coordinates.clamp(&mut start);
            }
            start
        })
        .collect()
}
