//! Against the values of the reference package in `omega_reference.json`.

use super::schedules::Reference;
use super::{Bound, Iterate, Split, optimal::optimal};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// `None`, having said so, where the file is not there.
fn public() -> Option<Value> {
    let root = std::env::var_os("LEHR_CURVES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/curves"),
        PathBuf::from,
    );
    let path = root.join("omega_reference.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: {} not found", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

fn near(found: f64, want: &Value, what: &str) {
    let want = want.as_f64().unwrap();
    assert!((found / want - 1.0).abs() < 1e-9, "{what}: {found} {want}");
}

/// 𝒯₁ and 𝒯₂ in the package's arithmetic: it takes the tails of η and η² as differences of sums from the front, which
/// leaves few digits where a schedule ends near 0 (a cosine at T = 44,000: 3 % of Ω is rounding).
fn package(lrs: &[f64]) -> Split {
    let squares: Vec<f64> = lrs.iter().map(|lr| lr * lr).collect();
    let (sum, sum_squares) = (pairwise(lrs), pairwise(&squares));
    let (mut front, mut front_squares) = (0.0, 0.0);
    let mut terms = Vec::new();
    for (lr, square) in lrs.iter().zip(&squares) {
        front += lr;
        front_squares += square;
        let tail = sum - front;
        terms.push(lr / tail * ((sum_squares - front_squares + square) / (tail + lr)));
    }
    terms.pop();
    Split {
        distance: 0.5 / sum,
        noise: sum_squares / (2.0 * sum) + 0.5 * pairwise(&terms),
    }
}

/// NumPy's order of summation.
fn pairwise(x: &[f64]) -> f64 {
    if x.len() > 128 {
        let half = x.len() / 2;
        let (left, right) = x.split_at(half - half % 8);
        return pairwise(left) + pairwise(right);
    }
    if x.len() < 8 {
        return x.iter().fold(0.0, |sum, x| sum + x);
    }
    let mut lanes = [0.0; 8];
    lanes.copy_from_slice(&x[..8]);
    let blocks = x[8..].chunks_exact(8);
    let rest = blocks.remainder();
    for block in blocks {
        lanes.iter_mut().zip(block).for_each(|(sum, x)| *sum += x);
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    rest.iter()
        .fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |sum, x| sum + x)
}

fn times(factor: f64, lrs: &[f64]) -> Vec<f64> {
    lrs.iter().map(|lr| factor * lr).collect()
}

/// Ours equals `want` up to what the package's arithmetic costs on these very LRs; and that arithmetic gives `want` itself, so
/// that schedule and formula are the package's. Returns whether ours is `want` to 1e-9 as it is.
fn same(found: f64, package: f64, want: &Value, exact_cosines: bool, what: &str) -> bool {
    let want = want.as_f64().unwrap();
    let off = (found / want - 1.0).abs();
    assert!(
        off < 1e-9 + 1.01 * (package / found - 1.0).abs(),
        "{what}: {found} {want}"
    );
    assert!(
        !exact_cosines || (package / want - 1.0).abs() < 1e-9,
        "{what}: {package} {want}"
    );
    off < 1e-9
}

fn unit(steps: usize) -> (Vec<f64>, usize) {
    (vec![1.0; steps], steps)
}

fn bound(norms: &[f64]) -> Bound<'_> {
    Bound {
        iterate: Iterate::Last,
        distance: 1.0,
        norms,
    }
}

fn lrs(text: &str, steps: usize) -> Vec<f64> {
    let reference: Reference = text.parse().unwrap();
    reference.lrs(steps, 0).unwrap()
}

fn tuned(text: &str, steps: usize) -> Split {
    bound(&vec![1.0; steps]).split(&lrs(text, steps))
}

#[test]
fn tuned_schedules() {
    let Some(reference) = public() else { return };
    let rows = reference["tuned"].as_array().unwrap();
    assert_eq!(rows.len(), 40);
    let mut equal = 0;
    for row in rows {
        let steps = row["T"].as_u64().unwrap() as usize;
        let name = row["schedule"].as_str().unwrap();
        let text = match name {
            "cosine_to0" => "cosine",
            "cosine_to0.1" => "cosine:final=0.1",
            "wsd_lin_0.2" => "wsd:fraction=0.2",
            "wsd_sqrt_0.2" => "wsd:fraction=0.2,decay=sqrt",
            "inv_sqrt" => "inverse-sqrt",
            name => name,
        };
        let lrs = lrs(text, steps);
        let (norms, what) = (vec![1.0; steps], format!("{name} {steps}"));
        let (ours, theirs) = (bound(&norms).split(&lrs), package(&lrs));
        // NumPy's cosine is not ours to the last bit, and the package's differences are all last bits there.
        let same = |found, package, want| {
            same(
                found,
                package,
                want,
                name != "cosine_to0" || steps < 4000,
                &what,
            )
        };
        let gamma = ours.best_lr();
        let both = [
            same(gamma, theirs.best_lr(), &row["gamma_star"]),
            same(ours.best(), theirs.best(), &row["omega_star"]),
        ];
        equal += usize::from(both == [true, true]);
        let points = [steps / 4, steps / 2, steps];
        let curve = bound(&norms).curve(&lrs, &points);
        let wanted = row["omega_at_T4_T2_T"].as_array().unwrap();
        let base = row["gamma_star"].as_f64().unwrap();
        for ((split, want), point) in curve.iter().zip(wanted).zip(points) {
            let theirs = package(&times(base, &lrs[..point])).at(1.0);
            same(split.at(base), theirs, want);
        }
    }
    println!("{equal} of 40 rows to 1e-9 as they are, the others up to the package's rounding");
    assert_eq!(equal, 32);
}

#[test]
fn exact_minimisers() {
    let Some(reference) = public() else { return };
    for row in reference["exact_minimiser"].as_array().unwrap() {
        let (norms, steps) = unit(row["T"].as_u64().unwrap() as usize);
        let found = optimal(1.0, &norms).unwrap();
        near(found.omega, &row["omega"], "omega");
        near(found.lrs[0], &row["eta_first"], "first");
        near(found.lrs[steps - 1], &row["eta_last"], "last");
        for text in [
            "constant",
            "cosine",
            "linear",
            "1-sqrt",
            "wsd",
            "inverse-sqrt",
            "poly-backward:alpha=2",
        ] {
            assert!(tuned(text, steps).best() > found.omega, "{text}");
        }
    }
}

#[test]
fn extensions() {
    let Some(reference) = public() else { return };
    // The package's own γ*, as its rounding hangs on the last bit of it.
    let mut tuned_rows = reference["tuned"].as_array().unwrap().iter();
    let row = tuned_rows.find(|row| row["T"] == 4000 && row["schedule"] == "wsd_lin_0.2");
    let gamma = row.unwrap()["gamma_star"].as_f64().unwrap();
    for row in reference["extend_T0_4000"].as_array().unwrap() {
        let (norms, steps) = unit((row["mult"].as_f64().unwrap() * 4000.0) as usize);
        let start = row["start"].as_u64().unwrap() as usize;
        let cooled = super::study::horizon::cooled_from(&vec![1.0; start], steps);
        for (lrs, key) in [(lrs("wsd", steps), "naive"), (cooled, "cooldown_from_3200")] {
            let lrs = times(gamma, &lrs);
            let (ours, theirs) = (bound(&norms).split(&lrs).at(1.0), package(&lrs).at(1.0));
            same(ours, theirs, &row[key], true, key);
        }
    }
    for (mult, want) in [(2, 0.022488), (4, 0.015862)] {
        let (norms, steps) = unit(4000 * mult);
        let found = bound(&norms).extend(&vec![gamma; 3200], steps).unwrap();
        assert!((found.omega - want).abs() < 5e-7, "{mult}: {}", found.omega);
    }
}
