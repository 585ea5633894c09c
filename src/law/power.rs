//! The power kernel with an amplitude that decays in intrinsic time, shared by several laws:
//! `R = Σ_k Δ_k·(a₀ + a₁·τ_k^−α)·G(C·η_k^−γ·S_k)`, τ_k the intrinsic time of change k.

use super::composed::{ALPHA, Columns, View};
use super::kernel::adjoint::{Adjoint, Steps};
use super::kernel::{Power, Wanted, power};
use super::{Bounds, Parameter, Prior, Scales};

/// `a₀ + a₁·τ^−α`.
#[derive(Clone, Copy)]
pub(super) struct Amplitude {
    pub constant: f64,
    pub decaying: f64,
}

impl Amplitude {
    pub const ONE: Amplitude = Amplitude {
        constant: 1.0,
        decaying: 0.0,
    };
}

/// Which full-list parameter each quantity is, where it is one.
#[derive(Clone, Copy, Default)]
pub(super) struct Places {
    /// Overall factor of R.
    pub scale: usize,
    pub c: usize,
    pub beta: Option<usize>,
    pub gamma: Option<usize>,
    pub constant: Option<usize>,
    pub decaying: Option<usize>,
}

/// Subtracts `scale·R` and its derivatives. Returns R at every point for the caller's own use.
pub(super) fn respond(
    view: &View,
    kernel: Power,
    amplitude: Amplitude,
    scale: f64,
    places: Places,
    out: &mut [f64],
    jacobian: &mut Columns,
) -> Vec<f64> {
    let nodes = view.nodes();
    let decays = amplitude.decaying != 0.0 || places.decaying.is_some();
    // Weights of R, and of its derivatives in a₀, a₁, α and sigma where somebody wants them.
    let mut weights: Vec<Vec<f64>> = vec![Vec::with_capacity(nodes.len())];
    let mut targets: Vec<usize> = Vec::new();
    let alpha = view.all[ALPHA];
    if decays {
        let wanted = [
            places.constant,
            places.decaying,
            Some(ALPHA),
            view.sigma_place(),
        ];
        let wanted = wanted.map(|place| place.filter(|&place| jacobian.wants(place)));
        targets.extend(wanted.iter().flatten());
        weights.resize(1 + targets.len(), Vec::with_capacity(nodes.len()));
        for node in nodes {
            let time = view.change_time(node.s1);
            let ln = time.value.ln();
            let power = (-alpha * ln).exp();
            let drop = node.drop();
            weights[0].push(drop * (amplitude.constant + amplitude.decaying * power));
            let parts = [
                1.0,
                power,
                -amplitude.decaying * ln * power,
                -amplitude.decaying * alpha * power / time.value * time.by_sigma,
            ];
            let mut column = 1;
            for (part, wanted) in parts.iter().zip(&wanted) {
                if wanted.is_some() {
                    weights[column].push(drop * part);
                    column += 1;
                }
            }
        }
    } else {
        weights[0].extend(nodes.iter().map(|node| amplitude.constant * node.drop()));
    }
    let wants = |place: Option<usize>| place.is_some_and(|place| jacobian.wants(place));
    let wanted = Wanted {
        ln_c: jacobian.wants(places.c),
        beta: wants(places.beta),
        gamma: wants(places.gamma),
    };
    let sets: Vec<&[f64]> = weights.iter().map(Vec::as_slice).collect();
    let mut response = power(view.path, view.first, kernel, &sets, wanted);
    let by_c = scale * (-kernel.ln_c).exp();
    for (point, out) in out.iter_mut().enumerate() {
        let value = response.values[0][point];
        *out -= scale * value;
        if !jacobian.wants_any() {
            continue;
        }
        jacobian.subtract(point, places.scale, value);
        let derivatives = [
            (Some(places.c), &response.d_ln_c, by_c),
            (places.beta, &response.d_beta, scale),
            (places.gamma, &response.d_gamma, scale),
        ];
        for (place, values, factor) in derivatives {
            if let (Some(place), Some(value)) = (place, values.get(point)) {
                jacobian.subtract(point, place, factor * value);
            }
        }
        for (target, values) in targets.iter().zip(&response.values[1..]) {
            jacobian.subtract(point, *target, scale * values[point]);
        }
    }
    response.values.swap_remove(0)
}

/// `scale·R` after the last step.
pub(super) fn adjoint(
    view: &View,
    steps: &Steps,
    kernel: Power,
    amplitude: Amplitude,
    scale: f64,
) -> Adjoint {
    let alpha = view.all[ALPHA];
    let mut out = steps.power(kernel, |k| {
        if amplitude.decaying == 0.0 {
            return (amplitude.constant, 0.0);
        }
        let time = view.change_time(steps.s1[k]);
        let power = amplitude.decaying * time.value.powf(-alpha);
        (
            amplitude.constant + power,
            -alpha * power / time.value * time.by_s1,
        )
    });
    out.scale(scale);
    out
}

pub(super) fn beta(name: &'static str) -> Parameter {
    Parameter {
        name,
        unit: "",
        what: "exponent at which a response completes",
        log: true,
    }
}

pub(super) const GAMMA: Parameter = Parameter {
    name: "gamma",
    unit: "",
    what: "responses are faster at lower LR, as lr^-gamma",
    log: false,
};

/// β and γ of the multi-power law hang together and few sets of curves tell them apart. The published fits
/// have β .41 to .88 and γ .52 to .66 (arXiv 2503.12811, Table 7 and its repository, three sizes); these are wider
/// around them. On the data those fits saw, they are not independent of it.
pub(super) fn beta_prior(place: usize) -> Prior {
    Prior {
        terms: vec![(place, 1.0)],
        centre: -0.6,
        sd: 0.5,
    }
}

pub(super) fn gamma_prior(place: usize) -> Prior {
    Prior {
        terms: vec![(place, 1.0)],
        centre: 0.55,
        sd: 0.2,
    }
}

pub(super) fn beta_bounds() -> Bounds {
    Bounds {
        low: 0.02,
        high: 2.0,
    }
}

pub(super) fn gamma_bounds() -> Bounds {
    Bounds {
        low: 0.0,
        high: 1.5,
    }
}

/// Bounds of C where the response at the highest LR has reached `x = C·η^−γ·S₁` between `1e-2` and `1e7`.
pub(super) fn rate_bounds(scales: &Scales) -> Bounds {
    let most = scales.lr.powf(gamma_bounds().high);
    Bounds {
        low: 1e-2 / scales.s1 * most.min(1.0),
        high: 1e7 / scales.s1 * most.max(1.0),
    }
}
