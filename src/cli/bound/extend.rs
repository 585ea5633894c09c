//! `--extend`: ways on to a longer horizon.

use super::{Args, highest, unit_lrs, within_reach};
use crate::cli::fit::table::{item, number};
use crate::cli::format::thousands;
use crate::design::bound::study::horizon::{cooled_from, two_stage};
use crate::design::bound::study::{Line, Problem, lr_line};
use crate::design::bound::{Spec, optimal};
use crate::error::{Error, Result};
use serde_json::json;
use std::fmt::Write;

pub struct Extended {
    pub steps: usize,
    kept: usize,
    gamma: f64,
    /// ρ, where there is a cooldown for a second stage to have.
    rho: Option<f64>,
    ways: Vec<Way>,
    /// Whether the same spec over more steps begins as it did over fewer; true where there is no such way.
    agrees: bool,
}

struct Way {
    key: &'static str,
    words: String,
    omega: f64,
    /// Base LR included.
    lrs: Vec<f64>,
}

/// From the unit LRs of `spec` at the base LR `gamma` to `steps` steps.
pub fn extend(
    spec: &Spec,
    unit: &[f64],
    gamma: f64,
    steps: usize,
    problem: &Problem,
    args: &Args,
) -> Result<Extended> {
    let peak = highest(unit);
    let at_peak = unit.iter().rposition(|lr| *lr >= peak);
    let kept = args.prefix.unwrap_or(at_peak.map_or(0, |step| step + 1));
    if steps <= unit.len() {
        return Err(Error::input(format!(
            "--extend {steps}: it must be more than the {} steps of --steps",
            thousands(unit.len() as u64)
        )));
    }
    if kept == 0 || kept > unit.len() {
        return Err(Error::input(format!(
            "--prefix {kept}: an extension keeps at least 1 and at most the {} steps of --steps",
            thousands(unit.len() as u64)
        )));
    }
    within_reach("--extend", steps)?;
    // A table has no more steps than it has.
    let naive = match spec.is_table() {
        true => None,
        false => Some(unit_lrs(spec, "--extend", steps, args)?),
    };
    let norms = problem.norms.over(steps)?;
    let bound = problem.bound(&norms);
    let prefix: Vec<f64> = unit[..kept].iter().map(|lr| gamma * lr).collect();
    let mut ways = Vec::new();
    let mut add = |key, words: &str, lrs: Vec<f64>| {
        ways.push(Way {
            key,
            words: words.into(),
            omega: bound.split(&lrs).at(1.0),
            lrs,
        });
    };
    let scaled = |lrs: Vec<f64>| -> Vec<f64> { lrs.iter().map(|lr| gamma * lr).collect() };
    let agrees = naive
        .as_ref()
        .is_none_or(|naive| naive[..kept] == unit[..kept]);
    if let Some(naive) = naive {
        let words = match agrees {
            true => "the same spec",
            false => "the same spec (its beginning differs)",
        };
        add("naive", words, scaled(naive));
    }
    let mut rho = None;
    if kept < unit.len() && unit[kept - 1] > 0.0 {
        let fraction = (unit.len() - kept) as f64 / unit.len() as f64;
        let (found, lrs) = two_stage(problem, gamma, &unit[..kept], fraction, steps)?;
        rho = Some(found);
        let words = format!("two stages, the second at {found:.3}");
        add("two_stage", &words, scaled(lrs));
        add(
            "cooldown",
            "a linear cooldown all the way",
            cooled_from(&prefix, steps),
        );
    }
    let exact = bound.extend(&prefix, steps)?;
    add("exact", "the least bound", exact.lrs);
    let scratch = optimal::optimal(problem.distance, &norms)?;
    add("scratch", "the least bound from scratch", scratch.lrs);
    Ok(Extended {
        steps,
        kept,
        gamma,
        rho,
        ways,
        agrees,
    })
}

impl Extended {
    fn way(&self, key: &str) -> Option<&Way> {
        self.ways.iter().find(|way| way.key == key)
    }

    /// LRs of the best extension.
    pub fn exact(&self) -> &[f64] {
        self.way("exact").map_or(&[], |way| &way.lrs)
    }

    pub fn words(&self) -> String {
        let mut out = String::from("\n");
        let but = match self.agrees {
            true => "the last",
            false => "the first and the last",
        };
        let keeps = format!(
            "{} steps; all ways but {but} keep the first {} at γ* = {}",
            thousands(self.steps as u64),
            thousands(self.kept as u64),
            number(self.gamma)
        );
        out.push_str(&item("to", &keeps));
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\n  {:<46}{:>12}{:>10}", "way", "Ω", "above, %");
        let least = self.way("exact").map_or(f64::NAN, |way| way.omega);
        for way in &self.ways {
            let _ = writeln!(
                out,
                "  {:<46}{:>12}{:>10.2}",
                way.words,
                number(way.omega),
                100.0 * (way.omega / least - 1.0)
            );
        }
        out
    }

    pub fn json(&self) -> serde_json::Value {
        let mut out = json!({
            "steps": self.steps,
            "prefix": self.kept,
            "gamma": self.gamma,
            "rho": self.rho,
        });
        for way in &self.ways {
            out[way.key] = json!(way.omega);
        }
        let exact = self.exact();
        out["exact_lr_after_prefix"] = json!(exact.get(self.kept));
        out["exact_lr_last"] = json!(exact.last());
        out
    }

    /// LRs of every way.
    pub fn lr_lines(&self) -> Vec<Line> {
        let line = |way: &Way| lr_line(&way.words, &way.lrs, 1.0);
        self.ways.iter().map(line).collect()
    }

    /// Ω along every way.
    pub fn omega_lines(&self, problem: &Problem) -> Result<Vec<Line>> {
        let line =
            |way: &Way| crate::design::bound::study::omega_line(problem, &way.words, &way.lrs, 1.0);
        self.ways.iter().map(line).collect()
    }
}
