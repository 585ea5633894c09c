//! Σ wᵢ·Huber_δ(LSE(a − α ln Nᵢ, b − β ln Dᵢ, e) − ln Lᵢ), its gradient and its curvature (Hoffmann et al. 2022, eq. 3).
//!
//! ln N and ln D are centred, so that a and α, b and β are nearly independent; [`Data::centred`] and [`Data::law`] go
//! there and back. With p = softmax of the three terms, a residual's derivatives are J = (p₁, −p₁x, p₂, −p₂y, p₃), and its
//! second derivatives are those of a log-sum-exp, diag(p) − p pᵀ in the three terms.

use super::elementary::{exp, ln};
use crate::scaling::law::ScalingLaw;
use crate::scaling::point::Point;

/// a, α, b, β, e of the centred form.
pub(super) type Vector = [f64; 5];
pub(super) type Matrix = [[f64; 5]; 5];

/// Points worked on at once.
const LANES: usize = 4;

/// The points' logarithms, in columns padded with points of no weight.
#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    /// ln N and ln D without their means.
    x: Vec<f64>,
    y: Vec<f64>,
    ln_loss: Vec<f64>,
    weight: Vec<f64>,
    mean_x: f64,
    mean_y: f64,
}

/// The objective around a place.
#[derive(Clone, Debug, Default)]
pub(super) struct Local {
    pub(super) value: f64,
    pub(super) gradient: Vector,
    /// The second derivatives, kinks of Huber's function aside. Not always positive definite.
    pub(super) newton: Matrix,
    /// Σ w·JJᵀ with the weights of iteratively reweighted squares, w = min(1, δ/|r|): always positive semidefinite.
    pub(super) reweighted: Matrix,
}

impl Data {
    pub(super) fn new(points: &[Point]) -> Data {
        let mean = |of: fn(&Point) -> f64| {
            points.iter().map(|p| of(p).ln()).sum::<f64>() / points.len() as f64
        };
        let mut data = Data {
            mean_x: mean(|p| p.params),
            mean_y: mean(|p| p.tokens),
            ..Data::default()
        };
        for p in points {
            data.push(
                p.params.ln() - data.mean_x,
                p.tokens.ln() - data.mean_y,
                p.loss.ln(),
                1.0,
            );
        }
        data.pad();
        data
    }

    /// The same points, each as often as `counts` says.
    pub(super) fn resampled(&self, counts: &[u32], into: &mut Data) {
        for column in [
            &mut into.x,
            &mut into.y,
            &mut into.ln_loss,
            &mut into.weight,
        ] {
            column.clear();
        }
        (into.mean_x, into.mean_y) = (self.mean_x, self.mean_y);
        for (i, &count) in counts.iter().enumerate().filter(|(_, c)| **c > 0) {
            into.push(self.x[i], self.y[i], self.ln_loss[i], f64::from(count));
        }
        into.pad();
    }

    fn push(&mut self, x: f64, y: f64, ln_loss: f64, weight: f64) {
        self.x.push(x);
        self.y.push(y);
        self.ln_loss.push(ln_loss);
        self.weight.push(weight);
    }

    fn pad(&mut self) {
        while !self.x.len().is_multiple_of(LANES) {
            self.push(0.0, 0.0, 0.0, 0.0);
        }
    }

    /// Coordinates here of ln A, ln B, ln E, α and β.
    pub(super) fn centred(&self, a: f64, b: f64, e: f64, alpha: f64, beta: f64) -> Vector {
        [
            a - alpha * self.mean_x,
            alpha,
            b - beta * self.mean_y,
            beta,
            e,
        ]
    }

    pub(super) fn centred_law(&self, law: &ScalingLaw) -> Vector {
        self.centred(law.a.ln(), law.b.ln(), law.e.ln(), law.alpha, law.beta)
    }

    pub(super) fn law(&self, u: &Vector) -> ScalingLaw {
        ScalingLaw {
            e: u[4].exp(),
            a: (u[0] + u[1] * self.mean_x).exp(),
            b: (u[2] + u[3] * self.mean_y).exp(),
            alpha: u[1],
            beta: u[3],
        }
    }

    /// Objectives below this are rounding of an exact fit: residuals of 10⁻¹⁴.
    pub(super) fn exact(&self) -> f64 {
        0.5e-28 * self.x.len() as f64
    }

    /// Value, gradient and curvatures at `u`.
    pub(super) fn evaluate(&self, u: &Vector, delta: f64, local: &mut Local) {
        // Sums of their own for each lane: value, gradient, 15 products under two weights, 7 of the second derivatives.
        let mut value = [0.0; LANES];
        let mut gradient = [[0.0; LANES]; 5];
        let mut squares = [[0.0; LANES]; 15];
        let mut reweighted = [[0.0; LANES]; 15];
        let mut blocks = [[0.0; LANES]; 7];
        let [a, alpha, b, beta, e] = *u;
        let constant = exp(e);
        let columns = (self.x.as_chunks::<LANES>().0.iter())
            .zip(self.y.as_chunks::<LANES>().0)
            .zip(self.ln_loss.as_chunks::<LANES>().0)
            .zip(self.weight.as_chunks::<LANES>().0);
        for (((x, y), ln_loss), weight) in columns {
            let (mut p, mut q, mut c) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
            let (mut h1, mut h2, mut w) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
            for l in 0..LANES {
                let first = exp(a - alpha * x[l]);
                let second = exp(b - beta * y[l]);
                let sum = (first + second) + constant;
                let inverse = 1.0 / sum;
                p[l] = first * inverse;
                q[l] = second * inverse;
                c[l] = constant * inverse;
                let r = ln(sum) - ln_loss[l];
                let size = r.abs();
                let inside = size <= delta;
                let held = if inside { size } else { delta };
                value[l] += weight[l] * (held * (size - 0.5 * held));
                h1[l] = weight[l] * held.copysign(r);
                h2[l] = if inside { weight[l] } else { 0.0 };
                w[l] = if inside {
                    weight[l]
                } else {
                    weight[l] * delta / size
                };
            }
            let mut j = [[0.0; LANES]; 5];
            for l in 0..LANES {
                j[0][l] = p[l];
                j[1][l] = -p[l] * x[l];
                j[2][l] = q[l];
                j[3][l] = -q[l] * y[l];
                j[4][l] = c[l];
            }
            for l in 0..LANES {
                // Second derivatives: h₁·(blocks − JJᵀ) + h₂·JJᵀ.
                let (hp, hq) = (h1[l] * p[l], h1[l] * q[l]);
                blocks[0][l] += hp;
                blocks[1][l] -= hp * x[l];
                blocks[2][l] += hp * x[l] * x[l];
                blocks[3][l] += hq;
                blocks[4][l] -= hq * y[l];
                blocks[5][l] += hq * y[l] * y[l];
                blocks[6][l] += h1[l] * c[l];
                h2[l] -= h1[l];
            }
            let mut at = 0;
            for first in 0..5 {
                for l in 0..LANES {
                    gradient[first][l] += h1[l] * j[first][l];
                }
                for second in first..5 {
                    for l in 0..LANES {
                        let product = j[first][l] * j[second][l];
                        squares[at][l] += h2[l] * product;
                        reweighted[at][l] += w[l] * product;
                    }
                    at += 1;
                }
            }
        }
        let sum = |lanes: &[f64; LANES]| (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
        local.value = sum(&value);
        let mut at = 0;
        for first in 0..5 {
            local.gradient[first] = sum(&gradient[first]);
            for second in first..5 {
                let (s, w) = (sum(&squares[at]), sum(&reweighted[at]));
                local.newton[first][second] = s;
                local.newton[second][first] = s;
                local.reweighted[first][second] = w;
                local.reweighted[second][first] = w;
                at += 1;
            }
        }
        let entries = [(0, 0), (0, 1), (1, 1), (2, 2), (2, 3), (3, 3), (4, 4)];
        for ((first, second), block) in entries.into_iter().zip(&blocks) {
            local.newton[first][second] += sum(block);
            if first != second {
                local.newton[second][first] = local.newton[first][second];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_are_those_of_differences() {
        let law = ScalingLaw {
            e: 1.8,
            a: 480.0,
            b: 2100.0,
            alpha: 0.35,
            beta: 0.37,
        };
        let points: Vec<Point> = (0..23)
            .map(|i| {
                let (n, d) = (
                    10f64.powf(7.0 + 0.1 * i as f64),
                    10f64.powf(9.0 + 0.13 * (i * 7 % 23) as f64),
                );
                Point {
                    params: n,
                    tokens: d,
                    flops: 6.0 * n * d,
                    loss: law.loss(n, d) * (1.0 + 0.01 * ((i * 37 % 11) as f64 - 5.0)),
                    size: None,
                    seed: None,
                    kind: None,
                }
            })
            .collect();
        let data = Data::new(&points);
        let u = data.centred(5.9, 7.8, 0.6, 0.34, 0.38);
        let at = |u: &Vector| {
            let mut local = Local::default();
            data.evaluate(u, 0.03, &mut local);
            local
        };
        let here = at(&u);
        let want: f64 = points
            .iter()
            .map(|p| {
                let law = data.law(&u);
                let r = (law.loss(p.params, p.tokens).ln() - p.loss.ln()).abs();
                if r <= 0.03 {
                    0.5 * r * r
                } else {
                    0.03 * (r - 0.015)
                }
            })
            .sum();
        assert!((here.value / want - 1.0).abs() < 1e-12);
        for j in 0..5 {
            let mut moved = [u, u];
            moved[0][j] += 1e-6;
            moved[1][j] -= 1e-6;
            let [up, down] = moved.map(|u| at(&u));
            let slope = (up.value - down.value) / 2e-6;
            assert!(
                (slope - here.gradient[j]).abs() < 1e-7 * (1.0 + slope.abs()),
                "{j}"
            );
            for k in 0..5 {
                let curvature = (up.gradient[k] - down.gradient[k]) / 2e-6;
                assert!(
                    (curvature - here.newton[j][k]).abs() < 1e-5 * (1.0 + curvature.abs()),
                    "{j} {k}"
                );
            }
        }
    }
}
