//! The pictures of convex theory: learning rates and bounds.

use super::chart::{Axis, Chart, Data, Entry, Panel, Scale, Series};
use super::ticks::Numbers;
use crate::design::bound::study::{self, Picture};

/// Share of the steps before which a bound, infinite at the start, does not stretch the axis.
const EARLY: f64 = 0.08;

/// From this spread on numbers are written out.
const LEGIBLE: f64 = 0.01;

/// Lines of one name have one key, in the order in which names appear.
pub fn chart(title: String, subtitle: String, picture: &Picture) -> Chart {
    let mut legend: Vec<Entry> = Vec::new();
    let mut key = |name: &str| match legend.iter().find(|entry| entry.text == name) {
        Some(entry) => entry.key,
        None => {
            let key = legend.len();
            let text = name.to_string();
            legend.push(Entry { key, text });
            key
        }
    };
    let mut panels: Vec<Panel> = Vec::new();
    for panel in &picture.panels {
        let lines = panel.lines.iter();
        let series: Vec<Series> = lines
            .map(|line| Series::line(key(&line.name), line.points.clone()).lettered())
            .collect();
        panels.push(Panel {
            y: axis(panel, picture.steps, &series),
            height: if panel.small { 120.0 } else { 300.0 },
            rows: if panel.small { 0 } else { 16 },
            series,
        });
    }
    let x = match picture.steps {
        true => Axis::linear(&picture.x, Numbers::Count),
        false => Axis::linear(&picture.x, Numbers::Plain),
    };
    Chart {
        title,
        subtitle,
        x,
        panels,
        legend,
        dashes: true,
    }
}

fn axis(panel: &study::Panel, steps: bool, series: &[Series]) -> Axis {
    let mut axis = Axis::linear(&panel.label, Numbers::Power);
    if panel.log {
        axis.scale = Scale::Log;
        return axis;
    }
    let points = || series.iter().flat_map(points);
    let last = points().map(|p| p[0]).fold(0.0, f64::max);
    let low = points().map(|p| p[1]).fold(f64::INFINITY, f64::min);
    let late = points().filter(|p| !steps || panel.small || p[0] >= EARLY * last);
    let mut high = late.map(|p| p[1]).fold(f64::NEG_INFINITY, f64::max);
    if panel.small && steps {
        high = high.min(without_a_spike(series));
    }
    if high > low {
        if high - low >= LEGIBLE {
            axis.numbers = Numbers::Plain;
        }
        let room = 0.06 * (high - low);
        axis.range = Some((low - room, high + room));
    }
    axis
}

/// Somewhat above the second highest line, where the highest is so much higher that the others would lie flat, as under
/// the first steps of 1/√t.
fn without_a_spike(series: &[Series]) -> f64 {
    let peak = |s: &Series| points(s).iter().map(|p| p[1]).fold(0.0, f64::max);
    let mut peaks: Vec<f64> = series.iter().map(peak).collect();
    peaks.sort_by(f64::total_cmp);
    match peaks[..] {
        [.., second, first] if second > 0.0 && first > 2.0 * second => 1.2 * second,
        _ => f64::INFINITY,
    }
}

fn points(series: &Series) -> &[[f64; 2]] {
    match &series.data {
        Data::Line(points) | Data::Dots(points) => points,
        Data::Band(_) | Data::Marks(_) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::design::bound::study::{Problem, run};
    use crate::report::{png, svg, terminal};

    #[test]
    fn studies_are_drawn() {
        for name in ["schedule-comparison", "lr-transfer"] {
            let study = run(name, &Problem::unit()).unwrap();
            let chart = chart(study.title.clone(), String::new(), &study.picture);
            assert!(svg::draw(&chart).contains(&study.title));
            assert!(png::draw(&chart).unwrap().starts_with(b"\x89PNG"));
            let text = terminal::draw(&chart, false);
            assert!(
                text.lines().all(|line| line.chars().count() <= 80),
                "{text}"
            );
        }
    }

    #[test]
    fn a_spike_does_not_flatten_learning_rates() {
        let line = |from: f64| study::Line {
            name: from.to_string(),
            points: vec![[1.0, from], [100.0, 0.0]],
        };
        let high = |lines: Vec<study::Line>| {
            let panels = vec![study::Panel::small("learning rate", lines)];
            let picture = Picture {
                x: "step".into(),
                steps: true,
                panels,
            };
            chart("t".into(), String::new(), &picture).panels[0]
                .y
                .range
                .unwrap()
                .1
        };
        assert!(high(vec![line(1.0), line(5.0), line(0.5)]) < 1.5);
        assert!(high(vec![line(1.0), line(1.9)]) > 1.9 && high(vec![line(5.0)]) > 5.0);
    }

    #[test]
    fn one_name_is_one_key_and_the_start_does_not_flatten_the_rest() {
        let line = |name: &str, from: f64| study::Line {
            name: name.into(),
            points: vec![[1.0, from], [50.0, 0.2], [100.0, 0.1]],
        };
        let picture = Picture {
            x: "step".into(),
            steps: true,
            panels: vec![
                study::Panel::small("learning rate", vec![line("a", 1.0), line("b", 2.0)]),
                study::Panel::new("Ω", vec![line("b", 1e9)]),
            ],
        };
        let chart = chart("t".into(), String::new(), &picture);
        assert_eq!(chart.legend.len(), 2);
        assert_eq!(chart.panels[1].series[0].key, 1);
        assert!(chart.panels[1].y.range.unwrap().1 < 1.0);
        assert!(chart.panels[0].y.range.unwrap().1 > 2.0);
    }
}
