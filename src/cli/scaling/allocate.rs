//! `lehr scaling allocate`: what to train with a budget.

use super::super::fit::table::{item, plural};
use super::super::format::{count, lr, thousands};
use super::super::picture::print;
use super::FitFlags;
use super::input::Input;
use crate::error::{Error, Result};
use crate::files;
use crate::scaling::allocate::{Allocation, Architecture, Counted, Request, allocate, within};
use crate::scaling::bootstrap::bootstrap;
use crate::scaling::estimate::Estimate;
use crate::scaling::parametric::{self, ParametricFit};
use crate::scaling::point::flops_ratio;
use clap::ValueEnum;
use serde_json::json;
use std::fmt::Write;
use std::path::PathBuf;

/// Say what to train with a budget of FLOPs
///
/// Fits L(N, D) to the models of FILE, takes its optimum at that compute, and builds the nearest Llama that
/// divides well, with batch, steps and peak LR; its loss stands beside the optimum's. A suite and directories of runs
/// say themselves what vocabulary, sequences and head their models have; a table does not.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  lehr scaling allocate runs.csv --flops 1e19 --recipe next.toml
  lehr scaling allocate suites/austen --flops 1e15")]
pub struct Args {
    #[command(flatten)]
    fit: FitFlags,
    /// Training FLOPs, counted as those of FILE are (6·N·D unless it says otherwise)
    #[arg(long, value_name = "C", allow_negative_numbers = true)]
    flops: f64,
    /// Write what to train, for lehr train --config FILE
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Rows of the embedding [default: as the runs, or 50304]
    #[arg(long, value_name = "N")]
    vocab_size: Option<usize>,
    /// Tokens a sequence [default: as the runs, or 512]
    #[arg(long, value_name = "N")]
    sequence_length: Option<usize>,
    /// Give the head a table of its own [default: as the runs, or tied]
    #[arg(long)]
    untied: bool,
    /// Which parameters FILE counts [default: with-head of a suite, or total]
    #[arg(long, value_enum, value_name = "WHICH")]
    count: Option<Count>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Count {
    /// All
    Total,
    /// Without embeddings and head
    NonEmbedding,
    /// With the head, without input embeddings
    WithHead,
}

pub fn run(args: Args) -> Result<()> {
    args.fit.check()?;
    if !(args.flops.is_finite() && args.flops > 0.0) {
        return Err(Error::input(format!(
            "--flops {}: give a budget above 0, such as 1e19",
            args.flops
        )));
    }
    let input = Input::read(&args.fit)?;
    let options = args.fit.options();
    let fit = parametric::fit(&input.points, &options)?;
    let draws = (args.fit.bootstrap > 0).then(|| {
        bootstrap(
            &input.points,
            &fit,
            &options,
            args.fit.bootstrap,
            args.fit.seed,
        )
    });
    let found = allocate(&fit.law, draws.as_ref(), &args.request(&input))?;
    within(&input.points, &found)?;
    let mut written = String::new();
    if let Some(path) = &args.recipe {
        files::write(path, found.architecture.to_recipe().as_bytes())?;
        written = format!("wrote {}\n", path.display());
    }
    if args.json {
        let object = json!({
            "law": fit.law,
            "objective": fit.objective,
            "agree": fit.agree,
            "allocation": found,
            "notes": notes(&input, &found, &fit),
        });
        return print(&format!("{object:#}\n"));
    }
    print(&(words(&input, &found, &fit) + &written))
}

impl Args {
    fn request(&self, input: &Input) -> Request {
        let usual = Request::new(self.flops);
        let (runs, counted) = input.origin.unzip();
        let counted = counted.unwrap_or_default();
        Request {
            flops_ratio: flops_ratio(&input.points),
            vocab_size: (self.vocab_size)
                .unwrap_or(runs.map_or(usual.vocab_size, |r| r.vocab_size)),
            sequence_length: (self.sequence_length)
                .unwrap_or(runs.map_or(usual.sequence_length, |r| r.sequence_length)),
            tied: !self.untied && runs.is_none_or(|r| r.tied),
            counted: self.count.map_or(counted, |count| match count {
                Count::Total => Counted::Total,
                Count::NonEmbedding => Counted::NonEmbedding,
                Count::WithHead => Counted::WithHead,
            }),
            level: self.fit.level,
            ..usual
        }
    }
}

fn notes(input: &Input, found: &Allocation, fit: &ParametricFit) -> Vec<String> {
    let largest = input.points.iter().map(|p| p.flops).fold(0.0, f64::max);
    let mut notes = input.notes.clone();
    let beyond = found.request.flops / largest;
    if beyond > 1.0 {
        notes.push(format!(
            "the budget is {beyond:.1} times the largest that was fitted ({largest:.2e} FLOPs): an extrapolation"
        ));
    }
    notes.extend(fit.doubt());
    notes.extend(found.notes.iter().cloned());
    notes
}

fn words(input: &Input, found: &Allocation, fit: &ParametricFit) -> String {
    let law = &fit.law;
    let text = format!(
        "L = {:.4} + {:.4}/N^{:.4} + {:.4}/D^{:.4}, from {}",
        law.e,
        law.a,
        law.alpha,
        law.b,
        law.beta,
        plural(input.points.len(), "model")
    );
    let mut out = item("law", &text);
    let best = format!(
        "at {:.2e} FLOPs: N {}, D {} tokens, loss {} nats a token",
        found.request.flops,
        estimate(&found.params, count),
        estimate(&found.tokens, count),
        estimate(&found.loss, |x| format!("{x:.4}"))
    );
    out.push_str(&item("best", &best));
    out.push_str(&item("train", &architecture(&found.architecture)));
    if !found.alternatives.is_empty() {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            out,
            "\n  {:<30}{:>9}{:>9}{:>9}{:>10}{:>10}",
            "or", "N", "D", "steps", "loss", "over best"
        );
    }
    for other in &found.alternatives {
        let _ = writeln!(
            out,
            "  {:<30}{:>9}{:>9}{:>9}{:>10.4}{:>10}",
            shape(other),
            count(other.params),
            count(other.tokens),
            thousands(other.steps),
            other.loss.value,
            nats(other.penalty)
        );
    }
    out.push('\n');
    for note in notes(input, found, fit) {
        out.push_str(&item("note", &note));
    }
    out
}

fn shape(of: &Architecture) -> String {
    format!(
        "{} × {}, {}",
        plural(of.model.n_layer, "layer"),
        of.model.n_embd,
        plural(of.model.n_head, "head")
    )
}

/// Without the sign of a rounded nothing.
fn nats(x: f64) -> String {
    format!("{:.4}", (x * 1e4).round() / 1e4 + 0.0)
}

fn architecture(of: &Architecture) -> String {
    format!(
        "llama, {} of {}, MLP {}: {} parameters\n{} steps of {} tokens ({} sequences), {} tokens in all, \
         peak LR {}, warm-up {} steps\n{:.3e} FLOPs of the budget, {:.3e} executed; loss {} nats, {} over the best",
        shape(of),
        of.model.head_dim,
        of.model.intermediate_size,
        count(of.params),
        thousands(of.steps),
        thousands(of.tokens_per_step as u64),
        of.batch,
        count(of.tokens),
        lr(of.peak_lr),
        thousands(of.warmup_steps),
        of.flops,
        of.executed_flops,
        estimate(&of.loss, |x| format!("{x:.4}")),
        nats(of.penalty)
    )
}

/// `92.1 M (90.4 M … 93.0 M)`
fn estimate(of: &Estimate, write: impl Fn(f64) -> String) -> String {
    match (of.low, of.high) {
        (Some(low), Some(high)) => {
            format!("{} ({} … {})", write(of.value), write(low), write(high))
        }
        _ => write(of.value),
    }
}
