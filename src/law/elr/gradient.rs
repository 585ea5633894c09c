//! The final loss of a whole run, and its gradient in the LR of every step by one pass forward and one back.

use super::blocks::floor;
use super::motion::{Turn, turn};
use super::{A, ALPHA, B, BETA, C, E, L0, P, R, SIGMA, V0};

/// O(T). An LR at the floor passes its derivative on as if it stood just above it.
pub(super) fn of_final_loss(lrs: &[f64], full: &[f64]) -> (f64, Vec<f64>) {
    let peak = lrs.iter().copied().fold(0.0, f64::max);
    let floor = floor(peak);
    let lrs: Vec<f64> = lrs.iter().map(|lr| lr.max(floor)).collect();
    let (b, c, beta, p, e) = (full[B], full[C], full[BETA], full[P], full[E]);
    let steps = lrs.len();
    let mut norms = Vec::with_capacity(steps);
    let mut turns: Vec<Turn> = Vec::with_capacity(steps);
    let mut effective = Vec::with_capacity(steps);
    let mut s = Vec::with_capacity(steps + 1);
    let (mut v, mut time) = (full[V0], 0.0);
    for &lr in &lrs {
        let turn = turn(v, lr, 1.0, full[R]);
        norms.push(v);
        effective.push(lr * turn.mean.powf(-e));
        s.push(time);
        time += effective[effective.len() - 1];
        v = turn.after;
        turns.push(turn);
    }
    let noise: Vec<f64> = effective.iter().map(|eps| eps.powf(p)).collect();
    let change = |k: usize| noise[k] - if k > 0 { noise[k - 1] } else { 0.0 };
    let kept: Vec<f64> = s
        .iter()
        .map(|s| (1.0 + c * (time - s)).powf(-beta))
        .collect();
    let answered: f64 = (0..steps).map(|k| change(k) * (1.0 - kept[k])).sum();
    let first = effective.first().copied().unwrap_or(1.0);
    let shifted = time + full.get(SIGMA).copied().unwrap_or(0.0);
    let (shifted, moves) = if shifted >= first {
        (shifted, 1.0)
    } else {
        (first, 0.0)
    };
    let power = shifted.powf(-full[ALPHA]);
    let loss = full[L0] + full[A] * power + b * answered;

    // ∂loss/∂S_k of the step's own beginning, and their sum for ∂loss/∂S(T).
    let by_start: Vec<f64> = (0..steps)
        .map(|k| -b * change(k) * beta * c * kept[k] / (1.0 + c * (time - s[k])))
        .collect();
    let mut by_time =
        -moves * full[A] * full[ALPHA] * power / shifted - by_start.iter().sum::<f64>();
    let mut gradient = vec![0.0; steps];
    let mut by_norm = 0.0;
    for k in (0..steps).rev() {
        let lr = lrs[k];
        let turn = &turns[k];
        let next_kept = if k + 1 < steps { kept[k + 1] } else { 1.0 };
        let by_noise = b * (next_kept - kept[k]);
        let by_effective = by_time + by_noise * p * noise[k] / effective[k];
        by_time += by_start[k];
        let by_mean = -e * by_effective * effective[k] / turn.mean;
        let apart = norms[k] - lr;
        let pull = full[R] * apart;
        gradient[k] = by_effective * effective[k] / lr
            + by_mean * (1.0 - turn.mean_decay + pull * turn.d_mean_decay)
            + by_norm * (1.0 - turn.decay - pull * turn.decay);
        by_norm = by_mean * turn.mean_decay + by_norm * turn.decay;
    }
    (loss, gradient)
}
