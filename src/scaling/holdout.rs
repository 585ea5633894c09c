//! What the parametric law is worth beyond its points: fitted below a compute cut, asked above it.

use crate::error::{Error, Result};
use crate::scaling::law::ScalingLaw;
use crate::scaling::parametric::{self, FEWEST_POINTS, FitOptions};
use crate::scaling::point::Point;
use serde::Serialize;

/// Share of the range of ln C that is held out where no cut is given.
const HELD_OUT: f64 = 1.0 / 3.0;

/// One point that the fit did not see.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HeldOutPoint {
    pub params: f64,
    pub tokens: f64,
    pub flops: f64,
    pub loss: f64,
    pub predicted: f64,
}

/// Errors of extrapolation, predicted minus measured, in nats a token and in percent of the measured loss.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldOut {
    /// Fitted to the points below the cut.
    pub law: ScalingLaw,
    /// FLOPs; points of more are held out.
    pub cut: f64,
    pub fitted: usize,
    pub held_out: usize,
    /// Mean and largest absolute error.
    pub mean: f64,
    pub worst: f64,
    pub mean_percent: f64,
    pub worst_percent: f64,
    /// Mean signed error: positive where the law is too pessimistic.
    pub bias: f64,
    /// By FLOPs.
    pub points: Vec<HeldOutPoint>,
}

/// Fits the points of at most `cut` FLOPs and predicts the others. Without a cut, the top third of the range of ln C
/// is held out, or less where that would leave fewer than six points.
///
/// # Errors
/// No points on one side of the cut, or a fit that cannot be had of those below it.
pub fn holdout(points: &[Point], cut: Option<f64>, options: &FitOptions) -> Result<HeldOut> {
    let mut sorted: Vec<&Point> = points.iter().collect();
    sorted.sort_by(|a, b| a.flops.total_cmp(&b.flops));
    if sorted.len() <= FEWEST_POINTS {
        return Err(Error::input(format!(
            "{} points are too few to hold some out: a fit needs {FEWEST_POINTS} and something must be left to predict",
            sorted.len()
        )));
    }
    let (least, most) = (sorted[0].flops, sorted[sorted.len() - 1].flops);
    let third = (most.ln() - HELD_OUT * (most / least).ln()).exp();
    let cut = cut.unwrap_or_else(|| third.max(sorted[FEWEST_POINTS - 1].flops));
    let (below, above): (Vec<&Point>, Vec<&Point>) = sorted.iter().partition(|p| p.flops <= cut);
    if above.is_empty() {
        return Err(Error::input(format!(
            "no point has more than {cut:.3e} FLOPs, so none is left to predict; the largest has {most:.3e}"
        )));
    }
    let below: Vec<Point> = below.into_iter().cloned().collect();
    let law = parametric::fit(&below, options)
        .map_err(|e| Error::input(format!("below {cut:.3e} FLOPs: {e}")))?
        .law;
    let points: Vec<HeldOutPoint> = above
        .iter()
        .map(|p| HeldOutPoint {
            params: p.params,
            tokens: p.tokens,
            flops: p.flops,
            loss: p.loss,
            predicted: law.loss(p.params, p.tokens),
        })
        .collect();
    let n = points.len() as f64;
    let mean = |of: &dyn Fn(&HeldOutPoint) -> f64| points.iter().map(of).sum::<f64>() / n;
    let worst = |of: &dyn Fn(&HeldOutPoint) -> f64| points.iter().map(of).fold(0.0, f64::max);
    let error = |p: &HeldOutPoint| (p.predicted - p.loss).abs();
    let percent = |p: &HeldOutPoint| 100.0 * error(p) / p.loss;
    Ok(HeldOut {
        law,
        cut,
        fitted: below.len(),
        held_out: points.len(),
        mean: mean(&error),
        worst: worst(&error),
        mean_percent: mean(&percent),
        worst_percent: worst(&percent),
        bias: mean(&|p| p.predicted - p.loss),
        points,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::parametric::tests::{TRUTH, grid};

    #[test]
    fn exact_points_extrapolate_exactly() {
        let points = grid(0.0);
        let held = holdout(&points, None, &FitOptions::default()).unwrap();
        assert!(held.held_out >= 2 && held.fitted >= FEWEST_POINTS);
        assert_eq!(held.fitted + held.held_out, points.len());
        assert!(held.worst < 1e-6, "{held:?}");
        assert!(held.points.iter().all(|p| p.flops > held.cut));
        assert!((held.law.e - TRUTH.e).abs() < 1e-5);
    }

    #[test]
    fn bias_has_the_sign_of_pessimism() {
        // Large runs that end 0.1 below what the small ones promise.
        let mut points = grid(0.0);
        let cut = 1e20;
        for p in points.iter_mut().filter(|p| p.flops > cut) {
            p.loss -= 0.1;
        }
        let held = holdout(&points, Some(cut), &FitOptions::default()).unwrap();
        assert!((held.bias - 0.1).abs() < 1e-5 && (held.mean - 0.1).abs() < 1e-5);
        assert!((held.worst_percent / held.mean_percent - 1.0) < 0.2);
    }

    #[test]
    fn a_cut_must_leave_points_on_both_sides() {
        let points = grid(0.0);
        let message = |cut| {
            let held = holdout(&points, Some(cut), &FitOptions::default());
            held.unwrap_err().to_string()
        };
        assert!(message(1e30).contains("none is left to predict"));
        assert!(message(1e3).contains("below 1.000e3 FLOPs: 0 points cannot"));
        assert!(holdout(&points[..6], None, &FitOptions::default()).is_err());
    }
}
