//! The momentum law of Tissue et al., `L = L0 + A·S₁^−α − C·S₂`, and its variants.
//!
//! `m_i = λ·m_{i−1} + Δ_i`, `S₂(t) = Σ_{i<t} m_i`: a drop keeps lowering the loss for about
//! `1/(1−λ)` steps. That memory, τ = 1/(1−λ) steps, is the parameter here (λ = .999 is τ = 1000), since
//! fits see the logarithm of it.

use super::base::TYPICAL_DROP;
use super::composed::{Columns, OWN, Response, View};
use super::kernel::adjoint::{Adjoint, Steps};
use super::kernel::{Clock, exponential};
use super::path::LR_FLOOR;
use super::{Bounds, Parameter, Scales};

/// λ on which the multi-power law's paper refits this law, as memories; fix `memory` at each in turn for its
/// grid search.
pub const MEMORY_GRID: [f64; 5] = [20.0, 100.0, 200.0, 1000.0, 2000.0];

/// What stands in place of `C·S₂`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    /// λ = .999, as the authors fix it.
    Fixed,
    /// `C·S₂^ζ`; of a negative S₂ (a rise) with its sign.
    Power,
    /// `S₂ = Σ_i m_i·η_i^ε`.
    LrWeighted,
}

/// `L = L0 + A·S₁^−α − C·S₂` (arXiv 2408.11029).
pub(super) struct Tissue(pub Form);

const C: usize = 0;
const MEMORY: usize = 1;
const EXTRA: usize = 2;

/// `c = −ln λ` of a memory, and its derivative.
fn rate(memory: f64) -> (f64, f64) {
    (-(-1.0 / memory).ln_1p(), -1.0 / (memory * (memory - 1.0)))
}

/// `sign(x)·|x|^ζ` for ζ ≥ 1, with its derivatives in x and ζ.
fn signed_power(x: f64, zeta: f64) -> (f64, f64, f64) {
    if x == 0.0 {
        return (0.0, if zeta == 1.0 { 1.0 } else { 0.0 }, 0.0);
    }
    let size = x.abs().powf(zeta);
    (
        size.copysign(x),
        zeta * size / x.abs(),
        size.copysign(x) * x.abs().ln(),
    )
}

impl Response for Tissue {
    fn name(&self) -> &'static str {
        match self.0 {
            Form::Plain => "tissue",
            Form::Fixed => "tissue-999",
            Form::Power => "tissue-power",
            Form::LrWeighted => "tissue-lr",
        }
    }

    fn formula(&self) -> &'static str {
        match self.0 {
            Form::Plain | Form::Fixed => {
                "L0 + A·S1^-alpha - C·S2, S2 = sum_k drop_k·memory·(1 - (1 - 1/memory)^(t-k))"
            }
            Form::Power => "L0 + A·S1^-alpha - C·S2^zeta, S2 as in tissue",
            Form::LrWeighted => {
                "L0 + A·S1^-alpha - C·sum_i m_i·lr_i^eps, m_i = (1 - 1/memory)·m_(i-1) + drop_i"
            }
        }
    }

    fn source(&self) -> &'static str {
        match self.0 {
            Form::Plain => "momentum law, arXiv 2408.11029 eq. 1, memory free",
            Form::Fixed => "momentum law, arXiv 2408.11029 eq. 1",
            _ => "variant of the momentum law, arXiv 2408.11029",
        }
    }

    fn parameters(&self) -> Vec<Parameter> {
        let mut all = vec![
            Parameter {
                name: "C",
                unit: match self.0 {
                    Form::Power => "nats/(lr·step)^zeta",
                    Form::LrWeighted => "nats/(lr^(1+eps)·step)",
                    _ => "nats/(lr·step)",
                },
                what: "loss gained a unit of annealing area",
                log: true,
            },
            Parameter {
                name: "memory",
                unit: "steps",
                what: "1/(1 - lambda): how long a drop keeps lowering the loss",
                log: true,
            },
        ];
        match self.0 {
            Form::Power => all.push(Parameter {
                name: "zeta",
                unit: "",
                what: "exponent of the annealing area",
                log: false,
            }),
            Form::LrWeighted => all.push(Parameter {
                name: "eps",
                unit: "",
                what: "exponent of the LR that weighs the momentum",
                log: false,
            }),
            _ => {}
        }
        all
    }

    fn fixed(&self) -> Vec<(usize, f64)> {
        match self.0 {
            Form::Fixed => vec![(MEMORY, 1000.0)],
            _ => Vec::new(),
        }
    }

    fn bounds(&self, scales: &Scales) -> Vec<Bounds> {
        let longest = (10.0 * scales.steps).max(100.0);
        let area = scales.lr * longest;
        let (least, most) = match self.0 {
            // ζ up to 2, η^ε with ε within ±½.
            Form::Power => (
                area.min(area * area),
                (2.0 * scales.lr).powi(2).min(scales.lr),
            ),
            Form::LrWeighted => (
                area * scales.lr.powf(-0.5).max(1.0),
                scales.lr * scales.lr.sqrt().min(1.0),
            ),
            _ => (area, scales.lr),
        };
        let mut all = vec![
            Bounds {
                low: 1e-3 * TYPICAL_DROP / least.max(area),
                high: 1e3 * TYPICAL_DROP / most,
            },
            Bounds {
                low: 2.0,
                high: longest,
            },
        ];
        match self.0 {
            Form::Power => all.push(Bounds {
                low: 1.0,
                high: 2.0,
            }),
            Form::LrWeighted => all.push(Bounds {
                low: -0.5,
                high: 1.0,
            }),
            _ => {}
        }
        all
    }

    fn starts(&self, scales: &Scales, _: f64) -> Vec<Vec<f64>> {
        // Relative to the run: the authors' 1000 steps stand beside runs of 20,000 to 60,000.
        [0.03, 0.004, 0.15]
            .into_iter()
            .map(|share| match self.0 {
                Form::Fixed => 1000.0,
                _ => (share * scales.steps).max(3.0),
            })
            .map(|memory| {
                let area = scales.lr * memory;
                match self.0 {
                    Form::Power => vec![TYPICAL_DROP / area.powf(1.1), memory, 1.1],
                    Form::LrWeighted => vec![TYPICAL_DROP / area, memory, 0.0],
                    _ => vec![TYPICAL_DROP / area, memory],
                }
            })
            .collect()
    }

    fn respond(&self, view: &View, out: &mut [f64], jacobian: &mut Columns) {
        let (c, memory) = (view.own(C), view.own(MEMORY));
        if self.0 == Form::LrWeighted {
            return weighted(view, c, memory, view.own(EXTRA), out, jacobian);
        }
        let (rate, by_memory) = rate(memory);
        exponential(
            view.path,
            view.first,
            Clock::Steps,
            rate,
            |point, share, by_rate| {
                let s2 = memory * share;
                let slope = share + memory * by_rate * by_memory;
                let (value, by_s2) = if self.0 == Form::Power {
                    let (value, by_s2, by_zeta) = signed_power(s2, view.own(EXTRA));
                    jacobian.subtract(point, OWN + EXTRA, c * by_zeta);
                    (value, by_s2)
                } else {
                    (s2, 1.0)
                };
                out[point] -= c * value;
                jacobian.subtract(point, OWN + C, value);
                jacobian.subtract(point, OWN + MEMORY, c * by_s2 * slope);
            },
        );
    }

    fn adjoint(&self, view: &View, steps: &Steps) -> Adjoint {
        let (c, memory) = (view.own(C), view.own(MEMORY));
        if self.0 == Form::LrWeighted {
            return weighted_adjoint(steps, c, memory, view.own(EXTRA));
        }
        let mut out = steps.exponential(Clock::Steps, rate(memory).0);
        out.scale(memory);
        if self.0 == Form::Power {
            let (value, by_s2, _) = signed_power(out.value, view.own(EXTRA));
            out.scale(by_s2);
            out.value = value;
        }
        out.scale(c);
        out
    }
}

/// `C·Σ_i m_i·η_i^ε`. Between nodes η stands still, so the sum over a stretch of n steps that begins with
/// momentum m is `η^ε·m·τ·(1 − λⁿ)`.
fn weighted(view: &View, c: f64, memory: f64, eps: f64, out: &mut [f64], jacobian: &mut Columns) {
    let (rate, by_memory) = rate(memory);
    let floor = (LR_FLOOR * view.path.peak).max(f64::MIN_POSITIVE);
    // Momentum and its derivative in the rate; S₂ and its derivatives in rate, memory (held rate) and ε.
    let (mut m, mut m_rate) = (0.0, 0.0);
    let mut sum = [0.0; 3];
    let (mut at, mut level, mut ln_level) = (0.0, 0.0, 0.0);
    let (mut next, nodes) = (0, view.nodes());
    for (point, out) in out.iter_mut().enumerate() {
        let seen = view.seen(point);
        let mut advance = |to: f64, m: &mut f64, m_rate: &mut f64, level: f64, ln: f64| {
            let steps = to - at;
            at = to;
            if *m == 0.0 && *m_rate == 0.0 {
                return;
            }
            let left = (-rate * steps).exp();
            let gone = -(-rate * steps).exp_m1();
            sum[0] += level * *m * gone;
            sum[1] += level * (*m_rate * gone + *m * steps * left);
            sum[2] += ln * level * *m * gone;
            *m_rate = left * (*m_rate - steps * *m);
            *m *= left;
        };
        while next < seen {
            let node = &nodes[next];
            advance(node.step, &mut m, &mut m_rate, level, ln_level);
            m += node.drop();
            ln_level = node.after.max(floor).ln();
            level = (eps * ln_level).exp();
            next += 1;
        }
        advance(view.path.steps[point], &mut m, &mut m_rate, level, ln_level);
        *out -= c * memory * sum[0];
        jacobian.subtract(point, OWN + C, memory * sum[0]);
        jacobian.subtract(
            point,
            OWN + MEMORY,
            c * (sum[0] + memory * sum[1] * by_memory),
        );
        jacobian.subtract(point, OWN + EXTRA, c * memory * sum[2]);
    }
}

fn weighted_adjoint(steps: &Steps, c: f64, memory: f64, eps: f64) -> Adjoint {
    let lambda = 1.0 - 1.0 / memory;
    let count = steps.lrs.len();
    let mut out = Adjoint::zeros(count);
    let mut m = 0.0;
    for k in steps.first..count {
        m = lambda * m + steps.drop(k);
        let lr = steps.lrs[k].max(steps.lr_floor).max(f64::MIN_POSITIVE);
        let weight = lr.powf(eps);
        out.value += c * m * weight;
        if steps.lrs[k] > steps.lr_floor {
            out.lr[k] = c * eps * m * weight / lr;
        }
        // Its own step's share; later steps add theirs below.
        out.drop[k] = c * weight;
    }
    for k in (steps.first..count.saturating_sub(1)).rev() {
        out.drop[k] += lambda * out.drop[k + 1];
    }
    out
}
