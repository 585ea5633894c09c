//! Where everything of a chart goes: title, panels one below the other over one x axis, legend.

use super::chart::{Chart, Data, Panel, Series, letter};
use super::font;
use super::marks;
use super::place::{Place, Window, thin};
use super::scene::{Anchor, Ink, Scene, Shape};
use super::ticks::{labels, ticks};

/// Of a picture in a file, in points.
pub(super) const WIDTH: f64 = 820.0;
/// Right of the panels: the letters at the ends of lines.
const BESIDE: f64 = 34.0;
/// From one mark of the x axis to the next.
const BETWEEN_MARKS: f64 = 82.0;
/// Above a panel: its label.
const ABOVE: f64 = 30.0;
const TEXT: f64 = 12.0;
const TITLE: f64 = 16.0;
const LEGEND_LINE: f64 = 18.0;
/// From the left of a legend's entry to its text.
const SAMPLE: f64 = 36.0;
/// An SVG is drawn with whatever font its reader has; the widest usual one (DejaVu Sans, Verdana) needs
/// this much more room than ours.
pub(super) const OTHER_FONTS: f64 = 1.17;

pub(super) fn lay_out(chart: &Chart, width: f64) -> Scene {
    let mut page = Page {
        shapes: Vec::new(),
        left: left_margin(chart),
        right: width - BESIDE,
        dashes: chart.dashes,
    };
    let mut y = page.head(chart);
    let x_range = chart.x_range();
    let x = Place::new(chart.x.scale, x_range, page.left, page.right);
    let most = ((page.right - page.left) / BETWEEN_MARKS).round().max(2.0) as usize;
    let x_ticks = ticks(chart.x.scale, chart.x.numbers, x_range.0, x_range.1, most);
    for panel in &chart.panels {
        y += ABOVE;
        page.panel(panel, &x, &x_ticks, y);
        y += panel.height;
    }
    y = page.x_axis(chart, &x, &x_ticks, y);
    y = page.legend(chart, y);
    Scene {
        width,
        height: (y + 14.0).ceil(),
        title: match chart.title.is_empty() {
            true => chart.x.label.clone(),
            false => chart.title.clone(),
        },
        shapes: page.shapes,
    }
}

/// Ticks of a panel's y axis: one in about forty points, but never fewer than an axis needs.
fn y_ticks(panel: &Panel) -> Vec<f64> {
    let (low, high) = panel.y_range();
    let most = (panel.height / 42.0).round().max(2.0) as usize;
    // One mark tells no scale.
    (most..most + 4)
        .map(|most| ticks(panel.y.scale, panel.y.numbers, low, high, most))
        .find(|marks| marks.len() > 1)
        .unwrap_or_default()
}

fn left_margin(chart: &Chart) -> f64 {
    let widths = chart.panels.iter().flat_map(|panel| {
        labels(panel.y.numbers, panel.y.scale, &y_ticks(panel))
            .into_iter()
            .map(|label| font::width(&label, TEXT))
    });
    (widths.fold(0.0, f64::max) + 26.0).max(56.0).ceil()
}

struct Page {
    shapes: Vec<Shape>,
    left: f64,
    right: f64,
    dashes: bool,
}

impl Page {
    fn text(
        &mut self,
        ink: Ink,
        at: (f64, f64),
        size: f64,
        anchor: Anchor,
        text: impl Into<String>,
    ) {
        self.shapes.push(Shape::Text {
            ink,
            at,
            size,
            anchor,
            text: text.into(),
            halo: false,
        });
    }

    fn rule(&mut self, ink: Ink, from: (f64, f64), to: (f64, f64)) {
        self.shapes.push(Shape::Line {
            ink,
            points: vec![from, to],
            width: 1.0,
            dashed: false,
        });
    }

    /// Title and subtitle; returns where the panels may begin.
    fn head(&mut self, chart: &Chart) -> f64 {
        let (room, mut y) = (self.right - self.left, 0.0);
        if !chart.title.is_empty() {
            for line in wrap(&chart.title, TITLE, room) {
                y += TITLE + 8.0;
                self.text(Ink::Text, (self.left, y + 2.0), TITLE, Anchor::Start, line);
            }
        }
        if !chart.subtitle.is_empty() {
            for line in wrap(&chart.subtitle, TEXT, room) {
                y += TEXT + 6.0;
                self.text(Ink::Muted, (self.left, y + 2.0), TEXT, Anchor::Start, line);
            }
        }
        y + 4.0
    }

    fn panel(&mut self, panel: &Panel, x: &Place, x_ticks: &[f64], top: f64) {
        let bottom = top + panel.height;
        let range = panel.y_range();
        let y = Place::new(panel.y.scale, range, bottom, top);
        let marks = y_ticks(panel);
        for &tick in x_ticks {
            self.rule(Ink::Grid, (x.at(tick), top), (x.at(tick), bottom));
        }
        for (&tick, label) in marks
            .iter()
            .zip(labels(panel.y.numbers, panel.y.scale, &marks))
        {
            // A zero between both signs is what residuals are read against.
            let ink = match tick == 0.0 && range.0 < 0.0 {
                true => Ink::Axis,
                false => Ink::Grid,
            };
            let at = y.at(tick);
            self.rule(ink, (self.left, at), (self.right, at));
            let beside = (self.left - 8.0, at + 4.0);
            self.text(Ink::Text, beside, TEXT, Anchor::End, label);
        }
        let above = (self.left, top - 9.0);
        self.text(
            Ink::Muted,
            above,
            TEXT,
            Anchor::Start,
            panel.y.label.clone(),
        );
        let window = Window {
            left: self.left,
            right: self.right,
            top,
            bottom,
        };
        // Bands behind marks behind dots behind lines, whatever the order they came in.
        let rank = |s: &&Series| match s.data {
            Data::Band(_) => 0,
            Data::Marks(_) => 1,
            Data::Dots(_) => 2,
            Data::Line(_) => 3,
        };
        let mut ordered: Vec<&Series> = panel.series.iter().collect();
        ordered.sort_by_key(rank);
        for series in &ordered {
            self.series(series, x, &y, &window);
        }
        self.rule(Ink::Axis, (self.left, bottom), (self.right, bottom));
        self.letters(&ordered, x, &y, &window);
        self.shapes.extend(marks::words(&ordered, x, &window));
    }

    fn series(&mut self, series: &Series, x: &Place, y: &Place, window: &Window) {
        let ink = Ink::Key(series.key);
        match &series.data {
            Data::Line(points) => {
                let placed: Vec<_> = points.iter().map(|p| (x.at(p[0]), y.at(p[1]))).collect();
                for part in window.clip(&thin(&placed)) {
                    self.shapes.push(Shape::Line {
                        ink,
                        points: part,
                        width: 1.7,
                        dashed: self.dashes,
                    });
                }
            }
            Data::Dots(points) => {
                let placed = points.iter().map(|p| (x.at(p[0]), y.at(p[1])));
                let radius = match points.len() {
                    // A few marks stand on lines, and must be seen there.
                    0..=24 => 2.8,
                    25..=150 => 1.9,
                    _ => 1.3,
                };
                self.shapes.push(Shape::Dots {
                    ink,
                    points: placed.filter(|p| window.holds(*p)).collect(),
                    radius,
                });
            }
            Data::Marks(marks) => {
                let places = marks.iter().map(|m| x.at(m.0));
                for at in places.filter(|at| (window.left..=window.right).contains(at)) {
                    self.rule(ink, (at, window.top), (at, window.bottom));
                }
            }
            Data::Band(points) => {
                let inside = |v: f64| v.clamp(window.top, window.bottom);
                let shown = points.iter().filter(|p| {
                    p.iter().all(|v| v.is_finite())
                        && (window.left - 0.01..=window.right + 0.01).contains(&x.at(p[0]))
                });
                let shown: Vec<_> = shown.collect();
                let edge = |side: usize| {
                    let edge: Vec<_> = shown
                        .iter()
                        .map(|p| (x.at(p[0]), inside(y.at(p[side]))))
                        .collect();
                    thin(&edge)
                };
                let mut points = edge(1);
                points.extend(edge(2).into_iter().rev());
                if points.len() > 2 {
                    self.shapes.push(Shape::Area { ink, points });
                }
            }
        }
    }

    /// The letters of lettered lines, right of where each ends; those that would overlap make room
    /// for one another, as far as there is any.
    fn letters(&mut self, series: &[&Series], x: &Place, y: &Place, window: &Window) {
        const SIZE: f64 = 11.0;
        // So that no halo touches the letter beside it.
        const APART: f64 = 13.0;
        let mut ends: Vec<(f64, f64, usize)> = Vec::new();
        for series in series.iter().filter(|s| s.lettered) {
            let (Data::Line(points) | Data::Dots(points)) = &series.data else {
                continue;
            };
            let mut placed = points.iter().rev().map(|p| (x.at(p[0]), y.at(p[1])));
            if let Some(end) = placed.find(|p| window.holds(*p)) {
                ends.push((end.0 + 4.0, end.1 + 4.0, series.key));
            }
        }
        ends.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.2.cmp(&b.2)));
        // From the lowest up, each at least a letter's height above the one placed before it.
        let mut placed: Vec<(f64, f64, usize)> = Vec::new();
        for end in ends.into_iter().rev() {
            let mut at = end.1.min(window.bottom - 1.0);
            for other in &placed {
                if (other.0 - end.0).abs() < SIZE && other.1 - at < APART {
                    at = at.min(other.1 - APART);
                }
            }
            // What finds no room is told by its colour.
            if at >= window.top + 4.0 {
                placed.push((end.0, at, end.2));
            }
        }
        for (left, at, key) in placed {
            let text = letter(key).to_string();
            self.shapes.push(Shape::Text {
                ink: Ink::Key(key),
                at: (left, at),
                size: SIZE,
                anchor: Anchor::Start,
                text,
                halo: true,
            });
        }
    }

    /// Ticks, numbers and label under the last panel; returns where the legend may begin.
    fn x_axis(&mut self, chart: &Chart, x: &Place, x_ticks: &[f64], bottom: f64) -> f64 {
        let names = labels(chart.x.numbers, chart.x.scale, x_ticks);
        for (&tick, label) in x_ticks.iter().zip(names) {
            let at = x.at(tick);
            self.rule(Ink::Axis, (at, bottom), (at, bottom + 5.0));
            self.text(Ink::Text, (at, bottom + 19.0), TEXT, Anchor::Middle, label);
        }
        let middle = (self.left + self.right) / 2.0;
        let label = chart.x.label.clone();
        self.text(
            Ink::Muted,
            (middle, bottom + 37.0),
            TEXT,
            Anchor::Middle,
            label,
        );
        bottom + 44.0
    }

    /// As many columns as the widest entry allows; read downwards. Returns its lower end.
    fn legend(&mut self, chart: &Chart, top: f64) -> f64 {
        let room = self.right - self.left;
        let lettered = chart
            .panels
            .iter()
            .flat_map(|p| &p.series)
            .any(|s| s.lettered);
        let texts: Vec<(usize, Vec<String>)> = chart
            .legend
            .iter()
            .map(|entry| {
                // A letter stays with the name that follows it.
                let before = match lettered {
                    true => format!("{}  ", letter(entry.key)),
                    false => String::new(),
                };
                let room = (room - SAMPLE) / OTHER_FONTS - font::width(&before, TEXT);
                let mut lines = wrap(&entry.text, TEXT, room);
                lines[0].insert_str(0, &before);
                (entry.key, lines)
            })
            .collect();
        let lines = texts.iter().flat_map(|(_, lines)| lines);
        let widest = lines.map(|l| font::width(l, TEXT)).fold(0.0, f64::max);
        let widest = widest * OTHER_FONTS + SAMPLE + 16.0;
        let columns = (((room + 16.0) / widest) as usize).clamp(1, texts.len().max(1));
        let rows = texts.len().div_ceil(columns);
        let mut lowest = top;
        for (column, entries) in texts.chunks(rows.max(1)).enumerate() {
            let left = self.left + column as f64 * widest;
            let mut y = top;
            for (key, lines) in entries {
                for (i, line) in lines.iter().enumerate() {
                    y += LEGEND_LINE;
                    if i == 0 {
                        self.shapes.push(Shape::Line {
                            ink: Ink::Key(*key),
                            points: vec![(left, y - 4.0), (left + SAMPLE - 10.0, y - 4.0)],
                            width: 2.2,
                            dashed: self.dashes,
                        });
                    }
                    let at = (left + SAMPLE, y);
                    self.text(Ink::Text, at, TEXT, Anchor::Start, line.clone());
                }
            }
            lowest = lowest.max(y);
        }
        lowest
    }
}

/// Breaks at spaces into lines of at most `room` points, and words that are longer anywhere.
fn wrap(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("starts with one line");
        let longer = format!("{line} {word}");
        if line.is_empty() || font::width(&longer, size) <= room {
            *line = longer.trim_start_matches(' ').to_string();
        } else {
            lines.push(word.to_string());
        }
        while let Some(rest) = lines.last_mut().and_then(|line| overflow(line, size, room)) {
            lines.push(rest);
        }
    }
    lines
}

/// Cuts a line that is wider than `room` and returns what is cut off: all but the first character may be.
fn overflow(line: &mut String, size: f64, room: f64) -> Option<String> {
    if font::width(line, size) <= room {
        return None;
    }
    let starts = line.char_indices().map(|(at, _)| at).skip(1);
    let fits = |at: &usize| font::width(&line[..*at], size) <= room;
    let at = starts
        .clone()
        .take_while(fits)
        .last()
        .or(starts.clone().next())?;
    Some(line.split_off(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Axis, Entry, Numbers};

    fn texts(scene: &Scene) -> Vec<(&str, (f64, f64))> {
        let mut all = Vec::new();
        for shape in &scene.shapes {
            if let Shape::Text { text, at, .. } = shape {
                all.push((text.as_str(), *at));
            }
        }
        all
    }

    fn chart(keys: usize) -> Chart {
        let series = (0..keys).map(|key| {
            let line = (0..100).map(|i| [f64::from(i), 3.0 + 1e-4 * key as f64]);
            Series::line(key, line.collect()).lettered()
        });
        Chart {
            title: "Title".into(),
            subtitle: String::new(),
            x: Axis::linear("step", Numbers::Count),
            panels: vec![Panel {
                y: Axis::linear("loss", Numbers::Plain).within(2.9, 3.1),
                height: 200.0,
                rows: 8,
                series: series.collect(),
            }],
            legend: (0..keys)
                .map(|key| Entry {
                    key,
                    text: format!("curve {key}"),
                })
                .collect(),
            dashes: false,
        }
    }

    #[test]
    fn letters_at_line_ends_do_not_overlap() {
        let scene = lay_out(&chart(6), WIDTH);
        let mut heights: Vec<f64> = texts(&scene)
            .into_iter()
            .filter(|(text, _)| text.len() == 1 && text.is_ascii() && *text >= "a")
            .map(|(_, at)| at.1)
            .collect();
        assert_eq!(heights.len(), 6);
        heights.sort_by(f64::total_cmp);
        assert!(
            heights.windows(2).all(|w| w[1] - w[0] >= 12.9),
            "{heights:?}"
        );
    }

    #[test]
    fn long_words_are_broken() {
        let lines = wrap("a checkpoints/with-a-name-that-never-ends", 12.0, 80.0);
        assert!(
            lines.len() > 2 && lines.concat().ends_with("never-ends"),
            "{lines:?}"
        );
        assert!(
            lines.iter().all(|l| font::width(l, 12.0) <= 80.0),
            "{lines:?}"
        );
        assert_eq!(wrap("abc", 12.0, 0.0), ["a", "b", "c"]);
    }

    #[test]
    fn everything_lies_on_the_page() {
        for (keys, width) in [(1, WIDTH), (2, WIDTH), (9, WIDTH), (9, 400.0)] {
            let scene = lay_out(&chart(keys), width);
            for (text, at) in texts(&scene) {
                assert!(at.0 >= 0.0 && at.0 <= scene.width, "{text}");
                assert!(at.1 >= 8.0 && at.1 <= scene.height, "{text}");
            }
        }
    }

    #[test]
    fn long_legends_are_broken() {
        let lines = wrap(&"word ".repeat(60), 12.0, 300.0);
        assert!(lines.len() > 3);
        assert!(lines.iter().all(|l| font::width(l, 12.0) <= 300.0));
    }
}
