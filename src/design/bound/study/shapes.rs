//! Several schedules at one horizon.

use super::{Cell, Column, Line, Panel, Picture, Problem, Study, lr_line, omega_line, reference};
use crate::design::bound::optimal::optimal;
use crate::design::bound::{GradNorms, Iterate};
use crate::error::Result;
use crate::schedule::count;

const STEPS: usize = 400;
const SIX: [(&str, &str); 6] = [
    ("wsd-0.2", "wsd:fraction=0.2"),
    ("linear", "linear"),
    ("1/√t", "inverse-sqrt"),
    ("constant", "constant"),
    ("cosine", "cosine"),
    ("1-sqrt", "1-sqrt"),
];

fn picture(lrs: Vec<Line>, omegas: Vec<Line>, label: &str) -> Picture {
    Picture {
        x: "step".into(),
        steps: true,
        panels: vec![
            Panel::small("learning rate", lrs),
            Panel::new(label, omegas),
        ],
    }
}

/// Six schedules at T = 400, and the least Ω of all where there is one in closed form.
pub fn comparison(problem: &Problem) -> Result<Study> {
    let norms = problem.norms.over(STEPS)?;
    let mut all = Vec::new();
    for (name, text) in SIX {
        let lrs = reference(text, STEPS)?;
        let split = problem.bound(&norms).split(&lrs);
        all.push((name, lrs, split.best_lr(), split.best()));
    }
    if problem.iterate == Iterate::Last {
        let best = optimal(problem.distance, &norms)?;
        let peak = best.lrs.iter().copied().fold(0.0, f64::max);
        let unit = best.lrs.iter().map(|lr| lr / peak).collect();
        all.push(("optimal", unit, peak, best.omega));
    }
    all.sort_by(|a, b| a.3.total_cmp(&b.3));
    let least = all[0].3;
    let (mut rows, mut lrs, mut omegas) = (Vec::new(), Vec::new(), Vec::new());
    for (name, unit, gamma, omega) in &all {
        rows.push(vec![
            Cell::Text(name.to_string()),
            Cell::Number(*gamma),
            Cell::Number(*omega),
            Cell::Fixed(100.0 * (omega / least - 1.0), 2),
        ]);
        lrs.push(lr_line(name, unit, *gamma));
        omegas.push(omega_line(problem, name, unit, *gamma)?);
    }
    Ok(Study {
        title: format!("Schedules at their best base LRs, T = {STEPS}"),
        columns: vec![
            Column::new("schedule", "schedule"),
            Column::new("gamma_star", "γ*"),
            Column::new("omega_star", "Ω*"),
            Column::new("above_percent", "above the least, %"),
        ],
        rows,
        notes: Vec::new(),
        picture: picture(lrs, omegas, "Ω at γ*"),
    })
}

/// The same six under both bounds.
pub fn ablation(problem: &Problem) -> Result<Study> {
    let norms = problem.norms.over(STEPS)?;
    let min = Problem {
        iterate: Iterate::Min,
        ..problem.clone()
    };
    let (mut rows, mut lrs, mut omegas) = (Vec::new(), Vec::new(), Vec::new());
    for (name, text) in SIX {
        let unit = reference(text, STEPS)?;
        let last = problem.bound(&norms).split(&unit);
        let best = min.bound(&norms).split(&unit);
        rows.push(vec![
            Cell::Text(name.into()),
            Cell::Number(last.best_lr()),
            Cell::Number(last.best()),
            Cell::Number(best.best_lr()),
            Cell::Number(best.best()),
        ]);
        lrs.push(lr_line(name, &unit, best.best_lr()));
        omegas.push(omega_line(&min, name, &unit, best.best_lr())?);
    }
    Ok(Study {
        title: format!("The bound on the last iterate and that on the best, T = {STEPS}"),
        columns: vec![
            Column::new("schedule", "schedule"),
            Column::new("gamma_star_last", "last: γ*"),
            Column::new("omega_star_last", "Ω*"),
            Column::new("gamma_star_min", "best: γ*"),
            Column::new("omega_star_min", "Ω*"),
        ],
        rows,
        notes: vec![
            "the bound on the best iterate prefers a constant LR and sees no gain in a cooldown; the other picture, \
             with the losses of language models, is the last iterate's"
                .into(),
        ],
        picture: picture(lrs, omegas, "Ω on the best iterate, at its γ*"),
    })
}

/// Norms ∝ t^α.
pub fn grad_norm(problem: &Problem) -> Result<Study> {
    let (mut rows, mut shapes, mut omegas) = (Vec::new(), Vec::new(), Vec::new());
    for alpha in [0.0, -0.5, -1.0] {
        let problem = Problem {
            norms: GradNorms::Parametric {
                g1: 0.0,
                a1: 0.0,
                g2: 1.0,
                a2: alpha,
                b: 0.0,
            },
            ..problem.clone()
        };
        let norms = problem.norms.over(STEPS)?;
        let points = (1..).zip(&norms).map(|(t, g)| [f64::from(t), *g]);
        shapes.push(Line {
            name: format!("α = {alpha}"),
            points: points.collect(),
        });
        for (name, text) in [("cosine", "cosine"), ("wsd", "wsd:fraction=0.2")] {
            let lrs = reference(text, STEPS)?;
            let split = problem.bound(&norms).split(&lrs);
            rows.push(vec![
                Cell::Fixed(alpha, 1),
                Cell::Text(name.into()),
                Cell::Number(split.best_lr()),
                Cell::Number(split.best()),
            ]);
            let name = format!("{name}, α = {alpha}");
            omegas.push(omega_line(&problem, &name, &lrs, split.best_lr())?);
        }
        if problem.iterate == Iterate::Last {
            let best = optimal(problem.distance, &norms)?;
            let peak = best.lrs.iter().copied().fold(0.0, f64::max);
            rows.push(vec![
                Cell::Fixed(alpha, 1),
                Cell::Text("optimal".into()),
                Cell::Number(peak),
                Cell::Number(best.omega),
            ]);
        }
    }
    let log = |label: &str, lines| Panel {
        log: true,
        ..Panel::new(label, lines)
    };
    Ok(Study {
        title: format!("Gradient norms G_t = t^α, T = {STEPS}"),
        columns: vec![
            Column::new("alpha", "α"),
            Column::new("schedule", "schedule"),
            Column::new("gamma_star", "γ*"),
            Column::new("omega_star", "Ω*"),
        ],
        rows,
        notes: vec!["γ* of the optimal schedule is its highest LR".into()],
        picture: Picture {
            x: "step".into(),
            steps: true,
            panels: vec![
                Panel {
                    log: true,
                    ..Panel::small("G", shapes)
                },
                log("Ω at γ*", omegas),
            ],
        },
    })
}

/// The minimiser of Ω against tuned linear decay.
pub fn optimal_schedule(problem: &Problem) -> Result<Study> {
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for steps in [100, 400, 4000, 44_000] {
        let norms = problem.norms.over(steps)?;
        let best = optimal(problem.distance, &norms)?;
        let linear = problem.bound(&norms).split(&reference("linear", steps)?);
        let (first, last) = (best.lrs[0], best.lrs[steps - 1]);
        rows.push(vec![
            Cell::Count(steps as u64),
            Cell::Number(best.omega),
            Cell::Number(linear.best()),
            Cell::Fixed(100.0 * (linear.best() / best.omega - 1.0), 3),
            Cell::Number(first),
            Cell::Number(linear.best_lr()),
            Cell::Text(format!("{last:.3e}")),
        ]);
        let peak = best.lrs.iter().copied().fold(0.0, f64::max);
        let mut line = lr_line(
            &format!("T = {}", count(steps as u64)),
            &best.lrs,
            1.0 / peak,
        );
        line.points.iter_mut().for_each(|p| p[0] /= steps as f64);
        lines.push(line);
    }
    lines.push(Line {
        name: "linear".into(),
        points: vec![[0.0, 1.0], [1.0, 0.0]],
    });
    Ok(Study {
        title: "The schedule with the least Ω".into(),
        columns: vec![
            Column::new("steps", "T"),
            Column::new("omega", "Ω"),
            Column::new("linear_omega", "linear: Ω*"),
            Column::new("gap_percent", "above, %"),
            Column::new("lr_first", "first η"),
            Column::new("linear_gamma_star", "linear: γ*"),
            Column::new("lr_last", "last η"),
        ],
        rows,
        notes: vec!["with equal norms linear decay is the limit".into()],
        picture: Picture {
            x: "share of the run".into(),
            steps: false,
            panels: vec![Panel::new("LR over its highest", lines)],
        },
    })
}
