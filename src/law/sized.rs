//! A law over model size and schedule together.

use super::base::TYPICAL_DROP;
use super::composed::{Columns, OWN, Response, View};
use super::kernel::adjoint::{Adjoint, Steps};
use super::kernel::{Clock, Power};
use super::opl::{amplitude, amplitude_bounds};
use super::power::{self, Amplitude, GAMMA, Places};
use super::{Bounds, Parameter, Prior, Scales};

/// `L = L0 + A·S₁^−α + E·n^−b − B·n^d·Σ_k Δ_k·G(C·η_k^−γ·S_k)`, `G(x) = 1 − (1+x)^−β`, with n the model's
/// parameters in units of 10⁸: the size term that the momentum law's paper adds (arXiv 2408.11029 §4) on the
/// multi-power law, and a gain of annealing that goes as a power of the size. Ours; needs curves of at
/// least two sizes, three to tell L0 from E.
pub(super) struct Sized;

const E: usize = 0;
const B_SIZE: usize = 1;
const B: usize = 2;
const D: usize = 3;
const C: usize = 4;
const BETA: usize = 5;
const GAMMA_PLACE: usize = 6;

/// Parameters of a model at n = 1.
const UNIT: f64 = 1e8;

impl Sized {
    fn kernel(&self, view: &View) -> Power {
        Power {
            clock: Clock::S1,
            ln_c: view.own(C).ln(),
            beta: view.own(BETA),
            gamma: view.own(GAMMA_PLACE),
        }
    }

    /// ln n; NaN where the path does not say its size, and so is then every prediction.
    fn ln_size(&self, view: &View) -> f64 {
        view.path.size.map_or(f64::NAN, |size| (size / UNIT).ln())
    }
}

impl Response for Sized {
    fn name(&self) -> &'static str {
        "sized"
    }

    fn formula(&self) -> &'static str {
        "L0 + A·S1^-alpha + E·n^-b - B·n^d·sum_k drop_k·(1 - (1 + C·lr_k^-gamma·(S1 - S1_k))^-beta), n = parameters/1e8"
    }

    fn source(&self) -> &'static str {
        "ours, from arXiv 2408.11029 §4 and 2503.12811"
    }

    fn needs_size(&self) -> bool {
        true
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter {
                name: "E",
                unit: "nats",
                what: "loss that a model of 1e8 parameters pays for its size",
                log: true,
            },
            Parameter {
                name: "b",
                unit: "",
                what: "exponent of the model's size",
                log: true,
            },
            Parameter {
                what: "loss gained by a drop of the LR, in full, by a model of 1e8 parameters",
                ..amplitude("B")
            },
            Parameter {
                name: "d",
                unit: "",
                what: "the gain goes as size^d",
                log: false,
            },
            Parameter {
                name: "C",
                unit: "lr^gamma/(lr·step)",
                what: "speed of the response to a drop",
                log: true,
            },
            power::beta("beta"),
            GAMMA,
        ]
    }

    fn bounds(&self, scales: &Scales) -> Vec<Bounds> {
        vec![
            Bounds {
                low: 1e-3,
                high: 1e2,
            },
            Bounds {
                low: 0.01,
                high: 2.0,
            },
            amplitude_bounds(scales),
            Bounds {
                low: -1.0,
                high: 1.0,
            },
            power::rate_bounds(scales),
            power::beta_bounds(),
            power::gamma_bounds(),
        ]
    }

    fn priors(&self, _: &Scales, _: &[f64]) -> Vec<Prior> {
        vec![
            power::beta_prior(OWN + BETA),
            power::gamma_prior(OWN + GAMMA_PLACE),
        ]
    }

    fn starts(&self, scales: &Scales, _: f64) -> Vec<Vec<f64>> {
        [(0.8, 0.3, 1e3, 0.5, 0.5), (0.3, 0.5, 1e2, 0.4, 0.3)]
            .into_iter()
            .map(|(e, b, reach, beta, gamma): (f64, f64, f64, f64, f64)| {
                let gained = 1.0 - (1.0 + reach).powf(-beta);
                let rate = reach / scales.s1 * scales.lr.powf(gamma);
                let full = TYPICAL_DROP / (scales.lr * gained);
                vec![e, b, full, 0.1, rate, beta, gamma]
            })
            .collect()
    }

    fn respond(&self, view: &View, out: &mut [f64], jacobian: &mut Columns) {
        let ln_n = self.ln_size(view);
        let paid = (-view.own(B_SIZE) * ln_n).exp();
        let growth = (view.own(D) * ln_n).exp();
        let places = Places {
            scale: OWN + B,
            c: OWN + C,
            beta: Some(OWN + BETA),
            gamma: Some(OWN + GAMMA_PLACE),
            ..Places::default()
        };
        let amplitude = Amplitude {
            constant: growth,
            decaying: 0.0,
        };
        let gain = view.own(B);
        let response = power::respond(
            view,
            self.kernel(view),
            amplitude,
            gain,
            places,
            out,
            jacobian,
        );
        for (point, (out, response)) in out.iter_mut().zip(response).enumerate() {
            *out += view.own(E) * paid;
            jacobian.subtract(point, OWN + E, -paid);
            jacobian.subtract(point, OWN + B_SIZE, view.own(E) * ln_n * paid);
            jacobian.subtract(point, OWN + D, gain * response * ln_n);
        }
    }

    fn adjoint(&self, view: &View, steps: &Steps) -> Adjoint {
        let ln_n = self.ln_size(view);
        let growth = (view.own(D) * ln_n).exp();
        let scale = view.own(B) * growth;
        let mut out = power::adjoint(view, steps, self.kernel(view), Amplitude::ONE, scale);
        out.value -= view.own(E) * (-view.own(B_SIZE) * ln_n).exp();
        out
    }
}
