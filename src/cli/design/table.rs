//! What `lehr design` says: 80 columns, every number with its unit.

use super::super::fit::table::{item, plural, seconds, short};
use super::super::format::thousands;
use super::super::invocation;
use super::{Among, Outcome};
use crate::design::trust::Comparison;
use crate::schedule::percent;
use std::fmt::Write;

/// Baselines listed; all are in --json.
const SHOWN: usize = 12;
/// Columns of a schedule's spec.
const NAME: usize = 42;

pub(super) fn words(o: &Outcome) -> String {
    let mut out = String::new();
    out.push_str(&item("law", &law(o)));
    out.push_str(&item("run", &asked(o)));
    out.push_str(&item("trust", &rule(o)));
    out.push_str(&item("found", &found(o)));
    out.push('\n');
    baselines(&mut out, o);
    out.push_str(&item("gain", &o.verdict.sentence));
    if let Some(wins) = o.verdict.wins {
        let text = format!(
            "the design is better under {} of the parameter sets drawn from the fit",
            percent(wins)
        );
        out.push_str(&item("", &text));
    }
    for warning in &o.warnings {
        out.push_str(&item("note", warning));
    }
    out.push('\n');
    out
}

fn law(o: &Outcome) -> String {
    let name = o.under.model.law.name();
    match &o.under.fit {
        None => format!("{name}, parameters given"),
        Some(fit) => format!(
            "{name}, fitted to {} up to step {}",
            plural(fit.curves.len(), "curve"),
            thousands(fit.curves.iter().map(|c| c.steps).max().unwrap_or(0))
        ),
    }
}

fn asked(o: &Outcome) -> String {
    let limits = o.limits();
    let lowest = match limits.min_lr {
        0.0 => String::new(),
        min => format!(", lowest LR {min:e}"),
    };
    let before = match &o.start {
        None => format!("warm-up {}", thousands(limits.warmup)),
        Some(start) => format!(
            "{} of them trained, {}@{}",
            thousands(start.step),
            start.run.display(),
            start.step
        ),
    };
    format!(
        "{} steps, peak {:e}{lowest}, {before}",
        thousands(limits.steps),
        limits.peak_lr
    )
}

fn rule(o: &Outcome) -> String {
    format!(
        "no step falls by more than {:.2e} of the peak, {} steps for all of it ({})",
        o.rule.largest_drop,
        thousands((1.0 / o.rule.largest_drop).round() as u64),
        o.rule.why
    )
}

fn found(o: &Outcome) -> String {
    let limits = o.limits();
    let from = o.falls_from();
    let share = (limits.steps - from) as f64 / limits.steps as f64;
    let last = o.designed.lrs.last().copied().unwrap_or_default() / limits.peak_lr;
    let ends = match o.interval {
        Some((low, high)) => format!("{:.5} ± {:.4}", o.designed.loss, (high - low) / 2.0),
        None => format!("{:.5}", o.designed.loss),
    };
    let kind = match (o.designed.family, o.among) {
        (Some(family), _) => family.to_string(),
        (None, Among::Segments) => "in few lines".into(),
        (None, _) => "free shape".into(),
    };
    format!(
        "ends at {ends} nats a token; {kind}, falls over the last {} (from step {}) to {}, {:.2e} of the peak a step at most; {} gradients, {} s",
        percent(share),
        thousands(from),
        percent(last),
        o.problem.largest_drop(&o.designed.lrs),
        o.designed.evaluations,
        seconds(o.seconds)
    )
}

// Writing to a String cannot fail.
fn baselines(out: &mut String, o: &Outcome) {
    let _ = writeln!(
        out,
        "  {:<NAME$}{:>9}   {:<20}",
        "under the same law", "predicted", "design − it, ×10⁻³"
    );
    for Comparison {
        baseline,
        difference,
        half_width,
    } in o.compared.iter().take(SHOWN)
    {
        let sure = half_width.map_or(String::new(), |h| format!(" ± {:.2}", h * 1e3));
        let tuned = if baseline.tuned { " (tuned)" } else { "" };
        let name = format!("{}{tuned}", baseline.family);
        let line = format!(
            "  {:<NAME$}{:>9.5}   {:>+7.2}{sure}",
            short(&name, NAME - 1),
            baseline.loss,
            difference * 1e3
        );
        let _ = writeln!(out, "{line}");
    }
    if let Some(more) = o.compared.len().checked_sub(SHOWN + 1) {
        let _ = writeln!(out, "  … and {} worse ones (--json lists all)", more + 1);
    }
    out.push('\n');
}

/// What to type next, where a schedule was written.
pub(super) fn next(o: &Outcome) -> String {
    let Some(path) = &o.written else {
        return String::new();
    };
    let (lehr, path, steps) = (invocation(), path.display(), o.limits().steps);
    match &o.start {
        None => format!("train it: {lehr} train --scheduler table:{path} --iterations {steps}\n"),
        Some(start) if start.branches => format!(
            "train it: {lehr} cooldown --from {}@{} --steps {} --decay-type table:{path}\n",
            start.run.display(),
            start.step,
            steps - start.step
        ),
        Some(_) => String::new(),
    }
}
