//! A loop's plan and its cost, before anything is trained.

use super::item;
use crate::campaign::Plan;
use crate::campaign::cells::{self, Cell};
use crate::campaign::plan::Cost;
use crate::campaign::stages::SCHEDULE_FILE;
use crate::cli::format::{clock, count, thousands};
use crate::error::Result;
use crate::schedule::percent;
use crate::train::cached::State;
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// A plan with its price.
pub(super) struct Priced {
    cost: Cost,
    probes: Vec<Cell>,
    /// Those that are known before a best peak is.
    long: Vec<Cell>,
    /// Wall time of what is left of the probes, of the designed runs, of the baselines, and of the other seeds where
    /// these have several peaks.
    seconds: Option<[f64; 4]>,
}

impl Priced {
    pub fn of(plan: &Plan) -> Result<Priced> {
        let probes = cells::probes(plan);
        let table = plan.file(SCHEDULE_FILE);
        let table = std::path::absolute(&table).unwrap_or(table);
        // What is finished is known by the LRs of the design.
        let table = table.exists().then_some(table);
        let long = cells::long(plan, table.as_deref(), &plan.first())?;
        let cost = plan.cost()?;
        let left = |c: &Cell| c.state(&plan.spec.out) != State::Finished;
        let any = probes.iter().chain(&long).any(left);
        let per_token = match any || plan.spec.seeds.len() > 1 {
            true => plan.seconds_per_token(),
            false => Some(0.0),
        };
        let seconds = per_token.map(|s| {
            let of = |cells: &mut dyn Iterator<Item = &Cell>| -> f64 {
                cells.map(|c| plan.seconds_left(c, s)).sum()
            };
            let designed = |c: &&Cell| c.wanted.is_some_and(|w| w.schedule == 0);
            let others = match plan.spec.all_peaks().len() {
                1 => 0.0,
                _ => s * (cost.other_seeds * plan.spec.config.tokens_per_step()) as f64,
            };
            [
                of(&mut probes.iter()),
                of(&mut long.iter().filter(designed)),
                of(&mut long.iter().filter(|c| !designed(c))),
                others,
            ]
        });
        Ok(Priced {
            cost,
            probes,
            long,
            seconds,
        })
    }

    pub fn json(&self, plan: &Plan) -> Value {
        let cells = self.probes.iter().chain(&self.long);
        let cells = cells.map(|c| {
            let (state, step) = match c.state(&plan.spec.out) {
                State::New => ("not begun", None),
                State::Begun(step) => ("begun", Some(step)),
                State::Finished => ("finished", None),
            };
            json!({
                "cell": c.id,
                "steps": c.steps,
                "own_steps": c.own_steps(),
                "state": state,
                "step": step,
            })
        });
        let labels = plan.spec.baselines.iter().map(|b| b.label());
        let c = &self.cost;
        json!({
            "out": plan.spec.out,
            "steps": plan.steps(),
            "peak_lr": plan.spec.peak(),
            "warmup_steps": plan.warmup,
            "params": plan.params.with_head,
            "tokens_per_step": plan.spec.config.tokens_per_step(),
            "law": plan.spec.laws,
            "baselines": labels.collect::<Vec<_>>(),
            "seeds": plan.spec.seeds,
            "peaks": plan.spec.all_peaks(),
            "probes": plan.probes,
            "cost": {
                "probes": c.probes,
                "designed": c.designed,
                "baselines": c.baselines,
                "other_seeds": c.other_seeds,
                "total": c.total(),
                "flops": plan.flops_per_token
                    * (c.total() * plan.spec.config.tokens_per_step()) as f64,
            },
            "seconds_left": self.seconds.map(|s| s.iter().sum::<f64>()),
            "cells": cells.collect::<Vec<_>>(),
            "notes": plan.notes,
        })
    }

    pub fn words(&self, plan: &Plan) -> String {
        let spec = &plan.spec;
        let mut out = String::new();
        let text = format!(
            "{} steps at peak {:e}, warm-up {}, {} parameters; in {}",
            thousands(plan.steps()),
            spec.peak(),
            thousands(plan.warmup),
            count(plan.params.with_head as f64),
            spec.out.display()
        );
        out += &item("loop", &text);
        let text = format!(
            "{}, {} tokens, {}",
            spec.config.data.path,
            count(plan.data.train_tokens as f64),
            plan.data.tokenizer
        );
        out += &item("data", &text);
        let p = &plan.probes;
        let cooldowns: Vec<String> = p
            .cooldowns
            .iter()
            .map(|c| format!("{} → {}", thousands(p.trunk - c), thousands(p.trunk)))
            .collect();
        let text = format!(
            "a trunk of {} steps at constant LR and, from its checkpoints, a linear cooldown to 0 ({}){}, on the same batches",
            thousands(p.trunk),
            cooldowns.join(" and "),
            match p.low {
                0 => String::new(),
                low => format!("; {} steps at half the LR", thousands(low)),
            }
        );
        out += &item("probe", &text);
        let text = format!(
            "{}, fitted to {} held-out losses a probe",
            spec.laws.join(" or "),
            thousands(spec.points)
        );
        out += &item("law", &text);
        let labels: Vec<String> = spec.baselines.iter().map(|b| b.label()).collect();
        let peaks: Vec<String> = spec.all_peaks().iter().map(|p| format!("{p:e}")).collect();
        let at = match peaks.len() {
            1 => String::new(),
            _ => format!(
                ", at peaks {} (the best on the first seed is kept)",
                peaks.join(", ")
            ),
        };
        let seeds: Vec<String> = spec.seeds.iter().map(u64::to_string).collect();
        let text = match labels.is_empty() {
            true => "the designed schedule alone".to_string(),
            false => format!("the designed schedule; {}{at}", labels.join("; ")),
        };
        let text = format!("{text}; seeds {}", seeds.join(", "));
        out += &item("runs", &text);
        self.costs(&mut out, plan);
        for note in &plan.notes {
            out += &item("note", note);
        }
        out
    }

    // Writing to a String cannot fail.
    fn costs(&self, out: &mut String, plan: &Plan) {
        let c = &self.cost;
        let several = plan.spec.all_peaks().len() > 1 && plan.spec.seeds.len() > 1;
        let baselines = match several {
            true => c.baselines,
            false => c.baselines + c.other_seeds,
        };
        let mut rows = vec![
            ("probes", c.probes, self.seconds.map(|s| s[0])),
            ("designed", c.designed, self.seconds.map(|s| s[1])),
        ];
        if baselines > 0 {
            rows.push((
                "baselines, WSD from shared trunks",
                baselines,
                self.seconds.map(|s| s[2]),
            ));
        }
        if several {
            rows.push((
                "baselines, other seeds (at most)",
                c.other_seeds,
                self.seconds.map(|s| s[3]),
            ));
        }
        let all = self.seconds.map(|s| s.iter().sum());
        rows.push(("altogether", c.total(), all));
        let _ = writeln!(
            out,
            "\n  {:<36}{:>12}{:>12}{:>14}",
            "cost", "steps", "long runs", "time left"
        );
        for (what, steps, seconds) in rows {
            let time = seconds.map_or("–".into(), |s| clock(Duration::from_secs_f64(s)));
            let _ = writeln!(
                out,
                "  {what:<36}{:>12}{:>12.2}{time:>14}",
                thousands(steps),
                steps as f64 / plan.steps() as f64
            );
        }
        let _ = writeln!(out);
        let text = format!(
            "the probes are {} of the long run; {}FLOP altogether",
            percent(c.probes as f64 / plan.steps() as f64),
            count(plan.flops_per_token * (c.total() * plan.spec.config.tokens_per_step()) as f64)
        );
        *out += &item("", &text);
    }
}
