//! How numbers look in text: short, each with its unit.

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

/// `text` without what could move a cursor or colour a terminal: names and logs may hold anything.
pub fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
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
