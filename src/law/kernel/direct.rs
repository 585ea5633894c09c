//! The power kernel by its definition: every point against every node before it.

use super::{Path, Power, Response, Wanted};

/// See [`super::power`]; O(points × nodes).
pub fn power(
    path: &Path,
    first: usize,
    kernel: Power,
    weights: &[&[f64]],
    wanted: Wanted,
) -> Response {
    let mut out = Response::zeros(weights.len(), path.s1.len(), wanted);
    let nodes = &path.nodes[first.min(path.nodes.len())..];
    let rates: Vec<f64> = nodes
        .iter()
        .map(|node| kernel.ln_rate(node.ln_lr).exp())
        .collect();
    let any = wanted != Wanted::NONE;
    let times = kernel.clock.of_points(path);
    for (point, (&now, &seen)) in times.iter().zip(&path.seen).enumerate() {
        for k in 0..seen.saturating_sub(first) {
            let x = rates[k] * (now - kernel.clock.of(&nodes[k])).max(0.0);
            let log = x.ln_1p();
            let response = -(-kernel.beta * log).exp_m1();
            for (values, weights) in out.values.iter_mut().zip(weights) {
                values[point] += weights[k] * response;
            }
            if any {
                let rest = weights[0][k] * (1.0 - response);
                let d_ln_c = kernel.beta * rest * x / (1.0 + x);
                if wanted.beta {
                    out.d_beta[point] += rest * log;
                }
                if wanted.ln_c {
                    out.d_ln_c[point] += d_ln_c;
                }
                if wanted.gamma {
                    out.d_gamma[point] -= d_ln_c * nodes[k].ln_lr;
                }
            }
        }
    }
    out
}
