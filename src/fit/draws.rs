//! Parameters drawn from what a fit does not know of them.

use super::fitted::{Fit, student};
use super::linalg::Cholesky;
use super::random;

/// Half-width of a 90 % interval of a normal variable, in standard deviations.
const NORMAL: f64 = 1.644_853_626_951_472_6;

impl Fit {
    /// `count` sets of parameters, in their own units, from the normal distribution with the fit's covariance in fitting
    /// coordinates, widened as Student's intervals are, within the law's bounds. A function of `seed` alone. A
    /// parameter without a variance stays where it is; empty where the covariance has no root.
    pub fn draws(&self, count: usize, seed: u64) -> Vec<Vec<f64>> {
        let p = self.params.len();
        let centre = self.coordinates.of(&self.parameters());
        let free: Vec<usize> = (0..p)
            .filter(|&j| self.covariance[j * p + j] > 0.0)
            .collect();
        let n = free.len();
        // As correlations, with a little room for rounding.
        let sd = |j: usize| self.covariance[j * p + j].sqrt();
        let mut matrix = vec![0.0; n * n];
        for (a, &j) in free.iter().enumerate() {
            for (b, &k) in free.iter().enumerate() {
                matrix[a * n + b] = self.covariance[j * p + k] / (sd(j) * sd(k));
            }
            matrix[a * n + a] += 1e-9;
        }
        let Some(root) = Cholesky::new(&matrix, n) else {
            return Vec::new();
        };
        let wide = student(self.degrees) / NORMAL;
        (0..count as u64)
            .map(|index| {
                let mut rng = random::stream(seed, random::DRAWS, index);
                let white: Vec<f64> = (0..n).map(|_| random::normal(&mut rng)).collect();
                let mut u = centre.clone();
                for (a, &j) in free.iter().enumerate() {
                    u[j] += wide * sd(j) * root.row_times(a, &white);
                }
                self.coordinates.clamp(&mut u);
                self.coordinates.parameters(&u)
            })
            .collect()
    }
}
