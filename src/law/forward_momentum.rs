//! The forward-momentum law, `L = L0 + A·S₁^−α − C·M`, with an Adam-like momentum of the LR's drops.

use std::sync::OnceLock;

use super::base::TYPICAL_DROP;
use super::composed::{Columns, OWN, Response, View};
use super::kernel::adjoint::{Adjoint, Steps};
use super::{Bounds, Parameter, Path, Scales};

/// arXiv 2512.13705 and its reference code: with `d_i = η_{i−1} − η_i` of every step, `m_i = .9·m_{i−1} + .1·d_i`,
/// `v_i = .999·v_{i−1} + .001·d_i²`, hats for bias correction,
/// `M(t) = Σ_{i<t} m̂_i/(√(10⁵·v̂_i + 10⁻⁸) + 10⁻⁸)`.
///
/// Two remarks. The code sums over logged rows, with drops times the steps between them, so that its M
/// changes with the logging interval; here every step is a row. And 10⁵ and 10⁻⁸ stand beside squared
/// LRs, so the law is not scale-free: at peaks below about 1e-3 smooth decays give `M ≈ 10⁴·(η₀ − η_t)`.
/// The paper's term `B·N^−b` in the model's size is part of L0 here; `sized` is the law over sizes.
pub(super) struct ForwardMomentum;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const SCALE: f64 = 1e5;
const EPSILON: f64 = 1e-8;

/// One step of the recursion: its contribution to M and the two factors its derivatives need.
struct Term {
    value: f64,
    by_m: f64,
    by_v: f64,
}

/// First and second moment, with the powers of β₁ and β₂ that correct their bias.
struct Moments {
    m: f64,
    v: f64,
    beta1_power: f64,
    beta2_power: f64,
}

impl Moments {
    fn new() -> Self {
        Moments {
            m: 0.0,
            v: 0.0,
            beta1_power: 1.0,
            beta2_power: 1.0,
        }
    }

    fn push(&mut self, drop: f64) -> Term {
        self.m = BETA1 * self.m + (1.0 - BETA1) * drop;
        self.v = BETA2 * self.v + (1.0 - BETA2) * drop * drop;
        self.beta1_power *= BETA1;
        self.beta2_power *= BETA2;
        let m_share = 1.0 / (1.0 - self.beta1_power);
        let v_share = SCALE / (1.0 - self.beta2_power);
        let root = (self.v * v_share + EPSILON).sqrt();
        let below = root + EPSILON;
        let value = self.m * m_share / below;
        Term {
            value,
            by_m: m_share / below,
            by_v: -value / below * v_share / (2.0 * root),
        }
    }
}

/// M at every point, over the steps from `first` on.
fn momentum(path: &Path, first: usize) -> Vec<f64> {
    let mut moments = Moments::new();
    let (mut sum, mut step) = (0.0, 0);
    path.steps
        .iter()
        .map(|&end| {
            while step < end as usize {
                let before = if step == 0 { 0.0 } else { path.lrs[step - 1] };
                let drop = if step >= first {
                    before - path.lrs[step]
                } else {
                    0.0
                };
                sum += moments.push(drop).value;
                step += 1;
            }
            sum
        })
        .collect()
}

impl Response for ForwardMomentum {
    fn name(&self) -> &'static str {
        "forward-momentum"
    }

    fn formula(&self) -> &'static str {
        "L0 + A·S1^-alpha - C·M, M = sum_i m_i/sqrt(1e5·v_i + 1e-8) with Adam's moments (.9, .999) of the drops"
    }

    fn source(&self) -> &'static str {
        "forward-momentum law, arXiv 2512.13705"
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter {
            name: "C",
            unit: "nats",
            what: "loss gained a unit of annealing momentum",
            log: true,
        }]
    }

    fn bounds(&self, _: &Scales) -> Vec<Bounds> {
        vec![Bounds {
            low: 1e-6,
            high: 1e3,
        }]
    }

    fn starts(&self, scales: &Scales, _: f64) -> Vec<Vec<f64>> {
        let smooth = scales.lr / EPSILON.sqrt();
        [1.0, 20.0]
            .map(|factor| vec![(factor * TYPICAL_DROP / smooth).clamp(1e-5, 1e2)])
            .to_vec()
    }

    fn respond(&self, view: &View, out: &mut [f64], jacobian: &mut Columns) {
        let rises = view.first == 0;
        let cached: &OnceLock<Vec<f64>> = &view.path.sums.forward_momentum[usize::from(rises)];
        let first = if rises { 0 } else { view.path.warmup.max(1) };
        let sums = cached.get_or_init(|| momentum(view.path, first));
        for (point, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
            *out -= view.own(0) * sum;
            jacobian.subtract(point, OWN, *sum);
        }
    }

    fn adjoint(&self, view: &View, steps: &Steps) -> Adjoint {
        let count = steps.lrs.len();
        let mut out = Adjoint::zeros(count);
        let mut moments = Moments::new();
        let drop = |k: usize| if k >= steps.first { steps.drop(k) } else { 0.0 };
        let terms: Vec<Term> = (0..count).map(|k| moments.push(drop(k))).collect();
        out.value = terms.iter().map(|term| term.value).sum();
        let (mut by_m, mut by_v) = (0.0, 0.0);
        for k in (steps.first.min(count)..count).rev() {
            by_m = terms[k].by_m + BETA1 * by_m;
            by_v = terms[k].by_v + BETA2 * by_v;
            out.drop[k] = (1.0 - BETA1) * by_m + (1.0 - BETA2) * 2.0 * drop(k) * by_v;
        }
        out.scale(view.own(0));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps by hand.
    #[test]
    fn first_terms() {
        let path = Path::exact(&[1e-3, 8e-4, 8e-4], 0, &[1, 2, 3]);
        let found = momentum(&path, 1);
        assert_eq!(found[0], 0.0);
        let (m, v) = (
            0.1 * 2e-4 / (1.0 - 0.81),
            1e-3 * 4e-8 / (1.0 - 0.999f64.powi(2)),
        );
        let first = m / ((1e5 * v + 1e-8).sqrt() + 1e-8);
        assert!((found[1] / first - 1.0).abs() < 1e-12);
        let (m, v) = (
            0.09 * 2e-4 / (1.0 - 0.729),
            0.999e-3 * 4e-8 / (1.0 - 0.999f64.powi(3)),
        );
        let second = m / ((1e5 * v + 1e-8).sqrt() + 1e-8);
        assert!((found[2] / (first + second) - 1.0).abs() < 1e-12);
    }
}
