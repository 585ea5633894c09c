//! What laws say, against what was measured.

use super::super::gathered::{Gathered, MOST_LAWS};
use super::heat::written;
use super::{Drawn, Picture, chart, line, runs_legend, within};
use crate::curve::{LossCurve, LossKind};
use crate::fit::COVERAGE;
use crate::report::fitted::{self, Drawn as Fitted};
use crate::report::run::under::Under;
use crate::report::{Axis, Data, Entry, Numbers, Panel, Scale, Series};

/// 90 % of a normal noise lie within this many standard deviations.
const WITHIN: f64 = 1.645;

/// Key of the measured dots of a run that several laws are drawn over.
const MEASURED: usize = MOST_LAWS;

/// The first law against what was measured of every run (of a single run: every law of the same losses), and what it leaves in
/// units of its noise.
pub(super) fn law(g: &Gathered) -> Option<Picture> {
    let first = g.first_law()?;
    let (law, under) = (first.law, first.under);
    let drawn: Vec<Fitted> = under
        .iter()
        .map(|(_, u)| Fitted {
            curve: &u.curve,
            predicted: u.predicted.clone(),
            from: u.from,
            remark: String::new(),
        })
        .collect();
    let title = format!("Measured against {}", law.label);
    let mut chart = fitted::fit(title, &drawn);
    // The schedules have a picture of their own, and the differences follow in other units.
    chart.panels.remove(0);
    chart.panels.truncate(1);
    // A run has one key and one letter on the whole page.
    for series in &mut chart.panels[0].series {
        series.key = under[series.key].0;
        series.lettered &= !g.single();
    }
    chart.legend = under
        .iter()
        .map(|(key, u)| Entry {
            key: *key,
            text: format!("{}: {}", within(&g.runs[*key].name, 30), scores(u)),
        })
        .collect();
    let mut left: Vec<Series> = under
        .iter()
        .map(|(key, u)| residuals(g, *key, u.in_noise(law)))
        .collect();
    let others: Vec<_> = (1..).zip(g.drawn_beside()).collect();
    if g.single() {
        let text = |label: &str, u: &Under| match others.is_empty() {
            true => scores(u),
            false => format!("{label}: {}", scores(u)),
        };
        chart.legend[0].text = text(&law.label, under[0].1);
        for (key, (law, u)) in &others {
            chart.panels[0].series.push(Series::line(*key, u.line()));
            left.push(residuals(g, *key, u.in_noise(law)));
            let text = text(&law.label, u);
            chart.legend.push(Entry { key: *key, text });
        }
        let dots = chart.panels[0].series.iter_mut();
        let dots = dots.filter(|s| matches!(s.data, Data::Dots(_)) && !others.is_empty());
        dots.for_each(|s| s.key = MEASURED);
    }
    reach_down(&mut chart.panels[0]);
    let longest = under.iter().map(|(_, u)| u.curve.last_step()).max()? as f64;
    chart.panels.push(leftovers(left, longest));
    let points = match (law.kind, law.bin()) {
        (LossKind::TrainBatch, bin) if bin > 1 => {
            format!("training losses, means of {bin} steps as in its fit")
        }
        (LossKind::TrainBatch, _) => "training losses".into(),
        _ => "held-out losses".into(),
    };
    let which = match (g.laws.len(), others.len()) {
        (1, _) => law.label.clone(),
        (n, 0) if first.place == 0 => format!("{}, the first of {n} laws,", law.label),
        (n, 0) => format!(
            "{}, of {n} laws the first that can be held against a run,",
            law.label
        ),
        (_, others) => format!("{} laws", others + 1),
    };
    if !others.is_empty() {
        chart.title = format!("Measured against {which}");
    }
    Some(Picture {
        id: "law",
        heading: "Predicted against actual".into(),
        caption: format!(
            "{which} against {points}. Below, what is left, in standard deviations σ of one point as the fit found them; a law \
             that misses nothing keeps {:.0} % of the points inside the grey band.",
            COVERAGE * 100.0
        ),
        drawn: Drawn::Chart(chart),
        small: false,
    })
}

fn scores(u: &Under) -> String {
    format!("MAE {:.4}, R² {}", u.scores.mae, written(u.scores.r2))
}

/// The axis is that of what was measured; a law that ends lower is followed there, but not without end.
fn reach_down(panel: &mut Panel) {
    const MOST: f64 = 0.6;
    let Some((low, high)) = panel.y.range else {
        return;
    };
    let lowest = panel.series.iter().flat_map(|s| s.ys());
    let lowest = lowest.filter(|y| y.is_finite()).fold(low, f64::min);
    let spread = high - low;
    if lowest < low {
        panel.y.range = Some(((lowest - 0.04 * spread).max(low - MOST * spread), high));
    }
}

/// A line, or, where it would only zigzag, dots.
fn residuals(g: &Gathered, key: usize, points: Vec<[f64; 2]>) -> Series {
    const MOST: usize = 100;
    let dense = points.len() > MOST;
    let mut series = line(g, key, points);
    if let (true, Data::Line(points)) = (dense, &mut series.data) {
        series.data = Data::Dots(std::mem::take(points));
    }
    series
}

/// Residuals in σ, over the band that should hold nine of ten.
fn leftovers(mut series: Vec<Series>, longest: f64) -> Panel {
    let sizes = series.iter().flat_map(|s| s.ys()).map(f64::abs);
    let mut sizes: Vec<f64> = sizes.filter(|v| v.is_finite()).collect();
    sizes.sort_by(f64::total_cmp);
    // Where almost all of them lie.
    let at = (sizes.len() as f64 * 0.99) as usize;
    let far = sizes.get(at.min(sizes.len().saturating_sub(1)));
    let reach = far.copied().unwrap_or(1.0).max(2.0 * WITHIN) * 1.1;
    let band = vec![[0.0, -WITHIN, WITHIN], [longest, -WITHIN, WITHIN]];
    series.push(Series::band(MEASURED, band));
    let y = Axis::linear("measured − law, in σ of its noise", Numbers::Plain);
    Panel {
        y: y.within(-reach, reach),
        height: 140.0,
        rows: 7,
        series,
    }
}

/// The loss above what no training takes away, against S₁, both logarithmic: a power law is a straight line there. Where a law
/// says what no training takes away, of the runs that it speaks of alone: a whole loss has no place on that axis.
pub(super) fn reducible(g: &Gathered) -> Option<Picture> {
    let first = g.first_law();
    let floored = first.and_then(|first| {
        let names = ["L0", "L_inf"].iter();
        let floor = names
            .copied()
            .find_map(|name| first.law.fit.param(name))?
            .value;
        Some((floor, first))
    });
    let points: Vec<(usize, Vec<[f64; 2]>)> = match &floored {
        Some((floor, first)) => {
            let under = first.under.iter();
            under
                .map(|(key, u)| (*key, above(&u.curve, u.from, *floor)))
                .collect()
        }
        None => g.runs.iter().map(plain).enumerate().collect(),
    };
    let drawn: Vec<usize> = points.iter().map(|(key, _)| *key).collect();
    let points = points.into_iter();
    let series: Vec<Series> = points.map(|(key, points)| line(g, key, points)).collect();
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
    let (label, caption) = match &floored {
        Some((floor, first)) => (
            "loss − L₀, nats a token",
            format!(
                "Loss above L₀ = {floor:.4}, which {} takes for what no training removes, against S₁, the sum of the learning \
                 rates so far.{}",
                first.law.label,
                match drawn.len() < g.runs.len() {
                    true => " Runs that it cannot be held against are left out.",
                    false => "",
                }
            ),
        ),
        None => (
            "loss, nats a token",
            "Loss against S₁, the sum of the learning rates so far. No law gives an L₀ to take off.".into(),
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
    chart.legend.retain(|entry| drawn.contains(&entry.key));
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
    let width = (curve.last_step() / 50).max(1);
    let curve = curve.starting_at(from).binned(width);
    by_s1(
        &curve.lrs,
        curve.points.iter().map(|p| (p.step, p.loss - floor)),
    )
}

/// `(S₁, loss)`, held out or, where there are too few of these, of training.
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
