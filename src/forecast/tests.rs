//! Forecasts of runs that a law made, with noise of a known size.

use super::*;
use crate::curve::{LossKind, LrOrigin, WarmUp};
use crate::fit;
use crate::law;

const STEPS: usize = 800;
const WARMUP: u64 = 20;
const PEAK: f64 = 2e-3;
const NOISE: f64 = 0.05;
/// What held-out losses lie above training losses.
const GAP: f64 = 0.2;
/// L0, A, alpha, C, and the memory: short, so that a probe's cooldown shows all of it.
const TRUTH: [f64; 5] = [3.0, 0.9, 0.45, 4.0, 30.0];

fn wsd(steps: usize, fraction: f64) -> Vec<f64> {
    let start = (steps as f64 * (1.0 - fraction)) as usize;
    let lr = |s: usize| match s {
        s if s < WARMUP as usize => PEAK * (s + 1) as f64 / WARMUP as f64,
        s if s < start => PEAK,
        s => PEAK * (steps - s) as f64 / (steps - start) as f64,
    };
    (0..steps).map(lr).collect()
}

/// Losses of `law` along `lrs`, with normal noise drawn by `seed`.
fn losses(lrs: &[f64], every: u64, noise: f64, seed: u64) -> Vec<Point> {
    let law = law::by_name("tissue", &Default::default()).unwrap();
    let steps: Vec<u64> = (1..=lrs.len() as u64)
        .filter(|s| s.is_multiple_of(every))
        .collect();
    let path = fit::path(lrs, WARMUP, &steps);
    let mut out = vec![0.0; steps.len()];
    law.evaluate(&path, &TRUTH, &mut out, None);
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut normal = || {
        let (a, b): (f64, f64) = (1.0 - uniform(), uniform());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    };
    let noisy = steps.into_iter().zip(out);
    noisy
        .map(|(step, loss)| Point {
            step,
            loss: loss + noise * normal(),
        })
        .collect()
}

fn curve(lrs: &[f64], points: Vec<Point>, kind: LossKind) -> LossCurve {
    LossCurve {
        name: "probe".into(),
        points,
        lrs: lrs.to_vec(),
        lr_origin: LrOrigin::EveryStep,
        kind,
        warmup: WarmUp::Known(WARMUP),
        parameters: Some(1e6),
        notes: Vec::new(),
    }
}

/// A run up to `step`, its evaluations every 10 steps calmer than its batches.
fn seen(lrs: &[f64], step: u64, seed: u64) -> Seen {
    let up_to = |points: Vec<Point>, gap: f64| -> Vec<Point> {
        let points = points.into_iter().filter(|p| p.step <= step);
        points
            .map(|p| Point {
                loss: p.loss + gap,
                ..p
            })
            .collect()
    };
    Seen {
        training: up_to(losses(lrs, 1, NOISE, seed), 0.0),
        held_out: up_to(losses(lrs, 10, 0.1 * NOISE, seed + 1), GAP),
    }
}

fn subject(probe: bool) -> Subject {
    let lrs = wsd(200, 0.2);
    let mut held_out = losses(&lrs, 5, 0.1 * NOISE, 7);
    held_out.iter_mut().for_each(|p| p.loss += GAP);
    let probe = probe.then(|| Probe {
        training: curve(&lrs, losses(&lrs, 1, NOISE, 8), LossKind::TrainBatch),
        held_out: Some(curve(&lrs, held_out, LossKind::Validation)),
    });
    Subject {
        law: "tissue".into(),
        lrs: wsd(STEPS, 0.2),
        warmup: WARMUP,
        parameters: 1e6,
        probes: probe.into_iter().collect(),
    }
}

fn truth(lrs: &[f64]) -> f64 {
    losses(lrs, lrs.len() as u64, 0.0, 0)[0].loss + GAP
}

#[test]
fn a_run_with_a_probe_is_forecast_long_before_its_cooldown() {
    let subject = subject(true);
    let end = truth(&subject.lrs);
    for (share, within) in [(0.25, 0.05), (0.5, 0.03), (0.75, 0.03), (0.9, 0.03)] {
        let step = (share * STEPS as f64) as u64;
        let (_, fitted) = fit(&subject, &seen(&subject.lrs, step, 3), None).unwrap();
        let off = fitted.forecast - end;
        assert_eq!((fitted.fitted_to, fitted.losses), (step, Losses::HeldOut));
        assert!(off.abs() < within, "{share}: {off}");
        assert!(
            fitted.low < end + 0.01 && end - 0.01 < fitted.high,
            "{fitted:?}"
        );
    }
}

#[test]
fn what_a_cooldown_from_here_comes_to_is_what_the_law_says_of_that_run() {
    let subject = subject(true);
    let (_, fitted) = fit(&subject, &seen(&subject.lrs, 400, 3), None).unwrap();
    let fractions: Vec<f64> = fitted.cooldown_now.iter().map(|c| c.fraction).collect();
    assert_eq!(fractions, [0.1, 0.2]);
    for now in &fitted.cooldown_now {
        let total = 400 + now.steps as usize;
        assert_eq!(total, (400.0 / (1.0 - now.fraction)).round() as usize);
        let off = now.loss - truth(&wsd(total, now.fraction));
        assert!(off.abs() < 0.02, "{now:?}: {off}");
    }
    for now in &fitted.cooldown_now {
        assert!(now.low < now.loss && now.loss < now.high, "{now:?}");
    }
    // While it cools down there is no such thing.
    let (_, fitted) = fit(&subject, &seen(&subject.lrs, 780, 3), None).unwrap();
    assert!(fitted.cooldown_now.is_empty());
}

#[test]
fn training_losses_stand_in_for_few_held_out_ones() {
    let subject = subject(false);
    let mut seen = seen(&subject.lrs, 780, 3);
    seen.held_out.retain(|p| p.step.is_multiple_of(200));
    let (_, fitted) = fit(&subject, &seen, None).unwrap();
    assert_eq!(fitted.losses, Losses::Training);
    assert!((fitted.held_out_offset - GAP).abs() < 0.02, "{fitted:?}");
    assert!(
        (fitted.forecast - truth(&subject.lrs)).abs() < 0.05,
        "{fitted:?}"
    );
    assert!((fitted.training_noise / NOISE - 1.0).abs() < 0.2);
}

#[test]
fn a_warm_start_ends_where_a_cold_one_does() {
    let subject = subject(true);
    let (_, before) = fit(&subject, &seen(&subject.lrs, 380, 3), None).unwrap();
    let now = seen(&subject.lrs, 400, 3);
    let (_, cold) = fit(&subject, &now, None).unwrap();
    let (_, warm) = fit(&subject, &now, Some(&before)).unwrap();
    assert!(
        (cold.forecast - warm.forecast).abs() < 1e-4,
        "{cold:?} {warm:?}"
    );
    // The same numbers, the same bits.
    let (_, again) = fit(&subject, &now, Some(&before)).unwrap();
    assert_eq!(warm, again);
}

#[test]
fn too_few_losses_are_refused_in_words() {
    let subject = subject(true);
    let mut seen = seen(&subject.lrs, 400, 3);
    seen.held_out.retain(|p| p.step.is_multiple_of(200));
    let error = fit(&subject, &seen, None).unwrap_err().to_string();
    assert!(error.contains("takes 3 held-out losses"), "{error}");
}

/// What a checkpoint holds must be read back, whatever a run has logged.
#[test]
fn a_fit_is_finite_wherever_a_run_stands() {
    for (probe, every) in [(true, 40), (false, 40), (true, 10)] {
        let subject = subject(probe);
        for step in 1..=80 {
            let mut seen = seen(&subject.lrs, 10 * step, 3);
            seen.held_out.retain(|p| p.step.is_multiple_of(every));
            if let Ok((_, fitted)) = fit(&subject, &seen, None) {
                let text = serde_json::to_string(&fitted).unwrap();
                assert_eq!(serde_json::from_str::<Fitted>(&text).unwrap(), fitted);
            }
        }
    }
}

/// A design may have fallen by next to nothing for a long time.
#[test]
fn a_fall_that_is_next_to_none_gives_no_absurd_forecast() {
    let mut subject = subject(false);
    for fall in [1.1e-3, 2e-3, 5e-3, 2e-2] {
        let lrs = subject.lrs.iter_mut().enumerate().skip(100).take(540);
        lrs.for_each(|(s, lr)| *lr = PEAK * (1.0 - fall * (s - 100) as f64 / 540.0));
        for step in [200, 300, 400, 600] {
            if let Ok((_, fitted)) = fit(&subject, &seen(&subject.lrs, step, 3), None) {
                assert!(
                    fitted.forecast > 0.0 && fitted.forecast < 20.0,
                    "{fitted:?}"
                );
            }
        }
    }
}

#[test]
fn a_law_that_does_not_describe_the_run_decides_nothing() {
    let subject = subject(true);
    let mut strange = seen(&subject.lrs, 400, 3);
    // Losses that rise and fall as no LR tells.
    let wave = |p: &mut Point| p.loss = 4.0 + (p.step as f64 / 30.0).sin();
    strange.held_out.iter_mut().for_each(wave);
    strange.training.iter_mut().for_each(wave);
    let (found, fitted) = fit(&subject, &strange, None).unwrap();
    assert!(!fitted.describes, "{fitted:?}");
    let (decision, designed) = redesign(&subject, &found, &fitted, 420);
    assert!(decision.kept && designed.is_none());
    assert!(!StopWhen::Above(0.1).holds(&fitted));
    let mut watch = Watch::new(&subject, &fitted, 401, WatchState::default()).unwrap();
    assert_eq!(watch.look(401, 50.0), None);
}

/// Steps of `watched` that a watch over a run fitted at step 400 tells of.
fn alarms(seed: u64, spoil: impl Fn(&mut Point)) -> Vec<Alarm> {
    let subject = subject(true);
    let all = seen(&subject.lrs, STEPS as u64, seed);
    let until = |step| Seen {
        training: all
            .training
            .iter()
            .copied()
            .filter(|p| p.step <= step)
            .collect(),
        held_out: all
            .held_out
            .iter()
            .copied()
            .filter(|p| p.step <= step)
            .collect(),
    };
    let (_, fitted) = fit(&subject, &until(400), None).unwrap();
    let mut watch = Watch::new(&subject, &fitted, 401, WatchState::default()).unwrap();
    let points = all.training.iter().filter(|p| p.step > 400);
    let alarms = points.filter_map(|p| {
        let mut p = *p;
        spoil(&mut p);
        watch.look(p.step, p.loss)
    });
    alarms.collect()
}

#[test]
fn departures_are_told_once_and_noise_never() {
    for seed in 0..20 {
        assert_eq!(alarms(seed, |_| ()), [], "seed {seed}");
    }
    let spiked = alarms(3, |p| p.loss += if p.step == 500 { 1.0 } else { 0.0 });
    assert_eq!(spiked.len(), 1);
    assert_eq!((spiked[0].step, spiked[0].kind), (500, AlarmKind::Spike));
    assert!((spiked[0].nats - 1.0).abs() < 0.3);
    let harder = alarms(3, |p| p.loss += if p.step > 500 { 0.15 } else { 0.0 });
    assert_eq!(harder.len(), 1, "{harder:?}");
    assert_eq!(harder[0].kind, AlarmKind::Above);
    assert!((500..=540).contains(&harder[0].step));
    let easier = alarms(3, |p| p.loss -= if p.step > 500 { 0.15 } else { 0.0 });
    assert_eq!(easier[0].kind, AlarmKind::Below);
}

#[test]
fn the_rest_of_a_run_is_designed_where_that_gains() {
    let mut subject = subject(true);
    // A schedule that never cools down.
    subject.lrs = wsd(STEPS, 0.0);
    let (found, fitted) = fit(&subject, &seen(&subject.lrs, 400, 3), None).unwrap();
    let (decision, designed) = redesign(&subject, &found, &fitted, 420);
    assert!(
        !decision.kept && decision.gain > decision.half_width,
        "{decision:?}"
    );
    let lrs = designed.unwrap().lrs;
    assert_eq!((lrs.len(), &lrs[..420]), (STEPS, &subject.lrs[..420]));
    assert!(lrs[STEPS - 1] < 0.1 * PEAK);
    assert!(truth(&lrs) < truth(&subject.lrs) - 0.02);
    let off = decision.predicted.unwrap() - truth(&lrs);
    assert!(off.abs() < 0.05, "{off}: {decision:?}");
    // Of its own design it would change nothing.
    subject.lrs = lrs;
    let (decision, designed) = redesign(&subject, &found, &fitted, 420);
    assert!(decision.kept && designed.is_none(), "{decision:?}");
}

#[test]
fn without_a_decay_nothing_is_designed() {
    let mut subject = subject(false);
    subject.lrs = wsd(STEPS, 0.0);
    if let Ok((found, fitted)) = fit(&subject, &seen(&subject.lrs, 400, 3), None) {
        let (decision, designed) = redesign(&subject, &found, &fitted, 420);
        assert!(decision.kept && designed.is_none() && decision.gain.is_none());
        assert!(
            decision.why.contains("decay") || decision.why.contains("fall"),
            "{}",
            decision.why
        );
    }
}
