//! Values, edges, refusals and words of every shape; `properties.rs` has what holds at random.

use super::*;
use std::io::Write;

pub(super) fn spec(shape: &str, steps: u64, warmup: u64) -> ScheduleSpec {
    ScheduleSpec {
        shape: shape.parse().unwrap(),
        peak_lr: 1.0,
        warmup: Warmup::Steps(warmup),
        steps,
        tokens_per_step: None,
        compat: false,
    }
}

pub(super) fn schedule(shape: &str, steps: u64, warmup: u64) -> Schedule {
    Schedule::new(&spec(shape, steps, warmup)).unwrap()
}

pub(super) fn lrs(schedule: &Schedule) -> Vec<f64> {
    (0..schedule.steps()).map(|s| schedule.lr(s)).collect()
}

fn refusal(shape: &str, steps: u64, warmup: u64) -> String {
    shape
        .parse()
        .and_then(|shape| {
            Schedule::new(&ScheduleSpec {
                shape,
                ..spec("constant", steps, warmup)
            })
        })
        .unwrap_err()
        .to_string()
}

#[test]
fn warmup_is_a_ramp_that_skips_zero() {
    assert_eq!(
        lrs(&schedule("constant", 6, 4)),
        [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    );
    assert_eq!(lrs(&schedule("constant", 2, 0)), [1.0, 1.0]);
}

#[test]
fn wsd_cools_down_over_its_fraction() {
    let wsd = schedule("wsd:fraction=0.4", 10, 2);
    assert_eq!(
        lrs(&wsd),
        [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
    );
    assert_eq!((wsd.lr(10), wsd.lr(u64::MAX)), (0.0, 0.0));
}

#[test]
fn cooldown_edges() {
    // None at all, and nothing but.
    assert_eq!(lrs(&schedule("wsd:fraction=0", 3, 0)), [1.0; 3]);
    assert_eq!(
        lrs(&schedule("wsd:fraction=1", 4, 0)),
        [1.0, 0.75, 0.5, 0.25]
    );
    // All decay: it starts where warm-up ends.
    assert_eq!(
        lrs(&schedule("wsd:fraction=1", 6, 2)),
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    );
    // Moments that round to one step in a short run are passed together.
    assert_eq!(
        lrs(&schedule("multistep:at=0.8/0.9,factor=0.5", 2, 0)),
        [1.0; 2]
    );
    assert_eq!(
        lrs(&schedule("multistep:at=0.1/0.2/0.9,factor=0.5", 2, 0)),
        [1.0, 0.25]
    );
    assert!(
        lrs(&schedule("wsd-s:cycles=20", 3, 0))
            .iter()
            .all(|&lr| lr == 1.0)
    );
    // A run of one step trains at the peak.
    for shape in [
        "constant",
        "linear",
        "cosine",
        "cos-inf",
        "wsd:fraction=1",
        "wsd-s:cycles=9",
        "811",
    ] {
        assert_eq!(lrs(&schedule(shape, 1, 0)), [1.0], "{shape}");
    }
}

#[test]
fn warmup_that_fills_the_run_is_cut_off() {
    for shape in [
        "constant",
        "linear",
        "cosine",
        "wsd",
        "wsd-s",
        "cos-inf",
        "inverse-sqrt",
        "811",
    ] {
        assert_eq!(
            lrs(&schedule(shape, 4, 8)),
            [0.125, 0.25, 0.375, 0.5],
            "{shape}"
        );
        assert_eq!(
            lrs(&schedule(shape, 4, 4)),
            [0.25, 0.5, 0.75, 1.0],
            "{shape}"
        );
    }
}

#[test]
fn wsd_s_restores_the_peak() {
    let lr = lrs(&schedule("wsd-s:ends=4/0.8/10,fraction=0.5", 10, 1));
    assert_eq!(lr, [1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 0.5, 1.0, 1.0]);
    assert_eq!(
        lrs(&schedule("wsd-s:cycles=1,fraction=0.3,decay=sqrt", 50, 5)),
        lrs(&schedule("wsd:fraction=0.3,decay=sqrt", 50, 5))
    );
    // Steps behind the last end are at the peak; behind the horizon the cooldown's end stays.
    let early = schedule("wsd-s:ends=4,fraction=0.5", 6, 0);
    assert_eq!((early.lr(3), early.lr(4), early.lr(99)), (0.5, 1.0, 1.0));
    assert_eq!(schedule("wsd-s:fraction=0.5", 6, 0).lr(6), 0.0);
}

#[test]
fn multistep_811() {
    let lr = lrs(&schedule("811", 10, 0));
    assert_eq!(&lr[..8], &[1.0; 8]);
    assert!((lr[8] - 10f64.powf(-0.5)).abs() < 1e-15);
    assert!((lr[9] - 0.1).abs() < 1e-15);
    assert_eq!(
        lrs(&schedule("multistep:at=2/4,factor=0.5", 5, 0)),
        [1.0, 1.0, 0.5, 0.5, 0.25]
    );
}

#[test]
fn inverse_sqrt_is_vaswani_with_a_warmup() {
    let curve = schedule("inverse-sqrt", 1000, 100);
    assert_eq!(curve.lr(99), 1.0);
    assert!((curve.lr(399) - 0.5).abs() < 1e-15);
    let flat = schedule("inverse-sqrt:timescale=3", 1000, 0);
    assert_eq!((flat.lr(0), flat.lr(9)), (1.0, 0.5));
}

#[test]
fn cosine_family() {
    let cosine = schedule("cosine", 100, 0);
    assert!((cosine.lr(50) - 0.55).abs() < 1e-15);
    assert!((cosine.lr(100) - 0.1).abs() < 1e-15);
    let inf = schedule("cos-inf:final=0.2,hold=0.5", 100, 10);
    assert!((inf.lr(30) - 0.6).abs() < 1e-12);
    for step in [50, 70, 99, 1000] {
        assert_eq!(inf.lr(step), 0.2);
    }
}

#[test]
fn warmup_in_tokens() {
    let tokens = ScheduleSpec {
        warmup: "10000 tokens".parse().unwrap(),
        tokens_per_step: Some(4096),
        ..spec("constant", 10, 0)
    };
    assert_eq!(Schedule::new(&tokens).unwrap().warmup_steps(), 3);
}

#[test]
fn refusals_name_what_is_wrong() {
    for lr in [0.0, -1e-3, f64::NAN, f64::INFINITY] {
        let bad = ScheduleSpec {
            peak_lr: lr,
            ..spec("wsd", 10, 0)
        };
        let error = Schedule::new(&bad).unwrap_err().to_string();
        assert!(
            error.contains(&lr.to_string()) && error.contains("--lr"),
            "{error}"
        );
    }
    for (shape, part) in [
        ("wds", "did you mean 'wsd'?"),
        ("", "unknown schedule"),
        ("wsd:fration=0.2", "did you mean 'fraction'?"),
        ("wsd:fraction", "key=value"),
        ("wsd:fraction=0.1,fraction=0.2", "twice"),
        ("wsd:fraction=x", "'x'"),
        ("wsd:fraction=1.5", "between 0 and 1, not 1.5"),
        ("wsd:fraction=-0.1", "between 0 and 1, not -0.1"),
        ("wsd:final=NaN", "between 0 and 1, not NaN"),
        ("wsd:decay=power:0", "positive P"),
        ("wsd:decay=power:NaN", "positive P"),
        ("wsd:decay=lin", "unknown decay 'lin'"),
        ("cosine:final=2", "final must be"),
        ("linear:final=inf", "final must be"),
        ("constant:final=1", "no settings"),
        ("cos-inf:hold=9", "leave no step"),
        ("multistep:factor=0", "above 0"),
        ("multistep:at=0.9/0.8", "must rise"),
        ("multistep:at=11", "outside the run"),
        ("multistep:at=a", "fractions of the run"),
        ("wsd-s:cycles=0", "between 1 and 1,000"),
        ("wsd-s:ends=5/5", "must rise, but 5 follows 5"),
        ("wsd-s:cycles=2,ends=5", "not both"),
        ("inverse-sqrt:timescale=0", "at least 1"),
        ("table:", "table:FILE"),
        ("table:/nowhere/lr.csv", "/nowhere/lr.csv"),
    ] {
        let error = refusal(shape, 10, 1);
        assert!(error.contains(part), "{shape}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    assert!(refusal("wsd", 0, 0).contains("at least 1 step"));
}

#[test]
fn describes_itself() {
    for (shape, warmup, expected) in [
        (
            "wsd:fraction=0.2",
            60,
            "wsd, peak 3e-3, warmup 60, cooldown 20 % (linear) from step 1,440",
        ),
        (
            "wsd:fraction=0",
            0,
            "wsd, peak 3e-3, no warmup, no cooldown",
        ),
        ("constant", 60, "constant, peak 3e-3, warmup 60"),
        (
            "cosine",
            60,
            "cosine, peak 3e-3, warmup 60, to 10 % of peak",
        ),
        ("linear", 60, "linear, peak 3e-3, warmup 60, to 0"),
        (
            "811",
            60,
            "811, peak 3e-3, warmup 60, ×0.316 at steps 1,440 / 1,620",
        ),
        (
            "wsd-s:cycles=3",
            0,
            "wsd-s, peak 3e-3, no warmup, 3 cooldowns (linear) ending at steps 600 / 1,200 / 1,800",
        ),
    ] {
        let schedule = Schedule::new(&ScheduleSpec {
            peak_lr: 3e-3,
            ..spec(shape, 1800, warmup)
        })
        .unwrap();
        assert_eq!(schedule.describe(), expected);
    }
}

#[test]
fn landmarks_are_in_order_and_inside() {
    for shape in [
        "wsd",
        "wsd-s:cycles=3",
        "811",
        "cosine",
        "cos-inf:hold=0.2",
        "inverse-sqrt",
    ] {
        for (steps, warmup) in [(10, 0), (10, 1), (100, 5), (100, 200)] {
            let marks = schedule(shape, steps, warmup).landmarks();
            assert_eq!(marks[0].step, 0);
            assert_eq!(marks.last().unwrap().step, steps - 1);
            assert!(marks.windows(2).all(|m| m[0].step < m[1].step), "{marks:?}");
        }
    }
}

#[test]
fn a_spec_survives_toml_and_json() {
    let spec = ScheduleSpec {
        warmup: Warmup::Tokens(2_000_000),
        tokens_per_step: Some(4096),
        ..spec("wsd:fraction=0.2,decay=power:1.5", 1800, 0)
    };
    let text = toml::to_string(&spec).unwrap();
    assert_eq!(toml::from_str::<ScheduleSpec>(&text).unwrap(), spec);
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<ScheduleSpec>(&text).unwrap(), spec);
    assert!(toml::from_str::<ScheduleSpec>("shape = 'wds'\n").is_err());
}

#[test]
fn spellings_of_schedules_and_scaling() {
    for (theirs, ours) in [
        ("cos", "cosine"),
        ("cos_inf", "cos-inf"),
        ("cos_inf:cos_inf_steps=100", "cos-inf:hold=100"),
        ("none", "constant"),
        (
            "wsd:fract_decay=0.2,decay_type=miror_cosine,final_lr_scale=0.1",
            "wsd:fraction=20%,decay=mirror-cosine,final=0.1",
        ),
        ("multistep", "811"),
    ] {
        let parse = |text: &str| text.parse::<Shape>().unwrap();
        assert_eq!(parse(theirs), parse(ours));
    }
}

pub(super) fn write_table(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn table_against_the_run() {
    let file = write_table("0.1\n0.3\n0.2\n");
    let shape = format!("table:{}", file.path().display());
    let exact = schedule(&shape, 3, 7);
    assert_eq!(lrs(&exact), [0.1, 0.3, 0.2]);
    assert_eq!((exact.peak_lr(), exact.warmup_steps()), (0.3, 0));
    assert_eq!(exact.lr(99), 0.2);
    assert!(
        exact
            .describe()
            .starts_with("table, peak 3e-1, 3 steps from")
    );
    assert!(
        schedule(&shape, 2, 0)
            .describe()
            .contains("first 2 of 3 steps")
    );
    let short = refusal(&shape, 4, 0);
    assert!(
        short.contains("3 learning rates") && short.contains("4 steps"),
        "{short}"
    );
    assert!(short.contains(&*file.path().to_string_lossy()), "{short}");
    let zero = write_table("0\n0.1\n");
    let zero = refusal(&format!("table:{}", zero.path().display()), 2, 0);
    assert!(zero.contains("starts with a learning rate of 0"), "{zero}");
}
