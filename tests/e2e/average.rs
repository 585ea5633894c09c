//! Averages of weights, driven as a user drives them: `lehr train --weight-average`, `lehr average`.

mod saved;

use crate::common;
use crate::common::{Place, metrics, results};
use lehr::curve::{ColumnMap, ReadOptions};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Windows of 10 steps with a snapshot every 2, a sweep, and a moving average.
const AVERAGES: &[&str] = &[
    "--weight-average",
    "--wa-interval",
    "2",
    "--wa-horizon",
    "10",
    "--wa-sweep-horizon",
    "--max-num-wa-sweeps",
    "3",
    "--exponential-moving-average",
    "--ema-interval",
    "3",
    "--ema-decay",
    "0.8",
    "--ema-after-warmup",
];

fn with<'a>(more: &[&'a str], averages: &[&'a str]) -> Vec<&'a str> {
    [more, averages].concat()
}

/// The weights of a model directory, in f64, by name.
fn weights(dir: &Path) -> BTreeMap<String, Vec<f64>> {
    let bytes = std::fs::read(dir.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8]| -> Vec<f64> {
        let (numbers, rest) = data.as_chunks();
        assert!(rest.is_empty());
        numbers
            .iter()
            .map(|&b| f32::from_le_bytes(b).into())
            .collect()
    };
    tensors
        .iter()
        .map(|(name, tensor)| {
            assert_eq!(tensor.dtype(), Dtype::F32);
            (name.to_string(), values(tensor.data()))
        })
        .collect()
}

fn step(run: &Path, step: u64) -> PathBuf {
    run.join(format!("step-{step:08}"))
}

fn window(run: &Path, last_step: u64) -> PathBuf {
    run.join("averages").join(format!("window-{last_step:08}"))
}

/// Σ share·weights over model directories.
fn combination(of: &[(PathBuf, f64)]) -> BTreeMap<String, Vec<f64>> {
    let mut sum: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (dir, share) in of {
        for (name, values) in weights(dir) {
            let sum = sum.entry(name).or_insert_with(|| vec![0.0; values.len()]);
            for (sum, value) in sum.iter_mut().zip(values) {
                *sum += share * value;
            }
        }
    }
    sum
}

#[track_caller]
fn close(dir: &Path, expected: &BTreeMap<String, Vec<f64>>, tolerance: f64) {
    let found = weights(dir);
    assert!(found.keys().eq(expected.keys()), "{}", dir.display());
    for (name, values) in found {
        for (a, b) in values.iter().zip(&expected[&name]) {
            let off = (a - b).abs();
            assert!(off <= tolerance * b.abs().max(1.0), "{name}: {a} {b}");
        }
    }
}

/// Every file under `averages/`, and the accumulators of the checkpoints, by name and contents.
fn averages(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut put = |path: PathBuf| {
        let name = path.strip_prefix(run).unwrap().display().to_string();
        all.insert(name, std::fs::read(path).unwrap());
    };
    put(run.join("curve.average.csv"));
    let entries = |dir: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|e| e.unwrap().path()).collect()
    };
    for dir in entries(&run.join("averages")) {
        entries(&dir).into_iter().for_each(&mut put);
    }
    for dir in entries(run) {
        let file = dir.join("average.safetensors");
        if file.exists() {
            put(file);
        }
    }
    all
}

fn json(place: &Place, args: &[&str]) -> serde_json::Value {
    let output = place.lehr(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn averaging_changes_nothing_of_the_run() {
    let place = Place::new();
    let flags = ["--iterations", "35", "--eval-interval", "2"];
    place.train("plain", &flags).assert().success();
    let averaged = place.train("averaged", &with(&flags, AVERAGES)).output();
    let said = String::from_utf8(averaged.unwrap().stderr).unwrap();
    let mut found = results(&place.run("averaged"));
    let all = found.len();
    found.retain(|(name, _)| !name.contains("\"average\":"));
    assert_eq!(results(&place.run("plain")), found);
    // A moving average at all of 18 evaluations, windows and their sweep at 14 from step 10 on.
    assert_eq!(all - found.len(), 18 + 2 * 14);
    assert!(!place.run("plain").join("averages").exists());
    assert!(!place.run("plain").join("curve.average.csv").exists());
    assert!(
        said.contains(", wa ") && said.contains("averaged over steps 21 to 30"),
        "{said}"
    );
    // The line that says what to type next starts with how the program was started.
    for line in said.lines().filter(|l| !l.starts_with("next")) {
        assert!(line.chars().count() <= 80, "{line}");
    }

    // The readers of curves see the run as it was.
    let run = place.run("averaged");
    let options = ReadOptions {
        columns: ColumnMap {
            loss: Some("val_loss".into()),
            ..ColumnMap::default()
        },
        ..ReadOptions::default()
    };
    for file in ["", "metrics.jsonl"] {
        let points = |run: &Path| {
            let path = run.join(file).display().to_string();
            let curve = lehr::curve::read(&path, &options).unwrap().remove(0);
            curve.points
        };
        assert_eq!(points(&run), points(&place.run("plain")), "{file}");
    }
    let lines = metrics(&run);
    let last = |kind: &str| {
        let of = lines.iter().rev().find(|l| l["average"] == kind);
        of.unwrap().clone()
    };
    let wa = last("window");
    assert_eq!((&wa["from"], &wa["to"]), (&21.into(), &30.into()));
    let best = last("sweep")["best_val_loss_wa"].as_f64().unwrap();
    assert!(best <= wa["val_loss_wa"].as_f64().unwrap());
    let ema = last("ema");
    assert_eq!((&ema["from"], &ema["to"]), (&2.into(), &35.into()));
    let curve = std::fs::read_to_string(run.join("curve.average.csv")).unwrap();
    assert_eq!(curve.lines().count(), 19);
    assert!(
        curve.lines().nth(1).unwrap().starts_with("2,,,,"),
        "{curve}"
    );
}

#[test]
fn windows_and_moving_averages_are_what_they_say() {
    let place = Place::new();
    let flags = [
        "--iterations",
        "20",
        "--eval-interval",
        "5",
        "--checkpoint-every",
        "1",
        "--keep-last",
        "0",
        "--lr",
        "0.01",
    ];
    place.train("a", &with(&flags, AVERAGES)).assert().success();
    let run = place.run("a");
    for first in [0, 10] {
        let snapshots = (1..=9).step_by(2).map(|s| (step(&run, first + s), 0.2));
        let mean = combination(&snapshots.collect::<Vec<_>>());
        close(&window(&run, first + 10), &mean, 1e-6);
    }
    // It begins after the 2 steps of warm-up, and takes steps 5, 8, …, 20.
    let mut shares = vec![(step(&run, 2), 0.8f64.powi(6))];
    shares.extend((0..6).map(|i| (step(&run, 5 + 3 * i), 0.2 * 0.8f64.powi(5 - i as i32))));
    close(&run.join("averages/ema"), &combination(&shares), 1e-6);

    // In f64, and from 0 with its bias corrected.
    let other = ["--wa-dtype", "float64", "--ema-bias-correction"];
    let all = with(&with(&flags, AVERAGES), &other);
    place.train("b", &all).assert().success();
    let other = place.run("b");
    let snapshots = (11..=19).step_by(2).map(|s| (step(&run, s), 0.2));
    let mean = combination(&snapshots.collect::<Vec<_>>());
    close(&window(&other, 20), &mean, 6e-8);
    shares.remove(0);
    let total: f64 = shares.iter().map(|s| s.1).sum();
    shares.iter_mut().for_each(|s| s.1 /= total);
    close(&other.join("averages/ema"), &combination(&shares), 1e-6);

    // What was logged is what the exported models score.
    let lines = metrics(&run);
    let logged = |kind: &str, key: &str| {
        let line = lines.iter().rev().find(|l| l["average"] == kind);
        line.unwrap()[key].as_f64().unwrap()
    };
    for (dir, loss) in [
        ("window-00000020", logged("window", "val_loss_wa")),
        ("ema", logged("ema", "val_loss_ema")),
    ] {
        let dir = format!("checkpoints/a/averages/{dir}");
        let sequences = ["--sequences", "4", "--batch-size", "4", "--json"];
        let found = json(&place, &with(&["evaluate", &dir], &sequences));
        assert_eq!(found["loss"].as_f64().unwrap(), loss, "{dir}");
        let text = [
            "sample",
            &dir,
            "--prompt",
            "Doc",
            "--max-tokens",
            "3",
            "--json",
        ];
        json(&place, &text);
    }
    // The best of the sweep, made after the fact.
    let best = lines
        .iter()
        .rev()
        .find(|l| l["average"] == "sweep")
        .unwrap();
    let windows = best["windows"].to_string();
    let args = ["average", "checkpoints/a", "--windows", &windows];
    let found = json(&place, &with(&args, &["--evaluate", "--json"]));
    assert_eq!(found["loss"], best["best_val_loss_wa"]);
}

#[test]
fn killed_runs_resume_to_the_same_averages() {
    let place = Place::new();
    for (dtype, correction) in [
        ("float32", &[][..]),
        ("float64", &["--ema-bias-correction"]),
    ] {
        let flags = [
            "--iterations",
            "60",
            "--checkpoint-every",
            "7",
            "--eval-interval",
            "9",
            "--batch-size",
            "16",
            "--wa-dtype",
            dtype,
        ];
        let flags = with(&with(&flags, AVERAGES), correction);
        let whole = format!("{dtype}-whole");
        place.train(&whole, &flags).assert().success();
        let name = format!("{dtype}-killed");
        let run = place.run(&name);
        let kills = common::killed_until_done(20, 13, || {
            let mut child = Command::new(env!("CARGO_BIN_EXE_lehr"));
            child.current_dir(place.dir.path()).stderr(Stdio::null());
            match run.join("run.toml").exists() {
                true => child.arg("resume").arg(&run),
                false => child
                    .args(["train", "--name", &name])
                    .args(common::TINY)
                    .args(&flags),
            };
            child
        });
        assert_eq!(results(&place.run(&whole)), results(&run), "{kills} kills");
        let (a, b) = (averages(&place.run(&whole)), averages(&run));
        assert!(a.keys().eq(b.keys()), "{:?} {:?}", a.keys(), b.keys());
        for (name, bytes) in a {
            assert!(bytes == b[&name], "{name} differs after {kills} kills");
        }
        // Six windows with five files each, and the moving average.
        assert!(b.contains_key("averages/window-00000060/average.json"));
        assert!(b.contains_key("step-00000056/average.safetensors"));
    }
}

/// Takes a run back to its checkpoint at a step, as if it had been killed behind it.
fn back_to(run: &Path, kept: u64) {
    std::fs::remove_dir_all(run.join("final")).unwrap();
    for entry in std::fs::read_dir(run).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if name.starts_with("step-") && path != step(run, kept) {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
}

#[test]
fn runs_of_older_versions_resume_and_may_begin_to_average() {
    let place = Place::new();
    let flags = ["--iterations", "40", "--checkpoint-every", "15"];
    let keep = with(&flags, &["--keep-last", "0", "--eval-interval", "10"]);
    place.train("a", &keep).assert().success();
    let run = place.run("a");
    let before = results(&run);
    let before: Vec<_> = before
        .iter()
        .filter(|r| !r.0.starts_with("step-0000000"))
        .collect();
    // As a version without averages wrote them.
    let state_file = step(&run, 15).join("state.json");
    let state = std::fs::read_to_string(&state_file).unwrap();
    let mut state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert!(state.get("average").is_none());
    let config = state["config"].as_object_mut().unwrap();
    assert!(config.remove("average").is_some());
    std::fs::write(&state_file, state.to_string()).unwrap();
    let run_file = run.join("run.toml");
    let text = std::fs::read_to_string(&run_file).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    assert!(table.remove("average").is_some());
    std::fs::write(&run_file, table.to_string()).unwrap();
    back_to(&run, 15);
    place.lehr(&["resume", "checkpoints/a"]).assert().success();
    let after = results(&run);
    let after: Vec<_> = after
        .iter()
        .filter(|r| !r.0.starts_with("step-0000000"))
        .collect();
    assert_eq!(before, after);

    // Switched on, windows begin with the first whole one, and the user is told.
    let mut table: toml::Table = std::fs::read_to_string(&run_file).unwrap().parse().unwrap();
    let average = "weight_average = true\nhorizon = 10\nema = true";
    table.insert(
        "average".into(),
        average.parse::<toml::Table>().unwrap().into(),
    );
    std::fs::write(&run_file, table.to_string()).unwrap();
    back_to(&run, 15);
    let output = place.lehr(&["resume", "checkpoints/a"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("step 15 holds no average over windows"),
        "{said}"
    );
    assert!(said.contains("step 15 holds no moving average"), "{said}");
    assert!(!window(&run, 20).exists());
    assert!(window(&run, 30).exists() && window(&run, 40).exists());
    let lines = metrics(&run);
    let ema = lines.iter().rev().find(|l| l["average"] == "ema").unwrap();
    assert_eq!((&ema["from"], &ema["to"]), (&15.into(), &35.into()));
}

#[test]
fn a_damaged_accumulator_is_found_and_a_missing_window_is_not_the_end() {
    let place = Place::new();
    let flags = [
        "--iterations",
        "24",
        "--checkpoint-every",
        "8",
        "--eval-interval",
        "6",
    ];
    place.train("a", &with(&flags, AVERAGES)).assert().success();
    let run = place.run("a");
    back_to(&run, 16);
    std::fs::remove_dir_all(window(&run, 10)).unwrap();
    place.lehr(&["resume", "checkpoints/a"]).assert().success();
    assert!(window(&run, 20).exists());

    back_to(&run, 24);
    let file = step(&run, 24).join("average.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = place.refused(place.lehr(&["resume", "checkpoints/a"]));
    assert!(error.contains("average.safetensors is damaged"), "{error}");
}

#[test]
fn settings_that_make_no_average() {
    let place = Place::new();
    for (flags, parts) in [
        (
            &["--wa-horizon", "10"][..],
            &["--wa-horizon", "add --weight-average"][..],
        ),
        (
            &["--ema-decay", "0.9"],
            &["--ema-decay", "add --exponential-moving-average"],
        ),
        (
            &["--weight-average", "--wa-interval", "0"],
            &["average.interval is 0"],
        ),
        (&["--weight-average", "--wa-interval", "7"], &["497"]),
        (
            &["--weight-average", "--wa-horizon", "-5"],
            &["--wa-horizon -5"],
        ),
        (
            &["--exponential-moving-average", "--ema-decay", "1"],
            &["average.ema_decay is 1"],
        ),
        (&["--set", "average.sweep=true"], &["--weight-average"]),
        (&["--set", "average.horizen=5"], &["average.horizon"]),
        (&["--set", "average.dtype=float16"], &["float16", "float32"]),
    ] {
        let error = place.refused(place.train("bad", flags));
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    assert!(!place.path("checkpoints").exists());
    // A run without room for a window says so before it starts.
    let output = place.train("short", &["--iterations", "4", "--weight-average"]);
    let mut output = output;
    let said = String::from_utf8(output.output().unwrap().stderr).unwrap();
    assert!(said.contains("no window of 500 steps"), "{said}");
}
