//! The best base LR by cooldown fraction.

use super::{Cell, Column, Line, Panel, Picture, Problem, Study, linspace};
use crate::design::bound::schedules::Reference;
use crate::error::Result;

const HORIZONS: [usize; 5] = [400, 1600, 6400, 25_600, 102_400];
/// The one of the table.
const SHOWN: usize = 25_600;
const DEGREE: usize = 6;

/// `ln γ*(1) − ln γ*(c)`: by how much a base LR for a cooldown of `c` lies below linear decay's.
pub fn lr(problem: &Problem) -> Result<Study> {
    let fractions = linspace(0.0, 1.0, 31);
    let mut panels = Vec::new();
    let mut fits = Vec::new();
    let mut exact = Vec::new();
    for (sqrt, label) in [(false, "linear cooldown"), (true, "1-sqrt cooldown")] {
        let mut lines = Vec::new();
        for steps in HORIZONS {
            let gamma = |c: f64| -> Result<f64> {
                // No cooldown is one step of it.
                let c = if c == 0.0 {
                    1.0 / (steps + 1) as f64
                } else {
                    c
                };
                let split = problem.split(&Reference::wsd(c, sqrt).lrs(steps, 0)?)?;
                Ok(split.best_lr().ln())
            };
            let logs = fractions
                .iter()
                .map(|&c| gamma(c))
                .collect::<Result<Vec<f64>>>()?;
            let whole = logs[logs.len() - 1];
            let points = fractions.iter().zip(&logs).map(|(c, g)| [*c, whole - g]);
            lines.push(Line {
                name: format!("T = {}", crate::schedule::count(steps as u64)),
                points: points.collect(),
            });
            if steps == SHOWN {
                fits.push((Polynomial::fit(&fractions, &logs, DEGREE), whole));
                exact.push(GAPS.map(gamma).into_iter().collect::<Result<Vec<f64>>>()?);
            }
        }
        panels.push(Panel::new(&format!("ln γ*(1) − ln γ*(c), {label}"), lines));
    }
    let rows = GAPS.iter().enumerate().map(|(i, &c)| {
        let mut row = vec![Cell::Fixed(c, 1)];
        for ((fit, whole), exact) in fits.iter().zip(&exact) {
            row.push(Cell::Fixed(whole - exact[i], 3));
            row.push(Cell::Fixed(whole - fit.at(c), 3));
        }
        row.push(Cell::Fixed((fits[0].1 - exact[0][i]).exp(), 2));
        row
    });
    Ok(Study {
        title: "The best base LR by cooldown fraction".into(),
        rows: rows.collect(),
        columns: vec![
            Column::new("fraction", "cooldown"),
            Column::new("linear", "linear"),
            Column::new("linear_fit", "fitted"),
            Column::new("sqrt", "1-sqrt"),
            Column::new("sqrt_fit", "fitted"),
            Column::new("factor", "γ*(1)/γ*(c)"),
        ],
        notes: vec![format!(
            "ln γ*(1) − ln γ*(c) at T = {}, and through a polynomial of degree {DEGREE} in c fitted to ln γ* at 31 \
             fractions, as the reference package does; it hardly depends on T",
            crate::schedule::count(SHOWN as u64)
        )],
        picture: Picture {
            x: "cooldown, share of the run".into(),
            steps: false,
            panels,
        },
    })
}

const GAPS: [f64; 8] = [0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0];

/// Least squares in polynomials that are orthogonal on the points (Forsythe 1957).
struct Polynomial {
    /// `p_{k+1} = (x − a_k)·p_k − b_k·p_{k−1}`, and the coefficient of p_k.
    terms: Vec<[f64; 3]>,
}

impl Polynomial {
    fn fit(x: &[f64], y: &[f64], degree: usize) -> Polynomial {
        let mut terms = Vec::new();
        let (mut before, mut now) = (vec![0.0; x.len()], vec![1.0; x.len()]);
        let mut norm_before = f64::INFINITY;
        for _ in 0..=degree {
            let norm: f64 = now.iter().map(|p| p * p).sum();
            let a = x.iter().zip(&now).map(|(x, p)| x * p * p).sum::<f64>() / norm;
            let b = norm / norm_before;
            let coefficient = y.iter().zip(&now).map(|(y, p)| y * p).sum::<f64>() / norm;
            terms.push([a, b, coefficient]);
            let next = x.iter().zip(now.iter().zip(&before));
            let next = next.map(|(x, (p, q))| (x - a) * p - b * q).collect();
            before = std::mem::replace(&mut now, next);
            norm_before = norm;
        }
        Polynomial { terms }
    }

    fn at(&self, x: f64) -> f64 {
        let (mut before, mut now, mut sum) = (0.0, 1.0, 0.0);
        for [a, b, coefficient] in &self.terms {
            sum += coefficient * now;
            let next = (x - a) * now - b * before;
            (before, now) = (now, next);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_polynomial_is_found_again() {
        let x = linspace(0.0, 1.0, 31);
        let f = |x: f64| 1.0 - 3.0 * x + 5.0 * x.powi(3) - 2.0 * x.powi(6);
        let y: Vec<f64> = x.iter().map(|x| f(*x)).collect();
        let fit = Polynomial::fit(&x, &y, 6);
        for x in [0.0, 0.13, 0.77, 1.0] {
            assert!((fit.at(x) - f(x)).abs() < 1e-12);
        }
    }
}
