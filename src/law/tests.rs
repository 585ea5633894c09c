//! What holds for every law: derivatives against finite differences, exact against grouped paths.

use super::*;

pub(super) const RULES: [WarmupRule; 3] = [
    WarmupRule::Ignored,
    WarmupRule::Rise,
    WarmupRule::ConstantPeak,
];

/// Name and LRs of the schedules every law is tried on.
pub(super) fn schedules(steps: usize, warmup: usize, peak: f64) -> Vec<(&'static str, Vec<f64>)> {
    let shape = |f: fn(f64) -> f64| -> Vec<f64> {
        (0..steps)
            .map(|s| {
                if s < warmup {
                    return peak * (s + 1) as f64 / warmup as f64;
                }
                peak * f((s - warmup) as f64 / (steps - warmup) as f64)
            })
            .collect()
    };
    vec![
        ("constant", shape(|_| 1.0)),
        (
            "cosine",
            shape(|x| 0.55 + 0.45 * (std::f64::consts::PI * x).cos()),
        ),
        ("wsd", shape(|x| (1.0 - (x - 0.8).max(0.0) / 0.2).max(0.0))),
        (
            "811",
            shape(|x| [1.0, 10f64.powf(-0.5), 0.1][(x > 0.8) as usize + (x > 0.9) as usize]),
        ),
        ("two-stage", shape(|x| if x > 0.5 { 0.3 } else { 1.0 })),
    ]
}

pub(super) fn scales(path: &Path) -> Scales {
    Scales {
        lr: path.peak,
        s1: *path.s1.last().unwrap(),
        s1_first: path.s1[0],
        steps: *path.steps.last().unwrap(),
        loss_low: 3.0,
        loss_high: 4.2,
    }
}

/// A point inside the bounds, a little off the first start so that nothing is special about it.
pub(super) fn typical(law: &dyn Law, scales: &Scales) -> Vec<f64> {
    let bounds = law.bounds(scales);
    law.starts(scales)[0]
        .iter()
        .zip(&bounds)
        .zip(law.parameters())
        .enumerate()
        .map(|(i, ((value, bounds), parameter))| {
            let value = if parameter.name == "sigma" {
                -0.2 * scales.s1_first
            } else {
                value * (1.0 + 0.01 * (i + 1) as f64)
            };
            let inner = (bounds.high - bounds.low) * 1e-3;
            value.clamp(
                bounds.low + inner.min(0.01 * value.abs()),
                bounds.high - inner,
            )
        })
        .collect()
}

/// Central difference, Richardson-extrapolated: error O(h⁴).
pub(super) fn derivative(f: impl Fn(f64) -> f64, x: f64, h: f64) -> f64 {
    let slope = |h: f64| (f(x + h) - f(x - h)) / (2.0 * h);
    (4.0 * slope(0.5 * h) - slope(h)) / 3.0
}

fn all_laws(offset: bool, rule: WarmupRule) -> Vec<Box<dyn Law>> {
    NAMES
        .iter()
        .map(|name| {
            by_name(
                name,
                &LawOptions {
                    s1_offset: offset,
                    warmup: rule,
                    fixed: Vec::new(),
                },
            )
            .unwrap()
        })
        .collect()
}

#[test]
fn starts_lie_within_bounds() {
    let scales = Scales {
        lr: 3e-4,
        s1: 7.0,
        s1_first: 0.4,
        steps: 24_000.0,
        loss_low: 3.2,
        loss_high: 4.1,
    };
    for law in all_laws(true, WarmupRule::Ignored) {
        let bounds = law.bounds(&scales);
        assert_eq!(bounds.len(), law.parameters().len(), "{}", law.name());
        assert!(law.starts(&scales).len() <= 16, "{}", law.name());
        for start in law.starts(&scales) {
            assert_eq!(start.len(), bounds.len(), "{}", law.name());
            for (value, bounds) in start.iter().zip(&bounds) {
                assert!((bounds.low..=bounds.high).contains(value), "{}", law.name());
            }
        }
    }
}

#[test]
fn jacobian_equals_finite_differences() {
    for warmup in [0, 40] {
        for (shape, lrs) in schedules(400, warmup, 2e-3) {
            // Few enough points for the direct sum: what the stream makes of it is tested by itself,
            // and its own error of 1e-8 would swamp the differences.
            let steps = [80, 150, 230, 300, 340, 400];
            let path = Path::exact(&lrs, warmup as u64, &steps).of_size(Some(3e7));
            let scales = scales(&path);
            for rule in RULES {
                for offset in [false, true] {
                    for law in all_laws(offset, rule) {
                        check_jacobian(
                            &*law,
                            &path,
                            &scales,
                            &format!("{shape} {warmup} {rule:?}"),
                        );
                    }
                }
            }
        }
    }
}

fn check_jacobian(law: &dyn Law, path: &Path, scales: &Scales, case: &str) {
    let parameters = typical(law, scales);
    let (points, count) = (path.steps.len(), parameters.len());
    let (mut out, mut jacobian) = (vec![0.0; points], vec![0.0; points * count]);
    law.evaluate(path, &parameters, &mut out, Some(&mut jacobian));
    assert!(
        out.iter().all(|loss| loss.is_finite()),
        "{} {case}",
        law.name()
    );
    let bare = predict(law, path, &parameters);
    assert_eq!(
        bare,
        out,
        "{} {case}: with and without jacobian",
        law.name()
    );
    for p in 0..count {
        let h = if parameters[p] == 0.0 {
            1e-3
        } else {
            2e-3 * parameters[p].abs()
        };
        let column: Vec<f64> = (0..points).map(|i| jacobian[i * count + p]).collect();
        let size = column.iter().fold(0.0, |high: f64, v| high.max(v.abs()));
        for (point, found) in column.iter().enumerate() {
            let expected = derivative(
                |value| {
                    let mut moved = parameters.clone();
                    moved[p] = value;
                    predict(law, path, &moved)[point]
                },
                parameters[p],
                h,
            );
            // What rounding of the loss leaves of a difference.
            let noise = 1e-13 * out[point].abs() / h;
            assert!(
                (found - expected).abs() <= 1e-6 * size + 4.0 * noise,
                "{} {case} ∂{} at point {point}: {found:e}, differences give {expected:e}",
                law.name(),
                law.parameters()[p].name,
            );
        }
    }
}

fn predict(law: &dyn Law, path: &Path, parameters: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; path.steps.len()];
    law.evaluate(path, parameters, &mut out, None);
    out
}

#[test]
fn schedule_gradient_equals_finite_differences() {
    for warmup in [0, 12] {
        for (shape, lrs) in schedules(90, warmup, 2e-3) {
            let size = Some(3e7);
            let of =
                |lrs: &[f64]| Path::exact(lrs, warmup as u64, &[lrs.len() as u64]).of_size(size);
            let some = Path::exact(&lrs, warmup as u64, &[20, 90]).of_size(size);
            let scales = scales(&some);
            for rule in RULES {
                for offset in [false, true] {
                    for law in all_laws(offset, rule) {
                        // At S₂ = 0 its second derivative is infinite: differences say nothing there.
                        if law.name() == "tissue-power" && shape == "constant" {
                            continue;
                        }
                        let parameters = typical(&*law, &scales);
                        let run = Run {
                            lrs: &lrs,
                            warmup: warmup as u64,
                            size,
                        };
                        // Adam's second moment bends within drops of 1e-7.
                        let h = match law.name() {
                            "forward-momentum" => |_: f64| 2e-9,
                            _ => |lr: f64| 2e-3 * lr,
                        };
                        let (loss, gradient) = law.schedule_gradient(&run, &parameters);
                        let case = format!("{} {shape} {warmup} {rule:?}", law.name());
                        let expected = predict(&*law, &of(&lrs), &parameters)[0];
                        assert!(
                            (loss / expected - 1.0).abs() < 1e-12,
                            "{case}: {loss} {expected}"
                        );
                        let typical = gradient.iter().fold(0.0, |high: f64, v| high.max(v.abs()));
                        for s in (0..90).step_by(3).chain([1, 11, 12, 13, 71, 89]) {
                            // At the floor of the LR, or moving that of S₁ (the first LR), which is
                            // how old a first rise counts where an amplitude hangs on it.
                            let floor = s == 0 && warmup == 0 && rule == WarmupRule::Rise;
                            // The course's S₃ jumps where a drop crosses 5 %.
                            let jumps = law.name() == "hybrid-course"
                                && lrs[s.max(1) - 1..90.min(s + 2)]
                                    .windows(2)
                                    .any(|pair| (1.0 - pair[1] / pair[0] - 0.05).abs() < 0.005);
                            if lrs[s] < 0.02 * 2e-3 || floor || jumps {
                                continue;
                            }
                            let found = derivative(
                                |lr| {
                                    let mut moved = lrs.clone();
                                    moved[s] = lr;
                                    predict(&*law, &of(&moved), &parameters)[0]
                                },
                                lrs[s],
                                h(lrs[s]),
                            );
                            assert!(
                                (found - gradient[s]).abs() <= 1e-6 * typical,
                                "{case} step {s}: {:e}, differences give {found:e}",
                                gradient[s],
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn unknown_names_get_the_nearest() {
    let message = by_name("tisue", &LawOptions::default())
        .err()
        .unwrap()
        .to_string();
    assert!(message.contains("did you mean tissue?"), "{message}");
    assert!(!message.contains('\n'));
    assert_eq!(
        by_name("MTL", &LawOptions::default()).unwrap().name(),
        "tissue"
    );
    let fixed = LawOptions {
        fixed: vec![("delta".into(), 1.0)],
        ..LawOptions::default()
    };
    let message = by_name("mpl", &fixed).err().unwrap().to_string();
    assert!(message.contains("has no parameter delta"), "{message}");
}

/// Anywhere within the bounds, corners first, on schedules that begin or end at 0 or stand there throughout.
#[test]
fn finite_within_bounds() {
    let ending_at_zero: Vec<f64> = (0..200)
        .map(|s| 1e-3 * (1.0 - (s as f64 / 150.0)).max(0.0))
        .collect();
    let mut starting_at_zero = vec![0.0; 10];
    starting_at_zero.extend(vec![1e-3; 190]);
    let mut restarts = vec![1e-3; 100];
    restarts.extend(vec![0.0; 20]);
    restarts.extend(vec![5e-4; 80]);
    let schedules = [
        ending_at_zero,
        starting_at_zero,
        restarts,
        vec![0.0; 200],
        vec![1e-3; 200],
    ];
    let scales = Scales {
        lr: 1e-3,
        s1: 0.1,
        s1_first: 0.01,
        steps: 200.0,
        loss_low: 3.0,
        loss_high: 4.0,
    };
    for (i, lrs) in schedules.iter().enumerate() {
        for warmup in [0, 20, 1000] {
            let points = [0, 1, 5, 10, 100, 119, 160, 200, 210];
            for path in [
                Path::exact(lrs, warmup, &points),
                Path::grouped(lrs, warmup, &points, 16),
            ] {
                let path = path.of_size(Some(1e9));
                for rule in RULES {
                    for law in all_laws(true, rule)
                        .into_iter()
                        .chain(all_laws(false, rule))
                    {
                        let bounds = law.bounds(&scales);
                        for corner in 0..64u32 {
                            let parameters: Vec<f64> = bounds
                                .iter()
                                .enumerate()
                                .map(|(p, bounds)| {
                                    match (corner.wrapping_mul(2_654_435_761) >> p) & 1 {
                                        0 => bounds.low,
                                        _ => bounds.high,
                                    }
                                })
                                .collect();
                            let mut out = vec![0.0; points.len()];
                            let mut jacobian = vec![0.0; points.len() * bounds.len()];
                            law.evaluate(&path, &parameters, &mut out, Some(&mut jacobian));
                            let finite = out.iter().chain(&jacobian).all(|value| value.is_finite());
                            assert!(
                                finite,
                                "{} schedule {i} warm-up {warmup} {rule:?} at {parameters:?}: {out:?} {jacobian:?}",
                                law.name()
                            );
                        }
                    }
                }
            }
        }
    }
}

/// Measured in other units of the LR, or slowed down, the starts predict the same losses.
#[test]
fn starts_do_not_depend_on_units() {
    let (_, lrs) = schedules(400, 40, 1e-3).swap_remove(1);
    let points = [80, 150, 230, 300, 340, 400];
    let path = Path::exact(&lrs, 40, &points).of_size(Some(3e7));
    for factor in [1e-3, 1e4] {
        let scaled: Vec<f64> = lrs.iter().map(|lr| lr * factor).collect();
        let scaled = Path::exact(&scaled, 40, &points).of_size(Some(3e7));
        for law in all_laws(false, WarmupRule::Ignored) {
            // Laws that fix numbers with a unit in them, as their docs say.
            let units = ["fsl-fixed", "mplx", "forward-momentum", "hybrid-course"];
            if units.contains(&law.name()) {
                continue;
            }
            let one = law.starts(&scales(&path));
            let other = law.starts(&scales(&scaled));
            assert_eq!(one.len(), other.len(), "{}", law.name());
            for (a, b) in one.iter().zip(&other) {
                for (a, b) in predict(&*law, &path, a)
                    .iter()
                    .zip(predict(&*law, &scaled, b))
                {
                    assert!((a - b).abs() < 1e-7, "{}: {a} and {b}", law.name());
                }
            }
        }
    }
}
