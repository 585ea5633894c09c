//! `lehr search` as its users run it: simulated, from tables, with this trainer, and against a training service on the
//! loopback that misbehaves in every way that a service can.

#[cfg(feature = "hub")]
mod server;
#[cfg(feature = "hub")]
mod service;

use crate::common::Place;
use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;

fn lehr(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lehr"));
    command.current_dir(dir).arg("search").args(args);
    command.env_remove("LEHR_API_KEY");
    command
}

fn json(mut command: Command) -> Value {
    let output = command.arg("--json").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs what must fail, perhaps after some answers, and returns its one sentence.
fn refused(mut command: Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("error: ") && said.lines().count() == 1,
        "{said}"
    );
    said
}

const A3: &[&str] = &["--budget", "2e18", "--target", "1e19"];

#[test]
fn simulated_twice_pays_once() {
    let dir = tempfile::tempdir().unwrap();
    let search = || {
        let mut command = lehr(dir.path(), A3);
        command.args(["--oracle", "simulate:noise=0.005,seed=1"]);
        command
    };
    let first = json(search());
    let spent = first["spent"].as_f64().unwrap();
    assert!(spent <= 2e18 && spent > 1e18, "{spent}");
    // The default truth: N = 254 M at 1e19.
    let n = first["forecast"]["n_opt"]["value"].as_f64().unwrap();
    assert!((n / 2.54e8 - 1.0).abs() < 0.1, "{n}");
    let state = dir.path().join("search.jsonl");
    let bytes = std::fs::read(&state).unwrap();
    let second = json(search());
    assert_eq!(std::fs::read(&state).unwrap(), bytes);
    assert_eq!(second["forecast"], first["forecast"]);
    assert_eq!(second["answers"].as_array().unwrap().len(), first["paid"]);

    // Its answers are a table, in which another search finds the same optimum for nothing new.
    let mut from_table = lehr(dir.path(), A3);
    from_table.args(["--oracle", "table:search.jsonl", "--state", "table.jsonl"]);
    let table = json(from_table);
    let again = table["forecast"]["n_opt"]["value"].as_f64().unwrap();
    assert!((again / n - 1.0).abs() < 0.1, "{again} {n}");

    let mut other = lehr(dir.path(), A3);
    other.args(["--oracle", "simulate:noise=0.01"]);
    assert!(refused(other).contains("holds answers of simulate:noise=0.005,seed=1"));
    assert_eq!(std::fs::read(&state).unwrap(), bytes);
}

#[test]
fn words_keep_to_80_columns() {
    let dir = tempfile::tempdir().unwrap();
    for more in [&[][..], &["--dry-run", "--state", "none.jsonl"]] {
        let mut command = lehr(dir.path(), A3);
        let output = command
            .args(["--oracle", "simulate"])
            .args(more)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.lines().count() > 15, "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
    assert!(
        !dir.path().join("none.jsonl").exists(),
        "a dry run writes nothing"
    );
}

#[test]
fn wrong_input_is_one_sentence_and_spends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t.csv"), "d_model,loss\n64,3\n").unwrap();
    std::fs::write(dir.path().join("notes.txt"), "not answers\n").unwrap();
    let simulate = ["--oracle", "simulate"];
    let cases: &[(&[&str], &str)] = &[
        (
            &[
                "--oracle", "simulate", "--budget", "1e12", "--target", "1e13",
            ],
            "cheapest run costs 1e13",
        ),
        (
            &["--oracle", "simulate", "--budget", "-1", "--target", "1e13"],
            "--budget -1",
        ),
        (
            &[
                "--oracle", "simulate", "--budget", "1e18", "--target", "nan",
            ],
            "--target NaN",
        ),
        (
            &[
                "--oracle",
                "simulate:F=1",
                "--budget",
                "1e18",
                "--target",
                "1e19",
            ],
            "the names are",
        ),
        (
            &[
                "--oracle", "ftp://x", "--budget", "1e18", "--target", "1e19",
            ],
            "give simulate, table:FILE",
        ),
        (
            &[
                "--oracle",
                "table:t.csv",
                "--budget",
                "1e18",
                "--target",
                "1e19",
            ],
            "there is no num_layers",
        ),
        (
            &[
                "--oracle",
                "table:gone.csv",
                "--budget",
                "1e18",
                "--target",
                "1e19",
            ],
            "gone.csv",
        ),
        (
            &[
                "--oracle",
                "train:nothing",
                "--budget",
                "1e18",
                "--target",
                "1e19",
            ],
            "no recipe of that name",
        ),
    ];
    for (args, words) in cases {
        let said = refused(lehr(dir.path(), args));
        assert!(said.contains(words), "{said}");
    }
    for (flag, value, words) in [
        ("--space", "width=3", "the names are d_model"),
        ("--space", "num_heads=7,d_model=64", "widen --space"),
        ("--level", "1.5", "--level 1.5"),
        ("--most-runs", "0", "--most-runs 0"),
        ("--state", "notes.txt", "notes.txt is damaged"),
        ("--set", "train.seed=1", "train:RECIPE"),
    ] {
        let mut command = lehr(dir.path(), A3);
        command.args(simulate).args([flag, value]);
        let said = refused(command);
        assert!(said.contains(words), "{said}");
    }
    assert!(!dir.path().join("search.jsonl").exists());
    assert_eq!(
        std::fs::read_to_string(dir.path().join("notes.txt")).unwrap(),
        "not answers\n"
    );
}

#[test]
fn this_trainer_answers_and_a_second_search_is_free() {
    let place = Place::new();
    let args = [
        "--oracle",
        "train:default",
        "--budget",
        "6e9",
        "--target",
        "2e10",
        "--json",
        "--most-runs",
        "14",
        "--set",
        "data.path=text.txt",
        "--set",
        "data.tokenizer=char",
        "--set",
        "train.sequence_length=16",
        "--set",
        "train.batch_size=4",
        "--set",
        "eval.sequences=4",
        "--set",
        "data.vocab_size=96",
        "--space",
        "d_model=8..32,num_layers=1..2,num_heads=1..2,learning_rate=1e-3..1e-2,train_flops=1e8..1e9",
    ];
    let run = || {
        let output = lehr(place.dir.path(), &args[..]).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let first = run();
    let (spent, paid) = (
        first["spent"].as_f64().unwrap(),
        first["paid"].as_u64().unwrap(),
    );
    assert!(spent <= 6e9 && spent > 5e8, "{spent}");
    assert!(paid >= 6, "{paid}");
    for answer in first["answers"].as_array().unwrap() {
        let loss = answer["loss"].as_f64().unwrap();
        assert!(loss > 0.5 && loss < 6.0, "{answer}");
        assert!(answer["cost"].as_f64().unwrap() <= answer["train_flops"].as_f64().unwrap());
    }
    // The last answer is lost; its run is finished, and gives it again without a step.
    let state = place.path("search.jsonl");
    let text = std::fs::read_to_string(&state).unwrap();
    let kept: Vec<&str> = text.lines().collect();
    std::fs::write(&state, kept[..kept.len() - 1].join("\n") + "\n").unwrap();
    let again = run();
    assert_eq!(again["answers"], first["answers"]);
    assert_eq!(again["spent"], first["spent"]);
}
