//! R² of every law on every run.

use super::super::gathered::Gathered;
use super::{Drawn, Picture, short};
use crate::report::font;
use crate::report::scene::{Anchor, Ink, Scene, Shape};

const CELL: (f64, f64) = (74.0, 26.0);
const TEXT: f64 = 12.0;
/// Laws in a row of columns; more would make the picture wider than a page.
const MOST_LAWS: usize = 8;
const MOST_RUNS: usize = 60;

/// 0 to 5: how dark a cell is. Chosen by 1 − R², which halves of a decade tell apart: .9 and .99 differ, .990 and .991
/// do not.
pub fn shade(r2: f64) -> usize {
    [0.5, 0.9, 0.97, 0.99, 0.997]
        .iter()
        .filter(|least| r2 >= **least)
        .count()
}

/// Of one law or of one run, the table of predicted ends says it already.
pub(super) fn r2(g: &Gathered) -> Option<Picture> {
    let judged = g.under.iter().flatten().flatten().count();
    if judged < 2 || g.laws.len() < 2 || g.single() {
        return None;
    }
    Some(Picture {
        id: "r2",
        heading: "R² by law and run".into(),
        caption: "The share of a run’s variation that each law accounts for, over the points from its first fitted step on; \
                  darker is better."
            .into(),
        drawn: Drawn::Heat(scene(g)),
        small: false,
    })
}

fn scene(g: &Gathered) -> Scene {
    let laws = &g.laws[..g.laws.len().min(MOST_LAWS)];
    let runs = &g.runs[..g.runs.len().min(MOST_RUNS)];
    let names = runs.iter().map(|r| font::width(&short(&r.name), TEXT));
    let left = names.fold(60.0, f64::max) + 28.0;
    let mut shapes = Vec::new();
    let mut text = |ink, at, size, anchor, text: String| {
        shapes.push(Shape::Text {
            ink,
            at,
            size,
            anchor,
            text,
            halo: false,
        });
    };
    let title = "R² by law and run";
    text(Ink::Text, (14.0, 26.0), 16.0, Anchor::Start, title.into());
    let top = 64.0;
    for (i, law) in laws.iter().enumerate() {
        let middle = left + (i as f64 + 0.5) * CELL.0;
        let label: String = law.label.chars().take(10).collect();
        text(Ink::Muted, (middle, top - 8.0), TEXT, Anchor::Middle, label);
    }
    let mut squares = Vec::new();
    for (j, run) in runs.iter().enumerate() {
        let (y, base) = (top + j as f64 * CELL.1, top + (j as f64 + 0.66) * CELL.1);
        text(
            Ink::Text,
            (left - 10.0, base),
            TEXT,
            Anchor::End,
            short(&run.name),
        );
        for (i, row) in g.under[..laws.len()].iter().enumerate() {
            let x = left + i as f64 * CELL.0;
            let Some(under) = &row[j] else {
                text(
                    Ink::Muted,
                    (x + CELL.0 / 2.0, base),
                    TEXT,
                    Anchor::Middle,
                    "–".into(),
                );
                continue;
            };
            let at = (x + CELL.0 / 2.0, base);
            let value = written(under.scores.r2);
            text(Ink::Text, at, TEXT, Anchor::Middle, value);
            // Areas are faint: as many above one another as the cell is dark.
            for _ in 0..shade(under.scores.r2) {
                let (right, bottom) = (x + CELL.0 - 2.0, y + CELL.1 - 2.0);
                squares.push(Shape::Area {
                    ink: Ink::Key(0),
                    points: vec![(x, y), (right, y), (right, bottom), (x, bottom)],
                });
            }
        }
    }
    squares.extend(shapes);
    Scene {
        width: (left + laws.len() as f64 * CELL.0 + 14.0).max(260.0).ceil(),
        height: (top + runs.len() as f64 * CELL.1 + 14.0).ceil(),
        title: title.into(),
        shapes: squares,
    }
}

/// `0.9981`, with a true minus sign.
pub fn written(r2: f64) -> String {
    match r2 {
        r if r < -99.0 => "< −99".into(),
        r if r < 0.0 => format!("−{:.3}", -r),
        r => format!("{r:.4}"),
    }
}
