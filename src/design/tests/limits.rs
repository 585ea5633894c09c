//! What is refused, and what is written.

use super::*;
use crate::schedule::{Schedule, ScheduleSpec, Shape, Warmup};
use serde_json::{Map, Value};

fn limits() -> Limits {
    Limits {
        steps: 1000,
        peak_lr: 1e-3,
        min_lr: 0.0,
        warmup: 50,
        largest_drop: 0.02,
    }
}

#[test]
fn contradictions_are_one_sentence() {
    let law = || model("mpl", LAWS[1].1);
    let changed = |change: &dyn Fn(&mut Limits)| {
        let mut limits = limits();
        change(&mut limits);
        match Problem::fresh(law(), limits) {
            Err(e) => e.to_string(),
            Ok(_) => panic!("{limits:?} was taken"),
        }
    };
    for (said, part) in [
        (changed(&|l| l.min_lr = 2e-3), "lies above the peak"),
        (changed(&|l| l.min_lr = -1.0), "--min-lr -1"),
        (changed(&|l| l.peak_lr = f64::NAN), "--peak-lr NaN"),
        (changed(&|l| l.warmup = 1000), "leaves nothing"),
        (changed(&|l| l.steps = 1), "--steps 1"),
        (changed(&|l| l.steps = u64::MAX), "50,000,000 steps"),
        (changed(&|l| l.largest_drop = 0.0), "--largest-drop 0"),
    ] {
        assert!(said.contains(part) && !said.contains('\n'), "{said}");
    }
    let under_way = |lrs: &[f64], min_lr: f64| {
        let limits = Limits { min_lr, ..limits() };
        match Problem::remainder(law(), limits, lrs) {
            Err(e) => e.to_string(),
            Ok(_) => panic!("it was taken"),
        }
    };
    assert!(under_way(&[1e-3; 1000], 0.0).contains("nothing left to design"));
    assert!(under_way(&[1e-4; 100], 5e-4).contains("stands at 1e-4"));
    assert!(under_way(&[0.0; 100], 0.0).contains("cooled down already"));
    assert!(under_way(&[f64::NAN; 100], 0.0).contains("NaN"));
    // A law that sees no decays has nothing to say of them.
    let blind = small("opl", &[2.6, 0.6, 0.45], 1000);
    let said = best(&blind, &baselines(&blind), KNOTS)
        .unwrap_err()
        .to_string();
    assert!(said.contains("does not see when"), "{said}");
}

#[test]
fn a_warm_up_that_was_interrupted_goes_on() {
    let trained: Vec<f64> = (0..20).map(|s| 1e-3 * (s + 1) as f64 / 50.0).collect();
    let problem = Problem::remainder(model("mpl", LAWS[1].1), limits(), &trained).unwrap();
    assert_eq!((problem.prefix().len(), problem.trained()), (50, 20));
    assert_eq!(
        (problem.prefix()[..20].to_vec(), problem.level()),
        (trained, 1e-3)
    );
}

fn read(path: &std::path::Path, steps: u64) -> crate::Result<Schedule> {
    Schedule::new(&ScheduleSpec {
        shape: Shape::Table { path: path.into() },
        peak_lr: 1.0,
        warmup: Warmup::Steps(0),
        steps,
        tokens_per_step: None,
        compat: false,
    })
}

#[test]
fn what_is_written_is_read_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("schedule.json");
    let problem = small("mpl", LAWS[1].1, 1000);
    let found = best(&problem, &baselines(&problem), KNOTS).unwrap();
    let family = power(&problem);
    for (lrs, knots) in [(&found.lrs, &found.knots), (&family.lrs, &Vec::new())] {
        let mut head = Map::new();
        head.insert("predicted_loss".into(), 3.0.into());
        file::write(&path, head, lrs, knots).unwrap();
        let value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(value["lehr_design"], 1);
        assert_eq!(value["predicted_loss"], 3.0);
        assert!(value["knots"].as_array().unwrap().len() < 800);
        let schedule = read(&path, 1000).unwrap();
        for (step, lr) in (0..).zip(lrs) {
            assert_eq!(schedule.lr(step).to_bits(), lr.to_bits(), "step {step}");
        }
        let said = read(&path, 900).unwrap_err().to_string();
        assert!(said.contains("designed for a run of 1,000"), "{said}");
    }
}

#[test]
fn what_the_trainer_would_refuse_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("schedule.json");
    std::fs::write(&path, "mine").unwrap();
    for lrs in [vec![0.0; 10], vec![f64::NAN; 10], vec![1.0, 0.5, 0.25]] {
        // Knots that are not those of the LRs are found out.
        let knots = [(0, lrs[0]), (lrs.len() as u64 - 1, 0.1)];
        let said = file::write(&path, Map::new(), &lrs, &knots)
            .unwrap_err()
            .to_string();
        assert!(said.contains("was not written"), "{said}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
