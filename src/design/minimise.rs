//! A limited-memory quasi-Newton method over `0 ≤ x ≤ high, Σ w·x ≤ budget`.
//!
//! Projected quasi-Newton (Schmidt, van den Berg, Friedlander and Murphy, AISTATS 2009): each step minimises the
//! quadratic model of the last few gradients over the set, by projected gradients with Barzilai and Borwein's step
//! lengths (Birgin, Martínez and Raydan 2000), which costs no evaluation; then it backtracks along the line there.

use std::collections::VecDeque;

/// Where `x` may lie.
pub(super) struct Set {
    pub high: Vec<f64>,
    /// Positive.
    pub weights: Vec<f64>,
    /// At least 0.
    pub budget: f64,
}

/// When to stop.
#[derive(Clone, Copy)]
pub(super) struct Stop {
    pub evaluations: usize,
    /// When a step lowers the value by less.
    pub gain: f64,
}

pub(super) struct Minimum {
    pub x: Vec<f64>,
    pub value: f64,
    pub evaluations: usize,
}

const MEMORY: usize = 20;
/// Projected gradients a quadratic model.
const INNER: usize = 40;
/// Steps in a row that may gain less than asked for: the model learns from these too.
const PATIENCE: u32 = 5;
/// A step must gain this share of what its slope promises.
const ENOUGH: f64 = 1e-4;
const MOST_HALVINGS: usize = 12;

impl Set {
    /// The point of the set nearest to `x`.
    pub fn project(&self, x: &mut [f64]) {
        let at =
            |x: f64, i: usize, shift: f64| (x - shift * self.weights[i]).max(0.0).min(self.high[i]);
        let spent = |shift: f64| -> f64 {
            let parts = x.iter().enumerate();
            parts.map(|(i, &x)| self.weights[i] * at(x, i, shift)).sum()
        };
        let mut shift = 0.0;
        if spent(0.0) > self.budget {
            // What is spent falls with the shift, piecewise linearly: bisect.
            let most = x.iter().zip(&self.weights).map(|(x, w)| x / w);
            let (mut low, mut high) = (0.0, most.fold(0.0, f64::max));
            for _ in 0..100 {
                shift = 0.5 * (low + high);
                if shift <= low || shift >= high {
                    break;
                }
                match spent(shift) > self.budget {
                    true => low = shift,
                    false => high = shift,
                }
            }
            shift = high;
        }
        for (i, x) in x.iter_mut().enumerate() {
            *x = at(*x, i, shift);
        }
    }
}

/// The last changes of point and gradient, as a model of the second derivative.
struct Model {
    /// Point's change, gradient's change, and what the model so far made of the former.
    pairs: VecDeque<(Vec<f64>, Vec<f64>)>,
    /// `(y, 1/yᵀs)` and `(B·s, 1/sᵀBs)` of each pair, oldest first.
    terms: Vec<[(Vec<f64>, f64); 2]>,
    scale: f64,
}

impl Model {
    fn new(scale: f64) -> Model {
        Model {
            pairs: VecDeque::new(),
            terms: Vec::new(),
            scale,
        }
    }

    fn learn(&mut self, s: Vec<f64>, y: Vec<f64>) {
        let curvature = dot(&s, &y);
        // Only what bends upwards can be part of the model.
        if curvature <= 1e-10 * (dot(&s, &s) * dot(&y, &y)).sqrt() {
            return;
        }
        self.scale = dot(&y, &y) / curvature;
        self.pairs.push_back((s, y));
        if self.pairs.len() > MEMORY {
            self.pairs.pop_front();
        }
        self.terms.clear();
        for i in 0..self.pairs.len() {
            let (s, y) = &self.pairs[i];
            let bent = self.times(s);
            let (ys, sbs) = (1.0 / dot(y, s), 1.0 / dot(s, &bent));
            self.terms.push([(y.clone(), ys), (bent, sbs)]);
        }
    }

    fn times(&self, v: &[f64]) -> Vec<f64> {
        let mut out: Vec<f64> = v.iter().map(|v| self.scale * v).collect();
        for [(y, ys), (b, sbs)] in &self.terms {
            let (up, down) = (ys * dot(y, v), sbs * dot(b, v));
            for ((out, y), b) in out.iter_mut().zip(y).zip(b) {
                *out += up * y - down * b;
            }
        }
        out
    }

    /// About the minimum over `set` of the model around `x`, whose gradient is `g`.
    fn minimum(&self, set: &Set, x: &[f64], g: &[f64]) -> Vec<f64> {
        let mut at = x.to_vec();
        let mut slope = g.to_vec();
        let mut length = 1.0 / self.scale;
        let (mut best, mut value) = (at.clone(), 0.0);
        for _ in 0..INNER {
            let mut next: Vec<f64> = at.iter().zip(&slope).map(|(a, s)| a - length * s).collect();
            set.project(&mut next);
            let step: Vec<f64> = next.iter().zip(&at).map(|(n, a)| n - a).collect();
            let bent = self.times(&step);
            let (down, curve) = (dot(&step, &slope), dot(&step, &bent));
            if down >= -1e-18 {
                break;
            }
            // Exact along the line, since the model is quadratic.
            let share = if curve > 0.0 {
                (-down / curve).min(1.0)
            } else {
                1.0
            };
            for i in 0..at.len() {
                at[i] += share * step[i];
                slope[i] += share * bent[i];
            }
            let here = share * down + 0.5 * share * share * curve;
            value += here;
            if value < 0.0 {
                best.copy_from_slice(&at);
            }
            if -here < 1e-4 * -value {
                break;
            }
            if curve > 0.0 {
                length = dot(&step, &step) / curve;
            }
        }
        best
    }
}

/// A local minimum of `f`, which gives value and gradient, from `start`.
pub(super) fn minimise(
    set: &Set,
    start: &[f64],
    stop: Stop,
    mut f: impl FnMut(&[f64]) -> (f64, Vec<f64>),
) -> Minimum {
    let mut x = start.to_vec();
    set.project(&mut x);
    let (mut value, mut g) = f(&x);
    let mut evaluations = 1;
    // The first step moves by a hundredth of the set or so.
    let first = dot(&g, &g).sqrt().max(f64::MIN_POSITIVE) / (0.01 * dot(&x, &x).sqrt().max(1e-3));
    let mut model = Model::new(first);
    let mut idle = 0u32;
    while evaluations < stop.evaluations {
        let target = model.minimum(set, &x, &g);
        let step: Vec<f64> = target.iter().zip(&x).map(|(t, x)| t - x).collect();
        let slope = dot(&step, &g);
        if slope >= -1e-3 * stop.gain {
            break;
        }
        let mut share = 1.0;
        let mut found = None;
        for _ in 0..MOST_HALVINGS {
            let there: Vec<f64> = x.iter().zip(&step).map(|(x, s)| x + share * s).collect();
            let (new, by) = f(&there);
            evaluations += 1;
            if new <= value + ENOUGH * share * slope {
                found = Some((there, new, by));
                break;
            }
            if evaluations >= stop.evaluations {
                break;
            }
            // The parabola through value, slope and what was found.
            let bend = new - value - share * slope;
            let lowest = -0.5 * slope * share * share / bend;
            share = lowest.clamp(0.1 * share, 0.5 * share);
            if !share.is_finite() {
                break;
            }
        }
        let Some((there, new, by)) = found else { break };
        let s = there.iter().zip(&x).map(|(t, x)| t - x).collect();
        let y = by.iter().zip(&g).map(|(b, g)| b - g).collect();
        model.learn(s, y);
        let gained = value - new;
        (x, value, g) = (there, new, by);
        idle = if gained < stop.gain { idle + 1 } else { 0 };
        if idle >= PATIENCE {
            break;
        }
    }
    Minimum {
        x,
        value,
        evaluations,
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
