//! A damped descent to a minimum of the objective.
//!
//! A step solves (H + λ·S)·s = −g, with H one of the [`Curvature`]s and S = diag Σ w·J² (Marquardt 1963, with Nielsen's
//! rule for λ, 1999). All is done in units of S, so that nothing hangs on the units of the objective, and on two
//! observations about a term that contributes next to nothing to the loss (as from most starts of the grid some do):
//! - Its exponent is not determined, and would be sent far away: it rests until the term counts.
//! - r is nearly linear in A, B and E themselves, not in their logarithms: a rise by s is taken as A ← A·(1 + s), which brings
//!   a term back from nothing in a step; a fall is a step of the logarithm, bounded, and ends where the term is gone.

use super::objective::{Curvature, Data, Local, Vector};

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) curvature: Curvature,
    pub(super) iterations: usize,
    /// Stop when the step would lower the objective by no more than this share of it.
    pub(super) tolerance: f64,
}

/// Where the descent stopped.
#[derive(Clone, Debug)]
pub(super) struct Minimum {
    pub(super) u: Vector,
    pub(super) value: f64,
}

/// Coordinates of the terms, each with that of its exponent.
const TERMS: [(usize, Option<usize>); 3] = [(0, Some(1)), (2, Some(3)), (4, None)];
/// No step lowers a term by more than e to this power, or changes an exponent by more.
const LONGEST_FALL: f64 = 3.0;
const LONGEST_EXPONENT: f64 = 0.5;
/// The share of the loss, squared, below which a term's exponent rests …
const FAINT: f64 = 1e-4;
/// … and below which a term falls no further.
const GONE: f64 = 1e-8;
/// Below this damping the step says how far away the minimum is.
const UNDAMPED: f64 = 1e-2;
/// Beyond this no step helps: rounding is all that is left.
const HOPELESS: f64 = 1e12;

/// The minimum that a descent from `start` ends at.
pub(super) fn minimise(data: &Data, delta: f64, start: &Vector, limits: Limits) -> Minimum {
    let (mut here, mut there) = (Local::default(), Local::default());
    let mut u = *start;
    data.evaluate(&u, delta, limits.curvature, &mut here);
    let (mut damping, mut growth) = (1.0, 2.0);
    for _ in 0..limits.iterations {
        let Some(mut s) = step(&here, &mut damping) else {
            break;
        };
        let near = -0.5 * dot(&s, &here.gradient) <= limits.tolerance * here.value;
        let last = (near && damping <= UNDAMPED) || here.value <= data.exact();
        for (term, exponent) in TERMS {
            s[term] = match s[term] > 0.0 {
                true => s[term].ln_1p(),
                false => s[term].max(-LONGEST_FALL),
            };
            if let Some(j) = exponent {
                s[j] = s[j].clamp(-LONGEST_EXPONENT, LONGEST_EXPONENT);
            }
        }
        let mut trial = u;
        for (t, s) in trial.iter_mut().zip(&s) {
            *t += s;
        }
        data.evaluate(&trial, delta, limits.curvature, &mut there);
        if there.value < here.value {
            let rows = here.curvature.iter().zip(&s);
            let curved: f64 = rows.map(|(row, s_row)| s_row * dot(row, &s)).sum();
            let predicted = -dot(&s, &here.gradient) - 0.5 * curved;
            let gain = (here.value - there.value) / predicted.max(f64::MIN_POSITIVE);
            damping *= (1.0 - (2.0 * gain - 1.0).powi(3)).clamp(0.05, 1.0);
            growth = 2.0;
            u = trial;
            std::mem::swap(&mut here, &mut there);
        } else {
            damping *= growth;
            growth *= 2.0;
        }
        if last || damping > HOPELESS {
            break;
        }
    }
    Minimum {
        u,
        value: here.value,
    }
}

fn dot(a: &Vector, b: &Vector) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The damped step; `damping` is raised until the matrix is positive definite. `None` where something is not finite.
fn step(local: &Local, damping: &mut f64) -> Option<Vector> {
    if !local.value.is_finite() {
        return None;
    }
    // Zero for what rests.
    let mut unit = local.scale.map(|s| match s.sqrt() > f64::MIN_POSITIVE {
        true => 1.0 / s.sqrt(),
        false => 1.0,
    });
    for (term, exponent) in TERMS {
        let share = local.scale[term];
        if let Some(j) = exponent.filter(|_| share < FAINT * local.weight) {
            unit[j] = 0.0;
        }
        if share < GONE * local.weight && local.gradient[term] > 0.0 {
            unit[term] = 0.0;
        }
    }
    while *damping < HOPELESS {
        let mut matrix = [[0.0; 5]; 5];
        let mut s = [0.0; 5];
        for i in 0..5 {
            for j in 0..5 {
                matrix[i][j] = local.curvature[i][j] * unit[i] * unit[j];
            }
            matrix[i][i] += if unit[i] == 0.0 { 1.0 } else { *damping };
            s[i] = -local.gradient[i] * unit[i];
        }
        if solve(matrix, &mut s) {
            for (s, unit) in s.iter_mut().zip(&unit) {
                *s *= unit;
            }
            return s.iter().all(|x| x.is_finite()).then_some(s);
        }
        *damping = (*damping * 4.0).max(1e-6);
    }
    None
}

/// Solves by Cholesky's factors in place; false unless the matrix is positive definite.
fn solve(mut m: [[f64; 5]; 5], b: &mut Vector) -> bool {
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
