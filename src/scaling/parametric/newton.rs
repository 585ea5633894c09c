//! Damped Newton for the objective.
//!
//! A step solves (H + λ·M)·s = −g, with H the second derivatives and M the curvature of iteratively reweighted least
//! squares, which bounds the objective from above (Huber 1981, §7.8): small λ gives Newton's last steps, large λ
//! a descent that no kink of Huber's function and no negative curvature can spoil. All is done in units of M's diagonal, so
//! that a term of the law that contributes next to nothing still moves, and stopping does not hang on the objective's units.

use super::objective::{Data, Local, Matrix, Vector};

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) iterations: usize,
    /// Stop when Newton's step would lower the objective by no more than this share of it.
    pub(super) tolerance: f64,
}

/// Where the optimiser stopped.
#[derive(Clone, Debug)]
pub(super) struct Minimum {
    pub(super) u: Vector,
    pub(super) value: f64,
    pub(super) converged: bool,
    pub(super) iterations: usize,
}

/// The longest step of a, b and e; that of an exponent.
const LONGEST: f64 = 3.0;
const LONGEST_EXPONENT: f64 = 0.5;
/// Share of the identity in M, in units of its diagonal.
const IDENTITY: f64 = 1e-2;
/// Below this damping a step counts as Newton's.
const NEWTON: f64 = 1e-2;

/// A local minimum reached from `start`.
pub(super) fn minimise(data: &Data, delta: f64, start: &Vector, limits: Limits) -> Minimum {
    let (mut here, mut there) = (Local::default(), Local::default());
    let mut u = *start;
    data.evaluate(&u, delta, &mut here);
    let exact = data.exact();
    let (mut damping, mut growth) = (1.0, 2.0);
    let stop = |u, value, converged, iterations| Minimum {
        u,
        value,
        converged,
        iterations,
    };
    for iteration in 0..limits.iterations {
        let Some(mut s) = step(&here, &mut damping) else {
            return stop(u, here.value, false, iteration);
        };
        let decrement = -0.5 * dot(&s, &here.gradient);
        let last =
            damping <= NEWTON && decrement <= limits.tolerance * here.value || here.value <= exact;
        let longest = |s: &Vector| {
            let term = s[0].abs().max(s[2].abs()).max(s[4].abs());
            (term / LONGEST).max(s[1].abs().max(s[3].abs()) / LONGEST_EXPONENT)
        };
        let too_far = longest(&s);
        if too_far > 1.0 {
            s.iter_mut().for_each(|x| *x /= too_far);
        }
        let mut trial = u;
        for (t, s) in trial.iter_mut().zip(&s) {
            *t += s;
        }
        let predicted = -dot(&s, &here.gradient) - 0.5 * quadratic(&here.newton, &s);
        data.evaluate(&trial, delta, &mut there);
        let accepted = there.value < here.value;
        let gain = (here.value - there.value) / predicted.max(f64::MIN_POSITIVE);
        if accepted {
            u = trial;
            std::mem::swap(&mut here, &mut there);
            // Nielsen's rule, a little bolder at its best.
            damping *= (1.0 - (2.0 * gain - 1.0).powi(3)).clamp(0.05, 1.0);
            growth = 2.0;
        } else {
            damping *= growth;
            growth *= 2.0;
        }
        if last {
            return stop(u, here.value, true, iteration + 1);
        }
        if damping > 1e12 {
            // No step helps: rounding is all that is left.
            return stop(u, here.value, true, iteration + 1);
        }
    }
    stop(u, here.value, false, limits.iterations)
}

fn dot(a: &Vector, b: &Vector) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn quadratic(m: &Matrix, s: &Vector) -> f64 {
    m.iter()
        .zip(s)
        .map(|(row, s_row)| s_row * dot(row, s))
        .sum()
}

/// The damped step; `damping` is raised until the matrix is positive definite. `None` where the
/// objective or a derivative is not finite.
fn step(local: &Local, damping: &mut f64) -> Option<Vector> {
    if !local.value.is_finite() {
        return None;
    }
    let mut unit = [1.0; 5];
    for (j, unit) in unit.iter_mut().enumerate() {
        let scale = local.reweighted[j][j].sqrt();
        if scale > f64::MIN_POSITIVE {
            *unit = 1.0 / scale;
        }
    }
    while *damping < 1e15 {
        let mut matrix = [[0.0; 5]; 5];
        for i in 0..5 {
            for j in 0..5 {
                let sum = local.newton[i][j] + *damping * local.reweighted[i][j];
                matrix[i][j] = sum * unit[i] * unit[j];
            }
            matrix[i][i] += *damping * IDENTITY;
        }
        let mut s = [0.0; 5];
        for j in 0..5 {
            s[j] = -local.gradient[j] * unit[j];
        }
        if solve(matrix, &mut s) {
            for j in 0..5 {
                s[j] *= unit[j];
            }
            return s.iter().all(|x| x.is_finite()).then_some(s);
        }
        *damping = (*damping * 4.0).max(1e-6);
    }
    None
}

/// Solves by Cholesky's factors in place; false unless the matrix is positive definite.
fn solve(mut m: Matrix, b: &mut Vector) -> bool {
    for j in 0..5 {
        let mut pivot = m[j][j];
        for k in 0..j {
            pivot -= m[j][k] * m[j][k];
        }
        // Below rounding of the diagonal, what is left is noise.
        if !(pivot > 1e-14 * m[j][j].abs() && pivot.is_finite()) {
            return false;
        }
        m[j][j] = pivot.sqrt();
        for i in j + 1..5 {
            let mut sum = m[i][j];
            for k in 0..j {
                sum -= m[i][k] * m[j][k];
            }
            m[i][j] = sum / m[j][j];
        }
    }
    for i in 0..5 {
        for k in 0..i {
            b[i] -= m[i][k] * b[k];
        }
        b[i] /= m[i][i];
    }
    for i in (0..5).rev() {
        for k in i + 1..5 {
            b[i] -= m[k][i] * b[k];
        }
        b[i] /= m[i][i];
    }
    true
}
