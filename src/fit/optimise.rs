//! Bounded Levenberg–Marquardt for sums of Huber's function, from many starts.
//!
//! Sources: Marquardt's scaling by the diagonal; the damping rule of H. B. Nielsen, *Damping parameter in
//! Marquardt's method* (1999); bounds by the projected active set of Kanzow, Yamashita and Fukushima
//! (2004). With analytic Jacobians a few dozen evaluations suffice where quasi-Newton methods need thousands.

use super::linalg::Cholesky;
use super::objective::{Local, Objective};

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) iterations: usize,
    /// Stop when the Newton step would lower the objective by no more than this share of it.
    pub(crate) tolerance: f64,
}

/// Where the optimiser stopped.
#[derive(Clone, Debug)]
pub(crate) struct Minimum {
    pub(crate) u: Vec<f64>,
    pub(crate) value: f64,
    pub(crate) converged: bool,
    pub(crate) iterations: usize,
}

/// No step multiplies a logarithmic parameter by more than `e` to this power.
const LONGEST_LOG_STEP: f64 = 3.0;
/// Objectives below this count as an exact fit (residuals of 10⁻⁶ δ): only tests get there.
const EXACT: f64 = 1e-12;

/// A local minimum of `objective` reached from `start`.
pub(crate) fn minimise(objective: &Objective, start: &[f64], limits: Limits) -> Minimum {
    let coordinates = objective.coordinates;
    let p = coordinates.len();
    let mut u = start.to_vec();
    coordinates.clamp(&mut u);
    let (mut here, mut there) = (Local::default(), Local::default());
    let mut value = objective.linearise(&u, &mut here);
    let (mut damping, mut growth) = (1e-3, 2.0);
    // The largest curvature seen in each coordinate: a flat stretch does not send a parameter far away.
    let mut scale = vec![0.0f64; p];
    let mut trial = vec![0.0; p];
    let stop = |u, value, converged, iterations| Minimum {
        u,
        value,
        converged,
        iterations,
    };
    if !value.is_finite() {
        return stop(u, value, false, 0);
    }
    let mut fresh = true;
    let mut free: Vec<usize> = Vec::with_capacity(p);
    for iteration in 0..limits.iterations {
        if fresh {
            free.clear();
            free.extend((0..p).filter(|&j| {
                let pushes = here.gradient[j];
                !(coordinates.is_fixed(j)
                    || (u[j] <= coordinates.low[j] && pushes > 0.0)
                    || (u[j] >= coordinates.high[j] && pushes < 0.0))
            }));
            for (j, scale) in scale.iter_mut().enumerate() {
                // Forgotten slowly, so that one steep place does not hold a parameter for good.
                *scale = here.curvature[j * p + j].max(0.3 * *scale);
            }
            let newton = step(&here, &scale, &free, 1e-11, p);
            let decrement = -0.5
                * newton
                    .iter()
                    .zip(&here.gradient)
                    .map(|(s, g)| s * g)
                    .sum::<f64>();
            if decrement <= limits.tolerance * value || value <= EXACT {
                return stop(u, value, true, iteration);
            }
        }
        let mut moved = step(&here, &scale, &free, damping, p);
        let longest = (0..p)
            .filter(|&j| coordinates.log[j])
            .map(|j| moved[j].abs())
            .fold(0.0, f64::max);
        if longest > LONGEST_LOG_STEP {
            moved
                .iter_mut()
                .for_each(|s| *s *= LONGEST_LOG_STEP / longest);
        }
        for j in 0..p {
            trial[j] = u[j] + moved[j];
        }
        coordinates.clamp(&mut trial);
        for j in 0..p {
            moved[j] = trial[j] - u[j];
        }
        let linear: f64 = (0..p).map(|j| here.gradient[j] * moved[j]).sum();
        let predicted = -linear - 0.5 * super::linalg::quadratic(&here.curvature, &moved);
        // Most trials are accepted, so the Jacobian is taken along.
        let reached = objective.linearise(&trial, &mut there);
        fresh = reached < value;
        if fresh {
            let gain = (value - reached) / predicted.max(f64::MIN_POSITIVE);
            damping *= (1.0 - (2.0 * gain - 1.0).powi(3)).clamp(0.1, 1.0);
            growth = 2.0;
            u.copy_from_slice(&trial);
            value = reached;
            std::mem::swap(&mut here, &mut there);
        } else {
            damping *= growth;
            growth *= 2.0;
            if damping > 1e15 {
                // No step helps: rounding, or a kink of Huber's function, is all that is left.
                return stop(u, value, true, iteration + 1);
            }
        }
    }
    stop(u, value, false, limits.iterations)
}

/// Solves `(H + damping·diag(scale))·s = −g` on the free coordinates.
fn step(local: &Local, scale: &[f64], free: &[usize], damping: f64, p: usize) -> Vec<f64> {
    let n = free.len();
    let mut out = vec![0.0; p];
    // In units of each coordinate's scale the matrix has a unit diagonal at most.
    let unit: Vec<f64> = free
        .iter()
        .map(|&j| if scale[j] > 0.0 { scale[j].sqrt() } else { 1.0 })
        .collect();
    let mut damping = damping;
    loop {
        let mut matrix = vec![0.0; n * n];
        for (a, &j) in free.iter().enumerate() {
            for (b, &k) in free.iter().enumerate() {
                matrix[a * n + b] = local.curvature[j * p + k] / (unit[a] * unit[b]);
            }
            matrix[a * n + a] += damping;
        }
        if let Some(factor) = Cholesky::new(&matrix, n) {
            let mut s: Vec<f64> = (0..n).map(|a| -local.gradient[free[a]] / unit[a]).collect();
            factor.solve(&mut s);
            for (a, &j) in free.iter().enumerate() {
                out[j] = s[a] / unit[a];
            }
            return out;
        }
        damping = (damping * 10.0).max(1e-14);
        if damping > 1e20 {
            return out;
        }
    }
}
