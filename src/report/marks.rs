//! The words on marks, the upright rules of a panel.

use super::chart::{Data, Series};
use super::font;
use super::layout::OTHER_FONTS;
use super::place::{Place, Window};
use super::scene::{Anchor, Ink, Shape};

const SIZE: f64 = 11.0;
/// From a rule to its words.
const BESIDE: f64 = 4.0;
/// Neighbours stand one below the other, in as many rows.
const ROWS: usize = 4;

/// At the top right of each rule, or left of it near the right edge. Words that find no room are left to the text around the
/// picture.
pub(super) fn words(series: &[&Series], x: &Place, window: &Window) -> Vec<Shape> {
    let mut marks: Vec<(f64, usize, &str)> = Vec::new();
    for series in series {
        if let Data::Marks(all) = &series.data {
            marks.extend(all.iter().map(|m| (x.at(m.0), series.key, &m.1[..])));
        }
    }
    marks.retain(|m| (window.left..=window.right).contains(&m.0));
    marks.sort_by(|a, b| a.0.total_cmp(&b.0));
    // How far each row is taken.
    let mut taken = [f64::NEG_INFINITY; ROWS];
    let mut shapes = Vec::new();
    for (at, key, words) in marks {
        let width = font::width(words, SIZE) * OTHER_FONTS;
        let right = at + BESIDE + width <= window.right;
        let left = match right {
            true => at + BESIDE,
            false => at - BESIDE - width,
        };
        let Some(row) = (0..ROWS).find(|row| taken[*row] < left) else {
            continue;
        };
        taken[row] = left + width + 6.0;
        let (anchor, from) = match right {
            true => (Anchor::Start, left),
            false => (Anchor::End, at - BESIDE),
        };
        shapes.push(Shape::Text {
            ink: Ink::Key(key),
            at: (from, window.top + 12.0 + row as f64 * (SIZE + 3.0)),
            size: SIZE,
            anchor,
            text: words.to_string(),
            halo: true,
        });
    }
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Scale;

    #[test]
    fn words_stay_inside_and_make_room_for_one_another() {
        let window = Window {
            left: 50.0,
            right: 350.0,
            top: 0.0,
            bottom: 100.0,
        };
        let x = Place::new(Scale::Linear, (0.0, 99.0), window.left, window.right);
        let marks = [50.0, 51.0, 52.0, 99.0, 500.0].map(|at| (at, "redesigned".to_string()));
        let series = Series::marks(3, marks.into());
        let placed: Vec<(f64, f64, Anchor)> = words(&[&series], &x, &window)
            .into_iter()
            .map(|shape| match shape {
                Shape::Text { at, anchor, .. } => (at.0, at.1, anchor),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(placed.len(), 4, "what lies outside the axis is not drawn");
        let heights: Vec<f64> = placed.iter().map(|p| p.1).collect();
        assert_eq!(heights, [12.0, 26.0, 40.0, 12.0]);
        assert_eq!((placed[3].0, placed[3].2), (346.0, Anchor::End));
    }
}
