//! How far and how fast the LR of a fitted curve falls: what a schedule made from the fit may lean on.

use crate::law::Path;

/// A slope is measured where the LR falls by this share of its peak, or by half of its whole fall, at its fastest:
/// one step of a logged curve says little, and the first one of `1 − √x` is a small jump by itself.
const HALF: f64 = 0.5;

/// The fastest fall of `lrs`, as a share of `peak` a step, on the average over half the peak (or half of the whole
/// fall); 0 where nothing falls. Whole jumps count as the single step that they take. LRs that rise again fall no less
/// for it.
pub fn steepest_fall(lrs: &[f64], peak: f64) -> f64 {
    let lowest = lrs.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = lrs.iter().copied().fold(0.0, f64::max);
    let fall = HALF * (highest - lowest).min(peak);
    if !(fall > 1e-9 * peak && fall.is_finite()) {
        return 0.0;
    }
    // The fewest steps between two LRs that lie so far apart: for every end, the last start that is high enough. Starts
    // that a later, higher or equal LR follows are never wanted again.
    let mut starts: Vec<usize> = Vec::new();
    let mut steepest = 0.0f64;
    for (end, &lr) in lrs.iter().enumerate() {
        // From the top of the stack LRs rise and steps fall.
        let enough = starts.partition_point(|&s| lrs[s] - lr >= fall * (1.0 - 1e-9));
        if let Some(&start) = enough.checked_sub(1).and_then(|i| starts.get(i)) {
            let drop = (lrs[start] - lr) / (end - start) as f64;
            steepest = steepest.max(drop / peak);
        }
        while starts.last().is_some_and(|&s| lrs[s] <= lr) {
            starts.pop();
        }
        starts.push(end);
    }
    steepest
}

/// Lowest LR after the warm-up, over the highest; 1 where there is none after it.
pub(super) fn lowest(path: &Path) -> f64 {
    let after = path.lrs.iter().skip(path.warmup).copied();
    let lowest = after.fold(f64::INFINITY, f64::min);
    match lowest.is_finite() && path.peak > 0.0 {
        true => lowest / path.peak,
        false => 1.0,
    }
}

/// The steepest slope, a share of the highest LR a step ([`steepest_fall`]); 0 where there is none, as where the LR
/// falls by a jump.
pub(super) fn steepest(path: &Path) -> f64 {
    let after = path.lrs.get(path.warmup..).unwrap_or_default();
    let steepest = steepest_fall(after, path.peak);
    let by_a_jump = after
        .windows(2)
        .any(|w| w[0] - w[1] >= (1.0 - 1e-9) * HALF * (path.peak - lowest(path) * path.peak));
    if by_a_jump { 0.0 } else { steepest }
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
        // 811 jumps twice; an LR that stands still between logged rows slopes.
        let steps811: Vec<f64> = (0..100)
            .map(|s| match s {
                0..80 => 1.0,
                80..90 => 0.316,
                _ => 0.1,
            })
            .collect();
        assert_eq!(steepest(&path(&steps811)), 0.0);
        let stairs: Vec<f64> = (0..100).map(|s| 1.0 - 0.1 * (s / 10) as f64).collect();
        assert!((steepest(&path(&stairs)) - 0.01).abs() < 3e-3);
    }

    #[test]
    fn slopes_are_those_of_their_steepest_half() {
        let n = 1000;
        for (shape, lengths) in [
            ((|x| 1.0 - x) as fn(f64) -> f64, 1.0),
            (|x: f64| 1.0 - x.sqrt(), 2.0),
            (|x: f64| 0.5 * (1.0 + (std::f64::consts::PI * x).cos()), 1.5),
        ] {
            let mut lrs = vec![2e-3; 500];
            lrs.extend((0..n).map(|s| 2e-3 * shape(f64::from(s) / f64::from(n))));
            let steepest = steepest_fall(&lrs, 2e-3);
            assert!(
                (steepest * f64::from(n) / lengths - 1.0).abs() < 0.02,
                "{steepest}"
            );
        }
        // The fewest steps, whatever comes before: the brute force.
        let lrs: Vec<f64> = (0..60).map(|s| 1.0 + (f64::from(s) * 0.7).sin()).collect();
        let fall = 0.5
            * (lrs.iter().copied().fold(0.0, f64::max) - lrs.iter().copied().fold(9.0, f64::min));
        let mut fewest = usize::MAX;
        for end in 0..60 {
            for start in 0..end {
                if lrs[start] - lrs[end] >= fall {
                    fewest = fewest.min(end - start);
                }
            }
        }
        assert!(steepest_fall(&lrs, 9.0) >= fall / 9.0 / fewest as f64);
    }
}
