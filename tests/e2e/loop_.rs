//! `lehr loop`, driven as a user drives it, on Austen's novels.

use crate::common;
use crate::common::{Place, logged};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// Four baselines on two seeds: two share a trunk.
const BASELINES: &str = "cosine:final=0,wsd:fraction=0.2,decay=sqrt,wsd:fraction=0.4,811";

/// `lehr loop` of a model that trains in milliseconds.
fn flags(more: &[&str]) -> Vec<String> {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/austen.txt");
    let mut all: Vec<String> = vec!["loop".into(), "--data".into(), text.display().to_string()];
    let fixed = "--tokenizer char --n-layer 1 --n-head 2 --n-embd 16 --iterations 400 --lr 1e-2 \
                 --warmup-steps 4 --set train.sequence_length=16 --set train.batch_size=4 \
                 --set eval.sequences=8 --set eval.every=100 --set checkpoint.every=50 \
                 --seeds 0,1 --out out --baselines";
    all.extend(fixed.split_whitespace().map(String::from));
    all.push(BASELINES.into());
    all.extend(more.iter().map(|s| s.to_string()));
    all
}

fn lehr(place: &Place, more: &[&str]) -> assert_cmd::Command {
    let all = flags(more);
    place.lehr(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

fn json(place: &Place, more: &[&str]) -> Value {
    let output = lehr(place, &[more, &["--json"]].concat()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn read(place: &Place, name: &str) -> String {
    std::fs::read_to_string(place.path("out").join(name)).unwrap()
}

/// Runs by name with the time that each model was written.
fn runs(place: &Place) -> Vec<(PathBuf, SystemTime)> {
    let entries = std::fs::read_dir(place.path("out/runs")).unwrap();
    let mut found: Vec<_> = entries
        .map(|e| {
            let dir = e.unwrap().path();
            let model = dir.join("final/model.safetensors");
            let written = model.metadata().unwrap().modified().unwrap();
            (dir, written)
        })
        .collect();
    found.sort();
    found
}

fn run(place: &Place, start: &str) -> PathBuf {
    let mut all = runs(place).into_iter().map(|(dir, _)| dir);
    let named = |dir: &PathBuf| {
        dir.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(start)
    };
    all.find(named).unwrap()
}

#[test]
fn a_loop_closes_is_cached_and_survives_a_kill() {
    let place = Place::new();
    let plan = json(&place, &["--dry-run"]);
    assert!(!place.path("out").exists());
    // The probes' quarter; per seed the designed run; a trunk to the last branch, two cooldowns, two whole runs.
    let baselines = 320 + 80 + 160 + 400 + 400;
    let cost = &plan["cost"];
    assert_eq!(cost["probes"], 100);
    assert_eq!(cost["designed"], 2 * 400);
    assert_eq!(cost["baselines"], baselines);
    assert_eq!(cost["other_seeds"], baselines);
    assert_eq!(cost["total"], 100 + 2 * (400 + baselines));
    let own: u64 = (plan["cells"].as_array().unwrap().iter())
        .map(|c| c["own_steps"].as_u64().unwrap())
        .sum();
    assert_eq!(cost["total"], own);
    let said = lehr(&place, &["--dry-run"]).output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("altogether"), "{said}");
    assert!(said.lines().all(|l| l.chars().count() <= 80), "{said}");

    let whole = json(&place, &[]);
    let rows = whole["results"].as_array().unwrap();
    assert_eq!(rows.len(), 2 * 5, "{whole}");
    for row in rows {
        let of = |key: &str| row[key].as_f64().unwrap();
        assert!((of("predicted") - of("actual") - of("difference")).abs() < 1e-12);
    }
    let lines = whole["summary"]["lines"].as_array().unwrap();
    let actual: Vec<f64> = (lines.iter())
        .map(|l| l["actual"]["mean"].as_f64().unwrap())
        .collect();
    assert!(actual.is_sorted() && actual.len() == 5, "{actual:?}");
    assert_eq!(whole["summary"]["against_best"]["seeds"], 2);
    // Lines are in the order of what happened.
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by(|&a, &b| {
        let of = |i: usize| lines[i]["predicted"].as_f64().unwrap();
        of(a).total_cmp(&of(b))
    });
    let squares = |(rank, &line): (usize, &usize)| (rank as f64 - line as f64).powi(2);
    let squares: f64 = order.iter().enumerate().map(squares).sum();
    let rho = 1.0 - 6.0 * squares / (5.0 * 24.0);
    let told = whole["summary"]["spearman"].as_f64().unwrap();
    assert!((told - rho).abs() < 1e-12, "{told} is not {rho}");
    // The trust rule: probes that cooled down over a quarter of their run allow no fall faster than over a fifth.
    let schedule: Value = serde_json::from_str(&read(&place, "schedule.json")).unwrap();
    let drop = schedule["largest_drop"].as_f64().unwrap();
    assert!(drop <= 1.0 / 80.0 * (1.0 + 1e-6), "{drop}");
    let page = read(&place, "report.html");
    assert!(page.contains("wsd:fraction=0.2,decay=sqrt"));

    // Predicted before any long run began.
    let written = |path: &Path| path.metadata().unwrap().modified().unwrap();
    let predictions = place.path("out/predictions.csv");
    let begun = written(&run(&place, "designed-").join("run.toml"));
    assert!(written(&predictions) <= begun);
    assert_eq!(read(&place, "predictions.csv").lines().count(), 1 + 5);

    // A long run is forecast with the probes.
    let toml = std::fs::read_to_string(run(&place, "cosine-").join("run.toml")).unwrap();
    assert!(toml.contains("out/runs/probe-low-s0-"), "{toml}");
    let metrics = common::metrics(&run(&place, "cosine-"));
    assert!(metrics.iter().any(|l| l["law"]["name"] == "elr-fixed"));

    // Called again, nothing is trained and nothing changes.
    let before = runs(&place);
    let (results, law) = (read(&place, "results.csv"), read(&place, "law.json"));
    let output = lehr(&place, &[]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("designed − best baseline"), "{said}");
    assert!(said.lines().all(|l| l.chars().count() <= 80), "{said}");
    assert_eq!(runs(&place), before);
    assert_eq!(
        (read(&place, "results.csv"), read(&place, "law.json")),
        (results, law)
    );

    // A baseline from the shared trunk is the WSD run from scratch.
    let mut wsd = place.lehr(&["train", "--name", "wsd", "--scheduler", "wsd:fraction=0.4"]);
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/austen.txt");
    wsd.arg("--data").arg(text).args(
        "--tokenizer char --n-layer 1 --n-head 2 --n-embd 16 --iterations 400 --lr 1e-2 --warmup-steps 4 \
         --sequence-length 16 --batch-size 4 --seed 1 --set eval.sequences=8 --set sample.tokens=0"
            .split_whitespace(),
    );
    wsd.assert().success();
    let model = |dir: &Path| std::fs::read(dir.join("final/model.safetensors")).unwrap();
    let shared = run(&place, "wsd-fraction-0.4-1e-2-s1");
    assert_eq!(model(&shared), model(&place.run("wsd")));

    killed_in_between(&place);
    a_failure_loses_only_itself(&place);
    what_is_added_is_all_that_is_trained(&place);
}

/// Killed while it trains its probes, and again among the long runs, then run to its end, two runs at a time.
fn killed_in_between(whole: &Place) {
    let place = Place::new();
    let all = logged(whole);
    let mut kills = 0;
    for mark in [90, all / 2] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lehr"))
            .current_dir(place.dir.path())
            .args(flags(&["--jobs", "2"]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while logged(&place) < mark && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        kills += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(kills, 2);
    lehr(&place, &["--jobs", "2"]).assert().success();
    for name in ["results.csv", "predictions.csv", "schedule.json"] {
        assert_eq!(read(&place, name), read(whole, name), "{name}");
    }
    for (dir, _) in runs(whole) {
        let name = dir.file_name().unwrap().to_str().unwrap().to_string();
        // The curves, the metrics and the model; which older checkpoints are kept is no result.
        let of = |p: &Place| {
            let mut all = common::results(&p.path("out/runs").join(&name));
            all.retain(|(what, _)| !what.starts_with("step-"));
            all
        };
        assert_eq!(of(&place), of(whole), "{name}");
    }
}

fn a_failure_loses_only_itself(place: &Place) {
    let results = read(place, "results.csv");
    let cosine = run(place, "cosine-final-0-1e-2-s1");
    std::fs::remove_dir_all(&cosine).unwrap();
    // No directory can be made where a file is.
    std::fs::write(&cosine, "").unwrap();
    let output = lehr(place, &[]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("1 of 12 long runs could not be trained"),
        "{said}"
    );
    let table = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = table.split_whitespace().collect();
    let words = words.join(" ");
    assert!(
        words.contains("(its log: out/runs/cosine-final-0"),
        "{table}"
    );
    assert!(words.contains("cosine:final=0 has 1 of 2 seeds"), "{table}");
    assert_eq!(
        std::fs::read_dir(place.path("out/failures"))
            .unwrap()
            .count(),
        1
    );
    assert_eq!(read(place, "results.csv").lines().count(), 10);
    std::fs::remove_file(&cosine).unwrap();
    lehr(place, &[]).assert().success();
    assert_eq!(read(place, "results.csv"), results);
}

fn what_is_added_is_all_that_is_trained(place: &Place) {
    let before = runs(place);
    let schedule = read(place, "schedule.json");
    let more = format!("{BASELINES},linear");
    let whole = json(place, &["--baselines", &more]);
    assert_eq!(whole["results"].as_array().unwrap().len(), 2 * 6);
    let after = runs(place);
    assert_eq!(after.len(), before.len() + 2);
    assert!(before.iter().all(|run| after.contains(run)));
    assert_eq!(read(place, "schedule.json"), schedule);
    // Another plan has no place there.
    for (args, says) in [
        (
            &["--budget", "0.3"][..],
            "loop.budget is 0.25 there, and 0.3",
        ),
        (&["--lr", "2e-2"], "schedule.peak_lr"),
        (&["--law", "mpl", "--dry-run"], "loop.law"),
    ] {
        let said = place.refused(lehr(place, args));
        assert!(said.contains(says), "{args:?}: {said}");
    }
}

#[test]
fn baselines_are_kept_at_their_best_peak() {
    let place = Place::new();
    let more = [
        "--baselines",
        "linear,wsd:fraction=0.2",
        "--peaks",
        "1e-4,3e-2",
        "--iterations",
        "200",
        "--budget",
        "0.3",
        "--cooldowns",
        "0.25,0.2",
        "--low-probe",
        "0",
        "--law",
        "tissue,mpl",
        "--png",
        "p.png",
    ];
    let whole = json(&place, &more);
    let rows = whole["results"].as_array().unwrap();
    // Two designed; two baselines at three peaks on the first seed, and at one on the second.
    assert_eq!(rows.len(), 2 + 2 * 3 + 2);
    let of = |schedule: &str, seed: u64| -> Vec<(f64, f64)> {
        let own = rows
            .iter()
            .filter(|r| r["schedule"] == schedule && r["seed"] == seed);
        let number = |v: &Value| v.as_f64().unwrap();
        own.map(|r| (number(&r["actual"]), number(&r["peak_lr"])))
            .collect()
    };
    for schedule in ["linear", "wsd:fraction=0.2"] {
        let first = of(schedule, 0);
        let best = first.iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        assert_eq!(of(schedule, 1)[0].1, best.1, "{rows:?}");
    }
    assert!(
        std::fs::read(place.path("p.png"))
            .unwrap()
            .starts_with(b"\x89PNG")
    );
}

/// The commands of the README and of `--help`.
#[test]
fn what_is_documented_can_be_planned() {
    let place = Place::new();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    std::fs::create_dir_all(place.path("data")).unwrap();
    std::fs::copy(corpus.join("austen.txt"), place.path("data/austen.txt")).unwrap();
    let command = "loop shakespeare-char --data data/austen.txt --iterations 1000 --warmup-steps 50 \
                   --baselines cosine,wsd:fraction=0.2,decay=sqrt,811 --seeds 0,1 --out loops/austen";
    for command in ["loop", command] {
        let mut words: Vec<&str> = command.split_whitespace().collect();
        words.push("--dry-run");
        place.lehr(&words).assert().success();
    }
}

#[test]
fn bad_input_ends_in_one_sentence_before_anything_is_trained() {
    let place = Place::new();
    for (args, says) in [
        (&["--budget", "0"][..], "--budget 0"),
        (&["--budget", "1.5"], "--budget 1.5"),
        (&["--budget", "0.05"], "they take at least 68"),
        (&["--baselines", "cosin"], "cosin"),
        (&["--baselines", "wsd:fraction=2"], "fraction"),
        (&["--peaks", "-1"], "--peaks -1"),
        (&["--law", "elri"], "elri"),
        (&["--warmup-steps", "90"], "warm-up of 90"),
        (&["--set", "train.sede=1"], "train.seed"),
        (&["no-such-recipe"], "no-such-recipe"),
        (&["--data", "no-such-text.txt"], "no-such-text.txt"),
    ] {
        let said = place.refused(lehr(&place, args));
        assert!(said.contains(says), "{args:?}: {said}");
        assert!(!place.path("out").exists(), "{args:?}");
    }
}
