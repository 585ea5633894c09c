//! Akima's spline (J. ACM 17, 1970): a smooth curve through points whose shape depends on near points
//! alone, so that one odd loss does not make the whole curve swing. Porian et al. 2024 (arXiv 2406.19146)
//! take the optimal size of a budget from its minimum.

use super::power::golden;

/// Cubic pieces between knots of increasing x.
#[derive(Clone, Debug, PartialEq)]
pub struct Akima {
    knots: Vec<[f64; 2]>,
    /// At each knot.
    slopes: Vec<f64>,
}

/// Places looked at in a piece before the best one's neighbourhood is narrowed.
const COARSE: usize = 16;

impl Akima {
    /// `None` with fewer than three knots, or where their x do not increase.
    pub fn new(knots: &[[f64; 2]]) -> Option<Akima> {
        let n = knots.len();
        if n < 3 || !knots.windows(2).all(|w| w[1][0] > w[0][0]) {
            return None;
        }
        // Slopes of the pieces, with two more on each side that continue them as a parabola does.
        let inner = knots
            .windows(2)
            .map(|w| (w[1][1] - w[0][1]) / (w[1][0] - w[0][0]));
        let mut m = vec![0.0, 0.0];
        m.extend(inner);
        m[1] = 2.0 * m[2] - m[3];
        m[0] = 2.0 * m[1] - m[2];
        for _ in 0..2 {
            let last = m.len() - 1;
            m.push(2.0 * m[last] - m[last - 1]);
        }
        let largest = m.windows(2).map(|w| (w[1] - w[0]).abs());
        let negligible = 1e-9 * largest.fold(0.0, f64::max);
        let slopes = (0..n).map(|i| {
            let (left, right) = ((m[i + 1] - m[i]).abs(), (m[i + 3] - m[i + 2]).abs());
            match left + right > negligible {
                true => (right * m[i + 1] + left * m[i + 2]) / (left + right),
                false => 0.5 * (m[i + 1] + m[i + 2]),
            }
        });
        Some(Akima {
            slopes: slopes.collect(),
            knots: knots.to_vec(),
        })
    }

    /// The curve's value; beyond the ends, its end pieces continued.
    pub fn at(&self, x: f64) -> f64 {
        let after = self.knots.partition_point(|k| k[0] <= x);
        let i = after.clamp(1, self.knots.len() - 1) - 1;
        let ([x0, y0], [x1, y1]) = (self.knots[i], self.knots[i + 1]);
        let h = x1 - x0;
        let t = (x - x0) / h;
        let (s0, s1) = (self.slopes[i] * h, self.slopes[i + 1] * h);
        let rise = y1 - y0;
        y0 + t * (s0 + t * (3.0 * rise - 2.0 * s0 - s1 + t * (s0 + s1 - 2.0 * rise)))
    }

    /// The lowest point between the first and the last knot; `None` where it is one of these two.
    pub fn minimum(&self) -> Option<[f64; 2]> {
        let mut grid: Vec<f64> = Vec::new();
        for pair in self.knots.windows(2) {
            let width = (pair[1][0] - pair[0][0]) / COARSE as f64;
            grid.extend((0..COARSE).map(|i| pair[0][0] + width * i as f64));
        }
        grid.push(self.knots[self.knots.len() - 1][0]);
        let by_value = |i: &usize, j: &usize| self.at(grid[*i]).total_cmp(&self.at(grid[*j]));
        let lowest = (0..grid.len()).min_by(by_value)?;
        if lowest == 0 || lowest == grid.len() - 1 {
            return None;
        }
        let x = golden(grid[lowest - 1], grid[lowest + 1], |x| self.at(x));
        Some([x, self.at(x)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn goes_through_its_knots_and_keeps_straight_lines() {
        let knots: Vec<[f64; 2]> = (0..6).map(|i| [f64::from(i), 2.0 - f64::from(i)]).collect();
        let line = Akima::new(&knots).unwrap();
        assert!((line.at(2.7) + 0.7).abs() < 1e-12);
        assert_eq!(line.minimum(), None);
        assert_eq!(Akima::new(&knots[..2]), None);
        assert_eq!(Akima::new(&[[0.0, 1.0], [0.0, 2.0], [1.0, 3.0]]), None);
    }

    #[test]
    fn slopes_worked_out_by_hand() {
        // Pieces of slope 2, −1, 2, −1, 4, continued by 8, 5 before and 9, 14 after.
        let knots = [[0., 0.], [1., 2.], [2., 1.], [3., 3.], [4., 2.], [5., 6.]];
        let curve = Akima::new(&knots).unwrap();
        assert_eq!(curve.slopes, [3.5, 0.5, 0.5, 0.875, 0.875, 6.5]);
        for [x, y] in knots {
            assert!((curve.at(x) - y).abs() < 1e-12);
        }
        // Halfway: the mean of the ends and an eighth of the difference of their slopes.
        assert!((curve.at(0.5) - (1.0 + 3.0 / 8.0)).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn the_minimum_of_a_parabola_is_found(centre in 1.2..4.8f64, width in 0.2..3.0f64) {
            let knots: Vec<[f64; 2]> = (0..13)
                .map(|i| 0.5 * f64::from(i))
                .map(|x| [x, 1.0 + width * (x - centre).powi(2)])
                .collect();
            let [x, y] = Akima::new(&knots).unwrap().minimum().unwrap();
            prop_assert!((x - centre).abs() < 0.02, "{x} {centre}");
            prop_assert!((y - 1.0).abs() < 0.02 * width);
        }
    }
}
