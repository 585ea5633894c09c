//! What is asked of a loss curve once it is read.

use super::{LossCurve, Point};

impl LossCurve {
    /// The highest LR of the whole run.
    pub fn peak_lr(&self) -> f64 {
        self.lrs.iter().copied().fold(0.0, f64::max)
    }

    /// The step of the first point; 0 without points.
    pub fn first_step(&self) -> u64 {
        self.points.first().map_or(0, |p| p.step)
    }

    /// The step of the last point; 0 without points.
    pub fn last_step(&self) -> u64 {
        self.points.last().map_or(0, |p| p.step)
    }

    /// Steps of the points, in order.
    pub fn steps(&self) -> Vec<u64> {
        self.points.iter().map(|p| p.step).collect()
    }

    /// Losses of the points, in order.
    pub fn losses(&self) -> Vec<f64> {
        self.points.iter().map(|p| p.loss).collect()
    }

    /// The points strictly after `step`; the LRs stay whole.
    pub fn after(&self, step: u64) -> LossCurve {
        self.with(
            self.points
                .iter()
                .copied()
                .filter(|p| p.step > step)
                .collect(),
        )
    }

    /// The points from `step` on, it included; the LRs stay whole.
    pub fn starting_at(&self, step: u64) -> LossCurve {
        self.with(
            self.points
                .iter()
                .copied()
                .filter(|p| p.step >= step)
                .collect(),
        )
    }

    /// One point for every `width` steps that hold any: the mean loss at the mean step, rounded.
    /// Bins begin at multiples of `width`, so that those of two runs of one batch order agree.
    pub fn binned(&self, width: u64) -> LossCurve {
        let width = width.max(1);
        let mean = |bin: &[Point]| {
            let n = bin.len() as f64;
            // From the first step, so that the sum stays exact.
            let steps: f64 = bin.iter().map(|p| (p.step - bin[0].step) as f64).sum();
            Point {
                step: bin[0].step + (steps / n).round() as u64,
                loss: bin.iter().map(|p| p.loss).sum::<f64>() / n,
            }
        };
        let bins = self
            .points
            .chunk_by(|a, b| a.step / width == b.step / width);
        self.with(bins.map(mean).collect())
    }

    /// The exponential moving average of the losses over the points, of this span: weight
    /// α = 2/(span+1) on the newest, started at the first loss. That is pandas'
    /// `ewm(span=span, adjust=False).mean()`; the literature on these curves uses a span of 201.
    pub fn ema(&self, span: u64) -> LossCurve {
        let losses = ema(&self.losses(), span);
        let points = self.points.iter().zip(losses);
        self.with(
            points
                .map(|(p, loss)| Point { step: p.step, loss })
                .collect(),
        )
    }

    fn with(&self, points: Vec<Point>) -> LossCurve {
        LossCurve {
            points,
            ..self.clone()
        }
    }
}

/// [`LossCurve::ema`] of bare values, for predictions at the same points.
pub fn ema(values: &[f64], span: u64) -> Vec<f64> {
    let alpha = 2.0 / (span as f64 + 1.0);
    let mut state = values.first().copied().unwrap_or(0.0);
    let step = |&value: &f64| {
        state += alpha * (value - state);
        state
    };
    values.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{LossKind, LrOrigin, WarmUp};
    use super::*;

    fn curve(points: &[(u64, f64)]) -> LossCurve {
        LossCurve {
            name: "c".into(),
            points: points
                .iter()
                .map(|&(step, loss)| Point { step, loss })
                .collect(),
            lrs: vec![0.1, 0.3, 0.2],
            lr_origin: LrOrigin::EveryStep,
            kind: LossKind::Unknown,
            warmup: WarmUp::Known(0),
            parameters: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn parts_of_a_curve() {
        let c = curve(&[(1, 4.0), (2, 3.0), (5, 2.0)]);
        assert_eq!((c.first_step(), c.last_step(), c.peak_lr()), (1, 5, 0.3));
        assert_eq!(c.after(2).steps(), [5]);
        assert_eq!(c.starting_at(2).steps(), [2, 5]);
        assert_eq!(c.after(9).last_step(), 0);
    }

    #[test]
    fn bins_hold_means() {
        let c = curve(&[(0, 4.0), (1, 2.0), (4, 1.0), (6, 3.0), (7, 5.0)]).binned(4);
        assert_eq!(c.steps(), [1, 6]);
        assert_eq!(c.losses(), [3.0, 3.0]);
    }

    #[test]
    fn ema_is_that_of_pandas() {
        // pd.Series([1., 2, 4, 3]).ewm(span=3, adjust=False).mean()
        assert_eq!(ema(&[1.0, 2.0, 4.0, 3.0], 3), [1.0, 1.5, 2.75, 2.875]);
        assert!(ema(&[], 3).is_empty());
    }
}
