//! What the live law told, in tables: how well it foresaw the end, what cooling down now would come to, what it was alarmed
//! by and what was decided.

use super::Gathered;
use super::head::number;
use super::tables::{Row, cell, long, named, signed, table, words};
use crate::report::run::Run;
use crate::report::run::told::{DOES_NOT_DESCRIBE, Forecast};
use crate::report::svg::escape;
use crate::report::words::thousands;

/// Shares of a run at which its forecasts are compared with its end.
const SHARES: [f64; 4] = [0.25, 0.5, 0.75, 0.9];

/// One section, empty where no live law was at work.
pub(super) fn told(g: &Gathered) -> String {
    let tables = [foreseen(g), cooldowns(g), events(g)].concat();
    match tables.is_empty() {
        true => tables,
        false => {
            format!("<section id=\"told\">\n<h2>What the live law told</h2>\n{tables}</section>\n")
        }
    }
}

/// The newest forecast told by each share of the run; of a run that goes on, the newest.
fn foresaw(run: &Run) -> Vec<(String, &Forecast)> {
    let told = || run.forecasts.iter().filter(|f| f.loss.is_finite());
    if !run.finished() {
        let newest = told().next_back();
        return newest.map(|f| ("now".into(), f)).into_iter().collect();
    }
    let by = |share: f64| {
        let until = share * run.horizon() as f64;
        let newest = told().rev().find(|f| f.step as f64 <= until)?;
        Some((format!("{:.0} %", share * 100.0), newest))
    };
    let mut all: Vec<(String, &Forecast)> = SHARES.into_iter().filter_map(by).collect();
    // One that was told long before says nothing of a later share.
    all.dedup_by_key(|(_, f)| f.step);
    all
}

fn foreseen(g: &Gathered) -> String {
    let mut rows: Vec<Row> = Vec::new();
    for (key, (run, finals)) in g.runs.iter().zip(&g.finals).enumerate() {
        let all = foresaw(run);
        if !all.is_empty() && !g.single() {
            rows.push((named(g, key), Vec::new()));
        }
        for (by, f) in all {
            let end = Some(finals.end()).filter(|_| run.finished());
            let (by, loss) = match (f.describes, end) {
                (true, _) => (by, f.loss),
                (false, None) => (format!("{by}, {DOES_NOT_DESCRIBE}"), f.loss),
                // Nothing to hold against the end.
                (false, Some(_)) => (format!("{by}: it did not describe the run"), f64::NAN),
            };
            let interval = match [loss, f.low, f.high].iter().all(|l| l.is_finite()) {
                true => format!("{} to {}", number(f.low), number(f.high)),
                false => "–".into(),
            };
            let cells = vec![
                cell(thousands(f.step)),
                cell(number(loss)),
                cell(interval),
                cell(end.map_or("–".into(), number)),
                cell(end.map_or("–".into(), |end| signed(end - loss))),
            ];
            rows.push((escape(&by), cells));
        }
    }
    let columns = [
        "<Told by",
        "Step",
        "Forecast of the end",
        "90\u{a0}% interval",
        "Ended at",
        "off by",
    ];
    let caption = "The newest forecast of the held-out loss at the end by each share of the run, in nats a token, and where the \
                   run ended; “off by” is the end minus the forecast.";
    match rows.is_empty() {
        true => String::new(),
        false => table("foreseen", "", caption, &columns, &rows),
    }
}

/// Of runs that go on: what each cooldown from here would end at.
fn cooldowns(g: &Gathered) -> String {
    let mut rows: Vec<Row> = Vec::new();
    let mut from = 0;
    for (key, run) in g.runs.iter().enumerate().filter(|(_, r)| !r.finished()) {
        let Some(f) = run.forecasts.last().filter(|f| !f.cooldown_now.is_empty()) else {
            continue;
        };
        from = f.fitted_to;
        if !g.single() {
            let head = format!("{}, from step {}", named(g, key), thousands(from));
            rows.push((head, Vec::new()));
        }
        for c in &f.cooldown_now {
            let steps = match c.steps {
                0 => "–".into(),
                steps => thousands(steps),
            };
            rows.push((
                escape(&c.share()),
                vec![
                    cell(steps),
                    cell(number(c.loss)),
                    cell(signed(c.loss - f.loss)),
                ],
            ));
        }
    }
    let columns = ["<Over", "Steps", "Would end at", "− forecast"];
    let from = match g.single() {
        true => format!(" from step {}", thousands(from)),
        false => String::new(),
    };
    let caption = format!(
        "Cooling down now, from the newest loss that the law knew: the held-out loss that a run would end at if its learning rate \
         went to 0{from} over that share of the run’s then length; last, against going on as planned."
    );
    match rows.is_empty() {
        true => String::new(),
        false => table("cooldowns", "", &caption, &columns, &rows),
    }
}

/// Alarms, decisions and stops of all runs in the order of their steps.
fn events(g: &Gathered) -> String {
    let mut rows: Vec<Row> = Vec::new();
    for (key, run) in g.runs.iter().enumerate() {
        let alarms = run.alarms.iter().map(|a| (a.step, "alarm", a.sentence()));
        let decisions = run.decisions.iter();
        let decisions = decisions.map(|d| (d.step, "decision", d.sentence()));
        let stop = run.stopped().map(|s| (s.step, "stop", s.why.clone()));
        let mut all: Vec<_> = alarms.chain(decisions).chain(stop).collect();
        all.sort_by_key(|e| e.0);
        if !all.is_empty() && !g.single() {
            rows.push((named(g, key), Vec::new()));
        }
        let row = |(step, what, said): (u64, &str, String)| -> Row {
            (thousands(step), vec![words(what), long(&said)])
        };
        rows.extend(all.into_iter().map(row));
    }
    let caption = "Alarms, where losses left the law, decisions on the rest of the schedule, and where a run was stopped.";
    match rows.is_empty() {
        true => String::new(),
        false => table(
            "events",
            "",
            caption,
            &["<Step", "<What", "<It says"],
            &rows,
        ),
    }
}
