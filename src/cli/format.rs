//! How numbers look in the terminal: short, aligned, each with its unit.

pub use crate::report::words::{clock, count, thousands};
use crate::scaling::suite::results::Mean;

/// `3.0e-3`.
pub fn lr(x: f64) -> String {
    format!("{x:.1e}")
}

/// `3.0123 ± 0.0040`: the mean of several seeds and their standard deviation.
pub fn mean(m: &Mean) -> String {
    match m.deviation {
        Some(d) => format!("{:.4} ± {d:.4}", m.mean),
        None => format!("{:.4}", m.mean),
    }
}

/// `+3.2 ± 0.4`: the same, of a difference, in thousandths.
pub fn mean_thousandths(m: &Mean) -> String {
    let value = format!("{:+.1}", 1e3 * m.mean);
    match m.deviation {
        Some(d) => format!("{value} ± {:.1}", 1e3 * d),
        None => value,
    }
}

/// A loss or a speed as the screen shows it: each step moves it a tenth of the way, and one that is no number not at all.
pub fn smooth(old: Option<f64>, new: f64) -> Option<f64> {
    const WEIGHT: f64 = 0.1;
    match old {
        Some(old) if new.is_finite() => Some(old + WEIGHT * (new - old)),
        Some(old) => Some(old),
        None => Some(new),
    }
}

/// Breaks `text` into lines of at most `width` characters, at spaces, each led by `indent`; line
/// breaks of the text stay.
pub fn wrap(text: &str, width: usize, indent: &str) -> String {
    let mut out = String::new();
    for paragraph in text.lines() {
        let mut column = 0;
        out.push_str(indent);
        for word in paragraph.split_whitespace() {
            let length = word.chars().count();
            if column > 0 && column + 1 + length + indent.len() > width {
                out.push('\n');
                out.push_str(indent);
                column = 0;
            } else if column > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += length;
        }
        out.push('\n');
    }
    out.pop();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn numbers() {
        assert_eq!(count(980.0), "980");
        assert_eq!(count(3_210_000.0), "3.21 M");
        assert_eq!(count(124_439_808.0), "124 M");
        assert_eq!(count(1.1e14), "110 T");
        assert_eq!(count(9e20), "900 E");
        assert_eq!(count(1e25), "1.0e25");
        assert_eq!(thousands(4096), "4,096");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(thousands(12), "12");
        assert_eq!(clock(Duration::from_secs(46)), "0:46");
        assert_eq!(clock(Duration::from_secs(7471)), "2:04:31");
        assert_eq!(lr(3e-3), "3.0e-3");
    }

    #[test]
    fn wrapping_keeps_words_and_lines() {
        let text = wrap("one two three\nfour", 11, "  ");
        assert_eq!(text, "  one two\n  three\n  four");
    }
}
