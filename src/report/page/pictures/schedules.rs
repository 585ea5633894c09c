//! Learning rates: by step, by share of the run, and how much of them has been taken back.

use super::super::gathered::Gathered;
use super::{Drawn, Picture, chart, happened, line, runs_legend, short, steps_axis};
use crate::report::run::derived::scheduled;
use crate::report::ticks::nice_ceiling;
use crate::report::{Axis, Chart, Entry, Numbers, Panel, Scale, Series};

/// LRs drawn of one schedule; a jump is then at most a point wide.
const MOST: usize = 1200;

/// `(step, of(step, lr))`, thinned evenly, the last step among them.
fn drawn(lrs: &[f64], mut of: impl FnMut(usize, f64) -> [f64; 2]) -> Vec<[f64; 2]> {
    let every = lrs.len().div_ceil(MOST).max(1);
    let last = lrs.len().saturating_sub(1);
    let all = lrs.iter().enumerate();
    all.map(|(s, lr)| (s, of(s, *lr)))
        .filter(|(s, _)| s % every == 0 || *s == last)
        .map(|(_, point)| point)
        .collect()
}

fn peak(lrs: &[f64]) -> f64 {
    lrs.iter().copied().fold(0.0, f64::max)
}

/// The LR of every step, linear and logarithmic.
pub(super) fn schedule(g: &Gathered) -> Option<Picture> {
    let all: Vec<Vec<f64>> = g.runs.iter().map(scheduled).collect();
    let highest = all.iter().map(|l| peak(l)).fold(0.0, f64::max);
    if highest <= 0.0 {
        return None;
    }
    let series = |g: &Gathered| -> Vec<Series> {
        let keyed = all.iter().enumerate();
        keyed
            .map(|(key, lrs)| line(g, key, drawn(lrs, |s, lr| [s as f64, lr])))
            .collect()
    };
    let mut chart = chart("Learning rate", String::new(), steps_axis(g));
    chart.panels.push(Panel {
        y: Axis::linear("learning rate", Numbers::Power).within(0.0, nice_ceiling(highest, 4)),
        height: 130.0,
        rows: 6,
        series: [series(g), happened(g, false, true)].concat(),
    });
    let mut logarithmic = Axis::linear("the same, logarithmic", Numbers::Power);
    logarithmic.scale = Scale::Log;
    // A last step near 0 would take all the room.
    let lowest = all
        .iter()
        .flatten()
        .copied()
        .filter(|lr| *lr > 0.0)
        .fold(highest, f64::min);
    logarithmic.range = Some((lowest.max(highest * 1e-3) * 0.8, highest * 1.4));
    chart.panels.push(Panel {
        y: logarithmic,
        height: 130.0,
        rows: 6,
        series: series(g),
    });
    chart.legend = runs_legend(g);
    Some(Picture {
        id: "schedule",
        heading: "Schedule".into(),
        caption: "The learning rate that every step trained with, and from the last one on what is planned.".into(),
        drawn: Drawn::Chart(chart),
        small: false,
    })
}

/// Schedules of any length beside one another, designed ones among them.
pub(super) fn shapes(g: &Gathered) -> Option<Picture> {
    if g.single() && g.designed.is_empty() {
        return None;
    }
    let runs = g.runs.iter().map(|r| (short(&r.name), scheduled(r)));
    let designed = g
        .designed
        .iter()
        .map(|(name, lrs)| (format!("designed: {}", short(name)), lrs.clone()));
    let mut chart = shape_chart();
    let mut series = Vec::new();
    for (key, (name, lrs)) in runs.chain(designed).enumerate() {
        let (top, length) = (peak(&lrs), lrs.len() as f64);
        if top > 0.0 {
            let points = drawn(&lrs, |s, lr| [(s as f64 + 1.0) / length * 100.0, lr / top]);
            series.push(Series::line(key, points).lettered());
            chart.legend.push(Entry { key, text: name });
        }
    }
    chart.panels.push(Panel {
        y: Axis::linear("learning rate, of the peak", Numbers::Plain).within(0.0, 1.05),
        height: 200.0,
        rows: 10,
        series,
    });
    Some(Picture {
        id: "shapes",
        heading: "Schedules by share of the run".into(),
        caption: "Learning rate over its peak against the share of the run, so that runs of any length compare.".into(),
        drawn: Drawn::Chart(chart),
        small: true,
    })
}

fn shape_chart() -> Chart {
    let x = Axis::linear("share of the run, %", Numbers::Plain).within(0.0, 100.0);
    chart("Schedules by share of the run", String::new(), x)
}

/// S₂: all that the LR has come down.
pub(super) fn annealed(g: &Gathered) -> Option<Picture> {
    let mut series = Vec::new();
    let mut most = 0.0f64;
    for (key, run) in g.runs.iter().enumerate() {
        let all = scheduled(run);
        let (mut before, mut sum) = (0.0f64, 0.0);
        let points = drawn(&all, |s, lr| {
            sum += (before - lr).max(0.0);
            before = lr;
            [s as f64, sum]
        });
        most = most.max(sum);
        series.push(line(g, key, points));
    }
    // A constant LR takes nothing back.
    if most <= 0.0 {
        return None;
    }
    let mut chart = chart(
        "How far the learning rate has come down",
        String::new(),
        steps_axis(g),
    );
    chart.panels.push(Panel {
        y: Axis::linear("S₂ = Σ max(0, −Δη)", Numbers::Power).within(0.0, nice_ceiling(most, 4)),
        height: 200.0,
        rows: 10,
        series,
    });
    chart.legend = runs_legend(g);
    Some(Picture {
        id: "annealed",
        heading: "Annealing".into(),
        caption: "S₂, the sum of all falls of the learning rate: what laws of annealing credit for the drop at the end.".into(),
        drawn: Drawn::Chart(chart),
        small: true,
    })
}
