//! The embedded font: how wide a text is, and the outlines of its letters.
//!
//! A subset of Roboto Regular (Apache License 2.0; see `font/`), without kerning: labels are short, and its
//! digits are all of one width.

use ttf_parser::{Face, GlyphId};

const FONT: &[u8] = include_bytes!("font/Roboto-subset.ttf");

fn face() -> Face<'static> {
    Face::parse(FONT, 0).expect("the embedded font is whole; a test reads it")
}

/// Calls `each` with the glyph of every character, its pen position in points, and points a font unit. A
/// character that the font lacks is drawn as its box.
fn glyphs(face: &Face, text: &str, size: f64, mut each: impl FnMut(GlyphId, f64, f64)) -> f64 {
    let scale = size / f64::from(face.units_per_em());
    let mut pen = 0.0;
    for c in text.chars() {
        let glyph = face.glyph_index(c).unwrap_or(GlyphId(0));
        each(glyph, pen, scale);
        pen += f64::from(face.glyph_hor_advance(glyph).unwrap_or(0)) * scale;
    }
    pen
}

/// Width of `text` in points.
pub fn width(text: &str, size: f64) -> f64 {
    glyphs(&face(), text, size, |_, _, _| {})
}

/// The outline of `text` as one path that begins at `(x, y)`, the left end of its baseline.
pub(super) fn outline(text: &str, size: f64, x: f64, y: f64) -> Option<tiny_skia::Path> {
    let face = face();
    let mut pen = Pen {
        path: tiny_skia::PathBuilder::new(),
        x,
        y,
        scale: 1.0,
    };
    glyphs(&face, text, size, |glyph, advance, scale| {
        (pen.x, pen.scale) = (x + advance, scale);
        face.outline_glyph(glyph, &mut pen);
    });
    pen.path.finish()
}

/// Font units, y up, to points, y down.
struct Pen {
    path: tiny_skia::PathBuilder,
    x: f64,
    y: f64,
    scale: f64,
}

impl Pen {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (
            (self.x + f64::from(x) * self.scale) as f32,
            (self.y - f64::from(y) * self.scale) as f32,
        )
    }
}

impl ttf_parser::OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }
    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }
    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }
    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }
    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_share_a_width_and_letters_do_not() {
        let widths: Vec<f64> = ('0'..='9').map(|c| width(&c.to_string(), 12.0)).collect();
        assert!(widths.iter().all(|w| *w == widths[0] && *w > 4.0));
        assert!(width("i", 12.0) < width("W", 12.0));
        assert_eq!(width("", 12.0), 0.0);
    }

    #[test]
    fn knows_what_labels_are_written_with() {
        let face = face();
        let used = "aZ09 .,:;()[]%±−×·…–≤≥≈½²³⁴⁻₀₁₂αβγδηλΔΩ√∞’“”";
        for c in used.chars() {
            assert!(face.glyph_index(c).is_some(), "{c}");
        }
    }

    #[test]
    fn outlines_stand_on_their_baseline() {
        let path = outline("H", 100.0, 10.0, 200.0).unwrap();
        let bounds = path.bounds();
        assert!((bounds.bottom() - 200.0).abs() < 1.0);
        assert!(bounds.top() < 140.0 && bounds.left() >= 10.0);
        assert!(outline(" ", 12.0, 0.0, 0.0).is_none());
    }
}
