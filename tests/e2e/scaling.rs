//! `lehr scaling`, driven as a user does.

use crate::common;
use crate::common::public;
use assert_cmd::Command;
use serde_json::Value;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn lehr(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lehr"));
    command.arg("scaling").args(arguments);
    command
}

fn refused(arguments: &[&str]) -> String {
    common::refused(lehr(arguments))
}

fn said(arguments: &[&str]) -> String {
    let output = lehr(arguments).assert().success().get_output().clone();
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    serde_json::from_str(&said(&arguments)).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// E, A, B, α, β of the law that made the tables below.
const TRUTH: [f64; 5] = [1.7, 400.0, 900.0, 0.34, 0.3];

fn loss(n: f64, d: f64) -> f64 {
    let [e, a, b, alpha, beta] = TRUTH;
    e + a / n.powf(alpha) + b / d.powf(beta)
}

fn optimum(c: f64) -> f64 {
    let [_, a, b, alpha, beta] = TRUTH;
    (alpha * a / (beta * b)).powf(1.0 / (alpha + beta)) * (c / 6.0).powf(beta / (alpha + beta))
}

/// Sizes around the best one of four budgets.
fn isoflop_table(dir: &TempDir) -> PathBuf {
    let mut rows = String::from("parameters,flops,loss\n");
    for c in [1e17, 1e18, 1e19, 1e20] {
        for i in 0..9 {
            let n = optimum(c) * 1.6f64.powf(f64::from(i) - 3.7);
            writeln!(rows, "{n:e},{c:e},{:.12}", loss(n, c / (6.0 * n))).unwrap();
        }
    }
    let path = dir.path().join("runs.csv");
    std::fs::write(&path, rows).unwrap();
    path
}

fn near(value: &Value, want: f64, share: f64) {
    let value = value.as_f64().unwrap();
    assert!((value / want - 1.0).abs() <= share, "{value} is not {want}");
}

#[test]
fn all_approaches_stand_in_one_table() {
    let dir = TempDir::new().unwrap();
    let table = isoflop_table(&dir);
    let (svg, png) = (dir.path().join("a.svg"), dir.path().join("a.png"));
    let out = said(&[
        text(&table),
        "--at",
        "1e22",
        "--bootstrap",
        "100",
        "--svg",
        text(&svg),
        "--png",
        text(&png),
    ]);
    for line in out.lines().filter(|l| !l.starts_with("wrote")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for part in [
        "36 models",
        "4 budgets of 9 sizes",
        "isoFLOP argmin",
        "isoFLOP parabola",
        "isoFLOP spline",
        "parametric",
        "at 1.00e22 FLOPs",
        "argmin is biased by the grid",
        "envelope is left out",
        "D computed from C = 6·N·D",
    ] {
        let running = out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(running.contains(part), "{part:?} is not in {out}");
    }
    let drawn = std::fs::read_to_string(svg).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.contains("isoFLOP parabola"));
    assert!(std::fs::read(png).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn json_has_stable_names_and_the_same_bits_for_any_number_of_threads() {
    let dir = TempDir::new().unwrap();
    let table = isoflop_table(&dir);
    let arguments = [
        text(&table),
        "--at",
        "1e22,1e23",
        "--bootstrap",
        "60",
        "--json",
    ];
    let with = |threads: &str| {
        let mut command = lehr(&arguments);
        let output = command.env("RAYON_NUM_THREADS", threads).assert().success();
        let mut out: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        let seconds = out["parametric"].as_object_mut().unwrap().remove("seconds");
        assert!(seconds.unwrap()["fit"].as_f64().unwrap() > 0.0);
        out
    };
    let out = with("1");
    assert_eq!(out, with("3"));
    for (name, want) in ["E", "A", "B", "alpha", "beta"].iter().zip(TRUTH) {
        near(&out["parametric"]["params"][name], want, 1e-3);
        let (low, high) = (
            &out["parametric"]["low"][name],
            &out["parametric"]["high"][name],
        );
        assert!(low.as_f64() <= high.as_f64());
    }
    assert_eq!(out["parametric"]["starts"], 4500);
    assert!(out["parametric"]["objective"].as_f64().unwrap() < 1e-9);
    assert!(out["parametric"]["agree"].as_f64().unwrap() > 0.0);
    for method in [
        "argmin",
        "argmin_raw",
        "parabola",
        "parabola_near",
        "spline",
    ] {
        let found = &out["isoflop"][method];
        assert!(found["k"].as_f64().unwrap() > 0.0, "{method}");
        assert_eq!(found["n"].as_array().unwrap().len(), 2);
        assert_eq!(found["d"].as_array().unwrap().len(), 2);
        assert!(found["n_low"][0].as_f64() <= found["n"][0].as_f64());
    }
    near(&out["isoflop"]["parabola_near"]["a"], 0.3 / 0.64, 0.02);
    near(&out["parametric"]["n"][1], optimum(1e23), 1e-2);
    assert!(
        out["unavailable"]["envelope"]
            .as_str()
            .unwrap()
            .contains("token counts")
    );
}

#[test]
fn the_assignments_table() {
    let Some(path) = public("isoflops_curves.json") else {
        return;
    };
    let out = json(&[text(&path), "--at", "1e23,1e24", "--bootstrap", "200"]);
    for (method, n, d) in [
        ("argmin", [70.05e9, 206.1e9], [237.9e9, 808.6e9]),
        ("argmin_raw", [50.0e9, 126.8e9], [337e9, 1332e9]),
        ("parabola", [91.1e9, 298.1e9], [182.9e9, 559.2e9]),
        ("parabola_near", [91.9e9, 300.2e9], [181.4e9, 555.2e9]),
    ] {
        for i in 0..2 {
            near(&out["isoflop"][method]["n"][i], n[i], 1.1e-3);
            near(&out["isoflop"][method]["d"][i], d[i], 1.5e-3);
        }
    }
    let fit = &out["parametric"];
    for (name, want) in [
        ("E", 2.69),
        ("A", 1606.4),
        ("B", 3210.7),
        ("alpha", 0.34),
        ("beta", 0.36),
    ] {
        near(&fit["params"][name], want, 1e-4);
    }
    near(&fit["n"][0], 91.892e9, 1e-4);
    near(&fit["n"][1], 300.307e9, 1e-4);
    let notes = out["notes"].to_string();
    assert!(
        notes.contains("argmin is biased by the grid") && notes.contains("31 % below"),
        "{notes}"
    );
}

#[test]
fn the_published_points() {
    let Some(path) = public("chinchilla_epoch.csv") else {
        return;
    };
    let out = json(&[text(&path), "--bootstrap", "400"]);
    assert_eq!(out["points"], 240);
    for (name, want) in [
        ("E", 1.817218),
        ("A", 477.826),
        ("B", 2143.42),
        ("alpha", 0.347310),
        ("beta", 0.367172),
    ] {
        near(&out["parametric"]["params"][name], want, 3e-6);
    }
    near(&out["parametric"]["objective"], 1.0182740178e-3, 1e-9);
    let why = out["unavailable"]["isoflop"].as_str().unwrap();
    assert!(why.contains("no groups of equal compute"), "{why}");
    // Approach 1 through final losses is coarse, and near all the same.
    near(&out["envelope"]["a"], 0.514, 0.08);
}

#[test]
fn training_curves_make_an_envelope() {
    let dir = TempDir::new().unwrap();
    let mut rows = String::from("size,params,step,loss\n");
    for i in 0..8 {
        let n = 1e6 * 2f64.powi(i);
        for step in 1..=200 {
            let d = 1e5 * 1.05f64.powi(step);
            writeln!(rows, "s{i},{n},{:.3},{:.9}", d / 4096.0, loss(n, d)).unwrap();
        }
    }
    let path = dir.path().join("curves.csv");
    std::fs::write(&path, rows).unwrap();
    let out = json(&[
        text(&path),
        "--tokens-per-step",
        "4096",
        "--approach",
        "envelope",
        "--bootstrap",
        "50",
    ]);
    near(&out["envelope"]["crossings"]["a"], 0.3 / 0.64, 0.03);
    assert!(out["envelope"]["steps"].as_array().unwrap().len() >= 4);
    let notes = out["notes"].to_string();
    assert!(notes.contains("last loss of each of 8 runs"), "{notes}");
    assert!(notes.contains("not final ones"), "{notes}");
}

#[test]
fn run_directories_make_an_envelope() {
    let dir = TempDir::new().unwrap();
    for i in 0..7 {
        let n = 1000 * 2u64.pow(i);
        let run = dir.path().join(format!("run{i}"));
        std::fs::create_dir(&run).unwrap();
        let tokens = 4_096_000;
        let toml = format!(
            "[run]\nparameters = {n}\ntokens = {tokens}\ntrain_flops = {}.0\n[train]\niterations = 1000\n\
             [schedule]\nscheduler = \"constant\"\n",
            6 * n * tokens
        );
        std::fs::write(run.join("run.toml"), toml).unwrap();
        let mut rows = String::from("step,loss,bits_per_byte\n");
        for step in (1..=100).map(|i| i * 10) {
            let d = f64::from(step) * 4096.0;
            // Small models: a law of its own, so that sizes cross within the run.
            let loss = 1.0 + 30.0 / (n as f64).powf(0.4) + 60.0 / d.powf(0.3);
            writeln!(rows, "{step},{loss},1").unwrap();
        }
        std::fs::write(run.join("curve.val.csv"), rows).unwrap();
    }
    let out = json(&[text(dir.path()), "--bootstrap", "50"]);
    near(&out["envelope"]["crossings"]["a"], 0.3 / 0.7, 0.05);
    assert!(out["notes"].to_string().contains("constant LR"));
    let run = dir.path().join("run3");
    let error = refused(&[text(&run), text(&dir.path().join("nothing.csv"))]);
    assert!(
        error.contains("nothing.csv") && error.contains("runs"),
        "{error}"
    );
    std::fs::write(run.join("curve.val.csv"), "step,loss\n10,nan\n").unwrap();
    let error = refused(&[text(dir.path())]);
    assert!(
        error.contains("run3") && error.contains("line 2"),
        "{error}"
    );
}

#[test]
fn losses_along_trunks_are_not_mixed_with_cooldowns() {
    let dir = TempDir::new().unwrap();
    let mut rows = String::from("size,seed,kind,params,tokens,flops,loss,steps,peak_lr,run\n");
    for i in 0..4 {
        let n = 1e6 * 2f64.powi(i);
        for j in 0..4 {
            let d = 2e7 * 2f64.powi(j);
            for (kind, over) in [("trunk", 0.1), ("cooldown", 0.0)] {
                let c = 6.0 * n * d;
                writeln!(
                    rows,
                    "s{i},0,{kind},{n},{d},{c},{},100,1e-3,r",
                    loss(n, d) + over
                )
                .unwrap();
            }
        }
    }
    std::fs::write(dir.path().join("results.csv"), rows).unwrap();
    let out = json(&[text(dir.path()), "--bootstrap", "20"]);
    assert_eq!(out["points"], 16);
    assert!(
        out["notes"]
            .to_string()
            .contains("16 losses along trunks left out")
    );
    near(&out["parametric"]["params"]["E"], 1.7, 1e-2);
    let trunk = json(&[text(dir.path()), "--kind", "trunk", "--bootstrap", "0"]);
    near(&trunk["parametric"]["params"]["E"], 1.8, 1e-2);
    assert!(trunk["parametric"]["low"]["E"].is_null());
    let error = refused(&[text(dir.path()), "--kind", "cosine"]);
    assert!(error.contains("its kinds are cooldown, trunk"), "{error}");
}

#[test]
fn bad_input_is_one_sentence() {
    let dir = TempDir::new().unwrap();
    let write = |name: &str, rows: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, rows).unwrap();
        path
    };
    let few = write(
        "few.csv",
        "params,tokens,loss\n1e6,1e8,3\n2e6,1e8,2.9\n4e6,2e8,2.8\n",
    );
    let error = refused(&[text(&few)]);
    assert!(error.contains("3 points") && error.contains('6'), "{error}");
    let rows: String = (0..9)
        .map(|i| format!("{}e6,{}e8,3\n", i + 1, i + 1))
        .collect();
    let flat = write("flat.csv", &format!("params,tokens,loss\n{rows}"));
    assert!(refused(&[text(&flat)]).contains("all 9 losses are 3"));
    let nan = write("nan.csv", "params,tokens,loss\n1e6,1e8,3\n2e6,1e8,nan\n");
    let error = refused(&[text(&nan)]);
    assert!(
        error.contains("nan.csv") && error.contains("line 3") && error.contains("loss"),
        "{error}"
    );
    let columns = write("columns.csv", "a,b\n1,2\n");
    let error = refused(&[text(&columns)]);
    assert!(
        error.contains("columns.csv") && error.contains('a'),
        "{error}"
    );
    assert!(refused(&["nothing.csv"]).contains("nothing.csv"));
    let table = isoflop_table(&dir);
    let t = text(&table);
    assert!(refused(&[t, "--at", "-1"]).contains("--at"));
    assert!(refused(&[t, "--at", "nan"]).contains("--at"));
    assert!(refused(&[t, "--level", "1.5"]).contains("--level"));
    assert!(refused(&[t, "--bootstrap", "100000000"]).contains("--bootstrap"));
    assert!(refused(&[t, "--delta", "0"]).contains("--delta"));
    assert!(refused(&[t, "--columns", "x=y"]).contains("--columns"));
    assert!(refused(&[t, "--approach", "envelope"]).contains("envelope"));
    assert!(refused(&[t, "--tokens-per-step", "0"]).contains("step"));
    let lost = dir.path().join("no/such/a.png");
    let output = lehr(&[t, "--bootstrap", "0", "--png", text(&lost)])
        .assert()
        .failure();
    assert!(String::from_utf8_lossy(&output.get_output().stderr).contains("a.png"));
}

mod allocate;
