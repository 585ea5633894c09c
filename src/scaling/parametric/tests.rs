use super::*;
use crate::scaling::point;
use proptest::prelude::*;
use std::path::{Path, PathBuf};

pub(in crate::scaling) const TRUTH: ScalingLaw = ScalingLaw {
    e: 1.9,
    a: 420.0,
    b: 1100.0,
    alpha: 0.34,
    beta: 0.33,
};

/// Six sizes by six token counts of [`TRUTH`], with noise of this size that is the same each time.
pub(in crate::scaling) fn grid(noise: f64) -> Vec<Point> {
    points_of(&TRUTH, noise)
}

fn points_of(law: &ScalingLaw, noise: f64) -> Vec<Point> {
    let cells = (0..6).flat_map(|i| (0..6).map(move |j| (i, j)));
    let point = |(i, j): (i32, i32)| {
        let (n, d) = (1e7 * 3f64.powi(i), 1e9 * 2.5f64.powi(j));
        let wave = (f64::from(i * 17 + j * 29) * 1.7).sin();
        Point {
            params: n,
            tokens: d,
            flops: 6.0 * n * d,
            loss: law.loss(n, d) * (noise * wave).exp(),
            size: None,
            seed: None,
            kind: None,
        }
    };
    cells.map(point).collect()
}

pub(in crate::scaling) fn public(name: &str) -> Option<Vec<Point>> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/curves")
        .join(name);
    if !path.exists() {
        println!("skipped: {} not found", path.display());
        return None;
    }
    Some(point::read(&path).unwrap().points)
}

fn close(got: f64, want: f64, share: f64) {
    assert!((got / want - 1.0).abs() < share, "{got} is not {want}");
}

#[test]
fn chinchillas_optimum() {
    let Some(points) = public("chinchilla_epoch.csv") else {
        return;
    };
    let fit = fit(&points, &FitOptions::default()).unwrap();
    // A least objective found by SciPy with tight tolerances; its digits end where these bounds do.
    close(fit.objective, 1.0182740178e-3, 2e-10);
    close(fit.law.a, 477.826, 1e-6);
    close(fit.law.b, 2143.42, 2e-6);
    close(fit.law.e, 1.817218, 5e-7);
    close(fit.law.alpha, 0.347310, 2e-6);
    close(fit.law.beta, 0.367172, 2e-6);
    assert_eq!(fit.starts, 4500);
    assert!(fit.agree > 0.98, "{}", fit.agree);
    let (n, d) = fit.law.optimum(5.76e23);
    close(n, 73.2e9, 1e-3);
    close(d, 1.312e12, 1e-3);
}

#[test]
fn the_course_assignments_law_is_recovered() {
    let Some(points) = public("isoflops_curves.json") else {
        return;
    };
    let fit = fit(&points, &FitOptions::default()).unwrap();
    close(fit.law.e, 2.69, 1e-8);
    close(fit.law.a, 1606.4, 1e-7);
    close(fit.law.alpha, 0.34, 1e-7);
    close(fit.law.b, 3210.7, 1e-7);
    close(fit.law.beta, 0.36, 1e-7);
    close(fit.law.optimum(1e23).0, 91.892e9, 1e-5);
    close(fit.law.optimum(1e24).0, 300.307e9, 1e-5);
}

#[test]
fn starts_agree_and_threads_change_nothing() {
    let points = grid(0.004);
    let options = FitOptions::default();
    let found = fit(&points, &options).unwrap();
    assert!(found.agree > 0.9, "{}", found.agree);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    assert_eq!(
        pool.unwrap().install(|| fit(&points, &options)).unwrap(),
        found
    );
}

#[test]
fn an_outlier_moves_little() {
    let mut points = grid(0.0);
    points[7].loss *= 1.5;
    let found = fit(&points, &FitOptions::default()).unwrap();
    close(found.law.alpha, TRUTH.alpha, 0.01);
    close(found.law.e, TRUTH.e, 0.01);
}

#[test]
fn what_cannot_be_fitted_says_why() {
    let error = |points: &[Point]| fit(points, &FitOptions::default()).unwrap_err().to_string();
    let points = grid(0.0);
    assert!(error(&points[..5]).contains("5 points cannot fix the five constants"));
    let all = |change: fn(&mut Point)| {
        let mut points = grid(0.0);
        points.iter_mut().for_each(change);
        points
    };
    assert!(error(&all(|p| p.loss = 3.0)).contains("all 36 losses are 3"));
    assert!(error(&all(|p| p.params = 1e8)).contains("1 different numbers of parameters"));
    assert!(error(&all(|p| p.tokens = 1e9)).contains("1 different numbers of tokens"));
    let two = error(&all(|p| {
        p.params = if p.params < 1e8 { 1e7 } else { 1.005e9 }
    }));
    assert!(two.contains("2 different numbers of parameters"), "{two}");
    let ratio = error(&all(|p| p.tokens = 20.0 * p.params));
    assert!(ratio.contains("about 20 tokens a parameter"), "{ratio}");
    let budget = error(&all(|p| p.tokens = 1e20 / p.params));
    assert!(budget.contains("the same compute"), "{budget}");
    let power = error(&all(|p| p.tokens = p.params.powf(0.7)));
    assert!(power.contains("follow from the parameters"), "{power}");
    let options = FitOptions { delta: f64::NAN };
    assert!(
        fit(&points, &options)
            .unwrap_err()
            .to_string()
            .contains("delta is NaN")
    );
}

#[test]
fn three_sizes_by_three_lengths_are_enough() {
    let cells = (0..3).flat_map(|i| (0..3).map(move |j| 12 * i + 2 * j));
    let points: Vec<Point> = cells.map(|at| grid(0.0)[at].clone()).collect();
    let found = fit(&points, &FitOptions::default()).unwrap();
    close(found.law.alpha, TRUTH.alpha, 1e-3);
    close(found.law.beta, TRUTH.beta, 1e-3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5))]

    #[test]
    fn any_law_is_recovered(e in 0.5..3.0f64, a in 1.0..6.0f64, b in 2.0..7.0f64, alpha in 0.2..0.6f64, beta in 0.2..0.6f64) {
        // A and B such that each term matters on the grid.
        let law = ScalingLaw { e, a: 0.1 * a * 1e8f64.powf(alpha), b: 0.1 * b * 1e10f64.powf(beta), alpha, beta };
        let found = fit(&points_of(&law, 0.0), &FitOptions::default()).unwrap().law;
        for (got, want) in [(found.e, law.e), (found.alpha, alpha), (found.beta, beta)] {
            prop_assert!((got / want - 1.0).abs() < 1e-5, "{found:?} is not {law:?}");
        }
    }

    #[test]
    fn wild_points_never_panic(losses in proptest::collection::vec(1e-3..1e6f64, 8), sizes in proptest::collection::vec(1.0..1e15f64, 8)) {
        let mut points = grid(0.0)[..8].to_vec();
        for ((p, loss), size) in points.iter_mut().zip(&losses).zip(&sizes) {
            p.loss = *loss;
            p.params = *size;
        }
        points[7].tokens *= 3.0;
        let _ = fit(&points, &FitOptions::default());
    }
}
