//! `L = L∞ + M·Ω(t)`: the loss as the convex last-iterate bound of the schedule.

use super::base::{expand, fix, free};
use super::kernel::digamma;
use super::{Bounds, Law, LawOptions, Parameter, Path, Run, Scales};
use crate::error::Result;

/// `Ω(t) = D²/(2S) + ½·[η_last + Σ_k η_k²/(S₁(t) − S₁(k+1))]`, the bound of arXiv 2310.07831 Thm 10 as arXiv 2501.18965
/// uses it, for SGD on a convex function whose stochastic gradients have norm G = 1 and whose start lies D from the
/// optimum. S is S₁ of the point; the sum is over all its steps but the last with an LR above 0.
///
/// Fitted: `L_inf`, `M` (nats a unit of the bound; it absorbs G²) and `D` (with G = 1, so in units of
/// `√(lr²·step)`). Ω's two sums hang on the schedule alone and are made once a path; the warm-up
/// counts with its true LRs under every rule, and there is no offset of S₁.
pub(super) struct Convex {
    /// The free ones.
    parameters: Vec<Parameter>,
    fixed: Vec<Option<f64>>,
    options: LawOptions,
}

const ALL: [Parameter; 3] = [
    Parameter {
        name: "L_inf",
        unit: "nats",
        what: "loss at the optimum",
        log: false,
    },
    Parameter {
        name: "M",
        unit: "nats/lr",
        what: "loss a unit of the bound",
        log: true,
    },
    Parameter {
        name: "D",
        unit: "lr·sqrt(step)",
        what: "distance from start to optimum, in gradient norms",
        log: true,
    },
];

impl Convex {
    pub fn new(options: &LawOptions) -> Result<Self> {
        let mut fixed = vec![None; ALL.len()];
        fix("convex", &ALL, &mut fixed, &options.fixed)?;
        Ok(Convex {
            parameters: free(&ALL, &fixed),
            fixed,
            options: options.clone(),
        })
    }
}

/// Steps with one LR.
struct Stretch {
    lr: f64,
    end: usize,
}

/// `½·[η_last + Σ_k η_k²/(S₁(t) − S₁(k+1))]` at every point, walking back from it: O(stretches of equal LR)
/// a point, as a stretch of n steps gives `η·(ψ(r+n) − ψ(r))` with r·η what lies behind it.
fn noise(path: &Path) -> Vec<f64> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for (step, &lr) in path.lrs.iter().enumerate() {
        match stretches.last_mut() {
            Some(stretch) if stretch.lr == lr => stretch.end = step + 1,
            _ => stretches.push(Stretch { lr, end: step + 1 }),
        }
    }
    let mut reached = 0;
    path.steps
        .iter()
        .map(|&end| {
            let end = end as usize;
            while reached < stretches.len() && stretches[reached].end < end {
                reached += 1;
            }
            let mut behind = 0.0;
            let mut sum = 0.0;
            let mut to = end;
            for i in (0..stretches.len().min(reached + 1)).rev() {
                let from = if i == 0 { 0 } else { stretches[i - 1].end };
                let (lr, steps) = (stretches[i].lr, (to - from.min(to)) as f64);
                to = from.min(to);
                if steps == 0.0 || lr == 0.0 {
                    continue;
                }
                let mut left = steps;
                if behind == 0.0 {
                    // The last step's own term, η instead of η²/0.
                    sum += lr;
                    behind = lr;
                    left -= 1.0;
                }
                if left < 8.0 {
                    for _ in 0..left as usize {
                        sum += lr * lr / behind;
                        behind += lr;
                    }
                } else {
                    let ratio = behind / lr;
                    sum += lr * (digamma(ratio + left) - digamma(ratio));
                    behind += left * lr;
                }
            }
            0.5 * sum
        })
        .collect()
}

impl Law for Convex {
    fn name(&self) -> &'static str {
        "convex"
    }

    fn formula(&self) -> &'static str {
        "L_inf + M·Omega, Omega = D²/(2·S1) + (lr_last + sum_k lr_k²/(S1 - S1_(k+1)))/2"
    }

    fn source(&self) -> &'static str {
        "convex last-iterate bound, arXiv 2310.07831 Thm 10 and 2501.18965"
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn options(&self) -> LawOptions {
        self.options.clone()
    }

    fn bounds(&self, scales: &Scales) -> Vec<Bounds> {
        // Where both parts of the bound are equal: D² = η·S₁ up to the logarithm.
        let distance = (scales.lr * scales.s1).sqrt();
        let all = [
            Bounds {
                low: 0.0,
                high: scales.loss_low,
            },
            Bounds {
                low: 1e-4 / scales.lr,
                high: 1e4 / scales.lr,
            },
            Bounds {
                low: 1e-3 * distance,
                high: 1e3 * distance,
            },
        ];
        free(&all, &self.fixed)
    }

    fn starts(&self, scales: &Scales) -> Vec<Vec<f64>> {
        let range = (scales.loss_high - scales.loss_low).max(1e-3);
        [(0.3, 0.1), (0.6, 0.03), (0.1, 0.3)]
            .into_iter()
            .map(|(depth, gain): (f64, f64)| {
                let floor = (scales.loss_low - depth * range).max(0.3 * scales.loss_low);
                let m = gain / scales.lr;
                // What the first point has above the floor.
                let distance = (2.0 * scales.s1_first * (scales.loss_high - floor) / m).sqrt();
                let start = [floor, m, distance];
                let bounds = Convex {
                    parameters: ALL.to_vec(),
                    fixed: vec![None; 3],
                    options: self.options(),
                }
                .bounds(scales);
                let start: Vec<f64> = start
                    .iter()
                    .zip(&bounds)
                    .map(|(value, bounds)| value.clamp(bounds.low, bounds.high))
                    .collect();
                free(&start, &self.fixed)
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
        let (floor, m, distance) = (all[0], all[1], all[2]);
        let noise = path.sums.omega.get_or_init(|| noise(path));
        let width = parameters.len();
        for (point, out) in out.iter_mut().enumerate() {
            let inverse = 0.5 / path.s1[point].max(path.s1_floor);
            let omega = distance * distance * inverse + noise[point];
            *out = floor + m * omega;
            if let Some(jacobian) = &mut jacobian {
                let row = &mut jacobian[point * width..][..width];
                row.copy_from_slice(&free(
                    &[1.0, omega, 2.0 * m * distance * inverse],
                    &self.fixed,
                ));
            }
        }
    }

    /// Trailing steps at LR 0 count as not taken, and get no gradient: the bound jumps there.
    fn schedule_gradient(&self, run: &Run, parameters: &[f64]) -> (f64, Vec<f64>) {
        let all = expand(&self.fixed, parameters);
        let (floor, m, distance) = (all[0], all[1], all[2]);
        let lrs = run.lrs;
        let mut gradient = vec![0.0; lrs.len()];
        let Some(last) = lrs.iter().rposition(|lr| *lr > 0.0) else {
            return (floor + m * distance * distance * 0.5, gradient);
        };
        // What lies behind each step, and the sum.
        let mut behind = vec![0.0; last + 1];
        for k in (0..last).rev() {
            behind[k] = behind[k + 1] + lrs[k + 1];
        }
        let total = behind[0] + lrs[0];
        let mut before = 0.0;
        let mut sum = lrs[last];
        for k in 0..=last {
            let own = if k == last {
                1.0
            } else {
                2.0 * lrs[k] / behind[k]
            };
            gradient[k] = m * (0.5 * (own - before) - 0.5 * (distance / total).powi(2));
            if k < last {
                before += (lrs[k] / behind[k]).powi(2);
                sum += lrs[k] * lrs[k] / behind[k];
            }
        }
        let omega = 0.5 * distance * distance / total + 0.5 * sum;
        (floor + m * omega, gradient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ω at T/4, T/2 and T for D = G = 1, with base LR γ, from the package of arXiv 2501.18965.
    #[test]
    fn bound_equals_the_reference() {
        let law = Convex::new(&LawOptions::default()).unwrap();
        let wave = |s: usize, steps: usize| {
            let x = s as f64 / steps as f64;
            0.1 + 0.45 * (1.0 + (std::f64::consts::PI * x).cos())
        };
        let cases: [(usize, f64, [f64; 3], bool); 3] = [
            (
                60,
                0.05424919292630111,
                [0.7297703776722764, 0.4418070896625776, 0.3072242326131718],
                false,
            ),
            (
                60,
                0.11469194644349448,
                [0.5338236545873921, 0.38975669888242515, 0.26065793759079836],
                true,
            ),
            (
                100,
                0.08878723814428313,
                [0.4336064019535614, 0.3134452080173017, 0.203117761973768],
                true,
            ),
        ];
        for (steps, base, expected, cosine) in cases {
            let lrs: Vec<f64> = (0..steps)
                .map(|s| base * if cosine { wave(s, steps) } else { 1.0 })
                .collect();
            let points = [steps / 4, steps / 2, steps].map(|t| t as u64);
            let path = Path::exact(&lrs, 0, &points);
            let mut found = [0.0; 3];
            law.evaluate(&path, &[0.0, 1.0, 1.0], &mut found, None);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found / expected - 1.0).abs() < 1e-10, "{found} {expected}");
            }
        }
    }
}
