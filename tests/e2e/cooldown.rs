//! `lehr cooldown`: branches against runs that were trained whole, trunks left alone, kills, bad input.

use crate::common;
use crate::common::{Place, metrics, results};
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::path::Path;
use std::process::{Command, Stdio};

/// A constant trunk of 40 steps with checkpoints where tests branch.
fn trunk(place: &Place, more: &[&str]) {
    let flags = [
        "--scheduler",
        "constant",
        "--iterations",
        "40",
        "--checkpoint-at",
        "16,32",
        "--checkpoint-every",
        "5",
        "--eval-interval",
        "4",
        "--dropout",
        "0.1",
        // What it says of the trunk's end is not said of the branch's.
        "--live-law",
        "off",
    ];
    place
        .train("trunk", &[&flags[..], more].concat())
        .assert()
        .success();
}

/// Every file below a directory, by name and a hash of its bytes.
fn contents(dir: &Path) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            let below = contents(&entry.path());
            all.extend(below.into_iter().map(|(n, h)| (format!("{name}/{n}"), h)));
        } else {
            let mut hasher = DefaultHasher::new();
            hasher.write(&std::fs::read(entry.path()).unwrap());
            all.push((name, hasher.finish()));
        }
    }
    all.sort();
    all
}

#[test]
fn a_cooldown_is_the_wsd_run_whose_decay_starts_there() {
    let place = Place::new();
    for (family, dtype) in [("llama", "f32"), ("gpt2", "bf16")] {
        let place = if family == "llama" {
            &place
        } else {
            &Place::new()
        };
        // Averages of the weights go on through the branch too.
        let model = [
            "--model",
            family,
            "--dtype",
            dtype,
            "--weight-average",
            "--wa-interval",
            "2",
            "--wa-horizon",
            "12",
            "--wa-sweep-horizon",
            "--exponential-moving-average",
            "--ema-interval",
            "3",
        ];
        trunk(place, &model);
        let before = contents(&place.run("trunk"));
        let mut cooldown = place.lehr(&["cooldown", "--from", "checkpoints/trunk@32"]);
        cooldown.args([
            "--fraction",
            "0.2",
            "--decay-type",
            "sqrt",
            "--name",
            "cooled",
        ]);
        cooldown.assert().success();
        assert_eq!(
            before,
            contents(&place.run("trunk")),
            "the trunk was touched"
        );

        let flags = [
            "--scheduler",
            "wsd:fraction=0.2,decay=sqrt",
            "--iterations",
            "40",
            "--checkpoint-every",
            "5",
            "--eval-interval",
            "4",
            "--dropout",
            "0.1",
            "--live-law",
            "off",
        ];
        place
            .train("wsd", &[&flags[..], &model].concat())
            .assert()
            .success();
        // Logs, weights, moments; the trunk's last evaluation is of its own end.
        assert_eq!(
            results(&place.run("cooled")),
            results(&place.run("wsd")),
            "{family}"
        );
        let averages = |name: &str| {
            let run = place.run(name);
            let curve = std::fs::read(run.join("curve.average.csv")).unwrap();
            let last = run.join("averages/window-00000036/model.safetensors");
            (curve, std::fs::read(last).unwrap())
        };
        assert!(averages("cooled") == averages("wsd"), "{family}: averages");
        let run = std::fs::read_to_string(place.run("cooled").join("run.toml")).unwrap();
        assert!(run.contains("branched_at = 32"), "{run}");
        assert!(run.contains("checkpoints/trunk\""), "{run}");
    }
}

#[test]
fn several_cooldowns_in_one_call_and_again() {
    let place = Place::new();
    trunk(&place, &[]);
    let args = [
        "cooldown",
        "--from",
        "checkpoints/trunk@16,32",
        "--fraction",
        "0.2",
        "--steps",
        "3",
        "--decay-type",
        "linear,sqrt",
    ];
    place.lehr(&args).assert().success();
    let mut made = Vec::new();
    for (at, steps) in [(16, 4), (16, 3), (32, 8), (32, 3)] {
        for decay in ["linear", "sqrt"] {
            let run = place.run(&format!("trunk-{at}-{decay}-{steps}"));
            let lines = metrics(&run);
            let trained: Vec<u64> = lines
                .iter()
                .filter(|l| l.get("lr").is_some())
                .map(|l| l["step"].as_u64().unwrap())
                .collect();
            assert_eq!(trained, (1..=at + steps).collect::<Vec<_>>(), "{run:?}");
            made.push(contents(&run));
        }
    }
    // Again: everything is there.
    let output = place.lehr(&args).output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.matches("is finished").count(), 8, "{said}");

    // A branch of a branch, from a stretch where it had decayed, which is said.
    let output = place
        .lehr(&[
            "cooldown",
            "--from",
            "checkpoints/trunk-32-linear-8@35",
            "--steps",
            "2",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("had decayed to 62.5 % of its peak"), "{said}");
    let lrs: Vec<f64> = metrics(&place.run("trunk-32-linear-8-35-linear-2"))
        .iter()
        .filter_map(|l| l.get("lr")?.as_f64())
        .collect();
    assert_eq!(lrs.len(), 37);
    assert!((lrs[36] / lrs[35] - 0.5).abs() < 1e-12, "{lrs:?}");

    // The curve of a branch is one curve, its prefix the trunk's.
    let curve = |run: &str| std::fs::read_to_string(place.run(run).join("curve.csv")).unwrap();
    let (trunk, branch) = (curve("trunk"), curve("trunk-32-sqrt-8"));
    let prefix = |c: &str| c.lines().take(33).map(str::to_string).collect::<Vec<_>>();
    assert_eq!(prefix(&trunk), prefix(&branch));
    assert_eq!(branch.lines().count(), 41);
}

#[test]
fn killed_branches_resume_to_the_same_bits() {
    let place = Place::new();
    trunk(&place, &[]);
    let cooldown = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lehr"));
        command.current_dir(place.dir.path()).stderr(Stdio::null());
        command.args(["cooldown", "--from", "checkpoints/trunk@32"]);
        command.args(["--steps", "60", "--name", name]);
        command
    };
    assert!(cooldown("whole").status().unwrap().success());
    let kills = common::killed_until_done(5, 5, || cooldown("killed"));
    assert_eq!(
        results(&place.run("whole")),
        results(&place.run("killed")),
        "{kills} kills"
    );
}

/// `run.toml` is written first: from it alone the branch can be begun again, as long as the trunk is there.
#[test]
fn a_branch_that_was_only_begun_is_begun_again() {
    let place = Place::new();
    trunk(&place, &[]);
    let mut whole = place.lehr(&["cooldown", "--from", "checkpoints/trunk@32", "--steps", "4"]);
    whole.args(["--name", "whole"]);
    whole.assert().success();
    let begun = place.run("begun");
    std::fs::create_dir(&begun).unwrap();
    std::fs::copy(place.run("whole").join("run.toml"), begun.join("run.toml")).unwrap();
    place
        .lehr(&["resume", "checkpoints/begun"])
        .assert()
        .success();
    assert_eq!(results(&begun), results(&place.run("whole")));

    std::fs::remove_dir_all(place.run("trunk").join("step-00000032")).unwrap();
    let orphan = place.run("orphan");
    std::fs::create_dir(&orphan).unwrap();
    std::fs::copy(begun.join("run.toml"), orphan.join("run.toml")).unwrap();
    let said = place.refused(place.lehr(&["resume", "checkpoints/orphan"]));
    assert!(said.contains("is gone"), "{said}");
}

#[test]
fn cooldowns_that_cannot_be_are_one_sentence_and_leave_nothing() {
    let place = Place::new();
    trunk(&place, &[]);
    let before = contents(&place.path("checkpoints"));
    for (args, expected) in [
        (
            vec!["--from", "checkpoints/trunk@7", "--steps", "4"],
            "it has 16, 32, 35 and 40",
        ),
        (
            vec!["--from", "checkpoints/trunk@x", "--steps", "4"],
            "'x' is no step",
        ),
        (
            vec!["--from", "checkpoints/none@16", "--steps", "4"],
            "holds no run",
        ),
        (vec!["--from", "checkpoints/trunk@16"], "needs a length"),
        (
            vec!["--from", "checkpoints/trunk@16", "--fraction", "1.2"],
            "above 0 and at most 1",
        ),
        (
            vec!["--from", "checkpoints/trunk@16", "--fraction", "-0.2"],
            "above 0 and at most 1",
        ),
        (
            vec!["--from", "checkpoints/trunk@16", "--fraction", "1"],
            "only be a part of the run",
        ),
        (
            vec!["--from", "checkpoints/trunk@16", "--steps", "0"],
            "at least one step",
        ),
        (
            vec![
                "--from",
                "checkpoints/trunk@16",
                "--steps",
                "4",
                "--decay-type",
                "sqr",
            ],
            "sqr",
        ),
        (
            vec![
                "--from",
                "checkpoints/trunk@16",
                "--steps",
                "4",
                "--decay-type",
                "table:none",
            ],
            "none",
        ),
        (
            vec![
                "--from",
                "checkpoints/trunk@16,32",
                "--steps",
                "4",
                "--name",
                "a",
            ],
            "cannot share a name",
        ),
        (
            vec!["--from", "checkpoints/trunk@16,16", "--steps", "4"],
            "asked for twice",
        ),
        (
            vec![
                "--from",
                "checkpoints/trunk@16",
                "--steps",
                "4",
                "--name",
                "trunk",
            ],
            "another run already",
        ),
    ] {
        let mut command = place.lehr(&["cooldown"]);
        command.args(&args);
        let said = place.refused(command);
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    // A damaged checkpoint is named, and nothing is begun.
    let weights = place.run("trunk").join("step-00000016/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&weights, &bytes).unwrap();
    let said =
        place.refused(place.lehr(&["cooldown", "--from", "checkpoints/trunk@16", "--steps", "4"]));
    assert!(said.contains("model.safetensors is damaged"), "{said}");
    bytes[middle] ^= 1;
    std::fs::write(&weights, &bytes).unwrap();
    assert_eq!(before, contents(&place.path("checkpoints")));
}

#[test]
fn a_cooldown_that_fails_leaves_the_others() {
    let place = Place::new();
    trunk(&place, &[]);
    let lrs = |lr: &str| format!("{lr}\n").repeat(8);
    std::fs::write(place.path("huge.csv"), lrs("1e30")).unwrap();
    std::fs::write(place.path("zero.csv"), lrs("0")).unwrap();
    std::fs::create_dir(place.path("a,b")).unwrap();
    std::fs::write(place.path("a,b/lrs.csv"), lrs("1e-3")).unwrap();
    let cooldown = |steps: &str, shapes: &str| {
        let args = [
            "cooldown",
            "--from",
            "checkpoints/trunk@32",
            "--steps",
            steps,
            "--json",
        ];
        let mut command = place.lehr(&args);
        command.args(["--decay-type", shapes]);
        command
    };
    let output = cooldown("8", "table:huge.csv,linear").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: 1 of 2 cooldowns failed"), "{said}");
    let out: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = out["cooldowns"].as_array().unwrap();
    assert!(
        all[0]["error"].as_str().unwrap().contains("step 3"),
        "{out}"
    );
    let loss = all[1]["loss"].as_f64().unwrap();
    let logged = metrics(&place.run("trunk-32-linear-8"));
    let last = logged
        .iter()
        .rev()
        .find_map(|l| l.get("val_loss")?.as_f64());
    assert_eq!(last, Some(loss));

    let refused = |command| place.refused(command);
    assert!(refused(cooldown("8", "table:zero.csv")).contains("learning rate of 0 where"));
    let dir = place.path("a,b");
    let mut command = place.lehr(&["cooldown", "--from", "../checkpoints/trunk@32"]);
    command.args(["--steps", "8", "--decay-type", "table:lrs.csv"]);
    command.current_dir(dir);
    assert!(refused(command).contains("has a comma"));
    // Another floor is another run, by its name.
    let mut command = place.lehr(&["cooldown", "--from", "checkpoints/trunk@32", "--steps", "8"]);
    command.args(["--final-lr-scale", "0.1"]);
    command.assert().success();
    assert!(place.run("trunk-32-linear-to-0.1-8").exists());
    // Another interval of evaluations is not the run that is there.
    let mut command = cooldown("8", "linear");
    command.args(["--eval-interval", "3"]);
    let said = refused(command);
    assert!(
        said.contains("eval.every is asked for as 3 and was 4"),
        "{said}"
    );
}

#[test]
fn a_trunk_that_has_just_begun_has_no_share_behind_it() {
    let place = Place::new();
    let flags = [
        "--iterations",
        "4",
        "--checkpoint-every",
        "4",
        "--keep-last",
        "0",
    ];
    place.train("trunk", &flags).assert().success();
    let from = |more: &[&str]| {
        let mut command = place.lehr(&["cooldown", "--from", "checkpoints/trunk@0"]);
        command.args(more);
        command
    };
    let said = place.refused(from(&["--fraction", "0.2"]));
    assert!(said.contains("no step has been trained"), "{said}");
    from(&["--steps", "3"]).assert().success();
}
