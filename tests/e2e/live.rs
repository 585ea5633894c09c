//! The law that looks on while a run trains: forecasts, redesigns, alarms, stopping; kills, branches, bad input.

use crate::common;
use crate::common::{Place, metrics, results};
use serde_json::Value;
use std::process::{Command, Stdio};

/// A law that needs few losses, on a run of few.
const RUN: &[&str] = &[
    "--iterations",
    "120",
    "--eval-interval",
    "4",
    "--checkpoint-every",
    "7",
    "--lr",
    "1e-2",
    "--seed",
    "1",
];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [RUN, more].concat()
}

fn lines(place: &Place, run: &str, key: &str) -> Vec<Value> {
    let all = metrics(&place.run(run));
    all.into_iter().filter(|l| !l[key].is_null()).collect()
}

/// A short run with a decay.
fn probe(place: &Place) {
    let flags = [
        "--iterations",
        "60",
        "--eval-interval",
        "2",
        "--lr",
        "1e-2",
        "--seed",
        "1",
    ];
    let train = place.train(
        "probe",
        &[&flags[..], &["--scheduler", "wsd:fraction=0.5"]].concat(),
    );
    { train }.assert().success();
}

#[test]
fn a_run_says_where_it_will_end() {
    let place = Place::new();
    probe(&place);
    let flags = with(&[
        "--scheduler",
        "wsd:fraction=0.2",
        "--law-probes",
        "checkpoints/probe",
    ]);
    let output = place.train("run", &flags).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("law ends at"), "{said}");
    assert!(said.contains("halfway, the law forecast"), "{said}");
    assert!(said.lines().all(|l| l.chars().count() <= 80), "{said}");
    let told = lines(&place, "run", "law");
    // From the second evaluation on, unless there were too few losses to fit; a look behind.
    assert!(told.len() > 20, "{}", told.len());
    for line in &told {
        let (step, law) = (line["step"].as_u64().unwrap(), &line["law"]);
        assert_eq!(law["fitted_to"], step - 4);
        let of = |key: &str| law[key].as_f64().unwrap();
        assert!(
            of("low") <= of("forecast") && of("forecast") <= of("high"),
            "{line}"
        );
        assert!(law["name"] == "tissue" && of("noise") >= 0.0);
    }
    let (last, val) = (told.last().unwrap(), lines(&place, "run", "val_loss"));
    let off = last["law"]["forecast"].as_f64().unwrap()
        - val.last().unwrap()["val_loss"].as_f64().unwrap();
    assert!(off.abs() < 0.1, "{off}");
    // A law that `lehr predict` reads.
    let mut predict = place.lehr(&["predict", "--law", "checkpoints/run/law.json"]);
    predict.args(["--schedule", "cosine", "--steps", "120", "--no-plot"]);
    predict.assert().success();
}

#[test]
fn killed_runs_forecast_and_decide_the_same() {
    let place = Place::new();
    probe(&place);
    let flags = with(&[
        "--scheduler",
        "auto",
        "--redesign-at",
        "0.3,0.6",
        "--law-probes",
        "checkpoints/probe",
    ]);
    place.train("whole", &flags).assert().success();
    let decisions = lines(&place, "whole", "decision");
    assert_eq!(decisions.len(), 2);
    let run = place.run("killed");
    common::killed_until_done(25, 17, || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lehr"));
        child.current_dir(place.dir.path()).stderr(Stdio::null());
        match run.join("run.toml").exists() {
            true => child.arg("resume").arg(&run),
            false => child
                .args(["train", "--name", "killed"])
                .args(common::TINY)
                .args(&flags),
        };
        child
    });
    assert_eq!(results(&place.run("whole")), results(&run));
}

/// The learning rates that a run applied, as text.
fn lrs(place: &Place, run: &str) -> Vec<String> {
    let text = std::fs::read_to_string(place.run(run).join("curve.csv")).unwrap();
    let of = |line: &str| line.split(',').nth(1).unwrap().to_string();
    text.lines().skip(1).map(of).collect()
}

#[test]
fn a_redesign_is_trained_and_branched_from() {
    let place = Place::new();
    probe(&place);
    let flags = with(&[
        "--scheduler",
        "constant",
        "--redesign-at",
        "0.4",
        "--keep-last",
        "0",
        "--law-probes",
        "checkpoints/probe",
    ]);
    place.train("run", &flags).assert().success();
    let decisions = lines(&place, "run", "decision");
    let decision = &decisions[0];
    assert_eq!((decisions.len(), &decision["step"]), (1, &Value::from(48)));
    let decision = &decision["decision"];
    assert!(!decision["why"].as_str().unwrap().is_empty());
    // Held to its end, a constant LR is so far from the best that any law sees it.
    assert_eq!(decision["kept"], false, "{decision}");
    let name = decision["schedule"].as_str().unwrap();
    let table = format!("table:{}", place.run("run").join(name).display());
    let mut again = with(&["--scheduler", &table, "--live-law", "off"]);
    // A table has LRs of its own.
    let lr = again.iter().position(|f| *f == "--lr").unwrap();
    again.drain(lr..lr + 2);
    place.train("again", &again).assert().success();
    assert_eq!(lrs(&place, "run"), lrs(&place, "again"));
    assert!(lrs(&place, "run")[119].parse::<f64>().unwrap() < 5e-3);
    // A branch has the trunk's past, not what the law said of the trunk's end.
    let mut cooldown = place.lehr(&[
        "cooldown",
        "--from",
        "checkpoints/run@70",
        "--name",
        "branch",
    ]);
    cooldown.args(["--steps", "10"]).assert().success();
    assert_eq!(lrs(&place, "run")[..70], lrs(&place, "branch")[..70]);
    assert!(lines(&place, "branch", "decision").is_empty());
    let told = lines(&place, "branch", "law");
    assert!(
        told.iter().all(|l| l["step"].as_u64().unwrap() > 70),
        "{told:?}"
    );
}

#[test]
fn a_run_that_will_not_do_ends_early_and_can_go_on() {
    let place = Place::new();
    probe(&place);
    let flags = with(&[
        "--stop-when",
        "forecast>0.5",
        "--law-probes",
        "checkpoints/probe",
    ]);
    let output = place.train("run", &flags).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("everything is saved"), "{said}");
    let trained = lrs(&place, "run").len();
    assert!((24..120).contains(&trained), "{trained}");
    let watched = || -> serde_json::Value {
        let mut watch = place.lehr(&["watch", "checkpoints/run", "--json"]);
        serde_json::from_slice(&watch.output().unwrap().stdout).unwrap()
    };
    let seen = watched();
    let why = seen["stopped"].as_str().unwrap();
    assert!(why.contains("law.stop_when is forecast>0.5"), "{why}");
    // A branch is not ended by the trunk's condition.
    let from = format!("checkpoints/run@{trained}");
    let mut cooldown = place.lehr(&["cooldown", "--from", &from, "--name", "branch"]);
    cooldown.args(["--steps", "40"]).assert().success();
    let path = place.run("run").join("run.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("forecast>0.5", "")).unwrap();
    place
        .lehr(&["resume", "checkpoints/run"])
        .assert()
        .success();
    assert_eq!(lrs(&place, "run").len(), 120);
    let seen = watched();
    assert!(seen["finished"] == true && seen["stopped"].is_null());
}

#[test]
fn without_the_law_a_run_has_the_same_bits() {
    let place = Place::new();
    place.train("with", &with(&[])).assert().success();
    place
        .train("without", &with(&["--live-law", "off"]))
        .assert()
        .success();
    let plain = |run: &str| {
        let all = results(&place.run(run));
        let spoken = |name: &str| name.contains("\"law\"") || name.contains("\"alarm\"");
        all.into_iter()
            .filter(|(n, _)| !spoken(n))
            .collect::<Vec<_>>()
    };
    assert_eq!(plain("with"), plain("without"));
    assert!(lines(&place, "without", "law").is_empty());
    assert!(!place.run("without").join("law.json").exists());
}

#[test]
fn a_probe_that_is_gone_changes_nothing() {
    let place = Place::new();
    probe(&place);
    let flags = with(&["--law-probes", "checkpoints/probe"]);
    place.train("whole", &flags).assert().success();
    place.train("other", &flags).assert().success();
    // As a process that was killed after its checkpoint at step 63 left it.
    let run = place.run("other");
    std::fs::remove_dir_all(run.join("final")).unwrap();
    for entry in std::fs::read_dir(&run).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("step-00000120") {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    std::fs::remove_dir_all(place.run("probe")).unwrap();
    let mut resume = place.lehr(&["resume"]);
    resume.arg(&run).current_dir("/").assert().success();
    let plain = |run: &str| {
        let all = results(&place.run(run));
        all.into_iter()
            .filter(|(n, _)| !n.starts_with("step-"))
            .collect::<Vec<_>>()
    };
    assert_eq!(plain("whole"), plain("other"));
}

#[test]
fn bad_input_is_one_sentence() {
    let place = Place::new();
    let other = ["--n-embd", "32", "--iterations", "20", "--lr", "1e-2"];
    place.train("wide", &other).assert().success();
    for (flags, word) in [
        (&["--stop-when", "loss>3"][..], "forecast>LOSS"),
        (&["--live-law", "moon"], "law.law"),
        (&["--law-probes", "nowhere"], "law.probes"),
        (&["--law-probes", "checkpoints/wide"], "model.n_embd is 32"),
        (
            &["--redesign-at", "0.5", "--eval-interval", "50"],
            "eval.every",
        ),
        (&["--redesign-at", "1.5"], "below 1"),
        (&["--redesign-at", "0.6,0.3"], "must rise"),
        (
            &["--scheduler", "auto", "--live-law", "off"],
            "--live-law off",
        ),
        (
            &["--redesign-at", "0.5", "--eval-interval", "0"],
            "eval.every",
        ),
    ] {
        let more = [RUN, flags].concat();
        let said = place.refused(place.train("bad", &more));
        assert!(said.contains(word), "{flags:?}: {said}");
        assert!(!place.run("bad").join("run.toml").exists(), "{flags:?}");
    }
}
