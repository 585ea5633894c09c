//! Tables of a report: how runs ended, what laws said, their parameters.

use super::Gathered;
use super::head::number;
use super::pictures::{Picture, shade};
use crate::curve::LossKind;
use crate::report::run::derived::paired;
use crate::report::svg::escape;
use crate::report::ticks::power;
use crate::report::words::{clock, count, thousands};
use std::fmt::Write;
use std::time::Duration;

/// Cells are markup already; a column of words has a name that begins with `<`. A row without cells is a heading of those
/// that follow.
pub(super) fn table(
    id: &str,
    class: &str,
    caption: &str,
    columns: &[&str],
    rows: &[Row],
) -> String {
    let mut out = format!(
        "<p class=\"caption\" id=\"{id}-caption\">{}</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-labelledby=\"{id}-caption\">\n<table class=\"{class}\" aria-describedby=\"{id}-caption\">\n<thead><tr>",
        escape(caption)
    );
    for name in columns {
        let _ = match name.strip_prefix('<') {
            Some(name) => write!(
                out,
                "<th scope=\"col\" class=\"word\">{}</th>",
                escape(name)
            ),
            None => write!(out, "<th scope=\"col\">{}</th>", escape(name)),
        };
    }
    out += "</tr></thead>\n<tbody>\n";
    for (head, cells) in rows {
        if cells.is_empty() {
            let _ = writeln!(
                out,
                "<tr class=\"group\"><th scope=\"colgroup\" colspan=\"{}\">{head}</th></tr>",
                columns.len()
            );
            continue;
        }
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{head}</th>{}</tr>",
            cells.concat()
        );
    }
    out + "</tbody>\n</table>\n</div>\n"
}

/// What stands at the left of a row, and its cells.
pub(super) type Row = (String, Vec<String>);

pub(super) fn cell(text: impl AsRef<str>) -> String {
    format!("<td>{}</td>", escape(text.as_ref()))
}

/// Words that may take several lines.
pub(super) fn long(text: &str) -> String {
    format!("<td class=\"word long\">{}</td>", escape(text))
}

pub(super) fn words(text: &str) -> String {
    format!("<td class=\"word\">{}</td>", escape(text))
}

/// A run's name behind its colour.
pub(super) fn named(g: &Gathered, key: usize) -> String {
    let name = escape(&g.runs[key].name);
    if g.single() {
        return name;
    }
    let letter = crate::report::chart::letter(key);
    format!(
        "<svg class=\"lehr\" width=\"16\" height=\"8\" aria-hidden=\"true\"><line class=\"k{}\" stroke-width=\"3\" x1=\"0\" y1=\"4\" \
         x2=\"16\" y2=\"4\"/></svg>{letter}&#8194;<span title=\"{name}\">{name}</span>",
        key % 10
    )
}

/// `+0.0123`, `−0.0040`
pub(super) fn signed(x: f64) -> String {
    match x.is_finite() {
        false => "–".into(),
        true if x < 0.0 => format!("−{:.4}", -x),
        true => format!("+{x:.4}"),
    }
}

/// How several runs ended, beside the first.
pub(super) fn finals(g: &Gathered) -> String {
    if g.single() || g.runs.is_empty() {
        return String::new();
    }
    let averaged = g.finals.iter().any(|f| f.averaged.is_some());
    let pairs: Vec<_> = g.runs.iter().map(|run| paired(&g.runs[0], run)).collect();
    let any_pair = pairs[1..].iter().any(Option::is_some);
    let mut columns = vec!["<Run", "Steps", "Held out", "− a"];
    if averaged {
        columns.push("Averaged");
    }
    columns.push("Training");
    if any_pair {
        columns.push("− a, paired");
    }
    columns.extend(["Tokens", "FLOPs", "Time", "Seed"]);
    let first = g.finals[0].held_out.map(|h| h.1);
    let mut rows = Vec::new();
    for (key, (run, f)) in g.runs.iter().zip(&g.finals).enumerate() {
        let held_out = f.held_out.map_or("–".into(), |h| number(h.1));
        let beside = f
            .held_out
            .zip(first)
            .filter(|_| key > 0)
            .map(|(h, first)| signed(h.1 - first));
        let mut cells = vec![
            cell(thousands(f.steps)),
            cell(held_out),
            cell(beside.unwrap_or_default()),
        ];
        if averaged {
            cells.push(cell(f.averaged.map_or("–".into(), number)));
        }
        cells.push(cell(number(f.train)));
        if any_pair {
            let pair = pairs[key].filter(|_| key > 0);
            let pair = pair.map(|p| format!("{} ± {:.4}", signed(p.difference), p.error));
            cells.push(cell(pair.unwrap_or_default()));
        }
        cells.push(cell(count(f.tokens as f64)));
        cells.push(cell(f.flops.map_or("–".into(), count)));
        cells.push(cell(match f.seconds > 0.0 {
            true => clock(Duration::from_secs_f64(f.seconds.min(1e12))),
            false => "–".into(),
        }));
        cells.push(cell(run.facts.seed.map_or("–".into(), |s| s.to_string())));
        let schedule = run.facts.schedule.as_ref().map(|s| s.describe());
        let schedule = schedule.or(run.facts.scheduler.clone());
        let below = schedule.map(|s| format!("<small>{}</small>", escape(&s)));
        rows.push((named(g, key) + &below.unwrap_or_default(), cells));
    }
    let over: Vec<u64> = g.finals.iter().map(|f| f.over).collect();
    let (least, most) = (
        over.iter().min().copied().unwrap_or(1),
        over.iter().max().copied().unwrap_or(1),
    );
    let over = match least == most {
        true => thousands(most),
        false => format!("{} to {}", thousands(least), thousands(most)),
    };
    let mut caption = format!(
        "Final losses in nats a token; “− a” is the difference to the first run. Training: mean of the last {over} batches."
    );
    if any_pair {
        caption += " Paired: difference of training losses over the last tenth, batch by batch, of runs of one length on the same \
                    batches, ± its standard error.";
    }
    let table = table("finals", "", &caption, &columns, &rows);
    format!("<section id=\"finals\">\n<h2>How they ended</h2>\n{table}</section>\n")
}

/// What each law said of each run's end, and how far it was off along the way.
pub(super) fn ends(g: &Gathered) -> String {
    let mut rows = Vec::new();
    for (law, row) in g.laws.iter().zip(&g.under) {
        let of = format!("{}, {} loss", law.label, law.of());
        let judged = row.iter().flatten().count();
        if judged > 0 && !g.single() {
            rows.push((escape(&of), Vec::new()));
        }
        for (key, under) in row.iter().enumerate() {
            let Some(u) = under else { continue };
            let end = u.end();
            let (loss, (low, high)) = (end.loss, end.measured);
            let done = u.measured_end(law, g.runs[key].horizon());
            let cells = vec![
                cell(number(loss)),
                cell(format!("{} to {}", number(low), number(high))),
                cell(done.map_or("–".into(), number)),
                cell(done.map_or("–".into(), |end| signed(end - loss))),
                cell(format!("{:.4}", u.scores.mae)),
                cell(super::pictures::r2_written(u.scores.r2)),
            ];
            // The name of a single run stands above the page.
            rows.push(match g.single() {
                true => (escape(&of), cells),
                false => (named(g, key), cells),
            });
        }
    }
    let columns = [
        if g.single() { "<Law" } else { "<Run" },
        "Predicted end",
        "90\u{a0}% interval",
        "Measured",
        "off by",
        "MAE",
        "R²",
    ];
    let mut caption = "Ends in nats a token. The interval is that of a measured loss: the parameters, one point’s noise and a run’s own \
                       offset; MAE and R² from the law’s first fitted step on. In-sample for the runs that the law \
                       was fitted to."
        .to_string();
    if g.laws.iter().any(|l| l.kind == LossKind::TrainBatch) {
        caption += " Measured training losses are means over the last twentieth, brought to the end along the law.";
    }
    match rows.is_empty() {
        true => String::new(),
        false => format!(
            "<section>\n<h2>Predicted ends</h2>\n{}</section>\n",
            table("ends", "", &caption, &columns, &rows)
        ),
    }
}

/// Every law's parameters with their intervals.
pub(super) fn parameters(g: &Gathered) -> String {
    let mut out = String::new();
    for (i, law) in g.laws.iter().enumerate() {
        let fit = &law.fit;
        let rows: Vec<_> = fit
            .law
            .parameters()
            .iter()
            .zip(&fit.params)
            .map(|(parameter, fitted)| {
                let bound = if fitted.at_bound {
                    " (at its bound)"
                } else {
                    ""
                };
                let cells = vec![
                    cell(short(fitted.value) + bound),
                    cell(format!("{} to {}", short(fitted.low), short(fitted.high))),
                    words(&fitted.unit),
                    long(parameter.what),
                ];
                (escape(parameter.name), cells)
            })
            .collect();
        let names: Vec<&str> = fit.curves.iter().map(|c| c.name.as_str()).collect();
        let caption = format!(
            "{}. Fitted to {} from step {} on; noise of one point {}{}.",
            fit.law.formula(),
            match names.len() {
                0..=4 => names.join(", "),
                n => format!("{n} curves"),
            },
            thousands(fit.from),
            power(fit.noise.sd),
            if fit.options.residual.is_log() {
                " of the loss"
            } else {
                " nats"
            }
        );
        let columns = [
            "<Parameter",
            "Value",
            "90\u{a0}% interval",
            "<Unit",
            "<What it is",
        ];
        let _ = write!(
            out,
            "<h3>{}</h3>\n{}",
            escape(&law.label),
            table(&format!("law-{i}"), "", &caption, &columns, &rows)
        );
        for note in &fit.notes {
            let _ = writeln!(out, "<p class=\"remark\">{}</p>", escape(note));
        }
    }
    match out.is_empty() {
        true => out,
        false => format!(
            "<section id=\"parameters\">\n<h2>Parameters of the law{}</h2>\n{out}</section>\n",
            match g.laws.len() {
                1 => "",
                _ => "s",
            }
        ),
    }
}

/// Four decimals or five digits, powers of ten where the number is far from one.
fn short(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        a if (1e-3..1e5).contains(&a) => {
            let decimals = 4 - a.log10().floor().clamp(0.0, 4.0) as usize;
            format!("{x:.decimals$}").replace('-', "−")
        }
        _ => power(x).replacen('-', "−", usize::from(x < 0.0)),
    }
}

/// R² of every law on every run.
pub(super) fn heat(g: &Gathered, picture: &Picture) -> String {
    let columns: Vec<&str> = std::iter::once("<Run")
        .chain(g.laws.iter().map(|l| l.label.as_str()))
        .collect();
    let rows: Vec<_> = (0..g.runs.len())
        .map(|key| {
            let cells = g.under.iter().map(|row| match &row[key] {
                Some(u) => {
                    let r2 = u.scores.r2;
                    format!(
                        "<td class=\"s{}\">{}</td>",
                        shade(r2),
                        escape(&super::pictures::r2_written(r2))
                    )
                }
                None => cell("–"),
            });
            (named(g, key), cells.collect())
        })
        .collect();
    format!(
        "<section id=\"{}\">\n<h2>{}</h2>\n{}</section>\n",
        picture.id,
        escape(&picture.heading),
        table(picture.id, "heat", &picture.caption, &columns, &rows)
    )
}
