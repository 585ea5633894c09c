//! How a search looks in the terminal.

use super::flop;
use crate::cli::fit::table::{item, plural};
use crate::cli::format::{count, lr};
use crate::scaling::search::ledger::Entry;
use crate::scaling::search::outcome::{Estimate, Forecast, Next, Outcome};
use crate::scaling::search::plan::FirstStage;
use crate::scaling::search::{Query, Session};
use std::fmt::Write;
use std::io::Write as _;
use std::path::Path;

/// The table of what is asked, row by row as answers come.
pub struct Rows {
    wanted: bool,
    asked: usize,
}

impl Rows {
    pub fn new(wanted: bool) -> Rows {
        Rows { wanted, asked: 0 }
    }

    pub fn row(&mut self, why: &str, entry: &Entry, spent: f64) {
        if !self.wanted {
            return;
        }
        let mut out = std::io::stdout().lock();
        // A reader who has seen enough is no reason to lose a search.
        if self.asked == 0 {
            let _ = writeln!(
                out,
                "{:>4}  {:<16} {:>8} {:>6} {:>8} {:>9} {:>9} {:>9}",
                "run", "why", "width×L", "batch", "lr", "cost", "loss", "spent"
            );
        }
        self.asked += 1;
        let loss = entry.loss.map_or("diverged".into(), |l| fixed(l, 4));
        let q = &entry.query;
        let _ = writeln!(
            out,
            "{:>4}  {why:<16} {:>8} {:>6} {:>8} {:>9} {loss:>9} {:>9}",
            self.asked,
            format!("{}×{}", q.d_model, q.num_layers),
            q.batch_size,
            lr(q.learning_rate),
            count(entry.cost),
            count(spent)
        );
    }
}

/// The lines after the table.
pub fn outcome(o: &Outcome, level: f64, state: &Path) -> String {
    let mut out = String::from("\n");
    let imported = match o.imported {
        0 => String::new(),
        n => format!(
            ", and {} that the oracle had answered before",
            plural(n, "run")
        ),
    };
    let new = match o.new {
        n if n == o.paid => String::new(),
        0 => ", none of them new".into(),
        n => format!(", {n} of them new"),
    };
    let spent = format!(
        "{} of {} on {}{new}{imported}; {} left; answers in {}",
        flop(o.spent),
        flop(o.budget),
        plural(o.paid, "run"),
        flop(o.left),
        state.display()
    );
    out += &item("spent", &spent);
    out += &item("ended", &o.stopped);
    let origin = match (o.lr.tuned, o.lr.slope) {
        (true, true) => "probed",
        (true, false) => "its level probed",
        _ => "a rule of thumb",
    };
    out += &item(
        "lr",
        &format!(
            "lr*(N) = {:.3}·N^{}, {origin}; batch {}",
            o.lr.level,
            fixed(-o.lr.power, 3),
            o.batch_size
        ),
    );
    if let Some(f) = &o.forecast {
        out += &forecast(f, o.target, level);
    }
    if let Some(next) = &o.next {
        out += &item("next", &proposal(next));
    }
    for note in &o.notes {
        out += &item("note", note);
    }
    out
}

fn forecast(f: &Forecast, target: f64, level: f64) -> String {
    let l = &f.law;
    let mut out = item(
        "law",
        &format!(
            "L = {:.4} + {:.1}/N^{:.4} + {:.1}/D^{:.4}, fitted to {}; an answer lies within ± {:.4} of it",
            l.e,
            l.a,
            l.alpha,
            l.b,
            l.beta,
            plural(f.points, "answer"),
            f.noise
        ),
    );
    out += &item(
        "best",
        &format!(
            "at {}: N {}, D {} tokens, loss {} nats a token ({:.0} %)",
            flop(target),
            span(&f.n_opt),
            span(&f.d_opt),
            losses(&f.loss),
            100.0 * level
        ),
    );
    let checks = f
        .checks
        .iter()
        .map(|c| format!("{} say N {}", c.method, count(c.n_opt)));
    let checks: Vec<String> = checks.collect();
    if !checks.is_empty() {
        out += &item("check", &checks.join("; "));
    }
    let a = &f.architecture;
    out += &item(
        "model",
        &format!(
            "d_model {}, {}, {}, batch {}, lr {}: N {}, D {} tokens, loss {}",
            a.size.d_model,
            plural(a.size.num_layers as usize, "layer"),
            plural(a.size.num_heads as usize, "head"),
            a.batch_size,
            lr(a.learning_rate),
            count(a.params),
            count(a.tokens),
            losses(&a.loss)
        ),
    );
    out
}

/// `85.2 M (83.1 M … 87.9 M)`.
fn span(e: &Estimate) -> String {
    format!("{} ({} … {})", count(e.value), count(e.low), count(e.high))
}

fn losses(e: &Estimate) -> String {
    let [value, low, high] = [e.value, e.low, e.high].map(|x| fixed(x, 4));
    format!("{value} ({low} … {high})")
}

/// `x` to so many digits, and never −0.
fn fixed(x: f64, digits: usize) -> String {
    let text = format!("{x:.digits$}");
    match text.strip_prefix('-') {
        Some(rest) if !rest.contains(|c: char| ('1'..='9').contains(&c)) => rest.to_string(),
        _ => text,
    }
}

fn proposal(next: &Next) -> String {
    format!(
        "{}×{} for {} would take another {:.0} % off the target's variance",
        next.query.d_model,
        next.query.num_layers,
        flop(next.cost),
        100.0 * next.gain
    )
}

/// `--dry-run`: what would be asked first, and what it costs.
pub fn plan(session: &Session, first: &FirstStage, target: f64) -> String {
    let mut out = String::new();
    let head = format!(
        "{} for the best model of {}; {} spent",
        flop(session.budget),
        flop(target),
        flop(session.spent())
    );
    out += &item("plan", &head);
    let stages = [
        ("learning rate", &first.probes.queries),
        ("sweep", &first.sweep),
    ];
    for (name, queries) in stages {
        if queries.is_empty() {
            continue;
        }
        let cost: f64 = queries.iter().map(|q| session.oracle.cost(q)).sum();
        let _ = writeln!(
            out,
            "\n{name}, {}: {}",
            plural(queries.len(), "run"),
            flop(cost)
        );
        let _ = writeln!(
            out,
            "{:>10} {:>9} {:>8} {:>8} {:>6} {:>8} {:>9}",
            "width×L", "N", "D", "batch", "heads", "lr", "cost"
        );
        for q in queries {
            out += &planned(session, q);
        }
    }
    let left = session.left() - first.cost;
    out.push('\n');
    out += &item(
        "then",
        &format!(
            "rates follow the probes, edges are extended, and what is left, about {}, goes to the most telling runs",
            flop(left.max(0.0))
        ),
    );
    out
}

fn planned(session: &Session, q: &Query) -> String {
    let known = match session.ledger.find(q) {
        Some(_) => "  answered",
        None => "",
    };
    format!(
        "{:>10} {:>9} {:>8} {:>8} {:>6} {:>8} {:>9}{known}\n",
        format!("{}×{}", q.d_model, q.num_layers),
        count(session.oracle.params(q)),
        count(session.oracle.tokens(q)),
        q.batch_size,
        q.num_heads,
        lr(q.learning_rate),
        count(session.oracle.cost(q))
    )
}

#[cfg(test)]
mod unit {
    use super::fixed;

    #[test]
    fn nothing_is_minus_zero() {
        assert_eq!(fixed(-1e-9, 4), "0.0000");
        assert_eq!(fixed(-0.36, 3), "-0.360");
        assert_eq!(fixed(2.5, 1), "2.5");
    }
}
