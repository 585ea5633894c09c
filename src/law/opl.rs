//! The one-power law, and its correction by the LR itself: `L = L0 + A·S₁^−α − B·(η₀ − η_t)`.

use super::base::TYPICAL_DROP;
use super::composed::{Columns, OWN, Response, View};
use super::kernel::adjoint::{Adjoint, Steps};
use super::{Bounds, Parameter, Scales};

/// One-power law: the base alone.
pub(super) struct Opl;

impl Response for Opl {
    fn name(&self) -> &'static str {
        "opl"
    }
    fn formula(&self) -> &'static str {
        "L0 + A·S1^-alpha"
    }
    fn source(&self) -> &'static str {
        "one-power law, arXiv 2503.12811 §3"
    }
    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }
    fn bounds(&self, _: &Scales) -> Vec<Bounds> {
        Vec::new()
    }
    fn starts(&self, _: &Scales, _: f64) -> Vec<Vec<f64>> {
        vec![Vec::new()]
    }
    fn respond(&self, _: &View, _: &mut [f64], _: &mut Columns) {}
    fn adjoint(&self, _: &View, steps: &Steps) -> Adjoint {
        Adjoint::zeros(steps.lrs.len())
    }
}

/// Linear LR-dependent loss: drops count in full at once. η₀ is the LR at the end of the warm-up; with the
/// warm-up counted as a rise it is 0 and the law reads `L0 + A·S₁^−α + B·η_t`.
pub(super) struct Lldl;

impl Response for Lldl {
    fn name(&self) -> &'static str {
        "lldl"
    }
    fn formula(&self) -> &'static str {
        "L0 + A·S1^-alpha - B·(lr_0 - lr_t)"
    }
    fn source(&self) -> &'static str {
        "linear LD law, arXiv 2503.12811 Table 3"
    }
    fn parameters(&self) -> Vec<Parameter> {
        vec![amplitude("B")]
    }
    fn bounds(&self, scales: &Scales) -> Vec<Bounds> {
        vec![amplitude_bounds(scales)]
    }
    fn starts(&self, scales: &Scales, _: f64) -> Vec<Vec<f64>> {
        vec![vec![TYPICAL_DROP / scales.lr]]
    }
    fn respond(&self, view: &View, out: &mut [f64], jacobian: &mut Columns) {
        let b = view.own(0);
        let nodes = view.nodes();
        let (mut fallen, mut next) = (0.0, 0);
        for (point, out) in out.iter_mut().enumerate() {
            let seen = view.seen(point);
            fallen += nodes[next..seen]
                .iter()
                .map(|node| node.drop())
                .sum::<f64>();
            next = seen;
            *out -= b * fallen;
            jacobian.subtract(point, OWN, fallen);
        }
    }
    fn adjoint(&self, view: &View, steps: &Steps) -> Adjoint {
        let mut out = Adjoint::zeros(steps.lrs.len());
        for k in steps.first..steps.lrs.len() {
            out.value += view.own(0) * steps.drop(k);
            out.drop[k] = view.own(0);
        }
        out
    }
}

/// Loss gained a unit of LR fallen.
pub(super) fn amplitude(name: &'static str) -> Parameter {
    Parameter {
        name,
        unit: "nats/lr",
        what: "loss gained by a drop of the LR, in full",
        log: true,
    }
}

/// From a hundredth of a typical gain up to far more than any: slow kernels never gain theirs in full.
pub(super) fn amplitude_bounds(scales: &Scales) -> Bounds {
    Bounds {
        low: 1e-3 * TYPICAL_DROP / scales.lr,
        high: 1e3 * TYPICAL_DROP / scales.lr,
    }
}
