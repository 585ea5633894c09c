//! Subgradient descent itself, on `max_i |a_iᵀx − b_i|` of two unknowns.

use super::{Cell, Column, Line, Panel, Picture, Study, reference};
use crate::error::Result;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const STEPS: usize = 400;
const ROWS: usize = 20;
const BASE_LR: f64 = 0.02;
/// Of x*, from the start at 0.
const DISTANCE: f64 = 5.0;

struct Convex {
    rows: Vec<[f64; 2]>,
    targets: Vec<f64>,
}

impl Convex {
    /// Rows uniform in [−1, 1]², b = A·x*.
    fn new(seed: u64) -> Convex {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut uniform = || (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let rows: Vec<[f64; 2]> = (0..ROWS)
            .map(|_| [2.0 * uniform() - 1.0, 2.0 * uniform() - 1.0])
            .collect();
        let angle = std::f64::consts::TAU * uniform();
        let optimum = [DISTANCE * angle.cos(), DISTANCE * angle.sin()];
        let targets = rows.iter().map(|a| a[0] * optimum[0] + a[1] * optimum[1]);
        Convex {
            targets: targets.collect(),
            rows,
        }
    }

    /// Value and a subgradient.
    fn at(&self, x: [f64; 2]) -> (f64, [f64; 2]) {
        let residuals = self.rows.iter().zip(&self.targets);
        let residuals = residuals.map(|(a, b)| (a[0] * x[0] + a[1] * x[1] - b, a));
        let worst = residuals.max_by(|p, q| p.0.abs().total_cmp(&q.0.abs()));
        worst.map_or((0.0, [0.0; 2]), |(residual, a)| {
            (residual.abs(), a.map(|a| a * residual.signum()))
        })
    }
}

/// Constant, wsd, cosine at twice the LR, and linear at as much, from one start.
pub fn example() -> Result<Study> {
    let problem = Convex::new(0);
    let (mut rows, mut lines, mut lr_lines) = (Vec::new(), Vec::new(), Vec::new());
    for (name, text, base) in [
        ("constant", "constant", BASE_LR),
        ("wsd", "wsd:fraction=0.2", BASE_LR),
        ("cosine", "cosine", 2.0 * BASE_LR),
        ("linear", "linear", 2.0 * BASE_LR),
    ] {
        let lrs = reference(text, STEPS)?;
        let (mut x, mut values, mut squares) = ([0.0; 2], Vec::new(), 0.0);
        for lr in &lrs {
            let (value, slope) = problem.at(x);
            values.push(value);
            squares += slope[0] * slope[0] + slope[1] * slope[1];
            x = [0, 1].map(|i| x[i] - base * lr * slope[i]);
        }
        let last = problem.at(x).0;
        let before = values[(0.8 * STEPS as f64) as usize];
        let best = values.iter().copied().fold(last, f64::min);
        rows.push(vec![
            Cell::Text(name.into()),
            Cell::Number(base),
            Cell::Number(before),
            Cell::Number(last),
            Cell::Number(best),
            Cell::Number((squares / STEPS as f64).sqrt()),
        ]);
        let points = (1..).zip(&values).map(|(t, v)| [f64::from(t), *v]);
        lines.push(Line {
            name: name.into(),
            points: points.collect(),
        });
        lr_lines.push(super::lr_line(name, &lrs, base));
    }
    Ok(Study {
        title: format!("Subgradient descent on max |Ax − b|, {ROWS} rows, 2 unknowns, T = {STEPS}"),
        columns: vec![
            Column::new("schedule", "schedule"),
            Column::new("peak_lr", "peak LR"),
            Column::new("before_cooldown", "f at 0.8·T"),
            Column::new("last", "f at the end"),
            Column::new("best", "least f"),
            Column::new("grad_norm", "rms norm"),
        ],
        rows,
        notes: vec!["the optimum is 0: constant LR keeps the distance that its steps are long, a cooldown ends near it".into()],
        picture: Picture {
            x: "step".into(),
            steps: true,
            panels: vec![
                Panel::small("learning rate", lr_lines),
                Panel {
                    log: true,
                    ..Panel::new("f(x)", lines)
                },
            ],
        },
    })
}
