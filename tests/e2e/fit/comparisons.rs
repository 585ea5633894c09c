//! `lehr compare`, on curves and on suites.

use super::place::*;
use serde_json::Value;
use std::fmt::Write;

#[test]
fn compare_lines_up_laws_and_curves() {
    let place = Place::new();
    let arguments = [
        "compare",
        "--law",
        "opl,lldl",
        "--train",
        "constant.csv",
        "cosine.csv",
        "--test",
        "wsd.csv",
    ];
    let text = place.said(&[&arguments[..], &["--png", "laws.png", "--svg", "laws.svg"]].concat());
    narrow(&text);
    for part in [
        "mean over 1 test curve",
        "a fit",
        "lldl: measured − law",
        "wrote laws.png",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = place.json(&arguments);
    let laws = json["laws"].as_array().unwrap();
    assert_eq!(laws.len(), 2);
    let mae = |i: usize| number(&laws[i]["test_mean"]["mae"]);
    assert!(mae(1) < 0.1 * mae(0), "{} and {}", mae(0), mae(1));
    // `fit` with several laws says the same.
    let mut fit = arguments;
    fit[0] = "fit";
    let again = place.json(&fit);
    assert_eq!(again["laws"][1]["params"], laws[1]["params"]);
}

/// A suite of runs by `lldl`: two to fit, three to predict, of which two are of one length.
fn suite(place: &Place) {
    let mut curves = serde_json::Map::new();
    let mut add = |name: &str, steps: u64, peak: f64, cooldown: u64| {
        let lr = |s: u64| {
            if s < WARMUP {
                return peak * (0.01 + 0.99 * s as f64 / WARMUP as f64);
            }
            let left = (steps - s) as f64;
            peak * if cooldown == 0 {
                1.0
            } else {
                (left / cooldown as f64).min(1.0)
            }
        };
        let mut text = String::from("step,lr,loss\n");
        let mut s1 = 0.0f64;
        for s in 0..steps {
            if s >= WARMUP && s % 20 == 0 {
                let before = lr(s - 1);
                let loss = L0 + A * s1.powf(-ALPHA) - B * (peak - before);
                writeln!(text, "{s},{:e},{loss:.9}", lr(s)).unwrap();
            }
            s1 += lr(s);
        }
        place.write(&format!("{name}.csv"), &text);
        let mut schedule = serde_json::json!({
            "kind": "wsd", "total_steps": steps, "warmup": WARMUP, "peak_lr": peak,
        });
        if cooldown > 0 {
            schedule["cooldown_steps"] = cooldown.into();
            schedule["decay"] = "linear".into();
        }
        curves.insert(name.into(), serde_json::json!({ "schedule": schedule }));
    };
    add("const", 3000, PEAK, 0);
    add("short", 3000, PEAK, 600);
    add("half", 3000, PEAK, 1500);
    add("most", 3000, PEAK, 2700);
    add("long", 6000, PEAK, 1200);
    let test = |curve: &str, after: u64, end: Value, steps: u64| {
        serde_json::json!({
            "curve": curve, "score_after": after, "plateau_end": end, "total_steps": steps,
        })
    };
    let suite = serde_json::json!({
        "rank_threshold": 0.001,
        "curves": curves,
        "tasks": [{
            "name": "shape", "fit": ["const", "short"], "fit_from": 200, "warmup": WARMUP,
            "test": [
                test("half", 1500, Value::Null, 3000),
                test("most", 300, Value::Null, 3000),
                test("long", 3000, 4800.into(), 6000),
            ],
        }],
    });
    place.write("tasks.json", &suite.to_string());
}

#[test]
fn suites_are_run_task_by_task_and_law_by_law() {
    let place = Place::new();
    suite(&place);
    let json = place.json(&["compare", "--suite", "tasks.json", "--law", "opl,lldl"]);
    let exact = &json["tasks"]["shape"]["lldl"];
    for key in [
        "mae",
        "rmse",
        "r2",
        "pred_e",
        "worst_e",
        "final_mae",
        "pairs_ok",
        "pairs",
        "seconds",
    ] {
        number(&exact[key]);
    }
    assert!(number(&exact["mae"]) < 1e-4, "{exact}");
    assert!(number(&json["tasks"]["shape"]["opl"]["mae"]) > 1e-2);
    // Of the three finals only two belong to runs of one length.
    assert_eq!(
        (&exact["pairs"], &exact["pairs_ok"]),
        (&1.into(), &1.into())
    );
    let curves = exact["curves"].as_array().unwrap();
    assert_eq!(curves.len(), 3);
    // Strictly after step 1,500, every 20 steps up to 2,980.
    assert_eq!(curves[0]["n"], 74);
    assert!(curves[0].get("plateau").is_none());
    assert_eq!(curves[2]["plateau"]["n"], 90);
    assert_eq!(curves[2]["cooldown"]["n"], 59);
    assert!(json["general"].is_string());
    let text = place.said(&["compare", "--suite", "tasks.json", "--law", "opl,lldl"]);
    narrow(&text);
    assert!(
        text.contains("1:1") && text.contains("shape: fitted from step 200"),
        "{text}"
    );
}
