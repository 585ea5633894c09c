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

fn near(found: f64, want: &Value, room: f64, what: &str) {
    let want = want.as_f64().unwrap();
    assert!(
        (found / want - 1.0).abs() < 1e-9 + room,
        "{what}: {found} {want}, room {room:.1e}"
    );
}

/// How far rounding may carry the package from its own formula, relative to Ω of `lrs`: it takes the tails of η and η² as
/// differences of sums from the front, each off by a rounding of the whole sum, and divides by them. Up to 3 % where a cosine ends
/// near 0; exact arithmetic in its formula gives what we compute.
fn rounding(lrs: &[f64]) -> f64 {
    let sum: f64 = lrs.iter().sum();
    let squares: f64 = lrs.iter().map(|lr| lr * lr).sum();
    let (mut tail, mut tail_squares, mut off) = (0.0, 0.0, 0.0);
    for (k, lr) in lrs.iter().enumerate().rev() {
        tail_squares += lr * lr;
        if k + 1 < lrs.len() {
            let term = lr / tail / (tail + lr);
            off += term * (squares + tail_squares * (sum / tail + sum / (tail + lr)));
        }
        tail += lr;
    }
    let omega = bound(&vec![1.0; lrs.len()]).split(lrs).at(1.0);
    f64::EPSILON * 0.5 * off / omega
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
        let split = tuned(text, steps);
        let what = format!("{name} {steps}");
        let (norms, gamma) = (vec![1.0; steps], split.best_lr());
        let lrs = lrs(text, steps);
        let scaled: Vec<f64> = lrs.iter().map(|lr| gamma * lr).collect();
        let room = rounding(&scaled);
        near(gamma, &row["gamma_star"], room, &what);
        near(split.best(), &row["omega_star"], room, &what);
        let points = [steps / 4, steps / 2, steps];
        let curve = bound(&norms).curve(&lrs, &points);
        let wanted = row["omega_at_T4_T2_T"].as_array().unwrap();
        for ((split, want), point) in curve.iter().zip(wanted).zip(points) {
            near(split.at(gamma), want, rounding(&scaled[..point]), &what);
        }
    }
}

#[test]
fn exact_minimisers() {
    let Some(reference) = public() else { return };
    for row in reference["exact_minimiser"].as_array().unwrap() {
        let (norms, steps) = unit(row["T"].as_u64().unwrap() as usize);
        let found = optimal(1.0, &norms).unwrap();
        near(found.omega, &row["omega"], 0.0, "omega");
        near(found.lrs[0], &row["eta_first"], 0.0, "first");
        near(found.lrs[steps - 1], &row["eta_last"], 0.0, "last");
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
    let gamma = tuned("wsd", 4000).best_lr();
    for row in reference["extend_T0_4000"].as_array().unwrap() {
        let (norms, steps) = unit((row["mult"].as_f64().unwrap() * 4000.0) as usize);
        let start = row["start"].as_u64().unwrap() as usize;
        let cooled = super::study::horizon::cooled_from(&vec![gamma; start], steps);
        let naive: Vec<f64> = lrs("wsd", steps).iter().map(|lr| gamma * lr).collect();
        for (lrs, key) in [(naive, "naive"), (cooled, "cooldown_from_3200")] {
            let found = bound(&norms).split(&lrs).at(1.0);
            near(found, &row[key], rounding(&lrs), key);
        }
    }
    for (mult, want) in [(2, 0.022488), (4, 0.015862)] {
        let (norms, steps) = unit(4000 * mult);
        let found = bound(&norms).extend(&vec![gamma; 3200], steps).unwrap();
        assert!((found.omega - want).abs() < 5e-7, "{mult}: {}", found.omega);
    }
}
