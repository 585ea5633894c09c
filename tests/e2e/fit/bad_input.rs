//! What cannot be used, and help.

use super::place::*;

#[test]
fn bad_input_is_one_clear_sentence() {
    let place = Place::new();
    place.fitted();
    place.write(
        "few.csv",
        "step,lr,loss\n1,1e-3,4\n2,1e-3,3.9\n3,1e-3,3.8\n",
    );
    let flat: String = (1..200).map(|t| format!("{t},1e-3,3.5\n")).collect();
    place.write("flat.csv", &format!("step,lr,loss\n{flat}"));
    place.write(
        "dark.csv",
        &log("constant", 500, 0.0, 0.1, 1).replace("inf", "4"),
    );
    place.write("broken.json", "{\"lehr_law\": 1, \"law\": ");
    place.write("other.json", "{\"a\": 1}");
    place.write("late.csv", &log("wsd", 150, PEAK, 0.1, 1));
    let train = ["--train", "constant.csv", "cosine.csv"];
    let fit = |more: &[&'static str]| [&["fit"][..], &train[..], more].concat();
    let predict = |more: &[&'static str]| [&["predict"][..], more].concat();
    let law = ["--law", "law.json", "--schedule", "wsd"];
    for (arguments, parts) in [
        (
            fit(&["--law", "mlp"]),
            vec!["no law named mlp", "did you mean m"],
        ),
        (fit(&["--law", ","]), vec!["--law"]),
        (
            fit(&["--law", "opl", "--delta", "0"]),
            vec!["--delta 0", "positive"],
        ),
        (fit(&["--law", "opl", "--bin", "0"]), vec!["--bin 0"]),
        (fit(&["--law", "opl", "--starts", "0"]), vec!["--starts 0"]),
        (
            fit(&["--law", "opl", "--bootstrap", "3"]),
            vec!["--bootstrap 3", "at least 40"],
        ),
        (
            fit(&["--law", "all", "--bootstrap", "100"]),
            vec!["--bootstrap is for one law"],
        ),
        (
            fit(&["--law", "opl", "--fix", "gamma"]),
            vec!["--fix gamma", "NAME=VALUE"],
        ),
        (fit(&["--law", "opl", "--fix", "zeta=1"]), vec!["zeta"]),
        (fit(&["--law", "opl", "--from", "2999"]), vec!["--from"]),
        (
            fit(&["--law", "opl", "--columns", "epoch=x"]),
            vec!["--columns", "'epoch'"],
        ),
        (fit(&["--law", "opl", "--columns", "loss=nll"]), vec!["nll"]),
        (fit(&["--law", "opl", "--lr", "NaN"]), vec!["--lr NaN"]),
        (
            fit(&["--law", "all", "--out", "x.json"]),
            vec!["--out", "one law"],
        ),
        (
            fit(&["--law", "opl", "--out", "no/such/x.json"]),
            vec!["cannot write", "x.json"],
        ),
        (
            fit(&["--law", "opl", "--png", "no/such/x.png"]),
            vec!["cannot write", "x.png"],
        ),
        (
            fit(&["--law", "opl", "--test", "late.csv", "--from", "200"]),
            vec!["late", "200"],
        ),
        (
            vec!["fit", "--law", "opl", "--train", "nowhere.csv"],
            vec!["nowhere.csv"],
        ),
        (
            vec!["fit", "--law", "opl", "--train", "few.csv"],
            vec!["few.csv"],
        ),
        (
            vec!["fit", "--law", "opl", "--train", "flat.csv"],
            vec!["flat"],
        ),
        (
            vec!["fit", "--law", "opl", "--train", "dark.csv"],
            vec!["dark"],
        ),
        (
            vec!["fit", "--law", "tissue", "--train", "constant.csv"],
            vec!["never falls", "cooldown"],
        ),
        (
            vec![
                "fit",
                "--law",
                "opl",
                "--train",
                "constant.csv@wsd:peak=1e-3,steps=100",
            ],
            vec!["constant.csv", "100"],
        ),
        (
            vec![
                "fit",
                "--law",
                "opl",
                "--train",
                "constant.csv@wds:peak=1e-3,steps=3000",
            ],
            vec!["wds", "wsd"],
        ),
        (
            predict(&["--law", "none.json", "--schedule", "wsd", "--steps", "9"]),
            vec!["none.json"],
        ),
        (
            predict(&["--law", "broken.json", "--schedule", "wsd", "--steps", "9"]),
            vec!["broken.json"],
        ),
        (
            predict(&["--law", "other.json", "--schedule", "wsd", "--steps", "9"]),
            vec!["other.json"],
        ),
        (
            predict(&[&law[..], &["--steps", "0"]].concat()),
            vec!["at least 1 step"],
        ),
        (
            predict(&[&law[..], &["--steps", "99999999999"]].concat()),
            vec!["--steps 99999999999"],
        ),
        (
            predict(&[&law[..], &["--steps", "9", "--lr", "-1"]].concat()),
            vec!["positive number"],
        ),
        (
            predict(&[&law[..], &["--steps", "9", "--every", "0"]].concat()),
            vec!["--every 0"],
        ),
        (vec!["compare", "--suite", "other.json"], vec!["other.json"]),
        (
            vec!["compare", "--suite", "nowhere.json"],
            vec!["nowhere.json"],
        ),
    ] {
        let error = place.refused(&arguments);
        for part in parts {
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
    }
    assert!(!place.path("x.json").exists());
}

#[test]
fn help_shows_an_example_of_each_verb() {
    let place = Place::new();
    for verb in ["fit", "predict", "compare"] {
        let text = place.said(&[verb, "--help"]);
        narrow(&text);
        assert!(
            text.contains("Example") && text.contains(&format!("lehr {verb} --")),
            "{text}"
        );
    }
}
