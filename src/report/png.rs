//! A chart as PNG: light, two pixels a point, letters from the embedded font.
//!
//! The scene is painted by tiny-skia (pure Rust); the file is 24-bit RGB in one zlib stream.

use super::chart::Chart;
use super::font;
use super::layout::{WIDTH, lay_out};
use super::scene::{AREA_OPACITY, Anchor, DOTS_OPACITY, GROUND, HALO, Ink, Scene, Shape};
use crate::error::{Error, Result};
use std::io::Write;
use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Stroke, StrokeDash,
    Transform,
};

/// Pixels a point.
const SCALE: f32 = 2.0;

/// The whole file.
///
/// # Errors
/// A chart that is too large to paint (more than 2³¹ bytes).
pub fn draw(chart: &Chart) -> Result<Vec<u8>> {
    scene(&lay_out(chart, WIDTH))
}

/// The file of a picture that is no chart.
///
/// # Errors
/// As [`draw`].
pub fn scene(scene: &Scene) -> Result<Vec<u8>> {
    let pixmap = paint(scene).ok_or_else(|| {
        Error::input("the picture is too large to be painted; draw fewer panels, or write SVG")
    })?;
    let mut rgb = Vec::with_capacity(pixmap.pixels().len() * 3);
    for pixel in pixmap.pixels() {
        // The ground is opaque, so no pixel is translucent.
        rgb.extend_from_slice(&[pixel.red(), pixel.green(), pixel.blue()]);
    }
    Ok(encode(pixmap.width(), pixmap.height(), &rgb))
}

fn paint(scene: &Scene) -> Option<Pixmap> {
    let pixels = |points: f64| (points as f32 * SCALE).round() as u32;
    let mut map = Pixmap::new(pixels(scene.width), pixels(scene.height))?;
    map.fill(colour(GROUND[0], 1.0));
    for shape in &scene.shapes {
        match shape {
            Shape::Line {
                ink,
                points,
                width,
                dashed,
            } => {
                if let Some(path) = polyline(points, false) {
                    stroke(&mut map, &path, *ink, *width, *dashed);
                }
            }
            Shape::Area { ink, points } => {
                if let Some(path) = polyline(points, true) {
                    fill(&mut map, &path, *ink, AREA_OPACITY);
                }
            }
            Shape::Dots {
                ink,
                points,
                radius,
            } => {
                for (x, y) in points {
                    let circle = PathBuilder::from_circle(*x as f32, *y as f32, *radius as f32);
                    if let Some(path) = circle {
                        fill(&mut map, &path, *ink, DOTS_OPACITY);
                    }
                }
            }
            Shape::Text {
                ink,
                at,
                size,
                anchor,
                text,
                halo,
            } => {
                let shift = match anchor {
                    Anchor::Start => 0.0,
                    Anchor::Middle => font::width(text, *size) / 2.0,
                    Anchor::End => font::width(text, *size),
                };
                if let Some(path) = font::outline(text, *size, at.0 - shift, at.1) {
                    if *halo {
                        rim(&mut map, &path);
                    }
                    fill(&mut map, &path, *ink, 1.0);
                }
            }
        }
    }
    Some(map)
}

fn polyline(points: &[(f64, f64)], close: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (i, (x, y)) in points.iter().enumerate() {
        match i {
            0 => path.move_to(*x as f32, *y as f32),
            _ => path.line_to(*x as f32, *y as f32),
        }
    }
    if close {
        path.close();
    }
    path.finish()
}

/// `#rrggbb`.
fn colour(hex: &str, opacity: f64) -> Color {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("our own colours");
    Color::from_rgba8(byte(1), byte(3), byte(5), (opacity * 255.0).round() as u8)
}

fn ink_paint(ink: Ink, opacity: f64) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color(colour(ink.colours()[0], opacity));
    paint.anti_alias = true;
    paint
}

fn fill(map: &mut Pixmap, path: &Path, ink: Ink, opacity: f64) {
    let to_pixels = Transform::from_scale(SCALE, SCALE);
    let paint = ink_paint(ink, opacity);
    map.fill_path(path, &paint, FillRule::Winding, to_pixels, None);
}

fn stroke(map: &mut Pixmap, path: &Path, ink: Ink, width: f64, dashed: bool) {
    let dashes: Vec<f32> = ink.dashes().iter().map(|d| *d as f32).collect();
    let stroke = Stroke {
        width: width as f32,
        line_cap: LineCap::Butt,
        line_join: LineJoin::Round,
        dash: match dashed && !dashes.is_empty() {
            true => StrokeDash::new(dashes, 0.0),
            false => None,
        },
        ..Stroke::default()
    };
    let to_pixels = Transform::from_scale(SCALE, SCALE);
    map.stroke_path(path, &ink_paint(ink, 1.0), &stroke, to_pixels, None);
}

/// Ground around the letters of `path`.
fn rim(map: &mut Pixmap, path: &Path) {
    let mut paint = Paint::default();
    paint.set_color(colour(GROUND[0], 1.0));
    let stroke = Stroke {
        width: HALO as f32,
        line_join: LineJoin::Round,
        ..Stroke::default()
    };
    let to_pixels = Transform::from_scale(SCALE, SCALE);
    map.stroke_path(path, &paint, &stroke, to_pixels, None);
}

/// A PNG of 8-bit RGB rows (PNG specification, third edition, §5 and §11.2).
fn encode(width: u32, height: u32, rgb: &[u8]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    // Eight bits, colour type RGB, the one compression, the one filtering, no interlacing.
    header.extend_from_slice(&[8, 2, 0, 0, 0]);
    chunk(&mut file, b"IHDR", &header);
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    for row in rgb.chunks_exact(width as usize * 3) {
        // Filter 0: plain areas compress well enough as they are.
        packer.write_all(&[0]).expect("memory takes everything");
        packer.write_all(row).expect("memory takes everything");
    }
    let packed = packer.finish().expect("memory takes everything");
    chunk(&mut file, b"IDAT", &packed);
    chunk(&mut file, b"IEND", &[]);
    file
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], body: &[u8]) {
    file.extend_from_slice(&(body.len() as u32).to_be_bytes());
    file.extend_from_slice(kind);
    file.extend_from_slice(body);
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(body);
    file.extend_from_slice(&crc.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn encodes_what_the_specification_says() {
        let rgb = [255, 0, 0, 0, 255, 0];
        let file = encode(2, 1, &rgb);
        assert_eq!(&file[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(
            &file[8..29],
            b"\0\0\0\rIHDR\0\0\0\x02\0\0\0\x01\x08\x02\0\0\0"
        );
        // An empty IEND has this checksum in every PNG there is.
        assert_eq!(&file[file.len() - 12..], b"\0\0\0\0IEND\xaeB`\x82");
        let length = u32::from_be_bytes(file[33..37].try_into().unwrap()) as usize;
        let mut pixels = Vec::new();
        flate2::read::ZlibDecoder::new(&file[41..41 + length])
            .read_to_end(&mut pixels)
            .unwrap();
        assert_eq!(pixels, [0, 255, 0, 0, 0, 255, 0]);
    }

    #[test]
    fn paints_text_and_lines() {
        let scene = Scene {
            width: 40.0,
            height: 20.0,
            title: String::new(),
            shapes: vec![
                Shape::Line {
                    ink: Ink::Key(0),
                    points: vec![(0.0, 5.0), (40.0, 5.0)],
                    width: 2.0,
                    dashed: false,
                },
                Shape::Text {
                    ink: Ink::Text,
                    at: (20.0, 18.0),
                    size: 10.0,
                    anchor: Anchor::Middle,
                    text: "α".into(),
                    halo: true,
                },
            ],
        };
        let map = paint(&scene).unwrap();
        assert_eq!((map.width(), map.height()), (80, 40));
        let at = |x: u32, y: u32| map.pixel(x, y).unwrap();
        let blue = at(40, 10);
        assert_eq!((blue.red(), blue.green(), blue.blue()), (0x0b, 0x62, 0xc4));
        assert_eq!(at(2, 30).red(), 255);
        let dark = map.pixels()[80 * 22..].iter().filter(|p| p.red() < 128);
        assert!(dark.count() > 20, "no letter was painted");
    }
}
