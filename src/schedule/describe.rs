//! Numbers as people read them.

/// `1,440`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A ratio as `20 %` or `12.5 %`: at most one decimal, none where it would be 0.
pub fn percent(ratio: f64) -> String {
    let tenths = format!("{:.1}", ratio * 100.0);
    format!("{} %", tenths.strip_suffix(".0").unwrap_or(&tenths))
}

/// Where a decay goes: `to 0`, `to 10 % of peak`.
pub(super) fn to_ratio(final_ratio: f64) -> String {
    if final_ratio == 0.0 {
        "to 0".into()
    } else {
        format!("to {} of peak", percent(final_ratio))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1440, "1,440"),
            (1_234_567, "1,234,567"),
        ];
        for (n, text) in cases {
            assert_eq!(count(n), text);
        }
    }

    #[test]
    fn percents() {
        let cases = [
            (0.2, "20 %"),
            (0.125, "12.5 %"),
            (1.0, "100 %"),
            (0.0, "0 %"),
        ];
        for (ratio, text) in cases {
            assert_eq!(percent(ratio), text);
        }
    }
}
