use super::*;
use proptest::prelude::*;

fn schedule(shape: usize, steps: usize, warmup: usize, peak: f64) -> Vec<f64> {
    (0..steps)
        .map(|s| {
            if s < warmup {
                return peak * (s + 1) as f64 / warmup as f64;
            }
            let x = (s - warmup) as f64 / (steps - warmup) as f64;
            peak * match shape {
                0 => 1.0,
                1 => 0.1 + 0.45 * (1.0 + (std::f64::consts::PI * x).cos()),
                2 => (1.0 - (x - 0.8).max(0.0) / 0.2).max(0.0),
                3 => [1.0, 10f64.powf(-0.5), 0.1][(x > 0.8) as usize + (x > 0.9) as usize],
                _ => 0.55 + 0.45 * (40.0 * x).cos(),
            }
        })
        .collect()
}

fn worst(found: &[f64], expected: &[f64], scale: f64) -> f64 {
    found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs() / scale)
        .fold(0.0, f64::max)
}

fn drops(path: &Path, first: usize) -> Vec<f64> {
    path.nodes[first..].iter().map(Node::drop).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Over six decades on either side of 1/S, every β and γ that a fit may visit: values and
    /// derivatives agree with the double sum, relative to the largest.
    #[test]
    fn stream_equals_double_sum(
        shape in 1usize..5,
        beta in 0.05f64..1.5,
        gamma in 0.0f64..1.2,
        speed in -6f64..6.0,
        peak in prop::sample::select(vec![1e-5, 3e-4, 1.0]),
        warmup in 0usize..40,
        rise in any::<bool>(),
    ) {
        let lrs = schedule(shape, 400, warmup, peak);
        let path = Path::exact(&lrs, warmup as u64, &(1..=20).map(|i| i * 20).collect::<Vec<_>>());
        let first = if rise { 0 } else { path.warmup_nodes };
        let kernel = Power {
            clock: Clock::S1,
            ln_c: speed * 10f64.ln() - path.s1.last().unwrap().ln() + gamma * peak.ln(),
            beta,
            gamma,
        };
        let weights = drops(&path, first);
        let second: Vec<f64> = weights.iter().zip(&path.nodes[first..]).map(|(w, n)| w * (1.0 + n.s1 / path.s1[0]).powf(-0.5)).collect();
        let sets = [weights.as_slice(), &second];
        let exact = power_direct(&path, first, kernel, &sets, Wanted::ALL);
        let found = power_stream(&path, first, kernel, &sets, Wanted::ALL);
        let largest = |values: &[f64]| values.iter().fold(f64::MIN_POSITIVE, |high, v| high.max(v.abs()));
        for (a, b) in found.values.iter().zip(&exact.values) {
            // Monotone schedules: relative to the response itself.
            prop_assert!(worst(a, b, largest(b)) < 1e-7, "value off by {:e}", worst(a, b, largest(b)));
        }
        // A derivative that has all but vanished (everything has responded) is judged against the response.
        let response = largest(&exact.values[0]);
        for (what, a, b) in [
            ("ln C", &found.d_ln_c, &exact.d_ln_c),
            ("β", &found.d_beta, &exact.d_beta),
            ("γ", &found.d_gamma, &exact.d_gamma),
        ] {
            let error = worst(a, b, largest(b).max(0.1 * response));
            prop_assert!(error < 5e-7, "∂{what} off by {error:e}");
        }
    }
}

#[test]
fn exponential_equals_its_double_sum() {
    for shape in 1..5 {
        let lrs = schedule(shape, 300, 30, 2e-3);
        let path = Path::exact(&lrs, 30, &[10, 50, 51, 200, 300]);
        for (clock, rate) in [
            (Clock::Steps, 0.01),
            (Clock::S1, 40.0),
            (Clock::Steps, 1e-6),
        ] {
            for first in [0, path.warmup_nodes] {
                exponential(&path, first, clock, rate, |point, value, slope| {
                    let (mut expected, mut by_rate) = (0.0, 0.0);
                    for node in &path.nodes[first..path.seen[point].max(first)] {
                        let delay = clock.of_points(&path)[point] - clock.of(node);
                        expected -= node.drop() * (-rate * delay).exp_m1();
                        by_rate += node.drop() * delay * (-rate * delay).exp();
                    }
                    assert!((value - expected).abs() <= 1e-12 * expected.abs().max(1e-9));
                    assert!((slope - by_rate).abs() <= 1e-10 * by_rate.abs().max(1e-9));
                });
            }
        }
    }
}
