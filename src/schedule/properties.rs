//! What holds for any shape with any settings.

use super::tests::{lrs, schedule, spec, write_table};
use super::*;
use proptest::prelude::*;

fn ratio() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0f64]
}

fn decay() -> impl Strategy<Value = Decay> {
    prop_oneof![
        Just(Decay::Linear),
        Just(Decay::Cosine),
        Just(Decay::MirrorCosine),
        Just(Decay::Square),
        Just(Decay::Sqrt),
        Just(Decay::Exp),
        (0.05..8.0f64).prop_map(Decay::Power),
    ]
}

/// Shapes without jumps, and the ratio that they end at.
fn continuous() -> impl Strategy<Value = (Shape, f64)> {
    prop_oneof![
        Just((Shape::Constant, 1.0)),
        ratio().prop_map(|f| (
            Shape::Linear {
                final_ratio: Some(f)
            },
            f
        )),
        ratio().prop_map(|f| (Shape::Cosine { final_ratio: f }, f)),
        (ratio(), 0.0..0.4f64).prop_map(|(f, hold)| {
            let hold = Length::Fraction(hold);
            (
                Shape::CosInf {
                    final_ratio: f,
                    hold,
                },
                f,
            )
        }),
        (0.01..=1.0f64, decay(), ratio()).prop_map(|(fraction, decay, f)| {
            let shape = Shape::Wsd {
                fraction,
                decay,
                final_ratio: f,
            };
            (shape, f)
        }),
    ]
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let lengths = || {
        prop::collection::btree_set(1u64..50, 1..5)
            .prop_map(|s| s.into_iter().map(Length::Steps).collect::<Vec<_>>())
    };
    prop_oneof![
        4 => continuous().prop_map(|(shape, _)| shape),
        1 => (lengths(), ratio(), decay(), ratio()).prop_map(|(ends, fraction, decay, final_ratio)| {
            Shape::WsdS { ends, fraction, decay, final_ratio }
        }),
        1 => (lengths(), 0.01..=1.0f64).prop_map(|(at, factor)| Shape::MultiStep { at, factor }),
        1 => prop::option::of(1u64..5000).prop_map(|timescale| Shape::InverseSqrt { timescale }),
        1 => Just(Shape::preset_811()),
    ]
}

/// A schedule of `shape`; the one shape that refuses a long warm-up gets a shorter one.
fn built(shape: Shape, peak_lr: f64, warmup: u64, steps: u64) -> Schedule {
    let warmup = match shape {
        Shape::CosInf { .. } => warmup.min(steps / 2),
        _ => warmup,
    };
    Schedule::new(&ScheduleSpec {
        shape,
        peak_lr,
        ..spec("constant", steps, warmup)
    })
    .unwrap()
}

proptest! {
    #[test]
    fn every_lr_is_usable(shape in any_shape(), peak in 1e-8..10.0f64, warmup in 0u64..90, steps in 50u64..400) {
        let schedule = built(shape, peak, warmup, steps);
        prop_assert!(schedule.lr(0) > 0.0);
        for step in (0..steps + 10).chain([u64::MAX]) {
            let lr = schedule.lr(step);
            prop_assert!(lr.is_finite() && (0.0..=peak).contains(&lr), "{step}: {lr}");
        }
        let warmup = schedule.warmup_steps();
        for step in 1..warmup.min(steps) {
            prop_assert!(schedule.lr(step) > schedule.lr(step - 1));
        }
        if (1..=steps).contains(&warmup) {
            prop_assert_eq!(schedule.lr(warmup - 1), peak);
        }
    }

    #[test]
    fn order_of_calls_does_not_matter(shape in any_shape(), warmup in 0u64..90, order in prop::collection::vec(0u64..200, 1..50)) {
        let schedule = built(shape, 1.0, warmup, 150);
        let fresh = schedule.clone();
        let forward: Vec<f64> = (0..200).map(|s| fresh.lr(s)).collect();
        for step in order {
            prop_assert_eq!(schedule.lr(step).to_bits(), forward[step as usize].to_bits());
        }
    }

    #[test]
    fn continuous_shapes_take_small_steps_to_their_end((shape, end) in continuous(), warmup in 1u64..40, steps in 100u64..600) {
        let schedule = built(shape.clone(), 1.0, warmup, steps);
        prop_assert!((schedule.lr(steps) - end).abs() < 1e-12);
        // The steepest: warm-up 1/W; a bounded slope over A steps; √x and small powers at x = 1/A;
        // f^x at −ln f, or for f = 0 ln 100.
        let room = match shape {
            Shape::Wsd { fraction, .. } => {
                let start = steps - length::steps_of(fraction, steps);
                steps - start.max(warmup)
            }
            Shape::CosInf { hold: Length::Fraction(hold), .. } => {
                steps - length::steps_of(hold, steps) - warmup
            }
            _ => steps - warmup,
        } as f64;
        let bound = match shape {
            Shape::Wsd { decay: Decay::Sqrt, .. } => room.powf(-0.5),
            Shape::Wsd { decay: Decay::Power(p), .. } => room.powf(-p.min(1.0)) * p.max(1.0),
            Shape::Wsd { decay: Decay::Exp, final_ratio, .. } if final_ratio > 0.0 => -final_ratio.ln() / room,
            Shape::Wsd { decay: Decay::Exp, .. } => 4.7 / room,
            _ => 3.6 / room,
        };
        let bound = bound.max(1.0 / warmup as f64) + 1e-12;
        for step in 1..steps {
            let jump = (schedule.lr(step) - schedule.lr(step - 1)).abs();
            prop_assert!(jump <= bound, "step {step}: {jump} > {bound}");
        }
    }

    #[test]
    fn written_shapes_read_back(shape in any_shape()) {
        prop_assert_eq!(shape.to_string().parse::<Shape>().unwrap(), shape);
    }

    #[test]
    fn a_table_of_a_schedule_is_the_schedule(shape in any_shape(), warmup in 0u64..90, steps in 50u64..120) {
        let original = built(shape, 3e-3, warmup, steps);
        let lines: String = lrs(&original).iter().map(|lr| format!("{lr:e}\n")).collect();
        let file = write_table(&format!("lr\n{lines}"));
        let copy = schedule(&format!("table:{}", file.path().display()), steps, 0);
        prop_assert_eq!(lrs(&copy), lrs(&original));
    }

    #[test]
    fn a_branch_is_its_trunk_and_then_falls(
        trunk in any_shape(),
        warmup in 0u64..90,
        at in 0u64..150,
        cooldown in 1u64..60,
        decay in decay(),
        f in ratio(),
    ) {
        let whole = built(trunk.clone(), 3e-3, warmup, 150);
        let top = whole.lr(at);
        prop_assume!(top > 0.0);
        let tail = Tail::Decay { decay, final_ratio: f };
        let shape = Shape::Branch { at, horizon: 150, tail, trunk: Box::new(trunk) };
        prop_assert_eq!(&shape.to_string().parse::<Shape>().unwrap(), &shape);
        let spec = ScheduleSpec { shape, steps: at + cooldown, ..whole.spec().clone() };
        let branch = Schedule::new(&spec).unwrap();
        for step in 0..at {
            prop_assert_eq!(branch.lr(step).to_bits(), whole.lr(step).to_bits());
        }
        prop_assert!((branch.lr(at) - top).abs() <= 1e-15 * top);
        for step in at..at + cooldown + 3 {
            let lr = branch.lr(step);
            prop_assert!((0.0..=branch.peak_lr()).contains(&lr));
            prop_assert!(lr >= branch.lr(step + 1) - 1e-15, "{step}");
        }
        prop_assert!((branch.lr(at + cooldown) - f * top).abs() <= 1e-12 * top);
    }
}
