//! Charts of fits, predictions and comparisons.
//!
//! Dots are measured, lines are what a law says; under them the difference of both, which is where a law
//! shows its faults, and above them the schedules. The early fall of the loss, which would flatten everything
//! after it, is cut off at the top.

use super::chart::{Axis, Chart, Data, Entry, Panel, Series};
use super::ticks::{Numbers, nice_ceiling};
use crate::curve::LossCurve;

/// A curve beside what a law says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn<'a> {
    pub curve: &'a LossCurve,
    /// At every point of the curve, in nats.
    pub predicted: Vec<f64>,
    /// Points before this step are not scored, and the law is not drawn there.
    pub from: u64,
    /// What the legend says after the curve's name.
    pub remark: String,
}

/// What a law says of one schedule, with bands.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast<'a> {
    /// LR of every step.
    pub lrs: &'a [f64],
    pub steps: &'a [u64],
    pub loss: &'a [f64],
    /// Where the law's curve lies, given what the fit does not know.
    pub low: &'a [f64],
    pub high: &'a [f64],
}

/// More dots than this a curve become means.
const MOST_DOTS: usize = 260;
/// LRs drawn of one schedule; a jump is then at most a point wide.
const MOST_LRS: usize = 1600;
/// Share of the longest run before which losses do not stretch the axis.
const EARLY: f64 = 0.06;

/// LRs, losses and differences of one law on several curves.
pub fn fit(title: String, drawn: &[Drawn]) -> Chart {
    let width = bin_width(drawn);
    let mut loss = Vec::new();
    for (key, d) in drawn.iter().enumerate() {
        loss.push(Series::dots(key, measured(d, width)));
        let line = d.curve.points.iter().zip(&d.predicted);
        let line = line.filter(|(p, _)| p.step >= d.from);
        loss.push(Series::line(key, line.map(|(p, l)| [p.step as f64, *l]).collect()).lettered());
    }
    let differences = panel_of_differences("measured − law", drawn, width, range(&[drawn], width));
    Chart {
        title,
        subtitle: match width {
            1 => "dots: measured; lines: the law".into(),
            w => format!("dots: measured, means of {w} steps; lines: the law"),
        },
        x: x_axis(drawn),
        panels: vec![
            rates(drawn.iter().map(|d| &d.curve.lrs[..])),
            Panel {
                y: loss_axis(drawn),
                height: 300.0,
                rows: 14,
                series: loss,
            },
            Panel {
                rows: 9,
                height: 130.0,
                ..differences
            },
        ],
        legend: legend(drawn),
        dashes: false,
    }
}

/// A law whose differences reach this many times as far as the median law's gets a scale of its own.
const OUTLIER: f64 = 2.5;

/// The curves once, and below them the differences of each law, to one scale but for laws far off. `laws`
/// holds the same curves in the same order for every law.
pub fn compare(title: String, laws: &[(String, Vec<Drawn>)]) -> Chart {
    let first: &[Drawn] = laws.first().map_or(&[], |l| &l.1);
    let width = bin_width(first);
    let extent = |drawn: &[Drawn]| {
        let (low, high) = range(&[drawn], width);
        high - low
    };
    let mut extents: Vec<f64> = laws.iter().map(|l| extent(&l.1)).collect();
    extents.sort_by(f64::total_cmp);
    let most = OUTLIER * extents.get(extents.len() / 2).copied().unwrap_or(0.0);
    let near: Vec<&[Drawn]> = laws
        .iter()
        .map(|l| &l.1[..])
        .filter(|d| extent(d) <= most)
        .collect();
    let common = range(&near, width);
    let lines = first
        .iter()
        .enumerate()
        .map(|(key, d)| Series::line(key, measured(d, width)).lettered());
    let mut panels = vec![
        rates(first.iter().map(|d| &d.curve.lrs[..])),
        Panel {
            y: loss_axis(first),
            height: 190.0,
            rows: 0,
            series: lines.collect(),
        },
    ];
    for (law, drawn) in laws {
        let (range, mark) = match extent(drawn) <= most {
            true => (common, ""),
            false => (range(&[drawn], width), " (a scale of its own)"),
        };
        let label = format!("{law}{mark}: measured − law");
        panels.push(Panel {
            height: 84.0,
            rows: 7,
            ..panel_of_differences(&label, drawn, width, range)
        });
    }
    Chart {
        title,
        subtitle: "the curves, and what each law leaves of them".into(),
        x: x_axis(first),
        panels,
        legend: legend(first),
        dashes: false,
    }
}

/// A predicted curve with its 90 % band.
pub fn forecast(title: String, subtitle: String, f: &Forecast) -> Chart {
    let xs = || f.steps.iter().map(|s| *s as f64);
    let line: Vec<[f64; 2]> = xs().zip(f.loss).map(|(x, l)| [x, *l]).collect();
    let edges = f.low.iter().zip(f.high);
    let band = xs().zip(edges).map(|(x, (low, high))| [x, *low, *high]);
    let last = f.lrs.len() as f64;
    let late = |p: &&[f64; 2]| p[0] >= EARLY * last;
    let highest = line
        .iter()
        .filter(late)
        .map(|p| p[1])
        .fold(f64::NAN, f64::max);
    let lowest = f.low.iter().chain(f.loss).copied().fold(f64::NAN, f64::min);
    let mut y = Axis::linear("loss, nats a token", Numbers::Plain);
    if highest > lowest {
        y.range = Some(with_margin(lowest, highest));
    }
    Chart {
        title,
        subtitle,
        x: Axis::linear("step", Numbers::Count).within(0.0, last),
        panels: vec![
            rates(std::iter::once(f.lrs)),
            Panel {
                y,
                height: 320.0,
                rows: 16,
                series: vec![Series::band(0, band.collect()), Series::line(0, line)],
            },
        ],
        legend: Vec::new(),
        dashes: false,
    }
}

fn x_axis(drawn: &[Drawn]) -> Axis {
    let longest = drawn.iter().map(|d| d.curve.last_step()).max().unwrap_or(1);
    Axis::linear("step", Numbers::Count).within(0.0, longest.max(1) as f64)
}

fn legend(drawn: &[Drawn]) -> Vec<Entry> {
    let entry = |(key, d): (usize, &Drawn)| Entry {
        key,
        text: match d.remark.is_empty() {
            true => d.curve.name.clone(),
            false => format!("{}, {}", d.curve.name, d.remark),
        },
    };
    drawn.iter().enumerate().map(entry).collect()
}

fn rates<'a>(all: impl Iterator<Item = &'a [f64]>) -> Panel {
    let mut highest = 0.0f64;
    let series: Vec<Series> = all
        .enumerate()
        .map(|(key, lrs)| {
            highest = lrs.iter().copied().fold(highest, f64::max);
            let every = lrs.len().div_ceil(MOST_LRS).max(1);
            let last = lrs.len().saturating_sub(1);
            let shown = (0..lrs.len()).filter(|s| s % every == 0 || *s == last);
            Series::line(key, shown.map(|s| [s as f64, lrs[s]]).collect())
        })
        .collect();
    let mut y = Axis::linear("learning rate", Numbers::Power);
    if highest > 0.0 {
        y.range = Some((0.0, nice_ceiling(highest, 2)));
    }
    Panel {
        y,
        height: 64.0,
        rows: 0,
        series,
    }
}

/// Steps a bin so that the longest curve has at most [`MOST_DOTS`] dots; 1 where it has no more.
fn bin_width(drawn: &[Drawn]) -> u64 {
    let crowded = drawn.iter().filter(|d| d.curve.points.len() > MOST_DOTS);
    let width = |d: &Drawn| d.curve.last_step() as f64 / MOST_DOTS as f64;
    let widest = crowded.map(width).fold(0.0, f64::max);
    match widest > 1.0 {
        true => nice_ceiling(widest, 5) as u64,
        false => 1,
    }
}

fn measured(d: &Drawn, width: u64) -> Vec<[f64; 2]> {
    let shown = d.curve.binned(width);
    let dots = shown.points.iter().map(|p| [p.step as f64, p.loss]);
    dots.collect()
}

/// Measured minus predicted in 10⁻³ nats, means over bins.
fn differences(d: &Drawn, width: u64) -> Vec<[f64; 2]> {
    let mut difference = d.curve.clone();
    for (point, predicted) in difference.points.iter_mut().zip(&d.predicted) {
        point.loss = (point.loss - predicted) * 1e3;
    }
    let shown = difference.starting_at(d.from).binned(width);
    shown
        .points
        .iter()
        .map(|p| [p.step as f64, p.loss])
        .collect()
}

fn panel_of_differences(label: &str, drawn: &[Drawn], width: u64, range: (f64, f64)) -> Panel {
    let series = drawn
        .iter()
        .enumerate()
        .map(|(key, d)| Series::line(key, differences(d, width)).lettered());
    Panel {
        y: Axis::linear(format!("{label}, 10⁻³ nats"), Numbers::Plain).within(range.0, range.1),
        height: 130.0,
        rows: 9,
        series: series.collect(),
    }
}

/// Of the differences of all laws: 99 % of them, and 0.
fn range(laws: &[&[Drawn]], width: u64) -> (f64, f64) {
    let mut all: Vec<f64> = laws
        .iter()
        .flat_map(|drawn| drawn.iter())
        .flat_map(|d| differences(d, width))
        .map(|p| p[1])
        .filter(|v| v.is_finite())
        .collect();
    all.sort_by(f64::total_cmp);
    let at = |share: f64| all.get(((all.len() as f64 - 1.0) * share).round() as usize);
    let low = at(0.005).copied().unwrap_or(-1.0).min(0.0);
    let high = at(0.995).copied().unwrap_or(1.0).max(0.0);
    if low == high {
        return (-1.0, 1.0);
    }
    with_margin(low, high)
}

fn loss_axis(drawn: &[Drawn]) -> Axis {
    let longest = drawn.iter().map(|d| d.curve.last_step()).max().unwrap_or(0);
    let early = EARLY * longest as f64;
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for d in drawn {
        for p in &d.curve.points {
            low = low.min(p.loss);
            // A short run is drawn even if it ends early in the longest one.
            if p.step as f64 >= early.min(d.curve.last_step() as f64 * 0.5) {
                high = high.max(p.loss);
            }
        }
    }
    let mut axis = Axis::linear("loss, nats a token", Numbers::Plain);
    if high > low {
        axis.range = Some(with_margin(low, high));
    }
    axis
}

fn with_margin(low: f64, high: f64) -> (f64, f64) {
    let room = (high - low) * 0.06;
    (low - room, high + room)
}

impl Data {
    /// How many points it has.
    #[cfg(test)]
    fn len(&self) -> usize {
        match self {
            Data::Line(p) | Data::Dots(p) => p.len(),
            Data::Band(p) => p.len(),
            Data::Marks(m) => m.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{LossKind, LrOrigin, Point, WarmUp};

    fn curve(points: usize, offset: f64) -> LossCurve {
        LossCurve {
            name: "run".into(),
            points: (1..=points as u64)
                .map(|step| Point {
                    step,
                    loss: 3.0 + offset + 4.0 / step as f64,
                })
                .collect(),
            lrs: vec![1e-3; points],
            lr_origin: LrOrigin::EveryStep,
            kind: LossKind::Validation,
            warmup: WarmUp::Known(0),
            parameters: None,
            notes: Vec::new(),
        }
    }

    fn drawn(curve: &LossCurve) -> Drawn<'_> {
        Drawn {
            curve,
            predicted: curve.losses().iter().map(|l| l - 0.002).collect(),
            from: 10,
            remark: "MAE 2e-3".into(),
        }
    }

    #[test]
    fn a_fit_has_rates_losses_and_differences() {
        let curve = curve(200, 0.0);
        let chart = fit("opl".into(), &[drawn(&curve)]);
        assert_eq!(chart.panels.len(), 3);
        let Data::Line(differences) = &chart.panels[2].series[0].data else {
            panic!("differences are a line");
        };
        assert_eq!(differences.len(), 191);
        assert!(differences.iter().all(|p| (p[1] - 2.0).abs() < 1e-9));
        let (low, high) = chart.panels[1].y.range.unwrap();
        assert!(
            low < 3.02 && high < 3.5,
            "the early fall is cut off: {high}"
        );
        assert_eq!(chart.legend[0].text, "run, MAE 2e-3");
    }

    #[test]
    fn crowded_curves_become_means() {
        let curve = curve(33_000, 0.0);
        let chart = fit("opl".into(), &[drawn(&curve)]);
        assert!(chart.panels[1].series[0].data.len() <= MOST_DOTS);
        assert!(
            chart.subtitle.contains("means of 150 steps"),
            "{}",
            chart.subtitle
        );
    }

    #[test]
    fn laws_share_a_scale() {
        let (a, b) = (curve(100, 0.0), curve(100, 0.1));
        let laws = [
            ("opl".to_string(), vec![drawn(&a), drawn(&b)]),
            ("mpl".to_string(), vec![drawn(&a), drawn(&b)]),
        ];
        let chart = compare("two laws".into(), &laws);
        assert_eq!(chart.panels.len(), 4);
        assert_eq!(chart.panels[2].y.range, chart.panels[3].y.range);
        assert!(chart.panels[3].y.label.starts_with("mpl"));
        let mut far = drawn(&a);
        far.predicted.iter_mut().for_each(|l| *l += 0.5);
        let laws = ["x", "y", "z"].map(|name| {
            let one = if name == "z" { far.clone() } else { drawn(&a) };
            (name.to_string(), vec![one])
        });
        let chart = compare("an outlier".into(), &laws);
        assert_eq!(chart.panels[2].y.range, chart.panels[3].y.range);
        assert!(chart.panels[4].y.label.contains("its own"));
    }
}
