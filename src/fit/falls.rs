//! How far and how fast the LR of a fitted curve falls: what a schedule made from the fit may lean on.

use crate::law::Path;

/// Each fall of a slope has one of at least this share of itself beside it; a jump stands alone.
const ALIKE: f64 = 0.5;

/// Lowest LR after the warm-up, over the highest; 1 where there is none after it.
pub(super) fn lowest(path: &Path) -> f64 {
    let after = path.lrs.iter().skip(path.warmup).copied();
    let lowest = after.fold(f64::INFINITY, f64::min);
    match lowest.is_finite() && path.peak > 0.0 {
        true => lowest / path.peak,
        false => 1.0,
    }
}

/// Largest fall from a step to the next within a slope, over the highest LR; 0 where there is no slope.
pub(super) fn steepest(path: &Path) -> f64 {
    let after = path.lrs.get(path.warmup..).unwrap_or_default();
    let falls: Vec<f64> = after
        .windows(2)
        .map(|w| (w[0] - w[1]) / path.peak)
        .collect();
    let beside = |i: usize| {
        let before = i.checked_sub(1).map_or(0.0, |i| falls[i]);
        let later = falls.get(i + 1).copied().unwrap_or(0.0);
        before.max(later)
    };
    let falls_of_slopes = falls.iter().enumerate();
    let falls_of_slopes = falls_of_slopes.filter(|&(i, &fall)| beside(i) >= ALIKE * fall);
    falls_of_slopes.map(|(_, fall)| *fall).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(lrs: &[f64]) -> Path {
        Path::exact(lrs, 1, &[lrs.len() as u64])
    }

    #[test]
    fn slopes_count_and_jumps_do_not() {
        let slope: Vec<f64> = (0..100).map(|s| 1.0 - 0.009 * s as f64).collect();
        assert!((steepest(&path(&slope)) - 0.009).abs() < 1e-12);
        assert!((lowest(&path(&slope)) - (1.0 - 0.009 * 99.0)).abs() < 1e-12);
        let mut jump = vec![1.0; 50];
        jump.extend([0.1; 50]);
        assert_eq!((steepest(&path(&jump)), lowest(&path(&jump))), (0.0, 0.1));
        assert_eq!(steepest(&path(&[1.0; 30])), 0.0);
    }
}
