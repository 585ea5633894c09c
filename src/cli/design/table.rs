//! What `lehr design` says: 80 columns, every number with its unit.

use super::super::fit::table::{item, plural, seconds, short};
use super::super::format::thousands;
use super::super::invocation;
use super::Outcome;
use crate::design::Among;
use crate::design::trust::{self, Comparison};
use crate::schedule::percent;
use std::fmt::Write;

/// The best that are listed; all are in --json.
const SHOWN: usize = 10;
/// Columns of a schedule's name.
const NAME: usize = 28;

pub(super) fn words(o: &Outcome) -> String {
    let mut out = String::new();
    out.push_str(&item("law", &law(o)));
    out.push_str(&item("run", &asked(o)));
    out.push_str(&item("trust", &rule(o)));
    out.push_str(&item("found", &found(o)));
    out.push('\n');
    baselines(&mut out, o);
    out.push_str(&item("gain", &o.judged.verdict.sentence));
    if let Some(wins) = o.judged.verdict.wins {
        let text = format!(
            "it ends lower under {} of the parameter sets drawn from the fit",
            percent(wins)
        );
        out.push_str(&item("", &text));
    }
    for note in o.notes() {
        out.push_str(&item("note", &note));
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
    let steps = 1.0 / o.judged.rule.largest_drop;
    format!(
        "the whole peak falls within no fewer than {} steps, {} of the run ({})",
        thousands(steps.round() as u64),
        percent(steps / o.limits().steps as f64),
        o.judged.rule.why
    )
}

fn found(o: &Outcome) -> String {
    let ends = match o.judged.interval {
        Some((low, high)) => format!("{:.5} ± {:.4}", o.judged.designed.loss, (high - low) / 2.0),
        None => format!("{:.5}", o.judged.designed.loss),
    };
    let kind = match (o.judged.designed.family, o.judged.among) {
        (Some(family), _) => family.words(),
        (None, Among::Segments) => "few straight lines".into(),
        (None, _) => "free shape".into(),
    };
    format!(
        "{ends} nats a token at the end; {} ({kind}, {} s)",
        shape(o),
        seconds(o.judged.seconds)
    )
}

/// What the LR does after the warm-up.
pub(super) fn shape(o: &Outcome) -> String {
    let limits = o.limits();
    let from = o.judged.falls_from();
    let share = (limits.steps - from) as f64 / limits.steps as f64;
    let last = o.judged.designed.lrs.last().copied().unwrap_or_default();
    match last < trust::HELD * o.judged.problem.level() {
        true => format!(
            "falls over the last {} of the run, from step {}, to {} of the peak",
            percent(share),
            thousands(from),
            percent(last / limits.peak_lr)
        ),
        false => "all but holds the LR".to_string(),
    }
}

// Writing to a String cannot fail.
fn baselines(out: &mut String, o: &Outcome) {
    let _ = writeln!(
        out,
        "  {:<NAME$}{:>9}   the design ends lower by",
        "under the same law", "ends at"
    );
    let shown = listed(&o.judged.compared);
    for c in &shown {
        let sure = c.half_width.map_or(String::new(), |h| format!(" ± {h:.5}"));
        let tuned = if c.baseline.tuned { " *" } else { "" };
        let steep = if c.within { "" } else { " †" };
        let name = format!("{}{tuned}{steep}", c.baseline.family.words());
        let line = format!(
            "  {:<NAME$}{:>9.5}   {:>8.5}{sure}",
            short(&name, NAME - 1),
            c.baseline.loss,
            0.0 - c.difference
        );
        let _ = writeln!(out, "{line}");
    }
    let left = o.judged.compared.len() - shown.len();
    if left > 0 {
        let _ = writeln!(out, "  … and {left} others (--json)");
    }
    if shown.iter().any(|c| c.baseline.tuned) {
        out.push_str("  * the best of its kind under this law and the trust rule\n");
    }
    if shown.iter().any(|c| !c.within) {
        out.push_str("  † falls faster than the trust rule lets a design: no rival\n");
    }
    out.push('\n');
}

/// The best, and of every kind that is not among them its best; not what a tuned one says too.
fn listed(compared: &[Comparison]) -> Vec<&Comparison> {
    let kind = |c: &Comparison| std::mem::discriminant(&c.baseline.family);
    let same =
        |a: &Comparison, b: &Comparison| a.baseline.family.words() == b.baseline.family.words();
    let mut shown: Vec<&Comparison> = Vec::new();
    for c in compared {
        let twice = !c.baseline.tuned && compared.iter().any(|t| t.baseline.tuned && same(t, c));
        let new = shown.iter().all(|s| kind(s) != kind(c));
        if !twice && (shown.len() < SHOWN || new) {
            shown.push(c);
        }
    }
    shown
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
