//! The course project's hybrid law with a third term S₃, as it was written and in a well-posed form.

use super::base::TYPICAL_DROP;
use super::composed::{Columns, OWN, Response, View};
use super::kernel::adjoint::{Adjoint, Steps};
use super::kernel::{Clock, exponential};
use super::{Bounds, Parameter, Path, Scales};

const C: usize = 0;
const D: usize = 1;

fn area_gain() -> Parameter {
    Parameter {
        name: "C",
        unit: "nats/(lr·step)",
        what: "loss gained a unit of annealing area",
        log: true,
    }
}

/// `c = −ln λ` of a memory of 1/(1−λ) steps, and its derivative.
fn rate(memory: f64) -> (f64, f64) {
    (-(-1.0 / memory).ln_1p(), -1.0 / (memory * (memory - 1.0)))
}

/// `L = L0 + A·S₁^−α − C·S₂ − D·max(S₃, 10⁻¹⁰)^−β`, where S₂ is the momentum law's with λ = .999 and S₃ sums
/// `Δ_i·√(i/n)` over the steps i at which the LR falls by more than 5 % at once, n steps being the whole run.
///
/// For the record, not for use. Before the first such drop the last term is `D·10^{10β}`, a large constant that L0
/// absorbs, and which vanishes with the drop; a smooth schedule never drops 5 % in one step (the
/// course project saw such drops in its subsampled cosine); n makes the past hang on the future.
/// Bounds are the project's.
pub(super) struct CourseHybrid;

const MEMORY: f64 = 1000.0;
const SHARE: f64 = 0.05;
const CLAMP: f64 = 1e-10;
const BETA: usize = 2;

/// S₃ at every point.
fn jumps(path: &Path) -> Vec<f64> {
    let (mut sum, mut step) = (0.0, 1);
    path.steps
        .iter()
        .map(|&end| {
            while step < end as usize {
                sum += jump(path.lrs[step - 1], path.lrs[step], step, path.horizon);
                step += 1;
            }
            sum
        })
        .collect()
}

/// What a step adds to S₃.
fn jump(before: f64, after: f64, step: usize, horizon: usize) -> f64 {
    if before - after > SHARE * before {
        (before - after) * (step as f64 / horizon as f64).sqrt()
    } else {
        0.0
    }
}

impl Response for CourseHybrid {
    fn name(&self) -> &'static str {
        "hybrid-course"
    }

    fn formula(&self) -> &'static str {
        "L0 + A·S1^-alpha - C·S2 - D·max(S3, 1e-10)^-beta, S3 = sum of drop_i·sqrt(i/n) over drops above 5 %"
    }

    fn source(&self) -> &'static str {
        "course project, as written: ill-posed, kept for comparison"
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![
            area_gain(),
            Parameter {
                name: "D",
                unit: "nats·lr^beta",
                what: "size of the term in S3",
                log: true,
            },
            Parameter {
                name: "beta",
                unit: "",
                what: "exponent of S3",
                log: true,
            },
        ]
    }

    fn bounds(&self, _: &Scales) -> Vec<Bounds> {
        vec![
            Bounds {
                low: 1e-6,
                high: 2.0,
            },
            Bounds {
                low: 1e-6,
                high: 2.0,
            },
            Bounds {
                low: 0.1,
                high: 2.0,
            },
        ]
    }

    fn starts(&self, _: &Scales, _: f64) -> Vec<Vec<f64>> {
        vec![vec![0.18, 0.02, 0.2], vec![0.5, 1e-3, 0.5]]
    }

    fn respond(&self, view: &View, out: &mut [f64], jacobian: &mut Columns) {
        let (c, d, beta) = (view.own(C), view.own(D), view.own(BETA));
        let (rate, _) = rate(MEMORY);
        exponential(
            view.path,
            view.first,
            Clock::Steps,
            rate,
            |point, share, _| {
                out[point] -= c * MEMORY * share;
                jacobian.subtract(point, OWN + C, MEMORY * share);
            },
        );
        let sums = view.path.sums.jumps.get_or_init(|| jumps(view.path));
        for (point, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
            let ln = sum.max(CLAMP).ln();
            let power = (-beta * ln).exp();
            *out -= d * power;
            jacobian.subtract(point, OWN + D, power);
            jacobian.subtract(point, OWN + BETA, -d * ln * power);
        }
    }

    fn adjoint(&self, view: &View, steps: &Steps) -> Adjoint {
        let count = steps.lrs.len();
        let mut out = steps.exponential(Clock::Steps, rate(MEMORY).0);
        out.scale(view.own(C) * MEMORY);
        let jumps: Vec<f64> = (1..count)
            .map(|k| jump(steps.lrs[k - 1], steps.lrs[k], k, count))
            .collect();
        let sum: f64 = jumps.iter().sum();
        let (d, beta) = (view.own(D), view.own(BETA));
        let power = d * sum.max(CLAMP).powf(-beta);
        out.value += power;
        if sum > CLAMP {
            for (k, jump) in (1..count).zip(jumps) {
                if jump > 0.0 {
                    out.drop[k] -= beta * power / sum * (k as f64 / count as f64).sqrt();
                }
            }
        }
        out
    }
}

/// `L = L0 + A·S₁^−α − C·S₂ − D·S₃`, with the memory of S₂ free and `S₃(t) = Σ_{k<t} Δ_k·(S₁(k)/S₁(t))^β`: what the
/// course project's third term can mean once it is well-posed. It vanishes with the drops, needs no threshold
/// (so no sampling interval), looks at no future step, and has no scale. It keeps the idea, a response
/// at once that counts late drops more.
pub(super) struct Hybrid;

const FREE_MEMORY: usize = 2;
const EXPONENT: usize = 3;

impl Response for Hybrid {
    fn name(&self) -> &'static str {
        "hybrid"
    }

    fn formula(&self) -> &'static str {
        "L0 + A·S1^-alpha - C·S2 - D·sum_k drop_k·(S1_k/S1)^beta, S2 as in tissue"
    }

    fn source(&self) -> &'static str {
        "ours, the course project's hybrid made well-posed"
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![
            area_gain(),
            Parameter {
                name: "D",
                unit: "nats/lr",
                what: "loss gained at once by a drop of the LR",
                log: true,
            },
            Parameter {
                name: "memory",
                unit: "steps",
                what: "how long a drop keeps lowering the loss",
                log: true,
            },
            Parameter {
                name: "beta",
                unit: "",
                what: "how much more late drops gain at once",
                log: true,
            },
        ]
    }

    fn bounds(&self, scales: &Scales) -> Vec<Bounds> {
        let longest = (10.0 * scales.steps).max(100.0);
        vec![
            Bounds {
                low: 1e-3 * TYPICAL_DROP / (scales.lr * longest),
                high: 1e3 * TYPICAL_DROP / scales.lr,
            },
            Bounds {
                low: 1e-4 * TYPICAL_DROP / scales.lr,
                high: 1e2 * TYPICAL_DROP / scales.lr,
            },
            Bounds {
                low: 2.0,
                high: longest,
            },
            Bounds {
                low: 0.02,
                high: 4.0,
            },
        ]
    }

    fn starts(&self, scales: &Scales, _: f64) -> Vec<Vec<f64>> {
        let gain = 0.5 * TYPICAL_DROP / scales.lr;
        [0.04, 0.2]
            .into_iter()
            .map(|share| (share * scales.steps).max(3.0))
            .map(|memory| vec![gain / memory, gain, memory, 0.5])
            .collect()
    }

    fn respond(&self, view: &View, out: &mut [f64], jacobian: &mut Columns) {
        let (c, d) = (view.own(C), view.own(D));
        let (memory, beta) = (view.own(FREE_MEMORY), view.own(EXPONENT));
        let (rate, by_memory) = rate(memory);
        exponential(
            view.path,
            view.first,
            Clock::Steps,
            rate,
            |point, share, by_rate| {
                out[point] -= c * memory * share;
                jacobian.subtract(point, OWN + C, memory * share);
                jacobian.subtract(
                    point,
                    OWN + FREE_MEMORY,
                    c * (share + memory * by_rate * by_memory),
                );
            },
        );
        // Σ Δ_k·τ_k^β, with its derivatives in β and sigma.
        let (mut sum, mut by_beta, mut by_sigma) = (0.0, 0.0, 0.0);
        let (nodes, mut next) = (view.nodes(), 0);
        for (point, out) in out.iter_mut().enumerate() {
            let seen = view.seen(point);
            for node in &nodes[next..seen] {
                let time = view.change_time(node.s1);
                let ln = time.value.ln();
                let weight = node.drop() * (beta * ln).exp();
                sum += weight;
                by_beta += weight * ln;
                by_sigma += weight * beta / time.value * time.by_sigma;
            }
            next = seen;
            let (time, ln) = view.point_time(point);
            let scale = (-beta * ln).exp();
            let s3 = sum * scale;
            *out -= d * s3;
            jacobian.subtract(point, OWN + D, s3);
            jacobian.subtract(point, OWN + EXPONENT, d * (by_beta * scale - ln * s3));
            if let Some(sigma) = view.sigma_place() {
                let now = beta * s3 / time.value * time.by_sigma;
                jacobian.subtract(point, sigma, d * (by_sigma * scale - now));
            }
        }
    }

    fn adjoint(&self, view: &View, steps: &Steps) -> Adjoint {
        let (c, d) = (view.own(C), view.own(D));
        let (memory, beta) = (view.own(FREE_MEMORY), view.own(EXPONENT));
        let mut out = steps.exponential(Clock::Steps, rate(memory).0);
        out.scale(c * memory);
        let (end, _) = view.point_time(0);
        let mut s3 = 0.0;
        for k in steps.first..steps.lrs.len() {
            let time = view.change_time(steps.s1[k]);
            let weight = d * (time.value / end.value).powf(beta);
            s3 += steps.drop(k) * weight;
            out.drop[k] += weight;
            out.amplitude[k] += steps.drop(k) * beta * weight / time.value * time.by_s1;
        }
        out.value += s3;
        out.end_amplitude -= beta * s3 / end.value * end.by_s1;
        out
    }
}
