//! The power kernel by its definition: every point against every node before it.

use super::{Path, Power, Response};

/// See [`super::power`]; O(points × nodes).
pub fn power(
    path: &Path,
    first: usize,
    kernel: Power,
    weights: &[&[f64]],
    derivatives: bool,
) -> Response {
    let mut out = Response::zeros(weights.len(), path.s1.len(), derivatives);
    let nodes = &path.nodes[first.min(path.nodes.len())..];
    let rates: Vec<f64> = nodes
        .iter()
        .map(|node| kernel.ln_rate(node.lr).exp())
        .collect();
    let ln_lr: Vec<f64> = if derivatives {
        nodes.iter().map(|node| node.lr.ln()).collect()
    } else {
        Vec::new()
    };
    let times = kernel.clock.of_points(path);
    for (point, (&now, &seen)) in times.iter().zip(&path.seen).enumerate() {
        for k in 0..seen.saturating_sub(first) {
            let x = rates[k] * (now - kernel.clock.of(&nodes[k])).max(0.0);
            let log = x.ln_1p();
            let response = -(-kernel.beta * log).exp_m1();
            for (values, weights) in out.values.iter_mut().zip(weights) {
                values[point] += weights[k] * response;
            }
            if derivatives {
                let rest = 1.0 - response;
                let d_ln_c = weights[0][k] * kernel.beta * rest * x / (1.0 + x);
                out.d_beta[point] += weights[0][k] * rest * log;
                out.d_ln_c[point] += d_ln_c;
                out.d_gamma[point] -= d_ln_c * ln_lr[k];
            }
        }
    }
    out
}
