use super::*;

fn number(study: &Study, row: usize, key: &str) -> f64 {
    let column = study.columns.iter().position(|c| c.key == key).unwrap();
    match &study.rows[row][column] {
        Cell::Number(x) | Cell::Fixed(x, _) => *x,
        Cell::Count(n) => *n as f64,
        Cell::Text(text) => panic!("{text}"),
    }
}

#[test]
fn every_study_has_a_table_and_a_picture() {
    for (name, _) in STUDIES {
        let study = run(name, &Problem::unit()).unwrap();
        assert!(
            !study.rows.is_empty() && !study.picture.panels.is_empty(),
            "{name}"
        );
        for row in &study.rows {
            assert_eq!(row.len(), study.columns.len(), "{name}");
        }
        for line in study.picture.panels.iter().flat_map(|p| &p.lines) {
            assert!(
                line.points.iter().flatten().all(|x| x.is_finite()),
                "{name} {}",
                line.name
            );
        }
    }
    let error = run("lr-transfr", &Problem::unit()).unwrap_err().to_string();
    assert!(error.contains("did you mean 'lr-transfer'"), "{error}");
}

/// The digits that we know of arXiv 2501.18965's package (two of them, rounded twice, end one up).
#[test]
fn lr_transfer() {
    let study = run("lr-transfer", &Problem::unit()).unwrap();
    let want = [1.231, 0.774, 0.665, 0.498, 0.345, 0.184, 0.096];
    for (row, want) in want.iter().enumerate() {
        let found = number(&study, row, "linear");
        assert!((found - want).abs() < 6e-4, "{row}: {found} {want}");
    }
}

#[test]
fn horizon_transfer() {
    let study = run("horizon-transfer", &Problem::unit()).unwrap();
    let rho = [0.625, 0.525, 0.475, 0.425, 0.400, 0.375];
    let fraction = [0.438, 0.634, 0.775, 0.887, 0.972, 1.0];
    for row in 0..6 {
        assert!(
            (number(&study, row, "rho") - rho[row]).abs() < 1e-9,
            "{row}"
        );
        assert!(
            (number(&study, row, "fraction") - fraction[row]).abs() < 6e-4,
            "{row}"
        );
    }
    for (row, want) in [
        (1, [0.025628, 0.023090, 0.022569, 0.022488, 0.022372]),
        (5, [0.021335, 0.016636, 0.016185, 0.015862, 0.015816]),
    ] {
        let keys = ["naive", "two_stage", "cooldown", "exact", "linear"];
        for (key, want) in keys.iter().zip(want) {
            let found = number(&study, row, key);
            assert!((found - want).abs() < 6e-7, "{row} {key}: {found} {want}");
        }
    }
}

#[test]
fn multiple_horizon() {
    let study = run("multiple-horizon", &Problem::unit()).unwrap();
    assert_eq!(
        study.notes,
        [
            "cosine: γ* ≈ 0.920·T^(-0.492)",
            "wsd: γ* ≈ 0.471·T^(-0.488)"
        ]
    );
}

#[test]
fn cooldowns_at_fixed_lr_have_a_best_length_and_tuned_ones_want_all() {
    let study = run("cooldown-length", &Problem::unit()).unwrap();
    let least = |key: &str| {
        let all: Vec<f64> = (0..study.rows.len())
            .map(|row| number(&study, row, key))
            .collect();
        all.iter()
            .enumerate()
            .min_by(|a, b| a.1.total_cmp(b.1))
            .unwrap()
            .0
    };
    assert_eq!(least("omega_star"), study.rows.len() - 1);
    for key in ["omega_at_0.02", "omega_at_0.04"] {
        assert!(
            (1..study.rows.len() - 1).contains(&least(key)),
            "{key}: {}",
            least(key)
        );
    }
}

#[test]
fn distance_and_norm_are_units() {
    let other = Problem {
        distance: 3.0,
        norms: GradNorms::Constant(2.0),
        ..Problem::unit()
    };
    let [unit, scaled] =
        [Problem::unit(), other].map(|problem| run("cooldown-length", &problem).unwrap());
    for row in 0..unit.rows.len() {
        for (key, by) in [
            ("gamma_star", 1.5),
            ("omega_star", 6.0),
            ("omega_at_0.02", 6.0),
            ("omega_at_0.07", 6.0),
        ] {
            let (unit, scaled) = (number(&unit, row, key), number(&scaled, row, key));
            assert!(
                (scaled / (by * unit) - 1.0).abs() < 1e-9,
                "{row} {key}: {scaled}"
            );
        }
    }
    assert_eq!(unit.notes.len() + 1, scaled.notes.len());
    assert_eq!(unit.columns[3].head, "Ω, γ=0.02");
}

#[test]
fn only_the_last_iterate_has_a_logarithm_to_lose() {
    let notes = |iterate| {
        let problem = Problem {
            iterate,
            ..Problem::unit()
        };
        run("wsd-detail", &problem).unwrap().notes.concat()
    };
    assert!(notes(Iterate::Last).contains("logarithm"));
    let least = notes(Iterate::Min);
    assert!(
        least.starts_with("wsd: Ω* ≈") && !least.contains("logarithm"),
        "{least}"
    );
}

#[test]
fn sgd_cools_down() {
    let study = run("convex-example", &Problem::unit()).unwrap();
    let last = |row| number(&study, row, "last");
    assert!(last(1) < 0.3 * last(0) && last(2) < 0.3 * last(0));
}
