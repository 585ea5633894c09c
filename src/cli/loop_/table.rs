//! What a loop found, in 80 columns.

use super::{Done, item};
use crate::campaign::Plan;
use crate::campaign::results::{Line, RESULTS_FILE};
use crate::campaign::stages::{Design, LAW_FILE, PREDICTIONS_FILE, SCHEDULE_FILE};
use crate::cli::fit::table::{number, short};
use crate::cli::format::{mean, mean_thousandths, thousands};
use crate::fit::Fit;
use crate::schedule::percent;
use serde_json::{Value, json};
use std::fmt::Write;

/// Columns of a schedule's name.
const NAME: usize = 28;

pub(super) fn law(plan: &Plan, fit: &Fit) -> String {
    let names = fit.law.parameters();
    let params = names.iter().zip(&fit.params);
    let params: Vec<String> = params
        .map(|(known, p)| format!("{} {}", known.name, number(p.value)))
        .collect();
    let noise = match fit.options.residual.is_log() {
        true => format!("{:.2} %", 100.0 * fit.noise.sd),
        false => format!("{:.4} nats", fit.noise.sd),
    };
    let points: usize = fit.curves.iter().map(|c| c.points).sum();
    let text = format!(
        "{}: {}; {points} losses from step {}, {noise} off; {}",
        fit.law.name(),
        params.join(", "),
        thousands(fit.from),
        plan.file(LAW_FILE).display()
    );
    let mut out = String::from("\n");
    out += &item("law", &text);
    for note in &fit.notes {
        out += &item("note", note);
    }
    out
}

pub(super) fn design(plan: &Plan, design: &Design) -> String {
    let steps = plan.steps();
    let share = (steps - design.falls_from) as f64 / steps as f64;
    let last = design.lrs.last().copied().unwrap_or(0.0) / plan.spec.peak();
    let falls = match design.falls_from < steps {
        true => format!(
            "falls over the last {} (from step {}) to {} of the peak",
            percent(share),
            thousands(design.falls_from),
            percent(last)
        ),
        false => "stays at the peak to the end".into(),
    };
    let text = format!(
        "{falls}, and is predicted to end at {:.4}; {}",
        design.loss,
        plan.file(SCHEDULE_FILE).display()
    );
    let mut out = item("lr", &text);
    let (drop, why) = &design.rule;
    let text = format!(
        "the whole peak falls over {} steps at the fastest ({why})",
        thousands(drop.round() as u64)
    );
    out += &item("trust", &text);
    out += &item("gain", &design.sentence);
    for warning in &design.warnings {
        out += &item("note", warning);
    }
    out
}

pub(super) fn json(plan: &Plan, done: &Done) -> Value {
    let s = &done.summary;
    json!({
        "out": plan.spec.out,
        "steps": plan.steps(),
        "law": done.fit.law.name(),
        "design": {
            "schedule": done.design.path,
            "predicted": done.design.loss,
            "falls_from": done.design.falls_from,
            "gain": done.design.sentence,
            "warnings": done.design.warnings,
        },
        "predictions": done.predictions,
        "results": done.rows,
        "summary": s,
        "failures": done.failed,
        "report": done.page,
    })
}

pub(super) fn words(plan: &Plan, done: &Done) -> String {
    let s = &done.summary;
    let mut out = String::new();
    let several = s.lines.iter().any(|l| l.peak_lr != plan.spec.peak());
    if !s.lines.is_empty() {
        rows(&mut out, &s.lines, several);
        out.push('\n');
    }
    let seeds = plan.spec.seeds.len();
    let mut text = "held-out nats a token; the last column is a schedule's loss less the designed one's, in thousandths, above 0 where the design ended lower".to_string();
    if seeds > 1 {
        text += &format!(
            "; means over {seeds} seeds, ± the standard deviation between them (differences seed by seed, on the same batches)"
        );
    }
    out += &item("mean", &text);
    let few = s.lines.iter().filter(|l| l.actual.seeds < seeds);
    let few: Vec<String> = few
        .map(|l| format!("{} has {} of {seeds} seeds", l.schedule, l.actual.seeds))
        .collect();
    if !few.is_empty() {
        let text = format!(
            "{}: its mean is over these, its place by the difference on them",
            few.join(", ")
        );
        out += &item("note", &text);
    }
    if let Some(error) = s.error {
        let rank = s.spearman.map_or(String::new(), |rho| {
            format!(
                "; rank correlation over {} schedules {rho:.3}",
                s.lines.len()
            )
        });
        let text = format!("predicted − actual of the designed run {error:+.4} nats{rank}");
        out += &item("law", &text);
    }
    if let (Some(m), Some(name)) = (&s.against_best, &s.best_baseline) {
        let lower = match m.mean < 0.0 {
            true => "the design",
            false => "the baseline",
        };
        let (spread, word) = match m.half_width() {
            None if m.mean == 0.0 => (String::new(), "a draw".into()),
            None => (
                String::new(),
                format!("{lower} ended lower, on one seed, which cannot tell"),
            ),
            Some(half) if m.mean.abs() <= half => {
                (format!(" ± {half:.4}"), "too close to tell".into())
            }
            Some(half) => (format!(" ± {half:.4}"), format!("{lower} won")),
        };
        let text = format!(
            "designed − best baseline ({name}, the best of {} on these very seeds) {:+.4}{spread} nats{}: {word}",
            s.lines.len() - 1,
            m.mean,
            if spread.is_empty() { "" } else { " (90 %)" },
        );
        out += &item("gain", &text);
    }
    for failure in &done.failed {
        out += &item("fail", &format!("{}: {}", failure.cell, failure.why));
    }
    let wrote = format!(
        "{}, {}",
        plan.file(RESULTS_FILE).display(),
        plan.file(PREDICTIONS_FILE).display()
    );
    out += &item("done", &wrote);
    if let Some(page) = &done.page {
        out += &item("page", &page.display().to_string());
    }
    out
}

// Writing to a String cannot fail.
fn rows(out: &mut String, lines: &[Line], several_peaks: bool) {
    let peak = if several_peaks { "peak" } else { "" };
    let _ = writeln!(
        out,
        "\n  {:<NAME$}{peak:>7}{:>10}{:>17}{:>16}",
        "schedule", "predicted", "actual", "over design"
    );
    for line in lines {
        let peak = match several_peaks {
            true => format!("{:e}", line.peak_lr),
            false => String::new(),
        };
        let over = line
            .over_designed
            .as_ref()
            .map_or("–".into(), mean_thousandths);
        let _ = writeln!(
            out,
            "  {:<NAME$}{peak:>7}{:>10.4}{:>17}{over:>16}",
            short(&line.schedule, NAME - 1),
            line.predicted,
            mean(&line.actual)
        );
    }
}
