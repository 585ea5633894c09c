//! Files that the libraries of the field wrote, kept under `tests/data`, and every format written here.

use crate::curve::tests::{Files, error, one};
use crate::curve::{
    ColumnMap, LossCurve, LossKind, LrOrigin, ReadOptions, WarmUp, read, read_bytes,
};
use std::path::{Path, PathBuf};

pub(in crate::curve) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/curves")
}

pub(super) fn fixture(name: &str) -> String {
    fixtures().join(name).to_str().unwrap().to_string()
}

pub(super) fn default() -> ReadOptions {
    ReadOptions::default()
}

fn lr(row: u64) -> f64 {
    1e-3 - 4e-5 * row.saturating_sub(10) as f64
}

fn loss(row: u64) -> f64 {
    4.0 - row as f64 / 16.0
}

/// The run that every fixture holds, whose losses are exact in single precision.
pub(super) fn check(curve: &LossCurve, lr_tolerance: f64, place: &str) {
    assert_eq!(
        curve.steps(),
        (0..20).map(|r| 10 * r).collect::<Vec<_>>(),
        "{place}"
    );
    assert_eq!(
        curve.losses(),
        (0..20).map(loss).collect::<Vec<_>>(),
        "{place}"
    );
    for row in 0..20 {
        let off = (curve.lrs[10 * row as usize] - lr(row)).abs();
        assert!(off <= lr_tolerance, "{place}: row {row} is off by {off:e}");
    }
}

#[test]
fn tensorboards_event_files() {
    let file = fixture("tensorboardx.tfevents");
    let curve = one(&file, &default());
    check(&curve, 1e-10, &file);
    assert_eq!(curve.kind, LossKind::TrainBatch);
    let file = fixture("tensorboard.tfevents");
    let training = ReadOptions {
        kind: Some(LossKind::TrainBatch),
        ..default()
    };
    check(&one(&file, &training), 1e-10, &file);
    let both = one(&file, &default());
    assert_eq!(
        (both.kind, both.points[0].loss),
        (LossKind::Validation, 5.0)
    );
    // A directory of them is one run.
    let files = Files::new();
    let bytes = std::fs::read(&file).unwrap();
    let path = files.put("run/events.out.tfevents.1", &bytes[..1000]);
    files.put("run/events.out.tfevents.2", &bytes);
    let dir = Path::new(&path).parent().unwrap().to_str().unwrap();
    let joined = one(dir, &training);
    check(&joined, 1e-10, dir);
    assert!(
        joined.notes.iter().any(|n| n.contains("cut off")),
        "{:?}",
        joined.notes
    );
    let mut broken = bytes.clone();
    broken[100] ^= 1;
    let error = read_bytes(broken, "broken", &default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("does not fit its checksum") && error.contains("at byte"),
        "{error}"
    );
}

/// The fixtures' run as rows of this form.
fn rows(form: impl Fn(u64, f64, f64) -> String) -> Vec<String> {
    (0..20).map(|r| form(10 * r, lr(r), loss(r))).collect()
}

#[test]
fn json_in_all_its_forms() {
    let files = Files::new();
    let objects = rows(|s, lr, l| {
        format!(r#"{{"step":{s},"lr":{lr},"loss":{l},"note":"x","up":{{"a":[1]}}}}"#)
    });
    let nested = rows(|s, lr, l| {
        format!(r#"{{"train":{{"global_step":{s},"loss":{l},"learning_rate":"{lr}"}}}}"#)
    });
    let list = |what: fn(u64, f64, f64) -> String| format!("[{}]", rows(what).join(","));
    let (steps, lrs, losses) = (
        list(|s, _, _| s.to_string()),
        list(|_, lr, _| lr.to_string()),
        list(|_, _, l| l.to_string()),
    );
    let by_row = |values: &str| {
        let values = values.trim_matches(['[', ']']).split(',').enumerate();
        let pairs: Vec<String> = values.map(|(i, v)| format!("\"{i}\":{v}")).collect();
        format!("{{{}}}", pairs.join(","))
    };
    let cases = [
        ("lines", objects.join("\n"), LossKind::Unknown),
        (
            "nested lines",
            nested.join("\r\n") + "\n\n",
            LossKind::TrainBatch,
        ),
        (
            "rows",
            format!("\u{feff}[\n{}\n]", objects.join(",\n")),
            LossKind::Unknown,
        ),
        (
            "columns",
            format!(r#"{{"step":{steps},"lr":{lrs},"loss":{losses},"name":"x"}}"#),
            LossKind::Unknown,
        ),
        (
            "pandas",
            format!(
                r#"{{"iter":{},"lr":{},"loss":{}}}"#,
                by_row(&steps),
                by_row(&lrs),
                by_row(&losses)
            ),
            LossKind::Unknown,
        ),
        (
            "trainer_state",
            format!(
                "{{\n \"best_metric\": null,\n \"log_history\": [{},{}],\n \"global_step\": 190}}",
                rows(|s, lr, l| format!(
                    r#"{{"epoch":0.1,"step":{s},"learning_rate":{lr},"loss":{l}}}"#
                ))
                .join(","),
                r#"{"step":190,"train_loss":9.9,"train_runtime":12.5}"#
            ),
            LossKind::TrainBatch,
        ),
        (
            "wandb",
            format!(
                r#"{{"summary":{{"val_loss":3}},"config":{{"warmup_steps":0,"n_params":125000000}},"name":"r","history":{{
                "train":{{"iter":{steps},"train_loss":{losses},"train_lr":{lrs}}},
                "val":{{"iter":[0,190],"val_loss":[5,4]}}}}}}"#
            ),
            LossKind::TrainBatch,
        ),
        (
            "wandb rows",
            format!(
                r#"{{"history":{{"train":[{}],"val":[{{"iter":0,"loss":9}}]}}}}"#,
                rows(|s, lr, l| format!(r#"{{"iter":{s},"loss":{l},"lr":{lr}}}"#)).join(",")
            ),
            LossKind::TrainBatch,
        ),
    ];
    for (name, text, kind) in cases {
        let path = files.put("a.json", &text);
        let curve = one(&path, &default());
        check(&curve, 0.0, name);
        assert_eq!(curve.kind, kind, "{name}");
        assert_eq!(
            curve.parameters,
            (name == "wandb").then_some(1.25e8),
            "{name}"
        );
    }
    let both = format!(r#"{{"a":[{0}],"b":[{0}],"c":3}}"#, objects.join(","));
    let path = files.put("b.json", both);
    assert_eq!(read(&path, &default()).unwrap().len(), 2);
    check(&one(&format!("{path}#b"), &default()), 0.0, "b");
}

#[test]
fn json_at_fault_is_told_with_its_place() {
    let files = Files::new();
    let line = "{\"step\":1,\"loss\":2}\n";
    let cases = [
        (
            format!("{line}{line}{{\"step\":}}\n{line}"),
            "line 3, column 9",
        ),
        (format!("{line}{line}[1]\n"), "line 3 holds no object"),
        ("{\n\"step\": [1,2,\n".into(), "line 2, column"),
        ("[1,2,3]".into(), "JSON without a loss curve"),
        ("{\"a\":".repeat(100_000), "recursion limit"),
        (
            format!("{line}{{\"step\":2,\"loss\":\"high\"}}\n"),
            "line 2: 'high' in column loss",
        ),
    ];
    for (text, part) in cases {
        let path = files.put("a.json", text);
        let error = error(&path, &default());
        assert!(
            error.contains(part) && error.contains(&path),
            "{part}: {error}"
        );
    }
    // Python's NaN is a loss that is not finite, and a torn last line is left out.
    let mut text: String =
        rows(|s, lr, l| format!("{{\"step\":{s},\"lr\":{lr},\"loss\":{l}}}\n")).concat();
    text += "{\"step\":200,\"lr\":1e-4,\"loss\":NaN}\n{\"step\":210,\"lo";
    let curve = one(&files.put("b.jsonl", text), &default());
    check(&curve, 0.0, "nan");
    let told = |part| curve.notes.iter().any(|n| n.contains(part));
    assert!(
        told("1 loss is NaN or infinite") && told("torn off"),
        "{:?}",
        curve.notes
    );
}

#[test]
fn our_run_directories() {
    let files = Files::new();
    let rate = |s: u64| 1e-3 * (s as f64 / 4.0).min(1.0);
    let mut curve = "step,lr,loss\n".to_string();
    let mut metrics = String::new();
    for s in 1..=40 {
        let (lr, skipped) = if s == 30 {
            (0.0, ",\"skipped\":true")
        } else {
            (rate(s), "")
        };
        curve += &format!("{s},{lr},{}\n", 5.0 - s as f64 / 16.0);
        metrics += &format!(
            "{{\"step\":{s},\"lr\":{},\"loss\":{}{skipped},\"tokens\":9}}\n",
            rate(s),
            5.0 - s as f64 / 16.0
        );
        if s % 10 == 0 {
            metrics += &format!(
                "{{\"step\":{s},\"val_loss\":{},\"val_tokens\":7}}\n",
                6.0 - s as f64 / 16.0
            );
        }
    }
    let path = files.put("run/curve.csv", &curve);
    let dir = Path::new(&path)
        .parent()
        .unwrap()
        .to_str()
        .unwrap()
        .to_string();
    files.put(
        "run/curve.val.csv",
        "step,loss,bits_per_byte\n10,5.5,\n20,5,\n30,4.5,1.2\n40,4,1.1\n",
    );
    let run = "[run]\nparameters = 3200000\n[schedule]\nscheduler = \"wsd\"\nwarmup = \"4\"\npeak_lr = 1e-3\n\
               [train]\niterations = 50\nbatch_size = 2\ngrad_accumulation = 1\nsequence_length = 8\n";
    files.put("run/run.toml", run);
    let train = one(&dir, &default());
    assert_eq!(
        (train.name.as_str(), train.kind),
        ("run", LossKind::TrainBatch)
    );
    assert_eq!(
        (train.warmup, train.parameters),
        (WarmUp::Known(4), Some(3.2e6))
    );
    assert_eq!(train.lr_origin, LrOrigin::EveryStep);
    // The loss of row 1 was measured before any update, and its LR is that of update 0.
    assert_eq!(
        (train.points[0].step, train.points[0].loss),
        (0, 5.0 - 1.0 / 16.0)
    );
    assert_eq!(
        (train.lrs[0], train.lrs[3], train.lrs[29], train.lrs.len()),
        (rate(1), 1e-3, 0.0, 40)
    );
    assert!(
        train
            .notes
            .iter()
            .any(|n| n.contains("1 updates were left out by the trainer"))
    );
    let val = ReadOptions {
        kind: Some(LossKind::Validation),
        ..default()
    };
    let few = error(&dir, &val);
    assert!(few.contains("4 usable losses, too few"), "{few}");
    // Enough of them go before the losses of the batches.
    let rows: String = (1..=20)
        .map(|i| format!("{},{},\n", 2 * i, 6.0 - i as f64 / 16.0))
        .collect();
    files.put(
        "run/curve.val.csv",
        format!("step,loss,bits_per_byte\n{rows}"),
    );
    let held_out = one(&dir, &default());
    assert_eq!(
        (held_out.kind, held_out.points[0].step),
        (LossKind::Validation, 2)
    );
    assert_eq!(held_out.lrs, train.lrs);
    // A branch warmed up as its trunk did, and says where it left it.
    let branch = run
        .replace(
            "parameters",
            "branched_from = \"runs/trunk\"\nbranched_at = 30\nparameters",
        )
        .replace(
            "\"wsd\"",
            "\"branch:at=30,horizon=80,decay=linear,final=0,trunk=wsd\"",
        )
        .replace("\"4\"", "\"5%\"");
    files.put("run/run.toml", &branch);
    let branch = one(&dir, &default());
    assert_eq!(branch.warmup, WarmUp::Known(4));
    let said = "branched from runs/trunk at step 30";
    assert!(branch.notes.iter().any(|n| n.contains(said)));
    files.put("run/run.toml", run);
    // The same from metrics.jsonl, but for what run.toml knows.
    let lines = one(&files.put("metrics.jsonl", &metrics), &default());
    assert_eq!((&lines.points, &lines.lrs), (&train.points, &train.lrs));
    assert_eq!(lines.warmup, WarmUp::Known(4));
    assert!(
        error(files.put("x/y", "").rsplit_once('/').unwrap().0, &default()).contains("is no run")
    );
}

#[test]
fn logs_as_scripts_print_them() {
    let files = Files::new();
    let mut text =
        "tokens per iteration will be: 491,520\n[INFO] number of parameters: 123.59M\n".to_string();
    for (i, line) in
        rows(|s, lr, l| format!("iter {s}: loss {l:.6}, lr {lr:e}, time 12.31ms, mfu 3.1%\n"))
            .iter()
            .enumerate()
    {
        if i % 10 == 0 {
            text += &format!("step {}: train loss 4.1000, val loss 4.2000\n", 10 * i);
        }
        text += line;
    }
    let path = files.put("log.txt", &text);
    let training = ReadOptions {
        columns: ColumnMap {
            loss: Some("loss".into()),
            ..Default::default()
        },
        ..default()
    };
    let curve = one(&path, &training);
    check(&curve, 1e-18, "log");
    assert_eq!(curve.kind, LossKind::TrainBatch);
    let bracketed: String = text
        .lines()
        .map(|l| format!("[2024-01-01 12:00] {l}\n"))
        .collect();
    check(
        &one(&files.put("b.txt", bracketed), &training),
        1e-18,
        "bracketed",
    );
}

#[test]
fn files_of_no_format() {
    for (bytes, part) in [
        (&b"PK\x03\x04zip"[..], "compressed (zip)"),
        (b"\x1f\x8bgz", "compressed (gzip)"),
        (b"\xff\xfes\0t\0", "not UTF-8 text at byte 0"),
        (b"hello world\n", "in no format that is known"),
        (b" \n\n", "is empty"),
        (b"PAR1", "cannot be read as Parquet"),
        (b"\x80\x09", "not UTF-8"),
    ] {
        let error = read_bytes(bytes.to_vec(), "a", &default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(part) && error.starts_with("a "), "{error}");
    }
}
