//! Bad input ends in one clear sentence and a failing exit code, and loses nothing.

use crate::common;
use crate::common::{Place, results};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The error of a training run with these flags.
fn train_error(place: &Place, more: &[&str]) -> String {
    place.refused(place.train("bad", more))
}

fn check(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

#[test]
fn unknown_flags_and_keys_name_the_nearest() {
    let place = Place::new();
    let output = place.train("a", &["--batch-sise", "3"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    check(&String::from_utf8_lossy(&output.stderr), &["--batch-size"]);
    check(
        &train_error(&place, &["--set", "train.sede=3"]),
        &["train.sede", "train.seed"],
    );
    fs::write(place.path("r.toml"), "[train]\niteration = 5\n").unwrap();
    let error = train_error(&place, &["--config", "r.toml"]);
    check(&error, &["r.toml", "train.iteration", "train.iterations"]);
    fs::write(place.path("broken.toml"), "[train]\n\niterations = = 5\n").unwrap();
    check(
        &train_error(&place, &["--config", "broken.toml"]),
        &["broken.toml", "line 3"],
    );
    check(
        &train_error(&place, &["--config", "gpt2-124"]),
        &["gpt2-124m"],
    );
    check(&train_error(&place, &["--scheduler", "cosin"]), &["cosine"]);
    check(
        &train_error(&place, &["--set", "train.seed=x"]),
        &["train.seed", "whole number"],
    );
    assert!(!place.path("checkpoints").exists());
}

#[test]
fn corpora_that_cannot_be_trained_on() {
    let place = Place::new();
    check(
        &train_error(&place, &["--data", "nowhere.txt"]),
        &["nowhere.txt"],
    );
    fs::write(place.path("empty.txt"), "").unwrap();
    check(
        &train_error(&place, &["--data", "empty.txt"]),
        &["empty.txt"],
    );
    let error = train_error(&place, &["--batch-size", "4096"]);
    check(&error, &["--batch-size"]);
    fs::create_dir(place.path("folder")).unwrap();
    check(&train_error(&place, &["--data", "folder"]), &["folder"]);
    assert!(!place.path("checkpoints").exists());
}

fn nanogpt(place: &Place, ids: &[u16]) {
    fs::create_dir_all(place.path("nano")).unwrap();
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    fs::write(place.path("nano/train.bin"), &bytes).unwrap();
    fs::write(place.path("nano/val.bin"), &bytes).unwrap();
}

#[test]
fn token_files_of_others() {
    let place = Place::new();
    let ids: Vec<u16> = (0..4000).map(|i| i % 50).collect();
    nanogpt(&place, &ids);
    check(&train_error(&place, &["--data", "nano"]), &["--vocab-size"]);
    let error = train_error(&place, &["--data", "nano", "--vocab-size", "20"]);
    check(&error, &["nano/", ".bin", "token id 49", "20"]);
    place
        .train(
            "good",
            &["--data", "nano", "--vocab-size", "50", "--iterations", "2"],
        )
        .assert()
        .success();
    fs::write(place.path("nano/train.bin"), [1, 2, 3]).unwrap();
    let error = train_error(&place, &["--data", "nano", "--vocab-size", "50"]);
    check(&error, &["train.bin"]);
}

/// The prepared data set that the tiny model trained on.
fn prepared(place: &Place) -> PathBuf {
    let mut sets = fs::read_dir(place.path("data/prepared")).unwrap();
    sets.next().unwrap().unwrap().path()
}

#[test]
fn shards_that_were_cut_or_changed() {
    let place = Place::new();
    place.train("a", &["--iterations", "1"]).assert().success();
    let shard = prepared(&place).join("train-00000.bin");
    let whole = fs::read(&shard).unwrap();
    fs::write(&shard, &whole[..whole.len() - 10]).unwrap();
    check(&train_error(&place, &[]), &["train-00000.bin"]);
    let mut changed = whole.clone();
    changed[100] ^= 1;
    fs::write(&shard, changed).unwrap();
    check(&train_error(&place, &[]), &["train-00000.bin", "checksum"]);
}

#[test]
fn sizes_and_rates_that_make_no_run() {
    let place = Place::new();
    let error = train_error(&place, &["--n-embd", "50", "--n-head", "4"]);
    check(&error, &["n_embd 50", "n_head 4"]);
    check(
        &train_error(&place, &["--n-head", "4", "--n-kv-head", "3"]),
        &["n_kv_head 3"],
    );
    for lr in ["-0.1", "NaN", "inf", "0"] {
        check(&train_error(&place, &["--lr", lr]), &["earning rate"]);
    }
    check(
        &train_error(&place, &["--iterations", "0"]),
        &["iterations"],
    );
    check(
        &train_error(&place, &["--iterations", "-3"]),
        &["--iterations"],
    );
    check(&train_error(&place, &["--dropout", "1.5"]), &["dropout"]);
    check(&train_error(&place, &["--beta2", "1"]), &["beta2"]);
    fs::write(place.path("t.csv"), "lr\n0.1\n0.2\n").unwrap();
    let error = train_error(&place, &["--scheduler", "table:t.csv", "--iterations", "9"]);
    check(&error, &["t.csv", "2", "9"]);
    let wsd = ["--scheduler", "cosine", "--wsd-fract-decay", "0.2"];
    check(
        &train_error(&place, &wsd),
        &["--wsd-fract-decay", "--scheduler wsd"],
    );
    assert!(!place.path("checkpoints").exists());
}

#[test]
fn directories_that_cannot_be_used() {
    let place = Place::new();
    place.train("a", &["--iterations", "2"]).assert().success();
    let before = results(&place.run("a"));
    let error = place.refused(place.train("a", &["--iterations", "2"]));
    check(&error, &["holds a run already", "lehr resume", "--name"]);
    assert_eq!(before, results(&place.run("a")));
    check(
        &place.refused(place.lehr(&["resume", "nowhere"])),
        &["nowhere"],
    );
    fs::write(place.path("file"), "x").unwrap();
    check(&train_error(&place, &["--out", "file"]), &["file"]);
    check(
        &place.refused(place.lehr(&["evaluate", "nowhere", "--text", "text.txt"])),
        &["nowhere"],
    );
    let export = ["export", "checkpoints/a", "--out", "data"];
    check(&place.refused(place.lehr(&export)), &["data", "exists"]);
}

#[cfg(unix)]
#[test]
fn a_run_in_use_by_a_live_process_is_left_alone() {
    let place = Place::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_lehr"))
        .current_dir(place.dir.path())
        .args(["train", "--name", "a"])
        .args(common::TINY)
        .args(["--iterations", "1000000"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let curve = place.run("a").join("curve.csv");
    while !fs::read_to_string(&curve).is_ok_and(|c| c.lines().count() > 2) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let error = place.refused(place.lehr(&["resume", "checkpoints/a"]));
    child.kill().unwrap();
    child.wait().unwrap();
    check(&error, &["in use by a live process"]);
}

fn damage(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn damaged_checkpoints_are_passed_over_or_named() {
    let place = Place::new();
    let flags = ["--iterations", "12", "--checkpoint-every", "4"];
    place.train("whole", &flags).assert().success();
    place.train("a", &flags).assert().success();
    let run = place.run("a");
    // The newest is cut short, final/ is gone: resume goes back one and ends with the same bits.
    fs::remove_dir_all(run.join("final")).unwrap();
    damage(&run.join("step-00000012/optimizer.safetensors"), |b| {
        b.truncate(b.len() / 2)
    });
    let output = place.lehr(&["resume", "checkpoints/a"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    check(
        &said,
        &["passed over", "step-00000012", "optimizer.safetensors"],
    );
    assert_eq!(results(&run), results(&place.run("whole")));
    // None is whole.
    fs::remove_dir_all(run.join("final")).unwrap();
    for step in ["step-00000008", "step-00000012"] {
        damage(&run.join(step).join("model.safetensors"), |b| b[200] ^= 1);
    }
    let error = place.refused(place.lehr(&["resume", "checkpoints/a"]));
    check(
        &error,
        &["no whole checkpoint", "model.safetensors", "checksum"],
    );
    let evaluate = [
        "evaluate",
        "checkpoints/a/step-00000012",
        "--text",
        "text.txt",
    ];
    check(
        &place.refused(place.lehr(&evaluate)),
        &["model.safetensors", "checksum"],
    );
}

#[test]
fn resume_refuses_what_changed_and_names_it() {
    let place = Place::new();
    let flags = ["--iterations", "12", "--checkpoint-every", "4"];
    place.train("a", &flags).assert().success();
    fs::remove_dir_all(place.run("a").join("final")).unwrap();
    let run_toml = place.run("a").join("run.toml");
    let text = fs::read_to_string(&run_toml).unwrap();
    fs::write(
        &run_toml,
        text.replace("peak_lr = 0.003", "peak_lr = 0.004"),
    )
    .unwrap();
    let error = place.refused(place.lehr(&["resume", "checkpoints/a"]));
    check(&error, &["schedule.peak_lr is 0.004 and was 0.003"]);
    fs::write(&run_toml, text).unwrap();
    // The tokens that the run was started on are gone, and the text has changed since.
    fs::remove_dir_all(place.path("data/prepared")).unwrap();
    let corpus = fs::read_to_string(place.path("text.txt")).unwrap();
    fs::write(place.path("text.txt"), corpus.replace("says", "said")).unwrap();
    let error = place.refused(place.lehr(&["resume", "checkpoints/a"]));
    check(&error, &["not the one"]);
}

#[test]
fn resume_refuses_a_table_that_changed_under_its_name() {
    let place = Place::new();
    let table = |lr: f64| "lr\n".to_string() + &format!("{lr}\n").repeat(12);
    fs::write(place.path("t.csv"), table(0.01)).unwrap();
    let flags = [
        "--iterations",
        "12",
        "--checkpoint-every",
        "4",
        "--scheduler",
        "table:t.csv",
    ];
    place.train("a", &flags).assert().success();
    fs::remove_dir_all(place.run("a").join("final")).unwrap();
    fs::write(place.path("t.csv"), table(0.02)).unwrap();
    let error = place.refused(place.lehr(&["resume", "checkpoints/a"]));
    check(&error, &["table:t.csv", "changed"]);
}

#[test]
fn a_loss_that_is_not_finite_stops_with_the_checkpoint_intact_or_is_skipped() {
    let place = Place::new();
    let flags = [
        "--iterations",
        "12",
        "--checkpoint-every",
        "2",
        "--lr",
        "1e30",
        "--warmup-steps",
        "10",
        "--grad-clip",
        "0",
        "--model",
        "gpt2",
    ];
    let error = place.refused(place.train("stops", &flags));
    check(&error, &["the loss is", "last good checkpoint", "step-"]);
    let kept = error.split("checkpoint is ").nth(1).unwrap().trim();
    place
        .lehr(&["evaluate", kept, "--text", "text.txt"])
        .assert()
        .success();
    // What is kept can be gone on from: its loss is a number.
    let found = place
        .lehr(&["evaluate", kept, "--text", "text.txt", "--json"])
        .output()
        .unwrap();
    let found: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    assert!(found["loss"].as_f64().unwrap().is_finite(), "{found}");
    // Weights that are lost cannot be skipped over: nothing of them is saved.
    let mut skips = place.train("skips", &flags);
    skips.args(["--non-finite", "skip"]);
    check(
        &place.refused(skips),
        &["no model to keep", "last good checkpoint"],
    );
    let curve = fs::read_to_string(place.run("skips").join("curve.csv")).unwrap();
    check(&curve, &["2,0,NaN"]);
    assert!(!place.run("skips").join("final").exists());
}

/// A full disk, on a file system of 2 MB that only root can mount.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_last_checkpoint_whole() {
    let place = Place::new();
    let out = place.path("small");
    fs::create_dir(&out).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
        .arg(&out)
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|s| s.success()) {
        eprintln!("skipped: mounting a small file system takes root");
        return;
    }
    let flags = [
        "--out",
        "small",
        "--iterations",
        "100",
        "--checkpoint-every",
        "1",
        "--keep-last",
        "0",
        "--n-embd",
        "32",
    ];
    let output = place.train("a", &flags).output().unwrap();
    let run = out.join("a");
    let steps: Vec<_> = fs::read_dir(&run)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.starts_with("step-"))
        .collect();
    let newest = steps
        .iter()
        .filter(|n| !n.ends_with(".tmp"))
        .max()
        .unwrap()
        .clone();
    let newest = run.join(newest).display().to_string();
    let evaluated = place
        .lehr(&["evaluate", &newest, "--text", "text.txt"])
        .output()
        .unwrap();
    Command::new("umount").arg(&out).status().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    check(&said, &["error: cannot write", "free some space"]);
    assert!(!said.contains("panicked"), "{said}");
    assert!(
        evaluated.status.success(),
        "{}",
        String::from_utf8_lossy(&evaluated.stderr)
    );
    assert!(!steps.iter().any(|n| n.ends_with(".tmp")), "{steps:?}");
}

#[test]
fn names_sizes_and_flags_that_contradict_each_other() {
    let place = Place::new();
    for name in ["..", "", "a/b"] {
        check(&place.refused(place.train(name, &[])), &["--name"]);
    }
    check(
        &train_error(&place, &["--n-embd", "4000000000"]),
        &["too many digits"],
    );
    check(
        &train_error(&place, &["--n-layer", "30000000", "--n-embd", "128"]),
        &["GB"],
    );
    check(
        &train_error(&place, &["--iterations", "100000000000"]),
        &["too many digits"],
    );
    fs::write(place.path("t.csv"), "lr\n".to_string() + &"0.1\n".repeat(9)).unwrap();
    let table = [
        "--scheduler",
        "table:t.csv",
        "--iterations",
        "9",
        "--lr",
        "1",
    ];
    check(&train_error(&place, &table), &["--lr", "table"]);
    place.train("a", &["--iterations", "1"]).assert().success();
    let data = prepared(&place).display().to_string();
    let other = ["--data", &data, "--tokenizer", "bpe-300"];
    check(
        &train_error(&place, &other),
        &["--tokenizer bpe-300", "char"],
    );
    // Another corpus has other characters, so the model of the first cannot read its tokens.
    fs::write(place.path("other.txt"), "xyz zyx ".repeat(400)).unwrap();
    place
        .train(
            "b",
            &[
                "--iterations",
                "1",
                "--data",
                "other.txt",
                "--batch-size",
                "2",
            ],
        )
        .assert()
        .success();
    let evaluate = ["evaluate", "checkpoints/b", "--data", &data];
    check(
        &place.refused(place.lehr(&evaluate)),
        &["another tokenizer"],
    );
    let sample = ["sample", "checkpoints/a", "--top-p", "2"];
    check(&place.refused(place.lehr(&sample)), &["--top-p"]);
    fs::create_dir_all(place.path("checkpoints/c/step-00000900")).unwrap();
    check(
        &place.refused(place.train("c", &[])),
        &["not empty", "step-00000900"],
    );
}

#[test]
fn models_that_are_not_there_or_not_ours() {
    let place = Place::new();
    place.train("a", &["--iterations", "1"]).assert().success();
    let config = place.path("checkpoints/a/final/config.json");
    let text = fs::read_to_string(&config).unwrap();
    let evaluate = ["evaluate", "checkpoints/a/final", "--text", "text.txt"];
    fs::write(&config, text.replace("\"llama\"", "\"mistral\"")).unwrap();
    check(
        &place.refused(place.lehr(&evaluate)),
        &["mistral", "gpt2 and llama"],
    );
    fs::write(&config, text.replace("\"silu\"", "\"relu\"")).unwrap();
    check(&place.refused(place.lehr(&evaluate)), &["relu"]);
    fs::write(&config, text).unwrap();
    let ids = ["evaluate", "checkpoints/a/final", "--tokens", "1,99999"];
    check(&place.refused(place.lehr(&ids)), &["99999", "vocabulary"]);
    let init = [
        "--init-from",
        "checkpoints/a/final",
        "--sequence-length",
        "32",
    ];
    check(&train_error(&place, &init), &["at most 16 positions"]);
    let init = ["--init-from", "checkpoints/a/final", "--n-layer", "3"];
    check(&train_error(&place, &init), &["n_layer 3, there 1"]);
}
