//! The parametric law L(N, D) = E + A/N^α + B/D^β (Hoffmann et al. 2022, arXiv 2203.15556, eq. 2).

use serde::Serialize;

/// Its five constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ScalingLaw {
    pub e: f64,
    pub a: f64,
    pub b: f64,
    pub alpha: f64,
    pub beta: f64,
}

impl ScalingLaw {
    /// Loss in nats a token of N parameters trained on D tokens.
    pub fn loss(&self, n: f64, d: f64) -> f64 {
        self.e + self.a / n.powf(self.alpha) + self.b / d.powf(self.beta)
    }

    /// Whether both more parameters and more tokens help, so that some N is best at each compute.
    pub fn has_optimum(&self) -> bool {
        [self.alpha, self.beta, self.a, self.b]
            .iter()
            .all(|x| *x > 0.0)
    }

    /// a of N ∝ Cᵃ along the optimum: β/(α + β).
    pub fn exponent(&self) -> f64 {
        self.beta / (self.alpha + self.beta)
    }

    /// N and D of the least loss under C = 6·N·D (eq. 4). For FLOPs that are κ times that, ask with C/κ
    /// ([`flops_ratio`](super::point::flops_ratio)).
    pub fn optimum(&self, flops: f64) -> (f64, f64) {
        let sum = self.alpha + self.beta;
        let g = (self.alpha * self.a / (self.beta * self.b)).powf(1.0 / sum);
        let pairs = flops / 6.0;
        let n = g * pairs.powf(self.beta / sum);
        (n, pairs / n)
    }
}
