//! Fitting coordinates: the logarithm of every parameter marked `log`, the others as they are.

use crate::law::{Law, Prior, Scales};

/// What the optimiser knows of a law's parameters.
#[derive(Clone, Debug)]
pub(crate) struct Coordinates {
    pub(crate) log: Vec<bool>,
    /// In fitting coordinates; a parameter whose bounds coincide is fixed.
    pub(crate) low: Vec<f64>,
    pub(crate) high: Vec<f64>,
    pub(crate) priors: Vec<Prior>,
}

impl Coordinates {
    pub(crate) fn new(law: &dyn Law, scales: &Scales, priors: Vec<Prior>) -> Coordinates {
        let log: Vec<bool> = law.parameters().iter().map(|p| p.log).collect();
        let bounds = law.bounds(scales);
        let mut coordinates = Coordinates {
            low: vec![f64::NEG_INFINITY; log.len()],
            high: vec![f64::INFINITY; log.len()],
            priors,
            log,
        };
        coordinates.low = coordinates.of(&bounds.iter().map(|b| b.low).collect::<Vec<_>>());
        coordinates.high = coordinates.of(&bounds.iter().map(|b| b.high).collect::<Vec<_>>());
        coordinates
    }

    pub(crate) fn len(&self) -> usize {
        self.log.len()
    }

    /// Fitting coordinates of parameters in their own units, within bounds.
    pub(crate) fn of(&self, parameters: &[f64]) -> Vec<f64> {
        let mut u: Vec<f64> = parameters
            .iter()
            .zip(&self.log)
            .map(|(&value, &log)| {
                if log {
                    value.max(f64::MIN_POSITIVE).ln()
                } else {
                    value
                }
            })
            .collect();
        self.clamp(&mut u);
        u
    }

    /// Parameters in their own units.
    pub(crate) fn parameters(&self, u: &[f64]) -> Vec<f64> {
        u.iter()
            .zip(&self.log)
            .map(|(&u, &log)| if log { u.exp() } else { u })
            .collect()
    }

    /// Standard deviation of the prior on parameter `j` alone, where there is one.
    pub(crate) fn prior_sd(&self, j: usize) -> Option<f64> {
        let own = |p: &&Prior| matches!(p.terms[..], [(place, _)] if place == j);
        let prior = self.priors.iter().find(own)?;
        Some(prior.sd / prior.terms[0].1.abs())
    }

    /// Whether any prior says something about parameter `j`.
    pub(crate) fn has_prior(&self, j: usize) -> bool {
        self.priors
            .iter()
            .any(|p| p.terms.iter().any(|(place, _)| *place == j))
    }

    /// What the priors know: the precision they add, row-major.
    pub(crate) fn prior_precision(&self) -> Vec<f64> {
        let p = self.len();
        let mut precision = vec![0.0; p * p];
        for prior in &self.priors {
            for (j, v) in &prior.terms {
                for (k, w) in &prior.terms {
                    precision[j * p + k] += v * w / (prior.sd * prior.sd);
                }
            }
        }
        precision
    }

    pub(crate) fn clamp(&self, u: &mut [f64]) {
        for (j, u) in u.iter_mut().enumerate() {
            *u = u.max(self.low[j]).min(self.high[j]);
        }
    }

    pub(crate) fn is_fixed(&self, j: usize) -> bool {
        self.low[j] >= self.high[j]
    }

    /// Whether `u[j]` lies on a bound, within rounding.
    pub(crate) fn at_bound(&self, u: &[f64], j: usize) -> bool {
        let near = |bound: f64| (u[j] - bound).abs() <= 1e-9 * (1.0 + bound.abs());
        !self.is_fixed(j) && (near(self.low[j]) || near(self.high[j]))
    }

    /// The same with one parameter held.
    pub(crate) fn holding(&self, j: usize, value: f64) -> Coordinates {
        let mut held = self.clone();
        held.low[j] = value;
        held.high[j] = value;
        held
    }
}
