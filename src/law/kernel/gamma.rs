//! Γ and its logarithmic derivative, for the weights of the sum of exponentials.

/// ln Γ(x) for x > 0, to about 1e-14 relative to max(1, |ln Γ|): Stirling's series after shifting up.
pub fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 1.0);
    while x < 10.0 {
        shift *= x;
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse
        * (1.0 / 12.0
            - square
                * (1.0 / 360.0
                    - square
                        * (1.0 / 1260.0
                            - square
                                * (1.0 / 1680.0
                                    - square * (1.0 / 1188.0 - square * 691.0 / 360_360.0)))));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - shift.ln()
}

/// ψ(x) = d ln Γ/dx for x > 0, to about 1e-14.
pub fn digamma(x: f64) -> f64 {
    let (mut x, mut below) = (x, 0.0);
    while x < 10.0 {
        below += 1.0 / x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series = square
        * (1.0 / 12.0
            - square
                * (1.0 / 120.0
                    - square
                        * (1.0 / 252.0
                            - square
                                * (1.0 / 240.0
                                    - square * (1.0 / 132.0 - square * 691.0 / 32_760.0)))));
    x.ln() - 0.5 / x - series - below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let pi = std::f64::consts::PI;
        for (x, expected) in [(0.5, 0.5 * pi.ln()), (1.0, 0.0), (5.0, 24f64.ln())] {
            assert!((ln_gamma(x) - expected).abs() < 1e-14, "ln Γ({x})");
        }
        assert!((digamma(1.0) + 0.577_215_664_901_532_9).abs() < 1e-14);
        let half = -0.577_215_664_901_532_9 - 2.0 * 2f64.ln();
        assert!((digamma(0.5) - half).abs() < 1e-13);
        for x in [0.05, 0.3, 2.2, 47.0] {
            let slope = (ln_gamma(x + 1e-5) - ln_gamma(x - 1e-5)) / 2e-5;
            assert!((slope / digamma(x) - 1.0).abs() < 1e-7, "ψ({x})");
        }
    }
}
