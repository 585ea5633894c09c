//! What the runs measured: losses by step and by compute, and what averaging gained.

use super::super::gathered::Gathered;
use super::{Drawn, Picture, chart, happened, late_range, line, runs_legend, steps_axis};
use crate::curve::LossKind;
use crate::report::run::Run;
use crate::report::run::derived::{bin_width, means};
use crate::report::run::record::Kind;
use crate::report::{Axis, Data, Entry, Numbers, Panel, Scale, Series};

/// Keys of a single run's picture.
const TRAINING: usize = 0;
const HELD_OUT: usize = 1;
const FORECAST: usize = 2;

fn held_out(run: &Run) -> Vec<[f64; 2]> {
    run.evals.iter().map(|e| [e.step as f64, e.loss]).collect()
}

fn words(width: u64) -> String {
    match width {
        1 => "training, every batch".into(),
        w => format!("training, means of {w} steps"),
    }
}

/// Losses, with what the law says is to come. Of several runs those of training and those held out lie apart.
pub(super) fn loss(g: &Gathered) -> Option<Picture> {
    let longest = g.runs.iter().map(|r| r.last_step()).max()?;
    let width = bin_width(longest);
    let coming = coming(g);
    let mut chart = chart("Loss", String::new(), steps_axis(g));
    chart.legend = runs_legend(g);
    let training = g.runs.iter().map(|r| means(&r.steps, width, |s| s.loss));
    let training: Vec<_> = training.collect();
    let evaluated: Vec<_> = g.runs.iter().map(held_out).collect();
    let any_evaluated = evaluated.iter().any(|e| !e.is_empty());
    let mut panel = |label: String, height, rows, series: Vec<Series>| {
        let drawn = series.iter().filter_map(|s| match &s.data {
            Data::Line(points) => Some(points.clone()),
            _ => None,
        });
        let mut y = Axis::linear(label, Numbers::Plain);
        y.range = late_range(&drawn.collect::<Vec<_>>(), longest as f64);
        chart.panels.push(Panel {
            y,
            height,
            rows,
            series,
        });
    };
    if g.single() {
        let mut series = vec![Series::line(TRAINING, training[0].clone())];
        series.push(Series::line(HELD_OUT, evaluated[0].clone()));
        series.push(Series::dots(HELD_OUT, evaluated[0].clone()));
        series.extend(coming.iter().flat_map(|(_, series)| series.clone()));
        series.extend(happened(g, true, true));
        panel("loss, nats a token".into(), 330.0, 14, series);
        chart.legend.push(entry(TRAINING, words(width)));
        if any_evaluated {
            chart.legend.push(entry(HELD_OUT, "held out".into()));
        }
        if !coming.is_empty() {
            let text = "to come, with a 90 % band".into();
            chart.legend.push(entry(FORECAST, text));
        }
    } else {
        let of = |all: &[Vec<[f64; 2]>], kind: LossKind| -> Vec<Series> {
            let lines = all.iter().enumerate();
            let lines = lines.map(|(key, points)| line(g, key, points.clone()));
            let coming = coming.iter().filter(|(of, _)| *of == kind);
            lines
                .chain(coming.flat_map(|(_, series)| series.clone()))
                .collect()
        };
        let label = format!("{}, nats a token", words(width));
        panel(label, 270.0, 14, of(&training, LossKind::TrainBatch));
        if any_evaluated {
            let mut series = of(&evaluated, LossKind::Validation);
            let dots = evaluated.iter().enumerate();
            series.extend(dots.map(|(key, points)| Series::dots(key, points.clone())));
            panel("held out, nats a token".into(), 250.0, 12, series);
        }
    }
    Some(Picture {
        id: "loss",
        heading: "Loss".into(),
        caption: format!(
            "Mean cross-entropy by step. The first fall is cut off at the top.{}",
            match coming.is_empty() {
                true => "",
                false =>
                    " The band is where the law’s curve lies, given what its fit does not know of its parameters.",
            }
        ),
        drawn: Drawn::Chart(chart),
        small: false,
    })
}

/// What the first law says of the steps that runs have not yet made: band and line, and of which losses.
fn coming(g: &Gathered) -> Vec<(LossKind, Vec<Series>)> {
    let mut out = Vec::new();
    let Some(first) = g.first_law() else {
        return out;
    };
    for (key, under) in first.under {
        let done = g.runs[key].last_step();
        // What was measured needs no forecast.
        let coming = |i: &usize| under.steps[*i] >= done;
        let steps: Vec<usize> = (0..under.steps.len()).filter(coming).collect();
        if steps.len() < 2 {
            continue;
        }
        let at = |i: &usize| under.steps[*i] as f64;
        let key = if g.single() { FORECAST } else { key };
        let band = steps
            .iter()
            .map(|i| [at(i), under.band.low[*i], under.band.high[*i]]);
        let line = steps.iter().map(|i| [at(i), under.band.loss[*i]]);
        let both = vec![
            Series::band(key, band.collect()),
            Series::line(key, line.collect()),
        ];
        let kind = match first.law.kind {
            LossKind::TrainBatch => LossKind::TrainBatch,
            _ => LossKind::Validation,
        };
        out.push((kind, both));
    }
    out
}

fn entry(key: usize, text: String) -> Entry {
    Entry { key, text }
}

/// Held-out losses against the FLOPs spent, where runs differ in what a step costs.
pub(super) fn compute(g: &Gathered) -> Option<Picture> {
    let cost = |run: &Run| Some(run.facts.flops_per_token? * run.facts.tokens_per_step? as f64);
    let costs: Vec<f64> = g.runs.iter().map(cost).collect::<Option<_>>()?;
    let first = costs.first()?;
    if costs.iter().all(|c| (c / first - 1.0).abs() < 1e-9) {
        return None;
    }
    let mut series = Vec::new();
    for (key, (run, cost)) in g.runs.iter().zip(&costs).enumerate() {
        let points: Vec<[f64; 2]> = held_out(run).iter().map(|p| [p[0] * cost, p[1]]).collect();
        series.push(line(g, key, points.clone()));
        series.push(Series::dots(key, points));
    }
    let drawable = |s: &Series| s.ys().iter().any(|y| y.is_finite());
    if !series.iter().any(drawable) {
        return None;
    }
    let x = Axis {
        scale: Scale::Log,
        ..Axis::linear("FLOPs of training", Numbers::Power)
    };
    let mut chart = chart("Held-out loss by compute", String::new(), x);
    chart.panels.push(Panel {
        y: Axis::linear("loss, nats a token", Numbers::Plain),
        height: 240.0,
        rows: 12,
        series,
    });
    chart.legend = runs_legend(g);
    Some(Picture {
        id: "compute",
        heading: "Loss by compute".into(),
        caption: "Held-out loss against the FLOPs spent so far, forward and backward.".into(),
        drawn: Drawn::Chart(chart),
        small: true,
    })
}

/// What averaging the weights gained: held-out loss minus the average's.
pub(super) fn averages(g: &Gathered) -> Option<Picture> {
    const LAGGING: f64 = 0.25;
    const KINDS: [(Kind, &str); 3] = [
        (Kind::Window, "last window"),
        (Kind::Best, "best run of windows"),
        (Kind::Moving, "moving average"),
    ];
    let gains = |run: &Run, kind: Option<Kind>| -> Vec<[f64; 2]> {
        let gain = |e: &crate::report::run::record::Eval| {
            let here = run.averages.iter().filter(|a| a.step == e.step);
            let wanted = here.filter(|a| kind.is_none_or(|k| k == a.kind));
            let best = wanted
                .map(|a| a.loss)
                .filter(|l| l.is_finite())
                .min_by(f64::total_cmp)?;
            Some([e.step as f64, (e.loss - best) * 1e3])
        };
        run.evals.iter().filter_map(gain).collect()
    };
    let mut series = Vec::new();
    let mut legend = runs_legend(g);
    let mut put = |key, points: Vec<[f64; 2]>| {
        let there = !points.is_empty();
        if there {
            series.push(Series::dots(key, points.clone()));
            series.push(line(g, key, points));
        }
        there
    };
    if let [run] = &g.runs[..] {
        for (key, (kind, name)) in KINDS.into_iter().enumerate() {
            if put(key, gains(run, Some(kind))) {
                legend.push(entry(key, name.into()));
            }
        }
    } else {
        for (key, run) in g.runs.iter().enumerate() {
            put(key, gains(run, None));
        }
    }
    if series.is_empty() {
        return None;
    }
    let mut y = Axis::linear("held out − averaged, 10⁻³ nats", Numbers::Plain);
    // While the loss falls steeply an average lags far behind, which would flatten what comes after.
    let longest = g.runs.iter().map(|r| r.last_step()).max()? as f64;
    let late = |s: &Series| -> Vec<f64> {
        let points = s.xs().into_iter().zip(s.ys());
        let late = points.filter(|p| p.0 >= LAGGING * longest && p.1.is_finite());
        late.map(|p| p.1).collect()
    };
    let values = series.iter().flat_map(late);
    // Zero is what a gain is read against.
    let (low, high) = values.fold((0.0f64, 0.0f64), |(l, h), v| (l.min(v), h.max(v)));
    if high > low {
        let room = (high - low) * 0.08;
        y.range = Some((low - room, high + room));
    }
    let mut chart = chart("What averaging gains", String::new(), steps_axis(g));
    chart.panels.push(Panel {
        y,
        height: 200.0,
        rows: 10,
        series,
    });
    chart.legend = legend;
    let which = match g.single() {
        true => "each average",
        false => "the best average",
    };
    Some(Picture {
        id: "averages",
        heading: "Averaged weights".into(),
        caption: format!(
            "How far the held-out loss of {which} of the weights lies below that of the weights themselves: above zero, averaging \
             gains. Early on, while averages lag far behind, they are cut off."
        ),
        drawn: Drawn::Chart(chart),
        small: true,
    })
}
