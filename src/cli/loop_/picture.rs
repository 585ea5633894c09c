//! Predicted against actual: a dot a schedule, the line where both are the same, and the one where
//! the law is as far off as for the designed run.

use crate::campaign::Plan;
use crate::campaign::results::Summary;
use crate::report::{Axis, Chart, Entry, Numbers, Panel, Series};
use crate::schedule::count;

pub(super) fn chart(plan: &Plan, summary: &Summary) -> Chart {
    let lines = &summary.lines;
    let predicted: Vec<f64> = lines.iter().map(|line| line.predicted).collect();
    let actual: Vec<f64> = lines.iter().map(|line| line.actual.mean).collect();
    // Of one length, so that equal differences look equal.
    let length = 1.25 * spread(&predicted).max(spread(&actual)).max(1e-3);
    let x = around(&predicted, length);
    let y = around(&actual, length);
    let dots = lines.iter().enumerate().map(|(key, line)| {
        let dot = vec![[line.predicted, line.actual.mean]];
        Series::dots(key, dot).lettered()
    });
    let mut legend: Vec<Entry> = (lines.iter().enumerate())
        .map(|(key, line)| Entry {
            key,
            text: format!("{}: {:.4}", line.schedule, line.actual.mean),
        })
        .collect();
    let mut series: Vec<Series> = dots.collect();
    // A law may be off by much and right in what it says of differences.
    let offsets = [
        (Some(0.0), "predicted = actual"),
        (summary.error, "as far off as the designed run"),
    ];
    for (offset, text) in offsets {
        let Some(offset) = offset else { continue };
        let (low, high) = (x.0.max(y.0 + offset), x.1.min(y.1 + offset));
        if low < high {
            let key = legend.len();
            let ends = [low, high].map(|x| [x, x - offset]);
            series.push(Series::line(key, ends.to_vec()));
            let text = text.to_string();
            legend.push(Entry { key, text });
        }
    }
    Chart {
        title: "Final loss, predicted and actual".into(),
        subtitle: format!(
            "held-out, nats a token, after {} steps; predicted from probes of {} steps",
            count(plan.steps()),
            count(plan.probes.steps())
        ),
        x: Axis::linear("predicted", Numbers::Plain).within(x.0, x.1),
        panels: vec![Panel {
            y: Axis::linear("actual", Numbers::Plain).within(y.0, y.1),
            height: 420.0,
            rows: 16,
            series,
        }],
        legend,
        dashes: false,
    }
}

fn ends(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

fn spread(values: &[f64]) -> f64 {
    let (low, high) = ends(values);
    high - low
}

/// An axis of this length with the values in its middle.
fn around(values: &[f64], length: f64) -> (f64, f64) {
    let (low, high) = ends(values);
    let middle = 0.5 * (low + high);
    (middle - 0.5 * length, middle + 0.5 * length)
}
