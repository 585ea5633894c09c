//! What `lehr fit` says: 80 columns, every number with its unit.

use super::super::format::{thousands, wrap};
use super::scored::{Judged, Scored};
use crate::curve::LossCurve;
use crate::fit::Scores;
use crate::report::chart::letter;
use std::fmt::Write;

const WIDTH: usize = 80;
/// Columns of a curve's name.
const NAME: usize = 24;

/// Everything but the picture.
pub fn fit(judged: &Judged, train: &[LossCurve], test: &[LossCurve]) -> String {
    let mut out = String::new();
    head(&mut out, judged);
    parameters(&mut out, judged);
    scores(&mut out, judged, train, test);
    noisy(&mut out, judged, train, test);
    let curves: Vec<&LossCurve> = train.iter().chain(test).collect();
    notes(&mut out, &judged.fit.notes, &curves);
    out
}

// Writing to a String cannot fail, here and below.
fn head(out: &mut String, judged: &Judged) {
    let fit = &judged.fit;
    let law = &fit.law;
    let formula = format!("{}\n{}\n{}", law.name(), law.formula(), law.source());
    out.push_str(&item("law", &formula));
    let points: usize = fit.curves.iter().map(|c| c.points).sum();
    let bins = fit.curves.iter().map(|c| c.bin).max().unwrap_or(1);
    let bins = match bins {
        1 => String::new(),
        n => format!(" (means of {} steps)", thousands(n)),
    };
    let text = format!(
        "{}, {} points{bins} from step {}; {} of {} starts agree; {} s",
        plural(fit.curves.len(), "curve"),
        thousands(points as u64),
        thousands(fit.from),
        fit.agree,
        fit.starts,
        seconds(fit.seconds)
    );
    out.push_str(&item("fit", &text));
    let objective = format!(
        "{} {:.3e}, δ {:.0e}; condition number {:.0e}",
        fit.options.residual.name(),
        fit.objective,
        fit.options.delta,
        fit.condition
    );
    let _ = writeln!(out, "      {objective}\n");
}

fn parameters(out: &mut String, judged: &Judged) {
    let fit = &judged.fit;
    let _ = writeln!(
        out,
        "  {:<10}{:>11}   {:<27}unit",
        "parameter", "value", "90 % interval"
    );
    for (parameter, found) in fit.law.parameters().iter().zip(&fit.params) {
        let interval = match found.low == found.high {
            true => "held".into(),
            false => format!("{} … {}", number(found.low), number(found.high)),
        };
        let bound = if found.at_bound { "  at a bound" } else { "" };
        let line = format!(
            "  {:<10}{:>11}   {interval:<27}{}{bound}",
            parameter.name,
            number(found.value),
            found.unit
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push('\n');
}

/// Head of a table of scores; errors are in thousandths.
pub fn scores_head(out: &mut String, first: &str) {
    let _ = writeln!(
        out,
        "  {first:<name$}{:>7}{:>9}{:>8}{:>7}{:>7}{:>7}{:>8}",
        "points",
        "R²",
        "MAE",
        "RMSE",
        "PredE",
        "WorstE",
        "final",
        name = NAME + 1
    );
}

/// One line of a table of scores. `label` starts with two columns for a letter.
pub fn scores_line(out: &mut String, label: &str, s: &Scores, signed: bool) {
    let last = match signed {
        true => format!("{:+.1}", s.final_error * 1e3),
        false => format!("{:.1}", s.final_error * 1e3),
    };
    let _ = writeln!(
        out,
        "  {:<name$}{:>7}{:>9}{:>8}{:>7}{:>7}{:>7}{:>8}",
        short(label, NAME),
        thousands(s.n as u64),
        format!("{:.5}", s.r2),
        thousandths(s.mae),
        thousandths(s.rmse),
        thousandths(s.pred_e),
        thousandths(s.worst_e),
        last,
        name = NAME + 1
    );
}

fn scores(out: &mut String, judged: &Judged, train: &[LossCurve], test: &[LossCurve]) {
    let _ = writeln!(
        out,
        "{:>WIDTH$}",
        "errors ×10⁻³: MAE, RMSE, final in nats; PredE, WorstE relative"
    );
    scores_head(out, "fitted");
    for (key, (curve, s)) in train.iter().zip(&judged.train).enumerate() {
        scores_line(
            out,
            &format!("{} {}", letter(key), curve.name),
            &s.raw,
            true,
        );
    }
    if let Some(mean) = judged.test_mean() {
        let _ = writeln!(out, "  test");
        for (i, (curve, s)) in test.iter().zip(&judged.test).enumerate() {
            let label = format!("{} {}", letter(train.len() + i), curve.name);
            scores_line(out, &label, &s.raw, true);
        }
        if test.len() > 1 {
            scores_line(out, "  mean", &mean, false);
        }
    }
    out.push('\n');
}

/// Single-batch losses: what the raw scores cannot tell.
fn noisy(out: &mut String, judged: &Judged, train: &[LossCurve], test: &[LossCurve]) {
    let curves = train.iter().chain(test);
    let scored: Vec<&Scored> = judged.train.iter().chain(&judged.test).collect();
    if scored.iter().all(|s| s.noisy.is_none()) {
        return;
    }
    let _ = writeln!(
        out,
        "  {:<name$}{:>8}{:>10}{:>8}{:>10}{:>8}{:>8}",
        "through the noise",
        "R² ≤",
        "EMA R²",
        "MAE",
        "paired R²",
        "MAE",
        "with",
        name = NAME + 1
    );
    for (key, (curve, s)) in curves.zip(scored).enumerate() {
        let Some(noisy) = &s.noisy else { continue };
        let label = format!("{} {}", letter(key), curve.name);
        let paired = match &noisy.paired {
            Some((p, with)) => {
                format!(
                    "{:>10.5}{:>8}{:>8}",
                    p.r2,
                    thousandths(p.mae),
                    letter(*with)
                )
            }
            None => String::new(),
        };
        let line = format!(
            "  {:<name$}{:>8.4}{:>10.5}{:>8}{paired}",
            short(&label, NAME),
            noisy.ceiling,
            noisy.smoothed.r2,
            thousandths(noisy.smoothed.mae),
            name = NAME + 1
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let text = format!(
        "R² ≤: what a perfect law would reach on these losses of single batches. EMA: against their \
         exponential average of span {}. Paired: with the fitted run's residual of the same step added, \
         for runs that saw the same batches.",
        crate::fit::EMA_SPAN
    );
    let _ = writeln!(out, "{}\n", wrap(&text, WIDTH, "  "));
}

/// Of the fit, then of the curves; what several curves say is said once.
pub fn notes(out: &mut String, of_fit: &[String], curves: &[&LossCurve]) {
    let mut said: Vec<(String, Vec<char>)> = Vec::new();
    for (key, curve) in curves.iter().enumerate() {
        for note in &curve.notes {
            match said.iter_mut().find(|(text, _)| text == note) {
                Some((_, keys)) => keys.push(letter(key)),
                None => said.push((note.clone(), vec![letter(key)])),
            }
        }
    }
    let of_curves = said.into_iter().map(|(text, keys)| {
        let keys: Vec<String> = keys.iter().map(char::to_string).collect();
        format!("{}: {text}", keys.join(" "))
    });
    for note in of_fit.iter().cloned().chain(of_curves) {
        out.push_str(&item("note", &note));
    }
}

/// `label  text`, broken into lines of 80 columns; the text hangs.
pub fn item(label: &str, text: &str) -> String {
    let indent = " ".repeat(6);
    let text = wrap(text, WIDTH, &indent);
    format!("{label:<6}{}\n", text.trim_start())
}

/// `1 curve`, `3 curves`.
pub fn plural(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// Five digits, in powers of ten where those are shorter.
pub fn number(x: f64) -> String {
    if x == 0.0 {
        return "0".into();
    }
    let digits = x.abs().log10().floor() as i32;
    if (-3..5).contains(&digits) {
        format!("{x:.*}", (4 - digits).max(0) as usize)
    } else {
        format!("{x:.4e}")
    }
}

/// In thousandths: `3.05`, `206.0`.
pub fn thousandths(x: f64) -> String {
    let x = x * 1e3;
    match x.abs() {
        v if v < 99.995 => format!("{x:.2}"),
        v if v < 9999.5 => format!("{x:.1}"),
        _ => format!("{x:.0e}"),
    }
}

/// `0.031`, `2.4`.
pub fn seconds(x: f64) -> String {
    match x {
        x if x < 1.0 => format!("{x:.3}"),
        x if x < 10.0 => format!("{x:.2}"),
        x => format!("{x:.1}"),
    }
}

/// At most `width` characters; what is cut is cut in the middle, because names differ at their ends.
pub fn short(text: &str, width: usize) -> String {
    let all: Vec<char> = text.chars().collect();
    if all.len() <= width {
        return text.to_string();
    }
    let head = (width - 1) / 2;
    let tail = width - 1 - head;
    let ends = [&all[..head], &['…'], &all[all.len() - tail..]];
    ends.concat().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        assert_eq!(number(3.04051), "3.0405");
        assert_eq!(number(436.123), "436.12");
        assert_eq!(number(0.00123456), "0.0012346");
        assert_eq!(number(1.5e-7), "1.5000e-7");
        assert_eq!(number(-0.95), "-0.95000");
        assert_eq!(thousandths(0.00305), "3.05");
        assert_eq!(thousandths(0.2060), "206.0");
        assert_eq!(seconds(0.0312), "0.031");
    }

    #[test]
    fn long_names_are_cut_in_the_middle() {
        assert_eq!(short("abcdefgh", 5), "ab…gh");
        assert_eq!(short("abc", 5), "abc");
    }
}
