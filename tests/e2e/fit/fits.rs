//! `lehr fit`.

use super::place::*;
use serde_json::Value;

#[test]
fn fit_finds_the_law_and_says_so_in_eighty_columns() {
    let place = Place::new();
    let text = place.said(&[
        "fit",
        "--law",
        "lldl",
        "--train",
        "constant.csv",
        "cosine.csv",
        "--test",
        "wsd.csv",
    ]);
    narrow(&text);
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("starts agree"), "{text}");
    for part in [
        "law   lldl",
        "90 % interval",
        "fitted",
        "a constant",
        "c wsd",
        "measured − law",
        "wrote law.json",
        "predict --law law.json",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\x1b'), "colours in a pipe");
    assert!(place.path("law.json").exists());
}

#[test]
fn fit_json_holds_what_programs_read() {
    let place = Place::new();
    let fit = place.json(&[
        "fit",
        "--law",
        "lldl",
        "--train",
        "constant.csv",
        "cosine.csv",
        "--test",
        "wsd.csv",
    ]);
    assert_eq!(fit["law"], "lldl");
    for (name, truth, tolerance) in [("L0", L0, 2e-3), ("alpha", ALPHA, 5e-3), ("B", B, 1.0)] {
        let found = &fit["params"][name];
        let value = number(&found["value"]);
        assert!((value - truth).abs() < tolerance, "{name}: {found}");
        assert!(number(&found["low"]) <= value && value <= number(&found["high"]));
    }
    for key in ["objective", "starts", "agree"] {
        number(&fit["fit"][key]);
    }
    assert_eq!(fit["train"].as_array().unwrap().len(), 2);
    let test = &fit["test"][0];
    assert_eq!(test["curve"], "wsd");
    for key in ["n", "r2", "mae", "rmse", "pred_e", "worst_e", "final_error"] {
        number(&test[key]);
        number(&fit["test_mean"][key]);
    }
    assert!(number(&test["mae"]) < 2e-3, "{test}");
    assert!(number(&fit["seconds"]) < 60.0);
    // Nothing is written that was not asked for.
    assert!(!place.path("law.json").exists());
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    let place = Place::new();
    let fit = |threads: &str| {
        let mut command =
            place.lehr(&["fit", "--law", "lldl", "--train", "constant.csv", "wsd.csv"]);
        command
            .args(["--starts", "8", "--seed", "3", "--json"])
            .env("RAYON_NUM_THREADS", threads);
        let mut value: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        value["seconds"] = Value::Null;
        value
    };
    assert_eq!(fit("1"), fit("2"));
}

#[test]
fn auto_chooses_on_the_fitted_curves_alone() {
    let place = Place::new();
    let choose = |test: &[&str]| {
        let train = [
            "fit",
            "--law",
            "auto",
            "--train",
            "constant.csv",
            "cosine.csv",
            "wsd.csv",
        ];
        place.json(&[&train[..], test].concat())
    };
    let fit = choose(&[]);
    let tried = fit["chosen_from"].as_array().unwrap();
    let error = |law: &str| {
        let row = tried.iter().find(|row| row["law"] == law).unwrap();
        number(&row["held_out_mae"])
    };
    // The curves were written by lldl, so that it is within noise of the best; another is taken only while
    // it is not twice as bad.
    let chosen = fit["law"].as_str().unwrap();
    assert!(error(chosen) <= 2.0 * error("lldl"), "{chosen}: {tried:?}");
    place.write("odd.csv", &log("linear", STEPS, PEAK, 0.5, 9));
    assert_eq!(
        choose(&["--test", "odd.csv"])["chosen_from"],
        fit["chosen_from"]
    );
}

#[test]
fn bootstrap_intervals_hold_the_value() {
    let place = Place::new();
    let train = [
        "fit",
        "--law",
        "lldl",
        "--train",
        "constant.csv",
        "cosine.csv",
    ];
    let fit = place.json(&[&train[..], &["--bootstrap", "60"]].concat());
    for name in ["L0", "A", "alpha", "B"] {
        let found = &fit["params"][name];
        assert!(
            number(&found["low"]) < number(&found["value"]),
            "{name}: {found}"
        );
        assert!(
            number(&found["value"]) < number(&found["high"]),
            "{name}: {found}"
        );
    }
    assert!(
        fit["notes"]
            .to_string()
            .contains("60 block-bootstrap draws")
    );
}

#[test]
fn pictures_are_whole() {
    let place = Place::new();
    place.said(&[
        "fit",
        "--law",
        "lldl",
        "--train",
        "constant.csv",
        "cosine.csv",
        "--test",
        "wsd.csv",
        "--svg",
        "fit.svg",
        "--png",
        "fit.png",
    ]);
    let svg = std::fs::read_to_string(place.path("fit.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("prefers-color-scheme: dark"));
    for part in [
        "learning rate",
        "loss, nats a token",
        "measured − law",
        "c  wsd, test",
    ] {
        assert!(svg.contains(part), "{part}");
    }
    let png = std::fs::read(place.path("fit.png")).unwrap();
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    assert_eq!(&png[png.len() - 8..], b"IEND\xaeB`\x82");
    // Twice the width of the SVG.
    assert_eq!(u32::from_be_bytes(png[16..20].try_into().unwrap()), 1640);
}

#[test]
fn single_batch_losses_are_seen_through_their_noise() {
    let place = Place::new();
    // The same noise in both, as runs with one batch order have it.
    for shape in ["constant", "wsd"] {
        place.write(
            &format!("noisy_{shape}.csv"),
            &log(shape, STEPS, PEAK, 0.4, 7),
        );
    }
    let arguments = [
        "fit",
        "--law",
        "lldl",
        "--train",
        "noisy_constant.csv",
        "cosine.csv",
    ];
    let arguments = [
        &arguments[..],
        &["--test", "noisy_wsd.csv", "--from", "1500"],
    ]
    .concat();
    let fit = place.json(&arguments);
    let test = &fit["test"][0];
    assert!(number(&test["r2_ceiling"]) < 0.99, "{test}");
    assert_eq!(test["paired"]["with"], "noisy_constant");
    assert!(
        number(&test["paired"]["mae"]) < 0.2 * number(&test["mae"]),
        "{test}"
    );
    assert!(
        number(&test["ema"]["mae"]) < 0.5 * number(&test["mae"]),
        "{test}"
    );
    assert!(fit["train"][1].get("r2_ceiling").is_none());
    let text = place.said(&[&arguments[..], &["--no-plot"]].concat());
    narrow(&text);
    assert!(
        text.contains("through the noise") && text.contains("EMA R²"),
        "{text}"
    );
}
