//! `L = L0 + A·t^−α`: Chinchilla's data term with steps for tokens, blind to the schedule.

use super::base::{expand, fix, free};
use super::{Bounds, Law, LawOptions, Parameter, Path, Run, Scales};
use crate::error::Result;

/// For final losses of runs with one kind of schedule (CDSL of arXiv 2503.12811, after 2203.15556): of a curve
/// under a decaying LR it knows nothing.
pub(super) struct Chinchilla {
    /// The free ones.
    parameters: Vec<Parameter>,
    fixed: Vec<Option<f64>>,
    options: LawOptions,
}

const ALL: [Parameter; 3] = [
    Parameter {
        name: "L0",
        unit: "nats",
        what: "loss that no number of steps gets below",
        log: false,
    },
    Parameter {
        name: "A",
        unit: "nats·step^alpha",
        what: "reducible loss after one step",
        log: true,
    },
    Parameter {
        name: "alpha",
        unit: "",
        what: "exponent of the steps",
        log: true,
    },
];

impl Chinchilla {
    pub fn new(options: &LawOptions) -> Result<Self> {
        let mut fixed = vec![None; ALL.len()];
        fix("chinchilla", &ALL, &mut fixed, &options.fixed)?;
        Ok(Chinchilla {
            parameters: free(&ALL, &fixed),
            fixed,
            options: options.clone(),
        })
    }
}

impl Law for Chinchilla {
    fn name(&self) -> &'static str {
        "chinchilla"
    }

    fn formula(&self) -> &'static str {
        "L0 + A·t^-alpha"
    }

    fn source(&self) -> &'static str {
        "Chinchilla's data term in steps, arXiv 2203.15556 eq. 10"
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn options(&self) -> LawOptions {
        self.options.clone()
    }

    fn bounds(&self, scales: &Scales) -> Vec<Bounds> {
        let all = [
            Bounds {
                low: 0.0,
                high: scales.loss_low,
            },
            Bounds {
                low: 1e-4,
                high: 1e4 * scales.steps.max(1.0).powi(2),
            },
            Bounds {
                low: 0.01,
                high: 3.0,
            },
        ];
        free(&all, &self.fixed)
    }

    fn starts(&self, scales: &Scales) -> Vec<Vec<f64>> {
        let range = (scales.loss_high - scales.loss_low).max(1e-3);
        [(0.4, 0.5), (0.1, 0.7), (1.0, 0.3)]
            .into_iter()
            .map(|(depth, alpha)| {
                let l0 = (scales.loss_low - depth * range).max(0.3 * scales.loss_low);
                let a = (scales.loss_low - l0) * scales.steps.max(1.0).powf(alpha);
                free(&[l0, a, alpha], &self.fixed)
            })
            .collect()
    }

    fn evaluate(
        &self,
        path: &Path,
        parameters: &[f64],
        out: &mut [f64],
        mut jacobian: Option<&mut [f64]>,
    ) {
        let all = expand(&self.fixed, parameters);
        let width = parameters.len();
        for (point, out) in out.iter_mut().enumerate() {
            let ln = path.steps[point].max(1.0).ln();
            let power = (-all[2] * ln).exp();
            *out = all[0] + all[1] * power;
            if let Some(jacobian) = &mut jacobian {
                let full = [1.0, power, -all[1] * ln * power];
                let row = &mut jacobian[point * width..][..width];
                let free = full
                    .iter()
                    .zip(&self.fixed)
                    .filter(|(_, fixed)| fixed.is_none());
                for (cell, (value, _)) in row.iter_mut().zip(free) {
                    *cell = *value;
                }
            }
        }
    }

    fn schedule_gradient(&self, run: &Run, parameters: &[f64]) -> (f64, Vec<f64>) {
        let path = Path::exact(run.lrs, run.warmup, &[run.lrs.len() as u64]);
        let mut loss = [0.0];
        self.evaluate(&path, parameters, &mut loss, None);
        (loss[0], vec![0.0; run.lrs.len()])
    }
}
