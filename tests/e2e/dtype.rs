//! `--dtype` and `--recompute`, driven as a user drives them.

use crate::common::{Place, metrics, results};

fn last_loss(place: &Place, name: &str) -> f64 {
    let lines = metrics(&place.run(name));
    let line = lines.iter().rfind(|l| l.get("val_loss").is_some());
    line.unwrap()["val_loss"].as_f64().unwrap()
}

#[test]
fn bf16_ends_near_f32_and_auto_is_one_of_them() {
    let place = Place::new();
    for family in ["gpt2", "llama"] {
        let train = |dtype: &str| {
            let name = format!("{family}-{dtype}");
            let flags = ["--model", family, "--iterations", "60", "--lr", "0.01"];
            let mut command = place.train(&name, &flags);
            let output = command.args(["--dtype", dtype]).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{said}");
            (last_loss(&place, &name), said)
        };
        let (exact, _) = train("f32");
        let (rounded, _) = train("bf16");
        let (chosen, said) = train("auto");
        assert!(exact < 3.0 && rounded != exact);
        assert!((rounded - exact).abs() < 0.05, "{rounded} {exact}");
        assert!(said.contains("dtype auto: "), "{said}");
        assert!(chosen == exact || chosen == rounded);
        // What was chosen is what a resumed run goes on with.
        let file = place.run(&format!("{family}-auto")).join("run.toml");
        let file = std::fs::read_to_string(file).unwrap();
        assert!(!file.contains("dtype = \"auto\""), "{file}");
    }
}

#[test]
fn recomputation_changes_no_bit() {
    let place = Place::new();
    for family in ["gpt2", "llama"] {
        let flags = ["--model", family, "--iterations", "12", "--dropout", "0.1"];
        let names = [format!("{family}-kept"), format!("{family}-again")];
        place.train(&names[0], &flags).assert().success();
        let mut again = place.train(&names[1], &flags);
        again.arg("--recompute").assert().success();
        let [kept, again] = names.map(|name| results(&place.run(&name)));
        assert_eq!(kept, again);
    }
}

/// The keys are younger than the files.
#[test]
fn runs_from_before_dtypes_resume_and_a_changed_dtype_is_refused() {
    let place = Place::new();
    let flags = ["--iterations", "20", "--checkpoint-every", "10"];
    place.train("whole", &flags).assert().success();
    let rewrite = |name: &str, edit: &dyn Fn(&str) -> String| {
        place.train(name, &flags).assert().success();
        let run = place.run(name);
        for dir in ["final", "step-00000020"] {
            std::fs::remove_dir_all(run.join(dir)).unwrap();
        }
        for file in ["run.toml", "step-00000010/state.json"] {
            let path = run.join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, edit(&text)).unwrap();
        }
        run
    };
    let without = |text: &str| {
        let keep = |l: &&str| !l.contains("dtype") && !l.contains("recompute");
        let text: Vec<&str> = text.lines().filter(keep).collect();
        // JSON has no comma before a closing brace.
        let text = text.join("\n");
        text.replace("\"non_finite\": \"stop\",\n", "\"non_finite\": \"stop\"\n")
    };
    let run = rewrite("old", &without);
    place.lehr(&["resume"]).arg(&run).assert().success();
    assert_eq!(results(&place.run("whole")), results(&run));

    let run = rewrite("changed", &|text| {
        text.replace("dtype = \"f32\"", "dtype = \"bf16\"")
    });
    let mut resume = place.lehr(&["resume"]);
    resume.arg(&run);
    let said = place.refused(resume);
    assert!(said.contains("train.dtype"), "{said}");

    let run = rewrite("lighter", &|text| {
        text.replace("recompute = false", "recompute = true")
    });
    place.lehr(&["resume"]).arg(&run).assert().success();
    assert_eq!(results(&place.run("whole")), results(&run));
}

#[test]
fn a_dtype_that_does_not_exist_is_refused() {
    let place = Place::new();
    let error = place.refused(place.train("a", &["--dtype", "fp8"]));
    assert!(error.contains("'fp8' for '--dtype <DTYPE>'"), "{error}");
    let error = place.refused(place.train("a", &["--set", "train.dtype=fp8"]));
    assert!(error.contains("fp8"), "{error}");
}
