//! How long to anneal: cooldowns within the run, cosines beyond it.

use super::{Cell, Column, Line, Panel, Picture, Problem, Study, linspace, lr_line, omega_line};
use crate::design::bound::schedules::Reference;
use crate::error::Result;

const STEPS: usize = 400;
/// Base LRs that are held fixed, in units of D/G: those of the package, whose D and G are 1. Linear decay's best is .0496.
const FIXED: [f64; 4] = [0.02, 0.04, 0.05, 0.07];

/// D/G, with the root mean square of norms that differ from step to step.
fn unit_lr(problem: &Problem) -> Result<f64> {
    let norms = problem.norms.over(STEPS)?;
    let squares: f64 = norms.iter().map(|norm| norm * norm).sum();
    Ok(problem.distance / (squares / STEPS as f64).sqrt())
}

/// Ω by cooldown fraction at T = 400: tuned, and at four base LRs ([`FIXED`]).
pub fn length(problem: &Problem) -> Result<Study> {
    let unit = unit_lr(problem)?;
    let of_unit = match unit == 1.0 {
        true => "",
        false => "·D/G",
    };
    let fractions = linspace(1.0 / STEPS as f64, STEPS as f64 / (STEPS + 1) as f64, 10);
    let mut rows = Vec::new();
    let mut lrs = vec![Vec::new(); 2];
    let mut omegas = vec![Vec::new(); FIXED.len() + 1];
    for &fraction in &fractions {
        let split = problem.split(&Reference::wsd(fraction, false).lrs(STEPS, 0)?)?;
        let mut row = vec![
            Cell::Fixed(fraction, 3),
            Cell::Number(split.best_lr()),
            Cell::Number(split.best()),
        ];
        lrs[0].push([fraction, split.best_lr()]);
        omegas[0].push([fraction, split.best()]);
        for (i, &gamma) in FIXED.iter().enumerate() {
            let omega = split.at(gamma * unit);
            row.push(Cell::Number(omega));
            omegas[i + 1].push([fraction, omega]);
        }
        rows.push(row);
    }
    let lowest = |points: &[[f64; 2]]| -> f64 {
        let least = points.iter().min_by(|a, b| a[1].total_cmp(&b[1]));
        least.map_or(f64::NAN, |p| p[0])
    };
    let fixed: Vec<String> = FIXED
        .iter()
        .zip(&omegas[1..])
        .map(|(gamma, points)| format!("{:.2} at γ = {gamma}{of_unit}", lowest(points)))
        .collect();
    let mut notes = vec![
        format!(
            "at the best base LR of each, the best of these cooldowns is {:.2} of the run",
            lowest(&omegas[0])
        ),
        format!("at a fixed base LR it is {}", fixed.join(", ")),
    ];
    if unit != 1.0 {
        notes.push(format!("D/G is {unit:.4e}"));
    }
    let mut columns = vec![
        Column::new("fraction", "cooldown"),
        Column::new("gamma_star", "γ*"),
        Column::new("omega_star", "Ω*"),
    ];
    let head = |g: f64| match unit == 1.0 {
        true => format!("Ω, γ={g}"),
        false => format!("Ω, {g}{of_unit}"),
    };
    columns.extend(FIXED.map(|g| Column::new(format!("omega_at_{g}"), head(g))));
    let names = FIXED.map(|g| format!("γ = {g}{of_unit}"));
    let names = std::iter::once("γ*".to_string()).chain(names);
    let line = |(name, points): (String, Vec<[f64; 2]>)| Line { name, points };
    let omegas: Vec<Line> = names.zip(omegas).map(line).collect();
    let tuned = Line {
        name: "γ*".into(),
        points: lrs.swap_remove(0),
    };
    Ok(Study {
        title: format!("Cooldown length, T = {STEPS}"),
        columns,
        rows,
        notes,
        picture: Picture {
            x: "cooldown, share of the run".into(),
            steps: false,
            panels: vec![Panel::small("γ*", vec![tuned]), Panel::new("Ω", omegas)],
        },
    })
}

/// Cosines to 0.1 whose half-period is a multiple of the run.
pub fn cosine_cycle(problem: &Problem) -> Result<Study> {
    let shape: Reference = "cosine:final=0.1".parse()?;
    let cycles = [1.0, 1.5, 2.0, 4.0, 5.0];
    let (mut rows, mut lr_lines, mut omega_lines) = (Vec::new(), Vec::new(), Vec::new());
    let mut first = None;
    for steps in [400, 800, 1200] {
        let mut gamma = None;
        for cycle in cycles {
            let mut lrs = shape.built((cycle * (steps + 1) as f64) as usize, 0)?;
            lrs.truncate(steps);
            let split = problem.split(&lrs)?;
            let gamma = *gamma.get_or_insert(split.best_lr());
            let excess = split.at(gamma) / *first.get_or_insert(split.best()) - 1.0;
            if cycle == 1.0 {
                first = Some(split.best());
            }
            let excess = if cycle == 1.0 { 0.0 } else { excess };
            rows.push(vec![
                Cell::Count(steps as u64),
                Cell::Fixed(cycle, 1),
                Cell::Number(split.best_lr()),
                Cell::Number(split.best()),
                Cell::Number(split.at(gamma)),
                Cell::Fixed(100.0 * excess, 1),
            ]);
            if steps == STEPS {
                let name = format!("{cycle} runs");
                lr_lines.push(lr_line(&name, &lrs, gamma));
                omega_lines.push(omega_line(problem, &name, &lrs, gamma)?);
            }
        }
    }
    Ok(Study {
        title: "Cosines to 0.1 that are longer than the run".into(),
        columns: vec![
            Column::new("steps", "T"),
            Column::new("cycle", "cycle"),
            Column::new("gamma_star", "γ*"),
            Column::new("omega_star", "Ω*"),
            Column::new("omega", "Ω, γ*(1)"),
            Column::new("excess_percent", "excess, %"),
        ],
        rows,
        notes: vec![
            "cycle is the cosine's length over the run's; Ω, γ*(1) is at the best base LR of the cosine that fits"
                .into(),
        ],
        picture: Picture {
            x: "step".into(),
            steps: true,
            panels: vec![
                Panel::small("learning rate", lr_lines),
                Panel::new("Ω at γ*(1)", omega_lines),
            ],
        },
    })
}
