//! What a picture shows, without saying how it is drawn.

use super::ticks::Numbers;

/// Panels over one x axis, and one legend for all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Empty for none.
    pub title: String,
    /// One line under the title; empty for none.
    pub subtitle: String,
    /// Its label stands under the last panel.
    pub x: Axis,
    /// From top to bottom.
    pub panels: Vec<Panel>,
    /// Say what each key is; a series without an entry is explained by the panel's label.
    pub legend: Vec<Entry>,
    /// Lines of different keys are dashed differently, for pictures in which lines alone must be
    /// told apart.
    pub dashes: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub label: String,
    pub scale: Scale,
    pub numbers: Numbers,
    /// Lowest and highest value shown; `None` takes the data's with a margin.
    pub range: Option<(f64, f64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Linear,
    /// Values that are not positive are not drawn.
    Log,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    pub y: Axis,
    /// Share of the picture's height, relative to the other panels'.
    pub height: f64,
    /// Rows in the terminal; 0 leaves the panel out there.
    pub rows: usize,
    pub series: Vec<Series>,
}

/// One line, cloud of dots or band.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its colour, its dashes and its letter; series of one key belong together.
    pub key: usize,
    pub data: Data,
    /// Write the key's letter where the line ends (never in the terminal, whose lines are letters).
    pub lettered: bool,
}

/// Points in order of x. A point that is not finite interrupts a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Line(Vec<[f64; 2]>),
    Dots(Vec<[f64; 2]>),
    /// `[x, low, high]`
    Band(Vec<[f64; 3]>),
    /// Upright rules where something happened, and a word or two on each.
    Marks(Vec<(f64, String)>),
}

/// A line of the legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: usize,
    pub text: String,
}

/// What the terminal, and the ends of lines, call a key: `a` to `z`, then `A` to `Z`, then `*`.
pub fn letter(key: usize) -> char {
    match key {
        0..26 => (b'a' + key as u8) as char,
        26..52 => (b'A' + (key - 26) as u8) as char,
        _ => '*',
    }
}

impl Axis {
    pub fn linear(label: impl Into<String>, numbers: Numbers) -> Axis {
        Axis {
            label: label.into(),
            scale: Scale::Linear,
            numbers,
            range: None,
        }
    }

    pub fn within(mut self, low: f64, high: f64) -> Axis {
        self.range = Some((low, high));
        self
    }

    /// The range shown of `values`: the one asked for, or theirs with a margin of `margin` times
    /// their spread on both sides. Never empty, always finite.
    pub(super) fn resolve(&self, values: impl Iterator<Item = f64>, margin: f64) -> (f64, f64) {
        if let Some((low, high)) = self.range {
            return widen(self.scale, low, high, 0.0);
        }
        let usable = |v: &f64| v.is_finite() && (self.scale == Scale::Linear || *v > 0.0);
        let (low, high) = values
            .filter(usable)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
                (l.min(v), h.max(v))
            });
        if low > high {
            // Nothing to show.
            return match self.scale {
                Scale::Linear => (0.0, 1.0),
                Scale::Log => (1.0, 10.0),
            };
        }
        widen(self.scale, low, high, margin)
    }
}

fn widen(scale: Scale, low: f64, high: f64, margin: f64) -> (f64, f64) {
    match scale {
        Scale::Linear => {
            // A constant still needs room around it.
            let spread = high - low;
            let room = if spread > 0.0 {
                spread * margin
            } else {
                low.abs().max(1e-300) * 0.1
            };
            (low - room, high + room)
        }
        Scale::Log => {
            let room = if high > low {
                (high / low).powf(margin)
            } else {
                2.0
            };
            (low / room, high * room)
        }
    }
}

impl Series {
    pub fn line(key: usize, points: Vec<[f64; 2]>) -> Series {
        Series {
            key,
            data: Data::Line(points),
            lettered: false,
        }
    }

    pub fn dots(key: usize, points: Vec<[f64; 2]>) -> Series {
        Series {
            key,
            data: Data::Dots(points),
            lettered: false,
        }
    }

    pub fn band(key: usize, points: Vec<[f64; 3]>) -> Series {
        Series {
            key,
            data: Data::Band(points),
            lettered: false,
        }
    }

    pub fn marks(key: usize, marks: Vec<(f64, String)>) -> Series {
        Series {
            key,
            data: Data::Marks(marks),
            lettered: false,
        }
    }

    pub fn lettered(mut self) -> Series {
        self.lettered = true;
        self
    }

    /// Of all points.
    pub(super) fn xs(&self) -> Vec<f64> {
        match &self.data {
            Data::Line(p) | Data::Dots(p) => p.iter().map(|p| p[0]).collect(),
            Data::Band(p) => p.iter().map(|p| p[0]).collect(),
            Data::Marks(m) => m.iter().map(|m| m.0).collect(),
        }
    }

    /// Of all points; a band has two a point, a mark none.
    pub(super) fn ys(&self) -> Vec<f64> {
        match &self.data {
            Data::Line(p) | Data::Dots(p) => p.iter().map(|p| p[1]).collect(),
            Data::Band(p) => p.iter().flat_map(|p| [p[1], p[2]]).collect(),
            Data::Marks(_) => Vec::new(),
        }
    }
}

impl Panel {
    /// What its y axis shows.
    pub(super) fn y_range(&self) -> (f64, f64) {
        let values = self.series.iter().flat_map(|s| s.ys());
        self.y.resolve(values, 0.06)
    }
}

impl Chart {
    /// What the x axis shows.
    pub(super) fn x_range(&self) -> (f64, f64) {
        let all = self.panels.iter().flat_map(|p| &p.series);
        self.x.resolve(all.flat_map(|s| s.xs()), 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_the_data_and_are_never_empty() {
        let axis = Axis::linear("", Numbers::Plain);
        let (low, high) = axis.resolve([1.0, f64::NAN, 3.0].into_iter(), 0.1);
        assert!((low - 0.8).abs() < 1e-12 && (high - 3.2).abs() < 1e-12);
        let (low, high) = axis.resolve([2.0].into_iter(), 0.1);
        assert!(low < 2.0 && high > 2.0);
        assert_eq!(axis.resolve(std::iter::empty(), 0.1), (0.0, 1.0));
        let log = Axis {
            scale: Scale::Log,
            ..axis
        };
        let (low, high) = log.resolve([-1.0, 0.0, 10.0, 1000.0].into_iter(), 0.5);
        assert!((low - 1.0).abs() < 1e-9 && (high - 1e4).abs() < 1e-6);
    }

    #[test]
    fn letters_never_run_out() {
        assert_eq!(
            [letter(0), letter(25), letter(26), letter(52)],
            ['a', 'z', 'A', '*']
        );
    }
}
