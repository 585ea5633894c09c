//! Samples and configurations.

use super::Gathered;
use crate::report::svg::escape;
use crate::report::words::thousands;
use std::fmt::Write;

/// Samples shown of a run: the newest, and earlier ones evenly between them.
const MOST_SAMPLES: usize = 12;

/// What the models wrote, newest first; the newest is unfolded.
pub(super) fn samples(g: &Gathered) -> String {
    let mut out = String::new();
    for run in &g.runs {
        let n = run.samples.len();
        if n == 0 {
            continue;
        }
        if !g.single() {
            let _ = writeln!(out, "<h3>{}</h3>", escape(&run.name));
        }
        let shown = n.min(MOST_SAMPLES);
        for i in (0..shown).rev() {
            let sample = &run.samples[(i + 1) * n / shown - 1];
            let open = if i + 1 == shown && g.single() {
                " open"
            } else {
                ""
            };
            let _ = writeln!(
                out,
                "<details{open}><summary>Step {}</summary><pre><b>{}</b>{}</pre></details>",
                thousands(sample.step),
                escape(&sample.prompt),
                escape(&sample.text)
            );
        }
    }
    section("samples", "Samples", out)
}

/// `run.toml` of every run, folded.
pub(super) fn configurations(g: &Gathered) -> String {
    let mut out = String::new();
    for run in g.runs.iter().filter(|r| !r.facts.text.is_empty()) {
        let name = match g.single() {
            true => "run.toml".to_string(),
            false => escape(&run.name),
        };
        let _ = writeln!(
            out,
            "<details><summary>{name}</summary><pre>{}</pre></details>",
            escape(&run.facts.text)
        );
    }
    section("configuration", "Configuration", out)
}

fn section(id: &str, heading: &str, body: String) -> String {
    match body.is_empty() {
        true => body,
        false => format!("<section id=\"{id}\">\n<h2>{heading}</h2>\n{body}</section>\n"),
    }
}
