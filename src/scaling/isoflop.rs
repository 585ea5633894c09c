//! Approach 2 of Hoffmann et al. 2022 (arXiv 2203.15556, §3.2): at each compute budget the size of the least
//! loss, and a power law of the budget through these sizes.
//!
//! A budget's minimum is found in several ways ([`Method`]), because they differ by more than their
//! intervals: the lowest of the losses seen (`argmin`) can only be one of the sizes that were trained, and so
//! carries the grid's spacing into the exponent; a curve through the losses does not. A budget whose lowest
//! loss is its smallest or its largest size has not bracketed its minimum, and is left out of every method.

use super::point::Point;
use super::power::PowerLaw;
use super::spline::Akima;
use crate::error::{Error, Result};
use crate::fit::random::stream;
use rayon::prelude::*;

mod budget;
#[cfg(test)]
mod tests;

pub use budget::{Budget, Edge, Size};
use budget::{budgets, edges};

/// Streams of random numbers for the resamples.
const RESAMPLES: u64 = 21;

/// How a budget's best size is found, and how the power law goes through these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The size of the lowest loss; least squares in logarithms.
    Argmin,
    /// The size of the lowest loss; least squares of the sizes themselves, where the largest budgets decide.
    ArgminRaw,
    /// The vertex of a parabola of the loss in ln N, over all sizes.
    Parabola,
    /// The same over the lowest loss and its two neighbours.
    ParabolaNear,
    /// The lowest point of Akima's spline of ln L over ln N.
    Spline,
}

impl Method {
    pub const ALL: [Method; 5] = [
        Method::Argmin,
        Method::ArgminRaw,
        Method::Parabola,
        Method::ParabolaNear,
        Method::Spline,
    ];

    /// In JSON.
    pub fn name(self) -> &'static str {
        match self {
            Method::Argmin => "argmin",
            Method::ArgminRaw => "argmin_raw",
            Method::Parabola => "parabola",
            Method::ParabolaNear => "parabola_near",
            Method::Spline => "spline",
        }
    }

    /// ln N and loss of the least loss; `None` where it is not inside the sizes.
    fn minimum(self, sizes: &[Size]) -> Option<(f64, f64)> {
        let lowest = lowest(sizes)?;
        match self {
            Method::Argmin | Method::ArgminRaw => {
                Some((sizes[lowest].params.ln(), sizes[lowest].loss))
            }
            Method::Parabola => vertex(sizes),
            Method::ParabolaNear => vertex(&sizes[lowest - 1..=lowest + 1]),
            Method::Spline => {
                let logs = sizes.iter().map(|s| [s.params.ln(), s.loss.ln()]);
                let [x, y] = Akima::new(&logs.collect::<Vec<_>>())?.minimum()?;
                Some((x, y.exp()))
            }
        }
    }

    /// Through budgets and what is best at each.
    fn law(self, points: &[(f64, f64)]) -> Option<PowerLaw> {
        match self {
            Method::ArgminRaw => PowerLaw::in_values(points),
            _ => PowerLaw::in_logs(points),
        }
    }
}

/// The best size of one budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minimum {
    pub flops: f64,
    pub params: f64,
    pub tokens: f64,
    pub loss: f64,
}

/// What one method says.
#[derive(Clone, Debug)]
pub struct MethodFit {
    pub method: Method,
    pub minima: Vec<Minimum>,
    /// N_opt = k·C^a.
    pub params: PowerLaw,
    /// D_opt = k·C^a.
    pub tokens: PowerLaw,
    /// Both laws of each resample that has them.
    pub draws: Vec<(PowerLaw, PowerLaw)>,
    /// Largest budgets left out, and the mean relative error of N there, as a ratio less one: the law of the
    /// other budgets against the parabola's minima.
    pub held_out: Option<(usize, f64)>,
}

/// All methods on one set of points.
#[derive(Clone, Debug)]
pub struct IsoFlop {
    pub budgets: Vec<Budget>,
    pub methods: Vec<MethodFit>,
    /// Sentences for the user.
    pub notes: Vec<String>,
}

impl IsoFlop {
    pub fn method(&self, method: Method) -> Option<&MethodFit> {
        self.methods.iter().find(|m| m.method == method)
    }

    /// Ratio of neighbouring sizes, the median over the budgets used.
    pub fn spacing(&self) -> f64 {
        let used = self.budgets.iter().filter(|b| b.edge.is_none());
        let mut ratios: Vec<f64> = used
            .flat_map(|b| b.sizes.windows(2).map(|w| w[1].params / w[0].params))
            .collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied().unwrap_or(1.0)
    }
}

/// Fits all methods; `resamples` draws of the points within each budget give the intervals.
///
/// # Errors
/// The points form no budgets, or fewer than two budgets bracket their minimum.
pub fn fit(points: &[Point], resamples: usize, seed: u64) -> Result<IsoFlop> {
    let (budgets, mut notes) = budgets(points)?;
    let used: Vec<&Budget> = budgets.iter().filter(|b| b.edge.is_none()).collect();
    if used.len() < 2 {
        return Err(Error::input(format!(
            "isoFLOP needs two budgets that bracket their minimum, and of {} {} {}; train sizes beyond \
             those ends",
            budgets.len(),
            if used.len() == 1 {
                "only one does:"
            } else {
                "none does:"
            },
            edges(&budgets).join(", ")
        )));
    }
    let draws = draws(&used, resamples, seed);
    let mut methods = Vec::new();
    for (place, method) in Method::ALL.into_iter().enumerate() {
        let minima: Vec<Minimum> = used.iter().filter_map(|b| minimum(method, b)).collect();
        match laws(method, &minima) {
            Some((params, tokens)) => methods.push(MethodFit {
                method,
                params,
                tokens,
                draws: draws.iter().filter_map(|d| d[place]).collect(),
                held_out: held_out(method, &used),
                minima,
            }),
            None => notes.push(format!(
                "{}: fewer than two budgets have a minimum inside their sizes",
                method.name()
            )),
        }
    }
    let rejected = edges(&budgets);
    if !rejected.is_empty() {
        notes.push(format!(
            "left out, the lowest loss being at the edge of the sizes: {}",
            rejected.join(", ")
        ));
    }
    Ok(IsoFlop {
        budgets,
        methods,
        notes,
    })
}

/// Place of the lowest loss; `None` where it is the first or the last.
fn lowest(sizes: &[Size]) -> Option<usize> {
    let lowest = (0..sizes.len()).min_by(|i, j| sizes[*i].loss.total_cmp(&sizes[*j].loss))?;
    (lowest > 0 && lowest + 1 < sizes.len()).then_some(lowest)
}

/// ln N and loss at the vertex of the least-squares parabola; `None` where it opens downwards or its vertex
/// lies outside the sizes.
fn vertex(sizes: &[Size]) -> Option<(f64, f64)> {
    let [c0, c1, c2, middle] = parabola(sizes)?;
    let x = -c1 / (2.0 * c2);
    let at = middle + x;
    let (first, last) = (sizes[0].params.ln(), sizes[sizes.len() - 1].params.ln());
    (c2 > 0.0 && (first..=last).contains(&at)).then_some((at, c0 + x * (c1 + x * c2)))
}

/// Coefficients of c0 + c1·x + c2·x², x = ln N − middle, and the middle.
pub fn parabola(sizes: &[Size]) -> Option<[f64; 4]> {
    let n = sizes.len() as f64;
    if sizes.len() < 3 {
        return None;
    }
    let middle = sizes.iter().map(|s| s.params.ln()).sum::<f64>() / n;
    // Orthogonal polynomials: 1, x, x² − b·x − a.
    let xs: Vec<f64> = sizes.iter().map(|s| s.params.ln() - middle).collect();
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        xs.iter().zip(sizes).map(|(x, s)| f(*x, s.loss)).sum()
    };
    let xx = sum(&|x, _| x * x);
    let (a, b) = (xx / n, sum(&|x, _| x * x * x) / xx);
    let square = |x: f64| x * x - b * x - a;
    let norm = sum(&|x, _| square(x).powi(2));
    let mean = sum(&|_, l| l) / n;
    let slope = sum(&|x, l| x * l) / xx;
    let c2 = sum(&|x, l| square(x) * l) / norm;
    let all = [mean - a * c2, slope - b * c2, c2, middle];
    all.iter().all(|c| c.is_finite()).then_some(all)
}

fn minimum(method: Method, budget: &Budget) -> Option<Minimum> {
    minimum_of(method, budget.flops, &budget.sizes)
}

fn minimum_of(method: Method, flops: f64, sizes: &[Size]) -> Option<Minimum> {
    let (ln_params, loss) = method.minimum(sizes)?;
    let params = ln_params.exp();
    // Tokens between those of the sizes around it: FLOPs need not be 6·N·D.
    let after = sizes.partition_point(|s| s.params < params);
    let (a, b) = (
        &sizes[after.max(1) - 1],
        &sizes[after.clamp(1, sizes.len() - 1)],
    );
    let share = match b.params > a.params {
        true => (params / a.params).ln() / (b.params / a.params).ln(),
        false => 0.0,
    };
    let tokens = a.tokens.powf(1.0 - share) * b.tokens.powf(share);
    Some(Minimum {
        flops,
        params,
        tokens,
        loss,
    })
}

fn laws(method: Method, minima: &[Minimum]) -> Option<(PowerLaw, PowerLaw)> {
    let over = |of: fn(&Minimum) -> f64| -> Option<PowerLaw> {
        method.law(&minima.iter().map(|m| (m.flops, of(m))).collect::<Vec<_>>())
    };
    Some((over(|m| m.params)?, over(|m| m.tokens)?))
}

/// Laws of every method on each resample.
fn draws(
    used: &[&Budget],
    resamples: usize,
    seed: u64,
) -> Vec<[Option<(PowerLaw, PowerLaw)>; Method::ALL.len()]> {
    (0..resamples as u64)
        .into_par_iter()
        .map(|index| {
            let mut rng = stream(seed, RESAMPLES, index);
            let drawn: Vec<(f64, Vec<Size>)> = used
                .iter()
                .map(|b| (b.flops, b.resampled(&mut rng)))
                .collect();
            Method::ALL.map(|method| {
                let minima = drawn.iter().filter_map(|(c, s)| minimum_of(method, *c, s));
                laws(method, &minima.collect::<Vec<_>>())
            })
        })
        .collect()
}

/// Share of the budgets that are left out to see how far a law reaches.
const HELD_OUT: f64 = 1.0 / 3.0;

fn held_out(method: Method, used: &[&Budget]) -> Option<(usize, f64)> {
    let left_out = ((used.len() as f64 * HELD_OUT).round() as usize).max(1);
    let (seen, unseen) = used.split_at(used.len().checked_sub(left_out)?);
    if seen.len() < 2 {
        return None;
    }
    let minima: Vec<Minimum> = seen.iter().filter_map(|b| minimum(method, b)).collect();
    let (law, _) = laws(method, &minima)?;
    let errors: Vec<f64> = unseen
        .iter()
        .filter_map(|b| minimum(Method::Parabola, b))
        .map(|m| (law.at(m.flops) / m.params).ln().abs())
        .collect();
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    (!errors.is_empty()).then(|| (errors.len(), mean.exp_m1()))
}
