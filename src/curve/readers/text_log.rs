//! What training scripts print: `iter 100: loss 3.2, time 12ms`, `step 250: train loss 3.1, val loss 3.2`,
//! `step 5/100 | loss 3.2 | lr 1e-3`, `iteration 10/ 500 | lm loss: 9.1E+00 | learning rate: 1.5E-04`.
//!
//! A line is searched for names with a number behind them (`name 3`, `name: 3`, `name=3`), where a
//! name is the last one to three words before the number that name a step, an LR or a loss. A line with a loss or
//! an LR but no step belongs to the last step named before it. All other lines are passed over. A bare
//! `loss` is that of training.

use super::builder::Builder;
use crate::curve::LossKind;
use crate::curve::columns::{Role, role_of};
use crate::curve::frame::Frame;

/// A longer line is no line of a log.
const LONGEST_LINE: usize = 64 << 10;

/// Names looked for in one line.
const MOST_NAMES: usize = 32;

/// Whether the text, as far as its first lines tell, is such a log.
pub(super) fn is_log(text: &str) -> bool {
    const LOOKED_AT: usize = 2000;
    let (mut step, mut loss) = (false, false);
    for line in text.lines().take(LOOKED_AT) {
        for (role, _, _) in found(line) {
            step |= role == Role::Step;
            // A loss before any step belongs to none.
            loss |= step && matches!(role, Role::Loss(_));
        }
    }
    step && loss
}

pub(super) fn read(text: &str) -> Vec<Frame> {
    let mut builder = Builder::default();
    let mut last_step = None;
    for (number, line) in (1u32..).zip(text.lines()) {
        let found = found(line);
        let step = found.iter().find(|f| f.0 == Role::Step).map(|f| f.2);
        last_step = step.or(last_step);
        let Some(step) = last_step else { continue };
        let values = found.iter().filter(|f| f.0 != Role::Step);
        if values.clone().next().is_none() {
            continue;
        }
        builder.row(number);
        builder.number("step", step);
        for (_, name, value) in values {
            builder.number(name, *value);
        }
    }
    let mut frame = builder.frame(None, true);
    frame.bare_loss = LossKind::TrainBatch;
    vec![frame]
}

/// Names that count, with their numbers.
fn found(line: &str) -> Vec<(Role, String, f64)> {
    let mut all: Vec<(Role, String, f64)> = Vec::new();
    if line.len() > LONGEST_LINE || !line.bytes().any(|b| b.is_ascii_digit()) {
        return all;
    }
    let mut words: Vec<&str> = Vec::new();
    let mut rest = line;
    while let Some(token) = next_token(&mut rest)
        && all.len() < MOST_NAMES
    {
        match token {
            Token::Word(word) => words.push(word),
            Token::Number(value) => {
                if let Some((role, name)) = name_of(&words)
                    && !all
                        .iter()
                        .any(|(r, n, _)| *n == name || (*r == Role::Step && role == Role::Step))
                {
                    all.push((role, name, value));
                }
                words.clear();
            }
            Token::Separator => words.clear(),
        }
    }
    all
}

fn name_of(words: &[&str]) -> Option<(Role, String)> {
    let most = words.len().min(3);
    (1..=most).rev().find_map(|n| {
        let name = words[words.len() - n..].join("_");
        let (role, _) = role_of(&name)?;
        // `last step` names a step, but `avg step time` does not end in one.
        Some((role, name))
    })
}

enum Token<'a> {
    Word(&'a str),
    Number(f64),
    /// What parts a number from the name before it: anything but `:`, `=` and blanks.
    Separator,
}

fn next_token<'a>(rest: &mut &'a str) -> Option<Token<'a>> {
    *rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ':' || c == '=');
    let first = rest.chars().next()?;
    let cut = |rest: &mut &'a str, end: usize| {
        let (token, tail) = rest.split_at(end);
        *rest = tail;
        token
    };
    if first.is_alphabetic() || first == '_' {
        let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '/' | '-');
        let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
        let word = cut(rest, end);
        // `loss nan` is a number by that name.
        return Some(match word.to_ascii_lowercase().as_str() {
            "nan" => Token::Number(f64::NAN),
            "inf" | "infinity" => Token::Number(f64::INFINITY),
            _ => Token::Word(word),
        });
    }
    if first.is_ascii_digit() || matches!(first, '-' | '+' | '.') {
        let end = number_length(rest);
        if end > 0 {
            let digits = cut(rest, end).replace(',', "");
            return Some(digits.parse().map_or(Token::Separator, Token::Number));
        }
    }
    cut(rest, first.len_utf8());
    Some(Token::Separator)
}

/// Bytes of the number that `text` begins with; 0 where there is none. Thousands may be parted by
/// commas: `1,000`.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        bytes[from..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let mut at = usize::from(matches!(bytes[0], b'-' | b'+'));
    let whole = digits(at);
    at += whole;
    while (1..=3).contains(&whole) && bytes.get(at) == Some(&b',') && digits(at + 1) == 3 {
        at += 4;
    }
    let mut any = whole;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        any += fraction;
        if fraction > 0 {
            at += 1 + fraction;
        }
    }
    if any == 0 {
        return 0;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'-' | b'+')));
        let exponent = digits(at + 1 + sign);
        if exponent > 0 {
            at += 1 + sign + exponent;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(line: &str) -> Vec<(String, f64)> {
        found(line)
            .into_iter()
            .map(|(_, name, value)| (name, value))
            .collect()
    }

    #[test]
    fn lines_of_the_field() {
        let cases: [(&str, &[(&str, f64)]); 9] = [
            (
                "iter 100: loss 3.2461, time 12.31ms, mfu 3.2%",
                &[("iter", 100.0), ("loss", 3.2461)],
            ),
            (
                "step 250: train loss 3.1000, val loss 3.2000",
                &[("step", 250.0), ("train_loss", 3.1), ("val_loss", 3.2)],
            ),
            (
                "step    7/19560 | loss 11.006 (+nanz)| norm 15.26 (+nanz)| lr 8.5e-07 | 2500.1 ms",
                &[("step", 7.0), ("loss", 11.006), ("lr", 8.5e-7)],
            ),
            (
                " iteration       10/     500 | consumed samples: 80 | learning rate: 1.500E-04 | lm loss: 9.1E+00 | loss scale: 1.0 |",
                &[
                    ("iteration", 10.0),
                    ("learning_rate", 1.5e-4),
                    ("lm_loss", 9.1),
                ],
            ),
            (
                "step:125/1750 val_loss:4.5129 train_time:18223ms",
                &[("step", 125.0), ("val_loss", 4.5129)],
            ),
            (
                "2024-01-01 12:00:00,123 INFO step=1,000 loss=nan lr=0.001",
                &[("step", 1000.0), ("loss", f64::NAN), ("lr", 1e-3)],
            ),
            ("number of parameters: 123.59M", &[]),
            ("saving checkpoint to out", &[]),
            ("loss -.5e", &[("loss", -0.5)]),
        ];
        for (line, expected) in cases {
            let found = values(line);
            let same = found.len() == expected.len()
                && found
                    .iter()
                    .zip(expected)
                    .all(|(f, e)| f.0 == e.0 && (f.1 == e.1 || f.1.is_nan() && e.1.is_nan()));
            assert!(same, "{line}: {found:?}");
        }
    }
}
