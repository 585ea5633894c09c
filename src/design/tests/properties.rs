//! What holds for every law and every run.

use super::super::knots::Grid;
use super::super::minimise::{Set, Stop, minimise};
use super::*;
use proptest::prelude::*;

fn runs() -> impl Strategy<Value = (usize, u64, f64, f64, f64)> {
    (
        0..LAWS.len(),
        60u64..1500,
        prop_oneof![Just(0.0), 0.0..0.5],
        0.0..0.8,
        0.7..1.4,
    )
}

/// A run of `steps` that has trained `share` of them at a falling LR, or none.
fn problem(law: usize, steps: u64, floor: f64, share: f64, scale: f64) -> Problem {
    let (name, parameters) = LAWS[law];
    let parameters: Vec<f64> = match name {
        // Exponents stay.
        "tissue" => parameters.to_vec(),
        _ => (0..parameters.len())
            .map(|i| parameters[i] * if i == 3 { scale } else { 1.0 })
            .collect(),
    };
    let trained = if share < 0.2 {
        0
    } else {
        (share * steps as f64) as u64
    };
    let warmup = steps / 20;
    let limits = Limits {
        steps,
        peak_lr: 1e-3,
        min_lr: floor * 1e-3 * 0.9,
        warmup,
        largest_drop: trust::rule(None, steps, steps - trained.max(warmup)).largest_drop,
    };
    let lrs: Vec<f64> = (0..trained)
        .map(|s| match s < warmup {
            true => 1e-3 * ((s + 1) as f64 / warmup as f64),
            false => 1e-3 * (1.0 - 0.1 * s as f64 / steps as f64),
        })
        .collect();
    match trained {
        0 => Problem::fresh(model(name, &parameters), limits),
        _ => Problem::remainder(model(name, &parameters), limits, &lrs),
    }
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn designs_keep_their_limits_and_are_the_best_that_is_known(
        (law, steps, floor, share, scale) in runs(),
        knots in prop_oneof![Just(KNOTS), Just(FEW_KNOTS)],
    ) {
        let problem = problem(law, steps, floor, share, scale);
        let others = baselines(&problem);
        let found = best(&problem, &others, knots).unwrap();
        prop_assert!(problem.allows(&found.lrs), "{found:?}");
        prop_assert!((problem.loss(&found.lrs) - found.loss).abs() < 1e-7);
        let start = problem.prefix().len();
        prop_assert!(found.lrs[..start].iter().zip(problem.prefix()).all(|(a, b)| a.to_bits() == b.to_bits()));
        for other in others.iter().filter(|c| problem.allows(&c.lrs)) {
            prop_assert!(found.loss <= other.loss + 1e-9, "{}: {} {}", other.family, found.loss, other.loss);
        }
    }

    #[test]
    fn gradients_at_knots_are_finite_differences(
        (law, steps, floor, share, scale) in runs(),
        at in 0.05..0.95f64,
    ) {
        let problem = problem(law, steps.max(100), floor, share, scale);
        let grid = Grid::new(&problem, 20);
        let last = grid.steps.len() - 1;
        let values: Vec<f64> = (0..=last)
            .map(|i| problem.level() * (1.0 - 0.6 * i as f64 / last as f64))
            .collect();
        let loss = |values: &[f64]| problem.gradient(&grid.lrs(&problem, values)).0;
        let (_, by_lr) = problem.gradient(&grid.lrs(&problem, &values));
        let by_value = grid.pull_back(&by_lr);
        let i = 1 + (at * (last - 1) as f64) as usize;
        let h = 1e-3 * values[i];
        let moved = |by: f64| {
            let mut values = values.clone();
            values[i] += by;
            loss(&values)
        };
        let slope = |h: f64| (moved(h) - moved(-h)) / (2.0 * h);
        let want = (4.0 * slope(0.5 * h) - slope(h)) / 3.0;
        let room = 1e-5 * want.abs() + 1e-9 / h;
        prop_assert!((by_value[i] - want).abs() <= room, "{} {want}", by_value[i]);
    }

    #[test]
    fn projections_are_the_nearest_points(
        x in proptest::collection::vec(-2.0..2.0f64, 6),
        other in proptest::collection::vec(0.0..1.0f64, 6),
        weights in proptest::collection::vec(0.1..3.0f64, 6),
        budget in 0.0..3.0f64,
    ) {
        let set = Set { high: vec![0.7; 6], weights, budget };
        let inside = |x: &[f64]| {
            x.iter().all(|x| (0.0..=0.7).contains(x))
                && x.iter().zip(&set.weights).map(|(x, w)| x * w).sum::<f64>() <= budget + 1e-9
        };
        let mut nearest = x.clone();
        set.project(&mut nearest);
        prop_assert!(inside(&nearest));
        // No other point of the set lies in the direction of x.
        let mut other = other;
        set.project(&mut other);
        let ahead: f64 = (0..6).map(|i| (x[i] - nearest[i]) * (other[i] - nearest[i])).sum();
        prop_assert!(ahead <= 1e-7, "{ahead}");
    }
}

/// A quadratic bowl whose middle lies outside the set: the minimum is where projected gradients end.
#[test]
fn constrained_minima_are_found() {
    let n = 40;
    let set = Set {
        high: vec![0.2; n],
        weights: vec![1.0; n],
        budget: 3.0,
    };
    let middle = |i: usize| 0.3 - 0.01 * i as f64;
    let bend = |i: usize| 10f64.powf(2.0 * i as f64 / n as f64);
    let f = |x: &[f64]| {
        let value = (0..n)
            .map(|i| 0.5 * bend(i) * (x[i] - middle(i)).powi(2))
            .sum();
        let gradient = (0..n).map(|i| bend(i) * (x[i] - middle(i))).collect();
        (value, gradient)
    };
    let stop = Stop {
        evaluations: 300,
        gain: 1e-14,
    };
    let found = minimise(&set, &vec![0.0; n], stop, f);
    let mut simple = vec![0.0; n];
    for _ in 0..20_000 {
        let (_, g) = f(&simple);
        simple.iter_mut().zip(&g).for_each(|(x, g)| *x -= 1e-2 * g);
        set.project(&mut simple);
    }
    assert!((found.value - f(&simple).0).abs() < 1e-9, "{}", found.value);
    assert!(found.evaluations < 100, "{}", found.evaluations);
}
