//! Clipping by the global norm (Pascanu et al. 2013).

/// What every gradient is multiplied by so that the global norm stays at most `max_norm`:
/// min(1, max_norm / (norm + 1e-6)), as PyTorch's `clip_grad_norm_`; `max_norm` 0 never clips.
pub fn clip_coefficient(norm: f64, max_norm: f64) -> f64 {
    if max_norm <= 0.0 {
        return 1.0;
    }
    (max_norm / (norm + 1e-6)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficient() {
        assert_eq!(clip_coefficient(0.5, 1.0), 1.0);
        assert!((clip_coefficient(4.0, 1.0) - 0.25).abs() < 1e-6);
        assert_eq!(clip_coefficient(1e9, 0.0), 1.0);
    }
}
