//! A report as one HTML file: no network, no scripts, light and dark, at any width, printable.
//!
//! [`Gathered`] is what there is, [`pictures`] makes charts of it, [`draw`] the page. Whatever comes from a file passes
//! [`escape`]; and the page forbids scripts and anything fetched, so that a hostile name could not do
//! harm even so.

mod gathered;
mod head;
mod live;
pub mod pictures;
mod tables;
mod text;

pub use gathered::{First, Gathered};
pub use head::summary;

use super::svg::{self, escape};
use pictures::{Drawn, Picture};
use std::fmt::Write;

/// Units across of a picture over the page's width, of one over half of it, and of both on a phone: what they measure there, so
/// that letters keep their size.
const WIDE: f64 = 1000.0;
const HALF: f64 = 480.0;
const PHONE: f64 = 366.0;

/// The whole file, for at least one run.
pub fn draw(g: &Gathered, pictures: &[Picture]) -> String {
    let mut body = head::head(g);
    body += &head::notes(g);
    body += &tables::finals(g);
    let mut ends = tables::ends(g);
    let (small, large): (Vec<&Picture>, Vec<&Picture>) = pictures.iter().partition(|p| p.small);
    for picture in large {
        match &picture.drawn {
            Drawn::Chart(_) => body += &figure(picture),
            Drawn::Heat(_) => body += &tables::heat(g, picture),
        }
        if picture.id == "law" {
            body += &std::mem::take(&mut ends);
        }
    }
    // Where there is no such picture.
    body += &ends;
    body += &live::told(g);
    body += &tables::parameters(g);
    if !small.is_empty() {
        let figures: String = small.into_iter().map(figure).collect();
        body += &format!("<div class=\"grid\">\n{figures}</div>\n");
    }
    body += &text::samples(g);
    body += &text::configurations(g);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}: Lehr report</title>\n<style>\n{}{}</style>\n\
         </head>\n<body>\n<main>\n{body}<footer>Written by Lehr {}. Losses are mean cross-entropies in nats a token.</footer>\n\
         </main>\n</body>\n</html>\n",
        escape(&g.title()),
        include_str!("style.css"),
        svg::page_style(),
        env!("CARGO_PKG_VERSION")
    )
}

/// A section with one picture: drawn at two widths, of which the page shows one.
fn figure(picture: &Picture) -> String {
    let Drawn::Chart(chart) = &picture.drawn else {
        return String::new();
    };
    // The heading says it.
    let mut chart = chart.clone();
    chart.title.clear();
    let alt = format!("{}. {}", picture.heading, picture.caption);
    let mut out = format!(
        "<section>\n<h2>{}</h2>\n<figure id=\"{}\">\n",
        escape(&picture.heading),
        picture.id
    );
    let wide = match picture.small {
        true => HALF,
        false => WIDE,
    };
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "<div class=\"wide\">{}</div>\n<div class=\"narrow\">{}</div>\n",
        svg::inline(&chart, wide, &alt),
        svg::inline(&chart, PHONE, &alt)
    );
    let _ = write!(
        out,
        "<figcaption>{}</figcaption>\n</figure>\n</section>\n",
        escape(&picture.caption)
    );
    out
}

#[cfg(test)]
mod tests;
