//! `lehr bound`, driven as a user does.

use crate::common;
use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

fn lehr(verb: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lehr"));
    command.arg(verb).args(arguments);
    command
}

fn refused(arguments: &[&str]) -> String {
    common::refused(lehr("bound", arguments))
}

fn said(arguments: &[&str]) -> String {
    let output = lehr("bound", arguments)
        .assert()
        .success()
        .get_output()
        .clone();
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    serde_json::from_str(&said(&arguments)).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn near(value: &Value, want: f64, share: f64) {
    let value = value.as_f64().unwrap();
    assert!((value / want - 1.0).abs() <= share, "{value} is not {want}");
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What one page of the terminal may hold.
fn fits(out: &str) {
    for line in out.lines().filter(|line| !line.starts_with("wrote")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn a_schedule_others_and_the_best() {
    let arguments = [
        "wsd:fraction=0.2",
        "--convention",
        "schaipp",
        "--steps",
        "400",
        "--against",
        "wsd:fraction=0.2,decay=sqrt,linear",
        "--against",
        "inverse-sqrt",
        "--optimal",
        "--curve",
    ];
    let out = json(&arguments);
    near(&out["gamma_star"], 0.02537366141742426, 1e-9);
    near(&out["omega_star"], 0.10932301248874231, 1e-9);
    let split = &out["split"];
    let sum = split["distance"].as_f64().unwrap() + split["noise"].as_f64().unwrap();
    near(&out["omega"], sum, 1e-12);
    let against = out["against"].as_array().unwrap();
    assert_eq!(against.len(), 3);
    assert_eq!(against[0]["schedule"], "wsd:fraction=0.2,decay=sqrt");
    near(&against[0]["omega_star"], 0.10728814716632491, 1e-9);
    near(&against[1]["omega_star"], 0.10062986543560205, 1e-9);
    near(&against[2]["gamma_star"], 0.2120855816043834, 1e-9);
    near(&out["optimal"]["omega"], 0.10018730432777266, 1e-9);
    near(&out["optimal"]["lr_first"], 0.04984350019824523, 1e-9);
    near(&out["optimal"]["lr_last"], 0.0012300317615181013, 1e-9);
    let curve = &out["curve"];
    assert_eq!(curve["step"].as_array().unwrap().len(), 400);
    near(&curve["omega"][399], 0.10932301248874231, 1e-9);
    let out = said(&arguments);
    fits(&out);
    for part in [
        "last iterate",
        "0.10932",
        "the least bound",
        "9.12 %",
        "step 400",
    ] {
        assert!(out.contains(part), "{part:?} is not in {out}");
    }
}

#[test]
fn the_same_spec_in_two_conventions() {
    // A linear decay is the same in both: its last step, at 0, is not taken.
    let ours = json(&["linear", "--steps", "100"]);
    let theirs = json(&["linear", "--steps", "100", "--convention", "schaipp"]);
    near(&ours["omega"], theirs["omega"].as_f64().unwrap(), 1e-12);
    near(&ours["omega_star"], 0.2036084161712098, 1e-9);
    // 12 of 60 steps anneal in ours, and 12 of 61 in theirs.
    let ours = json(&["wsd:fraction=0.2", "--steps", "60"]);
    let theirs = json(&[
        "wsd:fraction=0.2",
        "--steps",
        "60",
        "--convention",
        "schaipp",
    ]);
    // One step less at the end of theirs: the same LRs.
    near(&theirs["gamma_star"], 0.06304718748349972, 1e-9);
    near(&ours["gamma_star"], 0.06304718748349972, 1e-9);
    // 13 of 63, to the nearest, and 12 of 64, rounded down.
    let arguments = ["wsd:fraction=0.2", "--steps", "63"];
    let ours = json(&arguments);
    let theirs = json(&[&arguments[..], &["--convention", "schaipp"]].concat());
    near(&ours["gamma_star"], 0.06201356211597295, 1e-9);
    near(&theirs["gamma_star"], 0.06102411430662032, 1e-9);
    // D and G are units.
    let scaled = json(&[
        "linear",
        "--steps",
        "100",
        "--distance",
        "3",
        "--grad-norm",
        "2",
    ]);
    near(&scaled["omega_star"], 6.0 * 0.2036084161712098, 1e-9);
    let min = json(&["constant", "--steps", "400", "--type", "min"]);
    near(&min["omega_star"], 0.05, 1e-12);
}

#[test]
fn ways_on_and_their_table() {
    let dir = TempDir::new().unwrap();
    let (csv, svg, png) = (
        dir.path().join("next.csv"),
        dir.path().join("a.svg"),
        dir.path().join("a.png"),
    );
    let arguments = [
        "wsd:fraction=0.2",
        "--convention",
        "schaipp",
        "--steps",
        "4000",
        "--extend",
        "8000",
        "--prefix",
        "3200",
        "--out",
        text(&csv),
        "--peak-lr",
        "1e-3",
    ];
    let out = json(&arguments);
    let extend = &out["extend"];
    near(&extend["naive"], 0.025628, 2e-5);
    near(&extend["two_stage"], 0.023090, 2e-5);
    near(&extend["rho"], 0.525, 1e-9);
    near(&extend["cooldown"], 0.022569, 2e-5);
    near(&extend["exact"], 0.022488, 2e-5);
    assert!(extend["scratch"].as_f64() < extend["exact"].as_f64());
    // The prefix is constant, and the table is one that training reads.
    let table = format!("table:{}", text(&csv));
    let read = lehr("schedule", &[&table, "--steps", "8000", "--json"])
        .assert()
        .success();
    let read: Value = serde_json::from_slice(&read.get_output().stdout).unwrap();
    let lrs = read["lr"].as_array().unwrap();
    assert_eq!(lrs.len(), 8000);
    assert!(lrs[..3200].iter().all(|lr| lr.as_f64() == Some(1e-3)));
    near(&lrs[3200], 1e-3 * 0.86879, 1e-4);
    // Bounded as it stands, it has the exact extension's Ω at the base LR that undoes the scale.
    let again = json(&[&table, "--steps", "8000"]);
    let gamma = extend["gamma"].as_f64().unwrap() / 1e-3;
    let split = |part: &str| again["split"][part].as_f64().unwrap();
    near(
        &extend["exact"],
        split("distance") / gamma + gamma * split("noise"),
        1e-9,
    );
    // A table goes on too, but not as itself.
    let on = [&table[..], "--steps", "8000", "--extend", "9000"];
    let further = &json(&on)["extend"];
    assert!(further["naive"].is_null(), "{further}");
    assert!(
        further["exact"].as_f64() <= further["cooldown"].as_f64(),
        "{further}"
    );
    let pictures = ["--svg", text(&svg), "--png", text(&png)];
    let out = said(&[&arguments[..], &pictures].concat());
    fits(&out);
    assert!(
        words(&out).contains("all ways but the last keep the first 3,200"),
        "{out}"
    );
    let other = ["cosine", "--steps", "100", "--extend", "200", "--no-plot"];
    let other = words(&said(&[&other[..], &["--prefix", "50"]].concat()));
    assert!(
        other.contains("all ways but the first and the last keep the first 50"),
        "{other}"
    );
    assert!(out.contains("two stages, the second at 0.525"), "{out}");
    assert!(std::fs::read_to_string(svg).unwrap().starts_with("<svg"));
    assert!(std::fs::read(png).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn the_best_schedule_is_a_table() {
    let dir = TempDir::new().unwrap();
    let csv = dir.path().join("best.csv");
    let out = words(&said(&[
        "linear",
        "--steps",
        "400",
        "--out",
        text(&csv),
        "--no-plot",
    ]));
    // √2 + 1 times the one before it.
    assert!(out.contains("is 2.41 times the one before it"), "{out}");
    let warmed = ["linear", "--steps", "400", "--warmup", "40", "--optimal"];
    let out = words(&said(&[&warmed[..], &["--no-plot"]].concat()));
    assert!(out.contains("spend 40 steps on theirs"), "{out}");
    let table = format!("table:{}", text(&csv));
    let more = ["--optimal", "--no-plot", "--warmup", "500"];
    let out = words(&said(
        &[&[&table[..], "--steps", "400"], &more[..]].concat(),
    ));
    assert!(out.contains("--warmup leaves table:"), "{out}");
    assert!(!out.contains("on theirs"), "{out}");
    let linear = ["linear", "--steps", "400"];
    let out = words(&said(&[&linear[..], &more[..]].concat()));
    assert!(out.contains("spend 400 steps on theirs"), "{out}");
    let out = json(&[&table, "--steps", "400"]);
    near(&out["omega_star"], 0.10018730432777266, 1e-9);
    near(&out["gamma_star"], 0.04984350019824523, 1e-9);
}

#[test]
fn gradient_norms_of_files_and_runs() {
    let dir = TempDir::new().unwrap();
    let rows: String = (1..=100)
        .map(|t| {
            format!(
                "{{\"step\":{t},\"lr\":1e-3,\"grad_norm\":{}}}\n",
                1.0 / f64::from(t)
            )
        })
        .collect();
    std::fs::write(dir.path().join("metrics.jsonl"), rows).unwrap();
    let run = format!("run:{}", text(dir.path()));
    let of_run = json(&["cosine:final=0", "--steps", "100", "--grad-norm", &run]);
    let form = json(&[
        "cosine:final=0",
        "--steps",
        "100",
        "--grad-norm",
        "param:g2=1,a2=-1",
    ]);
    near(
        &of_run["omega_star"],
        form["omega_star"].as_f64().unwrap(),
        1e-12,
    );
    assert!(of_run["notes"].as_array().unwrap().is_empty());
    let error = refused(&["linear", "--steps", "101", "--grad-norm", &run]);
    assert!(error.contains("100 steps, and 101"), "{error}");
    let error = refused(&[
        "linear",
        "--steps",
        "50",
        "--extend",
        "200",
        "--grad-norm",
        &run,
    ]);
    assert!(error.contains("100 steps, and 200"), "{error}");
    // What was lost is made up, and told.
    let log = dir.path().join("metrics.jsonl");
    let lost = std::fs::read_to_string(&log).unwrap() + "{\"step\":50,\"grad_norm\":0}\n";
    std::fs::write(&log, lost).unwrap();
    let out = json(&["linear", "--steps", "100", "--grad-norm", &run]);
    let note = out["notes"][0].as_str().unwrap();
    assert!(note.contains("is 0 or not finite"), "{note}");
}

#[test]
fn every_preset_has_its_table_and_picture() {
    let dir = TempDir::new().unwrap();
    let svg = dir.path().join("a.svg");
    for name in [
        "cooldown-length",
        "lr-transfer",
        "horizon-transfer",
        "cosine-cycle",
        "wsd-detail",
        "grad-norm-shape",
        "multiple-horizon",
        "schedule-comparison",
        "ablation",
        "optimal",
        "convex-example",
    ] {
        let out = said(&["--preset", name, "--svg", text(&svg)]);
        fits(&out);
        assert!(out.contains("└"), "{out}");
        assert!(std::fs::read_to_string(&svg).unwrap().starts_with("<svg"));
        let out = json(&["--preset", name]);
        assert!(!out["rows"].as_array().unwrap().is_empty(), "{name}");
        assert_eq!(out["preset"], name);
    }
    let out = json(&["--preset", "lr-transfer"]);
    near(&out["rows"][2]["linear"], 0.665, 1e-3);
    let out = json(&["--preset", "schedule-comparison", "--type", "min"]);
    assert_eq!(out["rows"][0]["schedule"], "constant");
}

#[test]
fn bad_input_is_one_sentence() {
    let l = "linear";
    for (arguments, part) in [
        (&["lienar", "--steps", "10"][..], "did you mean 'linear'"),
        (&[l, "--steps", "0"], "at least 1 step"),
        (&[l, "--steps", "30000000"], "20,000,000"),
        (&[l, "--steps", "10", "--distance", "0"], "--distance 0"),
        (&[l, "--steps", "10", "--distance", "nan"], "--distance"),
        (
            &[l, "--steps", "10", "--grad-norm", "-1"],
            "--grad-norm '-1'",
        ),
        (&[l, "--steps", "10", "--grad-norm", "table:/no/t"], "/no/t"),
        (&[l, "--steps", "10", "--extend", "10"], "--extend 10"),
        (
            &[l, "--steps", "10", "--extend", "20", "--prefix", "0"],
            "--prefix 0",
        ),
        (
            &[l, "--steps", "10", "--extend", "20", "--prefix", "11"],
            "--prefix 11",
        ),
        (
            &[l, "--steps", "10", "--type", "min", "--optimal"],
            "--type min",
        ),
        (&[l, "--steps", "10", "--warmup", "x"], "warm-up"),
        (
            &["811", "--steps", "10", "--convention", "schaipp"],
            "schaipp",
        ),
        (
            &[
                "wsd",
                "--steps",
                "10",
                "--convention",
                "schaipp",
                "--warmup",
                "20",
            ],
            "leave nothing",
        ),
        (&["--preset", "optimum"], "did you mean 'optimal'"),
        (&["--preset", "optimal", "--type", "min"], "--type min"),
        (&[l, "--steps", "10", "--peak-lr", "1e-3"], "give --out"),
        (
            &["--preset", "optimal", "--peak-lr", "1e-3"],
            "a preset writes nothing",
        ),
        (
            &["--preset", "convex-example", "--distance", "2"],
            "leave --distance out",
        ),
        (
            &["--preset", "convex-example", "--type", "last"],
            "leave --type out",
        ),
        (
            &["--preset", "grad-norm-shape", "--grad-norm", "2"],
            "leave --grad-norm out",
        ),
        (
            &["--preset", "optimal", "--grad-norm", "param:g1=1,a1=1"],
            "at step",
        ),
    ] {
        let error = refused(arguments);
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
    // clap's own.
    for arguments in [
        &[][..],
        &["linear"],
        &["--preset", "optimal", "--steps", "3"],
    ] {
        lehr("bound", arguments).assert().failure().code(2);
    }
}
