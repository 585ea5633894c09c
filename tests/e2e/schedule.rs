//! `lehr schedule`, driven as a user does.

use assert_cmd::Command;
use std::path::Path;

fn lehr(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lehr"));
    command.arg("schedule").args(arguments);
    command
}

fn said(arguments: &[&str]) -> String {
    let output = lehr(arguments).assert().success().get_output().clone();
    String::from_utf8(output.stdout).unwrap()
}

/// What a call that must fail says on stderr: one sentence, or how to use the verb.
fn refused(arguments: &[&str]) -> String {
    let output = lehr(arguments).assert().failure().get_output().clone();
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    text.trim_end().to_string()
}

fn text_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn shows_key_steps_and_a_plot_in_eighty_columns() {
    let text = said(&[
        "wsd:fraction=0.2",
        "--steps",
        "1800",
        "--lr",
        "3e-3",
        "--warmup-steps",
        "60",
    ]);
    assert!(
        text.starts_with("wsd, peak 3e-3, warmup 60, cooldown 20 % (linear) from step 1,440\n"),
        "{text}"
    );
    for part in [
        "warmup ends",
        "cooldown starts",
        "last step",
        "5.000e-5",
        "8.333e-6",
        "⠉",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn draws_several_together() {
    let text = said(&[
        "wsd",
        "cosine",
        "811",
        "--steps",
        "1000",
        "--tokens-per-step",
        "4096",
    ]);
    for part in [
        "a  wsd",
        "b  cosine",
        "c  811",
        "tokens before",
        "4,091,904",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn csv_and_json_are_tables_that_read_back_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let csv = dir.path().join("lr.csv");
    let run = ["--steps", "100", "--lr", "3e-3", "--warmup", "10%"];
    let shape = "wsd:decay=sqrt,fraction=0.3";
    let csv_name = csv.to_str().unwrap();
    let json = said(&[&[shape, "--json", "--csv", csv_name], &run[..]].concat());
    let json_file = dir.path().join("lr.json");
    std::fs::write(&json_file, &json).unwrap();
    assert!(text_of(&csv).starts_with("step,lr\n0,3"));
    assert_eq!(text_of(&csv).lines().count(), 101);
    let lrs = |text: &str| {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        value["lr"].clone()
    };
    for file in [&csv, &json_file] {
        let spec = format!("table:{}", file.display());
        let again = said(&[&[spec.as_str(), "--json"], &run[..]].concat());
        assert_eq!(lrs(&again), lrs(&json));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn several_in_one_csv_and_one_json() {
    let dir = tempfile::tempdir().unwrap();
    let csv = dir.path().join("lr.csv");
    let json = said(&[
        "constant",
        "linear",
        "--steps",
        "4",
        "--lr",
        "1",
        "--json",
        "--csv",
        csv.to_str().unwrap(),
    ]);
    assert_eq!(
        text_of(&csv),
        "step,lr_1,lr_2\n0,1e0,1e0\n1,1e0,7.5e-1\n2,1e0,5e-1\n3,1e0,2.5e-1\n"
    );
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["schedules"][1]["lr"][2], 0.5);
    assert_eq!(value["schedules"][1]["spec"], "linear");
}

#[test]
fn svg_is_whole_and_knows_the_dark() {
    let dir = tempfile::tempdir().unwrap();
    let svg = dir.path().join("lr.svg");
    said(&[
        "wsd",
        "cosine",
        "--steps",
        "1000",
        "--svg",
        svg.to_str().unwrap(),
    ]);
    let text = text_of(&svg);
    assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
    assert!(text.contains("prefers-color-scheme: dark"));
    assert_eq!(text.matches("<polyline").count(), 2);
}

#[test]
fn compatibility_mode_has_the_originals_corners() {
    let text = said(&[
        "cos",
        "--steps",
        "1000",
        "--lr",
        "1",
        "--warmup-steps",
        "100",
        "--compat",
        "--json",
    ]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let at = |step: usize| value["lr"][step].as_f64().unwrap();
    assert!((at(0) - 0.01).abs() < 1e-12 && (at(999) - 0.1).abs() < 1e-12);
    assert_eq!(at(99), 1.0);
}

#[test]
fn bad_input_is_one_clear_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let table = dir.path().join("short.csv");
    std::fs::write(&table, "lr\n0.1\n0.2\n").unwrap();
    let table = format!("table:{}", table.display());
    let missing = format!("table:{}", dir.path().join("none.csv").display());
    let no_folder = dir.path().join("no/such/lr.csv");
    let no_folder = no_folder.to_str().unwrap();
    let run = &["--steps", "10"][..];
    for (arguments, parts) in [
        (
            vec!["wds"],
            vec!["unknown schedule 'wds'", "did you mean 'wsd'?"],
        ),
        (
            vec!["wsd:fractoin=1"],
            vec!["no setting 'fractoin'", "'fraction'"],
        ),
        (vec!["wsd:fraction=1.5"], vec!["between 0 and 1, not 1.5"]),
        (
            vec!["wsd", "--lr", "-0.1"],
            vec!["positive number, not -0.1", "--lr"],
        ),
        (vec!["wsd", "--lr", "NaN"], vec!["not NaN", "--lr"]),
        (vec!["wsd", "--lr", "inf"], vec!["not inf", "--lr"]),
        (vec!["wsd", "--warmup", "-3"], vec!["warm-up", "'-3'"]),
        (
            vec!["wsd", "--warmup", "1.5"],
            vec!["between 0 and 1", "1.5"],
        ),
        (
            vec!["wsd", "--warmup", "1M tokens"],
            vec!["--tokens-per-step"],
        ),
        (vec!["811", "--compat"], vec!["compatibility mode", "811"]),
        (
            vec![&table],
            vec!["short.csv", "2 learning rates", "10 steps"],
        ),
        (vec![&missing], vec!["cannot read the table", "none.csv"]),
        (
            vec!["wsd", "--csv", no_folder],
            vec!["cannot write", "lr.csv"],
        ),
        (
            vec!["wsd", "--svg", no_folder],
            vec!["cannot write", "lr.csv"],
        ),
        (vec!["wsd"; 9], vec!["9 schedules are too many"]),
    ] {
        let error = refused(&[&arguments[..], run].concat());
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.starts_with("error: "), "{error}");
        for part in parts {
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
    }
    let tokens = refused(&["wsd", "--steps", "5", "--tokens-per-step", "0"]);
    assert!(tokens.contains("at least 1 token"), "{tokens}");
    assert!(refused(&["wsd", "--steps", "0"]).contains("at least 1 step"));
    let nearest = refused(&["wsd", "--step", "10"]);
    assert!(nearest.contains("--steps"), "{nearest}");
}
