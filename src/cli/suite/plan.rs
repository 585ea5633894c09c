//! A suite's plan in 80 columns.

use super::table::elided;
use crate::cli::format::{clock, count, lr, thousands, wrap};
use crate::scaling::suite::Suite;
use crate::scaling::suite::cost::gpu_hours;
use crate::scaling::suite::plan::{Plan, Row};
use crate::schedule;
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

const WIDTH: usize = 80;

pub fn json(plan: &Plan, gpu: Option<(f64, f64)>) -> Value {
    let mut value = json!(plan);
    value["total_flops"] = json!(plan.cost.total());
    value["gpu_hours"] = json!(gpu.map(|(peak, mfu)| gpu_hours(plan.cost.total(), peak, mfu)));
    value
}

pub fn words(suite: &Suite, plan: &Plan, gpu: Option<(f64, f64)>) -> String {
    let mut out = String::new();
    head(&mut out, suite, plan);
    sizes(&mut out, suite, plan);
    cost(&mut out, plan, gpu);
    for note in &plan.notes {
        item(&mut out, "note", note);
    }
    out
}

/// A label and text beside it, broken into lines.
pub fn item(out: &mut String, label: &str, text: &str) {
    let lines = wrap(text, WIDTH, "      ");
    let _ = writeln!(out, "{label:<6}{}", lines.trim_start());
}

// Writing to a String cannot fail, here and below.
fn head(out: &mut String, suite: &Suite, plan: &Plan) {
    let spec = &suite.spec;
    let grid = format!(
        "{}: {}, {}, {}",
        spec.name,
        plural(plan.sizes.len(), "size"),
        plural(plan.seeds.len(), "seed"),
        plural(plan.cells, "cell"),
    );
    let done = match plan.cells - plan.to_do {
        0 => String::new(),
        n => format!(", {n} of them finished"),
    };
    item(out, "suite", &format!("{grid}{done}; in {}", plan.out));
    let mut seen = Vec::new();
    for model in &suite.models {
        let data = &model.data;
        if seen.contains(&&data.fingerprint) {
            continue;
        }
        seen.push(&data.fingerprint);
        let text = format!(
            "{}, {} tokens, {}",
            data.section.path,
            count(data.train_tokens as f64),
            data.tokenizer
        );
        item(out, "data", &text);
    }
    let c = &spec.cooldown;
    let end = match c.final_ratio {
        0.0 => "0".to_string(),
        ratio => format!("{} of it", schedule::percent(ratio)),
    };
    let cosine = match spec.cosine {
        true => "; cosines from scratch to 10 %",
        false => "",
    };
    let text = format!(
        "trunks constant at {} of the cosine's peak; cooldowns over the last {} of each horizon, {} to {end}{cosine}",
        schedule::percent(spec.trunk_lr_ratio),
        schedule::percent(c.fraction),
        c.decay,
    );
    item(out, "lr", &text);
    for variant in &spec.variants {
        let t = &variant.tailing;
        let text = format!(
            "further cooldowns {}: over {}, {} to {}",
            variant.name,
            schedule::percent(t.fraction),
            t.decay,
            schedule::percent(t.final_ratio)
        );
        item(out, "", &text);
    }
    let seeds: Vec<String> = plan.seeds.iter().map(u64::to_string).collect();
    let text = format!(
        "{}; the cells of a size and a seed see the same batches in the same order from the same initial weights, so that their losses are compared in pairs",
        seeds.join(", ")
    );
    item(out, "seeds", &text);
}

fn sizes(out: &mut String, suite: &Suite, plan: &Plan) {
    let _ = writeln!(
        out,
        "\n  {:<11}{:>8}{:>9}{:>8}{:>8}{:>6}{:>10}{:>8}{:>10}",
        "size", "N", "peak lr", "warm-up", "batch", "to do", "steps", "FLOP", "time left"
    );
    for (row, model) in plan.sizes.iter().zip(&suite.models) {
        let _ = writeln!(
            out,
            "  {:<11}{:>8}{:>9}{:>8}{:>8}{:>6}{:>10}{:>8}{:>10}",
            elided(&row.size, 11),
            count(row.params as f64),
            lr(row.peak_lr),
            thousands(row.warmup_steps),
            batch(row.tokens_per_step),
            row.to_do,
            thousands(row.steps),
            count(row.flops),
            time(row.seconds)
        );
        let _ = writeln!(out, "{}", horizons(row, model.n()));
    }
    let _ = writeln!(
        out,
        "\n  N counts the head and not the input embedding; the peak is the cosine's; batch\n  is in tokens; horizons are in tokens (steps, tokens a parameter)\n"
    );
}

/// `ends at  250 k (244, 2.5x)  500 k (488, 5.1x)`, on as many lines as it takes, each led by the same column.
fn horizons(row: &Row, n: f64) -> String {
    let mut lines = vec!["    ends at".to_string()];
    for &steps in &row.horizons {
        let tokens = (steps * row.tokens_per_step) as f64;
        let a_parameter = match tokens / n {
            x if x < 9.95 => format!("{x:.1}x"),
            x => format!("{x:.0}x"),
        };
        let one = format!("{} ({}, {a_parameter})", count(tokens), thousands(steps));
        let line = lines.last_mut().expect("there is a first line");
        if line.chars().count() + 2 + one.chars().count() > WIDTH {
            lines.push(format!("{:13}{one}", ""));
        } else {
            line.push_str("  ");
            line.push_str(&one);
        }
    }
    lines.join("\n")
}

/// Tokens in a column of eight.
fn batch(tokens: u64) -> String {
    match tokens {
        0..1_000_000 => thousands(tokens),
        _ => count(tokens as f64),
    }
}

fn cost(out: &mut String, plan: &Plan, gpu: Option<(f64, f64)>) {
    let c = &plan.cost;
    let text = format!(
        "trunks and cooldowns {}FLOP, {:.3} of the {}FLOP of a run for every horizon: (last + cooldowns of the others) / all",
        count(c.trunks_and_cooldowns),
        plan.ratio,
        count(c.separate)
    );
    item(out, "cost", &text);
    let mut parts = Vec::new();
    if c.further > 0.0 {
        parts.push(format!("further cooldowns {}FLOP", count(c.further)));
    }
    if c.cosine > 0.0 {
        parts.push(format!("cosines {}FLOP", count(c.cosine)));
    }
    parts.push(format!("altogether {}FLOP", count(c.total())));
    item(out, "", &parts.join(", "));
    if plan.to_do > 0 {
        let threads = plural(rayon::current_num_threads(), "thread");
        let text = match plan.seconds {
            Some(s) => format!(
                "about {} left on this machine ({threads}), by a few steps of each size",
                time(Some(s))
            ),
            None => "some sizes are too large to be tried on this machine".to_string(),
        };
        item(out, "time", &text);
    }
    if let Some((peak, mfu)) = gpu {
        let text = format!(
            "{} GPU-hours altogether at {} of {:.0} TFLOP/s",
            hours(gpu_hours(c.total(), peak, mfu)),
            schedule::percent(mfu),
            peak / 1e12
        );
        item(out, "gpu", &text);
    }
}

fn hours(h: f64) -> String {
    match h {
        h if h >= 99.5 => thousands(h.round() as u64),
        h if h >= 0.995 => format!("{h:.1}"),
        h => format!("{h:.1e}"),
    }
}

fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => "–".into(),
        Some(s) if s >= 48.0 * 3600.0 => format!("{} d", thousands((s / 86400.0).round() as u64)),
        Some(s) => clock(Duration::from_secs_f64(s)),
    }
}

pub fn plural(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{} {what}s", thousands(n as u64)),
    }
}
