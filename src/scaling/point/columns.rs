//! Which column is which: the names that people give to N, D, C and the loss.

use super::table::Table;
use crate::error::{Error, Result};

/// Columns by the names that a user gave; `None` looks for the usual ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    pub params: Option<String>,
    pub tokens: Option<String>,
    pub flops: Option<String>,
    pub loss: Option<String>,
}

// Compared in lower case, everything that is no letter or digit read as `_`; an earlier name goes before a later.
const PARAMS: &[&str] = &[
    "params",
    "params_n",
    "parameters",
    "n_params",
    "num_params",
    "nparams",
    "n_parameters",
    "num_parameters",
    "parameter_count",
    "param_count",
    "total_params",
    "model_params",
    "model_parameters",
    "model_size",
    "n_non_embedding",
    "non_embedding_params",
    "n",
];
const TOKENS: &[&str] = &[
    "tokens",
    "tokens_d",
    "n_tokens",
    "num_tokens",
    "ntokens",
    "train_tokens",
    "training_tokens",
    "total_tokens",
    "tokens_seen",
    "dataset_size",
    "data_size",
    "d",
];
const FLOPS: &[&str] = &[
    "flops",
    "flops_c",
    "flop",
    "train_flops",
    "training_flops",
    "training_flop",
    "total_flops",
    "n_flops",
    "compute",
    "compute_budget",
    "compute_flops",
    "flops_budget",
    "budget",
    "c",
];
const LOSS: &[&str] = &[
    "final_loss",
    "final_val_loss",
    "final_validation_loss",
    "val_loss",
    "validation_loss",
    "valid_loss",
    "eval_loss",
    "test_loss",
    "loss",
    "final_train_loss",
    "train_loss",
    "training_loss",
    "l",
];
const SIZE: &[&str] = &["size", "size_name", "model", "model_name", "name"];
const SEED: &[&str] = &["seed", "model_seed"];
const KIND: &[&str] = &["kind"];

/// Columns by index.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) params: Option<usize>,
    pub(super) tokens: Option<usize>,
    pub(super) flops: Option<usize>,
    pub(super) loss: usize,
    pub(super) size: Option<usize>,
    pub(super) seed: Option<usize>,
    pub(super) kind: Option<usize>,
    /// Flags that leave a row out.
    pub(super) outlier: Vec<usize>,
    pub(super) notes: Vec<String>,
}

/// # Errors
/// A named column that is not there; no loss; fewer than two of N, D and C.
pub(super) fn choose(table: &Table, wanted: &Columns, file: &str) -> Result<Chosen> {
    let names: Vec<String> = table.names.iter().map(|name| normal(name)).collect();
    let mut notes = Vec::new();
    let mut find = |given: &Option<String>, known: &[&str], what: &str| match given {
        Some(name) => named(table, name, file).map(Some),
        None => {
            let fits: Vec<usize> = known
                .iter()
                .filter_map(|k| names.iter().position(|n| n == k))
                .collect();
            if let [first, second, ..] = fits[..] {
                notes.push(format!(
                    "{what} read from column {}, not {}",
                    table.names[first], table.names[second]
                ));
            }
            Ok(fits.first().copied())
        }
    };
    let params = find(&wanted.params, PARAMS, "parameters")?;
    let tokens = find(&wanted.tokens, TOKENS, "tokens")?;
    let flops = find(&wanted.flops, FLOPS, "FLOPs")?;
    let loss = find(&wanted.loss, LOSS, "loss")?;
    let missing = |what: &str| {
        Error::input(format!(
            "{file} has the columns {}; wanted {what}; rename one, or say which is which with --columns",
            listed(&table.names)
        ))
    };
    let loss = loss.ok_or_else(|| missing("a loss (loss, final_loss, val_loss or L)"))?;
    if [params, tokens, flops].iter().flatten().count() < 2 {
        return Err(missing(
            "two of parameters (params or N), tokens (tokens or D) and FLOPs (flops, compute or C)",
        ));
    }
    let first = |known: &[&str]| {
        let mut found = known
            .iter()
            .filter_map(|k| names.iter().position(|n| n == k));
        found.next()
    };
    Ok(Chosen {
        params,
        tokens,
        flops,
        loss,
        size: first(SIZE),
        seed: first(SEED),
        kind: first(KIND),
        outlier: (0..names.len())
            .filter(|&i| names[i].starts_with("outlier") || names[i].starts_with("exclude"))
            .collect(),
        notes,
    })
}

fn named(table: &Table, name: &str, file: &str) -> Result<usize> {
    let loose = || {
        let mut all = table.names.iter();
        all.position(|n| normal(n) == normal(name))
    };
    let exact = table.names.iter().position(|n| n == name);
    exact.or_else(loose).ok_or_else(|| {
        Error::input(format!(
            "{file} has no column {name}; its columns are {}",
            listed(&table.names)
        ))
    })
}

/// The first dozen names.
fn listed(names: &[String]) -> String {
    let short = |name: &String| name.chars().take(40).collect::<String>();
    let shown: Vec<String> = names.iter().take(12).map(short).collect();
    match names.len() {
        0 => "(none)".to_string(),
        1..=12 => shown.join(", "),
        more => format!("{} and {} more", shown.join(", "), more - 12),
    }
}

fn normal(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.trim().chars() {
        if c.is_alphanumeric() {
            out.extend(c.to_lowercase());
        } else if !out.ends_with('_') {
            out.push('_');
        }
    }
    out.trim_matches('_').to_string()
}
