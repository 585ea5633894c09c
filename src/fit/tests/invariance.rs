//! What must not matter: threads, the order of curves, the units of the LR, the length of a step.

use super::*;
use crate::fit::{Fit, FitOptions, bootstrap, fit};

const NOISE: RunNoise = RunNoise {
    sd: 4e-4,
    slow: 0.5,
    tau: 400.0,
    offset: 2e-4,
};

fn noisy(name: &str, truth: &[f64]) -> Vec<LossCurve> {
    let law = law(name);
    let curves = three();
    curves
        .iter()
        .enumerate()
        .map(|(i, c)| observed(c, &*law, truth, NOISE, i as u64))
        .collect()
}

const LAWS: [(&str, &[f64]); 4] = [
    ("tissue", &[2.5, 0.6, 0.45, 0.3, 400.0]),
    ("mpl", &[2.5, 0.6, 0.45, 180.0, 0.5, 0.6, 0.6]),
    ("mplx", &[2.5, 0.6, 0.45, 150.0, 8.0]),
    ("fsl-fixed", &[2.5, 0.6, 0.45, 150.0, 60.0]),
];

fn fitted(name: &str, curves: &[LossCurve]) -> Fit {
    let curves: Vec<&LossCurve> = curves.iter().collect();
    fit(&law(name), &curves, &FitOptions::default()).unwrap()
}

#[test]
fn the_same_bits_on_1_2_and_3_threads() {
    let curves = noisy("mpl", LAWS[1].1);
    let bits = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let fit = fitted("mpl", &curves);
            let resampled = bootstrap(&fit, 6, 1).unwrap();
            let numbers = fit.parameters().into_iter().chain(fit.covariance.clone());
            let numbers = numbers.chain(resampled.draws.concat());
            (numbers.map(f64::to_bits).collect::<Vec<_>>(), fit.notes)
        })
    };
    let one = bits(1);
    assert_eq!(one, bits(2));
    assert_eq!(one, bits(3));
}

#[test]
fn the_order_of_curves_does_not_matter() {
    for (name, truth) in LAWS {
        let mut curves = noisy(name, truth);
        let before = fitted(name, &curves);
        curves.rotate_left(1);
        let after = fitted(name, &curves);
        for (a, b) in before.params.iter().zip(&after.params) {
            assert!(
                (a.value / b.value - 1.0).abs() < 1e-4,
                "{name}: {} {}",
                a.value,
                b.value
            );
        }
    }
}

#[test]
fn lrs_in_other_units_give_the_same_predictions() {
    // Not the laws that fix a constant in units of the LR, as published (MPLX, FSL with c3 = 1.5).
    for (name, truth) in &LAWS[..2] {
        let curves = noisy(name, truth);
        let before = fitted(name, &curves);
        let mut scaled = curves.clone();
        for lr in scaled.iter_mut().flat_map(|c| &mut c.lrs) {
            *lr *= 1e3;
        }
        let after = fitted(name, &scaled);
        let wsd = run(9000, wsd);
        let larger: Vec<f64> = wsd.iter().map(|lr| 1e3 * lr).collect();
        for step in [1000, 5000, 8000, 9000] {
            let a = before.predict_lrs(&wsd, WARMUP, &[step])[0];
            let b = after.predict_lrs(&larger, WARMUP, &[step])[0];
            assert!((a - b).abs() < 2e-5, "{name} at {step}: {a} {b}");
        }
    }
}

#[test]
fn steps_counted_in_pairs_give_the_same_predictions() {
    // Every step of a run counted as two of the same LR: S₁ doubles, so do the steps of every memory.
    for (name, truth) in &LAWS[..2] {
        let curves = noisy(name, truth);
        let before = fitted(name, &curves);
        let doubled: Vec<LossCurve> = curves
            .iter()
            .map(|c| LossCurve {
                points: c
                    .points
                    .iter()
                    .map(|p| Point {
                        step: 2 * p.step,
                        ..*p
                    })
                    .collect(),
                lrs: c.lrs.iter().flat_map(|lr| [*lr, *lr]).collect(),
                warmup: WarmUp::Known(2 * WARMUP),
                ..c.clone()
            })
            .collect();
        let after = fitted(name, &doubled);
        let wsd = run(9000, wsd);
        let longer: Vec<f64> = wsd.iter().flat_map(|lr| [*lr, *lr]).collect();
        for step in [1000, 5000, 8000, 9000] {
            let a = before.predict_lrs(&wsd, WARMUP, &[step])[0];
            let b = after.predict_lrs(&longer, 2 * WARMUP, &[2 * step])[0];
            assert!((a - b).abs() < 1e-4, "{name} at {step}: {a} {b}");
        }
    }
}

#[test]
fn priors_weigh_the_same_however_densely_a_curve_was_logged() {
    let truth = LAWS[1].1;
    let law = law("mpl");
    let at = |every| -> Fit {
        let curves: Vec<LossCurve> = [("cosine", run(6000, cosine)), ("drop", run(5000, drop))]
            .into_iter()
            .map(|(name, lrs)| observed(&curve(name, lrs, every), &*law, truth, NO_NOISE, 0))
            .collect();
        fitted("mpl", &curves)
    };
    let (sparse, dense) = (at(100), at(20));
    let wsd = run(9000, wsd);
    for step in [2000, 8000, 9000] {
        let [a, b] = [&sparse, &dense].map(|fit| fit.predict_lrs(&wsd, WARMUP, &[step])[0]);
        assert!((a - b).abs() < 3e-3, "at {step}: {a} {b}");
    }
}
