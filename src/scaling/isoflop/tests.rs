use super::*;
use crate::scaling::law::ScalingLaw;
use proptest::prelude::*;

/// The nine budgets of a course assignment; `None`, having said so, where they are not there.
fn assignment() -> Option<Vec<Point>> {
    let root = std::env::var_os("LEHR_CURVES").map_or_else(
        || std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/curves"),
        std::path::PathBuf::from,
    );
    let path = root.join("isoflops_curves.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: {} not found", path.display());
        return None;
    };
    let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let points = rows.iter().map(|row| {
        let of = |key: &str| row[key].as_f64().unwrap();
        point(of("parameters"), of("compute_budget"), of("final_loss"))
    });
    Some(points.collect())
}

fn point(params: f64, flops: f64, loss: f64) -> Point {
    Point {
        params,
        tokens: flops / (6.0 * params),
        flops,
        loss,
        size: None,
        seed: None,
        kind: None,
    }
}

/// Sizes `ratio` apart around the optimum of each budget, `shift` sizes off its middle.
fn grid(law: &ScalingLaw, budgets: &[f64], ratio: f64, shift: f64) -> Vec<Point> {
    let at = |flops: &f64| {
        let (best, _) = law.optimum(*flops);
        let flops = *flops;
        (-4..=4).map(move |i| {
            let n = best * ratio.powf(f64::from(i) + shift);
            point(n, flops, law.loss(n, flops / (6.0 * n)))
        })
    };
    budgets.iter().flat_map(at).collect()
}

const LAW: ScalingLaw = ScalingLaw {
    e: 1.7,
    a: 400.0,
    b: 900.0,
    alpha: 0.34,
    beta: 0.3,
};

#[test]
fn the_table_of_the_assignment() {
    let Some(points) = assignment() else { return };
    let fit = fit(&points, 200, 0).unwrap();
    assert_eq!((fit.budgets.len(), fit.methods.len()), (9, 5));
    // k, a, N in 10⁹ at 1e23 and 1e24, D in 10⁹ there.
    let table = [
        (
            Method::Argmin,
            1.163,
            0.4687,
            [70.05, 206.1],
            [237.9, 808.6],
        ),
        (
            Method::ArgminRaw,
            25.8,
            0.404,
            [50.0, 126.8],
            [337.0, 1332.0],
        ),
        (
            Method::Parabola,
            0.1332,
            0.5146,
            [91.1, 298.1],
            [182.9, 559.2],
        ),
        (
            Method::ParabolaNear,
            0.1361,
            0.5143,
            [91.9, 300.2],
            [181.4, 555.2],
        ),
    ];
    let near = |found: f64, want: f64, digits: f64| {
        let unit = 10f64.powf(want.log10().floor() + 1.0 - digits);
        assert!((found - want).abs() <= 0.51 * unit, "{found} {want}");
    };
    for (method, k, a, params, tokens) in table {
        let found = fit.method(method).unwrap();
        let raw = method == Method::ArgminRaw;
        near(found.params.k, k, if raw { 3.0 } else { 4.0 });
        near(found.params.a, a, if raw { 3.0 } else { 4.0 });
        for (i, flops) in [1e23, 1e24].into_iter().enumerate() {
            let digits = if method == Method::Argmin || i == 1 {
                4.0
            } else {
                3.0
            };
            near(found.params.at(flops) / 1e9, params[i], digits);
            near(
                found.tokens.at(flops) / 1e9,
                tokens[i],
                if raw { 3.0 } else { digits },
            );
        }
    }
}

#[test]
fn the_lowest_loss_seen_is_biased_by_the_grid_and_curves_are_not() {
    let points = grid(&LAW, &[1e18, 1e19, 1e20, 1e21], 1.6, 0.37);
    let fit = fit(&points, 0, 0).unwrap();
    let exact = LAW.optimum(1e19).0;
    let off = |method| {
        let minima = &fit.method(method).unwrap().minima;
        (minima[1].params / exact).ln().abs()
    };
    assert!(off(Method::Argmin) > 0.15);
    assert!(
        off(Method::ParabolaNear) < 0.02,
        "{}",
        off(Method::ParabolaNear)
    );
    assert!(off(Method::Spline) < 0.05, "{}", off(Method::Spline));
    assert!((fit.spacing() - 1.6).abs() < 1e-9);
    let held = fit.method(Method::Spline).unwrap().held_out.unwrap();
    assert!(held.0 == 1 && held.1 < 0.1, "{held:?}");
}

#[test]
fn budgets_that_do_not_bracket_are_named() {
    let mut points = grid(&LAW, &[1e18, 1e19, 1e20], 1.5, 0.2);
    // One budget of sizes that are all too small.
    points.extend(grid(&LAW, &[1e21], 1.5, -6.0));
    let found = fit(&points, 0, 0).unwrap();
    assert_eq!(found.budgets[3].edge, Some(Edge::Largest));
    assert!(
        found
            .notes
            .iter()
            .any(|n| n.contains("1.00e21 FLOPs (largest size"))
    );
    assert_eq!(found.method(Method::Parabola).unwrap().minima.len(), 3);
    let edges = grid(&LAW, &[1e18, 1e19], 1.5, 6.0);
    let error = fit(&edges, 0, 0).unwrap_err().to_string();
    assert!(error.contains("smallest size"), "{error}");
}

#[test]
fn a_scatter_of_budgets_is_no_grid() {
    let scattered: Vec<Point> = (0..200)
        .map(|i| point(1e8 * 1.02f64.powi(i % 50), 1e18 * 1.013f64.powi(i), 3.0))
        .collect();
    let error = fit(&scattered, 0, 0).unwrap_err().to_string();
    assert!(error.contains("no groups of equal compute"), "{error}");
    assert!(fit(&[], 0, 0).is_err());
}

#[test]
fn seeds_of_one_size_are_one_size() {
    let mut points = grid(&LAW, &[1e18, 1e19], 1.6, 0.0);
    let again: Vec<Point> = points
        .iter()
        .map(|p| point(p.params, p.flops, p.loss + 0.01))
        .collect();
    points.extend(again);
    let found = fit(&points, 20, 0).unwrap();
    assert_eq!(found.budgets[0].sizes.len(), 9);
    let mean = found.budgets[0].sizes[4].loss;
    assert!((mean - LAW.loss(LAW.optimum(1e18).0, LAW.optimum(1e18).1) - 0.005).abs() < 1e-6);
    assert_eq!(found.method(Method::Argmin).unwrap().draws.len(), 20);
}

proptest! {
    #[test]
    fn parabolas_are_recovered(c0 in 2.0..4.0f64, at in -1.0..1.0f64, c2 in 0.01..0.5f64) {
        let sizes: Vec<Size> = (0..7)
            .map(|i| (2e8f64).ln() + 0.4 * f64::from(i - 3) + 0.02 * f64::from(i * i))
            .map(|x| Size {
                params: x.exp(),
                tokens: 1e9,
                loss: c0 + c2 * (x - (2e8f64).ln() - at).powi(2),
            })
            .collect();
        let [a, b, c, middle] = parabola(&sizes).unwrap();
        prop_assert!((c - c2).abs() < 1e-9);
        prop_assert!((middle - b / (2.0 * c) - (2e8f64).ln() - at).abs() < 1e-8);
        prop_assert!((a - b * b / (4.0 * c) - c0).abs() < 1e-9);
    }

    #[test]
    fn junk_never_panics(rows in prop::collection::vec((1e3..1e12f64, 0usize..4, 0.1..9.0f64), 0..40)) {
        let points: Vec<Point> = rows
            .into_iter()
            .map(|(n, budget, loss)| point(n, 1e18 * 10f64.powi(budget as i32), loss))
            .collect();
        let _ = fit(&points, 3, 1);
        let _ = crate::scaling::curves::of_points(&points)
            .and_then(|curves| crate::scaling::envelope::fit(&curves, 3, 1));
    }
}
