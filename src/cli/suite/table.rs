//! What came out of a suite, in 80 columns.

use super::plan::{item, plural};
use crate::cli::format::{count, mean, mean_thousandths, thousands};
use crate::scaling::suite::Suite;
use crate::scaling::suite::cost::Cost;
use crate::scaling::suite::failures::Failure;
use crate::scaling::suite::missing::{Missing, few};
use crate::scaling::suite::results::{Finished, Pair, RESULTS_FILE};
use serde_json::{Value, json};
use std::fmt::Write;

/// Missing cells that are named; the others are counted.
const NAMED: usize = 5;

/// What there is of a suite, and what is lacking.
pub struct Outcomes {
    pub rows: Vec<Finished>,
    pub pairs: Vec<Pair>,
    pub spent: Cost,
    pub missing: Vec<Missing>,
}

pub fn json(suite: &Suite, outcomes: &Outcomes, failures: &[Failure]) -> Value {
    let Outcomes {
        rows,
        pairs,
        spent,
        missing,
    } = outcomes;
    json!({
        "name": suite.spec.name,
        "out": suite.spec.out,
        "cells": suite.cells.len(),
        "finished": rows.len(),
        "results": rows,
        "pairs": pairs,
        "spent": spent,
        "spent_ratio": (spent.separate > 0.0).then(|| spent.ratio()),
        "formula_ratio": Cost::formula(suite),
        "missing": missing,
        "failures": failures,
    })
}

pub fn words(suite: &Suite, outcomes: &Outcomes, failures: &[Failure]) -> String {
    let Outcomes {
        rows,
        pairs,
        spent,
        missing,
    } = outcomes;
    let mut out = String::new();
    if !pairs.is_empty() {
        losses(&mut out, suite, pairs);
    }
    let all = suite.cells.len();
    let whole = rows.len() == all;
    if whole {
        let text = format!(
            "{}FLOP in trunks and cooldowns by the steps logged, {:.4} of separate runs; the formula (last + cooldowns of the others) / all gives {:.4}",
            count(spent.trunks_and_cooldowns),
            spent.ratio(),
            Cost::formula(suite)
        );
        item(&mut out, "spent", &text);
        let parts = [
            ("further cooldowns", spent.further),
            ("cosines", spent.cosine),
        ];
        let parts = parts.iter().filter(|(_, flops)| *flops > 0.0);
        let parts: Vec<String> = parts
            .map(|(what, flops)| format!("{what} {}FLOP", count(*flops)))
            .collect();
        if !parts.is_empty() {
            item(&mut out, "", &parts.join(", "));
        }
    }
    for failure in failures {
        item(
            &mut out,
            "fail",
            &format!("{}: {}", failure.cell, failure.why),
        );
    }
    let path = suite.spec.out.join(RESULTS_FILE);
    let text = format!(
        "{} of {all} cells have results, in {}",
        rows.len(),
        path.display()
    );
    item(&mut out, "done", &text);
    if !missing.is_empty() {
        let named: Vec<String> = missing.iter().map(Missing::words).collect();
        item(&mut out, "left", &few(&named, NAMED));
    }
    let lehr = crate::cli::invocation();
    let next = match whole {
        true => format!(
            "{lehr} scaling {} --kind cooldown",
            suite.spec.out.display()
        ),
        false => format!(
            "{lehr} suite {} --yes\n      (on a cluster: submit.sh of its jobs once more)",
            suite.spec.path.display()
        ),
    };
    let _ = writeln!(out, "next  {next}");
    out
}

// Writing to a String cannot fail.
fn losses(out: &mut String, suite: &Suite, pairs: &[Pair]) {
    let against = pairs[0].against;
    let beside = pairs.iter().any(|p| p.other.is_some());
    let _ = write!(
        out,
        "\n  {:<17}{:>8}{:>9}{:>18}",
        "held-out loss", "tokens", "steps", "cooldown"
    );
    if beside {
        let _ = write!(out, "{against:>9}{:>17}", "difference");
    }
    out.push('\n');
    for pair in pairs {
        let variant = pair.kind.strip_prefix("cooldown-");
        let label = match variant {
            None => pair.size.clone(),
            Some(name) => format!("{}, {name}", pair.size),
        };
        let label = elided(&label, 17);
        let _ = write!(
            out,
            "  {label:<17}{:>8}{:>9}{:>18}",
            count(pair.tokens as f64),
            thousands(pair.steps),
            mean(&pair.loss)
        );
        if let Some(other) = &pair.other {
            let difference = pair.difference.as_ref().map(mean_thousandths);
            let _ = write!(
                out,
                "{:>9}{:>17}",
                format!("{:.4}", other.mean),
                difference.unwrap_or_else(|| "–".into())
            );
        }
        out.push('\n');
    }
    let seeds = plural(suite.spec.seeds.len(), "seed");
    let spread = match suite.spec.seeds.len() {
        1 => String::new(),
        _ => "; ± is the standard deviation between seeds".to_string(),
    };
    let paired = match beside {
        true => {
            ". Differences are in thousandths of a nat, paired: both sides saw the same batches from the same initial weights"
        }
        false => "",
    };
    let _ = writeln!(out);
    item(
        out,
        "mean",
        &format!("nats a token over {seeds}{spread}{paired}"),
    );
}

/// `text` in so many columns, cut in the middle: names of variants differ at their ends.
pub fn elided(text: &str, room: usize) -> String {
    let all: Vec<char> = text.chars().collect();
    if all.len() <= room {
        return text.to_string();
    }
    let end = room.saturating_sub(1).div_ceil(2);
    let start: String = all[..room.saturating_sub(1 + end)].iter().collect();
    let rest: String = all[all.len() - end..].iter().collect();
    format!("{start}…{rest}")
}

/// A name and what is said of it in so many columns: the name gives way first, down to a few letters.
pub fn titled(name: &str, rest: &str, room: usize) -> String {
    const LEAST: usize = 9;
    let spare = room.saturating_sub(rest.chars().count());
    elided(&format!("{}{rest}", elided(name, spare.max(LEAST))), room)
}
