//! `lehr report` and `lehr watch`, driven as a user does.

use crate::common;
use crate::common::Place;
use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;

const STEPS: &[&str] = &[
    "--iterations",
    "24",
    "--set",
    "eval.every=6",
    "--set",
    "sample.every=12",
];

fn said(mut command: Command) -> String {
    let output = command.assert().success().get_output().clone();
    String::from_utf8(output.stdout).unwrap()
}

fn json(place: &Place, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(place.lehr(&[arguments, &["--json"]].concat()))).unwrap()
}

/// Whatever lines it was broken into.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Every element is closed in its order, none fetches anything or runs.
fn sound(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in html.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap();
        assert!(
            !["script", "img", "link", "iframe", "object", "image", "use"].contains(&name),
            "<{tag}>"
        );
        for word in [
            " src=",
            " href=",
            " onload=",
            " onerror=",
            "http://",
            "https://",
        ] {
            assert!(!tag.contains(word), "<{tag}>");
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') && !["!doctype", "meta"].contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(!html.contains("url(") && !html.contains("@import"));
}

#[test]
fn a_run_becomes_a_page() {
    let place = Place::new();
    place.train("one", STEPS).assert().success();
    let text = said(place.lehr(&["report", "checkpoints/one", "--pictures", "pictures"]));
    assert!(
        flat(&text).contains("checkpoints/one/report.html"),
        "{text}"
    );
    assert!(
        flat(&text).contains("lehr fit --train checkpoints/one --out checkpoints/one/law.json"),
        "{text}"
    );
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    let html = read(&place.run("one").join("report.html"));
    sound(&html);
    let log = common::metrics(&place.run("one"));
    let val = log
        .iter()
        .rev()
        .find_map(|l| l["val_loss"].as_f64())
        .unwrap();
    for part in [
        "<h1>one</h1>",
        &format!("{val:.4}"),
        "Finished.",
        "Samples",
        "run.toml",
        "id=\"loss\"",
    ] {
        assert!(html.contains(part), "{part}");
    }
    for name in ["loss", "schedule", "gradient", "speed"] {
        assert!(read(&place.path(&format!("pictures/{name}.svg"))).starts_with("<svg"));
        let png = std::fs::read(place.path(&format!("pictures/{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
    }
    let told = json(
        &place,
        &["report", "checkpoints/one", "--out", "other.html"],
    );
    assert_eq!(told["runs"][0]["val_loss"].as_f64(), Some(val));
    assert_eq!(told["runs"][0]["finished"], true);
    assert!(place.path("other.html").exists());
}

#[test]
fn runs_of_one_seed_are_paired_and_a_law_is_held_against_them() {
    let place = Place::new();
    place.train("a", STEPS).assert().success();
    place
        .train(
            "b",
            &[STEPS, &["--lr", "2e-3", "--scheduler", "linear"]].concat(),
        )
        .assert()
        .success();
    let fit = [
        "fit",
        "--train",
        "checkpoints/a",
        "--kind",
        "train",
        "--law",
        "opl",
        "--from",
        "4",
        "--out",
        "law.json",
        "--no-plot",
    ];
    place.lehr(&fit).assert().success();
    let both = [
        "report",
        "checkpoints/a",
        "checkpoints/b",
        "--law",
        "law.json",
        "--out",
        "both.html",
    ];
    let told = json(&place, &both);
    assert_eq!(told["runs"].as_array().unwrap().len(), 2);
    for run in told["runs"].as_array().unwrap() {
        assert_eq!(run["laws"][0]["law"], "opl");
        assert_eq!(run["laws"][0]["kind"], "training");
        let end = |key: &str| run["laws"][0]["final"][key].as_f64().unwrap();
        assert!(end("measured_low") <= end("low") && end("high") <= end("measured_high"));
        assert!(run["laws"][0]["final"]["loss"].as_f64().unwrap() > 0.0);
    }
    let html = read(&place.path("both.html"));
    sound(&html);
    for part in [
        "<h1>2 runs</h1>",
        "paired",
        "Predicted against actual",
        "Parameters of the law",
        "L0",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(
        !html.contains("R² by law and run"),
        "of one law the table says it"
    );
    std::fs::copy(place.path("law.json"), place.path("again.json")).unwrap();
    let laws = [
        "report",
        "checkpoints/a",
        "checkpoints/b",
        "--law",
        "law.json,again.json",
        "--schedule",
        "wsd:fraction=0.5",
        "--pictures",
        "pictures",
        "--out",
        "both.html",
    ];
    let told = json(&place, &laws);
    // The course project's eight panels: the eighth, the summary, is words.
    let panels = [
        "loss",
        "schedule",
        "law",
        "r2",
        "reducible",
        "annealed",
        "shapes",
    ];
    for panel in panels {
        let drawn = told["drawn"].as_array().unwrap();
        assert!(drawn.iter().any(|d| d == panel), "{panel} of {drawn:?}");
        assert!(place.path(&format!("pictures/{panel}.svg")).exists());
    }
    let html = read(&place.path("both.html"));
    sound(&html);
    for part in [
        "R² by law and run",
        "opl (again)",
        "Of 2 runs the lowest held-out loss",
    ] {
        assert!(html.contains(part), "{part}");
    }
    let error = place.refused(place.lehr(&["report", "checkpoints/a", "checkpoints/b"]));
    assert!(error.contains("--out"), "{error}");
    a_law_may_not_speak_of_every_run(&place);
}

/// Of the two runs there, and of one without evaluations, which no law of held-out losses can be held against.
fn a_law_may_not_speak_of_every_run(place: &Place) {
    let bare = place.run("bare");
    std::fs::create_dir(&bare).unwrap();
    std::fs::copy(place.run("a").join("run.toml"), bare.join("run.toml")).unwrap();
    let log = read(&place.run("a").join("metrics.jsonl"));
    let log = log.lines().filter(|line| !line.contains("val_loss"));
    let log: String = log.map(|line| format!("{line}\n")).collect();
    std::fs::write(bare.join("metrics.jsonl"), log).unwrap();
    let report = |more: &[&str]| {
        let out = ["--out", "some.html", "--pictures", "some"];
        json(place, &[&["report"], more, &out].concat())
    };
    let told = report(&[
        "checkpoints/a",
        "checkpoints/bare",
        "--law",
        "law.json",
        "--kind",
        "validation",
    ]);
    let notes = told["notes"].to_string();
    assert!(notes.contains("opl is not held against bare"), "{notes}");
    // Its whole losses have no place among those above L0.
    assert!(!read(&place.path("some/reducible.svg")).contains("bare"));
    assert!(read(&place.path("some/loss.svg")).contains("bare"));
    // The same law, said to be of held-out losses.
    let mut law: Value = serde_json::from_str(&read(&place.path("law.json"))).unwrap();
    for curve in law["fit"]["curves"].as_array_mut().unwrap() {
        assert_eq!(curve["loss"], "training");
        curve["loss"] = "held-out".into();
    }
    std::fs::write(place.path("val.json"), law.to_string()).unwrap();
    let laws = ["--law", "val.json,law.json"];
    let told = report(&[&["checkpoints/bare"], &laws[..]].concat());
    let notes = told["notes"].to_string();
    assert!(
        notes.contains("opl (val) is not held against bare"),
        "{notes}"
    );
    let drawn = told["drawn"].as_array().unwrap();
    assert!(drawn.iter().any(|d| d == "law"), "{drawn:?}");
    let html = read(&place.path("some.html"));
    sound(&html);
    for part in [
        "Predicted ends",
        "opl (law), of 2 laws the first that can be held against a run,",
    ] {
        assert!(html.contains(part), "{part}");
    }
    let told = report(&[&["checkpoints/a"], &laws[..]].concat());
    let notes = told["notes"].to_string();
    assert!(
        notes.contains("not drawn beside opl (val), which is of held-out losses: opl (law)"),
        "{notes}"
    );
}

#[test]
fn hostile_names_and_samples_stay_text() {
    let place = Place::new();
    place.train("one", STEPS).assert().success();
    let name = "<img src=x onerror=alert(1)>\u{1b}[2J";
    std::fs::rename(place.run("one"), place.run(name)).unwrap();
    let log = place.run(name).join("metrics.jsonl");
    let line = r#"{"step":24,"prompt":"</pre><script>alert(1)</script>","sample":"\"><svg onload=alert(1)>"}"#;
    std::fs::write(&log, format!("{}{line}\n", read(&log))).unwrap();
    let dir = place.run(name);
    let words = said(place.lehr(&["report", dir.to_str().unwrap(), "--out", "page.html"]));
    assert!(!words.contains('\u{1b}'), "{words:?}");
    let html = read(&place.path("page.html"));
    sound(&html);
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
}

#[test]
fn one_damaged_line_is_told_and_left_out() {
    let place = Place::new();
    place.train("one", STEPS).assert().success();
    let log = place.run("one").join("metrics.jsonl");
    let mut lines: Vec<String> = read(&log).lines().map(str::to_string).collect();
    lines[9].truncate(12);
    // The last one is still being written.
    std::fs::write(&log, format!("{}\n{{\"step\":25,\"lo", lines.join("\n"))).unwrap();
    let text = said(place.lehr(&["report", "checkpoints/one"]));
    assert!(
        flat(&text).contains("line 10 of metrics.jsonl is damaged"),
        "{text}"
    );
    let told = json(&place, &["watch", "checkpoints/one"]);
    assert_eq!(told["notes"].as_array().unwrap().len(), 1, "{told}");
}

#[test]
fn what_is_no_run_or_has_no_step_is_refused_in_a_sentence() {
    let place = Place::new();
    for verb in ["report", "watch"] {
        let error = place.refused(place.lehr(&[verb, "."]));
        assert!(error.contains("holds no run"), "{error}");
        let error = place.refused(place.lehr(&[verb, "text.txt"]));
        assert!(error.contains("is a file"), "{error}");
        let error = place.refused(place.lehr(&[verb, "nothing"]));
        assert!(error.contains("nothing"), "{error}");
    }
    place.train("one", STEPS).assert().success();
    std::fs::write(place.run("one").join("metrics.jsonl"), "").unwrap();
    let error = place.refused(place.lehr(&["report", "checkpoints/one"]));
    assert!(error.contains("no step yet"), "{error}");
    let screen = said(place.lehr(&["watch", "checkpoints/one"]));
    assert!(screen.contains("no step yet"), "{screen}");
    let error = place.refused(place.lehr(&["watch", "checkpoints/one", "--interval", "0"]));
    assert!(error.contains("--interval"), "{error}");
}

#[test]
fn a_law_of_a_newer_version_is_left_out_with_a_note() {
    let place = Place::new();
    place.train("one", STEPS).assert().success();
    std::fs::write(place.run("one").join("law.json"), "{\"lehr_law\": 99}").unwrap();
    let text = said(place.lehr(&["report", "checkpoints/one"]));
    assert!(flat(&text).contains("format 99"), "{text}");
    let given = [
        "report",
        "checkpoints/one",
        "--law",
        "checkpoints/one/law.json",
    ];
    let error = place.refused(place.lehr(&given));
    assert!(error.contains("format 99"), "{error}");
}

#[test]
fn a_screen_of_a_run_fits_and_ends() {
    let place = Place::new();
    place.train("one", STEPS).assert().success();
    // No terminal: one frame, whether asked for or not.
    for more in [&["--once"][..], &[]] {
        let screen = said(place.lehr(&[&["watch", "checkpoints/one"], more].concat()));
        assert!(screen.lines().count() <= 24, "{screen}");
        assert!(screen.lines().all(|l| l.chars().count() <= 80), "{screen}");
        assert!(
            screen.contains("24 of 24  100 %  finished") && !screen.contains('\x1b'),
            "{screen}"
        );
    }
}

#[test]
fn what_the_live_law_told_is_shown() {
    let place = Place::new();
    place.train("one", STEPS).assert().success();
    let log = place.run("one").join("metrics.jsonl");
    let mut text = read(&log);
    for line in [
        r#"{"step":12,"law":{"name":"tissue","fitted_to":6,"describes":true,"forecast":5.5,"low":5.4,"high":5.6,"noise":0.01,"cooldown_now":[{"fraction":0.2,"steps":3,"loss":5.7}]}}"#,
        r#"{"step":12,"decision":{"kept":false,"gain":0.01,"schedule":"../../outside.json","predicted":5.4,"why":"<b>it gains</b>"}}"#,
        r#"{"step":15,"alarm":{"kind":"spike","nats":0.31,"sigmas":8.2}}"#,
        r#"{"step":18,"law":{}}"#,
        r#"{"step":18,"decision":{"kept":true}}"#,
        r#"{"step":19,"alarm":"from tomorrow"}"#,
    ] {
        text += line;
        text += "\n";
    }
    std::fs::write(&log, text).unwrap();
    let told = json(&place, &["report", "checkpoints/one"]);
    assert!(
        told["notes"].to_string().matches("kind").count() == 0,
        "{told}"
    );
    let html = read(&place.run("one").join("report.html"));
    sound(&html);
    for part in [
        "id=\"forecasts\"",
        "What the live law told",
        "a spike: this step’s loss lies 0.310 nats above the law, 8.2 σ of one step",
        ">redesigned</text>",
        ">spike</text>",
        "the schedule stays as it was",
        "&lt;b&gt;it gains&lt;/b&gt;",
        "the live law foresaw an end at 5.5000 (5.4000 to 5.6000)",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("NaN"));
    let told = json(&place, &["watch", "checkpoints/one"]);
    assert_eq!(told["alarms"][0]["kind"], "spike");
    assert_eq!(told["decisions"][1]["kept"], true);
    let forecast = &told["forecast"];
    assert_eq!(
        (&forecast["step"], &forecast["fitted_to"]),
        (&18.into(), &18.into())
    );
    // A run that goes on says what cooling down now would come to.
    std::fs::remove_dir_all(place.run("one").join("final")).unwrap();
    let screen = said(place.lehr(&["watch", "checkpoints/one", "--once"]));
    for part in [
        "end   5.5000 (5.4000 to 5.6000), says tissue at 12",
        "5.7000 if it cooled down over 20 % (3 steps) from 6",
        "alarm at 19 (1 before it): alarm",
        "plan  at 18: the schedule stays as it was",
    ] {
        assert!(screen.contains(part), "{part}: {screen}");
    }
    assert!(screen.lines().count() <= 24, "{screen}");
}
