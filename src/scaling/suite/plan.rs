//! What would be run: cells by size, FLOPs, wall time, and the saving against separate runs.

use super::cell::Cell;
use super::cost::Cost;
use super::missing::few;
use super::pool;
use super::suite::{Model, State, Suite};
use crate::train::speed;
use serde::Serialize;

/// One size of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub size: String,
    /// N: parameters with the head, without the input embedding.
    pub params: u64,
    pub params_total: u64,
    /// Executed FLOPs of training on one token.
    pub flops_per_token: f64,
    pub tokens_per_step: u64,
    pub peak_lr: f64,
    pub warmup_steps: u64,
    /// In steps.
    pub horizons: Vec<u64>,
    pub cells: usize,
    /// Cells that are not finished.
    pub to_do: usize,
    /// Steps of all cells, each counting its own.
    pub steps: u64,
    pub tokens: f64,
    pub flops: f64,
    /// Of a step, on this machine; none where the model is too large to be tried here.
    pub seconds_per_step: Option<f64>,
    /// Wall time of what is left to do.
    pub seconds: Option<f64>,
}

/// A plan.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub name: String,
    pub out: String,
    pub seeds: Vec<u64>,
    pub sizes: Vec<Row>,
    pub cells: usize,
    pub to_do: usize,
    pub cost: Cost,
    /// Trunks and cooldowns over separate runs, in FLOPs.
    pub ratio: f64,
    /// Wall time of what is left to do.
    pub seconds: Option<f64>,
    pub notes: Vec<String>,
}

impl Plan {
    /// Measures each size for a moment and adds up. With `clock` false nothing is measured.
    pub fn of(suite: &Suite, clock: bool) -> Plan {
        let cost = Cost::of(suite, |_, c| c.own_steps());
        let models = suite.models.iter().enumerate();
        let sizes: Vec<Row> = models.map(|(i, m)| row(suite, i, m, clock)).collect();
        Plan {
            name: suite.spec.name.clone(),
            out: suite.spec.out.display().to_string(),
            seeds: suite.spec.seeds.clone(),
            cells: suite.cells.len(),
            to_do: sizes.iter().map(|r| r.to_do).sum(),
            ratio: cost.ratio(),
            cost,
            seconds: sizes.iter().map(|r| r.seconds).sum(),
            notes: suite.notes.iter().cloned().chain(anew(suite)).collect(),
            sizes,
        }
    }

    /// Seconds that a cell still takes, by the speeds measured.
    pub fn seconds(&self, suite: &Suite, cell: &Cell) -> Option<f64> {
        let model = suite.model(cell);
        let per_token = self.sizes[cell.model].seconds_per_step? / model.tokens_per_step as f64;
        Some(seconds_left(suite, cell, per_token))
    }
}

/// That trunks are trained again, and what of it an older one has done already.
fn anew(suite: &Suite) -> Option<String> {
    let (mut trunks, mut flops) = (Vec::new(), 0.0);
    for cell in &suite.cells {
        if let Some(steps) = pool::begins_anew(suite, cell) {
            trunks.push(cell.id.clone());
            flops += suite.model(cell).flops(steps);
        }
    }
    let begin = match trunks.len() {
        0 => return None,
        1 => "begins",
        _ => "begin",
    };
    Some(format!(
        "{} {begin} anew: a longer trunk with averages cannot go on from the shorter one; {flops:.2e} FLOP that were spent are spent again",
        few(&trunks, 3)
    ))
}

fn seconds_per_token(model: &Model) -> Option<f64> {
    speed::seconds_per_token(&model.config, model.data.vocab_size, model.flops_per_token)
}

fn row(suite: &Suite, index: usize, model: &Model, clock: bool) -> Row {
    let cells = || suite.cells.iter().filter(move |c| c.model == index);
    let steps = cells().map(Cell::own_steps).sum();
    let left = |c: &&Cell| suite.state(c) != State::Finished;
    let to_do = cells().filter(left).count();
    let measured = (clock && to_do > 0).then(|| seconds_per_token(model));
    let per_token = measured.flatten();
    let seconds = |of: f64| cells().map(|c| seconds_left(suite, c, of)).sum();
    Row {
        size: model.name.clone(),
        params: model.params.with_head as u64,
        params_total: model.params.total as u64,
        flops_per_token: model.flops_per_token,
        tokens_per_step: model.tokens_per_step,
        peak_lr: model.config.schedule.peak_lr,
        warmup_steps: model.warmup,
        horizons: model.horizons.clone(),
        cells: cells().count(),
        to_do,
        steps,
        tokens: model.tokens(steps),
        flops: model.flops(steps),
        seconds_per_step: per_token.map(|s| s * model.tokens_per_step as f64),
        seconds: match to_do {
            0 => Some(0.0),
            _ => per_token.map(seconds),
        },
    }
}

/// Steps and evaluations that a cell still has before it; an evaluation is a forward pass, a third of a step.
fn seconds_left(suite: &Suite, cell: &Cell, per_token: f64) -> f64 {
    let from = match suite.state(cell) {
        State::Finished => return 0.0,
        State::Begun(step) => step.min(cell.steps),
        State::New => pool::head_start(suite, cell).map_or(cell.first_step(), |(_, step)| step),
    };
    let model = suite.model(cell);
    let eval = &model.config.eval;
    let of_step = |steps: u64| steps.checked_div(eval.every).unwrap_or(0);
    let evaluations = of_step(cell.steps) - of_step(from) + 1;
    let window = model.config.train.sequence_length as f64;
    let held_out = match eval.sequences {
        0 => model.data.val_tokens as f64,
        n => (n as f64 * window).min(model.data.val_tokens as f64),
    };
    per_token * (model.tokens(cell.steps - from) + evaluations as f64 * held_out / 3.0)
}
