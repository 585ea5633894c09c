//! The pictures of a report, as charts.
//!
//! Among them are the eight panels of the course project (`report.py`), for any runs and any laws:
//!
//! | its panel | here |
//! |---|---|
//! | loss curves | `loss` |
//! | learning rates, logarithmic | `schedule`, lower panel |
//! | predictions of a law | `law` |
//! | heat map of R² | `r2`, over runs and laws |
//! | loss against time, log-log | `reducible`: the loss above the law's L₀ against S₁ |
//! | S₂ = Σ max(0, −Δη) | `annealed` |
//! | optimised beside existing schedules | `shapes`, by share of the run |
//! | summary in words | the page's head, and the tables |

mod health;
mod heat;
mod laws;
mod live;
mod losses;
mod schedules;

use super::gathered::Gathered;
use crate::report::scene::Scene;
use crate::report::{Axis, Chart, Entry, Numbers, Series};
pub use heat::{shade, written as r2_written};

/// A picture with what a page says around it.
#[derive(Debug)]
pub struct Picture {
    /// Name of its file and of its place on the page.
    pub id: &'static str,
    pub heading: String,
    pub caption: String,
    pub drawn: Drawn,
    /// Half of a page's width is enough.
    pub small: bool,
}

#[derive(Debug)]
pub enum Drawn {
    Chart(Chart),
    /// R² by law and run: a table on the page, a picture in a file.
    Heat(Scene),
}

/// In the order of the page; those for which there are no data are left out.
pub fn all(g: &Gathered) -> Vec<Picture> {
    let all = [
        losses::loss(g),
        schedules::schedule(g),
        laws::law(g),
        live::forecasts(g),
        heat::r2(g),
        losses::averages(g),
        laws::reducible(g),
        losses::compute(g),
        schedules::shapes(g),
        schedules::annealed(g),
        health::gradient(g),
        health::speed(g),
    ];
    let mut all: Vec<Picture> = all.into_iter().flatten().collect();
    if let [run] = &g.runs[..] {
        for picture in &mut all {
            if let Drawn::Chart(chart) = &mut picture.drawn {
                chart.title = format!("{}: {}", chart.title, short(&run.name));
            }
        }
    }
    all
}

/// Names as legends have them: nothing that would push everything else off the picture.
fn short(name: &str) -> String {
    within(name, 44)
}

/// The end of a name of more than `most` characters, which is where names of runs differ.
fn within(name: &str, most: usize) -> String {
    match name.chars().count() <= most {
        true => name.to_string(),
        false => {
            let tail: Vec<char> = name.chars().rev().take(most - 1).collect();
            format!("…{}", tail.into_iter().rev().collect::<String>())
        }
    }
}

/// One entry a run, none for a single one.
fn runs_legend(g: &Gathered) -> Vec<Entry> {
    if g.single() {
        return Vec::new();
    }
    let entry = |(key, run): (usize, &crate::report::run::Run)| Entry {
        key,
        text: short(&run.name),
    };
    g.runs.iter().enumerate().map(entry).collect()
}

/// Up to the longest run's last planned step.
fn steps_axis(g: &Gathered) -> Axis {
    let longest = g.runs.iter().map(|r| r.horizon()).max().unwrap_or(1);
    Axis::linear("step", Numbers::Count).within(0.0, longest.max(1) as f64)
}

/// A run's line; where there are several, a letter stands at its end.
fn line(g: &Gathered, key: usize, points: Vec<[f64; 2]>) -> Series {
    let line = Series::line(key, points);
    if g.single() { line } else { line.lettered() }
}

/// What happened to a single run: alarms and, where `decisions` are asked for, what was decided of the schedule.
fn happened(g: &Gathered, alarms: bool, decisions: bool) -> Vec<Series> {
    const ALARM: usize = 5;
    const DECISION: usize = 3;
    let [run] = &g.runs[..] else {
        return Vec::new();
    };
    let alarmed = run.alarms.iter().filter(|_| alarms);
    let alarmed: Vec<_> = alarmed.map(|a| (a.step as f64, a.label())).collect();
    let decided = run.decisions.iter().filter(|_| decisions);
    let decided: Vec<_> = decided
        .map(|d| (d.step as f64, d.label().to_string()))
        .collect();
    let both = [(ALARM, alarmed), (DECISION, decided)];
    both.into_iter()
        .filter(|(_, marks)| !marks.is_empty())
        .map(|(key, marks)| Series::marks(key, marks))
        .collect()
}

fn chart(title: &str, subtitle: String, x: Axis) -> Chart {
    Chart {
        title: title.to_string(),
        subtitle,
        x,
        panels: Vec::new(),
        legend: Vec::new(),
        dashes: false,
    }
}

/// `values` with a margin, but for those before the early share of the longest run, which would flatten the rest.
fn late_range(lines: &[Vec<[f64; 2]>], last: f64) -> Option<(f64, f64)> {
    const EARLY: f64 = 0.06;
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for line in lines {
        let end = line.last().map_or(0.0, |p| p[0]);
        for p in line.iter().filter(|p| p[1].is_finite()) {
            low = low.min(p[1]);
            if p[0] >= (EARLY * last).min(end * 0.5) {
                high = high.max(p[1]);
            }
        }
    }
    let room = (high - low) * 0.06;
    (high > low).then_some((low - room, high + room))
}
