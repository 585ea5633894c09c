//! A picture of schedules as SVG: no scripts, no fonts of its own, light and dark by media query.

use super::sample;
use crate::schedule::{Schedule, count};
use std::collections::BTreeSet;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 736.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 300.0;
/// Samples a curve, besides its landmarks and their neighbours.
const SAMPLES: u64 = 660;

/// Line colours for light and dark ground, and dashes, so that no curve depends on colour alone.
const CURVES: [(&str, &str, &str); 8] = [
    ("#0b62c4", "#6cb0ff", "none"),
    ("#c4420b", "#ff9a66", "8 4"),
    ("#0b8a4a", "#5fd699", "2 3"),
    ("#8a3fb5", "#cf9bf0", "10 3 2 3"),
    ("#8a6d00", "#e3c14d", "14 4"),
    ("#b01657", "#ff86b6", "4 4"),
    ("#00798a", "#5ccfe0", "6 2 2 2"),
    ("#555555", "#bbbbbb", "1 4"),
];

pub(super) fn draw(schedules: &[Schedule], tokens_per_step: Option<u64>) -> String {
    let highest = schedules.iter().map(Schedule::peak_lr).fold(0.0, f64::max);
    let steps = schedules[0].steps();
    let lines: Vec<Vec<String>> = schedules
        .iter()
        .map(|s| wrap_legend(&s.describe()))
        .collect();
    let legend_top = BOTTOM + 62.0;
    let rows: usize = lines.iter().map(Vec::len).sum();
    let height = legend_top + 18.0 * rows as f64 + 6.0;
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <title>Learning rate by step</title>\n{}",
        style(schedules.len())
    );
    let _ = writeln!(
        out,
        "<rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>"
    );
    let top = nice_ceiling(highest);
    let y_of = |lr: f64| BOTTOM - (BOTTOM - TOP) * lr / top;
    let x_of = |step: f64| LEFT + (RIGHT - LEFT) * step / steps as f64;
    for tick in ticks(top, 5) {
        let y = y_of(tick);
        let class = if tick == 0.0 { "axis" } else { "grid" };
        let _ = writeln!(
            out,
            "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.2}\" y2=\"{y:.2}\"/>\
             <text x=\"{}\" y=\"{:.2}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            short(tick)
        );
    }
    for tick in ticks(steps as f64, 6)
        .into_iter()
        .filter(|t| t.fract() == 0.0)
    {
        let x = x_of(tick);
        let _ = writeln!(
            out,
            "<line class=\"axis\" x1=\"{x:.2}\" x2=\"{x:.2}\" y1=\"{BOTTOM}\" y2=\"{}\"/>\
             <text x=\"{x:.2}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 5.0,
            BOTTOM + 19.0,
            count(tick as u64)
        );
    }
    let axis = match tokens_per_step {
        Some(tokens) => format!("step, of {} tokens each", count(tokens)),
        None => "step".into(),
    };
    let middle = (LEFT + RIGHT) / 2.0;
    let _ = writeln!(
        out,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{axis}</text>",
        BOTTOM + 38.0
    );
    let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"14\">learning rate</text>");
    for (i, schedule) in schedules.iter().enumerate() {
        let points: Vec<String> = steps_to_draw(schedule)
            .into_iter()
            .map(|s| format!("{:.2},{:.2}", x_of(s as f64), y_of(schedule.lr(s))))
            .collect();
        let _ = writeln!(
            out,
            "<polyline class=\"c{i}\" points=\"{}\"/>",
            points.join(" ")
        );
    }
    let mut y = legend_top;
    for (i, text) in lines.iter().enumerate() {
        let _ = writeln!(
            out,
            "<line class=\"c{i}\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>",
            LEFT + 34.0,
            y - 4.0,
            y - 4.0
        );
        for line in text {
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{y}\">{}</text>",
                LEFT + 44.0,
                escape(line)
            );
            y += 18.0;
        }
    }
    out.push_str("</svg>\n");
    out
}

fn style(curves: usize) -> String {
    let mut light = String::new();
    let mut dark = String::new();
    for (i, (on_light, on_dark, dashes)) in CURVES.iter().take(curves).enumerate() {
        let _ = writeln!(
            light,
            ".c{i} {{ stroke: {on_light}; stroke-dasharray: {dashes}; stroke-width: 2; \
             stroke-linejoin: round; fill: none }}"
        );
        let _ = writeln!(dark, "  .c{i} {{ stroke: {on_dark} }}");
    }
    format!(
        "<style>\n.ground {{ fill: #ffffff }}\ntext {{ fill: #24292f }}\n\
         .grid {{ stroke: #d8dee4 }}\n.axis {{ stroke: #6e7781 }}\n{light}\
         @media (prefers-color-scheme: dark) {{\n  .ground {{ fill: #0d1117 }}\n  \
         text {{ fill: #e6edf3 }}\n  .grid {{ stroke: #30363d }}\n  .axis {{ stroke: #8b949e }}\n\
         {dark}}}\n</style>\n"
    )
}

/// An even sample, and every landmark with the step before it, so that jumps stand upright.
fn steps_to_draw(schedule: &Schedule) -> BTreeSet<u64> {
    let samples = SAMPLES.min(schedule.steps());
    let even = (0..samples).map(|i| sample(i, samples, schedule.steps()));
    let marks = schedule
        .landmarks()
        .into_iter()
        .flat_map(|mark| [mark.step.saturating_sub(1), mark.step]);
    even.chain(marks).collect()
}

/// 1, 2, 2.5 or 5 times a power of ten: the distance of about `n` ticks up to `top`.
fn spacing(top: f64, n: usize) -> f64 {
    let raw = top / n as f64;
    let power = 10f64.powi(raw.log10().floor() as i32);
    let nice = [1.0, 2.0, 2.5, 5.0, 10.0];
    let chosen = nice.into_iter().find(|m| m * power >= raw * (1.0 - 1e-9));
    chosen.unwrap_or(10.0) * power
}

fn ticks(top: f64, n: usize) -> Vec<f64> {
    let every = spacing(top, n);
    let last = (top / every * (1.0 + 1e-9)).floor() as usize;
    (0..=last).map(|i| i as f64 * every).collect()
}

/// The first tick at or above `value`.
fn nice_ceiling(value: f64) -> f64 {
    let every = spacing(value, 5);
    (value / every * (1.0 - 1e-9)).ceil() * every
}

/// `2.5e-4`, without the digits that only rounding put there.
fn short(lr: f64) -> String {
    if lr == 0.0 {
        return "0".into();
    }
    let text = format!("{lr:.3e}");
    let (digits, power) = text.split_once('e').expect("scientific notation has an e");
    format!(
        "{}e{power}",
        digits.trim_end_matches('0').trim_end_matches('.')
    )
}

/// Lines of at most about 95 characters, which is what the width holds.
fn wrap_legend(text: &str) -> Vec<String> {
    super::wrap(text, 95, "")
        .lines()
        .map(str::to_string)
        .collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        assert_eq!(ticks(10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(1799.0, 6), [0.0, 500.0, 1000.0, 1500.0]);
        assert_eq!(short(nice_ceiling(2.9e-3)), "3e-3");
        assert_eq!(short(nice_ceiling(3e-3)), "3e-3");
        assert_eq!(short(2.5e-4), "2.5e-4");
    }
}
