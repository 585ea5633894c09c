//! `lehr bench`, driven as a user drives it: what it says is there and finite. How fast a machine is no
//! test may assume.

use crate::common::Place;
use serde_json::Value;

const TINY: &[&str] = &[
    "--n-layer",
    "1",
    "--n-head",
    "2",
    "--n-embd",
    "16",
    "--sequence-length",
    "16",
    "--batch-size",
    "2",
    "--vocab-size",
    "50",
    "--steps",
    "3",
];

fn bench(place: &Place, what: &str, more: &[&str]) -> Value {
    let mut command = place.lehr(&["bench", what, "--json"]);
    if what == "step" {
        command.args(TINY);
    }
    let output = command.args(more).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The number at a path such as `peak.f32`, which must be there and above 0.
fn positive(report: &Value, path: &str) -> f64 {
    let at = path
        .split('.')
        .try_fold(report, |value, key| value.get(key));
    let number = at.and_then(Value::as_f64);
    let number = number.unwrap_or_else(|| panic!("no number {path} in {report:#}"));
    assert!(number > 0.0 && number.is_finite(), "{path} is {number}");
    number
}

#[test]
fn steps_of_both_families_and_implementations() {
    let place = Place::new();
    for (family, implementation) in [
        ("gpt2", "lehr"),
        ("gpt2", "candle"),
        ("llama", "lehr"),
        ("llama", "candle"),
    ] {
        let flags = [
            "--model",
            family,
            "--implementation",
            implementation,
            "--acc-steps",
            "2",
        ];
        let r = bench(&place, "step", &flags);
        for path in [
            "tokens_per_second",
            "gflops",
            "fraction_of_peak",
            "seconds_per_step.max",
            "causal.flops_per_second",
            "causal.of_peak",
            "full_square.of_peak",
            "peak.f32",
            "bandwidth.read",
            "bandwidth.copy",
            "bandwidth.triad",
            "last_loss",
        ] {
            positive(&r, path);
        }
        assert_eq!(r["implementation"], implementation);
        assert_eq!(r["dtype"], "f32");
        assert_eq!(r["model"]["family"], family);
        assert_eq!(r["steps"], 3);
        assert_eq!(r["tokens_per_step"], 2 * 2 * 16);
        let order = ["min", "median", "max"]
            .map(|k| positive(&r, &format!("tokens_per_second_spread.{k}")));
        assert!(order[0] <= order[1] && order[1] <= order[2], "{order:?}");
        assert!(positive(&r, "causal.flops_per_step") < positive(&r, "full_square.flops_per_step"));
        assert!(
            (positive(&r, "first_loss") - 50f64.ln()).abs() < 0.3,
            "{r:#}"
        );
        assert!(!r["machine"]["cpu"].as_str().unwrap().is_empty());
        positive(&r, "machine.threads");
        if cfg!(target_os = "linux") {
            positive(&r, "peak_rss");
            assert!(r["per_step"]["minor_faults"].is_number());
        }
        // The binary counts its allocations everywhere. A thread that gets its first task late takes
        // its scratch late, so that only one thread makes the count certain: see below.
        assert!(r["per_step"]["large_allocations"].is_number());
        assert!(r["ops"].is_array());
    }
}

#[test]
fn steps_allocate_nothing_large() {
    let place = Place::new();
    for family in ["gpt2", "llama"] {
        let mut command = place.lehr(&["bench", "step", "--json", "--model", family]);
        command.args(TINY).args(["--n-embd", "128"]);
        let output = command.env("RAYON_NUM_THREADS", "1").output().unwrap();
        assert!(output.status.success());
        let r: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(r["per_step"]["large_allocations"], 0.0, "{r:#}");
    }
}

#[test]
fn both_implementations_start_at_the_same_loss() {
    let place = Place::new();
    let flags = ["--set", "model.init_std=0.1", "--warmup", "1"];
    let first = |implementation: &str| {
        let mut flags = flags.to_vec();
        flags.extend(["--implementation", implementation]);
        positive(&bench(&place, "step", &flags), "first_loss")
    };
    let (ours, plain) = (first("lehr"), first("candle"));
    assert!((ours - plain).abs() < 1e-4, "{ours} {plain}");
}

#[test]
fn kernels_and_peaks() {
    let place = Place::new();
    for dtype in ["f32", "bf16"] {
        let r = bench(&place, "product", &["40", "30", "20", "--dtype", dtype]);
        for r in r["products"].as_array().unwrap() {
            for path in ["product", "together", "pack_a", "pack_b", "peak"] {
                positive(r, path);
            }
            assert_eq!(r["flops"], 2.0 * 40.0 * 30.0 * 20.0);
        }
    }
    let r = bench(&place, "update", &["--params", "5000"]);
    positive(&r, "of_bandwidth");
    positive(&r, "update.seconds");
    positive(&bench(&place, "peak", &[]), "peak.f32");
}

#[test]
fn the_tables_fit_into_80_columns() {
    let place = Place::new();
    let mut step = vec!["bench", "step"];
    step.extend(TINY);
    let product = vec!["bench", "product", "40", "30", "20"];
    let update = vec!["bench", "update", "--params", "5000"];
    for command in [step, product, update] {
        let output = place.lehr(&command).output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
fn bad_input_is_refused_in_one_sentence() {
    let place = Place::new();
    for (flags, said) in [
        (vec!["--dtype", "f16"], "'f16' for '--dtype <DTYPE>'"),
        (vec!["--config", "bench-gpt2-10"], "bench-gpt2-10m"),
        (vec!["--n-head", "3"], "n_head 3"),
        (
            vec![
                "--set",
                "data.vocab_size=0",
                "--set",
                "data.tokenizer=t.json",
            ],
            "--vocab-size",
        ),
        (
            vec!["--implementation", "candle", "--dtype", "bf16"],
            "--dtype f32",
        ),
        (vec!["--seconds", "nan"], "--seconds"),
        (
            vec!["--implementation", "candle", "--dropout", "0.1"],
            "--dropout 0",
        ),
    ] {
        let mut command = place.lehr(&["bench", "step"]);
        command.args(TINY).args(&flags);
        if flags[0] == "--seconds" {
            command = place.lehr(&["bench", "step", "--seconds", "nan"]);
        }
        let error = place.refused(command);
        assert!(error.contains(said), "{error}");
    }
    let error = place.refused(place.lehr(&["bench", "product", "1", "1", "1", "--dtype", "f64"]));
    assert!(error.contains("f32, bf16 and auto"), "{error}");
}
