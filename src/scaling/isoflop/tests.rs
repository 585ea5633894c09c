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
        (Method::Argmin, 1.163, 0.4687, [70.05, 206.1], [237.9, 808.6]),
        (Method::ArgminRaw, 25.8, 0.404, [50.0, 126.8], [337.0, 1332.0]),
        (Method::Parabola, 0.1332, 0.5146, [91.1, 298.1], [182.9, 559.2]),
        (Method::ParabolaNear, 0.1361, 0.5143, [91.9, 300.2], [181.4, 555.2]),
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
            let digits = if method == Method::Argmin || i == 1 { 4.0 } else { 3.0 };
            near(found.params.at(flops) / 1e9, params[i], digits);
            near(found.tokens.at(flops) / 1e9, tokens[i], if raw { 3.0 } else { digits });
        }
    }
}
