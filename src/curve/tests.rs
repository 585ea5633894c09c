//! Reading as a user does it, and the public curves where they are at hand.

use super::suite::Suite;
use super::*;
use std::path::PathBuf;

/// The folder of public curves: `LEHR_CURVES`, or `shared/curves` beside the project.
pub(super) fn shared(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LEHR_CURVES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/curves"),
        PathBuf::from,
    );
    let path = folder.join(name);
    if !path.exists() {
        println!("skipped: {} not found", path.display());
        return None;
    }
    Some(path)
}

pub(super) struct Files(tempfile::TempDir);

impl Files {
    pub fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    pub fn put(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_string()
    }
}

pub(super) fn one(argument: &str, options: &ReadOptions) -> LossCurve {
    let mut curves = read(argument, options).unwrap();
    assert_eq!(curves.len(), 1);
    curves.remove(0)
}

pub(super) fn error(argument: &str, options: &ReadOptions) -> String {
    read(argument, options).unwrap_err().to_string()
}

fn told(curve: &LossCurve, part: &str) -> bool {
    curve.notes.iter().any(|n| n.contains(part))
}

/// `step,lr,loss` at these steps.
fn csv(steps: impl IntoIterator<Item = u64>, lr: impl Fn(u64) -> f64) -> String {
    let mut text = "step,lr,loss\n".to_string();
    for step in steps {
        let loss = 2.0 + 3.0 / (step as f64 + 1.0).sqrt();
        text += &format!("{step},{},{loss}\n", lr(step));
    }
    text
}

#[test]
fn the_suites_lrs_are_the_logged_ones() {
    let Some(path) = shared("lr_suite/tasks.json") else {
        return;
    };
    // Reading holds every logged LR against the schedule, to 1e-6 of the peak.
    let suite = Suite::read(&path).unwrap();
    assert_eq!(suite.curves.len(), 24);
    assert_eq!(suite.rank_threshold, 0.003);
    let names: Vec<_> = suite.tasks.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(
        names,
        ["shape", "cosine-to-cooldown", "horizon", "suite-60M"]
    );
    let long = &suite.curves["124M-long_wsd2x0.525_lr0.001_T100000"];
    assert_eq!((long.lrs.len(), long.points.len()), (100_000, 500));
    assert_eq!(
        (long.parameters, long.warmup),
        (Some(123587328.0), WarmUp::Known(300))
    );
    assert_eq!(
        (long.lrs[0], long.lrs[300], long.lrs[41_000]),
        (1e-5, 1e-3, 1e-3 * 0.525)
    );
    assert_eq!(suite.tasks[2].test[0].plateau_end, Some(80_000));
}

#[test]
fn a_suite_that_contradicts_itself_is_refused() {
    let files = Files::new();
    let task = r#""rank_threshold":0.003,"tasks":[{"name":"t","fit":["FIT"],"fit_from":0,"warmup":10,"test":[]}]"#;
    let suite = |fit: &str, peak: &str| {
        let schedule =
            format!(r#"{{"kind":"wsd","total_steps":1000,"warmup":0,"peak_lr":{peak}}}"#);
        let text = format!(
            r#"{{"curves":{{"a":{{"schedule":{schedule}}}}},{}}}"#,
            task.replace("FIT", fit)
        );
        let path = files.put("tasks.json", text);
        Suite::read(path.as_ref()).map_err(|e| e.to_string())
    };
    files.put("a.csv", csv((0..1000).step_by(10), |_| 1e-3));
    assert_eq!(suite("a", "1e-3").unwrap().curves["a"].lrs, [1e-3; 1000]);
    assert!(
        suite("b", "1e-3")
            .unwrap_err()
            .contains("names the curve b")
    );
    let error = suite("a", "2e-3").unwrap_err();
    assert!(
        error.contains("a.csv: the LR of step 0 is 1e-3, but 2e-3"),
        "{error}"
    );
    assert!(suite("a", "0").unwrap_err().contains("positive peak_lr"));
    files.put("a.csv", csv((0..1100).step_by(10), |_| 1e-3));
    assert!(
        suite("a", "1e-3")
            .unwrap_err()
            .contains("ends after 1,000 steps")
    );
}

#[test]
fn mpl_files_get_the_warm_up_that_the_caller_knows() {
    let Some(path) = shared("mpl_100/wsdcon_9.csv") else {
        return;
    };
    let path = path.to_str().unwrap();
    let bare = one(path, &ReadOptions::default());
    assert_eq!(bare.warmup, WarmUp::Unlogged);
    assert!(told(&bare, "nothing is logged before step 2,176"));
    let options = ReadOptions {
        warmup: Some(2160),
        ..Default::default()
    };
    let curve = one(path, &options);
    assert_eq!(curve.warmup, WarmUp::Known(2160));
    assert_eq!(curve.points.len(), 109);
    assert!(matches!(
        curve.lr_origin,
        LrOrigin::Interpolated { rows: 109 }
    ));
    assert_eq!(curve.lrs[0], 3e-4 / 2160.0);
    assert_eq!(
        (curve.lrs[2159], curve.lrs[7999], curve.lrs[8000]),
        (3e-4, 3e-4, 9e-5)
    );
    assert!(curve.lrs.len() as u64 >= curve.last_step());
}

#[test]
fn an_exponential_cooldown_between_rows_starts_at_its_knee() {
    let Some(path) = shared("mpl_100/wsd_20000_24000.csv") else {
        return;
    };
    let curve = one(path.to_str().unwrap(), &ReadOptions::default());
    // Ten times lower over 4,000 steps from step 20,000 on; the nearest rows are 19,936 and 20,064.
    assert_eq!(curve.lrs[19_999], 3e-4);
    let exact = |step: f64| 3e-4 * 0.1f64.powf((step - 20_000.0) / 4000.0);
    for step in [20_010, 20_100, 22_001, 23_900] {
        let off = (curve.lrs[step] - exact(step as f64)).abs() / 3e-4;
        assert!(off < 1e-3, "step {step}: {off:e}");
    }
}

#[test]
fn gpt100m_logs_every_step_but_not_its_warm_up() {
    let Some(path) = shared("gpt100m_cosine.csv") else {
        return;
    };
    let path = path.to_str().unwrap();
    let curve = one(path, &ReadOptions::default());
    assert_eq!(
        (curve.lr_origin.clone(), curve.warmup),
        (LrOrigin::EveryStep, WarmUp::Unlogged)
    );
    assert_eq!((curve.points.len(), curve.lrs.len()), (33_907, 33_908));
    assert!(
        told(&curve, "the widest from step 22,492 to 22,494"),
        "{:?}",
        curve.notes
    );
    let exact = |s: f64| 1e-4 + 4.5e-4 * (1.0 + (std::f64::consts::PI * s / 33_907.0).cos());
    assert!((curve.lrs[22_493] - exact(22_493.0)).abs() < 1e-11);
    let options = ReadOptions {
        warmup: Some(2000),
        ..Default::default()
    };
    let told_so = one(path, &options);
    assert_eq!(
        (told_so.warmup, told_so.first_step()),
        (WarmUp::Known(2000), 2000)
    );
    assert!((told_so.lrs[999] - curve.lrs[2000] / 2.0).abs() < 1e-12);
    let options = ReadOptions {
        warmup: Some(50_000),
        ..Default::default()
    };
    let error = error(path, &options);
    assert!(
        error.contains("within the warm-up of 50,000 steps"),
        "{error}"
    );
}

#[test]
fn a_schedule_with_the_argument_is_exact() {
    let files = Files::new();
    let path = files.put("run.csv", "step,loss\n".to_string() + &plain(19, 50));
    let text = format!("{path}@wsd:fraction=0.2,peak=1e-3,warmup=100,steps=1000");
    let curve = one(&text, &ReadOptions::default());
    assert_eq!((curve.lrs.len(), curve.warmup), (1000, WarmUp::Known(100)));
    assert_eq!(
        (curve.lrs[0], curve.lrs[799], curve.lrs[900]),
        (1e-5, 1e-3, 5e-4)
    );
    assert_eq!(curve.name, "run");
    let short = format!("{path}@cosine:peak=1e-3,steps=500");
    assert!(error(&short, &ReadOptions::default()).contains("ends after 500 steps"));
    let no_peak = format!("{path}@cosine");
    assert!(error(&no_peak, &ReadOptions::default()).contains("peak learning rate"));
    assert!(error(&path, &ReadOptions::default()).contains("logs no learning rate"));
    let options = ReadOptions {
        peak_lr: Some(1e-3),
        steps: Some(1000),
        warmup: Some(100),
        ..Default::default()
    };
    assert_eq!(
        one(&format!("{path}@wsd:fraction=0.2"), &options).lrs,
        curve.lrs
    );
    files.put("run.csv.schedule", "wsd:fraction=0.2\n");
    assert_eq!(one(&path, &options).lrs, curve.lrs);
}

fn plain(rows: u64, spacing: u64) -> String {
    (0..rows)
        .map(|i| format!("{},{}\n", i * spacing, 5.0 - i as f64 / 100.0))
        .collect()
}

#[test]
fn a_schedule_that_contradicts_the_logged_lrs_is_told() {
    let files = Files::new();
    let path = files.put("run.csv", csv((0..=1000).step_by(50), |_| 1e-3));
    let curve = one(&format!("{path}@cosine:final=0"), &ReadOptions::default());
    assert!(
        told(&curve, "differs from the schedule by up to 99 %"),
        "{:?}",
        curve.notes
    );
    assert!(
        told(&curve, "the last logged step, 1,000"),
        "{:?}",
        curve.notes
    );
}

#[test]
fn a_logged_warm_up_is_found() {
    let files = Files::new();
    let lr = |s: u64| 1e-3 * ((s + 1) as f64 / 100.0).min(1.0);
    let path = files.put("run.csv", csv(0..500, lr));
    let curve = one(&path, &ReadOptions::default());
    assert_eq!(curve.warmup, WarmUp::Known(100));
    assert_eq!(curve.lrs, (0..500).map(lr).collect::<Vec<_>>());
    // Every tenth row, the first at step 9: the rise is continued backward.
    let path = files.put("sparse.csv", csv((9..500).step_by(10), lr));
    let curve = one(&path, &ReadOptions::default());
    assert_eq!(curve.warmup, WarmUp::Known(100));
    assert!(told(&curve, "is taken to rise to it from 0"));
    for s in 0..490 {
        assert!((curve.lrs[s as usize] - lr(s)).abs() < 1e-12, "{s}");
    }
    // The caller's word does not replace what the rows show.
    let options = ReadOptions {
        warmup: Some(100),
        ..Default::default()
    };
    assert_eq!(one(&path, &options).lrs, curve.lrs);
}

#[test]
fn rows_that_begin_late_leave_the_warm_up_unlogged() {
    let files = Files::new();
    // A second warm-up in the middle of a run is not the one at its start.
    let lr = |s: u64| 1e-3 + 1e-6 * (s.saturating_sub(5000) as f64);
    let path = files.put("run.csv", csv((5000..5500).step_by(10), lr));
    let curve = one(&path, &ReadOptions::default());
    assert_eq!(
        (curve.warmup, curve.lrs[0], curve.lrs[4999]),
        (WarmUp::Unlogged, 1e-3, 1e-3)
    );
    assert!(told(&curve, "nothing is logged before step 5,000"));
}

#[test]
fn rows_numbered_from_one_count_completed_updates() {
    let files = Files::new();
    let path = files.put("run.csv", csv(1..200, |s| s as f64 * 1e-5));
    let curve = one(&path, &ReadOptions::default());
    assert_eq!(curve.lrs[0], 1e-5);
    assert_eq!((curve.first_step(), curve.last_step()), (1, 199));
    let options = ReadOptions {
        kind: Some(LossKind::TrainBatch),
        ..Default::default()
    };
    assert_eq!(one(&path, &options).first_step(), 0);
}

#[test]
fn columns_by_name_and_by_map() {
    let files = Files::new();
    let row = |i: u32| {
        format!(
            "{i}\t{}\t{}\t1e-3\n",
            5.0 - f64::from(i) / 9.0,
            6.0 - f64::from(i) / 9.0
        )
    };
    let text = |h: &str| h.to_string() + &(0..20).map(row).collect::<String>();
    let path = files.put(
        "a.tsv",
        text("Iteration\ttrain/loss\tval/loss\tLearning Rate\n"),
    );
    let curve = one(&path, &ReadOptions::default());
    assert_eq!(
        (curve.kind, curve.points[0].loss),
        (LossKind::Validation, 6.0)
    );
    assert!(
        told(&curve, "val/loss (20 points); train/loss has 20"),
        "{:?}",
        curve.notes
    );
    let options = ReadOptions {
        kind: Some(LossKind::TrainBatch),
        ..Default::default()
    };
    assert_eq!(one(&path, &options).points[0].loss, 5.0);
    let odd = files.put("b.tsv", text("when\tfoo\tbar\trate\n"));
    assert!(error(&odd, &ReadOptions::default()).contains("--step-column"));
    let options = ReadOptions {
        columns: ColumnMap {
            step: Some("when".into()),
            lr: Some("RATE".into()),
            loss: Some("foo".into()),
        },
        ..Default::default()
    };
    let curve = one(&odd, &options);
    assert_eq!((curve.points[0].loss, curve.kind), (5.0, LossKind::Unknown));
}

#[test]
fn clear_sentences_for_files_that_cannot_be_used() {
    let files = Files::new();
    let good = csv(0..50, |_| 1e-3);
    let cases: [(&str, String, &str); 12] = [
        ("empty", "".into(), "is empty"),
        (
            "headerless",
            "0,1,2\n1,1,2\n".into(),
            "line 1: there is no header",
        ),
        (
            "word",
            good.replace("\n7,0.001", "\n7,high"),
            "line 9: 'high' in column lr is not a number",
        ),
        (
            "step",
            good.replace("\n7,", "\n7.5,"),
            "line 9: a step must be a whole number from 0 on, not 7.5",
        ),
        (
            "negative",
            good.replace("\n7,", "\n-7,"),
            "line 9: a step must be",
        ),
        (
            "tokens",
            csv((0..50).map(|i| i * 1_000_000), |_| 1e-3),
            "are no optimiser steps",
        ),
        (
            "few",
            csv(0..9, |_| 1e-3),
            "9 usable losses, too few to fit: it takes at least 10",
        ),
        ("zero", csv(0..50, |_| 0.0), "every learning rate in"),
        (
            "constant",
            "step,lr,loss\n".to_string()
                + &(0..20).map(|i| format!("{i},1,3\n")).collect::<String>(),
            "every loss in",
        ),
        (
            "nan",
            good.replace(",0.001,", ",0.001,nan0"),
            "is not a number",
        ),
        (
            "quote",
            good.replace("\n7,", "\n\"7,"),
            "line 9: a quoted field",
        ),
        (
            "wide",
            good.replace("\n7,", "\n7,7,"),
            "line 9: 4 fields under a header of 3",
        ),
    ];
    for (name, text, part) in cases {
        let path = files.put(&format!("{name}.csv"), text);
        let error = error(&path, &ReadOptions::default());
        assert!(
            error.contains(part) && error.contains(&path),
            "{name}: {error}"
        );
    }
    assert!(error("nowhere.csv", &ReadOptions::default()).contains("cannot read nowhere.csv"));
    let path = files.put("good.csv", good);
    let error = error(&format!("{path}#run"), &ReadOptions::default());
    assert!(error.contains("leave #run out"), "{error}");
}

#[test]
fn what_is_left_out_is_told() {
    let files = Files::new();
    let mut text = csv(0..50, |_| 1e-3);
    text = text
        .replace("\n7,0.001,", "\n7,,")
        .replace("\n9,0.001,", "\n9,-1,");
    text += "50,0.001,nan\n51,0.001,inf\n52,0.0";
    let path = files.put("a.csv", text);
    let curve = one(&path, &ReadOptions::default());
    assert_eq!(curve.points.len(), 50);
    assert!(told(
        &curve,
        "2 losses are NaN or infinite and left out, the first at step 50"
    ));
    assert!(told(&curve, "1 learning rates are negative"));
    assert!(told(&curve, "torn off"));
    assert_eq!(curve.lrs[7], 1e-3);
}

#[test]
fn tables_of_wandb_hold_a_curve_a_run() {
    let files = Files::new();
    let mut text = "\"Step\",\"a - train/loss\",\"a - train/loss__MIN\",\"a - lr\",\"b - train/loss\",\"b - lr\"\n".to_string();
    for i in 0..20 {
        text += &format!("{i},{},1,0.1,{},0.2\n", 9 - i, 19 - i);
    }
    let path = files.put("wandb.csv", text);
    let curves = read(&path, &ReadOptions::default()).unwrap();
    let names: Vec<_> = curves.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let b = one(&format!("{path}#b"), &ReadOptions::default());
    assert_eq!((b.points[0].loss, b.peak_lr()), (19.0, 0.2));
    assert!(error(&format!("{path}#c"), &ReadOptions::default()).contains("it has a, b"));
}
