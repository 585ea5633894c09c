//! What cannot be fitted is refused in one sentence.

use super::*;
use crate::fit::{FitOptions, fit, score};

fn refused(name: &str, curves: &[LossCurve], options: &FitOptions) -> String {
    let curves: Vec<&LossCurve> = curves.iter().collect();
    let message = fit(&law(name), &curves, options).unwrap_err().to_string();
    assert!(!message.contains('\n') && message.len() < 250, "{message}");
    message
}

fn one() -> LossCurve {
    let law = law("tissue");
    observed(
        &curve("c", run(4000, wsd), 100),
        &*law,
        &[2.5, 0.6, 0.45, 0.3, 400.0],
        NO_NOISE,
        0,
    )
}

#[test]
fn one_sentence_each() {
    let options = FitOptions::default();
    let changed = |change: &dyn Fn(&mut LossCurve)| {
        let mut c = one();
        change(&mut c);
        [c]
    };
    let cases: [(&str, [LossCurve; 1], &str); 9] = [
        (
            "tissue",
            changed(&|c| c.points.truncate(7)),
            "at least 8 points, but only 7",
        ),
        (
            "tissue",
            changed(&|c| c.points.iter_mut().for_each(|p| p.loss = 3.0)),
            "never changes",
        ),
        (
            "tissue",
            changed(&|c| c.lrs.fill(0.0)),
            "LR is 0 at every step",
        ),
        (
            "tissue",
            changed(&|c| c.lrs[7] = f64::NAN),
            "LR of step 7 is NaN",
        ),
        (
            "tissue",
            changed(&|c| c.lrs.truncate(3000)),
            "known for 3000 steps only",
        ),
        (
            "tissue",
            changed(&|c| c.points[5].loss = f64::NAN),
            "loss at step 1000 is NaN",
        ),
        (
            "tissue",
            changed(&|c| c.points[5].loss = -1.0),
            "a cross-entropy is positive",
        ),
        (
            "tissue",
            changed(&|c| c.points.swap(3, 4)),
            "steps must increase",
        ),
        (
            "tissue",
            changed(&|c| c.lrs[450..].fill(1e-3)),
            "never falls",
        ),
    ];
    for (name, curves, want) in &cases {
        let message = refused(name, curves, &options);
        assert!(message.contains(want), "{message}");
    }
    for name in ["tissue", "mpl", "mplx", "fsl", "lldl"] {
        let constant = observed(
            &curve("c", run(4000, |_| 1.0), 50),
            &*law("opl"),
            &[2.5, 0.6, 0.45],
            NO_NOISE,
            0,
        );
        let message = refused(name, &[constant], &options);
        assert!(
            message.contains("never falls") && message.contains("--law opl"),
            "{message}"
        );
    }
    assert!(refused("opl", &[], &options).contains("at least one loss curve"));
    let late = FitOptions {
        from: Some(9000),
        ..options.clone()
    };
    assert!(refused("opl", &[one()], &late).contains("it ends at step 4000"));
    let bad = FitOptions {
        delta: 0.0,
        ..options
    };
    assert!(refused("opl", &[one()], &bad).contains("--delta"));
    assert!(score(&[1.0; 36], &one(), 9000).is_err());
}
