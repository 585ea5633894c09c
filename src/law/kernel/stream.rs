//! The power kernel as a sum of exponentials, in one pass over nodes and points.
//!
//! With `u = e^y` in `(1+x)^−β = Γ(β)⁻¹ ∫ u^{β−1} e^{−u(1+x)} du`, the trapezoid rule of spacing
//! `h = ⅔ ln 2` (`½ ln 2` for β > 1) gives
//!
//! `1 − (1 + c·S)^−β ≈ Σ_q w_q(c)·(1 − e^{−ρ_q·S})`, `w_q(c) = h·(ρ_q/c)^β·e^{−ρ_q/c}/Γ(β)`,
//!
//! on rates `ρ_q = ρ₀·e^{hq}` that do not depend on the node: nodes differ only in their weights, so one
//! state a rate follows all of them. Its relative error, `2|Γ(β+2πi/h)|/Γ(β)`, is at most 1e-8. The infinitely many rates under the grid respond nearly linearly; they are
//! folded into its two lowest rates so that their first two moments are kept.
//!
//! Three rates on lies a rate four times as high, so `1 − e^{−ρ_q·x}` of every rate follows from the
//! lowest three by `v ← v(2−v)` twice: no exponential is evaluated inside the loops.

use super::gamma::{digamma, ln_gamma};
use super::{Path, Power, Response};

/// Rates an octave: three in two octaves, or two in one for β > 1 where the trapezoid rule errs more.
fn spacing(beta: f64) -> f64 {
    std::f64::consts::LN_2 * if beta > 1.0 { 1.0 / 2.0 } else { 2.0 / 3.0 }
}

/// Highest `ρ₁·S` and `ρ₁/c`: below, the response to a rate is linear to the accuracy wanted.
const LOWEST: f64 = 0.01;
/// `u^β·e^{−u}` beyond this is below 5e-9 for β ≤ 1.5.
const HIGHEST: f64 = 24.0;

struct Grid {
    spacing: f64,
    /// ρ₁, of the second rate.
    rho: f64,
    rates: usize,
}

fn grid(path: &Path, first: usize, kernel: Power) -> Option<Grid> {
    let nodes = path.nodes.get(first..).filter(|nodes| !nodes.is_empty())?;
    let span = kernel.clock.of_points(path).last()? - kernel.clock.of(&nodes[0]);
    if !(span > 0.0) {
        return None;
    }
    let (mut low, mut high) = (nodes[0].lr, nodes[0].lr);
    for node in nodes {
        low = low.min(node.lr);
        high = high.max(node.lr);
    }
    let (slow, fast) = (kernel.ln_rate(high), kernel.ln_rate(low));
    let (slow, fast) = (slow.min(fast), slow.max(fast));
    let ln_rho = LOWEST.ln() + slow.min(-span.ln());
    let spacing = spacing(kernel.beta);
    let rates = 2.0 + (HIGHEST.ln() + fast - ln_rho) / spacing;
    Some(Grid {
        spacing,
        rho: ln_rho.exp(),
        rates: rates.ceil() as usize,
    })
}

/// How many exponentials the stream would follow.
pub(super) fn rates(path: &Path, first: usize, kernel: Power) -> usize {
    grid(path, first, kernel).map_or(0, |grid| grid.rates)
}

/// `1 − e^{−ρ_q·x}` for every rate, given ρ₁·x ≤ [`LOWEST`].
fn fill(out: &mut [f64], ratio: f64, x1: f64) {
    for (q, scale) in [1.0 / ratio, 1.0, ratio].into_iter().enumerate() {
        let x = x1 * scale;
        out[q] = x
            * (1.0
                - x / 2.0
                    * (1.0
                        - x / 3.0
                            * (1.0
                                - x / 4.0 * (1.0 - x / 5.0 * (1.0 - x / 6.0 * (1.0 - x / 7.0))))));
    }
    if ratio < 1.5 {
        for q in 2..out.len() {
            out[q] = out[q - 2] * (2.0 - out[q - 2]);
        }
    } else {
        for q in 3..out.len() {
            let half = out[q - 3] * (2.0 - out[q - 3]);
            out[q] = half * (2.0 - half);
        }
    }
}

/// One channel: what has been put on each rate so far, how much of it has responded, and where wanted
/// `Σ_k w·S_k·e^{−ρ·S_k}`, the derivative of `responded` in the rate.
#[derive(Clone)]
struct Channel {
    total: Vec<f64>,
    responded: Vec<f64>,
    slope: Vec<f64>,
}

impl Channel {
    fn new(rates: usize, derivative: bool) -> Self {
        Channel {
            total: vec![0.0; rates],
            responded: vec![0.0; rates],
            slope: vec![0.0; if derivative { rates } else { 0 }],
        }
    }

    /// Over a time in which a share `v` of what is left responds.
    fn advance(&mut self, v: &[f64], time: f64) {
        for (((slope, done), total), v) in self
            .slope
            .iter_mut()
            .zip(&self.responded)
            .zip(&self.total)
            .zip(v)
        {
            *slope = (1.0 - v) * (*slope + time * (total - done));
        }
        for ((done, total), v) in self.responded.iter_mut().zip(&self.total).zip(v) {
            *done += v * (total - *done);
        }
    }

    fn add(&mut self, weights: &[f64], factor: f64) {
        for (total, weight) in self.total.iter_mut().zip(weights) {
            *total += factor * weight;
        }
    }
}

/// See [`super::power`]; O((nodes + points)·Q).
pub fn power(
    path: &Path,
    first: usize,
    kernel: Power,
    weights: &[&[f64]],
    derivatives: bool,
) -> Response {
    let mut out = Response::zeros(weights.len(), path.s1.len(), derivatives);
    let Some(Grid {
        spacing,
        rho,
        rates,
    }) = grid(path, first, kernel)
    else {
        return out;
    };
    let rates = rates.max(3);
    let beta = kernel.beta;
    let ratio = spacing.exp();
    // Constant part of the weights, with the rates below the grid folded into the lowest two, and its
    // logarithmic derivative in β.
    let moment = |m: f64| {
        let share = ratio.powf(-(beta + m));
        let sum = 1.0 / (1.0 - share);
        (sum, -spacing * share * sum * sum)
    };
    let ((m1, dm1), (m2, dm2)) = (moment(1.0), moment(2.0));
    let spread = 1.0 / (1.0 / ratio - 1.0 / (ratio * ratio));
    let (zeroth, d_zeroth) = ((m1 - m2) * spread, (dm1 - dm2) * spread);
    let (first_rate, d_first) = (m1 - zeroth / ratio, dm1 - d_zeroth / ratio);
    let scale = (spacing.ln() - ln_gamma(beta)).exp();
    let psi = digamma(beta);
    let mut constant = vec![0.0; rates];
    let mut d_beta = vec![0.0; rates];
    let mut rho_of = vec![0.0; rates];
    for q in 0..rates {
        let place = spacing * (q as f64 - 1.0);
        constant[q] = scale * (beta * place).exp();
        d_beta[q] = place - psi;
        rho_of[q] = rho * place.exp();
    }
    constant[0] = scale * zeroth;
    d_beta[0] = d_zeroth / zeroth - psi;
    constant[1] = scale * first_rate;
    d_beta[1] = d_first / first_rate - psi;

    let sets = weights.len();
    let mut channels: Vec<Channel> = (0..sets)
        .map(|set| Channel::new(rates, derivatives && set == 0))
        .collect();
    if derivatives {
        channels.push(Channel::new(rates, true));
    }
    let (mut v, mut w) = (vec![0.0; rates], vec![0.0; rates]);
    let nodes = &path.nodes[first..];
    let ln_rho = rho.ln();
    // Logarithms of LRs relative to the highest, so that the γ channel stays well scaled.
    let reference = nodes
        .iter()
        .fold(0.0, |high: f64, node| high.max(node.lr))
        .ln();
    let times = kernel.clock.of_points(path);
    let mut at = kernel.clock.of(&nodes[0]);
    let mut next = 0;
    for (point, (&now, &seen)) in times.iter().zip(&path.seen).enumerate() {
        for (k, node) in nodes
            .iter()
            .enumerate()
            .take(seen.saturating_sub(first))
            .skip(next)
        {
            let time = kernel.clock.of(node);
            if k > 0 {
                let gap = (time - at).max(0.0);
                fill(&mut v, ratio, rho * gap);
                for channel in &mut channels {
                    channel.advance(&v, gap);
                }
            }
            at = time.max(at);
            let ln_rate = kernel.ln_rate(node.lr);
            fill(&mut w, ratio, rho * (-ln_rate).exp());
            let size = (beta * (ln_rho - ln_rate)).exp();
            for (w, constant) in w.iter_mut().zip(&constant) {
                *w = (1.0 - *w) * constant * size;
            }
            for (channel, weights) in channels.iter_mut().zip(weights) {
                channel.add(&w, weights[k]);
            }
            if derivatives {
                channels[sets].add(&w, weights[0][k] * (node.lr.ln() - reference));
            }
            next = k + 1;
        }
        if next == 0 {
            continue;
        }
        let gap = (now - at).max(0.0);
        fill(&mut v, ratio, rho * gap);
        at = now;
        for channel in &mut channels {
            channel.advance(&v, gap);
        }
        for (values, channel) in out.values.iter_mut().zip(&channels) {
            values[point] = channel.responded.iter().sum();
        }
        if derivatives {
            // ∂w/∂β = w·(ln u − ψ(β)) with ln u = ln ρ_q − ln C + γ ln η. As G depends on c·S alone,
            // ∂G/∂ln c = S·∂G/∂S = Σ_q w_q·ρ_q·S·e^{−ρ_q·S}, free of cancellation; ∂ln c/∂γ = −ln η.
            let (plain, of_lr) = (&channels[0], &channels[sets]);
            let (mut sum, mut by_lr, mut by_beta) = (0.0, 0.0, 0.0);
            let (mut by_ln_c, mut by_ln_c_lr) = (0.0, 0.0);
            for q in 0..rates {
                sum += plain.responded[q];
                by_lr += of_lr.responded[q];
                by_beta += d_beta[q] * plain.responded[q];
                by_ln_c += rho_of[q] * plain.slope[q];
                by_ln_c_lr += rho_of[q] * of_lr.slope[q];
            }
            let common = ln_rho - kernel.ln_c + kernel.gamma * reference;
            out.d_beta[point] = by_beta + common * sum + kernel.gamma * by_lr;
            out.d_ln_c[point] = by_ln_c;
            out.d_gamma[point] = -by_ln_c_lr - reference * by_ln_c;
        }
    }
    out
}
