//! The effective-LR law: what trains is not the LR but the LR over the weights' norm, and AdamW's weight decay
//! makes the norm follow the LR. Ours; derivation, choices and failures in `docs/general-law.md`.
//!
//! With LR `η_t`, in blocks of one step for an exact path:
//!
//! ```text
//! v:  dv/dt = r·η·(η − v),  v(0) = v0          weight norm squared, as the LR that would hold it there
//! ε = η·v^−e                                     effective LR
//! S(t) = Σ ε                                     intrinsic time
//! L(t) = L0 + A·S^−α + B·Σ_k (ε_k^p − ε_{k−1}^p)·(1 − (1 + C·(S(t) − S_k))^−β),   ε_{−1} = 0
//! ```
//!
//! An AdamW update has a length ∝ η whatever the gradient, so that `d‖W‖²/dt = −2·λ·η·‖W‖² + κ·η²`: the norm
//! relaxes towards `κη/2λ` at rate `r·η` with `r = 2λ`, λ the weight decay. Measured in units of its own
//! equilibrium that is the first line. The last term is the noise that the LR keeps in the loss, convolved with
//! a forgetting kernel in intrinsic time; the warm-up counts as a rise from 0. At a constant LR, long after,
//! `ε = η^{1−e}`, so the plateau rises as `η^{p(1−e)}`, about `η^.34`: measured on 124M plateaus, `η^.25–.45`.
//!
//! `e` and `p` have priors around .6 and .85, and stand there in `elr-fixed`. The others' priors are in units of
//! the fitted runs' highest LR and longest horizon, so that none depends on units.

mod blocks;
mod gradient;
mod memory;
mod motion;
#[cfg(test)]
mod tests;

use super::base::{base_bounds, expand, fix, free, free_priors};
use super::{Bounds, Law, LawOptions, Parameter, Path, Prior, Run, Scales};
use crate::error::Result;
pub(super) use blocks::Block;
use blocks::blocks;
use memory::Memory;
use motion::{Norm, Pace};

/// Places in the full list; sigma, where asked for, comes last.
const L0: usize = 0;
const A: usize = 1;
const ALPHA: usize = 2;
const B: usize = 3;
const C: usize = 4;
const BETA: usize = 5;
const R: usize = 6;
const V0: usize = 7;
const E: usize = 8;
const P: usize = 9;
const SIGMA: usize = 10;
/// Parameters that move the effective LR or the noise: `rate`, `v0`, `e`, `p`.
const DRIVERS: usize = 4;

/// Where the two exponents are held, or their priors' centres.
const FIXED_E: f64 = 0.6;
const FIXED_P: f64 = 0.85;

/// Whether the two exponents are fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Fixed,
    Free,
}

/// The law with some of its parameters held.
pub(super) struct Elr {
    form: Form,
    parameters: Vec<Parameter>,
    /// Of the full list: value where fixed.
    fixed: Vec<Option<f64>>,
    options: LawOptions,
}

const ALL: [Parameter; 11] = [
    Parameter {
        name: "L0",
        unit: "nats",
        what: "loss that no schedule gets below",
        log: false,
    },
    Parameter {
        name: "A",
        unit: "nats·S^alpha",
        what: "reducible loss at intrinsic time 1",
        log: true,
    },
    Parameter {
        name: "alpha",
        unit: "",
        what: "exponent of intrinsic time",
        log: true,
    },
    Parameter {
        name: "B",
        unit: "nats/lr_eff^p",
        what: "loss that the noise of the effective LR costs",
        log: true,
    },
    Parameter {
        name: "C",
        unit: "1/S",
        what: "speed at which a change of the LR is felt",
        log: true,
    },
    Parameter {
        name: "beta",
        unit: "",
        what: "exponent at which a response completes",
        log: true,
    },
    Parameter {
        name: "rate",
        unit: "1/(lr·step)",
        what: "speed of the weight norm; 2·weight decay in theory",
        log: true,
    },
    Parameter {
        name: "v0",
        unit: "lr",
        what: "LR that would hold the initial weight norm",
        log: true,
    },
    Parameter {
        name: "e",
        unit: "",
        what: "power of the squared norm that divides the LR",
        log: false,
    },
    Parameter {
        name: "p",
        unit: "",
        what: "power of the effective LR that is noise",
        log: true,
    },
    Parameter {
        name: "sigma",
        unit: "S",
        what: "offset of intrinsic time, for a warm-up not logged",
        log: false,
    },
];

/// Units of a fit: the effective LR at the highest LR, and the intrinsic time of the longest run at it.
struct Units {
    effective: f64,
    s: f64,
}

impl Units {
    fn new(scales: &Scales, e: f64) -> Units {
        let effective = scales.lr.powf(1.0 - e);
        let s = effective * scales.steps;
        Units { effective, s }
    }
}

impl Elr {
    pub fn new(form: Form, options: &LawOptions) -> Result<Self> {
        let all = &ALL[..ALL.len() - usize::from(!options.s1_offset)];
        let mut fixed = vec![None; all.len()];
        if form == Form::Fixed {
            fixed[E] = Some(FIXED_E);
            fixed[P] = Some(FIXED_P);
        }
        fix(form.name(), all, &mut fixed, &options.fixed)?;
        Ok(Elr {
            form,
            parameters: free(all, &fixed),
            fixed,
            options: options.clone(),
        })
    }

    /// The exponent e, or its usual value where it is fitted.
    fn usual_e(&self) -> f64 {
        self.fixed[E].unwrap_or(FIXED_E)
    }

    /// Free parameters from a list of full ones, within bounds.
    fn start(&self, mut full: Vec<f64>, bounds: &[Bounds]) -> Vec<f64> {
        full.truncate(self.fixed.len());
        free(&full, &self.fixed)
            .iter()
            .zip(bounds)
            .map(|(value, bounds)| value.clamp(bounds.low, bounds.high))
            .collect()
    }
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Form::Fixed => "elr-fixed",
            Form::Free => "elr",
        }
    }
}

/// Widths of the priors, in natural logarithms but for those of e and p.
const PRIORS: [(usize, f64, f64); 5] = [
    (ALPHA, -0.68, 0.15),
    (C, 9.0, 0.7),
    (BETA, -1.6, 0.2),
    (R, 1.8, 0.7),
    (V0, -0.5, 0.35),
];

impl Law for Elr {
    fn name(&self) -> &'static str {
        self.form.name()
    }

    fn formula(&self) -> &'static str {
        "L0 + A·S^-alpha + B·sum_k (eps_k^p - eps_(k-1)^p)·(1 - (1 + C·(S - S_k))^-beta), \
         eps = lr·v^-e, S = sum eps, dv/dt = rate·lr·(lr - v)"
    }

    fn source(&self) -> &'static str {
        match self.form {
            Form::Fixed => "ours, effective LR under weight decay; e = 0.6, p = 0.85",
            Form::Free => "ours, effective LR under weight decay",
        }
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn options(&self) -> LawOptions {
        self.options.clone()
    }

    fn points_a_curve(&self) -> f64 {
        f64::INFINITY
    }

    fn bounds(&self, scales: &Scales) -> Vec<Bounds> {
        let units = Units::new(scales, self.usual_e());
        let around = |unit: f64, low: f64, high: f64| Bounds {
            low: unit * f64::exp(low),
            high: unit * f64::exp(high),
        };
        let mut all = base_bounds(scales);
        all[A] = around(units.s.powf(0.5), -12.0, 8.0);
        let p = self.fixed[P].unwrap_or(FIXED_P);
        all.extend([
            around(units.effective.powf(-p), -9.0, 4.0),
            around(1.0 / units.s, -3.0, 14.0),
            around(1.0, -4.0, 0.4),
            around(1.0 / (scales.lr * scales.steps), -4.0, 7.0),
            around(scales.lr, -5.0, 3.0),
            Bounds {
                low: 0.0,
                high: 1.0,
            },
            Bounds {
                low: 0.3,
                high: 1.5,
            },
            Bounds {
                // The norm is at most that of the highest LR for most of a run, so S is at least this long.
                low: -0.75 * scales.s1_first * scales.lr.powf(-self.usual_e()),
                high: 0.5 * units.s,
            },
        ]);
        all.truncate(self.fixed.len());
        free(&all, &self.fixed)
    }

    fn starts(&self, scales: &Scales) -> Vec<Vec<f64>> {
        let units = Units::new(scales, self.usual_e());
        let bounds = self.bounds(scales);
        let p = self.fixed[P].unwrap_or(FIXED_P);
        let mut starts = Vec::new();
        for (ln_c, h) in [(9.0, 2.0f64), (6.0, 2.0), (9.0, 0.5), (6.0, 0.5)] {
            for alpha in [0.5f64, 0.35] {
                let full = vec![
                    scales.loss_low - 0.5,
                    0.3 * units.s.powf(alpha),
                    alpha,
                    0.2 * units.effective.powf(-p),
                    f64::exp(ln_c) / units.s,
                    0.25,
                    h.exp() / (scales.lr * scales.steps),
                    0.7 * scales.lr,
                    FIXED_E,
                    FIXED_P,
                    0.0,
                ];
                starts.push(self.start(full, &bounds));
            }
        }
        starts
    }

    fn priors(&self, scales: &Scales, _: &[f64]) -> Vec<Prior> {
        let mut priors: Vec<Prior> = PRIORS
            .iter()
            .map(|&(place, centre, sd)| {
                let mut terms = vec![(place, 1.0)];
                let unit = match place {
                    // ln C + ln S-unit, in which e takes part: (1 − e)·ln lr + ln steps.
                    C => {
                        terms.push((E, -scales.lr.ln()));
                        -(scales.lr.ln() + scales.steps.ln())
                    }
                    R => -(scales.lr * scales.steps).ln(),
                    V0 => scales.lr.ln(),
                    _ => 0.0,
                };
                Prior {
                    terms,
                    centre: centre + unit,
                    sd,
                }
            })
            .collect();
        let alone = |place, centre, sd| Prior {
            terms: vec![(place, 1.0)],
            centre,
            sd,
        };
        priors.push(alone(E, FIXED_E, 0.1));
        priors.push(alone(P, FIXED_P.ln(), 0.06));
        free_priors(priors, &self.fixed, |place| ALL[place].log)
    }

    fn evaluate(
        &self,
        path: &Path,
        parameters: &[f64],
        out: &mut [f64],
        mut jacobian: Option<&mut [f64]>,
    ) {
        let full = expand(&self.fixed, parameters);
        let blocks = blocks(path);
        let mut norm = Norm::new(full[V0]);
        let paces: Vec<Pace> = blocks.iter().map(|b| norm.pass(b, &full)).collect();
        let total: f64 = (blocks.iter().zip(&paces))
            .map(|(block, pace)| pace.effective * block.steps)
            .sum();
        let (b, c) = (full[B], full[C]);
        let mut memory = Memory::new(full[BETA], c * total, jacobian.is_some());
        let sigma = full.get(SIGMA).copied().unwrap_or(0.0);
        let first = paces.first().map_or(1.0, |pace| pace.effective);
        let (mut s, mut d_s) = (0.0, [0.0; DRIVERS]);
        let (mut noise, mut d_noise) = (0.0, [0.0; DRIVERS]);
        let mut gradient = vec![0.0; full.len()];
        let mut point = 0;
        for (block, pace) in blocks.iter().zip(&paces) {
            let mut d_change = [0.0; DRIVERS];
            let mut d_time = [0.0; DRIVERS];
            for i in 0..DRIVERS {
                d_change[i] = pace.d_noise[i] - d_noise[i];
                d_time[i] = c * block.steps * pace.d_effective[i];
                d_s[i] += block.steps * pace.d_effective[i];
            }
            let time = block.steps * pace.effective;
            s += time;
            memory.step(pace.noise - noise, &d_change, c * time, &d_time, c);
            (noise, d_noise) = (pace.noise, pace.d_noise);
            for _ in 0..block.points {
                // No point is younger than the first step makes it.
                let (time, moves) = if s + sigma >= first {
                    (s + sigma, 1.0)
                } else {
                    (first, 0.0)
                };
                let power = time.powf(-full[ALPHA]);
                let answered = noise - memory.held();
                out[point] = full[L0] + full[A] * power + b * answered;
                if let Some(jacobian) = jacobian.as_deref_mut() {
                    gradient.fill(0.0);
                    memory.d_held(&mut gradient);
                    let slope = -moves * full[A] * full[ALPHA] * power / time;
                    for value in &mut gradient {
                        *value *= -b;
                    }
                    for i in 0..DRIVERS {
                        gradient[R + i] += b * d_noise[i] + slope * d_s[i];
                    }
                    gradient[L0] = 1.0;
                    gradient[A] = power;
                    gradient[ALPHA] = -full[A] * power * time.ln();
                    gradient[B] = answered;
                    if let Some(by_sigma) = gradient.get_mut(SIGMA) {
                        *by_sigma = slope;
                    }
                    let width = parameters.len();
                    let row = &mut jacobian[point * width..][..width];
                    row.copy_from_slice(&free(&gradient, &self.fixed));
                }
                point += 1;
            }
        }
    }

    fn schedule_gradient(&self, run: &Run, parameters: &[f64]) -> (f64, Vec<f64>) {
        gradient::of_final_loss(run.lrs, &expand(&self.fixed, parameters))
    }
}
