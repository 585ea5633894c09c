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

/// Which curvature to take: that of iteratively reweighted squares, Σ w·JJᵀ with w = min(1, δ/|r|), is never negative and
/// bounds the objective from above where J is constant; Newton's is exact but for the kinks of Huber's function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Curvature {
    Reweighted,
    Newton,
}

/// The objective around a place.
#[derive(Clone, Debug, Default)]
pub(super) struct Local {
    pub(super) value: f64,
    pub(super) gradient: Vector,
    pub(super) curvature: Matrix,
    /// Σ w·J² of each coordinate, and Σ w.
    pub(super) scale: Vector,
    pub(super) weight: f64,
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
    pub(super) fn resampled(&self, counts: &[u32]) -> Data {
        let mut data = Data {
            mean_x: self.mean_x,
            mean_y: self.mean_y,
            ..Data::default()
        };
        for (i, &count) in counts.iter().enumerate().filter(|(_, c)| **c > 0) {
            data.push(self.x[i], self.y[i], self.ln_loss[i], f64::from(count));
        }
        data.pad();
        data
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

    /// Value, gradient and curvature at `u`.
    pub(super) fn evaluate(&self, u: &Vector, delta: f64, curvature: Curvature, local: &mut Local) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor was asked for the one feature that the function needs.
            return unsafe { self.evaluate_avx2(u, delta, curvature, local) };
        }
        self.evaluate_any(u, delta, curvature, local);
    }

    /// The same sums in the same order, hence the same bits, four points an instruction instead of two.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn evaluate_avx2(&self, u: &Vector, delta: f64, curvature: Curvature, local: &mut Local) {
        self.evaluate_any(u, delta, curvature, local);
    }

    #[inline(always)]
    fn evaluate_any(&self, u: &Vector, delta: f64, curvature: Curvature, local: &mut Local) {
        match curvature {
            Curvature::Reweighted => self.sums::<false>(u, delta, local),
            Curvature::Newton => self.sums::<true>(u, delta, local),
        }
    }

    #[inline(always)]
    fn sums<const NEWTON: bool>(&self, u: &Vector, delta: f64, local: &mut Local) {
        // Each lane has sums of its own: value, Σw, gradient, Σw·J², 15 products, 7 second derivatives of the terms.
        let (mut value, mut total) = ([0.0; LANES], [0.0; LANES]);
        let (mut gradient, mut scale) = ([[0.0; LANES]; 5], [[0.0; LANES]; 5]);
        let (mut squares, mut blocks) = ([[0.0; LANES]; 15], [[0.0; LANES]; 7]);
        let [a, alpha, b, beta, e] = *u;
        let constant = exp(e);
        let columns = (self.x.as_chunks::<LANES>().0.iter())
            .zip(self.y.as_chunks::<LANES>().0)
            .zip(self.ln_loss.as_chunks::<LANES>().0)
            .zip(self.weight.as_chunks::<LANES>().0);
        for (((x, y), ln_loss), weight) in columns {
            let mut j = [[0.0; LANES]; 5];
            let (mut h1, mut w, mut k) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
            for l in 0..LANES {
                let first = exp(a - alpha * x[l]);
                let second = exp(b - beta * y[l]);
                let sum = (first + second) + constant;
                let inverse = 1.0 / sum;
                let (p, q) = (first * inverse, second * inverse);
                j[0][l] = p;
                j[1][l] = -p * x[l];
                j[2][l] = q;
                j[3][l] = -q * y[l];
                j[4][l] = constant * inverse;
                let r = ln(sum) - ln_loss[l];
                let size = r.abs();
                let inside = size <= delta;
                let held = if inside { size } else { delta };
                value[l] += weight[l] * (held * (size - 0.5 * held));
                h1[l] = weight[l] * held.copysign(r);
                w[l] = if inside {
                    weight[l]
                } else {
                    weight[l] * delta / size
                };
                total[l] += w[l];
                // Second derivatives: h₁·(blocks − JJᵀ) + h₂·JJᵀ.
                let h2 = if inside { weight[l] } else { 0.0 };
                k[l] = if NEWTON { h2 - h1[l] } else { w[l] };
                if NEWTON {
                    let (hp, hq) = (h1[l] * p, h1[l] * q);
                    blocks[0][l] += hp;
                    blocks[1][l] -= hp * x[l];
                    blocks[2][l] += hp * x[l] * x[l];
                    blocks[3][l] += hq;
                    blocks[4][l] -= hq * y[l];
                    blocks[5][l] += hq * y[l] * y[l];
                    blocks[6][l] += h1[l] * j[4][l];
                }
            }
            let mut at = 0;
            for first in 0..5 {
                for l in 0..LANES {
                    gradient[first][l] += h1[l] * j[first][l];
                    if NEWTON {
                        scale[first][l] += w[l] * (j[first][l] * j[first][l]);
                    }
                }
                for second in first..5 {
                    for l in 0..LANES {
                        squares[at][l] += k[l] * (j[first][l] * j[second][l]);
                    }
                    at += 1;
                }
            }
        }
        let sum = |lanes: &[f64; LANES]| (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
        local.value = sum(&value);
        local.weight = sum(&total);
        let mut at = 0;
        for first in 0..5 {
            local.gradient[first] = sum(&gradient[first]);
            for second in first..5 {
                let square = sum(&squares[at]);
                local.curvature[first][second] = square;
                local.curvature[second][first] = square;
                at += 1;
            }
            local.scale[first] = match NEWTON {
                true => sum(&scale[first]),
                false => local.curvature[first][first],
            };
        }
        if NEWTON {
            let entries = [(0, 0), (0, 1), (1, 1), (2, 2), (2, 3), (3, 3), (4, 4)];
            for ((first, second), block) in entries.into_iter().zip(&blocks) {
                local.curvature[first][second] += sum(block);
                if first != second {
                    local.curvature[second][first] = local.curvature[first][second];
                }
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
            data.evaluate(u, 0.03, Curvature::Newton, &mut local);
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
                    (curvature - here.curvature[j][k]).abs() < 1e-5 * (1.0 + curvature.abs()),
                    "{j} {k}"
                );
            }
        }
    }
}
