//! What `lehr scaling` says: one table of all approaches, 80 columns.

use super::super::fit::table::{item, number, plural};
use super::super::format::{count, thousands};
use super::input::Input;
use crate::report::chart::letter;
use crate::report::scaling::key;
use crate::scaling::compare::{Comparison, Missed, Parametric, Request, Row};
use crate::scaling::estimate::Estimate;
use crate::scaling::law::ScalingLaw;
use std::fmt::Write;

/// Columns of an approach's name.
const NAME: usize = 23;

/// Everything but the picture.
pub fn words(input: &Input, found: &Comparison, request: &Request) -> String {
    let mut out = item("data", &data(input, found));
    if let Some(Ok(parametric)) = &found.parametric {
        out.push_str(&item("law", &law(parametric)));
        out.push('\n');
        constants(&mut out, parametric, request);
    }
    if !found.rows.is_empty() {
        exponents(&mut out, found, request);
        for place in 0..request.at.len() {
            sizes(&mut out, found, request, place);
        }
        out.push('\n');
    }
    for note in input.notes.iter().cloned().chain(notes(found, request)) {
        out.push_str(&item("note", &note));
    }
    out
}

fn data(input: &Input, found: &Comparison) -> String {
    let extent = |of: fn(&crate::scaling::point::Point) -> f64| {
        let values = input.points.iter().map(of);
        values.fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(v), h.max(v)))
    };
    let (n, c) = (extent(|p| p.params), extent(|p| p.flops));
    let mut text = format!(
        "{}, {} to {} parameters, {:.1e} to {:.1e} FLOPs",
        plural(input.points.len(), "model"),
        count(n.0),
        count(n.1),
        c.0,
        c.1
    );
    if let Some(curves) = &input.curves {
        text.push_str(&format!(", {}", plural(curves.len(), "curve")));
    }
    if let Some(Ok(isoflop)) = &found.isoflop {
        let sizes = isoflop.budgets.iter().map(|b| b.sizes.len());
        let (least, most) = sizes.fold((usize::MAX, 0), |(l, m), n| (l.min(n), m.max(n)));
        let sizes = match least == most {
            true => format!("{most}"),
            false => format!("{least} to {most}"),
        };
        text.push_str(&format!(
            ", {} budgets of {sizes} sizes",
            isoflop.budgets.len()
        ));
    }
    text
}

fn law(found: &Parametric) -> String {
    let fit = &found.fit;
    format!(
        "L = E + A/N^alpha + B/D^beta, nats a token\nobjective {:.4e}; {:.1} % of {} starts end there",
        fit.objective,
        fit.agree * 100.0,
        thousands(fit.starts as u64)
    )
}

// Writing to a String cannot fail, here and below.
fn constants(out: &mut String, found: &Parametric, request: &Request) {
    let level = level(request);
    let _ = writeln!(out, "  {:<NAME$}{:>8}  {level}", "constant", "value");
    let constants = |law: &ScalingLaw| [law.e, law.a, law.b, law.alpha, law.beta];
    let values = constants(&found.fit.law);
    for (i, name) in ["E", "A", "B", "alpha", "beta"].into_iter().enumerate() {
        let interval = match found.bootstrap.draws.is_empty() {
            true => String::new(),
            false => {
                let (low, high) = found
                    .bootstrap
                    .interval(request.level, |law| constants(law)[i]);
                format!("{} … {}", number(low), number(high))
            }
        };
        let line = format!("  {name:<NAME$}{:>8}  {interval}", number(values[i]));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push('\n');
}

/// `95 % interval`; nothing without resamples.
fn level(request: &Request) -> String {
    match request.resamples {
        0 => String::new(),
        _ => format!("{} % interval", number_short(request.level * 100.0)),
    }
}

fn number_short(x: f64) -> String {
    let text = format!("{x:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// With the letter of the approach in the picture.
fn name(row: &Row) -> String {
    format!("{} {}", letter(key(row.way)), row.way.title())
}

fn exponents(out: &mut String, found: &Comparison, request: &Request) {
    let _ = writeln!(
        out,
        "  {:<NAME$}{:>8}  {:<22}held out",
        "N best ∝ C^a",
        "a",
        level(request)
    );
    for row in &found.rows {
        let interval = interval(&row.exponent, |x| format!("{x:.4}"));
        let held_out = match row.held_out {
            Some(Missed::Params(error)) => format!("N off by {:.1} %", error * 100.0),
            Some(Missed::Loss(error)) => format!("L off by {error:.4} nats"),
            None => String::new(),
        };
        let value = format!("{:.4}", row.exponent.value);
        let line = format!("  {:<NAME$}{value:>8}  {interval:<22}{held_out}", name(row));
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

fn sizes(out: &mut String, found: &Comparison, request: &Request, place: usize) {
    let level = level(request);
    let at = format!("at {:.2e} FLOPs", request.at[place]);
    let line = format!("\n  {at:<NAME$}{:>8}  {level:<18}{:>8}  {level}", "N", "D");
    let _ = writeln!(out, "{}", line.trim_end());
    for row in &found.rows {
        let (n, d) = (&row.params[place], &row.tokens[place]);
        let line = format!(
            "  {:<NAME$}{:>8}  {:<18}{:>8}  {}",
            name(row),
            count(n.value),
            interval(n, count),
            count(d.value),
            interval(d, count)
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    if let Some(loss) = found.rows.iter().find_map(|r| r.loss.get(place)) {
        let interval = interval(loss, |x| format!("{x:.4}"));
        let line = format!(
            "  {:<NAME$}{:>8.4}  {interval}",
            "loss, nats a token", loss.value
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

fn interval(of: &Estimate, write: impl Fn(f64) -> String) -> String {
    match (of.low, of.high) {
        (Some(low), Some(high)) => format!("{} … {}", write(low), write(high)),
        _ => String::new(),
    }
}

/// Sentences on the approaches: what they left out, what biases them, why they are not there.
pub fn notes(found: &Comparison, request: &Request) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    if let Some(Ok(isoflop)) = &found.isoflop {
        notes.extend(isoflop.notes.iter().cloned());
        notes.extend(found.argmin_bias(&request.at));
    }
    if let Some(Ok(envelope)) = &found.envelope {
        notes.extend(envelope.notes.iter().cloned());
    }
    if let Some(Ok(parametric)) = &found.parametric {
        notes.extend(parametric.fit.doubt());
        notes.extend(parametric.without_optimum());
        if let Err(why) = &parametric.held_out {
            notes.push(format!("parametric, held out: {why}"));
        }
    }
    for (name, why) in [
        (
            "isoflop",
            found.isoflop.as_ref().and_then(|r| r.as_ref().err()),
        ),
        (
            "envelope",
            found.envelope.as_ref().and_then(|r| r.as_ref().err()),
        ),
        (
            "parametric",
            found.parametric.as_ref().and_then(|r| r.as_ref().err()),
        ),
    ] {
        notes.extend(why.map(|why| format!("{name} is left out: {why}")));
    }
    if found.rows.iter().any(|r| r.held_out.is_some()) {
        notes.push(
            "held out: the largest budgets (about a third) left out of the fit and predicted; N against the \
             parabola's minima or the envelope's crossings, L against the losses"
                .into(),
        );
    }
    notes
}
