//! A picture as shapes on a plane, before it is written as SVG or painted as PNG.

/// Shapes from back to front, in points; x to the right, y down.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    pub width: f64,
    pub height: f64,
    /// What a reader who cannot see the picture is told.
    pub title: String,
    pub shapes: Vec<Shape>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Line {
        ink: Ink,
        points: Vec<(f64, f64)>,
        width: f64,
        dashed: bool,
    },
    /// A closed area, filled faintly.
    Area { ink: Ink, points: Vec<(f64, f64)> },
    Dots {
        ink: Ink,
        points: Vec<(f64, f64)>,
        radius: f64,
    },
    Text {
        ink: Ink,
        at: (f64, f64),
        size: f64,
        anchor: Anchor,
        text: String,
        /// Keeps lines that pass behind it off the letters.
        halo: bool,
    },
}

/// Which side of a text lies at its point; the point is on the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// What a shape is drawn with; each has a colour on light and on dark ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Text,
    Muted,
    Grid,
    Axis,
    /// The colour of a key.
    Key(usize),
}

/// Width of the rim of ground around a text with a halo.
pub const HALO: f64 = 3.0;

/// Opacity of [`Shape::Area`] and of [`Shape::Dots`].
pub const AREA_OPACITY: f64 = 0.18;
pub const DOTS_OPACITY: f64 = 0.45;

pub const GROUND: [&str; 2] = ["#ffffff", "#0d1117"];

/// Colours of keys on light and dark ground, and their dashes, so that no line need depend on
/// colour alone. Neighbours differ in lightness as well as in hue.
pub(super) const KEYS: [([&str; 2], &[f64]); 10] = [
    (["#0b62c4", "#6cb0ff"], &[]),
    (["#c4420b", "#ff9a66"], &[8.0, 4.0]),
    (["#0a8245", "#5fd699"], &[2.0, 3.0]),
    (["#8a3fb5", "#cf9bf0"], &[10.0, 3.0, 2.0, 3.0]),
    (["#8a6d00", "#e3c14d"], &[14.0, 4.0]),
    (["#b01657", "#ff86b6"], &[4.0, 4.0]),
    (["#00798a", "#5ccfe0"], &[6.0, 2.0, 2.0, 2.0]),
    (["#555555", "#bbbbbb"], &[1.0, 4.0]),
    (["#507e00", "#b4e05a"], &[12.0, 3.0, 3.0, 3.0]),
    (["#a05a5a", "#e0a8a8"], &[5.0, 2.0]),
];

impl Ink {
    /// On light and on dark ground.
    pub fn colours(self) -> [&'static str; 2] {
        match self {
            Ink::Text => ["#24292f", "#e6edf3"],
            Ink::Muted => ["#57606a", "#9da7b3"],
            Ink::Grid => ["#e1e6eb", "#262c34"],
            Ink::Axis => ["#8c959f", "#6e7681"],
            Ink::Key(key) => KEYS[key % KEYS.len()].0,
        }
    }

    /// Lengths of strokes and gaps where the line is dashed; empty for a line without gaps.
    pub fn dashes(self) -> &'static [f64] {
        match self {
            Ink::Key(key) => KEYS[key % KEYS.len()].1,
            _ => &[],
        }
    }
}
