//! How numbers look in the terminal: short, aligned, each with its unit.

use std::time::Duration;

/// `3.2 M`, `124 M`, `980`: three digits at most, then a decimal multiple; `1.0e25` beyond these.
pub fn count(n: f64) -> String {
    // Beyond the prefixes that people read.
    if n >= 9.995e20 {
        return format!("{n:.1e}");
    }
    for (scale, unit) in [
        (1e18, " E"),
        (1e15, " P"),
        (1e12, " T"),
        (1e9, " G"),
        (1e6, " M"),
        (1e3, " k"),
    ] {
        if n >= scale {
            let x = n / scale;
            let digits = if x < 9.995 {
                2
            } else if x < 99.95 {
                1
            } else {
                0
            };
            return format!("{x:.digits$}{unit}");
        }
    }
    format!("{n:.0}")
}

/// `4,096`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `0:46`, `2:04:31`.
pub fn clock(d: Duration) -> String {
    let s = d.as_secs();
    match s / 3600 {
        0 => format!("{}:{:02}", s / 60, s % 60),
        h => format!("{h}:{:02}:{:02}", s / 60 % 60, s % 60),
    }
}

/// `3.0e-3`.
pub fn lr(x: f64) -> String {
    format!("{x:.1e}")
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
