//! `lehr train`, `resume`, `evaluate`, `sample` and `export`, driven as a user drives them.

use crate::common;
use crate::common::{Place, metrics, results};
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn a_run_leaves_its_curve_its_checkpoints_and_a_model() {
    let place = Place::new();
    let more = [
        "--iterations",
        "20",
        "--checkpoint-every",
        "5",
        "--permanent-every",
        "10",
        "--eval-interval",
        "8",
        "--scheduler",
        "wsd",
        "--wsd-fract-decay",
        "0.5",
        "--lr",
        "0.01",
    ];
    place.train("a", &more).assert().success();
    let run = place.run("a");
    let lines = metrics(&run);
    let steps: Vec<_> = lines.iter().filter(|l| l.get("lr").is_some()).collect();
    assert_eq!(steps.len(), 20);
    let lr = |i: usize| steps[i]["lr"].as_f64().unwrap();
    // Warm-up over 2 steps never starts at 0; the cooldown is over the last 10 steps.
    assert_eq!((lr(0), lr(1), lr(9)), (0.005, 0.01, 0.01));
    assert!((lr(19) - 0.001).abs() < 1e-12, "{}", lr(19));
    let evals: Vec<_> = lines
        .iter()
        .filter(|l| l.get("val_loss").is_some())
        .collect();
    let at: Vec<_> = evals.iter().map(|l| l["step"].as_u64().unwrap()).collect();
    assert_eq!(at, [8, 16, 20]);
    assert!(evals[2]["val_bits_per_byte"].as_f64().unwrap() > 0.0);

    let curve = std::fs::read_to_string(run.join("curve.csv")).unwrap();
    assert_eq!(curve.lines().next(), Some("step,lr,loss"));
    for (line, step) in curve.lines().skip(1).zip(&steps) {
        let mut fields = line.split(',').map(|f| f.parse::<f64>().unwrap());
        assert_eq!(fields.next().unwrap(), step["step"].as_f64().unwrap());
        assert_eq!(fields.next().unwrap(), step["lr"].as_f64().unwrap());
        assert_eq!(fields.next().unwrap(), step["loss"].as_f64().unwrap());
    }
    // The last two and the permanent ones.
    for (step, there) in [(0, true), (5, false), (10, true), (15, true), (20, true)] {
        assert_eq!(
            run.join(format!("step-{step:08}")).exists(),
            there,
            "step {step}"
        );
    }
    for file in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        assert!(run.join("final").join(file).exists(), "{file}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_does_not() {
    let place = Place::new();
    for (name, seed) in [("a", "1"), ("b", "1"), ("c", "2")] {
        place
            .train(name, &["--iterations", "6", "--seed", seed])
            .assert()
            .success();
    }
    assert_eq!(results(&place.run("a")), results(&place.run("b")));
    assert_ne!(results(&place.run("a")), results(&place.run("c")));
}

#[test]
fn accumulation_equals_the_large_batch_to_rounding() {
    let place = Place::new();
    let large = ["--iterations", "8", "--batch-size", "8"];
    let small = ["--iterations", "8", "--batch-size", "2", "--acc-steps", "4"];
    place.train("large", &large).assert().success();
    place.train("small", &small).assert().success();
    let losses = |name: &str| -> Vec<f64> {
        let lines = metrics(&place.run(name));
        lines
            .iter()
            .filter_map(|l| l.get("loss")?.as_f64())
            .collect()
    };
    let (a, b) = (losses("large"), losses("small"));
    assert_eq!(a.len(), 8);
    for (x, y) in a.iter().zip(&b) {
        assert!((x - y).abs() < 2e-5, "{a:?} {b:?}");
    }
}

#[test]
fn killed_runs_resume_to_the_same_bits() {
    let place = Place::new();
    for (family, dtype) in [("gpt2", "f32"), ("llama", "f32"), ("gpt2", "bf16")] {
        let flags = [
            "--dtype",
            dtype,
            "--iterations",
            "60",
            "--checkpoint-every",
            "7",
            "--eval-interval",
            "9",
            "--model",
            family,
            "--dropout",
            "0.1",
            "--batch-size",
            "16",
        ];
        let whole = format!("{family}-{dtype}-whole");
        place.train(&whole, &flags).assert().success();
        let name = format!("{family}-{dtype}-killed");
        let run = place.run(&name);
        let kills = common::killed_until_done(20, 13, || {
            let mut child = Command::new(env!("CARGO_BIN_EXE_lehr"));
            child.current_dir(place.dir.path()).stderr(Stdio::null());
            match run.join("run.toml").exists() {
                true => child.arg("resume").arg(&run),
                false => child
                    .args(["train", "--name", &name])
                    .args(common::TINY)
                    .args(flags),
            };
            child
        });
        assert_eq!(
            results(&place.run(&whole)),
            results(&run),
            "{family} {dtype}, {kills} kills"
        );
    }
}

/// A process can be killed after it saved the last checkpoint and before it removed the oldest.
#[test]
fn resuming_removes_what_a_killed_process_had_no_time_to() {
    let place = Place::new();
    let flags = ["--iterations", "12", "--checkpoint-every", "3"];
    place.train("a", &flags).assert().success();
    let run = place.run("a");
    let saved = || -> Vec<bool> {
        let steps = (3..=12).step_by(3);
        steps
            .map(|s| run.join(format!("step-{s:08}")).exists())
            .collect()
    };
    assert_eq!(saved(), [false, false, true, true]);
    let copy = run.join("step-00000006");
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(run.join("step-00000009")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    assert_eq!(saved(), [false, true, true, true]);
    place.lehr(&["resume", "checkpoints/a"]).assert().success();
    assert_eq!(saved(), [false, false, true, true]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_prints_the_line_that_resumes() {
    let place = Place::new();
    let flags = ["--iterations", "100000", "--checkpoint-every", "0"];
    let child = Command::new(env!("CARGO_BIN_EXE_lehr"))
        .current_dir(place.dir.path())
        .args(["train", "--name", "a"])
        .args(common::TINY)
        .args(flags)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let curve = place.run("a").join("curve.csv");
    let trained = || std::fs::read_to_string(&curve).is_ok_and(|c| c.lines().count() > 5);
    while !trained() {
        std::thread::sleep(Duration::from_millis(5));
    }
    Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("resume checkpoints/a"), "{said}");
    let saved = std::fs::read_dir(place.run("a")).unwrap().any(|e| {
        e.unwrap()
            .file_name()
            .to_str()
            .unwrap()
            .starts_with("step-")
    });
    assert!(saved, "{said}");
}

#[test]
fn evaluate_sample_and_export_read_runs_checkpoints_and_directories() {
    let place = Place::new();
    place
        .train("a", &["--iterations", "12", "--checkpoint-every", "6"])
        .assert()
        .success();
    let json = |args: &[&str]| -> serde_json::Value {
        let output = place.lehr(args).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let data = std::fs::read_dir(place.path("data/prepared"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let data = data.path().display().to_string();
    let evaluate = |dir: &str| {
        json(&[
            "evaluate",
            dir,
            "--data",
            &data,
            "--sequences",
            "4",
            "--json",
        ])
    };
    let logged = metrics(&place.run("a"))
        .iter()
        .rev()
        .find_map(|l| l.get("val_loss")?.as_f64())
        .unwrap();
    for dir in [
        "checkpoints/a",
        "checkpoints/a/step-00000012",
        "checkpoints/a/final",
    ] {
        let found = evaluate(dir);
        assert!(
            (found["loss"].as_f64().unwrap() - logged).abs() < 1e-6,
            "{dir}"
        );
        assert!(found["bits_per_byte"].as_f64().unwrap() > 0.0, "{dir}");
    }
    place
        .lehr(&["export", "checkpoints/a/step-00000006", "--out", "exported"])
        .assert()
        .success();
    assert_ne!(
        evaluate("exported")["loss"],
        evaluate("checkpoints/a")["loss"]
    );
    let text = json(&[
        "sample",
        "exported",
        "--prompt",
        "Doc",
        "--max-tokens",
        "5",
        "--temperature",
        "0",
        "--ignore-eot",
        "--json",
    ]);
    assert_eq!(text["tokens"].as_array().unwrap().len(), 5);
    let text = json(&["evaluate", "exported", "--text", "text.txt", "--json"]);
    assert!(text["tokens"].as_u64().unwrap() > 1000);
}

#[test]
fn init_from_starts_where_the_other_run_ended() {
    let place = Place::new();
    place.train("a", &["--iterations", "12"]).assert().success();
    place
        .train(
            "b",
            &[
                "--iterations",
                "1",
                "--init-from",
                "checkpoints/a",
                "--lr",
                "1e-9",
            ],
        )
        .assert()
        .success();
    let val = |run: &str| -> f64 {
        let lines = metrics(&place.run(run));
        lines
            .iter()
            .rev()
            .find_map(|l| l.get("val_loss")?.as_f64())
            .unwrap()
    };
    assert!(
        (val("a") - val("b")).abs() < 1e-5,
        "{} {}",
        val("a"),
        val("b")
    );
}

#[test]
fn recorded_batches_are_what_was_trained_on() {
    let place = Place::new();
    place
        .train(
            "a",
            &[
                "--iterations",
                "3",
                "--acc-steps",
                "2",
                "--record-batches",
                "b.bin",
            ],
        )
        .assert()
        .success();
    let bytes = std::fs::read(place.path("b.bin")).unwrap();
    assert_eq!(bytes.len(), 3 * 2 * 4 * 17 * 4);
}

#[test]
fn flops_and_dry_run_say_what_would_be_trained() {
    let place = Place::new();
    let output = place
        .lehr(&["flops", "--config", "gpt2-124m", "--json"])
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // 124,439,808 with 47 rows more in the table (50,304 instead of 50,257).
    assert_eq!(json["params"]["total"], 124_439_808 + 47 * 768);
    let output = place
        .lehr(&["train", "--config", "llama-100m", "--dry-run"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("n_layer = 14"), "{text}");
}
