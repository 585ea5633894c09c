//! How well predictions meet a curve: the metrics of the multi-power-law paper, and two that see through
//! the noise of single batches.

use crate::curve::{LossCurve, ema};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Span of the exponential average in [`score_smoothed`], in points.
pub const EMA_SPAN: u64 = 201;

/// Agreement of predicted with measured losses, over `n` points; `e_i = L̂_i − L_i`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    pub n: usize,
    /// `1 − Σe²/Σ(L − mean L)²`.
    pub r2: f64,
    /// Mean `|e|`, nats.
    pub mae: f64,
    /// `√(mean e²)`, nats.
    pub rmse: f64,
    /// Mean `|e|/L`.
    pub pred_e: f64,
    /// Largest `|e|/L`.
    pub worst_e: f64,
    /// `e` at the last point, nats: positive where the prediction was too high.
    pub final_error: f64,
}

impl Scores {
    /// Scores of `predicted` against `measured`, point by point; `None` where there is no point.
    pub fn of(predicted: &[f64], measured: &[f64]) -> Option<Scores> {
        let n = measured.len();
        let last = n.checked_sub(1)?;
        let count = n as f64;
        let mean = measured.iter().sum::<f64>() / count;
        let spread: f64 = measured.iter().map(|l| (l - mean).powi(2)).sum();
        let errors = || predicted.iter().zip(measured).map(|(p, l)| p - l);
        let squares: f64 = errors().map(|e| e * e).sum();
        let relative = || errors().zip(measured).map(|(e, l)| e.abs() / l);
        Some(Scores {
            n,
            r2: 1.0 - squares / spread,
            mae: errors().map(f64::abs).sum::<f64>() / count,
            rmse: (squares / count).sqrt(),
            pred_e: relative().sum::<f64>() / count,
            worst_e: relative().fold(0.0, f64::max),
            final_error: predicted[last] - measured[last],
        })
    }

    /// The unweighted mean over curves, as the papers report; points are added up. Of the final errors, the mean
    /// size. `None` where there is no curve.
    pub fn mean(all: &[Scores]) -> Option<Scores> {
        if all.is_empty() {
            return None;
        }
        let mean = |of: fn(&Scores) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
        Some(Scores {
            n: all.iter().map(|s| s.n).sum(),
            r2: mean(|s| s.r2),
            mae: mean(|s| s.mae),
            rmse: mean(|s| s.rmse),
            pred_e: mean(|s| s.pred_e),
            worst_e: mean(|s| s.worst_e),
            final_error: mean(|s| s.final_error.abs()),
        })
    }
}

/// Scores of `predicted` (one a point of `curve`) over the points from step `from` on.
///
/// # Errors
/// Where there is no such point.
pub fn score(predicted: &[f64], curve: &LossCurve, from: u64) -> Result<Scores> {
    score_from(predicted, &curve.losses(), curve, from)
}

/// As [`score`], of the exponential averages of span [`EMA_SPAN`] of both the measured and the predicted losses
/// ([`LossCurve::ema`]): the average lags by half its span, and a law must not pay for that. Both start at the
/// first point from step `from/2` on, so that neither the first collapse nor what a law makes of it is in them. For
/// losses of single batches.
///
/// # Errors
/// Where there is no point from step `from` on.
pub fn score_smoothed(predicted: &[f64], curve: &LossCurve, from: u64) -> Result<Scores> {
    assert_eq!(
        predicted.len(),
        curve.points.len(),
        "one prediction a point"
    );
    let late = curve.starting_at(from / 2);
    let first = curve.points.len() - late.points.len();
    let measured = late.ema(EMA_SPAN).losses();
    score_from(&ema(&predicted[first..], EMA_SPAN), &measured, &late, from)
}

/// As [`score`], with the residual of a fitted run at the same step added to the prediction, for runs
/// that saw the same batches in the same order: their noise cancels. `fitted` is predicted as
/// `fitted_predictions`. Steps that only one of the two logged are left out.
///
/// # Errors
/// Where the two share no step from `from` on.
pub fn score_paired(
    predicted: &[f64],
    curve: &LossCurve,
    fitted: &LossCurve,
    fitted_predictions: &[f64],
    from: u64,
) -> Result<Scores> {
    let (mut paired, mut measured) = (Vec::new(), Vec::new());
    let mut other = fitted.points.iter().zip(fitted_predictions).peekable();
    for (point, predicted) in curve.points.iter().zip(predicted) {
        while other.next_if(|(p, _)| p.step < point.step).is_some() {}
        if point.step >= from
            && let Some((twin, twin_predicted)) = other.next_if(|(p, _)| p.step == point.step)
        {
            paired.push(predicted + twin.loss - twin_predicted);
            measured.push(point.loss);
        }
    }
    Scores::of(&paired, &measured).ok_or_else(|| {
        Error::input(format!(
            "{} and {} have no logged step in common from step {from} on, so they cannot be paired",
            curve.name, fitted.name
        ))
    })
}

/// The R² that a perfect law would reach on the raw losses from step `from` on: `1 − σ²/Var L`, with the noise
/// variance σ² from second differences (`L_{i−1} − 2L_i + L_{i+1}` has variance `6σ²` where the noise is white).
/// `None` for fewer than 3 points or a constant loss.
pub fn noise_ceiling(curve: &LossCurve, from: u64) -> Option<f64> {
    let losses: Vec<f64> = curve
        .points
        .iter()
        .filter(|p| p.step >= from)
        .map(|p| p.loss)
        .collect();
    if losses.len() < 3 {
        return None;
    }
    let n = losses.len() as f64;
    let mean = losses.iter().sum::<f64>() / n;
    let variance = losses.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / n;
    let noise = losses
        .windows(3)
        .map(|w| (w[0] - 2.0 * w[1] + w[2]).powi(2) / 6.0)
        .sum::<f64>()
        / (n - 2.0);
    (variance > 0.0).then(|| 1.0 - noise / variance)
}

fn score_from(predicted: &[f64], losses: &[f64], curve: &LossCurve, from: u64) -> Result<Scores> {
    assert_eq!(
        predicted.len(),
        curve.points.len(),
        "one prediction a point"
    );
    let first = curve.points.partition_point(|p| p.step < from);
    Scores::of(&predicted[first..], &losses[first..]).ok_or_else(|| {
        Error::input(format!(
            "{} has no point from step {from} on to score: score from an earlier step",
            curve.name
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{LossKind, LrOrigin, Point, WarmUp};

    fn curve(points: &[(u64, f64)]) -> LossCurve {
        LossCurve {
            name: "c".into(),
            points: points
                .iter()
                .map(|&(step, loss)| Point { step, loss })
                .collect(),
            lrs: vec![1.0; 100],
            lr_origin: LrOrigin::EveryStep,
            kind: LossKind::Unknown,
            warmup: WarmUp::Known(0),
            parameters: None,
            notes: vec![],
        }
    }

    #[test]
    fn metrics_by_hand() {
        let c = curve(&[(1, 9.0), (2, 4.0), (4, 2.0), (6, 3.0)]);
        let s = score(&[0.0, 4.5, 2.0, 2.0], &c, 2).unwrap();
        assert_eq!(s.n, 3);
        assert!((s.mae - 0.5).abs() < 1e-15);
        assert!((s.rmse - (1.25f64 / 3.0).sqrt()).abs() < 1e-15);
        assert!((s.r2 - (1.0 - 1.25 / 2.0)).abs() < 1e-15);
        assert!((s.pred_e - (0.125 + 1.0 / 3.0) / 3.0).abs() < 1e-15);
        assert!((s.worst_e - 1.0 / 3.0).abs() < 1e-15);
        assert_eq!(s.final_error, -1.0);
        let message = score(&[0.0; 4], &c, 7).unwrap_err().to_string();
        assert!(message.contains("c has no point from step 7"), "{message}");
    }

    #[test]
    fn the_average_lags_on_both_sides() {
        let points: Vec<(u64, f64)> = (0..1000).map(|i| (i, 9.0 / (1.0 + i as f64))).collect();
        let c = curve(&points);
        let mut predicted = c.losses();
        // What a law says of the first steps is not scored, and must not leak in by the average.
        predicted[3] = 1e9;
        let s = score_smoothed(&predicted, &c, 200).unwrap();
        assert_eq!((s.n, s.r2, s.mae), (800, 1.0, 0.0));
        predicted.iter_mut().for_each(|p| *p += 0.1);
        let s = score_smoothed(&predicted, &c, 200).unwrap();
        assert!((s.mae - 0.1).abs() < 1e-12, "{s:?}");
    }

    #[test]
    fn pairing_cancels_shared_noise() {
        let a = curve(&[(1, 4.1), (2, 3.6), (3, 3.2), (5, 2.9)]);
        let b = curve(&[(2, 3.5), (3, 3.1), (4, 3.0), (5, 2.8)]);
        // Both runs lie .1 above their predictions at step 2, .2 at 3, .3 at 5.
        let of_a = [4.0, 3.5, 3.0, 2.6];
        let of_b = [3.4, 2.9, 9.0, 2.5];
        let s = score_paired(&of_b, &b, &a, &of_a, 0).unwrap();
        assert_eq!(s.n, 3);
        assert!(s.worst_e < 1e-15, "{s:?}");
        assert!(score_paired(&of_b, &b, &a, &of_a, 6).is_err());
    }

    #[test]
    fn noise_ceiling_from_second_differences() {
        let points: Vec<(u64, f64)> = (0..2000)
            .map(|i| {
                (
                    i,
                    3.0 - 1e-3 * i as f64 + if i % 2 == 0 { 0.1 } else { -0.1 },
                )
            })
            .collect();
        // Alternating noise of .1 has second differences of .4: read as white, a variance of .16/6.
        let variance = 4e6 / 12.0 * 1e-6 + 0.01;
        let ceiling = noise_ceiling(&curve(&points), 0).unwrap();
        assert!(
            (ceiling - (1.0 - 0.16 / 6.0 / variance)).abs() < 2e-3,
            "{ceiling}"
        );
        assert_eq!(
            noise_ceiling(&curve(&[(1, 2.0), (2, 2.0), (3, 2.0)]), 0),
            None
        );
    }
}
