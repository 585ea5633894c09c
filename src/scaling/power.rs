//! Power laws y = k·x^a, in which compute-optimal sizes are told: N_opt = k·C^a.

use serde::Serialize;

/// Its two constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PowerLaw {
    pub k: f64,
    pub a: f64,
}

/// Exponents among which least squares on the values themselves look.
const EXPONENTS: (f64, f64) = (-3.0, 3.0);
/// Exponents looked at before the best one's neighbourhood is narrowed.
const COARSE: usize = 60;

impl PowerLaw {
    pub fn at(&self, x: f64) -> f64 {
        self.k * x.powf(self.a)
    }

    /// Least squares of ln y over ln x: every budget counts alike. `None` where the x do not differ.
    pub fn in_logs(points: &[(f64, f64)]) -> Option<PowerLaw> {
        let n = points.len() as f64;
        let (mx, my) = points.iter().fold((0.0, 0.0), |(mx, my), (x, y)| {
            (mx + x.ln() / n, my + y.ln() / n)
        });
        let (mut xx, mut xy) = (0.0, 0.0);
        for (x, y) in points {
            xx += (x.ln() - mx).powi(2);
            xy += (x.ln() - mx) * (y.ln() - my);
        }
        // Points of one budget that differ by rounding alone have no slope.
        let a = (xx > 1e-12 * n).then_some(xy / xx)?;
        let law = PowerLaw {
            k: (my - a * mx).exp(),
            a,
        };
        law.is_finite().then_some(law)
    }

    /// Least squares of y itself over k·x^a, as a bare `curve_fit` does it: the largest budgets decide
    /// alone. For every a the best k is linear, so that one dimension is left to search.
    pub fn in_values(points: &[(f64, f64)]) -> Option<PowerLaw> {
        let start = PowerLaw::in_logs(points)?;
        // About the middle, so that no power overflows.
        let n = points.len() as f64;
        let middle = (points.iter().map(|p| p.0.ln()).sum::<f64>() / n).exp();
        let scale = points.iter().map(|p| p.1).fold(0.0, f64::max);
        let best = |a: f64| {
            let (mut yx, mut xx) = (0.0, 0.0);
            for (x, y) in points {
                let power = (x / middle).powf(a);
                yx += y / scale * power;
                xx += power * power;
            }
            let k = yx / xx;
            let left = |(x, y): &(f64, f64)| (y / scale - k * (x / middle).powf(a)).powi(2);
            (points.iter().map(left).sum::<f64>(), k)
        };
        let width = (EXPONENTS.1 - EXPONENTS.0) / COARSE as f64;
        let coarse = (0..=COARSE).map(|i| EXPONENTS.0 + width * i as f64);
        let around = coarse
            .chain([start.a])
            .min_by(|a, b| best(*a).0.total_cmp(&best(*b).0))?;
        let a = golden(around - width, around + width, |a| best(a).0);
        let law = PowerLaw {
            k: best(a).1 * scale / middle.powf(a),
            a,
        };
        law.is_finite().then_some(law)
    }

    fn is_finite(&self) -> bool {
        self.k.is_finite() && self.k > 0.0 && self.a.is_finite()
    }
}

/// Where `f`, with one minimum between `low` and `high`, is least (golden section).
pub(super) fn golden(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    const RATIO: f64 = 0.618_033_988_749_894_9;
    let mut left = high - RATIO * (high - low);
    let mut right = low + RATIO * (high - low);
    let (mut at_left, mut at_right) = (f(left), f(right));
    for _ in 0..64 {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - RATIO * (high - low);
            at_left = f(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + RATIO * (high - low);
            at_right = f(right);
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_ways_recover_an_exact_law(k in -5.0..5.0f64, a in -1.5..1.5f64, n in 2usize..9) {
            let law = PowerLaw { k: k.exp(), a };
            let points: Vec<(f64, f64)> =
                (0..n).map(|i| 1e18 * 3f64.powi(i as i32)).map(|x| (x, law.at(x))).collect();
            for found in [PowerLaw::in_logs(&points), PowerLaw::in_values(&points)] {
                let found = found.unwrap();
                prop_assert!((found.a - a).abs() < 1e-6, "{found:?}");
                prop_assert!((found.at(1e20) / law.at(1e20) - 1.0).abs() < 1e-6, "{found:?}");
            }
        }
    }

    #[test]
    fn one_budget_has_no_slope() {
        let points = [(1e19, 1e8), (1e19, 2e8)];
        assert_eq!(PowerLaw::in_logs(&points), None);
        assert_eq!(PowerLaw::in_values(&[]), None);
    }
}
