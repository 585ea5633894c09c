//! `lehr design`, driven as a user does: from curves to a law, to a schedule, to the run that trains it.

use crate::common::{Place, public};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What the multi-power law's authors publish for their 100M model.
const PUBLISHED: [&str; 8] = [
    "--law",
    "mpl",
    "--params",
    "L0=2.6514,A=.60115,alpha=.45296,B=437.95,C=2.1325,beta=.59785,gamma=.65524",
    "--peak-lr",
    "3e-4",
    "--warmup",
    "2160",
];

fn json(place: &Place, arguments: &[&str]) -> Value {
    let arguments = [&["design"], arguments, &["--json"]].concat();
    let output = place.lehr(&arguments).assert().success();
    serde_json::from_slice(&output.get_output().stdout).unwrap()
}

fn said(place: &Place, arguments: &[&str]) -> String {
    let arguments = [&["design"], arguments].concat();
    let output = place.lehr(&arguments).assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

fn refused(place: &Place, arguments: &[&str]) -> String {
    let sentence = place.refused(place.lehr(&[&["design"], arguments].concat()));
    assert!(sentence.len() < 400, "{sentence}");
    sentence
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// LRs of `table:FILE`, as the trainer would read them.
fn table(place: &Place, file: &str, steps: usize) -> Vec<f64> {
    let (spec, steps) = (format!("table:{file}"), steps.to_string());
    let output = place
        .lehr(&["schedule", &spec, "--steps", &steps, "--json"])
        .assert()
        .success();
    let value: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    value["lr"].as_array().unwrap().iter().map(number).collect()
}

/// LR of every step in a run's `curve.csv`, as text.
fn trained(run: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(run.join("curve.csv")).unwrap();
    let lr = |line: &str| line.split(',').nth(1).unwrap().to_string();
    text.lines().skip(1).map(lr).collect()
}

/// LR over the peak at a share of the run.
type Shape = fn(f64) -> f64;

/// Losses of three runs of 1,200 steps under a law of the kind of `mpl-no-gamma` (a slow sum of the LR, and a gain for
/// every fall that comes in as LR is spent after it), with a small ripple, as files: constant, cooled, cosine.
fn probes(place: &Place) {
    let shapes: [(&str, Shape); 3] = [
        ("constant.csv", |_| 1.0),
        ("cooled.csv", |x| (5.0 * (1.0 - x)).min(1.0)),
        ("cosine.csv", |x| {
            0.55 + 0.45 * (std::f64::consts::PI * x).cos()
        }),
    ];
    for (name, shape) in shapes {
        let lrs: Vec<f64> = (0..1200)
            .map(|s| match s {
                0..60 => 1e-3 * f64::from(s + 1) / 60.0,
                _ => 1e-3 * shape(f64::from(s - 60) / 1140.0),
            })
            .collect();
        let mut text = String::from("step,lr,loss\n");
        let mut s1 = vec![0.0];
        for (t, lr) in lrs.iter().enumerate() {
            s1.push(s1[t] + lr);
            let done = t + 1;
            if done < 80 || done % 10 != 0 {
                continue;
            }
            let gain: f64 = (61..=t)
                .map(|k| {
                    let spent = s1[done] - s1[k];
                    (lrs[k - 1] - lrs[k]) * (1.0 - (1.0 + 60.0 * spent).powf(-0.5))
                })
                .sum();
            let ripple = 2e-3 * ((done * done % 17) as f64 / 8.0 - 1.0);
            let loss = 2.6 + 0.6 * s1[done].powf(-0.45) - 250.0 * gain + ripple;
            text += &format!("{done},{lr},{loss}\n");
        }
        std::fs::write(place.path(name), text).unwrap();
    }
}

fn fitted(place: &Place, law: &str, curves: &[&str], out: &str) {
    let flags = ["--law", law, "--warmup-steps", "60", "--out", out];
    let arguments = [&["fit", "--no-plot", "--train"], curves, &flags].concat();
    place.lehr(&arguments).assert().success();
}

/// A constant trunk of 40 steps with checkpoints at 16 and 32.
fn trunk(place: &Place) {
    let flags = ["--scheduler", "constant", "--iterations", "40", "--lr"];
    let more = ["1e-3", "--checkpoint-at", "16,32", "--eval-interval", "8"];
    place
        .train("trunk", &[&flags[..], &more].concat())
        .assert()
        .success();
}

#[test]
fn published_parameters_reach_the_reference_smoothly() {
    let place = Place::new();
    for (steps, goal) in [("24000", 2.79408), ("72000", 2.68342)] {
        let arguments = [&PUBLISHED[..], &["--steps", steps, "--out", "s.json"]].concat();
        let out = json(&place, &arguments);
        let loss = number(&out["predicted_loss"]);
        println!("{steps}: {loss:.6}, {} s", out["seconds"]);
        assert!(loss <= goal + 5e-6, "{loss}");
        // Step by step the law's optimum drops .8 of the peak at once.
        assert!(number(&out["largest_drop"]) < 1e-3);
        assert_eq!(out["interval"], Value::Null);
        for other in out["baselines"].as_array().unwrap() {
            let within = other["within_trust_rule"] == true;
            assert!(!within || number(&other["difference"]) < 1e-6, "{other}");
        }
        // Lengths of others that are worth trying: WSD's own best fraction is there, and both cosines.
        let specs = out["baselines"].as_array().unwrap().iter();
        let specs: Vec<&str> = specs.map(|b| b["spec"].as_str().unwrap()).collect();
        for spec in [
            "cosine:final=0",
            "cosine:final=0.1",
            "linear:final=0",
            "811",
        ] {
            assert!(specs.contains(&spec), "{specs:?}");
        }
        let lrs = table(&place, "s.json", steps.parse().unwrap());
        assert!(lrs[2159..].windows(2).all(|w| w[1] <= w[0]));
        assert_eq!((lrs[0], lrs[2159]), (3e-4 / 2160.0, 3e-4));
    }
    let text = said(&place, &[&PUBLISHED[..], &["--steps", "24000"]].concat());
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    assert!(!text.contains('…') || text.contains("… and"), "{text}");
    assert!(text.contains("wsd .1 sqrt"), "{text}");
}

#[test]
fn a_law_fitted_to_probes_designs_a_longer_run_that_trains() {
    let place = Place::new();
    probes(&place);
    let curves = ["constant.csv", "cooled.csv", "cosine.csv"];
    fitted(&place, "mpl-no-gamma", &curves, "law.json");
    let long = ["--law", "law.json", "--steps", "4000"];
    let out = json(&place, &[&long[..], &["--out", "long.json"]].concat());
    assert_eq!(
        (number(&out["peak_lr"]), number(&out["warmup_steps"])),
        (1e-3, 60.0)
    );
    let [low, high] = [0, 1].map(|i| number(&out["interval"][i]));
    let loss = number(&out["predicted_loss"]);
    assert!(low < loss && loss < high);
    let warned = out["warnings"].to_string();
    assert!(
        warned.contains("3.3 times the longest fitted run"),
        "{warned}"
    );
    // A cooldown of some length: neither a cliff at the end nor a fall from the start.
    let falls = 1.0 - number(&out["falls_from"]) / 4000.0;
    assert!((0.08..0.6).contains(&falls), "{falls}");
    // What `lehr predict` says of it.
    let arguments = [
        "predict",
        "--law",
        "law.json",
        "--schedule",
        "table:long.json",
    ];
    let more = ["--steps", "4000", "--warmup-steps", "60", "--json"];
    let mut predict = place.lehr(&[&arguments[..], &more].concat());
    let predicted = predict.output().unwrap().stdout;
    let predicted: Value = serde_json::from_slice(&predicted).unwrap();
    let end = number(&predicted["final"]["loss"]);
    assert!((end - loss).abs() < 1e-5, "{end} {loss}");
    // The families lie at or above the free optimum, few lines between.
    for family in ["segments", "power", "wsd"] {
        let other = json(&place, &[&long[..], &["--family", family]].concat());
        assert!(number(&other["predicted_loss"]) >= loss - 1e-6, "{family}");
    }
    // No length below 20 times the probes' is worth so little a step.
    let out_of_reach = json(&place, &["--law", "law.json", "--price", "1e-16"]);
    let warned = out_of_reach["warnings"].to_string();
    assert!(warned.contains("as far as was looked"), "{warned}");
    // The same again is the same, whatever the threads.
    let again = json(&place, &long);
    assert_eq!(again["gain"], out["gain"]);
    let gain = &out["gain"];
    let sentence = gain["sentence"].as_str().unwrap();
    let doubted = sentence.contains("not worth believing") || sentence.contains("no gain");
    assert_eq!(gain["believable"] == true, !doubted, "{sentence}");

    // A design for a run of 40 steps trains, as a table and by the law itself.
    let short = ["--law", "law.json", "--steps", "40", "--warmup", "2"];
    let out = json(&place, &[&short[..], &["--out", "short.json"]].concat());
    let train = |name: &str, flags: &[&str]| {
        let flags = [&["--iterations", "40"], flags].concat();
        let output = place.train(name, &flags).assert().success();
        String::from_utf8(output.get_output().stderr.clone()).unwrap()
    };
    train("by-table", &["--scheduler", "table:short.json"]);
    let words = train("by-law", &["--scheduler", "law:law.json", "--lr", "1e-3"]);
    assert!(words.contains("law   mpl-no-gamma predicts"), "{words}");
    assert!(!words.contains("last 0 %"), "{words}");
    let lrs = table(&place, "short.json", 40);
    let by_table = trained(&place.run("by-table"));
    let read: Vec<f64> = by_table.iter().map(|lr| lr.parse().unwrap()).collect();
    assert_eq!(read, lrs);
    // What is not worth believing is not trained: the best usual schedule is, and it is said.
    let doubted = out["gain"]["believable"] == false;
    let by_law = trained(&place.run("by-law"));
    assert!(doubted || by_table == by_law);
    assert_eq!(
        words.contains("the run trains"),
        by_law != by_table,
        "{words}"
    );
    let made = table(&place, "checkpoints/by-law/schedule.json", 40);
    let read: Vec<f64> = by_law.iter().map(|lr| lr.parse().unwrap()).collect();
    assert_eq!(read, made);
    assert!(made[1..].windows(2).all(|w| w[1] <= w[0]) && made[39] > 0.0);
    let config = std::fs::read_to_string(place.run("by-law").join("run.toml")).unwrap();
    assert!(config.contains("table:"), "{config}");
}

#[test]
fn a_trunk_is_finished_by_the_best_remainder() {
    let place = Place::new();
    trunk(&place);
    let law = ["--law", "mpl", "--params"];
    let law = [
        &law[..],
        &["L0=2,A=.3,alpha=.4,B=400,C=20,beta=.6,gamma=.3"],
    ]
    .concat();
    let from = ["--from", "checkpoints/trunk@32", "--steps", "64"];
    let text = said(&place, &[&law[..], &from, &["--out", "rest.json"]].concat());
    let next = "cooldown --from checkpoints/trunk@32 --steps 32 --decay-type table:rest.json";
    assert!(text.contains(next), "{text}");
    let lrs = table(&place, "rest.json", 64);
    let so_far = trained(&place.run("trunk"));
    for (step, lr) in so_far[..32].iter().enumerate() {
        assert_eq!(lr.parse::<f64>().unwrap().to_bits(), lrs[step].to_bits());
    }
    let next: Vec<&str> = next.split(' ').collect();
    place
        .lehr(&[&next[..], &["--name", "rest"]].concat())
        .assert()
        .success();
    let went = trained(&place.run("rest"));
    assert_eq!(went[..32], so_far[..32]);
    let read: Vec<f64> = went.iter().map(|lr| lr.parse().unwrap()).collect();
    assert_eq!(read, lrs);
    // It goes on from the trunk's checkpoint: nothing before it was trained again.
    let head = |name: &str| {
        let text = std::fs::read_to_string(place.run(name).join("curve.csv")).unwrap();
        text.lines()
            .take(33)
            .map(str::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(head("rest"), head("trunk"));
    assert!(!place.run("rest").join("step-00000016").exists());

    // Tables that do not match the run.
    let cooldown = |from: &str, steps: &str| {
        let mut command = place.lehr(&["cooldown", "--from", from, "--steps", steps]);
        command.args(["--decay-type", "table:rest.json", "--name", "other"]);
        place.refused(command)
    };
    let said = cooldown("checkpoints/trunk@32", "20");
    assert!(said.contains("designed for a run of 64 steps"), "{said}");
    let flags = [
        "--scheduler",
        "constant",
        "--iterations",
        "32",
        "--lr",
        "2e-3",
    ];
    let flags = [&flags[..], &["--checkpoint-at", "32"]].concat();
    place.train("hotter", &flags).assert().success();
    let said = cooldown("checkpoints/hotter@32", "32");
    assert!(said.contains("designed for another run"), "{said}");
    assert!(!place.run("other").exists());
    let mut train = place.train("whole", &["--scheduler", "table:rest.json"]);
    train.args(["--iterations", "50"]);
    assert!(place.refused(train).contains("lehr design --steps 50"));

    for (arguments, part) in [
        (
            &["--from", "checkpoints/trunk@17", "--steps", "64"][..],
            "no checkpoint at step 17",
        ),
        (
            &["--from", "checkpoints/trunk@32", "--steps", "32"],
            "stands at step 32 already",
        ),
        (
            &[
                "--from",
                "checkpoints/trunk@32",
                "--steps",
                "64",
                "--lr",
                "1e-2",
            ],
            "leave them out",
        ),
        (
            &[
                "--from",
                "checkpoints/trunk@32",
                "--steps",
                "64",
                "--min-lr",
                "9e-3",
            ],
            "--min-lr",
        ),
        (&["--from", "nowhere@32", "--steps", "64"], "nowhere"),
    ] {
        let said = refused(&place, &[&law[..], arguments].concat());
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn lengths_follow_from_a_price_or_a_loss() {
    let place = Place::new();
    let steps = |more: &[&str]| {
        let out = json(&place, &[&PUBLISHED[..], more].concat());
        (number(&out["steps"]), number(&out["predicted_loss"]))
    };
    let (dear, _) = steps(&["--price", "4e-6"]);
    let (cheap, _) = steps(&["--price", "1e-6"]);
    assert!(dear < cheap && dear > 5e3 && cheap < 2e5, "{dear} {cheap}");
    // A warm-up that is a share goes with the length.
    let warm: Vec<&str> = PUBLISHED[..6]
        .iter()
        .copied()
        .chain(["--warmup", "10%"])
        .collect();
    let out = json(&place, &[&warm[..], &["--price", "1e-6"]].concat());
    let share = number(&out["warmup_steps"]) / number(&out["steps"]);
    assert!((share - 0.1).abs() < 1e-4, "{out}");
    let (reached, loss) = steps(&["--loss-target", "2.79408"]);
    assert!(
        (reached / 24e3 - 1.0).abs() < 0.03 && loss < 2.7943,
        "{reached} {loss}"
    );
    let said = refused(
        &place,
        &[&PUBLISHED[..], &["--loss-target", "1.6"]].concat(),
    );
    assert!(said.contains("no run of up to"), "{said}");
}

#[test]
fn what_cannot_be_designed_is_one_sentence() {
    let place = Place::new();
    probes(&place);
    fitted(
        &place,
        "tissue",
        &["constant.csv", "cooled.csv"],
        "law.json",
    );
    fitted(&place, "opl", &["constant.csv"], "flat.json");
    let newer = std::fs::read_to_string(place.path("law.json")).unwrap();
    let newer = newer.replacen("\"lehr_law\": 1", "\"lehr_law\": 7", 1);
    std::fs::write(place.path("newer.json"), newer).unwrap();
    std::fs::write(place.path("kept.json"), "mine").unwrap();
    let law = "law.json";
    for (arguments, part) in [
        (
            &["--law", law, "--steps", "30000"][..],
            "25 times the longest fitted run",
        ),
        (
            &["--law", law, "--steps", "2000", "--lr", "5e-3"],
            "outside what the law was fitted to",
        ),
        (
            &["--law", law, "--steps", "2000", "--min-lr", "2e-3"],
            "above the peak",
        ),
        (&["--law", law, "--steps", "50"], "a warm-up of 60 steps"),
        (
            &["--law", law, "--steps", "2000", "--largest-drop", "0"],
            "--largest-drop 0",
        ),
        (
            &["--law", "flat.json", "--steps", "2000"],
            "what a decay gains",
        ),
        (&["--law", "newer.json", "--steps", "2000"], "format 7"),
        (&["--law", "elr", "--steps", "2000"], "add --params"),
        (
            &["--law", "mpl", "--params", "L0=2", "--steps", "9"],
            "needs L0, A",
        ),
        (
            &["--law", "missing.json", "--steps", "2000"],
            "missing.json",
        ),
    ] {
        let said = refused(&place, &[arguments, &["--out", "kept.json"]].concat());
        assert!(said.contains(part), "{arguments:?}: {said}");
        assert_eq!(std::fs::read(place.path("kept.json")).unwrap(), b"mine");
    }
    // What is a matter of degree can be forced, and is said.
    let forced = ["--law", law, "--steps", "30000", "--force"];
    let out = json(&place, &forced);
    assert!(out["warnings"].to_string().contains("25 times"));
    // The momentum law would have a cliff: the rule holds it to what its curves show, and says so.
    let out = json(&place, &["--law", law, "--steps", "2000"]);
    let falls = 2000.0 - number(&out["falls_from"]);
    assert!(falls >= 0.18 * 2000.0, "{falls}");
    assert!(
        out["warnings"]
            .to_string()
            .contains("the trust rule shapes this")
    );
    let text = words(&said(&place, &["--law", law, "--steps", "2000"]));
    assert!(
        text.contains("as steep, for their length, as the fitted curves"),
        "{text}"
    );
    let missing = ["--scheduler", "law:missing.json", "--iterations", "40"];
    let said = place.refused(place.train("none", &missing));
    assert!(said.contains("missing.json"), "{said}");
    assert!(!place.run("none").exists());
}

/// Fitted to a cosine, a constant run and a cooldown of MPL's 100M model, the law designs for three times their length
/// what lies where it does for the published parameters: a cooldown over a tenth or so, ending near zero.
#[test]
fn public_curves_design_what_was_published() {
    let names = ["cosine_24000", "constant_24000", "wsd_20000_24000"];
    let files: Option<Vec<PathBuf>> = names
        .iter()
        .map(|name| public(&format!("mpl_100/{name}.csv")))
        .collect();
    let Some(files) = files else { return };
    let place = Place::new();
    let files: Vec<&str> = files.iter().map(|f| f.to_str().unwrap()).collect();
    let flags = [
        "--warmup-steps",
        "2160",
        "--out",
        "law.json",
        "--law",
        "mpl",
    ];
    place
        .lehr(&[&["fit", "--no-plot", "--train"], &files[..], &flags].concat())
        .assert()
        .success();
    let out = json(&place, &["--law", "law.json", "--steps", "72000"]);
    let falls = 1.0 - number(&out["falls_from"]) / 72e3;
    println!("{} over {falls:.3}: {}", out["predicted_loss"], out["gain"]);
    assert!((0.07..0.3).contains(&falls), "{falls}");
    let cosine = out["baselines"].as_array().unwrap().iter();
    let cosine = cosine.clone().find(|b| b["spec"] == "cosine:final=0.1");
    // The authors trained such runs: more than .02 nats under the cosine.
    assert!(number(&cosine.unwrap()["difference"]) < -0.02);
}
