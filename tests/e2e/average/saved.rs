//! `lehr average`: averages after the fact, of checkpoints and of windows.

use super::*;

#[test]
fn checkpoints_are_averaged_after_the_fact() {
    let place = Place::new();
    let flags = [
        "--iterations",
        "12",
        "--checkpoint-every",
        "2",
        "--keep-last",
        "0",
    ];
    place.train("a", &flags).assert().success();
    let run = place.run("a");
    let average = |more: &[&str]| {
        let args = with(&["average", "checkpoints/a"], more);
        json(&place, &with(&args, &["--json"]))
    };
    let found = average(&["--steps", "6..12", "--evaluate"]);
    let steps = |list: &[u64]| serde_json::Value::from(list.to_vec());
    assert_eq!(found["steps"], steps(&[6, 8, 10, 12]));
    let shares: Vec<_> = (6..=12).step_by(2).map(|s| (step(&run, s), 0.25)).collect();
    let out = run.join("averages/steps-6-12");
    close(&out, &combination(&shares), 6e-8);
    let logged = metrics(&run);
    let logged = logged
        .iter()
        .rev()
        .find_map(|l| l.get("val_loss")?.as_f64());
    assert_eq!(found["last_loss"].as_f64(), logged);
    assert!(found["loss"].as_f64().unwrap() > 0.0);

    let found = average(&[
        "--steps", "1..12", "--every", "4", "--ema", "0.6", "--out", "e",
    ]);
    assert_eq!(found["steps"], steps(&[4, 8, 12]));
    let shares = [(4, 0.36), (8, 0.24), (12, 0.4)].map(|(s, share)| (step(&run, s), share));
    close(&place.path("e"), &combination(&shares), 6e-8);
    let found = json(&place, &["evaluate", "e", "--text", "text.txt", "--json"]);
    assert!(found["loss"].as_f64().unwrap() > 0.0);
    // Again, where it puts it by itself, is no error; elsewhere it is.
    average(&["--steps", "6..12"]);
    let refused = |more: &[&str]| {
        let args = with(&["average", "checkpoints/a"], more);
        place.refused(place.lehr(&args))
    };
    for (more, parts) in [
        (
            &["--steps", "6..12", "--out", "e"][..],
            &["--out e exists"][..],
        ),
        (
            &["--steps", "7..7"],
            &["7..7", "0, 2, 4, 6, 8, 10, 12", "--keep-last 0"],
        ),
        (&["--steps", "1..12", "--every", "5", "--out", "f"], &[]),
        (&["--steps", "3..5", "--every", "5"], &["multiples of 5"]),
        (&["--steps", "9..3"], &["3..9"]),
        (&["--steps", "all"], &["800..1000"]),
        (&["--steps", "1..9", "--every", "0"], &["--every 0"]),
        (&["--steps", "1..9", "--ema", "1.5"], &["--ema 1.5"]),
        (
            &["--windows", "2"],
            &["0 finished windows", "--weight-average"],
        ),
        (&["--windows", "0"], &["--windows 0"]),
    ] {
        if parts.is_empty() {
            average(more);
            continue;
        }
        let error = refused(more);
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    let error = place.refused(place.lehr(&["average", "text.txt", "--steps", "1..2"]));
    assert!(error.contains("holds no run"), "{error}");
    // Another model's checkpoint among them.
    let wide = ["--iterations", "2", "--n-embd", "32"];
    place.train("wide", &wide).assert().success();
    for file in ["config.json", "model.safetensors"] {
        let from = step(&place.run("wide"), 2).join(file);
        std::fs::copy(from, step(&run, 8).join(file)).unwrap();
    }
    std::fs::remove_file(step(&run, 8).join("state.json")).unwrap();
    let error = refused(&["--steps", "6..10", "--out", "g"]);
    assert!(error.contains("different sizes"), "{error}");
    assert!(!place.path("g").exists());
}

#[test]
fn windows_are_averaged_after_the_fact_if_they_are_of_one_size() {
    let place = Place::new();
    place
        .train("a", &with(&["--iterations", "30"], AVERAGES))
        .assert()
        .success();
    let run = place.run("a");
    let args = ["average", "checkpoints/a", "--windows", "2", "--json"];
    let found = json(&place, &args);
    assert_eq!(found["steps"], serde_json::json!([20, 30]));
    let shares = [20, 30].map(|s| (window(&run, s), 0.5));
    let out = run.join("averages/last-2-windows");
    close(&out, &combination(&shares), 6e-8);
    let file = window(&run, 20).join("average.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let other = text.replace("\"horizon\": 10", "\"horizon\": 5");
    assert_ne!(text, other);
    std::fs::write(&file, other).unwrap();
    let error = place.refused(place.lehr(&args));
    assert!(error.contains("fewer --windows"), "{error}");
}
