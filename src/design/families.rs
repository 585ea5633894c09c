//! Schedules with a handful of parameters, each tuned under a law: what a design is measured against, and where it
//! starts from.

use super::problem::Problem;
use crate::fit::steepest_fall;
use crate::schedule::Decay;
use std::f64::consts::PI;
use std::fmt;

/// A way down from where the prefix ends. On a new run with a warm-up these are the trainer's own schedules, bit by bit but
/// for rounding (without one they begin to fall a step later, since the first step is given); on a run that is under way
/// they start from its LR and what is left of its steps. Floors are shares of the LR that they start from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Family {
    /// The LR held.
    Constant,
    Linear {
        floor: f64,
    },
    Cosine {
        floor: f64,
    },
    /// Held, then a cooldown over this share of the whole run.
    Wsd {
        fraction: f64,
        decay: Decay,
        floor: f64,
    },
    /// Held, then `(1 − x)^exponent` over so many steps: the shape that the multi-power law's own optima are near
    /// (arXiv 2503.12811, section 5).
    Power {
        steps: f64,
        exponent: f64,
        floor: f64,
    },
    /// To 1/√10 at 80 % of the run, to 1/10 at 90 %.
    Steps811,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Family::Constant => write!(f, "constant"),
            Family::Linear { floor } => write!(f, "linear:final={}", short(*floor)),
            Family::Cosine { floor } => write!(f, "cosine:final={}", short(*floor)),
            Family::Wsd {
                fraction,
                decay,
                floor,
            } => {
                let (fraction, floor) = (short(*fraction), short(*floor));
                write!(f, "wsd:fraction={fraction},decay={decay},final={floor}")
            }
            Family::Power {
                steps, exponent, ..
            } => write!(f, "(1-x)^{exponent:.2} over {steps:.0} steps"),
            Family::Steps811 => write!(f, "811"),
        }
    }
}

/// Three digits, as a number that is read back.
fn short(x: f64) -> f64 {
    format!("{x:.2e}").parse().unwrap_or(x)
}

impl Family {
    /// In a few words, for tables: `wsd .0923 sqrt`, with ` to .1` where it ends at a share of its start.
    pub fn words(&self) -> String {
        let number = |x: f64| {
            let digits = short(x).to_string();
            digits
                .strip_prefix("0.")
                .map_or(digits.clone(), |d| format!(".{d}"))
        };
        let to = |floor: f64| match floor > 0.0 {
            true => format!(" to {}", number(floor)),
            false => String::new(),
        };
        match self {
            Family::Constant => "constant".into(),
            Family::Linear { floor } => format!("linear{}", to(*floor)),
            Family::Cosine { floor } => format!("cosine{}", to(*floor)),
            Family::Wsd {
                fraction,
                decay,
                floor,
            } => format!("wsd {} {decay}{}", number(*fraction), to(*floor)),
            Family::Power { floor, .. } => format!("{self}{}", to(*floor)),
            Family::Steps811 => "811".into(),
        }
    }

    /// The LR of every step of the run.
    pub fn lrs(&self, problem: &Problem) -> Vec<f64> {
        let (level, min) = (problem.level(), problem.limits.min_lr);
        let (start, steps) = (problem.prefix().len() as u64, problem.limits.steps);
        let share = |from: u64, s: u64| (s - from) as f64 / (steps - from) as f64;
        let tail = |of: &dyn Fn(u64) -> f64| {
            problem.lrs((start..steps).map(|s| (level * of(s)).max(min).min(level)))
        };
        match *self {
            Family::Constant => tail(&|_| 1.0),
            Family::Linear { floor } => tail(&|s| Decay::Linear.between(floor, share(start, s))),
            Family::Cosine { floor } => {
                tail(&|s| floor + (1.0 - floor) * 0.5 * (1.0 + (PI * share(start, s)).cos()))
            }
            Family::Wsd {
                fraction,
                decay,
                floor,
            } => {
                let length = (fraction * steps as f64).round().max(1.0) as u64;
                let from = steps.saturating_sub(length).max(start);
                tail(&|s| match s < from {
                    true => 1.0,
                    false => decay.between(floor, share(from, s)),
                })
            }
            Family::Power {
                steps: length,
                exponent,
                floor,
            } => {
                let length = length.min((steps - start) as f64).max(1.0);
                tail(&|s| {
                    let left = ((steps - s) as f64 / length).min(1.0);
                    floor + (1.0 - floor) * left.powf(exponent)
                })
            }
            Family::Steps811 => {
                let at = [0.8, 0.9].map(|share| (share * steps as f64).round() as u64);
                tail(&|s| {
                    0.1f64
                        .sqrt()
                        .powi(at.iter().filter(|at| s >= **at).count() as i32)
                })
            }
        }
    }
}

/// A family's schedule and what the law says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub family: Family,
    /// Predicted final loss, nats a token.
    pub loss: f64,
    /// LR of every step.
    pub lrs: Vec<f64>,
    /// Whether its parameters were searched for, under the law.
    pub tuned: bool,
}

impl Candidate {
    fn new(problem: &Problem, family: Family, tuned: bool) -> Candidate {
        let lrs = family.lrs(problem);
        Candidate {
            family,
            loss: problem.loss(&lrs),
            lrs,
            tuned,
        }
    }
}

const FRACTIONS: [f64; 6] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.6];
const SHAPES: [Decay; 2] = [Decay::Linear, Decay::Sqrt];
/// Shapes of which the best cooldown is searched for.
const TUNED: [Decay; 4] = [Decay::Linear, Decay::Sqrt, Decay::Cosine, Decay::Square];

/// What people train with today, best first: cosine, linear, 811, and WSD by its usual cooldowns and shapes; then each
/// family at its best under the law.
pub fn baselines(problem: &Problem) -> Vec<Candidate> {
    let floor = problem.limits.min_lr / problem.level();
    let mut all = vec![
        Candidate::new(problem, Family::Linear { floor }, false),
        Candidate::new(problem, Family::Cosine { floor }, false),
        Candidate::new(problem, Family::Steps811, false),
    ];
    if floor < 0.1 {
        all.push(Candidate::new(
            problem,
            Family::Cosine { floor: 0.1 },
            false,
        ));
    }
    for fraction in FRACTIONS {
        for decay in SHAPES {
            let family = Family::Wsd {
                fraction,
                decay,
                floor,
            };
            all.push(Candidate::new(problem, family, false));
        }
    }
    all.extend(TUNED.map(|decay| wsd(problem, decay)));
    all.push(cosine(problem));
    all.sort_by(|a, b| a.loss.total_cmp(&b.loss));
    all
}

/// Steps over which this shape cools down from the prefix's end at the fastest that the trust rule allows.
fn shortest(problem: &Problem, decay: Decay) -> f64 {
    const GRID: u32 = 2000;
    let shape: Vec<f64> = (0..=GRID)
        .map(|i| decay.between(0.0, f64::from(i) / f64::from(GRID)))
        .collect();
    let steepest = steepest_fall(&shape, 1.0) * f64::from(GRID);
    steepest * problem.level() / (problem.limits.largest_drop * problem.limits.peak_lr)
}

/// The best cooldown of this shape that falls no faster than the trust rule allows.
fn wsd(problem: &Problem, decay: Decay) -> Candidate {
    let floor = problem.limits.min_lr / problem.level();
    let steps = problem.limits.steps as f64;
    let family = |ln_fraction: f64| Family::Wsd {
        fraction: ln_fraction.exp(),
        decay,
        floor,
    };
    let longest = (problem.free_steps() as f64 / steps).ln();
    let shortest = (shortest(problem, decay).max(2.0) / steps)
        .ln()
        .min(longest);
    let best = golden(shortest, longest, |x| {
        problem.rough_loss(&family(x).lrs(problem))
    });
    Candidate::new(problem, family(best), true)
}

/// The best cooldown of any of the shapes.
pub fn tuned_wsd(problem: &Problem) -> Candidate {
    let all = TUNED.map(|decay| wsd(problem, decay)).into_iter();
    all.min_by(|a, b| a.loss.total_cmp(&b.loss))
        .expect("there are shapes")
}

/// The cosine with the best end, up to half of its start: what hardly falls is none.
fn cosine(problem: &Problem) -> Candidate {
    let low = problem.limits.min_lr / problem.level();
    let family = |floor: f64| Family::Cosine { floor };
    let best = golden(low, low.max(0.5), |floor| {
        problem.rough_loss(&family(floor).lrs(problem))
    });
    Candidate::new(problem, family(best), true)
}

/// The best `(1 − x)^p` over `n` steps among those that keep the trust rule; its steepest step is the first, about
/// `p/n`.
pub fn power(problem: &Problem) -> Candidate {
    let floor = problem.limits.min_lr / problem.level();
    let free = problem.free_steps() as f64;
    let steepest = problem.limits.largest_drop * problem.limits.peak_lr / problem.level();
    let family = |[ln_steps, ln_exponent]: [f64; 2]| {
        // Below 1 the last steps would be the steepest ones.
        let exponent = ln_exponent.exp().clamp(1.0, 8.0);
        // The first step falls by 1 − (1 − 1/n)^p.
        let kept = (1.0 - steepest.min(0.999)).powf(1.0 / exponent);
        let shortest = 1.0 / (1.0 - kept);
        Family::Power {
            steps: ln_steps.exp().max(shortest).min(free),
            exponent,
            floor,
        }
    };
    let start = [(0.2 * free).max(2.0).ln(), 1.4f64.ln()];
    let best = nelder_mead(start, 0.5, |x| problem.rough_loss(&family(x).lrs(problem)));
    Candidate::new(problem, family(best), true)
}

/// Golden-section search, to a thousandth of the interval.
pub(super) fn golden(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    const RATIO: f64 = 0.618_033_988_749_894_9;
    if high <= low {
        return low;
    }
    let end = 2e-3 * (high - low);
    let (mut a, mut b) = (high - RATIO * (high - low), low + RATIO * (high - low));
    let (mut fa, mut fb) = (f(a), f(b));
    while high - low > end {
        if fa <= fb {
            (high, b, fb) = (b, a, fa);
            a = high - RATIO * (high - low);
            fa = f(a);
        } else {
            (low, a, fa) = (a, b, fb);
            b = low + RATIO * (high - low);
            fb = f(b);
        }
    }
    if fa <= fb { a } else { b }
}

/// Nelder and Mead's simplex in the plane.
fn nelder_mead(start: [f64; 2], size: f64, f: impl Fn([f64; 2]) -> f64) -> [f64; 2] {
    const MOST: usize = 60;
    let other = |i: usize| {
        let mut x = start;
        x[i] += size;
        x
    };
    let mut simplex = [start, other(0), other(1)].map(|x| (f(x), x));
    let along = |from: [f64; 2], to: [f64; 2], t: f64| {
        [
            from[0] + t * (to[0] - from[0]),
            from[1] + t * (to[1] - from[1]),
        ]
    };
    for _ in 0..MOST {
        simplex.sort_by(|a, b| a.0.total_cmp(&b.0));
        let [best, second, worst] = simplex;
        if worst.0 - best.0 < 2e-7 {
            break;
        }
        let middle = along(best.1, second.1, 0.5);
        let at = |t: f64| {
            let x = along(worst.1, middle, t);
            (f(x), x)
        };
        let mirrored = at(2.0);
        simplex[2] = if mirrored.0 < best.0 {
            let further = at(3.0);
            if further.0 < mirrored.0 {
                further
            } else {
                mirrored
            }
        } else if mirrored.0 < second.0 {
            mirrored
        } else {
            let inside = at(if mirrored.0 < worst.0 { 1.5 } else { 0.5 });
            if inside.0 < worst.0.min(mirrored.0) {
                inside
            } else {
                for i in [1, 2] {
                    let x = along(best.1, simplex[i].1, 0.5);
                    simplex[i] = (f(x), x);
                }
                simplex[2]
            }
        };
    }
    simplex.sort_by(|a, b| a.0.total_cmp(&b.0));
    simplex[0].1
}
