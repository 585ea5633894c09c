//! A chart in at most 80 columns of characters.
//!
//! A panel with one key is drawn in braille dots. Where several keys must be told apart without colour, lines
//! are rows of the keys' letters, which take turns where they coincide; but where a panel has dots too, lines are
//! braille and the letters are the dots, so that measured and predicted show in one place.

use super::chart::{Chart, Data, Panel, Scale, Series, letter};
use super::place::{Place, Window};
use super::ticks::{labels, ticks};

/// Columns of the area inside the axes; with the labels a line stays within 80 columns.
const COLUMNS: usize = 68;
const MARGIN: usize = 10;

/// The panels that ask for rows, one below the other; ends in a line break. `colour` adds ANSI colours.
pub fn draw(chart: &Chart, colour: bool) -> String {
    let x_range = chart.x_range();
    let mut out = String::new();
    let shown: Vec<&Panel> = chart.panels.iter().filter(|p| p.rows > 0).collect();
    for (i, panel) in shown.iter().enumerate() {
        if !panel.y.label.is_empty() {
            out.push_str(&format!("{:MARGIN$} {}\n", "", panel.y.label));
        }
        let grid = Grid::draw(panel, chart.x.scale, x_range);
        grid.write(&mut out, panel, colour);
        let corner = if i + 1 < shown.len() { '├' } else { '└' };
        out.push_str(&format!("{:MARGIN$}{corner}{}\n", "", "─".repeat(COLUMNS)));
    }
    // The ends, exactly: they say what the first and the last column are.
    let ends = labels(chart.x.numbers, Scale::Log, &[x_range.0, x_range.1]);
    let last = format!("{} {}", chart.x.label, ends[1]);
    let room = COLUMNS - ends[0].chars().count().min(COLUMNS);
    out.push_str(&format!("{:1$}{2}{last:>room$}\n", "", MARGIN + 1, ends[0]));
    out
}

/// Whether what is written to the standard output may be coloured: a terminal reads it, which is
/// not a dumb one, and the user has not said no (`NO_COLOR`, any value but an empty one).
pub fn colour_wanted() -> bool {
    use std::io::IsTerminal;
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    std::io::stdout().is_terminal()
        && !set("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// Colours of keys among the 256 of terminals, readable on black and on white.
const KEYS: [u8; 10] = [33, 166, 35, 134, 136, 161, 37, 244, 106, 131];

#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Empty,
    /// Inside the band of a key.
    Shade(usize),
    /// Dots of a braille character, and the key that drew last.
    Braille(u32, usize),
    Letter(usize),
    /// Part of an upright rule.
    Mark(usize),
}

struct Grid {
    rows: usize,
    cells: Vec<[Cell; COLUMNS]>,
}

impl Grid {
    fn draw(panel: &Panel, x_scale: Scale, x_range: (f64, f64)) -> Grid {
        let rows = panel.rows;
        let mut grid = Grid {
            rows,
            cells: vec![[Cell::Empty; COLUMNS]; rows],
        };
        let range = panel.y_range();
        let curves = panel.series.iter();
        let curves = curves.filter(|s| !matches!(s.data, Data::Marks(_)));
        let mut keys: Vec<usize> = curves.map(|s| s.key).collect();
        keys.sort_unstable();
        keys.dedup();
        let several = keys.len() > 1;
        let dotted = panel.series.iter().any(|s| matches!(s.data, Data::Dots(_)));
        // Places of braille dots, two by four a character.
        let x = Place::new(x_scale, x_range, 0.0, (COLUMNS * 2 - 1) as f64);
        let y = Place::new(panel.y.scale, range, (rows * 4 - 1) as f64, 0.0);
        for series in &panel.series {
            match &series.data {
                Data::Band(points) => grid.shade(series.key, points, &x, &y),
                Data::Marks(marks) => grid.marks(series.key, marks, &x),
                _ => {}
            }
        }
        for series in &panel.series {
            match &series.data {
                Data::Line(points) if !several || dotted => {
                    grid.braille(series.key, points, &x, &y);
                }
                Data::Dots(points) if !several => grid.single_dots(series.key, points, &x, &y),
                _ => {}
            }
        }
        if several {
            grid.letters(&panel.series, dotted, &x, &y);
        }
        grid
    }

    fn window(&self) -> Window {
        Window {
            left: 0.0,
            right: (COLUMNS * 2 - 1) as f64,
            top: 0.0,
            bottom: (self.rows * 4 - 1) as f64,
        }
    }

    fn shade(&mut self, key: usize, points: &[[f64; 3]], x: &Place, y: &Place) {
        let side = |i: usize| points.iter().map(|p| [p[0], p[i]]).collect::<Vec<_>>();
        let (low, high) = (side(1), side(2));
        for column in 0..COLUMNS {
            let at = x.back(column as f64 * 2.0 + 0.5);
            let (Some(low), Some(high)) = (value_at(&low, at), value_at(&high, at)) else {
                continue;
            };
            let (top, bottom) = (y.at(high) / 4.0, y.at(low) / 4.0);
            for row in 0..self.rows {
                // A cell whose middle the band covers.
                let middle = row as f64 + 0.375;
                if (top..=bottom).contains(&middle) {
                    self.cells[row][column] = Cell::Shade(key);
                }
            }
        }
    }

    fn marks(&mut self, key: usize, marks: &[(f64, String)], x: &Place) {
        for (at, _) in marks {
            let column = x.at(*at) / 2.0;
            if (0.0..COLUMNS as f64).contains(&column) {
                for cells in &mut self.cells {
                    cells[column as usize] = Cell::Mark(key);
                }
            }
        }
    }

    fn dot(&mut self, key: usize, x: f64, y: f64) {
        const DOTS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        let (x, y) = (x.round() as usize, y.round() as usize);
        let cell = &mut self.cells[y / 4][x / 2];
        let before = match *cell {
            Cell::Braille(dots, _) => dots,
            _ => 0,
        };
        *cell = Cell::Braille(before | DOTS[y % 4][x % 2], key);
    }

    fn braille(&mut self, key: usize, points: &[[f64; 2]], x: &Place, y: &Place) {
        let placed: Vec<_> = points.iter().map(|p| (x.at(p[0]), y.at(p[1]))).collect();
        for part in self.window().clip(&placed) {
            for pair in part.windows(2) {
                let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
                let strokes = (x1 - x0).abs().max((y1 - y0).abs()).ceil().max(1.0);
                for i in 0..=strokes as usize {
                    let t = i as f64 / strokes;
                    self.dot(key, x0 + (x1 - x0) * t, y0 + (y1 - y0) * t);
                }
            }
        }
    }

    fn single_dots(&mut self, key: usize, points: &[[f64; 2]], x: &Place, y: &Place) {
        let window = self.window();
        for p in points {
            let (x, y) = (x.at(p[0]), y.at(p[1]));
            if window.holds((x, y)) {
                self.dot(key, x, y);
            }
        }
    }

    /// Letters for lines, or sparsely for dots where lines are braille.
    fn letters(&mut self, all: &[Series], dotted: bool, x: &Place, y: &Place) {
        let lettered: Vec<(usize, &[[f64; 2]])> = all
            .iter()
            .filter_map(|s| match &s.data {
                Data::Dots(points) if dotted => Some((s.key, &points[..])),
                Data::Line(points) if !dotted => Some((s.key, &points[..])),
                _ => None,
            })
            .collect();
        let every = if dotted { 5.max(lettered.len()) } else { 1 };
        for column in 0..COLUMNS {
            let (from, to) = (
                x.back(column as f64 * 2.0 - 0.5),
                x.back(column as f64 * 2.0 + 1.5),
            );
            let mut here: Vec<(usize, usize)> = Vec::new();
            for (i, (key, points)) in lettered.iter().enumerate() {
                // Staggered, so that curves that coincide show all their letters.
                let turn = column + i * every / lettered.len();
                if !turn.is_multiple_of(every) {
                    continue;
                }
                let value = match dotted {
                    true => mean_between(points, from, to),
                    false => value_at(points, (from + to) / 2.0),
                };
                let row = value.map(|v| (y.at(v) / 4.0).floor());
                if let Some(row) = row.filter(|r| (0.0..self.rows as f64).contains(r)) {
                    here.push((row as usize, *key));
                }
            }
            here.sort_unstable();
            for same in here.chunk_by(|a, b| a.0 == b.0) {
                let (row, key) = same[column % same.len()];
                self.cells[row][column] = Cell::Letter(key);
            }
        }
    }

    fn write(&self, out: &mut String, panel: &Panel, colour: bool) {
        let range = panel.y_range();
        let y = Place::new(panel.y.scale, range, (self.rows * 4 - 1) as f64, 0.0);
        let marks = ticks(
            panel.y.scale,
            panel.y.numbers,
            range.0,
            range.1,
            (self.rows / 2).clamp(2, 6),
        );
        let names = labels(panel.y.numbers, panel.y.scale, &marks);
        let row_of = |tick: f64| (y.at(tick) / 4.0).floor() as usize;
        for (row, cells) in self.cells.iter().enumerate() {
            let mark = marks.iter().position(|t| row_of(*t) == row);
            let name = mark.map_or("", |i| &names[i]);
            // Residuals are read against a line at zero.
            let zero = mark.is_some_and(|i| marks[i] == 0.0 && range.0 < 0.0);
            let tick = if mark.is_some() { '┤' } else { '│' };
            let mut line = format!("{name:>9} {tick}");
            let mut inked = None;
            for cell in cells {
                let (character, key) = match *cell {
                    Cell::Empty if zero => ('┄', None),
                    Cell::Empty => (' ', None),
                    Cell::Shade(key) => ('░', Some(key)),
                    Cell::Braille(dots, key) => (
                        char::from_u32(0x2800 + dots).expect("a braille pattern"),
                        Some(key),
                    ),
                    Cell::Letter(key) => (letter(key), Some(key)),
                    Cell::Mark(key) => ('┊', Some(key)),
                };
                if colour && key != inked {
                    match key {
                        Some(key) => {
                            let code = KEYS[key % KEYS.len()];
                            line.push_str(&format!("\x1b[38;5;{code}m"));
                        }
                        None => line.push_str("\x1b[0m"),
                    }
                    inked = key;
                }
                line.push(character);
            }
            out.push_str(line.trim_end());
            if inked.is_some() {
                out.push_str("\x1b[0m");
            }
            out.push('\n');
        }
    }
}

/// A line's value at `x`, between its points; `None` outside them and in gaps.
fn value_at(points: &[[f64; 2]], x: f64) -> Option<f64> {
    let after = points.partition_point(|p| p[0] < x);
    let b = points.get(after)?;
    let value = match after.checked_sub(1).map(|i| points[i]) {
        None if b[0] > x => return None,
        None => b[1],
        Some(a) if b[0] > a[0] => a[1] + (b[1] - a[1]) * (x - a[0]) / (b[0] - a[0]),
        Some(_) => b[1],
    };
    value.is_finite().then_some(value)
}

/// The mean of the points in a column, or the value between its neighbours where it holds none.
fn mean_between(points: &[[f64; 2]], from: f64, to: f64) -> Option<f64> {
    let start = points.partition_point(|p| p[0] < from);
    let end = points.partition_point(|p| p[0] < to);
    let finite = points[start..end]
        .iter()
        .map(|p| p[1])
        .filter(|v| v.is_finite());
    let (n, sum) = finite.fold((0, 0.0), |(n, sum), v| (n + 1, sum + v));
    match n {
        0 => value_at(points, (from + to) / 2.0),
        n => Some(sum / f64::from(n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Axis, Numbers};

    fn chart(series: Vec<Series>) -> Chart {
        Chart {
            title: String::new(),
            subtitle: String::new(),
            x: Axis::linear("step", Numbers::Count),
            panels: vec![Panel {
                y: Axis::linear("loss", Numbers::Plain).within(0.0, 1.0),
                height: 100.0,
                rows: 8,
                series,
            }],
            legend: Vec::new(),
            dashes: false,
        }
    }

    fn flat(at: f64) -> Vec<[f64; 2]> {
        (0..100).map(|x| [f64::from(x), at]).collect()
    }

    #[test]
    fn one_line_is_braille_and_several_are_letters_in_turn() {
        let one = draw(&chart(vec![Series::line(0, flat(1.0))]), false);
        assert!(one.contains('⠉') && !one.contains('a'), "{one}");
        let both = chart(vec![Series::line(0, flat(1.0)), Series::line(1, flat(1.0))]);
        let text = draw(&both, false);
        assert!(text.lines().nth(1).unwrap().contains("abab"), "{text}");
    }

    #[test]
    fn measured_letters_stand_on_predicted_lines() {
        let both = (0..2).flat_map(|key| {
            let at = 0.2 + 0.5 * key as f64;
            [Series::dots(key, flat(at)), Series::line(key, flat(at))]
        });
        let text = draw(&chart(both.collect()), false);
        for letter in ['a', 'b'] {
            let braille = |l: &str| l.chars().any(|c| ('⠁'..='⣿').contains(&c));
            let row = text.lines().find(|l| l.contains(letter) && braille(l));
            assert!(row.is_some(), "{letter}: {text}");
        }
    }

    #[test]
    fn bands_are_shaded_and_zero_is_ruled() {
        let band = (0..100).map(|x| [f64::from(x), -0.5, 0.5]).collect();
        let mut chart = chart(vec![Series::band(0, band), Series::line(0, flat(0.8))]);
        chart.panels[0].y.range = Some((-1.0, 1.0));
        let text = draw(&chart, false);
        assert!(text.contains('░'), "{text}");
        chart.panels[0].series.remove(0);
        assert!(draw(&chart, false).contains('┄'));
    }

    #[test]
    fn eighty_columns_and_colours_only_where_wanted() {
        let series: Vec<Series> = (0..12)
            .map(|k| Series::line(k, flat(k as f64 / 12.0)))
            .collect();
        let text = draw(&chart(series.clone()), false);
        assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
        assert!(!text.contains('\x1b'));
        let coloured = draw(&chart(series), true);
        assert!(coloured.contains("\x1b[38;5;33m"));
        let ends = coloured
            .lines()
            .filter(|l| l.contains("\x1b[38"))
            .all(|l| l.ends_with("\x1b[0m"));
        assert!(ends, "{coloured:?}");
    }

    #[test]
    fn the_ends_of_the_axis_are_exact() {
        let text = draw(&chart(vec![Series::line(0, flat(0.5))]), false);
        let last = text.lines().last().unwrap();
        assert!(
            last.trim_start().starts_with('0') && last.ends_with("step 99"),
            "{last}"
        );
    }
}
