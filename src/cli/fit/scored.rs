//! A law's fit, its predictions of all curves, and their scores.

use crate::curve::{LossCurve, LossKind};
use crate::error::Result;
use crate::fit::{self, Fit, Scores};
use crate::report::fitted::Drawn;
use serde_json::{Map, Value, json};

/// Below this ceiling of R² the noise of single batches hides what laws do.
const NOISY: f64 = 0.99;
/// Two logs whose noise is correlated more than this saw the same batches in the same order.
const SHARED: f64 = 0.5;

/// How well a fit predicts one curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// At every point of the curve.
    pub predicted: Vec<f64>,
    /// First step scored.
    pub from: u64,
    pub raw: Scores,
    /// Only of noisy curves.
    pub noisy: Option<Noisy>,
}

/// What is said beside the raw scores of a curve of single-batch losses.
#[derive(Clone, Debug, PartialEq)]
pub struct Noisy {
    /// The raw R² that a perfect law would reach.
    pub ceiling: f64,
    /// Against the exponential average of the losses.
    pub smoothed: Scores,
    /// With the residuals of a fitted run that shares the noise added; which of the fitted runs.
    pub paired: Option<(Scores, usize)>,
}

/// A fit with its predictions.
pub struct Judged {
    pub fit: Fit,
    pub train: Vec<Scored>,
    pub test: Vec<Scored>,
}

impl Judged {
    /// Scores `fit` on all curves, from its own first step on.
    pub fn new(fit: Fit, train: &[LossCurve], test: &[LossCurve]) -> Result<Judged> {
        let predict = |curves: &[LossCurve]| -> Vec<Vec<f64>> {
            curves.iter().map(|c| fit.predict_curve(c)).collect()
        };
        let (of_train, of_test) = (predict(train), predict(test));
        let fitted: Vec<(&LossCurve, &[f64])> =
            train.iter().zip(of_train.iter().map(|p| &p[..])).collect();
        let score = |curves: &[LossCurve], predictions: &[Vec<f64>]| -> Result<Vec<Scored>> {
            let pairs = curves.iter().zip(predictions);
            pairs
                .map(|(curve, predicted)| Scored::new(curve, predicted.clone(), fit.from, &fitted))
                .collect()
        };
        let (train, test) = (score(train, &of_train)?, score(test, &of_test)?);
        Ok(Judged { train, test, fit })
    }

    /// The mean over test curves, as the papers report it.
    pub fn test_mean(&self) -> Option<Scores> {
        let all: Vec<Scores> = self.test.iter().map(|s| s.raw).collect();
        Scores::mean(&all)
    }

    /// All curves with their predictions, for pictures; fitted ones first.
    pub fn drawn<'a>(&self, train: &'a [LossCurve], test: &'a [LossCurve]) -> Vec<Drawn<'a>> {
        let draw = |(curve, scored): (&'a LossCurve, &Scored), role: &str| Drawn {
            curve,
            predicted: scored.predicted.clone(),
            from: scored.from,
            remark: format!("{role}: MAE {}", nats(scored.shown().mae)),
        };
        let fitted = train.iter().zip(&self.train).map(|c| draw(c, "fitted"));
        let tested = test.iter().zip(&self.test).map(|c| draw(c, "test"));
        fitted.chain(tested).collect()
    }

    /// What `--json` says of one fit.
    pub fn json(&self, train: &[LossCurve], test: &[LossCurve]) -> Value {
        let fit = &self.fit;
        let list = |curves: &[LossCurve], scored: &[Scored]| -> Vec<Value> {
            let pairs = curves.iter().zip(scored);
            pairs.map(|(curve, s)| s.json(&curve.name, train)).collect()
        };
        json!({
            "law": fit.law.name(),
            "params": params_json(fit),
            "fit": fit_json(fit),
            "train": list(train, &self.train),
            "test": list(test, &self.test),
            "test_mean": self.test_mean().map(|s| scores_json(&s)),
            "notes": fit.notes,
            "seconds": fit.seconds,
        })
    }
}

impl Scored {
    /// `fitted` are the fitted curves with their predictions, to pair this one with.
    fn new(
        curve: &LossCurve,
        predicted: Vec<f64>,
        from: u64,
        fitted: &[(&LossCurve, &[f64])],
    ) -> Result<Scored> {
        let raw = fit::score(&predicted, curve, from)?;
        let ceiling = fit::noise_ceiling(curve, from);
        let noisy = match ceiling {
            Some(ceiling) if ceiling < NOISY || curve.kind == LossKind::TrainBatch => Some(Noisy {
                ceiling,
                smoothed: fit::score_smoothed(&predicted, curve, from)?,
                paired: paired(curve, &predicted, from, fitted)?,
            }),
            _ => None,
        };
        Ok(Scored {
            predicted,
            from,
            raw,
            noisy,
        })
    }

    /// The scores to look at: the smoothed ones of a noisy curve.
    pub fn shown(&self) -> &Scores {
        self.noisy.as_ref().map_or(&self.raw, |n| &n.smoothed)
    }

    fn json(&self, curve: &str, train: &[LossCurve]) -> Value {
        let mut value = json!({ "curve": curve });
        merge(&mut value, scores_json(&self.raw));
        if let Some(noisy) = &self.noisy {
            value["r2_ceiling"] = json!(noisy.ceiling);
            value["ema"] = scores_json(&noisy.smoothed);
            value["ema"]["span"] = json!(fit::EMA_SPAN);
            if let Some((scores, with)) = &noisy.paired {
                value["paired"] = scores_json(scores);
                value["paired"]["with"] = json!(train[*with].name);
            }
        }
        value
    }
}

/// Scores paired with the fitted run whose noise is most like this curve's, if any shares it.
fn paired(
    curve: &LossCurve,
    predicted: &[f64],
    from: u64,
    fitted: &[(&LossCurve, &[f64])],
) -> Result<Option<(Scores, usize)>> {
    let twin = fitted
        .iter()
        .enumerate()
        .filter(|(_, (other, _))| *other != curve)
        .map(|(i, (other, _))| (shared_noise(curve, other, from), i))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match twin {
        Some((correlation, i)) if correlation > SHARED => {
            let (twin, of_twin) = fitted[i];
            let scores = fit::score_paired(predicted, curve, twin, of_twin, from)?;
            Ok(Some((scores, i)))
        }
        _ => Ok(None),
    }
}

/// Correlation of the noise of two logs at the steps that both hold: of their second differences,
/// in which nothing slow is left. 0 where they share fewer than 12 steps.
fn shared_noise(a: &LossCurve, b: &LossCurve, from: u64) -> f64 {
    let mut both: Vec<(f64, f64)> = Vec::new();
    let mut others = b.points.iter().peekable();
    for point in a.points.iter().filter(|p| p.step >= from) {
        while others.next_if(|p| p.step < point.step).is_some() {}
        if let Some(other) = others.next_if(|p| p.step == point.step) {
            both.push((point.loss, other.loss));
        }
    }
    if both.len() < 12 {
        return 0.0;
    }
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for w in both.windows(3) {
        let x = w[0].0 - 2.0 * w[1].0 + w[2].0;
        let y = w[0].1 - 2.0 * w[1].1 + w[2].1;
        (xx, yy, xy) = (xx + x * x, yy + y * y, xy + x * y);
    }
    match xx > 0.0 && yy > 0.0 {
        true => xy / (xx * yy).sqrt(),
        false => 0.0,
    }
}

/// Each parameter by its name.
pub fn params_json(fit: &Fit) -> Value {
    let parameters = fit.law.parameters().iter().zip(&fit.params);
    let params: Map<String, Value> = parameters
        .map(|(parameter, found)| {
            let value = json!({
                "value": found.value,
                "low": found.low,
                "high": found.high,
                "unit": found.unit,
                "at_bound": found.at_bound,
            });
            (parameter.name.to_string(), value)
        })
        .collect();
    Value::Object(params)
}

/// How the fit went.
pub fn fit_json(fit: &Fit) -> Value {
    json!({
        "objective": fit.objective,
        "starts": fit.starts,
        "agree": fit.agree,
        "condition": fit.condition,
        "from": fit.from,
        "residual": fit.options.residual.name(),
        "delta": fit.options.delta,
        "seed": fit.options.seed,
    })
}

/// `r2 mae rmse pred_e worst_e final_error` and `n`.
pub fn scores_json(s: &Scores) -> Value {
    json!({
        "n": s.n,
        "r2": s.r2,
        "mae": s.mae,
        "rmse": s.rmse,
        "pred_e": s.pred_e,
        "worst_e": s.worst_e,
        "final_error": s.final_error,
    })
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// `0.0031`
pub fn nats(x: f64) -> String {
    format!("{x:.4}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{LrOrigin, Point, WarmUp};

    fn noisy(phase: u64) -> LossCurve {
        // A hash of step and phase, between −½ and ½.
        let noise = |step: u64| {
            let mixed = (step ^ phase << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (mixed >> 40) as f64 / (1u64 << 24) as f64 - 0.5
        };
        LossCurve {
            name: format!("run{phase}"),
            points: (1..=500)
                .map(|step| Point {
                    step,
                    loss: 3.0 + 0.1 * noise(step),
                })
                .collect(),
            lrs: vec![1e-3; 500],
            lr_origin: LrOrigin::EveryStep,
            kind: LossKind::TrainBatch,
            warmup: WarmUp::Known(0),
            parameters: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn shared_batches_show_in_the_noise() {
        let (a, mut b) = (noisy(0), noisy(0));
        b.points.remove(100);
        b.points.iter_mut().for_each(|p| p.loss += 0.3);
        assert!(shared_noise(&a, &b, 1) > 0.99);
        assert!(shared_noise(&a, &noisy(3), 1).abs() < 0.3);
        assert_eq!(shared_noise(&a, &b, 495), 0.0);
    }
}
