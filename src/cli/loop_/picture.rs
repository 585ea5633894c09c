//! Predicted against actual: a dot a schedule, and the line where both are the same.

use crate::campaign::Plan;
use crate::campaign::results::Summary;
use crate::report::{Axis, Chart, Entry, Numbers, Panel, Series};
use crate::schedule::count;

pub(super) fn chart(plan: &Plan, summary: &Summary) -> Chart {
    let lines = &summary.lines;
    let both = |line: &crate::campaign::results::Line| [line.predicted, line.actual.mean];
    let values = || lines.iter().flat_map(both);
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    let room = (0.08 * (high - low)).max(1e-3);
    let ends = match lines.is_empty() {
        true => (0.0, 1.0),
        false => (low - room, high + room),
    };
    let dots = lines
        .iter()
        .enumerate()
        .map(|(key, line)| Series::dots(key, vec![both(line)]).lettered());
    let same = Series::line(lines.len(), vec![[ends.0, ends.0], [ends.1, ends.1]]);
    let legend = lines.iter().enumerate().map(|(key, line)| Entry {
        key,
        text: format!("{}: {:.4}", line.schedule, line.actual.mean),
    });
    let equal = Entry {
        key: lines.len(),
        text: "predicted = actual".into(),
    };
    Chart {
        title: "Final loss, predicted and actual".into(),
        subtitle: format!(
            "held-out, nats a token, after {} steps; predicted from probes of {} steps",
            count(plan.steps()),
            count(plan.probes.steps())
        ),
        x: Axis::linear("predicted", Numbers::Plain).within(ends.0, ends.1),
        panels: vec![Panel {
            y: Axis::linear("actual", Numbers::Plain).within(ends.0, ends.1),
            height: 420.0,
            rows: 16,
            series: dots.chain([same]).collect(),
        }],
        legend: legend.chain([equal]).collect(),
        dashes: false,
    }
}
