//! A schedule in one line of text.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// `▁▇▇▇▇▅▃▁`: at most `width` characters, each the mean of its share of `lrs`, the lowest bar at 0
/// and the last but one at the highest LR (the full block would touch the line above).
pub fn sparkline(lrs: &[f64], width: usize) -> String {
    let width = width.min(lrs.len());
    let highest = lrs.iter().copied().fold(0.0, f64::max);
    let top = (BARS.len() - 2) as f64;
    (0..width)
        .map(|i| {
            let share = &lrs[i * lrs.len() / width..(i + 1) * lrs.len() / width];
            let mean = share.iter().sum::<f64>() / share.len() as f64;
            let height = if highest > 0.0 { mean / highest } else { 0.0 };
            BARS[(height.clamp(0.0, 1.0) * top).round() as usize]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_from_zero_to_the_peak() {
        assert_eq!(
            sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 7),
            "▁▂▃▄▅▆▇"
        );
        assert_eq!(sparkline(&[1e-3; 10], 3), "▇▇▇");
        assert_eq!(sparkline(&[0.0; 4], 4), "▁▁▁▁");
    }

    #[test]
    fn never_wider_than_asked_or_than_the_data() {
        assert_eq!(sparkline(&[], 5), "");
        assert_eq!(sparkline(&[1.0; 3], 0), "");
        for width in 1..20 {
            let line = sparkline(&[1.0; 7], width);
            assert_eq!(line.chars().count(), width.min(7));
        }
    }
}
