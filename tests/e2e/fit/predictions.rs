//! `lehr predict`.

use super::place::*;

#[test]
fn predict_gives_a_curve_with_its_band() {
    let place = Place::new();
    place.fitted();
    let run = [
        "predict",
        "--law",
        "law.json",
        "--schedule",
        "wsd:fraction=0.2",
        "--steps",
        "3000",
    ];
    let flags = [
        "--warmup-steps",
        "100",
        "--csv",
        "curve.csv",
        "--svg",
        "p.svg",
        "--png",
        "p.png",
    ];
    let text = place.said(&[&run[..], &flags[..]].concat());
    narrow(&text);
    for part in [
        "ends  at 3.",
        "nats a token (90 %)",
        "wsd, peak 1e-3",
        "wrote curve.csv",
        "⠉",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("note"), "within what was fitted: {text}");
    let csv = std::fs::read_to_string(place.path("curve.csv")).unwrap();
    assert!(
        csv.starts_with("step,lr,loss,low,high\n101,"),
        "{}",
        &csv[..60]
    );
    let last: Vec<f64> = csv
        .lines()
        .last()
        .unwrap()
        .split(',')
        .map(|c| c.parse().unwrap())
        .collect();
    let s1: f64 = (0..STEPS)
        .map(|s| {
            let cooldown = ((STEPS - s) as f64 / 600.0).min(1.0);
            if s < WARMUP {
                PEAK * (s + 1) as f64 / 100.0
            } else {
                PEAK * cooldown
            }
        })
        .sum();
    let truth = L0 + A * s1.powf(-ALPHA) - B * (PEAK - PEAK / 600.0);
    assert_eq!(last[0], 3000.0);
    assert!((last[2] - truth).abs() < 2e-3, "{} and {truth}", last[2]);
    assert!(last[3] < last[2] && last[2] < last[4]);
    // Peak and warm-up are those of the fitted runs where nothing else is said.
    let json = place.json(&run);
    assert_eq!(json["warmup_steps"], WARMUP);
    assert!((number(&json["final"]["loss"]) - last[2]).abs() < 1e-5);
    assert_eq!(json["peak_lr"], PEAK);
    let steps = json["curve"]["step"].as_array().unwrap().len();
    assert_eq!(json["curve"]["high"].as_array().unwrap().len(), steps);
}

#[test]
fn predict_says_where_it_leaves_what_was_fitted() {
    let place = Place::new();
    place.fitted();
    let text = place.said(&[
        "predict",
        "--law",
        "law.json",
        "--schedule",
        "cosine",
        "--steps",
        "9000",
        "--lr",
        "4e-3",
    ]);
    narrow(&text);
    for part in [
        "the peak LR 4e-3 lies outside",
        "3.0 times the longest fitted run",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
