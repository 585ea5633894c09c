//! The power kernel as a sum of exponentials, in one pass over nodes and points.
//!
//! With `u = e^y` in `(1+x)^−β = Γ(β)⁻¹ ∫ u^{β−1} e^{−u(1+x)} du`, the trapezoid rule of spacing
//! `h = ½ ln 2` gives
//!
//! `1 − (1 + c·S)^−β ≈ Σ_q w_q(c)·(1 − e^{−ρ_q·S})`, `w_q(c) = h·(ρ_q/c)^β·e^{−ρ_q/c}/Γ(β)`,
//!
//! on rates `ρ_q = ρ₀·2^{q/2}` that do not depend on the node: nodes differ only in their weights, so one
//! state a rate follows all of them. The rule's relative error, `2|Γ(β+2πi/h)|/Γ(β)`, is below 1e-10; what is left
//! comes from the ends of the grid. The infinitely many rates under it respond nearly linearly; they are
//! folded into its two lowest rates so that their first two moments are kept.
//!
//! Four rates are two octaves of the grid, so `1 − e^{−ρ_q·x}` of every rate follows from the lowest four by
//! `v ← v(2−v)` twice: no exponential is evaluated inside the loops, and they run four rates at a time.

use super::gamma::{digamma, ln_gamma};
use super::{Path, Power, Response, Wanted};

/// Spacing of the rates on a log scale.
const SPACING: f64 = 0.5 * std::f64::consts::LN_2;
const RATIO: f64 = std::f64::consts::SQRT_2;
/// Highest `ρ₁·S` and `ρ₁/c`: below, the response to a rate is linear to the accuracy wanted.
const LOWEST: f64 = 0.006;
/// `u^β·e^{−u}` beyond this is below 1e-9 for β ≤ 1.5.
const HIGHEST: f64 = 26.0;
const LANES: usize = 4;

type Lanes = [f64; LANES];

struct Grid {
    ln_rho: f64,
    /// How many times four rates.
    groups: usize,
}

fn grid(path: &Path, first: usize, kernel: Power) -> Option<Grid> {
    let nodes = path.nodes.get(first..).filter(|nodes| !nodes.is_empty())?;
    let span = kernel.clock.of_points(path).last()? - kernel.clock.of(&nodes[0]);
    if span.is_nan() || span <= 0.0 {
        return None;
    }
    let (mut low, mut high) = (nodes[0].ln_lr, nodes[0].ln_lr);
    for node in nodes {
        low = low.min(node.ln_lr);
        high = high.max(node.ln_lr);
    }
    let (slow, fast) = (kernel.ln_rate(high), kernel.ln_rate(low));
    let (slow, fast) = (slow.min(fast), slow.max(fast));
    let ln_rho = LOWEST.ln() + slow.min(-span.ln());
    let rates = 2.0 + (HIGHEST.ln() + fast - ln_rho) / SPACING;
    Some(Grid {
        ln_rho,
        groups: (rates / LANES as f64).ceil() as usize,
    })
}

/// How many exponentials the stream would follow.
pub(super) fn rates(path: &Path, first: usize, kernel: Power) -> usize {
    grid(path, first, kernel).map_or(0, |grid| LANES * grid.groups)
}

/// `1 − e^{−ρ_q·x}` of the lowest four rates, given `ρ₁·x` ≤ [`LOWEST`].
#[inline(always)]
fn lowest(x1: f64) -> Lanes {
    let mut out = [x1 / RATIO, x1, x1 * RATIO, x1 * 2.0];
    for x in &mut out {
        let x1 = *x;
        *x = x1
            * (1.0
                - x1 * (1.0 / 2.0)
                    * (1.0
                        - x1 * (1.0 / 3.0)
                            * (1.0 - x1 * 0.25 * (1.0 - x1 * 0.2 * (1.0 - x1 * (1.0 / 6.0))))));
    }
    out
}

/// The same of rates four times as high.
#[inline(always)]
fn two_octaves_up(v: &mut Lanes) {
    for v in v {
        let half = *v * (2.0 - *v);
        *v = half * (2.0 - half);
    }
}

/// One channel: what has been put on each rate so far, how much of it has responded, and where wanted
/// `Σ_k w·S_k·e^{−ρ·S_k}`, the derivative of `responded` in the rate.
struct Channel {
    total: Vec<Lanes>,
    responded: Vec<Lanes>,
    slope: Vec<Lanes>,
}

impl Channel {
    fn new(groups: usize, slope: bool) -> Self {
        Channel {
            total: vec![[0.0; LANES]; groups],
            responded: vec![[0.0; LANES]; groups],
            slope: vec![[0.0; LANES]; if slope { groups } else { 0 }],
        }
    }

    /// To the next point, over a time in which a share `v` of what is left responds.
    #[inline(always)]
    fn advance(&mut self, v: &[Lanes], time: f64) {
        for (((slope, done), total), v) in self
            .slope
            .iter_mut()
            .zip(&self.responded)
            .zip(&self.total)
            .zip(v)
        {
            for l in 0..LANES {
                slope[l] = (1.0 - v[l]) * (slope[l] + time * (total[l] - done[l]));
            }
        }
        for ((done, total), v) in self.responded.iter_mut().zip(&self.total).zip(v) {
            for l in 0..LANES {
                done[l] += v[l] * (total[l] - done[l]);
            }
        }
    }

    /// A node since the last point: its weights, what of them has responded at the next point, and the slope.
    #[inline(always)]
    fn add(&mut self, factor: f64, node: &Arrival) {
        axpy(&mut self.total, factor, &node.weights);
        axpy(&mut self.responded, factor, &node.responded);
        axpy(&mut self.slope, factor, &node.slope);
    }
}

#[inline(always)]
fn axpy(y: &mut [Lanes], a: f64, x: &[Lanes]) {
    for (y, x) in y.iter_mut().zip(x) {
        for l in 0..LANES {
            y[l] += a * x[l];
        }
    }
}

/// Σ over rates of `x`, weighted where there are weights.
#[inline(always)]
fn dot(x: &[Lanes], weights: Option<&[Lanes]>) -> f64 {
    let mut sum = [0.0; LANES];
    if let Some(weights) = weights {
        for (x, weight) in x.iter().zip(weights) {
            for l in 0..LANES {
                sum[l] += x[l] * weight[l];
            }
        }
    } else {
        for x in x {
            for l in 0..LANES {
                sum[l] += x[l];
            }
        }
    }
    (sum[0] + sum[2]) + (sum[1] + sum[3])
}

/// What one node of unit size brings to each rate.
struct Arrival {
    weights: Vec<Lanes>,
    responded: Vec<Lanes>,
    slope: Vec<Lanes>,
}

/// Constants of the weights: `w_q = constant_q·(ρ₁/c)^β·e^{−ρ_q/c}`.
struct Weights {
    constant: Vec<Lanes>,
    /// `ln(ρ_q/ρ₁) − ψ(β)`: the logarithmic derivative in β but for `ln(ρ₁/c)`.
    d_beta: Vec<Lanes>,
    rho: Vec<Lanes>,
}

impl Weights {
    fn new(grid: &Grid, beta: f64) -> Self {
        // The rates below the grid, folded into its lowest two with their first two moments, and the
        // derivatives in β of the two factors.
        let moment = |m: f64| {
            let share = (-SPACING * (beta + m)).exp();
            let sum = 1.0 / (1.0 - share);
            (sum, -SPACING * share * sum * sum)
        };
        let ((m1, dm1), (m2, dm2)) = (moment(1.0), moment(2.0));
        let spread = 1.0 / (1.0 / RATIO - 1.0 / (RATIO * RATIO));
        let (zeroth, d_zeroth) = ((m1 - m2) * spread, (dm1 - dm2) * spread);
        let (first, d_first) = (m1 - zeroth / RATIO, dm1 - d_zeroth / RATIO);
        let scale = (SPACING.ln() - ln_gamma(beta)).exp();
        let psi = digamma(beta);
        let of = |value: &dyn Fn(f64) -> f64| -> Vec<Lanes> {
            let lane = |q: usize| value(SPACING * (q as f64 - 1.0));
            (0..grid.groups)
                .map(|group| std::array::from_fn(|l| lane(LANES * group + l)))
                .collect()
        };
        let mut constant = of(&|place| scale * (beta * place).exp());
        let mut d_beta = of(&|place| place - psi);
        constant[0][0] = scale * zeroth;
        d_beta[0][0] = d_zeroth / zeroth - psi;
        constant[0][1] = scale * first;
        d_beta[0][1] = d_first / first - psi;
        Weights {
            constant,
            d_beta,
            rho: of(&|place| (grid.ln_rho + place).exp()),
        }
    }

    /// What a node brings that changes the LR `gap` before the next point.
    #[inline(always)]
    fn arrive(&self, out: &mut Arrival, rho: f64, size: f64, slowness: f64, gap: f64) {
        // e^{−ρ/c}, by squaring: 1 − (1 − e^{−ρ/c}) would leave 1e-16 where nothing is, on rates so high above c that
        // their weights make much of it.
        let mut u = lowest(rho * slowness).map(|x| 1.0 - x);
        let mut v = lowest(rho * gap);
        let slopes = !out.slope.is_empty();
        for (group, constant) in self.constant.iter().enumerate() {
            let mut w = [0.0; LANES];
            for l in 0..LANES {
                w[l] = u[l] * constant[l] * size;
                out.responded[group][l] = w[l] * v[l];
            }
            out.weights[group] = w;
            if slopes {
                for l in 0..LANES {
                    out.slope[group][l] = w[l] * (1.0 - v[l]) * gap;
                }
            }
            u = u.map(|x| (x * x) * (x * x));
            two_octaves_up(&mut v);
        }
    }
}

/// See [`super::power`]; O((nodes + points)·Q).
pub fn power(
    path: &Path,
    first: usize,
    kernel: Power,
    weights: &[&[f64]],
    wanted: Wanted,
) -> Response {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function asks for.
        return unsafe { power_avx2(path, first, kernel, weights, wanted) };
    }
    run(path, first, kernel, weights, wanted)
}

/// The same arithmetic four lanes at a time, so the same bits.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn power_avx2(
    path: &Path,
    first: usize,
    kernel: Power,
    weights: &[&[f64]],
    wanted: Wanted,
) -> Response {
    run(path, first, kernel, weights, wanted)
}

#[inline(always)]
fn run(path: &Path, first: usize, kernel: Power, weights: &[&[f64]], wanted: Wanted) -> Response {
    let mut out = Response::zeros(weights.len(), path.s1.len(), wanted);
    let Some(grid) = grid(path, first, kernel) else {
        return out;
    };
    let (beta, ln_rho, rho) = (kernel.beta, grid.ln_rho, grid.ln_rho.exp());
    let constants = Weights::new(&grid, beta);
    let sets = weights.len();
    let slopes = wanted.ln_c || wanted.gamma;
    // One more channel weighs the first set by ln η, for what γ brings into the derivatives.
    let by_lr = wanted.gamma || (wanted.beta && kernel.gamma != 0.0);
    let mut channels: Vec<Channel> = (0..sets)
        .map(|set| Channel::new(grid.groups, slopes && set == 0))
        .collect();
    if by_lr {
        channels.push(Channel::new(grid.groups, wanted.gamma));
    }
    let mut arrival = Arrival {
        weights: vec![[0.0; LANES]; grid.groups],
        responded: vec![[0.0; LANES]; grid.groups],
        slope: vec![[0.0; LANES]; if slopes { grid.groups } else { 0 }],
    };
    let mut v = vec![[0.0; LANES]; grid.groups];
    let nodes = &path.nodes[first..];
    // Logarithms of LRs relative to the highest, so that the γ channel stays well scaled.
    let reference = nodes
        .iter()
        .fold(f64::MIN, |high, node| high.max(node.ln_lr));
    let times = kernel.clock.of_points(path);
    let (mut at, mut next) = (0.0, 0);
    for (point, (&now, &seen)) in times.iter().zip(&path.seen).enumerate() {
        if next > 0 {
            let gap = (now - at).max(0.0);
            let mut share = lowest(rho * gap);
            for v in &mut v {
                *v = share;
                two_octaves_up(&mut share);
            }
            for channel in &mut channels {
                channel.advance(&v, gap);
            }
        }
        at = now;
        let until = next.max(seen.saturating_sub(first));
        for (k, node) in nodes.iter().enumerate().take(until).skip(next) {
            let ln_rate = kernel.ln_rate(node.ln_lr);
            let gap = (now - kernel.clock.of(node)).max(0.0);
            let size = (beta * (ln_rho - ln_rate)).exp();
            constants.arrive(&mut arrival, rho, size, (-ln_rate).exp(), gap);
            for (channel, weights) in channels.iter_mut().zip(weights) {
                channel.add(weights[k], &arrival);
            }
            if by_lr {
                channels[sets].add(weights[0][k] * (node.ln_lr - reference), &arrival);
            }
        }
        next = until;
        if next == 0 {
            continue;
        }
        for (values, channel) in out.values.iter_mut().zip(&channels) {
            values[point] = dot(&channel.responded, None);
        }
        // ∂w/∂β = w·(ln u − ψ(β)) with ln u = ln ρ_q − ln C + γ ln η. As G depends on c·S alone,
        // ∂G/∂ln c = S·∂G/∂S = Σ_q w_q·ρ_q·S·e^{−ρ_q·S}, free of cancellation; ∂ln c/∂γ = −ln η.
        let plain = &channels[0];
        let by_ln_c = if slopes {
            dot(&plain.slope, Some(&constants.rho))
        } else {
            0.0
        };
        if wanted.ln_c {
            out.d_ln_c[point] = by_ln_c;
        }
        if wanted.beta {
            let common = ln_rho - kernel.ln_c + kernel.gamma * reference;
            out.d_beta[point] =
                dot(&plain.responded, Some(&constants.d_beta)) + common * out.values[0][point];
            if by_lr {
                out.d_beta[point] += kernel.gamma * dot(&channels[sets].responded, None);
            }
        }
        if wanted.gamma {
            let by_ln_c_lr = dot(&channels[sets].slope, Some(&constants.rho));
            out.d_gamma[point] = -by_ln_c_lr - reference * by_ln_c;
        }
    }
    out
}
