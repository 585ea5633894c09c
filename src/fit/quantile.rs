//! Intervals of draws.

/// The central `level` of `values`, interpolated between order statistics; NaN without any.
pub(crate) fn central(mut values: Vec<f64>, level: f64) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |q: f64| {
        let place = q.clamp(0.0, 1.0) * (values.len() - 1) as f64;
        let (below, share) = (place.floor() as usize, place.fract());
        let above = (below + 1).min(values.len() - 1);
        values[below] * (1.0 - share) + values[above] * share
    };
    match values.is_empty() {
        true => (f64::NAN, f64::NAN),
        false => (at(0.5 - 0.5 * level), at(0.5 + 0.5 * level)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_central_quantiles() {
        let values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(central(values.clone(), 0.5), (25.0, 75.0));
        assert_eq!(central(values, 0.0), (50.0, 50.0));
        assert!(central(Vec::new(), 0.9).0.is_nan());
    }
}
