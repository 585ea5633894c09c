//! Which column is which: the names that people give to steps, learning rates and losses.
//!
//! Names are compared in lower case with everything that is no letter or digit read as `_`, so
//! `train/loss`, `Train Loss` and `train_loss` are one name. A name of the tables below goes before
//! a looser match, and an earlier name of a table before a later one.

use super::frame::{Column, Frame};
use super::{ColumnMap, LossKind};
use crate::error::{Error, Result};

/// Optimiser steps. `_step` comes last: in W&B it counts calls of `log`.
const STEPS: &[&str] = &[
    "global_step",
    "train_global_step",
    "trainer_global_step",
    "globalstep",
    "optimizer_step",
    "step",
    "steps",
    "iter",
    "iters",
    "iteration",
    "iterations",
    "iter_num",
    "n_iter",
    "train_step",
    "train_iter",
    "update",
    "updates",
    "num_updates",
    "train_steps",
    "it",
    "_step",
];
const LRS: &[&str] = &[
    "lr",
    "learning_rate",
    "train_lr",
    "train_learning_rate",
    "learningrate",
    "lrs",
    "learning_rates",
    "lr_0",
    "optim_lr",
];
const VALIDATION: &[&str] = &[
    "val_loss",
    "eval_loss",
    "validation_loss",
    "valid_loss",
    "test_loss",
    "loss_val",
    "loss_eval",
    "loss_validation",
    "loss_valid",
    "loss_test",
];
const TRAINING: &[&str] = &[
    "train_loss",
    "training_loss",
    "loss_train",
    "loss_training",
    "tr_loss",
    "batch_loss",
    "train_lm_loss",
    "lm_loss",
];
const BARE: &[&str] = &[
    "loss",
    "losses",
    "mean_loss",
    "loss_mean",
    "cross_entropy",
    "ce_loss",
    "nll",
];

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Step,
    Lr,
    Loss(LossKind),
}

/// A role, and how well the name fits it: smaller is better.
pub(super) fn role_of(name: &str) -> Option<(Role, usize)> {
    // W&B's tables have the least and the most of a smoothed point beside it.
    if name.ends_with("__MIN") || name.ends_with("__MAX") {
        return None;
    }
    let name = normal(name);
    // `_step` and `step` differ by what `normal` strips.
    let within = |table: &[&str]| table.iter().position(|known| *known == name);
    if let Some(rank) = within(STEPS) {
        return Some((Role::Step, rank));
    }
    if let Some(rank) = within(LRS) {
        return Some((Role::Lr, rank));
    }
    for (table, kind) in [
        (VALIDATION, LossKind::Validation),
        (TRAINING, LossKind::TrainBatch),
        (BARE, LossKind::Unknown),
    ] {
        if let Some(rank) = within(table) {
            return Some((Role::Loss(kind), rank));
        }
    }
    let words: Vec<&str> = name.split('_').filter(|w| !w.is_empty()).collect();
    let has = |any: &[&str]| words.iter().any(|w| any.contains(w));
    const LOOSE: usize = 100;
    // `lr-AdamW`, `opt/lr`; not `lr_scale`.
    if (words.first() == Some(&"lr")
        || words.last() == Some(&"lr")
        || name.ends_with("learning_rate"))
        && !has(&["scale", "mult", "ratio", "factor", "min", "max", "decay"])
    {
        return Some((Role::Lr, LOOSE));
    }
    const ASIDE: &[&str] = &[
        "aux",
        "z",
        "scale",
        "scaler",
        "std",
        "var",
        "min",
        "max",
        "best",
        "balance",
        "balancing",
        "router",
        "moe",
        "kl",
        "reg",
        "regularization",
        "weight",
        "weights",
        "count",
        "time",
    ];
    if has(&["loss", "ce", "nll", "xent"]) && !has(ASIDE) {
        let held_out = [
            "val",
            "valid",
            "validation",
            "eval",
            "evaluation",
            "test",
            "dev",
            "heldout",
        ];
        if has(&held_out) {
            return Some((Role::Loss(LossKind::Validation), LOOSE));
        }
        if has(&["train", "training", "tr", "batch", "lm"]) {
            return Some((Role::Loss(LossKind::TrainBatch), LOOSE));
        }
        // `Metrics/loss`
        if words.last() == Some(&"loss") {
            return Some((Role::Loss(LossKind::Unknown), LOOSE));
        }
    }
    if words.len() > 1 && words.last() == Some(&"step") && has(&["global"]) {
        return Some((Role::Step, LOOSE));
    }
    None
}

/// Lower case, `_` for everything else than letters and digits, one leading `_` kept.
fn normal(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.trim().chars() {
        if c.is_alphanumeric() {
            out.extend(c.to_lowercase());
        } else if !out.ends_with('_') {
            out.push('_');
        }
    }
    out.trim_end_matches('_').to_string()
}

/// Columns of one frame by index.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub step: usize,
    pub lr: Option<usize>,
    /// With the kind of each; the preferred one is for the caller to say. At most one a kind.
    pub losses: Vec<(usize, LossKind)>,
}

/// Finds the columns that the user named, or those that the names above give away.
///
/// # Errors
/// No such column, several that fit equally, or a column at fault; `file` is for the message.
pub(super) fn choose(frame: &Frame, map: &ColumnMap, file: &str) -> Result<Chosen> {
    let step = match &map.step {
        Some(name) => named(frame, name, file, "step")?,
        None => only_best(frame, Role::Step, file, "step")?
            .ok_or_else(|| missing(frame, file, "step", "step, iter, iteration or global_step"))?,
    };
    let lr = match &map.lr {
        Some(name) => Some(named(frame, name, file, "lr")?),
        None => only_best(frame, Role::Lr, file, "lr")?,
    };
    let mut losses = Vec::new();
    match &map.loss {
        Some(name) => {
            let at = named(frame, name, file, "loss")?;
            let kind = match role_of(&frame.columns[at].name) {
                Some((Role::Loss(LossKind::Unknown), _)) | None => frame.bare_loss,
                Some((Role::Loss(kind), _)) => kind,
                Some(_) => LossKind::Unknown,
            };
            losses.push((at, kind));
        }
        None => {
            for kind in [
                LossKind::Validation,
                LossKind::TrainBatch,
                LossKind::Unknown,
            ] {
                if let Some(at) = only_best(frame, Role::Loss(kind), file, "loss")? {
                    losses.push((at, kind));
                }
            }
        }
    }
    if losses.is_empty() {
        return Err(missing(
            frame,
            file,
            "loss",
            "loss, train_loss, val_loss or eval_loss",
        ));
    }
    // Beside a validation loss, `loss` is that of training; otherwise what the format says.
    let beside = losses.iter().any(|l| l.1 == LossKind::Validation);
    let trained = losses.iter().any(|l| l.1 == LossKind::TrainBatch);
    if map.loss.is_none() {
        if trained {
            losses.retain(|l| l.1 != LossKind::Unknown);
        }
        for loss in &mut losses {
            if loss.1 == LossKind::Unknown {
                loss.1 = if beside {
                    LossKind::TrainBatch
                } else {
                    frame.bare_loss
                };
            }
        }
    }
    Ok(Chosen { step, lr, losses })
}

/// The best column of a role; an error where two fit equally loosely.
fn only_best(frame: &Frame, role: Role, file: &str, what: &str) -> Result<Option<usize>> {
    let fits = |c: &Column| {
        role_of(&c.name)
            .filter(|(r, _)| *r == role)
            .map(|(_, rank)| rank)
    };
    let mut best: Option<(usize, usize)> = None;
    let mut tie = None;
    for (at, column) in frame.columns.iter().enumerate() {
        let Some(rank) = fits(column) else { continue };
        match best {
            Some((_, r)) if r < rank => {}
            Some((first, r)) if r == rank => tie = tie.or(Some((first, at))),
            _ => {
                best = Some((at, rank));
                tie = None;
            }
        }
    }
    // Parameter groups of one optimiser share their schedule; anything else is for the user to say.
    match tie {
        Some((a, b)) if role != Role::Lr => Err(Error::input(format!(
            "{file} has more than one column that may be the {what}: {} and {}; \
             name the one that counts (--{what}-column)",
            frame.columns[a].name, frame.columns[b].name
        ))),
        _ => Ok(best.map(|(at, _)| at)),
    }
}

fn named(frame: &Frame, name: &str, file: &str, what: &str) -> Result<usize> {
    let exact = |c: &Column| c.name == name;
    let loose = |c: &Column| c.name.eq_ignore_ascii_case(name);
    let columns = &frame.columns;
    columns
        .iter()
        .position(exact)
        .or_else(|| columns.iter().position(loose))
        .ok_or_else(|| {
            Error::input(format!(
                "{file} has no column '{name}' for the {what}; it has {}",
                list(frame)
            ))
        })
}

fn missing(frame: &Frame, file: &str, what: &str, names: &str) -> Error {
    Error::input(format!(
        "{file} has no column that is clearly the {what} ({names}); it has {}; \
         name it with --{what}-column",
        list(frame)
    ))
}

/// The first names, for a message.
fn list(frame: &Frame) -> String {
    const SHOWN: usize = 12;
    let names = frame
        .columns
        .iter()
        .map(|c| c.name.chars().take(60).collect());
    let names: Vec<String> = names.take(SHOWN).collect();
    match frame.columns.len() {
        0 => "no columns".into(),
        n if n > SHOWN => format!("{} and {} more", names.join(", "), n - SHOWN),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_field() {
        use LossKind::*;
        for (name, role) in [
            ("step", Some(Role::Step)),
            ("_step", Some(Role::Step)),
            ("train/global_step", Some(Role::Step)),
            ("Iteration", Some(Role::Step)),
            ("lr", Some(Role::Lr)),
            ("Learning Rate", Some(Role::Lr)),
            ("lr-AdamW/pg1", Some(Role::Lr)),
            ("optim/lr", Some(Role::Lr)),
            ("lr_scale", None),
            ("train/loss", Some(Role::Loss(TrainBatch))),
            ("Loss/val", Some(Role::Loss(Validation))),
            ("eval_loss", Some(Role::Loss(Validation))),
            ("val/c4_en_loss", Some(Role::Loss(Validation))),
            ("loss", Some(Role::Loss(Unknown))),
            ("a - train/loss__MIN", None),
            ("aux_loss", None),
            ("Metrics/loss", Some(Role::Loss(Unknown))),
            ("loss_scale", None),
            ("grad_norm", None),
            ("tokens", None),
        ] {
            assert_eq!(role_of(name).map(|r| r.0), role, "{name}");
        }
    }
}
