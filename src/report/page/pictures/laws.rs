//! What laws say: against what was measured, and, while the run went on, of its end.

use super::super::gathered::Gathered;
use super::heat::written;
use super::{Drawn, Picture, chart, late_range, line, runs_legend, steps_axis, within};
use crate::curve::{LossCurve, LossKind};
use crate::fit::COVERAGE;
use crate::report::fitted::{self, Drawn as Fitted};
use crate::report::{Axis, Data, Entry, Numbers, Panel, Scale, Series};

/// 90 % of a normal noise lie within this many standard deviations.
const WITHIN: f64 = 1.645;

/// The first law against what was measured, and what it leaves in units of its noise.
pub(super) fn law(g: &Gathered) -> Option<Picture> {
    let law = g.laws.first()?;
    let under = g.first_law();
    if under.is_empty() {
        return None;
    }
    let drawn: Vec<Fitted> = under
        .iter()
        .map(|(_, u)| Fitted {
            curve: &u.curve,
            predicted: u.predicted.clone(),
            from: u.from,
            remark: String::new(),
        })
        .collect();
    let mut chart = fitted::fit(format!("Measured against {}", law.label), &drawn);
    // The schedules have a picture of their own.
    chart.panels.remove(0);
    let mut series = Vec::new();
    let longest = under.iter().map(|(_, u)| u.curve.last_step()).max()? as f64;
    // Keys as in the panel above: the order of those that the law speaks of.
    for (key, (_, u)) in under.iter().enumerate() {
        series.push(line(g, key, u.in_noise(law)));
    }
    let sizes = series
        .iter()
        .flat_map(|s| s.ys())
        .map(f64::abs)
        .filter(|v| v.is_finite());
    let mut sizes: Vec<f64> = sizes.collect();
    sizes.sort_by(f64::total_cmp);
    // Where almost all of them lie.
    let at = (sizes.len() as f64 * 0.99) as usize;
    let reach = sizes
        .get(at.min(sizes.len().saturating_sub(1)))
        .copied()
        .unwrap_or(1.0)
        .max(2.0 * WITHIN)
        * 1.1;
    let band = vec![[0.0, -WITHIN, WITHIN], [longest, -WITHIN, WITHIN]];
    series.push(Series::band(7, band));
    let y = Axis::linear("measured − law, in σ of its noise", Numbers::Plain);
    chart.panels.push(Panel {
        y: y.within(-reach, reach),
        height: 130.0,
        rows: 7,
        series,
    });
    // A run has one key and one letter on the whole page.
    for series in chart.panels.iter_mut().flat_map(|p| &mut p.series) {
        if !matches!(series.data, Data::Band(_)) {
            series.key = under[series.key].0;
        }
        series.lettered &= !g.single();
    }
    for (entry, (key, u)) in chart.legend.iter_mut().zip(&under) {
        let scores = format!("MAE {:.4}, R² {}", u.scores.mae, written(u.scores.r2));
        entry.key = *key;
        entry.text = match g.single() {
            true => scores,
            false => format!("{}: {scores}", within(&g.runs[*key].name, 30)),
        };
    }
    let points = match (law.kind, law.bin()) {
        (LossKind::TrainBatch, bin) if bin > 1 => {
            format!("training losses, means of {bin} steps as in its fit")
        }
        (LossKind::TrainBatch, _) => "training losses".into(),
        _ => "held-out losses".into(),
    };
    Some(Picture {
        id: "law",
        heading: "Predicted against actual".into(),
        caption: format!(
            "{} against {points}. Below, what it leaves: in thousandths of a nat, and in standard deviations σ of one point as \
             its fit found them; a law that misses nothing keeps {:.0} % of the points inside the grey band.",
            law.label,
            COVERAGE * 100.0
        ),
        drawn: Drawn::Chart(chart),
        small: false,
    })
}

/// What the live law said of the end, step by step.
pub(super) fn forecasts(g: &Gathered) -> Option<Picture> {
    const ACTUAL: usize = 1;
    let mut series = Vec::new();
    let mut lines = Vec::new();
    let mut ended = false;
    let last = g.runs.iter().map(|r| r.horizon()).max()? as f64;
    for (key, (run, finals)) in g.runs.iter().zip(&g.finals).enumerate() {
        if run.forecasts.is_empty() {
            continue;
        }
        let said = run.forecasts.iter();
        let band = said.clone().map(|f| [f.step as f64, f.low, f.high]);
        let points: Vec<[f64; 2]> = said.map(|f| [f.step as f64, f.loss]).collect();
        series.push(Series::band(key, band.collect()));
        series.push(line(g, key, points.clone()));
        // The first intervals are wide, and would flatten the rest.
        let later = run.forecasts.iter().skip(run.forecasts.len() / 3);
        lines.push(
            later
                .flat_map(|f| [f.low, f.high].map(|y| [f.step as f64, y]))
                .collect(),
        );
        lines.push(points);
        if run.finished() {
            let end = finals.held_out.map_or(finals.train, |e| e.1);
            ended = true;
            let actual = vec![[0.0, end], [last, end]];
            let key = if g.single() { ACTUAL } else { key };
            series.push(Series::line(key, actual.clone()));
            lines.push(actual);
        }
    }
    if series.is_empty() {
        return None;
    }
    let mut y = Axis::linear("final loss, nats a token", Numbers::Plain);
    y.range = late_range(&lines, last);
    let mut chart = chart(
        "What the live law said of the end",
        String::new(),
        steps_axis(g),
    );
    chart.panels.push(Panel {
        y,
        height: 220.0,
        rows: 10,
        series,
    });
    chart.legend = runs_legend(g);
    if g.single() {
        let entry = |key, text: &str| Entry {
            key,
            text: text.into(),
        };
        chart.legend.push(entry(0, "forecast of the end"));
        if ended {
            chart.legend.push(entry(ACTUAL, "where it ended"));
        }
    }
    Some(Picture {
        id: "forecasts",
        heading: "Forecasts of the end".into(),
        caption: format!(
            "The final loss as the live law foresaw it at each step, with its interval.{}",
            match ended {
                true =>
                    " The level line is the held-out loss at the end (of a run without evaluations, the training loss).",
                false => "",
            }
        ),
        drawn: Drawn::Chart(chart),
        small: false,
    })
}

/// The loss above what no training takes away, against S₁, both logarithmic: a power law is a straight line there.
pub(super) fn reducible(g: &Gathered) -> Option<Picture> {
    let law = g.laws.first();
    let floor = law.and_then(|l| ["L0", "L_inf"].iter().find_map(|name| l.fit.param(name)));
    let floor = floor.map(|p| p.value);
    let under = g.first_law();
    let mut series = Vec::new();
    for (key, run) in g.runs.iter().enumerate() {
        let points = match under.iter().find(|(of, _)| *of == key) {
            Some((_, u)) => above(&u.curve, u.from, floor.unwrap_or(0.0)),
            // With no law the held-out losses, or, where there are too few, those of training.
            None => plain(run),
        };
        series.push(line(g, key, points));
    }
    if series
        .iter()
        .all(|s| matches!(&s.data, Data::Line(p) if p.len() < 3))
    {
        return None;
    }
    let logarithmic = |label: &str, numbers| Axis {
        scale: Scale::Log,
        ..Axis::linear(label, numbers)
    };
    let (label, caption) = match (floor, law) {
        (Some(floor), Some(law)) => (
            "loss − L₀, nats a token",
            format!(
                "Loss above L₀ = {floor:.4}, which {} takes for what no training removes, against S₁, the sum of the learning \
                 rates so far.",
                law.label
            ),
        ),
        _ => (
            "loss, nats a token",
            "Loss against S₁, the sum of the learning rates so far. With no law there is no L₀ to take off.".into(),
        ),
    };
    let x = logarithmic("S₁ = Σ η", Numbers::Plain);
    let mut chart = chart("Loss by S₁", String::new(), x);
    chart.panels.push(Panel {
        y: logarithmic(label, Numbers::Plain),
        height: 220.0,
        rows: 10,
        series,
    });
    chart.legend = runs_legend(g);
    Some(Picture {
        id: "reducible",
        heading: "Reducible loss".into(),
        caption,
        drawn: Drawn::Chart(chart),
        small: true,
    })
}

/// `(S₁, loss − floor)` of a curve, means where it is dense.
fn above(curve: &LossCurve, from: u64, floor: f64) -> Vec<[f64; 2]> {
    // Logarithmic: most points lie in the right half.
    let width = (curve.last_step() / 100).max(1);
    let curve = curve.starting_at(from).binned(width);
    by_s1(
        &curve.lrs,
        curve.points.iter().map(|p| (p.step, p.loss - floor)),
    )
}

fn plain(run: &crate::report::run::Run) -> Vec<[f64; 2]> {
    use crate::report::run::derived::{applied, bin_width, means};
    let all = match run.evals.len() {
        0..3 => means(&run.steps, bin_width(run.last_step()), |s| s.loss),
        _ => run.evals.iter().map(|e| [e.step as f64, e.loss]).collect(),
    };
    by_s1(&applied(run), all.iter().map(|p| (p[0] as u64, p[1])))
}

fn by_s1(lrs: &[f64], points: impl Iterator<Item = (u64, f64)>) -> Vec<[f64; 2]> {
    let (mut s1, mut done) = (0.0, 0);
    points
        .map(|(step, loss)| {
            let step = (step as usize).min(lrs.len());
            s1 += lrs[done.min(step)..step].iter().sum::<f64>();
            done = step;
            [s1, loss]
        })
        .collect()
}
