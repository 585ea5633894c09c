//! What to train with a budget of FLOPs: the optimum of L(N, D) under C = κ·6·N·D, and a model that can be built near it.
//!
//! Sources: the optimum is eq. 4 of Hoffmann et al. 2022; shapes follow the 33M–360M table of Hägele et al. 2024 (width 32 to 64
//! times the depth, more for wide models, heads of 64); LR = 3.7·N^−0.36 and batch = 0.76·N^0.703 tokens are Porian et al. 2024's, fitted to
//! models of 25M to 110M parameters, and are marked where they are taken further.

mod shapes;

use crate::error::{Error, Result};
use crate::model::ModelConfig;
use crate::model::flops::{ForwardFlops, ParamCount};
use crate::scaling::bootstrap::Bootstrap;
use crate::scaling::estimate::Estimate;
use crate::scaling::law::ScalingLaw;
use crate::scaling::parametric::tokens_a_parameter;
use crate::scaling::point::{FLOPS_A_PAIR, Point};
use serde::Serialize;

/// Which parameters the law's N counts; see [`ParamCount`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// All (Hoffmann et al. 2022).
    #[default]
    Total,
    /// Without embeddings and head (Kaplan et al. 2020).
    NonEmbedding,
    /// With the head, without input embeddings (Porian et al. 2024).
    WithHead,
}

impl Counted {
    fn of(self, count: &ParamCount) -> usize {
        match self {
            Counted::Total => count.total,
            Counted::NonEmbedding => count.non_embedding,
            Counted::WithHead => count.with_head,
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Request {
    /// Training FLOPs, as those of the models were counted that the law was fitted to.
    pub flops: f64,
    /// κ: such FLOPs over 6·N·D.
    pub flops_ratio: f64,
    pub vocab_size: usize,
    pub sequence_length: usize,
    /// Whether the head shares the embedding's table.
    pub tied: bool,
    pub counted: Counted,
    /// Of the intervals, 0.95 by default.
    pub level: f64,
}

impl Request {
    /// For a budget: GPT-2's vocabulary padded to 50,304, sequences of 512, a tied head.
    pub fn new(flops: f64) -> Request {
        Request {
            flops,
            flops_ratio: 1.0,
            vocab_size: 50304,
            sequence_length: 512,
            tied: true,
            counted: Counted::default(),
            level: 0.95,
        }
    }
}

/// A model that can be built and the run that spends the budget on it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Architecture {
    pub model: ModelConfig,
    /// The MLP's width is 8/3·n_embd rounded up to a multiple of this.
    pub multiple_of: usize,
    /// Parameters, counted as the law counts them.
    pub params: f64,
    pub total_params: f64,
    /// Sequences a step, a power of two.
    pub batch: usize,
    pub tokens_per_step: f64,
    /// Steps that spend the budget by κ·6·N·D, and their tokens.
    pub steps: u64,
    pub tokens: f64,
    pub warmup_steps: u64,
    pub peak_lr: f64,
    /// The rules for LR and batch are taken beyond the 25M–110M that they were fitted to.
    pub rules_extrapolated: bool,
    /// κ·6·N·D of the run.
    pub flops: f64,
    /// What its steps execute: head and attention counted, the look-up of the embedding not.
    pub executed_flops: f64,
    /// Steps that would spend the budget in executed FLOPs.
    pub steps_executed: u64,
    /// Final loss by the law, nats a token.
    pub loss: Estimate,
    /// How much above the optimum's loss that is; below zero where whole steps overrun the budget by a little.
    pub penalty: f64,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Allocation {
    pub request: Request,
    pub params: Estimate,
    pub tokens: Estimate,
    /// Least loss that the budget buys.
    pub loss: Estimate,
    pub architecture: Architecture,
    /// The next best, best first.
    pub alternatives: Vec<Architecture>,
    /// Sentences for the user.
    pub notes: Vec<String>,
}

/// Sizes that Porian's rules were fitted to.
const RULES: std::ops::RangeInclusive<f64> = 25e6..=110e6;
/// No run has fewer steps than this while its batch can be halved.
const FEWEST_STEPS: f64 = 500.0;
/// The closest model may be off by this factor in N; further away the budget suits no model of this vocabulary.
const FARTHEST: f64 = 2.0;
/// Nor may its tokens a parameter be off by this factor from those of the models fitted.
const FARTHEST_RATIO: f64 = 100.0;
const ALTERNATIVES: usize = 4;
/// A model that costs more, in nats, is no alternative.
const LARGEST_PENALTY: f64 = 0.01;

/// Allocates a budget.
///
/// # Errors
/// A budget or sizes that make no sense; a law without an optimum; a budget whose optimum no model comes near.
pub fn allocate(
    law: &ScalingLaw,
    bootstrap: Option<&Bootstrap>,
    request: &Request,
) -> Result<Allocation> {
    let Request { flops, .. } = *request;
    check(law, request)?;
    let optimum = |law: &ScalingLaw| law.optimum(flops / request.flops_ratio);
    let (n, d) = optimum(law);
    if !(n.is_finite() && d.is_finite() && n >= 1.0 && d >= 1.0) {
        return Err(Error::input(format!(
            "the law's optimum at {flops:.3e} FLOPs is {n:.3e} parameters on {d:.3e} tokens, which nobody can train; is the budget, or the fit, right?"
        )));
    }
    let estimate = |value: f64, of: &dyn Fn(&ScalingLaw) -> f64| {
        let of_optimum = |law: &ScalingLaw| match law.has_optimum() {
            true => of(law),
            false => f64::NAN,
        };
        let none = (f64::NAN, f64::NAN);
        let interval = bootstrap.map_or(none, |b| b.interval(request.level, of_optimum));
        Estimate::new(value, interval)
    };
    let least = |law: &ScalingLaw| {
        let (n, d) = optimum(law);
        law.loss(n, d)
    };
    let models = shapes::near(n, request);
    let mut built: Vec<Architecture> = models
        .into_iter()
        .take(1 + ALTERNATIVES)
        .map(|model| {
            let run = run_of(model, request);
            let loss = law.loss(run.params, run.tokens);
            Architecture {
                loss: estimate(loss, &|law| law.loss(run.params, run.tokens)),
                penalty: loss - least(law),
                ..run
            }
        })
        .collect();
    if built.is_empty() {
        return Err(Error::input(format!(
            "no model of width 32 to 16384 with a vocabulary of {} has near the {n:.3e} parameters that {flops:.3e} FLOPs are best spent on; {}",
            request.vocab_size,
            if n < 1e8 {
                "a smaller vocabulary or a larger budget would fit"
            } else {
                "a smaller budget would fit"
            }
        )));
    }
    let architecture = built.remove(0);
    built.retain(|other| other.penalty <= LARGEST_PENALTY);
    let mut notes = notes(&architecture, n, request);
    notes.extend(bootstrap.and_then(Bootstrap::without_optimum));
    Ok(Allocation {
        request: *request,
        params: estimate(n, &|law| optimum(law).0),
        tokens: estimate(d, &|law| optimum(law).1),
        loss: estimate(least(law), &least),
        architecture,
        alternatives: built,
        notes,
    })
}

/// # Errors
/// An optimum whose tokens a parameter are far from any of the models fitted: the law says nothing there.
pub fn within(points: &[Point], found: &Allocation) -> Result<()> {
    let (low, high) = tokens_a_parameter(points);
    let wanted = found.tokens.value / found.params.value;
    if (low / FARTHEST_RATIO..=high * FARTHEST_RATIO).contains(&wanted) {
        return Ok(());
    }
    Err(Error::input(format!(
        "the fit's optimum has {wanted:.1e} tokens a parameter and the models {low:.1e} to {high:.1e}, too far away to believe; add runs of one size at other lengths"
    )))
}

fn check(law: &ScalingLaw, request: &Request) -> Result<()> {
    let Request {
        flops,
        flops_ratio,
        level,
        ..
    } = *request;
    if !(flops_ratio > 0.0 && flops_ratio.is_finite()) {
        return Err(Error::input(format!(
            "FLOPs of {flops_ratio} times 6·N·D; the ratio must be above 0"
        )));
    }
    if !(flops > 0.0 && flops.is_finite()) {
        return Err(Error::input(format!(
            "the budget is {flops} FLOPs; it must be a positive number such as 1e19"
        )));
    }
    if !(0.0 < level && level < 1.0) {
        return Err(Error::input(format!(
            "the intervals' level is {level}; it must lie between 0 and 1, as 0.95 does"
        )));
    }
    for (name, size) in [
        ("vocabulary", request.vocab_size),
        ("sequence length", request.sequence_length),
    ] {
        if !(1..=1 << 32).contains(&size) {
            return Err(Error::input(format!(
                "the {name} is {size}; it must be at least 1 and below 2^32"
            )));
        }
    }
    if !law.has_optimum() {
        return Err(Error::input(format!(
            "the law has no optimum: alpha {:.3} and beta {:.3} must both be positive, so that both more parameters and more tokens help",
            law.alpha, law.beta
        )));
    }
    Ok(())
}

/// The run of a model under the budget; its loss is still to be filled in.
fn run_of((model, multiple_of): (ModelConfig, usize), request: &Request) -> Architecture {
    let count = ParamCount::of(&model);
    let params = request.counted.of(&count) as f64;
    let pair = request.flops_ratio * FLOPS_A_PAIR;
    let tokens = request.flops / (pair * params);
    let sequence = request.sequence_length as f64;
    // Porian et al. count N with the head.
    let with_head = count.with_head as f64;
    let wanted = 0.76 * with_head.powf(0.703) / sequence;
    let mut batch = 1usize << (wanted.max(1.0).log2().round() as u32).min(20);
    while batch > 1 && tokens / (batch as f64 * sequence) < FEWEST_STEPS {
        batch /= 2;
    }
    let tokens_per_step = batch as f64 * sequence;
    let steps = (tokens / tokens_per_step).round().max(1.0);
    let per_step = ForwardFlops::train_per_token(&model, request.sequence_length) * tokens_per_step;
    // Warm-up in tokens, no longer than N and than a sixth of the run.
    let warmup = (params.min(tokens / 6.0) / tokens_per_step).round();
    Architecture {
        multiple_of,
        params,
        total_params: count.total as f64,
        batch,
        tokens_per_step,
        steps: steps as u64,
        tokens: steps * tokens_per_step,
        warmup_steps: warmup.max(1.0).min(steps) as u64,
        peak_lr: two_digits(3.7 * with_head.powf(-0.36)),
        rules_extrapolated: !RULES.contains(&with_head),
        flops: pair * params * steps * tokens_per_step,
        executed_flops: per_step * steps,
        steps_executed: (request.flops / per_step).round().max(1.0) as u64,
        loss: Estimate::new(f64::NAN, (f64::NAN, f64::NAN)),
        penalty: f64::NAN,
        model,
    }
}

/// Rounded to two significant digits: the rule knows no more.
fn two_digits(x: f64) -> f64 {
    format!("{x:.1e}").parse().unwrap_or(x)
}

fn notes(built: &Architecture, n: f64, request: &Request) -> Vec<String> {
    let mut notes = Vec::new();
    let count = ParamCount::of(&built.model);
    let tables = (count.total - count.non_embedding) as f64;
    if request.counted != Counted::NonEmbedding && tables > 0.5 * count.total as f64 {
        notes.push(format!(
            "{:.0} % of the parameters are embeddings and head, of a vocabulary of {}: give the one that the models \
             of the fit had (--vocab-size), or a smaller one",
            100.0 * tables / count.total as f64,
            request.vocab_size
        ));
    }
    let off = built.params / n - 1.0;
    if off.abs() > 0.1 {
        notes.push(format!(
            "the closest model has {:+.0} % of the optimum's parameters, which costs {:.4} nats",
            100.0 * off,
            built.penalty
        ));
    }
    if built.rules_extrapolated {
        notes.push(
            "peak LR and batch are extrapolated beyond the 25M to 110M parameters of their rules; sweep them on a small model first"
                .to_string(),
        );
    }
    let ratio = built.executed_flops / request.flops;
    if !(0.9..=1.1).contains(&ratio) {
        notes.push(format!(
            "these steps execute {ratio:.2} times the budget; {} steps spend it by that count",
            built.steps_executed
        ));
    }
    if (built.steps as f64) < FEWEST_STEPS {
        notes.push(format!(
            "the run has only {} steps, fewer than schedules and laws of the loss are made for",
            built.steps
        ));
    }
    notes
}

impl Architecture {
    /// A recipe for `lehr train --config FILE`; the data are for the user to name.
    pub fn to_recipe(&self) -> String {
        let m = &self.model;
        // Micro-batches of at most 16 sequences fit most devices.
        let micro = self.batch.min(16);
        format!(
            "# {:.3e} parameters on {:.3e} tokens: {:.3e} FLOPs of the budget, {:.3e} executed.\n\
             # Predicted loss {:.4} nats a token. Name your text: --data PATH, or data.path here.\n\n\
             [model]\n\
             family = \"{}\"\n\
             n_layer = {}\n\
             n_head = {}\n\
             n_embd = {}\n\
             multiple_of = {}\n\
             tied = {}\n\n\
             [data]\n\
             vocab_size = {}\n\n\
             [schedule]\n\
             scheduler = \"wsd:fraction=0.2\"\n\
             peak_lr = {:e}\n\
             warmup = \"{}\"\n\n\
             [train]\n\
             iterations = {}\n\
             sequence_length = {}\n\
             batch_size = {micro}\n\
             grad_accumulation = {}   # {} sequences, {} tokens a step\n",
            self.params,
            self.tokens,
            self.flops,
            self.executed_flops,
            self.loss.value,
            m.family,
            m.n_layer,
            m.n_head,
            m.n_embd,
            self.multiple_of,
            m.tied,
            m.vocab_size,
            self.peak_lr,
            self.warmup_steps,
            self.steps,
            m.max_positions,
            self.batch / micro,
            self.batch,
            self.tokens_per_step,
        )
    }
}

#[cfg(test)]
mod tests;
