//! The exponential kernel with one rate: one state that decays between nodes.

use super::{Clock, Path};

/// Calls `at(point, R, ∂R/∂rate)` for every point in order, where
/// `R = Σ_k (η_{k−1} − η_k)·(1 − e^{−rate·S_k})` over the nodes from `first` on. It costs one
/// exponential a node and a point, and none where they are as far apart as the ones before.
pub fn exponential(
    path: &Path,
    first: usize,
    clock: Clock,
    rate: f64,
    mut at: impl FnMut(usize, f64, f64),
) {
    // What has fallen so far, what of it has been responded to, and ∂responded/∂rate.
    let (mut total, mut responded, mut slope) = (0.0, 0.0, 0.0);
    let (mut last_gap, mut share) = (0.0, 0.0);
    let mut now = 0.0;
    let mut next = first;
    let times = clock.of_points(path);
    for (point, (&time, &seen)) in times.iter().zip(&path.seen).enumerate() {
        let mut advance = |to: f64, total: f64| {
            let gap = (to - now).max(0.0);
            now = to;
            if gap != last_gap {
                last_gap = gap;
                share = -(-rate * gap).exp_m1();
            }
            slope = (1.0 - share) * (slope + gap * (total - responded));
            responded += share * (total - responded);
        };
        while next < seen {
            let node = &path.nodes[next];
            advance(clock.of(node), total);
            total += node.drop();
            next += 1;
        }
        if seen > first {
            advance(time, total);
        }
        at(point, responded, slope);
    }
}
