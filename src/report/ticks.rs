//! Where an axis is marked, and how its numbers look.

use super::chart::Scale;
use crate::schedule::count;

/// How an axis writes its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Whole: `12,000`; marks between whole numbers are left out.
    Count,
    /// As many decimals as the distance of the marks needs: `3.25`.
    Plain,
    /// `2.5e-4`
    Power,
}

/// About `most` round values from `low` to `high`, both included where they are round.
pub fn ticks(scale: Scale, numbers: Numbers, low: f64, high: f64, most: usize) -> Vec<f64> {
    let all = match scale {
        Scale::Linear => linear(low, high, most),
        // One mark tells no scale; and less than an octave may lie between the round values.
        Scale::Log => (most..most + 4)
            .map(|most| log(low, high, most))
            .find(|marks| marks.len() > 1)
            .unwrap_or_else(|| linear(low, high, most)),
    };
    match numbers {
        Numbers::Count => all.into_iter().filter(|t| t.fract() == 0.0).collect(),
        _ => all,
    }
}

/// What is written beside each of `ticks`.
pub fn labels(numbers: Numbers, scale: Scale, ticks: &[f64]) -> Vec<String> {
    let spacing = ticks
        .windows(2)
        .map(|w| w[1] - w[0])
        .fold(f64::INFINITY, f64::min);
    ticks
        .iter()
        .map(|&tick| match numbers {
            Numbers::Count if tick >= 0.0 => count(tick as u64),
            Numbers::Count => format!("{tick:.0}"),
            Numbers::Power => power(tick),
            Numbers::Plain if scale == Scale::Log || !spacing.is_finite() => plain(tick),
            Numbers::Plain => minus(&format!("{tick:.*}", decimals(spacing))),
        })
        .collect()
}

fn linear(low: f64, high: f64, most: usize) -> Vec<f64> {
    let every = spacing(high - low, most);
    let first = (low / every - 1e-9).ceil();
    let last = (high / every + 1e-9).floor();
    let whole = (last - first).max(0.0) as usize;
    // Multiples, not sums, so that 0 is 0.
    (0..=whole).map(|i| (first + i as f64) * every).collect()
}

/// Powers of ten, with 2 and 5 times them where there is room.
fn log(low: f64, high: f64, most: usize) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let decades = (high / low).log10();
    let inside = |v: &f64| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(v);
    for steps in [&[1.0, 2.0, 5.0][..], &[1.0, 3.0]] {
        if decades * steps.len() as f64 <= most as f64 {
            return (first..=last)
                .flat_map(|p| steps.iter().map(move |m| m * 10f64.powi(p)))
                .filter(inside)
                .collect();
        }
    }
    let skip = (decades / most as f64).ceil().max(1.0) as usize;
    (first..=last)
        .filter(|p| p.rem_euclid(skip as i32) == 0)
        .map(|p| 10f64.powi(p))
        .filter(inside)
        .collect()
}

/// 1, 2, 2.5 or 5 times a power of ten: the distance of at most about `n` ticks over `width`.
fn spacing(width: f64, n: usize) -> f64 {
    let raw = width / n.max(1) as f64;
    let power = 10f64.powi(raw.log10().floor() as i32);
    let nice = [1.0, 2.0, 2.5, 5.0, 10.0];
    let chosen = nice.into_iter().find(|m| m * power >= raw * (1.0 - 1e-9));
    chosen.unwrap_or(10.0) * power
}

/// The first of about `n` ticks from 0 that is at or above `value`.
pub fn nice_ceiling(value: f64, n: usize) -> f64 {
    let every = spacing(value, n);
    (value / every * (1.0 - 1e-9)).ceil() * every
}

/// Decimals that tell multiples of `spacing` apart.
fn decimals(spacing: f64) -> usize {
    (0..12)
        .find(|&d| {
            let scaled = spacing * 10f64.powi(d);
            (scaled - scaled.round()).abs() < 1e-6 * scaled
        })
        .unwrap_or(12) as usize
}

/// `2.5e-4`, without the digits that only rounding put there.
pub fn power(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let text = format!("{value:.3e}");
    let (digits, power) = text.split_once('e').expect("scientific notation has an e");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits}e{power}")
}

fn plain(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e5).contains(&value.abs()) {
        return power(value);
    }
    let text = format!("{value:.6}");
    minus(text.trim_end_matches('0').trim_end_matches('.'))
}

/// A true minus sign, and none before a zero.
fn minus(text: &str) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.to_string(),
        Some(rest) => format!("−{rest}"),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(ticks: Vec<f64>) -> Vec<f64> {
        ticks.iter().map(|t| (t * 1e9).round() / 1e9).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_reach_the_ends() {
        assert_eq!(linear(0.0, 10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(linear(0.0, 1799.0, 6), [0.0, 500.0, 1000.0, 1500.0]);
        let around = linear(-0.0123, 0.0098, 5);
        assert_eq!(round(around), [-0.01, -0.005, 0.0, 0.005]);
        assert_eq!(power(nice_ceiling(2.9e-3, 5)), "3e-3");
        assert_eq!(power(nice_ceiling(3e-3, 5)), "3e-3");
    }

    #[test]
    fn log_ticks_thin_out_with_the_decades() {
        let few = log(0.9, 60.0, 6);
        assert_eq!(round(few), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(
            round(log(1.0, 1000.0, 6)),
            [1., 3., 10., 30., 100., 300., 1000.]
        );
        assert_eq!(log(1.0, 1e5, 6).len(), 6);
        assert!(log(1e-12, 1e12, 6).len() <= 7);
        let decades = ticks(Scale::Log, Numbers::Power, 4e-6, 5.6e-3, 3);
        assert_eq!(round(decades), [1e-5, 1e-4, 1e-3]);
        let octave = ticks(Scale::Log, Numbers::Plain, 3.9, 4.7, 5);
        assert_eq!(round(octave), [4.0, 4.2, 4.4, 4.6]);
    }

    #[test]
    fn labels_share_their_decimals() {
        let of = |ticks: &[f64]| labels(Numbers::Plain, Scale::Linear, ticks);
        assert_eq!(of(&[3.0, 3.25, 3.5]), ["3.00", "3.25", "3.50"]);
        assert_eq!(of(&[-2.0, -0.0, 2.0]), ["−2", "0", "2"]);
        assert_eq!(of(&[-0.01, -0.0, 0.01]), ["−0.01", "0.00", "0.01"]);
        let powers = labels(Numbers::Power, Scale::Linear, &[0.0, 2.5e-4]);
        assert_eq!(powers, ["0", "2.5e-4"]);
        let counts = ticks(Scale::Linear, Numbers::Count, 0.0, 3.0, 6);
        assert_eq!(counts, [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(labels(Numbers::Count, Scale::Linear, &[12e3]), ["12,000"]);
        assert_eq!(
            labels(Numbers::Plain, Scale::Log, &[0.5, 20.0]),
            ["0.5", "20"]
        );
    }
}
