//! Laws of the form `L = L0 + A·S₁^−α − R`: one base, and a response `R` to the changes of the LR that
//! each law brings. Offsets of S₁, warm-up rules and fixed parameters are handled here, once for all.

use super::base::{
    SIGMA, TYPICAL_DROP, base_bounds, base_parameters, base_starts, expand, fix, free, free_priors,
    sigma_bounds,
};
use super::kernel::adjoint::{Adjoint, Steps};
use super::kernel::scratch;
use super::path::LR_FLOOR;
use super::{Bounds, Law, LawOptions, Node, Parameter, Path, Prior, Run, Scales, WarmupRule};
use crate::error::Result;
use std::sync::Arc;

/// Full parameter lists are `L0, A, alpha`, then the response's own, then `sigma`.
pub(super) const L0: usize = 0;
pub(super) const A: usize = 1;
pub(super) const ALPHA: usize = 2;
pub(super) const OWN: usize = 3;

/// The part of a law that answers to changes of the LR.
pub(super) trait Response: Send + Sync {
    fn name(&self) -> &'static str;
    fn formula(&self) -> &'static str;
    fn source(&self) -> &'static str;
    /// Names of the base's parameters, where a paper has others.
    fn base_names(&self) -> [&'static str; 3] {
        ["L0", "A", "alpha"]
    }
    fn parameters(&self) -> Vec<Parameter>;
    /// One a parameter of its own.
    fn bounds(&self, scales: &Scales) -> Vec<Bounds>;
    /// Starts of its own parameters beside a base with this α, best guess first; as many for every α.
    fn starts(&self, scales: &Scales, alpha: f64) -> Vec<Vec<f64>>;
    /// Values of own parameters that this law holds fixed unless told otherwise: (index, value).
    fn fixed(&self) -> Vec<(usize, f64)> {
        Vec::new()
    }
    fn needs_size(&self) -> bool {
        false
    }
    /// The law that a fit with priors fits first, see [`Law::prelude`].
    fn prelude(&self, _options: &LawOptions) -> Option<Arc<dyn Law>> {
        None
    }
    /// See [`Law::priors`]; parameters by their place in the full list.
    fn priors(&self, _scales: &Scales, _prelude: &[f64]) -> Vec<Prior> {
        Vec::new()
    }
    /// Subtracts R from `out` at every point, and ∂R/∂parameter from the columns wanted.
    fn respond(&self, view: &View, out: &mut [f64], jacobian: &mut Columns);
    /// R after the last step, with its derivatives. `view.path` has that one point.
    fn adjoint(&self, view: &View, steps: &Steps) -> Adjoint;
}

/// What a response sees.
pub(super) struct View<'a> {
    pub path: &'a Path,
    /// The full parameter list.
    pub all: &'a [f64],
    /// Nodes before this one get no response.
    pub first: usize,
    shift: f64,
    sigma: f64,
    offset: bool,
}

/// An intrinsic time as amplitudes and the base see it.
#[derive(Clone, Copy)]
pub(super) struct Time {
    pub value: f64,
    /// Whether it follows S₁ (1) or stands at a floor (0).
    pub by_s1: f64,
    pub by_sigma: f64,
}

impl View<'_> {
    /// Place of sigma in the full list, where the law has it.
    pub fn sigma_place(&self) -> Option<usize> {
        self.offset.then(|| self.all.len() - 1)
    }

    pub fn own(&self, index: usize) -> f64 {
        self.all[OWN + index]
    }

    fn time(&self, s1: f64) -> Time {
        let value = s1 + self.shift;
        let floor = self.path.s1_floor;
        if value >= floor.max(-self.sigma) {
            Time {
                value,
                by_s1: 1.0,
                by_sigma: 1.0,
            }
        } else if -self.sigma > floor {
            Time {
                value: -self.sigma,
                by_s1: 0.0,
                by_sigma: -1.0,
            }
        } else {
            Time {
                value: floor,
                by_s1: 0.0,
                by_sigma: 0.0,
            }
        }
    }

    /// Intrinsic time of a change at `s1`, for amplitudes: no change is older than the end of the warm-up.
    pub fn change_time(&self, s1: f64) -> Time {
        self.time(s1.max(self.path.warmup_s1))
    }

    /// Intrinsic time at a point, and its logarithm.
    pub fn point_time(&self, point: usize) -> (Time, f64) {
        let time = self.time(self.path.s1[point]);
        let ln = if self.shift == 0.0 {
            self.path.ln_s1[point]
        } else {
            time.value.ln()
        };
        (time, ln)
    }

    pub fn nodes(&self) -> &[Node] {
        &self.path.nodes[self.first.min(self.path.nodes.len())..]
    }

    /// How many of [`View::nodes`] happened before a point.
    pub fn seen(&self, point: usize) -> usize {
        self.path.seen[point].saturating_sub(self.first)
    }
}

/// Where derivatives go: columns of the free parameters only.
pub(super) struct Columns<'a> {
    data: Option<&'a mut [f64]>,
    width: usize,
    /// Of each parameter of the full list.
    of: &'a [Option<usize>],
}

impl Columns<'_> {
    pub fn wants(&self, parameter: usize) -> bool {
        self.data.is_some() && self.of.get(parameter).copied().flatten().is_some()
    }

    pub fn wants_any(&self) -> bool {
        self.data.is_some()
    }

    #[inline]
    pub fn subtract(&mut self, point: usize, parameter: usize, value: f64) {
        if let (Some(data), Some(Some(column))) = (&mut self.data, self.of.get(parameter)) {
            data[point * self.width + column] -= value;
        }
    }
}

/// A base and a response, as a law.
pub(super) struct Composed<R> {
    response: R,
    /// The free ones.
    parameters: Vec<Parameter>,
    /// Of the full list: value where fixed.
    fixed: Vec<Option<f64>>,
    /// Of the full list: whether fitted as a logarithm.
    logs: Vec<bool>,
    /// Of the full list: column where free.
    columns: Vec<Option<usize>>,
    options: LawOptions,
}

impl<R: Response> Composed<R> {
    pub fn new(response: R, options: &LawOptions) -> Result<Self> {
        let mut all = base_parameters(response.base_names()).to_vec();
        all.extend(response.parameters());
        if options.s1_offset {
            all.push(SIGMA);
        }
        let mut fixed = vec![None; all.len()];
        for (index, value) in response.fixed() {
            fixed[OWN + index] = Some(value);
        }
        fix(response.name(), &all, &mut fixed, &options.fixed)?;
        let mut columns = vec![None; all.len()];
        let mut parameters = Vec::new();
        for (i, parameter) in all.iter().enumerate() {
            if fixed[i].is_none() {
                columns[i] = Some(parameters.len());
                parameters.push(*parameter);
            }
        }
        Ok(Composed {
            response,
            parameters,
            fixed,
            logs: all.iter().map(|parameter| parameter.log).collect(),
            columns,
            options: options.clone(),
        })
    }

    fn view<'a>(&self, path: &'a Path, all: &'a [f64]) -> View<'a> {
        let sigma = if self.options.s1_offset {
            all[all.len() - 1]
        } else {
            0.0
        };
        let (first, deficit) = match self.options.warmup {
            WarmupRule::Rise => (0, 0.0),
            WarmupRule::Ignored => (path.warmup_nodes, 0.0),
            WarmupRule::ConstantPeak => (path.warmup_nodes, path.warmup_deficit),
        };
        View {
            path,
            all,
            first,
            shift: sigma + deficit,
            sigma,
            offset: self.options.s1_offset,
        }
    }
}

impl<R: Response> Law for Composed<R> {
    fn name(&self) -> &'static str {
        self.response.name()
    }

    fn formula(&self) -> &'static str {
        self.response.formula()
    }

    fn source(&self) -> &'static str {
        self.response.source()
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn needs_size(&self) -> bool {
        self.response.needs_size()
    }

    fn bounds(&self, scales: &Scales) -> Vec<Bounds> {
        let mut all = base_bounds(scales);
        all.extend(self.response.bounds(scales));
        if self.options.s1_offset {
            all.push(sigma_bounds(scales));
        }
        free(&all, &self.fixed)
    }

    fn starts(&self, scales: &Scales) -> Vec<Vec<f64>> {
        let bounds = self.bounds(scales);
        // Counted as a rise, the warm-up lifts the whole curve by what a full decay would gain.
        let lifted = Scales {
            loss_low: match self.options.warmup {
                WarmupRule::Rise => scales.loss_low - TYPICAL_DROP,
                _ => scales.loss_low,
            },
            ..*scales
        };
        let bases = base_starts(&lifted, TYPICAL_DROP);
        let own: Vec<Vec<Vec<f64>>> = bases
            .iter()
            .map(|base| self.response.starts(scales, base[ALPHA]))
            .collect();
        let mut starts: Vec<Vec<f64>> = Vec::new();
        for i in 0..own[0].len() {
            for (base, own) in bases.iter().zip(&own) {
                let mut all = base.to_vec();
                all.extend_from_slice(&own[i]);
                if self.options.s1_offset {
                    all.push(if starts.len().is_multiple_of(2) {
                        0.0
                    } else {
                        -0.3 * scales.s1_first
                    });
                }
                let mut start = free(&all, &self.fixed);
                for (value, bounds) in start.iter_mut().zip(&bounds) {
                    *value = value.clamp(bounds.low, bounds.high);
                }
                if !starts.contains(&start) {
                    starts.push(start);
                }
            }
        }
        starts
    }

    fn options(&self) -> LawOptions {
        self.options.clone()
    }

    fn prelude(&self) -> Option<Arc<dyn Law>> {
        self.response.prelude(&LawOptions {
            fixed: Vec::new(),
            ..self.options()
        })
    }

    fn priors(&self, scales: &Scales, prelude: &[f64]) -> Vec<Prior> {
        let priors = self.response.priors(scales, prelude);
        free_priors(priors, &self.fixed, |place| self.logs[place])
    }

    fn evaluate(
        &self,
        path: &Path,
        parameters: &[f64],
        out: &mut [f64],
        mut jacobian: Option<&mut [f64]>,
    ) {
        let all = expand(&self.fixed, parameters);
        let view = self.view(path, &all);
        if let Some(jacobian) = &mut jacobian {
            jacobian.fill(0.0);
        }
        let mut columns = Columns {
            data: jacobian,
            width: self.parameters.len(),
            of: &self.columns,
        };
        let (l0, a, alpha) = (all[L0], all[A], all[ALPHA]);
        for (point, out) in out.iter_mut().enumerate() {
            let (time, ln) = view.point_time(point);
            let power = (-alpha * ln).exp();
            *out = l0 + a * power;
            if columns.wants_any() {
                columns.subtract(point, L0, -1.0);
                columns.subtract(point, A, -power);
                columns.subtract(point, ALPHA, a * ln * power);
                if self.options.s1_offset {
                    columns.subtract(
                        point,
                        all.len() - 1,
                        alpha * a * power / time.value * time.by_sigma,
                    );
                }
            }
        }
        self.response.respond(&view, out, &mut columns);
    }

    fn schedule_gradient(&self, run: &Run, parameters: &[f64]) -> (f64, Vec<f64>) {
        let all = expand(&self.fixed, parameters);
        let steps = run.lrs.len();
        let path = Path::exact(run.lrs, run.warmup, &[steps as u64]).of_size(run.size);
        let view = self.view(&path, &all);
        let warmup = path.warmup.min(steps);
        let mut s1 = scratch::zeros(steps + 1);
        let mut sum = 0.0;
        for (s1, lr) in s1[1..].iter_mut().zip(run.lrs) {
            sum += lr;
            *s1 = sum;
        }
        let adjoint = self.response.adjoint(
            &view,
            &Steps {
                lrs: run.lrs,
                s1: &s1,
                first: match self.options.warmup {
                    WarmupRule::Rise => 0,
                    _ => warmup.max(1),
                },
                lr_floor: LR_FLOOR * path.peak,
            },
        );
        let (time, ln) = view.point_time(0);
        let power = all[A] * (-all[ALPHA] * ln).exp();
        let by_time = -all[ALPHA] * power / time.value * time.by_s1;
        // What every LR up to the end moves alike, then what moves with the time of each change.
        let mut later = by_time - adjoint.end - adjoint.end_amplitude;
        let mut gradient = scratch::zeros(steps);
        // Amplitudes of changes in the warm-up hang on the S₁ of its end.
        let at_warmup_end: f64 = adjoint.amplitude[..warmup].iter().sum();
        for s in (0..steps).rev() {
            if s + 1 == warmup {
                later -= at_warmup_end;
            }
            gradient[s] = later - adjoint.lr[s] + adjoint.drop[s];
            if s + 1 < steps {
                gradient[s] -= adjoint.drop[s + 1];
            }
            later -= adjoint.delay[s];
            if s >= warmup {
                later -= adjoint.amplitude[s];
            }
        }
        if self.options.warmup == WarmupRule::ConstantPeak && warmup > 0 {
            let amplitudes = adjoint.amplitude.iter().sum::<f64>() + adjoint.end_amplitude;
            let by_shift = by_time - amplitudes;
            for value in &mut gradient[..warmup] {
                *value -= by_shift;
            }
            gradient[warmup - 1] += warmup as f64 * by_shift;
        }
        let loss = all[L0] + power - adjoint.value;
        adjoint.recycle();
        scratch::give_back(s1);
        (loss, gradient)
    }
}
