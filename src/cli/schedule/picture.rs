//! Schedules as a chart: the LR over the steps.

use super::sample;
use crate::report::{Axis, Chart, Entry, Numbers, Panel, Series, ticks};
use crate::schedule::{Schedule, count};
use std::collections::BTreeSet;

/// Samples a curve, besides its landmarks and their neighbours.
const SAMPLES: u64 = 660;

/// One key a schedule, in their order.
pub(super) fn chart(schedules: &[Schedule], tokens_per_step: Option<u64>) -> Chart {
    let highest = schedules.iter().map(Schedule::peak_lr).fold(0.0, f64::max);
    let last = schedules[0].steps() - 1;
    let series = schedules.iter().enumerate().map(|(key, schedule)| {
        let at = |step: u64| [step as f64, schedule.lr(step)];
        Series::line(key, steps_to_draw(schedule).into_iter().map(at).collect())
    });
    Chart {
        title: "Learning rate by step".into(),
        subtitle: match tokens_per_step {
            Some(tokens) => format!("steps of {} tokens", count(tokens)),
            None => String::new(),
        },
        // A run of one step still needs an axis with two ends.
        x: Axis::linear("step", Numbers::Count).within(0.0, last.max(1) as f64),
        panels: vec![Panel {
            y: Axis::linear("learning rate", Numbers::Power)
                .within(0.0, ticks::nice_ceiling(highest, 5)),
            height: 276.0,
            rows: 12,
            series: series.collect(),
        }],
        legend: schedules
            .iter()
            .enumerate()
            .map(|(key, s)| Entry {
                key,
                text: s.describe(),
            })
            .collect(),
        dashes: true,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::terminal;
    use crate::schedule::{ScheduleSpec, Warmup};

    fn schedule(shape: &str, steps: u64) -> Schedule {
        Schedule::new(&ScheduleSpec {
            shape: shape.parse().unwrap(),
            peak_lr: 1e-3,
            warmup: Warmup::Steps(0),
            steps,
            tokens_per_step: None,
            compat: false,
        })
        .unwrap()
    }

    #[test]
    fn fits_eighty_columns_whatever_the_run() {
        for steps in [1, 2, 100, u64::MAX] {
            for specs in [&["wsd"][..], &["wsd", "cosine", "811"]] {
                let all: Vec<Schedule> = specs.iter().map(|s| schedule(s, steps)).collect();
                let plot = terminal::draw(&chart(&all, None), false);
                assert_eq!(plot.lines().count(), 15);
                for line in plot.lines() {
                    assert!(line.chars().count() <= 80, "{line}");
                }
            }
        }
    }

    #[test]
    fn coinciding_schedules_take_turns() {
        let both = chart(&[schedule("constant", 100), schedule("wsd", 100)], None);
        let plot = terminal::draw(&both, false);
        let top = plot.lines().nth(1).unwrap();
        assert!(top.ends_with("aaaa") && top.contains("abab"), "{plot}");
    }
}
