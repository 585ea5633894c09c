//! A chart as SVG: no scripts, no fonts of its own, light and dark by media query.

use super::chart::Chart;
use super::layout::{WIDTH, lay_out};
use super::scene::{AREA_OPACITY, Anchor, DOTS_OPACITY, GROUND, HALO, Ink, KEYS, Scene, Shape};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The whole file.
pub fn draw(chart: &Chart) -> String {
    scene(&lay_out(chart, WIDTH))
}

/// The whole file of a picture that is no chart.
pub fn scene(scene: &Scene) -> String {
    let (body, inks) = shapes(scene);
    let (width, height) = (short(scene.width), short(scene.height));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\" \
         font-family=\"{FONTS}\">\n<title>{}</title>\n{}\
         <rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n{body}</svg>\n",
        escape(&scene.title),
        style(&inks)
    )
}

/// The `<svg>` element for a page, `width` points wide in its own units: without a ground and without a style, which
/// the page has once for all of its pictures ([`page_style`]). `alt` is what a reader who cannot see it is told.
pub fn inline(chart: &Chart, width: f64, alt: &str) -> String {
    let scene = lay_out(chart, width);
    let (width, height) = (short(scene.width), short(scene.height));
    let body = shapes(&scene).0;
    format!(
        "<svg class=\"lehr\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-label=\"{}\" font-family=\"{FONTS}\">\n{body}</svg>\n",
        escape(alt)
    )
}

/// The rules that [`inline`] pictures need, once a page; they reach nothing outside the pictures. Printed, they are
/// light.
pub fn page_style() -> String {
    let keys = (0..KEYS.len()).map(Ink::Key);
    let inks: Vec<Ink> = [Ink::Text, Ink::Muted, Ink::Grid, Ink::Axis]
        .into_iter()
        .chain(keys)
        .collect();
    let rules = |ground: usize| {
        let ground_colour = GROUND[ground];
        let mut rules = format!(".lehr .halo {{ stroke: {ground_colour} }}\n");
        for ink in &inks {
            let _ = writeln!(
                rules,
                ".lehr .{} {{ color: {} }}",
                class(*ink),
                ink.colours()[ground]
            );
        }
        rules
    };
    format!(
        ".lehr text, .lehr circle, .lehr polygon {{ fill: currentColor }}\n\
         .lehr line, .lehr polyline {{ stroke: currentColor; fill: none; stroke-linejoin: round }}\n\
         .lehr .halo {{ paint-order: stroke; stroke-width: {HALO}; stroke-linejoin: round }}\n\
         .lehr polygon {{ opacity: {AREA_OPACITY} }}\n.lehr .dots {{ opacity: {DOTS_OPACITY} }}\n{}\
         @media screen and (prefers-color-scheme: dark) {{\n{}}}\n",
        rules(0),
        rules(1)
    )
}

const FONTS: &str = "Roboto, system-ui, sans-serif";

/// What is drawn, and the inks it is drawn with by class.
fn shapes(scene: &Scene) -> (String, BTreeMap<String, Ink>) {
    let mut body = String::new();
    let mut inks = BTreeMap::new();
    for shape in &scene.shapes {
        let ink = write(&mut body, shape);
        inks.insert(class(ink), ink);
    }
    (body, inks)
}

/// Only the inks that are used. `color` is inherited, so that one rule serves strokes and fills.
fn style(inks: &BTreeMap<String, Ink>) -> String {
    let rules = |ground: usize| {
        let ground_colour = GROUND[ground];
        let mut rules =
            format!(".ground {{ color: {ground_colour} }}\n.halo {{ stroke: {ground_colour} }}\n");
        for (class, ink) in inks {
            let _ = writeln!(rules, ".{class} {{ color: {} }}", ink.colours()[ground]);
        }
        rules
    };
    format!(
        "<style>\n.ground, text, circle, .dots path, polygon {{ fill: currentColor }}\n\
         line, polyline {{ stroke: currentColor; fill: none; stroke-linejoin: round }}\n\
         .halo {{ paint-order: stroke; stroke-width: {HALO}; stroke-linejoin: round }}\n\
         polygon {{ opacity: {AREA_OPACITY} }}\n.dots {{ opacity: {DOTS_OPACITY} }}\n{}\
         @media (prefers-color-scheme: dark) {{\n{}}}\n</style>\n",
        rules(0),
        rules(1)
    )
}

fn class(ink: Ink) -> String {
    match ink {
        Ink::Text => "text".into(),
        Ink::Muted => "muted".into(),
        Ink::Grid => "grid".into(),
        Ink::Axis => "axis".into(),
        // Colours repeat, and so do their classes: a page has one rule a colour.
        Ink::Key(key) => format!("k{}", key % KEYS.len()),
    }
}

/// Writes one shape and returns its ink. Writing to a String cannot fail.
fn write(out: &mut String, shape: &Shape) -> Ink {
    match shape {
        Shape::Line {
            ink,
            points,
            width,
            dashed,
        } => {
            let dashes: Vec<String> = ink.dashes().iter().map(|d| short(*d)).collect();
            let dashes = match *dashed && !dashes.is_empty() {
                true => format!(" stroke-dasharray=\"{}\"", dashes.join(" ")),
                false => String::new(),
            };
            let class = class(*ink);
            let width = short(*width);
            let _ = match points[..] {
                [(x1, y1), (x2, y2)] => writeln!(
                    out,
                    "<line class=\"{class}\" stroke-width=\"{width}\"{dashes} \
                     x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
                    short(x1),
                    short(y1),
                    short(x2),
                    short(y2)
                ),
                _ => writeln!(
                    out,
                    "<polyline class=\"{class}\" stroke-width=\"{width}\"{dashes} points=\"{}\"/>",
                    list(points)
                ),
            };
            *ink
        }
        Shape::Area { ink, points } => {
            let _ = writeln!(
                out,
                "<polygon class=\"{}\" points=\"{}\"/>",
                class(*ink),
                list(points)
            );
            *ink
        }
        Shape::Dots {
            ink,
            points,
            radius,
        } => {
            let _ = writeln!(out, "<g class=\"{} dots\">", class(*ink));
            for (x, y) in points {
                let _ = writeln!(
                    out,
                    "<circle cx=\"{}\" cy=\"{}\" r=\"{}\"/>",
                    short(*x),
                    short(*y),
                    short(*radius)
                );
            }
            let _ = writeln!(out, "</g>");
            *ink
        }
        Shape::Text {
            ink,
            at,
            size,
            anchor,
            text,
            halo,
        } => {
            let halo = if *halo { " halo" } else { "" };
            let anchor = match anchor {
                Anchor::Start => "",
                Anchor::Middle => " text-anchor=\"middle\"",
                Anchor::End => " text-anchor=\"end\"",
            };
            let _ = writeln!(
                out,
                "<text class=\"{}{halo}\" x=\"{}\" y=\"{}\" font-size=\"{}\"{anchor}>{}</text>",
                class(*ink),
                short(at.0),
                short(at.1),
                short(*size),
                escape(text)
            );
            *ink
        }
    }
}

fn list(points: &[(f64, f64)]) -> String {
    let all: Vec<String> = points
        .iter()
        .map(|(x, y)| format!("{},{}", short(*x), short(*y)))
        .collect();
    all.join(" ")
}

/// Hundredths of a point, without idle zeros.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// Text as markup shows it, in elements and in quoted attributes; control characters, which XML has no writing for,
/// are left out.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(12.0), "12");
        assert_eq!(short(0.126), "0.13");
        assert_eq!(short(-3.10), "-3.1");
        assert_eq!(short(100.0), "100");
    }

    #[test]
    fn names_cannot_break_the_file() {
        assert_eq!(escape("a<b & c>"), "a&lt;b &amp; c&gt;");
        assert_eq!(escape("\"'\u{1b}\0\n"), "&quot;&#39;\n");
    }
}
