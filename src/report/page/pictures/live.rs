//! What the live law said of the end while runs went on.

use super::super::gathered::Gathered;
use super::{Drawn, Picture, chart, happened, late_range, line, runs_legend, steps_axis};
use crate::report::run::Run;
use crate::report::run::told::Forecast;
use crate::report::{Axis, Entry, Numbers, Panel, Series};

/// Keys of a single run's picture.
const FORECAST: usize = 0;
const ACTUAL: usize = 1;
/// Of cooldowns by their share; what marks have is left out.
const COOLDOWNS: [usize; 6] = [2, 4, 6, 8, 9, 7];

/// Forecasts of the end by step, with their bands and where the runs ended; of a single run also what a cooldown begun at
/// each step would have ended at.
pub(super) fn forecasts(g: &Gathered) -> Option<Picture> {
    let mut series = Vec::new();
    let mut lines = Vec::new();
    let (mut ended, mut silent) = (false, false);
    let last = g.runs.iter().map(|r| r.horizon()).max()? as f64;
    for (key, (run, finals)) in g.runs.iter().zip(&g.finals).enumerate() {
        if !run.forecasts.iter().any(Forecast::speaks) {
            continue;
        }
        let said = run.forecasts.iter();
        // Where the law does not describe the run there is a gap.
        let of = |f: &Forecast, y: f64| if f.describes { y } else { f64::NAN };
        silent |= run.forecasts.iter().any(|f| !f.describes);
        for told in run.forecasts.chunk_by(|a, b| a.describes == b.describes) {
            let believed = told.iter().filter(|f| f.describes);
            let band: Vec<_> = believed.map(|f| [f.step as f64, f.low, f.high]).collect();
            if !band.is_empty() {
                series.push(Series::band(key, band));
            }
        }
        let points: Vec<[f64; 2]> = said.map(|f| [f.step as f64, of(f, f.loss)]).collect();
        series.push(line(g, key, points.clone()));
        // The first intervals are wide, and would flatten the rest.
        let later = run.forecasts.iter().skip(run.forecasts.len() / 3);
        lines.push(
            later
                .flat_map(|f| [f.low, f.high].map(|y| [f.step as f64, of(f, y)]))
                .collect(),
        );
        lines.push(points);
        let end = finals.end();
        if run.finished() && end.is_finite() {
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
    let title = "What the live law said of the end";
    let mut chart = chart(title, String::new(), steps_axis(g));
    series.extend(happened(g, true, true));
    chart.panels.push(Panel {
        y,
        height: 220.0,
        rows: 10,
        series,
    });
    chart.legend = runs_legend(g);
    let mut caption =
        "The held-out loss at the end as the live law foresaw it at each step, with its 90 % interval.".to_string();
    if ended {
        caption += " The level line is the held-out loss at the end (of a run without evaluations, the training loss).";
    }
    if silent {
        caption += " Where the law did not describe the run, nothing is drawn.";
    }
    if let [run] = &g.runs[..] {
        let mut put = |key, text: String| chart.legend.push(Entry { key, text });
        let law = run.forecasts.last().map(|f| &f.law);
        let by = law.filter(|l| !l.is_empty());
        let by = by.map(|law| format!(", by {law}")).unwrap_or_default();
        put(FORECAST, format!("forecast of the end{by}"));
        if ended {
            put(ACTUAL, "where it ended".into());
        }
        let panel = cooldowns(run, &mut put);
        if panel.is_some() {
            caption +=
                " Below, where it would have ended had it cooled down to 0 from that step on.";
        }
        chart.panels.extend(panel);
    }
    Some(Picture {
        id: "forecasts",
        heading: "Forecasts of the end".into(),
        caption,
        drawn: Drawn::Chart(chart),
        small: false,
    })
}

/// What a cooldown begun at each step, the last whose loss was known, would end at, a line a share.
fn cooldowns(run: &Run, put: &mut impl FnMut(usize, String)) -> Option<Panel> {
    let mut shares: Vec<f64> = Vec::new();
    for c in run.forecasts.iter().flat_map(|f| &f.cooldown_now) {
        if !shares.contains(&c.fraction) {
            shares.push(c.fraction);
        }
    }
    shares.sort_by(f64::total_cmp);
    let mut series = Vec::new();
    let mut lines = Vec::new();
    for (share, key) in shares.into_iter().zip(COOLDOWNS) {
        let at = |f: &Forecast| {
            let now = f.cooldown_now.iter().find(|c| c.fraction == share)?;
            Some((f.fitted_to, *now))
        };
        let told: Vec<_> = run.forecasts.iter().filter_map(at).collect();
        let points: Vec<[f64; 2]> = told.iter().map(|(s, c)| [*s as f64, c.loss]).collect();
        if points.len() < 2 {
            continue;
        }
        put(key, format!("cooled down over {}", told[0].1.share()));
        series.push(Series::line(key, points.clone()));
        lines.push(points);
    }
    let mut y = Axis::linear("loss if cooled down from here", Numbers::Plain);
    y.range = late_range(&lines, run.horizon() as f64);
    (!series.is_empty()).then_some(Panel {
        y,
        height: 150.0,
        rows: 8,
        series,
    })
}
