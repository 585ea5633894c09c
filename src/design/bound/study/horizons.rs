//! One schedule at several horizons.

use super::{Cell, Column, Line, Panel, Picture, Problem, Study, lr_line, omega_line, reference};
use crate::design::bound::{GradNorms, Iterate};
use crate::error::Result;

/// wsd and cosine at T = 200 to 600, and their best base LRs as powers of T.
pub fn multiple(problem: &Problem) -> Result<Study> {
    let mut rows = Vec::new();
    let (mut lr_lines, mut omega_lines, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for (name, text) in [("cosine", "cosine"), ("wsd", "wsd:fraction=0.2")] {
        let mut best = Vec::new();
        for steps in [200, 300, 400, 500, 600] {
            let lrs = reference(text, steps)?;
            let split = problem.split(&lrs)?;
            let gamma = split.best_lr();
            best.push([steps as f64, gamma]);
            rows.push(vec![
                Cell::Text(name.into()),
                Cell::Count(steps as u64),
                Cell::Number(gamma),
                Cell::Number(split.best()),
                Cell::Fixed(split.best() * (steps as f64).sqrt(), 4),
            ]);
            lr_lines.push(lr_line(name, &lrs, gamma));
            omega_lines.push(omega_line(problem, name, &lrs, gamma)?);
        }
        let (a, b) = power(&best);
        notes.push(format!("{name}: γ* ≈ {a:.3}·T^({b:.3})"));
    }
    Ok(Study {
        title: "Two schedules at five horizons, each at its best base LR".into(),
        columns: vec![
            Column::new("schedule", "schedule"),
            Column::new("steps", "T"),
            Column::new("gamma_star", "γ*"),
            Column::new("omega_star", "Ω*"),
            Column::new("omega_sqrt_steps", "Ω*·√T"),
        ],
        rows,
        notes,
        picture: Picture {
            x: "step".into(),
            steps: true,
            panels: vec![
                Panel::small("learning rate", lr_lines),
                Panel::new("Ω at γ*", omega_lines),
            ],
        },
    })
}

/// Least squares of `y = A·x^B`, not of logarithms: Gauss–Newton from those.
fn power(points: &[[f64; 2]]) -> (f64, f64) {
    let n = points.len() as f64;
    let mean = |f: &dyn Fn(&[f64; 2]) -> f64| points.iter().map(f).sum::<f64>() / n;
    let (x, y) = (mean(&|p| p[0].ln()), mean(&|p| p[1].ln()));
    let mut b = mean(&|p| (p[0].ln() - x) * (p[1].ln() - y)) / mean(&|p| (p[0].ln() - x).powi(2));
    let mut a = (y - b * x).exp();
    for _ in 0..20 {
        let mut normal = [0.0; 5];
        for [x, y] in points {
            let by_a = x.powf(b);
            let (value, by_b) = (a * by_a, a * by_a * x.ln());
            let terms = [
                by_a * by_a,
                by_a * by_b,
                by_b * by_b,
                by_a * (y - value),
                by_b * (y - value),
            ];
            normal
                .iter_mut()
                .zip(terms)
                .for_each(|(sum, term)| *sum += term);
        }
        let [aa, ab, bb, ra, rb] = normal;
        let determinant = aa * bb - ab * ab;
        a += (bb * ra - ab * rb) / determinant;
        b += (aa * rb - ab * ra) / determinant;
    }
    (a, b)
}

fn harmonic(n: usize) -> f64 {
    (1..=n).rev().map(|k| 1.0 / k as f64).sum()
}

/// The closed bound on Ω* of wsd with a linear cooldown from step `from` on, D = G = 1 (Theorem 9 of arXiv 2501.18965).
fn closed_form(steps: usize, from: usize) -> f64 {
    let (t, s) = (steps as f64, from as f64);
    let h = harmonic;
    let sum = 2.0 / 3.0 + (t + 2.0 * s) / (3.0 * (t + s)) + h(steps + from - 2)
        - h(steps - from + 1)
        - (t - s) * (s - 1.0) / (3.0 * (t - s + 2.0) * (t + s))
        + 1.0 / (t - s).powi(2)
        + h(steps - from - 1) / (t - s + 1.0);
    (4.0 * sum / (t + s)).sqrt()
}

/// Whether wsd's bound is free of the logarithm in constant LR's.
pub fn wsd_detail(problem: &Problem) -> Result<Study> {
    let scale = match problem.norms {
        GradNorms::Constant(norm) if problem.iterate == Iterate::Last => {
            Some(norm * problem.distance)
        }
        _ => None,
    };
    let horizons = [500, 1000, 2000, 4000, 8000];
    let (mut rows, mut lines, mut terms) = (Vec::new(), Vec::new(), Vec::new());
    let (mut along, mut squares) = (0.0, 0.0);
    for steps in horizons {
        let lrs = reference("wsd:fraction=0.2", steps)?;
        let wsd = problem.split(&lrs)?;
        let constant = problem.split(&reference("constant", steps)?)?;
        let cooldown = (0.2 * (steps + 1) as f64) as usize;
        let closed = scale.map(|scale| scale * closed_form(steps, steps + 1 - cooldown));
        // 1/√T alone.
        along += wsd.best() / (steps as f64).sqrt();
        squares += 1.0 / steps as f64;
        rows.push(vec![
            Cell::Count(steps as u64),
            Cell::Number(wsd.best_lr()),
            Cell::Number(wsd.best()),
            closed.map_or(Cell::Text("-".into()), Cell::Number),
            Cell::Number(constant.best_lr()),
            Cell::Number(constant.best()),
        ]);
        lines.push(omega_line(problem, "wsd", &lrs, wsd.best_lr())?);
        if steps == 4000 {
            terms = split_lines(problem, &lrs, wsd.best_lr())?;
        }
    }
    let a = along / squares;
    let axis: Vec<usize> = (0..200).map(|i| 10 + i * (8000 - 10) / 199).collect();
    lines.push(Line {
        name: "A/√T".into(),
        points: axis
            .iter()
            .map(|&t| [t as f64, a / (t as f64).sqrt()])
            .collect(),
    });
    if let Some(scale) = scale {
        let constant = |&t: &usize| {
            [
                t as f64,
                scale * ((1.0 + harmonic(t - 1)) / t as f64).sqrt(),
            ]
        };
        lines.push(Line {
            name: "constant LR".into(),
            points: axis.iter().map(constant).collect(),
        });
    }
    Ok(Study {
        title: "wsd with a cooldown of 0.2, in detail".into(),
        columns: vec![
            Column::new("steps", "T"),
            Column::new("gamma_star", "γ*"),
            Column::new("omega_star", "Ω*"),
            Column::new("closed_form", "closed form"),
            Column::new("constant_gamma_star", "constant: γ*"),
            Column::new("constant_omega_star", "Ω*"),
        ],
        rows,
        notes: match scale {
            Some(_) => vec![
                format!(
                    "wsd: Ω* ≈ {a:.4}/√T, without the logarithm of constant LR's √((1 + H_(T−1))/T)"
                ),
                "closed form: Theorem 9 of arXiv 2501.18965, a bound on Ω* for equal norms".into(),
            ],
            // The logarithm is that of the last iterate's bound with equal norms.
            None => vec![format!("wsd: Ω* ≈ {a:.4}/√T")],
        },
        picture: Picture {
            x: "step".into(),
            steps: true,
            panels: vec![
                Panel::new("Ω at γ*", lines),
                Panel::new("T = 4,000: the two parts of Ω", terms),
            ],
        },
    })
}

/// 𝒯₁/γ and γ𝒯₂ along a schedule.
fn split_lines(problem: &Problem, lrs: &[f64], gamma: f64) -> Result<Vec<Line>> {
    let points = super::points(lrs.len(), super::DRAWN);
    let norms = problem.norms.over(lrs.len())?;
    let curve = problem.bound(&norms).curve(lrs, &points);
    let line = |name: &str, part: &dyn Fn(usize) -> f64| Line {
        name: name.into(),
        points: points
            .iter()
            .enumerate()
            .map(|(i, t)| [*t as f64, part(i)])
            .collect(),
    };
    Ok(vec![
        line("distance", &|i| curve[i].distance / gamma),
        line("noise", &|i| gamma * curve[i].noise),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_found_again() {
        let points = [2.0, 3.0, 5.0, 9.0].map(|x: f64| [x, 0.7 * x.powf(-0.5)]);
        let (a, b) = power(&points);
        assert!((a - 0.7).abs() < 1e-12 && (b + 0.5).abs() < 1e-12);
    }

    #[test]
    fn the_closed_form_is_above_the_bound() {
        for steps in (100..5000).step_by(200) {
            let split = Problem::unit()
                .split(&reference("wsd:fraction=0.2", steps).unwrap())
                .unwrap();
            let closed = closed_form(steps, steps + 1 - (0.2 * (steps + 1) as f64) as usize);
            assert!(
                split.best() <= closed && closed < 1.3 * split.best(),
                "{steps} {} {closed}",
                split.best()
            );
        }
    }
}
