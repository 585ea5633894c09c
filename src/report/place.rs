//! From values to places on a picture: mapping, clipping, thinning.

use super::chart::Scale;

/// Maps a range of values to a range of places; `to` may lie before `from`, as where y points down.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Place {
    /// `low < high`, both finite, both positive on a log scale.
    pub fn new(scale: Scale, (low, high): (f64, f64), from: f64, to: f64) -> Place {
        Place {
            scale,
            low,
            high,
            from,
            to,
        }
    }

    /// NaN for values that have no place (not positive on a log scale).
    pub fn at(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        self.from + (self.to - self.from) * share
    }

    /// The value at a place.
    pub fn back(&self, place: f64) -> f64 {
        let share = (place - self.from) / (self.to - self.from);
        match self.scale {
            Scale::Linear => self.low + (self.high - self.low) * share,
            Scale::Log => self.low * (self.high / self.low).powf(share),
        }
    }
}

/// A rectangle; `top < bottom`, y points down.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

type Point = (f64, f64);

impl Window {
    pub fn holds(&self, (x, y): Point) -> bool {
        const EDGE: f64 = 1e-6;
        (self.left - EDGE..=self.right + EDGE).contains(&x)
            && (self.top - EDGE..=self.bottom + EDGE).contains(&y)
    }

    /// The parts of a line inside the window. Points that are not finite interrupt it.
    pub fn clip(&self, points: &[Point]) -> Vec<Vec<Point>> {
        let mut parts: Vec<Vec<Point>> = Vec::new();
        let mut open = false;
        for pair in points.windows(2) {
            match self.clip_segment(pair[0], pair[1]) {
                Some((a, b)) => {
                    // A part goes on where the one before it ended inside.
                    match parts.last_mut() {
                        Some(part) if open && part.last() == Some(&a) => part.push(b),
                        _ => parts.push(vec![a, b]),
                    }
                    open = b == pair[1];
                }
                None => open = false,
            }
        }
        if points.len() == 1 && self.holds(points[0]) {
            parts.push(vec![points[0], points[0]]);
        }
        parts
    }

    /// Liang and Barsky 1984.
    fn clip_segment(&self, a: Point, b: Point) -> Option<(Point, Point)> {
        if ![a.0, a.1, b.0, b.1].iter().all(|v| v.is_finite()) {
            return None;
        }
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let (mut enter, mut leave) = (0.0f64, 1.0f64);
        for (p, q) in [
            (-dx, a.0 - self.left),
            (dx, self.right - a.0),
            (-dy, a.1 - self.top),
            (dy, self.bottom - a.1),
        ] {
            if p == 0.0 {
                if q < 0.0 {
                    return None;
                }
            } else if p < 0.0 {
                enter = enter.max(q / p);
            } else {
                leave = leave.min(q / p);
            }
        }
        if enter > leave {
            return None;
        }
        let at = |t: f64| (a.0 + t * dx, a.1 + t * dy);
        let start = if enter > 0.0 { at(enter) } else { a };
        let end = if leave < 1.0 { at(leave) } else { b };
        Some((start, end))
    }
}

/// The same line with at most four points in each column of one unit: its first, lowest, highest and
/// last there, so that no spike is lost. Points that are not finite stay.
pub fn thin(points: &[Point]) -> Vec<Point> {
    let mut out = Vec::with_capacity(points.len().min(8192));
    let mut rest = points;
    while let Some(first) = rest.first() {
        let column = first.0.floor();
        let whole = |p: &Point| p.0.is_finite() && p.1.is_finite() && p.0.floor() == column;
        let here = rest.iter().take_while(|p| whole(p)).count();
        if here <= 4 {
            out.extend_from_slice(&rest[..here.max(1)]);
            rest = &rest[here.max(1)..];
            continue;
        }
        let by_height = |a: &usize, b: &usize| rest[*a].1.total_cmp(&rest[*b].1);
        let lowest = (0..here).min_by(by_height).unwrap_or(0);
        let highest = (0..here).max_by(by_height).unwrap_or(0);
        let mut chosen = [0, lowest, highest, here - 1];
        chosen.sort_unstable();
        let mut before = usize::MAX;
        for i in chosen {
            if i != before {
                out.push(rest[i]);
            }
            before = i;
        }
        rest = &rest[here..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: Window = Window {
        left: 0.0,
        right: 1.0,
        top: 0.0,
        bottom: 1.0,
    };

    #[test]
    fn places_and_back() {
        let y = Place::new(Scale::Linear, (2.0, 4.0), 100.0, 0.0);
        assert_eq!((y.at(2.0), y.at(3.0), y.at(4.0)), (100.0, 50.0, 0.0));
        assert_eq!(y.back(50.0), 3.0);
        let x = Place::new(Scale::Log, (1.0, 100.0), 0.0, 2.0);
        assert!((x.at(10.0) - 1.0).abs() < 1e-12 && x.at(-1.0).is_nan());
        assert!((x.back(1.0) - 10.0).abs() < 1e-12);
    }

    #[test]
    fn lines_are_cut_at_the_window() {
        let parts = UNIT.clip(&[(-1.0, 0.5), (0.5, 0.5), (0.5, 2.0), (0.6, 2.0), (0.6, 0.2)]);
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0], [(0.0, 0.5), (0.5, 0.5), (0.5, 1.0)]);
        assert_eq!(parts[1], [(0.6, 1.0), (0.6, 0.2)]);
        let gap = UNIT.clip(&[(0.1, 0.1), (0.2, f64::NAN), (0.3, 0.3), (0.4, 0.4)]);
        assert_eq!(gap, [[(0.3, 0.3), (0.4, 0.4)]]);
        assert!(UNIT.clip(&[(2.0, 2.0), (3.0, 0.5)]).is_empty());
    }

    #[test]
    fn thinning_keeps_spikes_and_ends() {
        let mut line: Vec<Point> = (0..1000).map(|i| (f64::from(i) / 100.0, 1.0)).collect();
        line[555].1 = 9.0;
        let thinned = thin(&line);
        assert!(thinned.len() <= 40, "{}", thinned.len());
        assert!(thinned.contains(&line[555]));
        assert_eq!((thinned[0], *thinned.last().unwrap()), (line[0], line[999]));
        let broken = thin(&[(0.1, f64::NAN), (0.2, 1.0)]);
        assert_eq!(broken.len(), 2);
    }
}
