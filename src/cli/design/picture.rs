//! A design beside the best of what people train with.

use super::Outcome;
use crate::design::{Family, trust};
use crate::report::{Axis, Chart, Entry, Numbers, Panel, Series, ticks};

/// Samples a curve.
const SAMPLES: usize = 700;

/// LRs of the design, of the best baseline, and of the best cosine.
pub(super) fn chart(o: &Outcome) -> Chart {
    let best = &o.judged.rival().baseline;
    let cosine = |c: &&trust::Comparison| {
        matches!(c.baseline.family, Family::Cosine { .. }) && c.baseline != *best
    };
    let mut shown = vec![
        (
            "designed".to_string(),
            &o.judged.designed.lrs,
            o.judged.designed.loss,
        ),
        (best.family.words(), &best.lrs, best.loss),
    ];
    if let Some(c) = o.judged.compared.iter().find(cosine) {
        let other = &c.baseline;
        shown.push((other.family.words(), &other.lrs, other.loss));
    }
    let all = || shown.iter().flat_map(|(_, lrs, _)| lrs.iter().copied());
    let highest = all().fold(0.0, f64::max);
    let last = o.limits().steps - 1;
    let series = shown
        .iter()
        .enumerate()
        .map(|(key, (_, lrs, _))| Series::line(key, sampled(lrs)));
    let legend = shown
        .iter()
        .enumerate()
        .map(|(key, (name, _, loss))| Entry {
            key,
            text: format!("{name}: {loss:.4}"),
        });
    Chart {
        title: "Learning rate by step".into(),
        subtitle: format!(
            "predicted final losses under {}, nats a token",
            o.under.model.law.name()
        ),
        x: Axis::linear("step", Numbers::Count).within(0.0, last.max(1) as f64),
        panels: vec![Panel {
            y: Axis::linear("learning rate", Numbers::Power)
                .within(0.0, ticks::nice_ceiling(highest, 5)),
            height: 276.0,
            rows: 12,
            series: series.collect(),
        }],
        legend: legend.collect(),
        dashes: true,
    }
}

/// Evenly, and both sides of every jump.
fn sampled(lrs: &[f64]) -> Vec<[f64; 2]> {
    let every = lrs.len().div_ceil(SAMPLES).max(1);
    let highest = lrs.iter().copied().fold(0.0, f64::max);
    let jump = |s: usize| s > 0 && (lrs[s] - lrs[s - 1]).abs() > 0.05 * highest;
    let shown = |s: &usize| {
        s.is_multiple_of(every)
            || *s + 1 == lrs.len()
            || jump(*s)
            || (*s + 1 < lrs.len() && jump(*s + 1))
    };
    (0..lrs.len())
        .filter(shown)
        .map(|s| [s as f64, lrs[s]])
        .collect()
}
