//! What the optima look like, and how good they are.

use super::*;
use crate::schedule::{Schedule, ScheduleSpec, Shape, Warmup};

/// Reference: 600 segments by another program, 2.79408 and 2.68342; the schedules that the law's authors publish and
/// best `(1−τ)^1.5` give 2.79414 and 2.6836.
#[test]
fn published_parameters_reach_the_reference() {
    for (steps, must, best_baseline) in [(24_000, 2.79408, 2.79459), (72_000, 2.68342, 2.6840)] {
        let problem = published(steps);
        let others = baselines(&problem);
        let clock = std::time::Instant::now();
        let found = best(&problem, &others, KNOTS).unwrap();
        println!(
            "{steps}: {:.6}, {} gradients, {:?}; best baseline {} {:.5}",
            found.loss,
            found.evaluations,
            clock.elapsed(),
            others[0].family,
            others[0].loss
        );
        assert!(found.loss <= must + 5e-6, "{steps}: {}", found.loss);
        assert!((problem.loss(&found.lrs) - found.loss).abs() < 1e-9);
        assert!(problem.allows(&found.lrs) && trust::held_back(&problem, &found.lrs).is_none());
        // Smooth: without the rule it would drop .8 of the peak in one step.
        assert!(problem.largest_drop(&found.lrs) < 1e-3);
        // At their best lengths; the reference's grid had 1 − √τ at 2.79459.
        assert!(found.loss < others[0].loss && others[0].loss <= best_baseline);
    }
}

/// Without γ nothing is gained by a sharp drop: the optimum stays smooth when the rule is all but lifted, and falls
/// slowly over a good part of the run.
#[test]
fn without_gamma_the_optimum_is_smooth_by_itself() {
    for ((name, parameters), most) in [(LAWS[0], 1200), (LAWS[2], 3800)] {
        let problem = small(name, parameters, 4000);
        let loose = problem.of_length(4000, 0.5).unwrap();
        let found = best(&loose, &baselines(&loose), KNOTS).unwrap();
        let drop = loose.largest_drop(&found.lrs);
        let falling = found.lrs[200..].iter().filter(|lr| **lr < 0.999e-3).count();
        println!("{name}: largest drop {drop:.4}, falls over {falling} of 4000");
        assert!(drop < 0.02, "{name}: {drop}");
        assert!((400..=most).contains(&falling), "{name}: {falling}");
    }
}

/// The momentum law wants its whole fall at once, late: the rule makes it a straight line, and says so.
#[test]
fn the_momentum_law_is_held_back() {
    let (name, parameters) = LAWS[4];
    let problem = small(name, parameters, 4000);
    let found = best(&problem, &baselines(&problem), KNOTS).unwrap();
    assert!(problem.allows(&found.lrs));
    let said = trust::held_back(&problem, &found.lrs).unwrap();
    assert!(
        said.contains("tissue") && said.contains("would fall faster"),
        "{said}"
    );
    // To the end, whose step still learns.
    assert!(found.lrs.windows(2).skip(200).all(|w| w[1] <= w[0]));
    assert!(found.lrs[3999] > 1e-12, "{}", found.lrs[3999]);
    assert!((problem.loss(&found.lrs) - found.loss).abs() < 1e-9);
}

#[test]
fn families_are_the_trainers_schedules() {
    let problem = small("mpl", LAWS[1].1, 1000);
    for (family, shape) in [
        (Family::Linear { floor: 0.1 }, "linear:final=0.1"),
        (Family::Cosine { floor: 0.1 }, "cosine:final=0.1"),
        (Family::Steps811, "811"),
        (Family::Constant, "constant"),
        (
            Family::Wsd {
                fraction: 0.2,
                decay: crate::schedule::Decay::Sqrt,
                floor: 0.0,
            },
            "wsd:fraction=0.2,decay=sqrt,final=0",
        ),
    ] {
        assert_eq!(
            family.to_string().parse::<Shape>().unwrap(),
            shape.parse().unwrap()
        );
        let schedule = Schedule::new(&ScheduleSpec {
            shape: shape.parse().unwrap(),
            peak_lr: 1e-3,
            warmup: Warmup::Steps(50),
            steps: 1000,
            tokens_per_step: None,
            compat: false,
        })
        .unwrap();
        for (step, lr) in (0..).zip(family.lrs(&problem)) {
            let want = schedule.lr(step);
            assert!((lr - want).abs() <= 1e-15, "{shape} at {step}: {lr} {want}");
        }
    }
}

#[test]
fn lengths_answer_their_goals() {
    let problem = small("mpl-no-gamma", LAWS[0].1, 2000);
    let rule = |steps| trust::rule(None, steps, steps - 100);
    let reach = (200, 200_000);
    let of = |steps: u64| problem.of_length(steps, rule(steps).largest_drop);
    let loss = |steps: u64| power(&of(steps).unwrap()).loss;
    let price = 2e-6;
    let steps = horizon::length(of, horizon::Goal::Price(price), reach).unwrap();
    let cost = |steps: u64| loss(steps) + price * steps as f64;
    assert!(cost(steps) <= cost(steps / 5 * 4) && cost(steps) <= cost(steps / 4 * 5));
    let target = 3.0;
    let steps = horizon::length(of, horizon::Goal::Loss(target), reach).unwrap();
    assert!(
        (loss(steps) - target).abs() < 2e-4,
        "{steps}: {}",
        loss(steps)
    );
    for (goal, part) in [
        (horizon::Goal::Loss(2.0), "gets there"),
        (horizon::Goal::Price(-1.0), "--price"),
        (horizon::Goal::Loss(f64::NAN), "--loss-target"),
    ] {
        let said = horizon::length(of, goal, reach).unwrap_err().to_string();
        assert!(said.contains(part), "{said}");
    }
}
