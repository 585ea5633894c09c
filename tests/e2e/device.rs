//! `--device`, where the device is not there: what a machine without a GPU can tell.

use crate::common::Place;

#[cfg(not(any(feature = "cuda", feature = "metal")))]
#[test]
fn a_device_that_this_binary_knows_nothing_of_is_one_sentence() {
    let place = Place::new();
    let error = place.refused(place.train("a", &["--device", "cuda"]));
    assert!(error.contains("built without CUDA"), "{error}");
    assert!(error.contains("--features cuda"), "{error}");
    let error = place.refused(place.train("a", &["--device", "metal"]));
    assert!(error.contains("built without Metal"), "{error}");
    // Nothing has been begun.
    assert!(!place.run("a").exists());
}

#[cfg(not(feature = "cuda"))]
#[test]
fn auto_trains_on_the_processor_says_why_and_is_the_same_run() {
    let place = Place::new();
    let flags = ["--iterations", "3"];
    place.train("plain", &flags).assert().success();
    let mut auto = place.train("auto", &flags);
    let output = auto.args(["--device", "auto"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("device auto: cpu; "), "{said}");
    let configuration = |name: &str| {
        let text = std::fs::read_to_string(place.run(name).join("run.toml")).unwrap();
        let keys = text.lines().filter(|l| l.starts_with("device"));
        keys.map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(configuration("auto"), configuration("plain"));
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_run_that_cannot_be_moved_stays_where_it_is() {
    let place = Place::new();
    place
        .train("a", &["--iterations", "4", "--checkpoint-every", "2"])
        .assert()
        .success();
    let run = place.run("a");
    std::fs::remove_dir_all(run.join("step-00000004")).unwrap();
    let before = std::fs::read_to_string(run.join("run.toml")).unwrap();
    let dir = run.to_str().unwrap();
    let error = place.refused(place.lehr(&["resume", dir, "--device", "cuda"]));
    assert!(error.contains("built without CUDA"), "{error}");
    let from = format!("{dir}@2");
    let cooldown = ["cooldown", "--from", &from, "--steps", "2"];
    let error = place.refused(place.lehr(&[&cooldown[..], &["--device", "cuda"]].concat()));
    assert!(error.contains("built without CUDA"), "{error}");
    let after = std::fs::read_to_string(run.join("run.toml")).unwrap();
    assert_eq!(before, after);
    place
        .lehr(&["resume", dir, "--device", "auto"])
        .assert()
        .success();
    place
        .lehr(&[&cooldown[..], &["--device", "cpu"]].concat())
        .assert()
        .success();
}

#[test]
fn bf16_evaluates_near_f32() {
    let place = Place::new();
    place.train("a", &["--iterations", "4"]).assert().success();
    let run = place.run("a");
    let loss = |dtype: &str| {
        let words = [
            "evaluate",
            run.to_str().unwrap(),
            "--json",
            "--dtype",
            dtype,
        ];
        let said = place.lehr(&words).output().unwrap();
        assert!(said.status.success(), "{said:?}");
        let found: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        found["loss"].as_f64().unwrap()
    };
    let (rounded, exact) = (loss("bf16"), loss("f32"));
    assert!((rounded - exact).abs() < 1e-2, "{rounded} {exact}");
    assert!(rounded != exact);
}

#[test]
fn tf32_is_cudas() {
    let place = Place::new();
    let error = place.refused(place.train("a", &["--dtype", "tf32"]));
    assert!(error.contains("on CUDA alone"), "{error}");
    assert!(error.contains("--dtype f32"), "{error}");
    assert!(!place.run("a").exists());
}
