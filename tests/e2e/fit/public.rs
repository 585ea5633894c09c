//! The public curves, where their folder is.

use super::place::*;
use crate::common::public;

/// The one-power law is the same in every hand: its reference scores (fitted elsewhere, in Python) say
/// whether tasks are read, fitted and scored by the same rules.
/// The one-power law is the same in every hand: its reference scores (fitted elsewhere, in Python) say whether tasks
/// are read, fitted and scored by the same rules. Then our own law, which must hold on all of them as it is: MAE and
/// error of the finals, 10⁻³ nats, and pairs in the right order.
#[test]
fn the_public_suite_is_scored_as_elsewhere() {
    let Some(tasks) = public("lr_suite/tasks.json") else {
        return;
    };
    let place = Place::new();
    let json = place.json(&[
        "compare",
        "--suite",
        tasks.to_str().unwrap(),
        "--law",
        "opl,elr",
    ]);
    assert_eq!(json["general"], "elr");
    let scores = |task: &str, law: &str| {
        let found = &json["tasks"][task][law];
        let (mae, finals) = (
            number(&found["mae"]) * 1e3,
            number(&found["final_mae"]) * 1e3,
        );
        (
            mae,
            finals,
            number(&found["pairs_ok"]),
            number(&found["pairs"]),
        )
    };
    for (task, mae, finals, right, pairs) in [
        ("shape", 99.1, 206.0, 15.0, 28.0),
        ("cosine-to-cooldown", 97.0, 203.8, 16.0, 37.0),
        ("horizon", 69.3, 211.9, 1.0, 4.0),
        ("suite-60M", 71.0, 122.0, 0.0, 0.0),
    ] {
        let found = scores(task, "opl");
        assert!((found.0 / mae - 1.0).abs() < 0.005, "{task}: {found:?}");
        assert!((found.1 / finals - 1.0).abs() < 0.005, "{task}: {found:?}");
        assert_eq!((found.2, found.3), (right, pairs), "{task}");
    }
    for (task, mae, finals, right) in [
        ("shape", 5.0, 8.0, 25.0),
        ("cosine-to-cooldown", 5.5, 10.0, 32.0),
        ("horizon", 9.0, 10.0, 4.0),
        ("suite-60M", 8.0, 7.0, 0.0),
    ] {
        let found = scores(task, "elr");
        assert!(
            found.0 <= mae && found.1 <= finals && found.2 >= right,
            "{task}: {found:?}"
        );
    }
}

/// The published split of the multi-power law's runs: its law no worse than its own repository's row, ours
/// better, and the choice made without the test curves ours.
#[test]
fn the_published_split_is_predicted() {
    for (size, repository) in [
        ("mpl_25", [0.99880, 0.00376, 0.00465, 0.00110, 0.00409]),
        ("mpl_100", [0.99830, 0.00435, 0.00592, 0.00142, 0.00583]),
    ] {
        let Some(folder) = public(size) else { return };
        let place = Place::new();
        let curve = |name: &str| {
            folder
                .join(format!("{name}.csv"))
                .to_str()
                .unwrap()
                .to_string()
        };
        let train = ["cosine_24000", "constant_24000", "wsdcon_9"].map(curve);
        let test = [
            "constant_72000",
            "cosine_72000",
            "wsd_20000_24000",
            "wsdld_20000_24000",
            "wsdcon_3",
            "wsdcon_18",
        ]
        .map(curve);
        let fit = |law: &str| {
            let mut arguments = vec!["fit", "--law", law, "--warmup-steps", "2160", "--train"];
            arguments.extend(train.iter().map(String::as_str));
            arguments.push("--test");
            arguments.extend(test.iter().map(String::as_str));
            place.json(&arguments)
        };
        let mpl = &fit("mpl")["test_mean"];
        assert!(number(&mpl["r2"]) >= repository[0], "{size}: {mpl}");
        for (key, most) in ["mae", "rmse", "pred_e", "worst_e"]
            .iter()
            .zip(&repository[1..])
        {
            assert!(number(&mpl[*key]) <= *most, "{size} {key}: {mpl}");
        }
        let chosen = fit("auto");
        assert_eq!(chosen["law"], "elr");
        let mean = &chosen["test_mean"];
        assert!(number(&mean["r2"]) >= 0.9990, "{size}: {mean}");
        assert!(number(&mean["mae"]) <= 0.0031, "{size}: {mean}");
        assert!(number(&mean["worst_e"]) <= 0.0045, "{size}: {mean}");
    }
}
