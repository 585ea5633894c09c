//! `lehr suite`, driven as a user drives it.

use crate::common;
use crate::common::{Place, logged};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Two models that train in milliseconds, two seeds, a further cooldown, cosines.
const SPEC: &str = r#"
[suite]
name = "s"
out = "out"
seeds = [0, 1]
horizons = [20, 40]
cosine = true
cooldown = { fraction = 0.2, decay = "linear" }

[set]
data.path = "text.txt"
data.tokenizer = "char"
schedule.warmup = "2"
train.sequence_length = 16
train.batch_size = 4
eval.every = 7
eval.sequences = 4
checkpoint.every = 5
model.n_layer = 1
model.n_head = 2

[[size]]
name = "a"
peak_lr = 1e-2
model.n_embd = 16

[[size]]
name = "b"
peak_lr = 5e-3
model.n_embd = 32

[[cooldown]]
name = "short"
fraction = 0.1
decay = "sqrt"
horizons = [40]
sizes = ["b"]
"#;

/// Cells of it: a trunk, two cooldowns and two cosines for each of two models and two seeds, and two `short`.
const CELLS: usize = 22;

fn place(spec: &str) -> Place {
    let place = Place::new();
    write(&place, spec);
    place
}

fn write(place: &Place, spec: &str) {
    std::fs::write(place.path("s.toml"), spec).unwrap();
}

fn results(place: &Place) -> String {
    std::fs::read_to_string(place.path("out/results.csv")).unwrap()
}

/// The directories of runs whose names begin so, with the time that their models were written.
fn runs(place: &Place, start: &str) -> Vec<(PathBuf, std::time::SystemTime)> {
    let entries = std::fs::read_dir(place.path("out/runs")).unwrap();
    let mut found: Vec<_> = entries
        .map(|e| e.unwrap())
        .filter(|e| e.file_name().to_str().unwrap().starts_with(start))
        .map(|e| {
            let model = e.path().join("final/model.safetensors");
            (e.path(), model.metadata().unwrap().modified().unwrap())
        })
        .collect();
    found.sort();
    found
}

fn json(place: &Place, args: &[&str]) -> serde_json::Value {
    let output = place.lehr(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The files of `out/failures`.
fn records(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.path("out/failures"));
    let entries = entries.into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const RUN: &[&str] = &["suite", "s.toml", "--yes"];

#[test]
fn a_suite_runs_is_cached_and_saves_what_the_formula_says() {
    let place = place(SPEC);
    let plan = json(&place, &["suite", "s.toml", "--plan", "--json"]);
    assert_eq!(plan["cells"], CELLS);
    // (40 + 0.2·20) / (20 + 40), whatever the models.
    let ratio = 44.0 / 60.0;
    assert!((plan["ratio"].as_f64().unwrap() - ratio).abs() < 1e-12);
    assert!(!place.path("out").exists());

    let whole = json(&place, &["suite", "s.toml", "--yes", "--json"]);
    assert_eq!(whole["finished"], CELLS);
    let close = |key: &str| (whole[key].as_f64().unwrap() - ratio).abs() < 1e-12;
    assert!(close("spent_ratio") && close("formula_ratio"), "{whole}");
    // What the plan said is what the logs hold.
    assert_eq!(whole["spent"], plan["cost"]);

    let csv = results(&place);
    let header = "size,seed,kind,params,tokens,flops,loss,steps,peak_lr,run";
    assert_eq!(csv.lines().next(), Some(header));
    assert_eq!(csv.lines().count(), 1 + CELLS);
    let row = |start: &str| -> Vec<String> {
        let line = csv.lines().find(|l| l.starts_with(start)).unwrap();
        line.split(',').map(str::to_string).collect()
    };
    let (cooldown, cosine) = (row("b,1,cooldown,"), row("b,1,cosine,"));
    // The trunk's LR is half of the cosine's; both end at the same length.
    assert_eq!((&*cooldown[8], &*cosine[8]), ("0.0025", "0.005"));
    assert_eq!(cooldown[3..6], cosine[3..6]);
    assert_eq!(cooldown[4], (20 * 64).to_string());
    assert_ne!(cooldown[6], cosine[6]);

    let before = runs(&place, "");
    let output = place.lehr(RUN).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("22 of 22 cells"), "{said}");
    assert!(said.lines().all(|l| l.chars().count() <= 80), "{said}");
    assert_eq!(runs(&place, ""), before);
    assert_eq!(results(&place), csv);
}

/// A cooldown of the suite is the WSD run of that length, bit for bit.
#[test]
fn a_cooldown_is_the_wsd_run_from_scratch() {
    let place = place(&SPEC.replace("cosine = true", "cosine = false"));
    place.lehr(RUN).assert().success();
    let mut wsd = place.lehr(&["train", "--name", "wsd", "--config", "recipe.toml"]);
    let recipe = "[model]\nn_layer = 1\nn_head = 2\nn_embd = 16\n[data]\npath = \"text.txt\"\ntokenizer = \"char\"\n[schedule]\nscheduler = \"wsd:fraction=0.2\"\npeak_lr = 5e-3\nwarmup = \"2\"\n[train]\niterations = 20\nsequence_length = 16\nbatch_size = 4\nseed = 1\n";
    std::fs::write(place.path("recipe.toml"), recipe).unwrap();
    wsd.assert().success();
    let model = |dir: &Path| std::fs::read(dir.join("final/model.safetensors")).unwrap();
    let cooldown = &runs(&place, "a-s1-20-cooldown-")[0].0;
    assert_eq!(model(cooldown), model(&place.run("wsd")));
}

#[test]
fn an_edit_runs_again_only_what_it_changed() {
    let place = place(SPEC);
    place.lehr(RUN).assert().success();
    let before = runs(&place, "");
    // A longer horizon, and another peak for one of the models.
    let edited = SPEC.replace("[20, 40]", "[20, 40, 60]");
    let edited = edited.replace("peak_lr = 5e-3", "peak_lr = 4e-3");
    write(&place, &edited);
    place.lehr(RUN).assert().success();
    let after = runs(&place, "");
    for run in &before {
        assert!(after.contains(run), "{run:?} was run again");
    }
    // Of model a only the longest: per seed a trunk that goes on, a cooldown and a cosine.
    let of_a = |of: &[(PathBuf, _)]| {
        let name = |p: &PathBuf| p.file_name().unwrap().to_str().unwrap().starts_with("a-");
        of.iter().filter(|(p, _)| name(p)).count()
    };
    assert_eq!(of_a(&after) - of_a(&before), 2 * 3);
    let trunks = runs(&place, "a-s0-trunk-");
    let went_on = trunks.iter().any(|(dir, _)| {
        let text = std::fs::read_to_string(dir.join("run.toml")).unwrap();
        text.contains("branch:at=32,")
    });
    assert!(went_on, "{trunks:?}");
    // Nobody can tell from the results.
    let fresh = self::place(&edited);
    fresh.lehr(RUN).assert().success();
    assert_eq!(results(&place), results(&fresh));
}

#[test]
fn killing_it_ten_times_changes_no_result() {
    let whole = place(SPEC);
    whole.lehr(RUN).assert().success();
    let all = logged(&whole);
    let place = place(SPEC);
    // Moments all over the suite, none on a round number of anything.
    let mut kills = 0;
    for moment in 0..12 {
        let mark = (all * (2 * moment + 1) + 7 * moment) / 24;
        let mut child = Command::new(env!("CARGO_BIN_EXE_lehr"))
            .current_dir(place.dir.path())
            .args(RUN)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while logged(&place) < mark && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(700));
        }
        std::thread::sleep(Duration::from_millis(moment as u64 * 5 % 13));
        kills += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills >= 10, "it was killed only {kills} times");
    place.lehr(RUN).assert().success();
    assert_eq!(results(&place), results(&whole), "{kills} kills");
    let names = |p: &Place| -> Vec<String> {
        let dirs = runs(p, "").into_iter();
        dirs.map(|(d, _)| d.file_name().unwrap().to_str().unwrap().to_string())
            .collect()
    };
    for name in names(&whole) {
        // The curves, the metrics and the model; which older checkpoints are kept is no result.
        let of = |p: &Place| {
            let mut all = common::results(&p.path("out/runs").join(&name));
            all.retain(|(what, _)| !what.starts_with("step-"));
            all
        };
        assert_eq!(of(&place), of(&whole), "{name}");
    }
}

#[test]
fn a_failure_loses_only_what_hangs_on_it() {
    let place = place(SPEC);
    place.lehr(RUN).assert().success();
    let whole = results(&place);
    let trunk = runs(&place, "a-s0-trunk-")[0].0.clone();
    std::fs::remove_dir_all(place.path("out")).unwrap();
    std::fs::create_dir_all(trunk.parent().unwrap()).unwrap();
    // No directory can be made where a file is.
    std::fs::write(&trunk, "").unwrap();
    let output = place.lehr(RUN).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("3 of 22 cells could not be run"), "{said}");
    assert!(said.contains("needs a-s0-trunk"), "{said}");
    // Those that only wait for it failed at nothing.
    assert_eq!(records(&place).len(), 1);
    let collected = json(&place, &["suite", "s.toml", "--collect", "--json"]);
    let failures = collected["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 1, "{collected}");
    assert_eq!(failures[0]["cell"], "a-s0-trunk");
    assert_eq!(results(&place).lines().count(), 1 + CELLS - 3);
    std::fs::remove_file(&trunk).unwrap();
    place.lehr(RUN).assert().success();
    assert_eq!(results(&place), whole);
    assert!(records(&place).is_empty());
}

#[test]
fn a_loss_that_is_not_finite_fails_one_cell() {
    let spec = SPEC.replace("peak_lr = 1e-2", "peak_lr = 1e30");
    let place = place(&spec.replace("seeds = [0, 1]", "seeds = [0]"));
    let output = place.lehr(RUN).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the loss is"), "{said}");
    let csv = results(&place);
    assert_eq!(csv.lines().filter(|l| l.starts_with("b,")).count(), 6);
    assert_eq!(csv.lines().filter(|l| l.starts_with("a,")).count(), 0);
}

#[test]
fn nothing_is_run_without_a_yes() {
    let place = place(SPEC);
    let said = place.refused(place.lehr(&["suite", "s.toml"]));
    assert!(said.contains("add --yes to run 22 cells"), "{said}");
    assert!(!place.path("out").exists());
}

#[test]
fn bad_suites_end_in_one_sentence_before_anything_runs() {
    for (from, to, says) in [
        ("model.n_embd = 32", "model.n_embd = 33", "size b"),
        (
            "horizons = [20, 40]",
            "horizons = [40, 20]",
            "horizons must rise",
        ),
        ("horizons = [20, 40]", "horizons = [1, 40]", "too short"),
        ("warmup = \"2\"", "warmup = \"18\"", "before the warm-up"),
        ("fraction = 0.2", "fraction = 1.5", "between 0 and 1"),
        ("cosine = true", "cosin = true", "the nearest is cosine"),
        ("eval.every", "eval.evry", "the nearest is eval.every"),
        ("name = \"b\"", "name = \"a\"", "two sizes are named a"),
        ("sizes = [\"b\"]", "sizes = [\"c\"]", "there is not"),
        (
            "horizons = [40]\n",
            "horizons = [39]\n",
            "none of the horizons",
        ),
        ("\"text.txt\"", "\"texts.txt\"", "texts.txt"),
        (
            "batch_size = 4",
            "batch_size = 40000",
            "shorter than one batch",
        ),
        ("seeds = [0, 1]", "seeds = [0, -1]", "seeds"),
        ("[[size]]", "[[sizes]]", "the nearest is size"),
    ] {
        let text = SPEC.replace(from, to);
        assert_ne!(text, SPEC);
        let place = place(&text);
        let said = place.refused(place.lehr(RUN));
        assert!(said.contains(says), "{from} → {to}: {said}");
        assert!(!place.path("out").exists(), "{said}");
    }
    let place = place(SPEC);
    for (args, says) in [
        (&["suite", "none.toml"][..], "none.toml"),
        (
            &["suite", "s.toml", "--cell", "a-s0-trnk", "--yes"],
            "a-s0-trunk",
        ),
        (&["suite", "s.toml", "--emit", "pbs", "jobs"], "slurm"),
        (
            &["suite", "s.toml", "--plan", "--gpu-tflops", "0"],
            "--gpu-tflops",
        ),
        (
            &["suite", "s.toml", "--cell", "a-s0-20-cooldown", "--yes"],
            "a-s0-trunk",
        ),
    ] {
        let said = place.refused(place.lehr(args));
        assert!(said.contains(says), "{args:?}: {said}");
    }
}

/// Text that is read more than once is said, and not refused.
#[test]
fn a_small_corpus_is_a_note() {
    let place = place(&SPEC.replace("horizons = [20, 40]\ncos", "horizons = [20, 40, 400]\ncos"));
    let plan = json(&place, &["suite", "s.toml", "--plan", "--json"]);
    let notes = plan["notes"].to_string();
    assert!(notes.contains("not single-pass"), "{notes}");
}
