//! Known parameters come back, for every law whose parameters three runs can tell.

use super::*;
use crate::fit::{FitOptions, fit};

/// Fits noiseless curves and holds the predictions of an unseen schedule to the truth.
fn recovers(name: &str, truth: &[f64], parameters_to: f64) {
    let law = law(name);
    let curves: Vec<LossCurve> = three()
        .iter()
        .map(|c| observed(c, &*law, truth, NO_NOISE, 0))
        .collect();
    let curves: Vec<&LossCurve> = curves.iter().collect();
    let options = FitOptions {
        priors: false,
        ..FitOptions::default()
    };
    let fit = fit(&law, &curves, &options).unwrap();
    for ((param, &truth), parameter) in fit.params.iter().zip(truth).zip(law.parameters()) {
        let off = (param.value / truth - 1.0).abs();
        assert!(
            off < parameters_to,
            "{name}: {} is {}, not {truth}",
            parameter.name,
            param.value
        );
    }
    let unseen = curve("wsd", run(12_000, wsd), 200);
    let exact = observed(&unseen, &*law, truth, NO_NOISE, 0);
    for (predicted, point) in fit.predict_curve(&unseen).iter().zip(&exact.points) {
        assert!(
            (predicted - point.loss).abs() < 1e-5,
            "{name}: {predicted} at {}",
            point.step
        );
    }
    assert!(fit.objective < 1e-12, "{name}: {}", fit.objective);
}

#[test]
fn opl() {
    recovers("opl", &[2.5, 0.6, 0.45], 1e-5);
}

#[test]
fn lldl() {
    recovers("lldl", &[2.5, 0.6, 0.45, 150.0], 1e-5);
}

#[test]
fn tissue() {
    recovers("tissue", &[2.5, 0.6, 0.45, 0.3, 400.0], 1e-4);
}

#[test]
fn mpl_without_gamma() {
    recovers("mpl-no-gamma", &[2.5, 0.6, 0.45, 180.0, 30.0, 0.6], 1e-3);
}

#[test]
fn mpl() {
    recovers("mpl", &[2.5, 0.6, 0.45, 180.0, 0.5, 0.6, 0.6], 1e-2);
}

#[test]
fn mplx() {
    recovers("mplx", &[2.5, 0.6, 0.45, 150.0, 8.0], 1e-3);
}

#[test]
fn fsl_with_a_fixed_shape() {
    recovers("fsl-fixed", &[2.5, 0.6, 0.45, 150.0, 60.0], 1e-3);
}

#[test]
fn convex_bound() {
    let law = law("convex");
    let truth = [2.5, 60.0, 0.1];
    let curves: Vec<LossCurve> = three()
        .iter()
        .map(|c| observed(c, &*law, &truth, NO_NOISE, 0))
        .collect();
    let curves: Vec<&LossCurve> = curves.iter().collect();
    let fit = fit(&law, &curves, &FitOptions::default()).unwrap();
    for (param, truth) in fit.params.iter().zip(truth) {
        assert!((param.value / truth - 1.0).abs() < 1e-4, "{fit:?}");
    }
}

#[test]
fn outliers_hardly_move_a_robust_fit() {
    let law = law("tissue");
    let truth = [2.5, 0.6, 0.45, 0.3, 400.0];
    let noise = RunNoise {
        sd: 3e-4,
        ..NO_NOISE
    };
    let mut curves: Vec<LossCurve> = three()
        .iter()
        .enumerate()
        .map(|(i, c)| observed(c, &*law, &truth, noise, i as u64))
        .collect();
    for curve in &mut curves {
        for point in curve.points.iter_mut().step_by(17) {
            point.loss *= 1.05;
        }
    }
    let curves: Vec<&LossCurve> = curves.iter().collect();
    let fit = fit(&law, &curves, &FitOptions::default()).unwrap();
    assert!((fit.params[0].value - 2.5).abs() < 0.01, "{fit:?}");
    let squares = FitOptions {
        residual: crate::fit::Residual::LogSquares,
        ..FitOptions::default()
    };
    let pulled = super::super::fit(&law, &curves, &squares).unwrap();
    let end = [12_000];
    let lrs = run(12_000, wsd);
    let exact = {
        let mut out = [0.0];
        law.evaluate(
            &super::super::path(&lrs, WARMUP, &end),
            &truth,
            &mut out,
            None,
        );
        out[0]
    };
    let error = |fit: &crate::fit::Fit| (fit.predict_lrs(&lrs, WARMUP, &end)[0] - exact).abs();
    assert!(
        error(&fit) < 2e-3 && error(&pulled) > 3.0 * error(&fit),
        "{} {}",
        error(&fit),
        error(&pulled)
    );
}
