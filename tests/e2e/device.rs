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

#[test]
fn tf32_is_cudas() {
    let place = Place::new();
    let error = place.refused(place.train("a", &["--dtype", "tf32"]));
    assert!(error.contains("on CUDA alone"), "{error}");
    assert!(error.contains("--dtype f32"), "{error}");
    assert!(!place.run("a").exists());
}
