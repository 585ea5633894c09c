//! What the answers so far say of L(N, D), and how sure they are.
//!
//! [`crate::scaling::parametric`] is the fit for points that fix all five constants. A search has to decide with
//! a dozen points that do not, so here the same objective (Huber's function of the error of ln L) carries weak
//! priors: what the literature's fits have in common. Its curvature gives draws of the law (Laplace's
//! approximation), which disagree most where the answers tell least.

use crate::fit::linalg::{Cholesky, eigen};
use crate::fit::random;
use crate::scaling::law::ScalingLaw;

/// One answer as the law sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    pub params: f64,
    pub tokens: f64,
    pub loss: f64,
}

/// A law, draws around it, and the noise of one answer.
#[derive(Clone, Debug)]
pub struct Belief {
    pub law: ScalingLaw,
    pub draws: Vec<ScalingLaw>,
    /// Standard deviation of ln loss between an answer and the law.
    pub noise: f64,
}

const P: usize = 5;
/// (mean, standard deviation) of ln E, ln A, ln B, ln α, ln β: fits of text models from bytes to 100k-word
/// vocabularies lie within.
const PRIOR: [(f64, f64); P] = [
    (0.6, 0.6),
    (6.5, 3.0),
    (7.0, 3.0),
    (-1.05, 0.3),
    (-1.05, 0.3),
];
/// The noise before anything is seen, and how many answers that opinion weighs.
const NOISE: f64 = 0.002;
const NOISE_WEIGHT: f64 = 3.0;
/// Huber's point: residuals beyond it, in units of the noise, count by their size alone.
const HUBER: f64 = 1.345;
/// What the streams of random numbers are for; those of `fit` have other numbers.
const DRAWS: u64 = 102;

type Theta = [f64; P];

impl Belief {
    /// The belief from `seen`; the same bits for the same answers.
    pub fn from(seen: &[Seen], draws: usize, seed: u64) -> Belief {
        let mut theta: Theta = PRIOR.map(|p| p.0);
        let mut noise = NOISE;
        for _ in 0..8 {
            theta = minimise(seen, theta, noise);
            let mut sum = NOISE_WEIGHT * NOISE * NOISE;
            for r in seen.iter().map(|s| residual(s, &theta)) {
                let weight = (HUBER * noise / r.abs()).min(1.0);
                sum += weight * r * r;
            }
            let free = (seen.len() as f64 - P as f64).max(0.0);
            noise = (sum / (NOISE_WEIGHT + free)).sqrt();
        }
        let spread = eigen(&covariance(seen, &theta, noise), P);
        Belief {
            law: law(&theta),
            draws: (0..draws)
                .map(|k| draw(&theta, &spread, seed, k as u64))
                .collect(),
            noise,
        }
    }

    /// Bounds that hold a share `level` of the draws.
    pub fn interval(&self, level: f64, of: impl Fn(&ScalingLaw) -> f64) -> (f64, f64) {
        let mut values: Vec<f64> = self.draws.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let at = |q: f64| values[((values.len() - 1) as f64 * q).round() as usize];
        (at((1.0 - level) / 2.0), at((1.0 + level) / 2.0))
    }
}

fn law(t: &Theta) -> ScalingLaw {
    ScalingLaw {
        e: t[0].exp(),
        a: t[1].exp(),
        b: t[2].exp(),
        alpha: t[3].exp(),
        beta: t[4].exp(),
    }
}

fn residual(s: &Seen, t: &Theta) -> f64 {
    (law(t).loss(s.params, s.tokens) / s.loss).ln()
}

/// Derivatives of ln L̂ by θ.
fn slope(s: &Seen, t: &Theta) -> Theta {
    let l = law(t);
    let of_n = l.a * s.params.powf(-l.alpha);
    let of_d = l.b * s.tokens.powf(-l.beta);
    let total = l.e + of_n + of_d;
    [
        l.e / total,
        of_n / total,
        of_d / total,
        -of_n * l.alpha * s.params.ln() / total,
        -of_d * l.beta * s.tokens.ln() / total,
    ]
}

/// Σ Huber(residual/noise) + Σ (θ − mean)²/(2 sd²).
fn objective(seen: &[Seen], t: &Theta, noise: f64) -> f64 {
    let huber = |x: f64| match x.abs() <= HUBER {
        true => 0.5 * x * x,
        false => HUBER * (x.abs() - 0.5 * HUBER),
    };
    let data: f64 = seen.iter().map(|s| huber(residual(s, t) / noise)).sum();
    let prior = t
        .iter()
        .zip(PRIOR)
        .map(|(x, (mean, sd))| 0.5 * ((x - mean) / sd).powi(2));
    data + prior.sum::<f64>()
}

/// Gradient, and the curvature of iteratively reweighted least squares.
fn curvature(seen: &[Seen], t: &Theta, noise: f64) -> (Theta, [f64; P * P]) {
    let (mut gradient, mut matrix) = ([0.0; P], [0.0; P * P]);
    for s in seen {
        let (r, j) = (residual(s, t), slope(s, t));
        let weight = (HUBER * noise / r.abs()).min(1.0) / (noise * noise);
        for a in 0..P {
            gradient[a] += weight * r * j[a];
            for b in 0..P {
                matrix[a * P + b] += weight * j[a] * j[b];
            }
        }
    }
    for (a, (mean, sd)) in PRIOR.into_iter().enumerate() {
        gradient[a] += (t[a] - mean) / (sd * sd);
        matrix[a * P + a] += 1.0 / (sd * sd);
    }
    (gradient, matrix)
}

/// Levenberg and Marquardt.
fn minimise(seen: &[Seen], start: Theta, noise: f64) -> Theta {
    let (mut t, mut damping) = (start, 1e-3);
    let mut value = objective(seen, &t, noise);
    for _ in 0..200 {
        let (gradient, matrix) = curvature(seen, &t, noise);
        let mut damped = matrix;
        (0..P).for_each(|a| damped[a * P + a] *= 1.0 + damping);
        let Some(factor) = Cholesky::new(&damped, P) else {
            damping *= 10.0;
            continue;
        };
        let mut step = gradient.to_vec();
        factor.solve(&mut step);
        let mut there = t;
        (0..P).for_each(|a| there[a] -= step[a].clamp(-1.0, 1.0));
        let new = objective(seen, &there, noise);
        if new.is_nan() || new >= value {
            damping *= 4.0;
            if damping > 1e12 {
                break;
            }
            continue;
        }
        let settled = value - new <= 1e-12 * value;
        (t, value) = (there, new);
        damping = (damping / 4.0).max(1e-12);
        if settled {
            break;
        }
    }
    t
}

fn covariance(seen: &[Seen], t: &Theta, noise: f64) -> Vec<f64> {
    let (_, matrix) = curvature(seen, t, noise);
    match Cholesky::new(&matrix, P) {
        Some(factor) => factor.inverse(),
        None => vec![0.0; P * P],
    }
}

/// θ + V·√λ·z.
fn draw(t: &Theta, (values, vectors): &(Vec<f64>, Vec<f64>), seed: u64, index: u64) -> ScalingLaw {
    let mut rng = random::stream(seed, DRAWS, index);
    let mut out = *t;
    for k in 0..P {
        let z = random::normal(&mut rng) * values[k].max(0.0).sqrt();
        for (a, x) in out.iter_mut().enumerate() {
            *x += z * vectors[k * P + a];
        }
    }
    law(&out)
}
