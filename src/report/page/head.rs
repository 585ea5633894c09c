//! The head of a report: what, how long, how it ended.

use super::Gathered;
use crate::report::run::Run;
use crate::report::run::derived::{Finals, scheduled};
use crate::report::run::told::DOES_NOT_DESCRIBE;
use crate::report::svg::escape;
use crate::report::words::{clock, count, thousands};
use std::fmt::Write;
use std::time::Duration;

/// Title, a sentence or two, the schedule in little, and the numbers that are asked for first.
pub(super) fn head(g: &Gathered) -> String {
    let mut out =
        String::from("<header>\n<div class=\"head\">\n<div>\n<p class=\"kind\">Lehr report</p>\n");
    let _ = writeln!(out, "<h1>{}</h1>", escape(&g.title()));
    for sentence in summary(g) {
        let _ = writeln!(out, "<p class=\"lead\">{}</p>", escape(&sentence));
    }
    out += "</div>\n";
    if let [run] = &g.runs[..] {
        out += &spark(run);
    }
    out += "</div>\n";
    if let [finals] = &g.finals[..] {
        out += &facts(&g.runs[0], finals);
    }
    out + "</header>\n"
}

/// What there is to say in words, as plain text.
pub fn summary(g: &Gathered) -> Vec<String> {
    let mut out = Vec::new();
    match &g.runs[..] {
        [run] => out.push(what(run)),
        runs => {
            let ended =
                |(run, finals): (&Run, &Finals)| Some((finals.held_out?.1, run.name.clone()));
            let ends = runs.iter().zip(&g.finals).filter_map(ended);
            let all: Vec<(f64, String)> = ends.filter(|e| e.0.is_finite()).collect();
            if let Some(best) = all.iter().min_by(|a, b| a.0.total_cmp(&b.0)) {
                out.push(format!(
                    "Of {} runs the lowest held-out loss is {:.4} nats a token, of {}.",
                    runs.len(),
                    best.0,
                    best.1
                ));
            }
        }
    }
    if let (Some(first), [run]) = (g.first_law(), &g.runs[..]) {
        let (law, under) = (first.law, first.under[0].1);
        let end = under.end();
        let (loss, (low, high)) = (end.loss, end.measured);
        let mut said = format!(
            "{} puts its {} loss at the end at {loss:.4} (90 % of what is measured, noise included: {low:.4} to {high:.4})",
            law.label,
            law.of()
        );
        let at_end = under
            .measured_end(law, run.horizon())
            .filter(|_| run.finished());
        if let Some(end) = at_end {
            let off = end - loss;
            let _ = write!(
                said,
                "; measured {:.4}, {:.4} {} and {} that interval, {:.1} σ of one point’s noise",
                end,
                off.abs(),
                if off < 0.0 { "lower" } else { "higher" },
                match (low..=high).contains(&end) {
                    true => "inside",
                    false => "outside",
                },
                off.abs() / law.noise(loss)
            );
        }
        out.push(said + ".");
    }
    if let [run] = &g.runs[..] {
        out.extend(foreseen(run, &g.finals[0]));
    }
    out
}

/// The newest forecast of a run that goes on, or how well the one at half time foresaw the end.
fn foreseen(run: &Run, finals: &Finals) -> Option<String> {
    let told = || run.forecasts.iter().rev().filter(|f| f.loss.is_finite());
    if run.finished() {
        let f = told().find(|f| 2 * f.step <= run.horizon())?;
        // A law that did not describe the run then foresaw nothing.
        if !f.describes {
            return None;
        }
        let off = finals.end() - f.loss;
        let was = match off.is_finite() {
            true => format!(
                "it was {:.4}, {:.4} {}",
                finals.end(),
                off.abs(),
                if off < 0.0 { "lower" } else { "higher" }
            ),
            false => "the loss there was not finite".into(),
        };
        return Some(format!(
            "At step {}, the live law foresaw an end at {}; {was}.",
            thousands(f.step),
            f.words()
        ));
    }
    let f = told().next()?;
    let mut said = format!(
        "At step {}, the live law foresees an end at {}",
        thousands(f.step),
        f.words()
    );
    if !f.describes {
        let _ = write!(said, ", {DOES_NOT_DESCRIBE}");
    }
    if let Some(c) = f.best_cooldown() {
        let _ = write!(
            said,
            "; cooling down from step {} over {} ends at {:.4}",
            thousands(f.fitted_to),
            c.over(),
            c.loss
        );
    }
    Some(said + ".")
}

fn what(run: &Run) -> String {
    let f = &run.facts;
    let mut parts = Vec::new();
    if let Some(model) = &f.model {
        let size = f
            .parameters
            .map(|p| format!(", {} parameters", count(p).trim()));
        parts.push(format!("{model}{}", size.unwrap_or_default()));
    }
    if let Some(data) = &f.data {
        parts.push(format!("on {data}"));
    }
    if let Some(schedule) = &f.schedule {
        parts.push(format!("under {}", schedule.describe()));
    }
    if let Some((step, _)) = &run.redesigned {
        parts.push(format!("designed anew at step {}", thousands(*step)));
    }
    if let Some(seed) = f.seed {
        parts.push(format!("seed {seed}"));
    }
    if let Some(machine) = &f.machine {
        parts.push(machine.clone());
    }
    if let Some((trunk, at)) = &f.branched_from {
        let trunk = trunk.rsplit('/').next().unwrap_or(trunk);
        parts.push(format!("branched from {trunk} at step {}", thousands(*at)));
    }
    let stands = match (run.finished(), f.steps) {
        (true, _) => "Finished".to_string(),
        (_, Some(_)) if run.stopped().is_some() => format!(
            "Stopped after step {} of {}",
            thousands(run.last_step()),
            thousands(run.horizon())
        ),
        (_, None) => {
            let stands = match run.stopped() {
                Some(_) => "Stopped after step",
                None => "Not finished, at step",
            };
            let at = thousands(run.last_step());
            format!("{stands} {at}; how long it was to be is not known")
        }
        (false, Some(steps)) if steps > run.last_step() => format!(
            "Not finished: {} of {} steps",
            thousands(run.last_step()),
            thousands(steps)
        ),
        _ => "Not finished: the model at its end is not written".into(),
    };
    match parts.is_empty() {
        true => format!("{stands}."),
        false => format!("{stands}. {}.", parts.join("; ")),
    }
}

fn facts(run: &Run, f: &Finals) -> String {
    let mut out = String::from("<dl class=\"facts\">\n");
    let mut put = |name: &str, value: String, small: String| {
        let small = match small.is_empty() {
            true => String::new(),
            false => format!("<small>{}</small>", escape(&small)),
        };
        let _ = writeln!(
            out,
            "<div><dt>{name}</dt><dd>{}{small}</dd></div>",
            escape(&value)
        );
    };
    if let Some((step, loss, bits)) = f.held_out {
        let bits = bits.map(|b| format!("{b:.3} bits a byte"));
        let small = match (step == f.steps, bits) {
            (true, bits) => bits.unwrap_or_default(),
            (false, _) => format!("at step {}", thousands(step)),
        };
        put("Held-out loss", number(loss), small);
    }
    if let Some(loss) = f.averaged {
        put("Averaged", format!("{loss:.4}"), "held out".into());
    }
    put(
        "Training loss",
        number(f.train),
        format!("mean of the last {} batches", thousands(f.over)),
    );
    let planned = run.facts.steps.filter(|n| *n != f.steps);
    put(
        "Steps",
        thousands(f.steps),
        planned.map_or(String::new(), |n| format!("of {}", thousands(n))),
    );
    if f.tokens > 0 {
        put("Tokens", count(f.tokens as f64), String::new());
    }
    if let Some(flops) = f.flops {
        put("Training FLOPs", count(flops), String::new());
    }
    if f.seconds > 0.0 {
        let time = clock(Duration::from_secs_f64(f.seconds.min(1e12)));
        let speed = format!("{} tokens a second", count(f.speed()));
        put("Time in steps", time, speed);
    }
    out + "</dl>\n"
}

/// Four decimals, or a dash for what is not finite.
pub(super) fn number(x: f64) -> String {
    match x.is_finite() {
        true => format!("{x:.4}"),
        false => "–".into(),
    }
}

/// The schedule, without axes.
fn spark(run: &Run) -> String {
    const SIZE: (f64, f64) = (200.0, 44.0);
    let lrs = scheduled(run);
    let top = lrs.iter().copied().fold(0.0, f64::max);
    if top <= 0.0 {
        return String::new();
    }
    let points = 200.min(lrs.len());
    let point = |i: usize| {
        let at = i * (lrs.len() - 1) / (points - 1).max(1);
        let x = 1.0 + (SIZE.0 - 2.0) * at as f64 / (lrs.len() - 1).max(1) as f64;
        let y = 2.0 + (SIZE.1 - 4.0) * (1.0 - lrs[at] / top);
        format!("{x:.1},{y:.1}")
    };
    let line: Vec<String> = (0..points).map(point).collect();
    let peak = crate::report::ticks::power(top);
    format!(
        "<figure class=\"spark\"><svg class=\"lehr\" viewBox=\"0 0 {w} {h}\" role=\"img\" aria-label=\"The learning rate by step\">\
         <line class=\"grid\" x1=\"0\" y1=\"{b}\" x2=\"{w}\" y2=\"{b}\"/><polyline class=\"k0\" stroke-width=\"1.8\" points=\"{}\"/></svg>\
         <figcaption>learning rate, peak {}</figcaption></figure>\n",
        line.join(" "),
        escape(&peak),
        w = SIZE.0,
        h = SIZE.1,
        b = SIZE.1 - 1.0,
    )
}

/// What was left out, and why.
pub(super) fn notes(g: &Gathered) -> String {
    if g.notes.is_empty() {
        return String::new();
    }
    let items: String = g
        .notes
        .iter()
        .map(|n| format!("<li>{}</li>\n", escape(n)))
        .collect();
    format!("<aside class=\"notes\">\n<h2>Notes</h2>\n<ul>\n{items}</ul>\n</aside>\n")
}
