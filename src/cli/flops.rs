//! `lehr flops`: parameters and FLOPs of a recipe, itemised.

use super::format::{count, thousands};
use super::train::{ModelFlags, lay};
use crate::error::{Error, Result};
use crate::model::flops::{ForwardFlops, ParamCount, TRAIN_OVER_FORWARD};
use crate::train::RunConfig;
use crate::train::recipe::Layers;
use serde_json::json;
use toml::Value;

/// Rows of the embedding of a recipe, where the text need not be read to know them.
///
/// # Errors
/// The recipe leaves them to a tokenizer that the text makes.
pub(super) fn vocab_size(config: &RunConfig) -> Result<usize> {
    let tokenizer = config.data.tokenizer.as_str();
    let known = match (config.data.vocab_size, tokenizer) {
        (0, "gpt2") => Some(50257),
        // English text; the characters of the corpus decide.
        (0, "char") => Some(96),
        (0, _) => tokenizer.strip_prefix("bpe-").and_then(|n| n.parse().ok()),
        (n, _) => Some(n),
    };
    known.ok_or_else(|| {
        Error::input(format!(
            "the vocabulary of the tokenizer {tokenizer} is known only from its text; give --vocab-size N"
        ))
    })
}

/// Itemise parameters and FLOPs
///
/// Formulas: Hoffmann et al. 2022, appendix F; the backward pass counts twice the forward.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  lehr flops --config gpt2-124m")]
pub struct Args {
    /// Recipe: the name of one that ships, or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    config: Option<String>,
    /// Sets any key of the configuration
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    model: ModelFlags,
    /// Rows of the embedding
    #[arg(long)]
    vocab_size: Option<i64>,
    /// Tokens a sequence
    #[arg(long)]
    sequence_length: Option<i64>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let mut layers = Layers::new();
    if let Some(recipe) = &args.config {
        layers.recipe(recipe)?;
    }
    args.model.lay(&mut layers)?;
    let (v, s) = (args.vocab_size, args.sequence_length);
    lay(
        &mut layers,
        "--vocab-size",
        "data.vocab_size",
        v.map(Value::Integer),
    )?;
    lay(
        &mut layers,
        "--sequence-length",
        "train.sequence_length",
        s.map(Value::Integer),
    )?;
    for assignment in &args.set {
        layers.assign(assignment)?;
    }
    let config = layers.finish()?;
    let vocab_size = vocab_size(&config)?;
    let model = config.model_config(vocab_size)?;
    let s = config.train.sequence_length;
    let params = ParamCount::of(&model);
    let flops = ForwardFlops::of(&model, s);
    let tokens = config.tokens_per_step() * config.train.iterations;
    let per_token = |per_sequence: f64| TRAIN_OVER_FORWARD * per_sequence / s as f64;
    let executed = per_token(flops.executed());
    let chinchilla = per_token(flops.chinchilla());
    let rules = [
        ("6 N, N non-embedding", 6.0 * params.non_embedding as f64),
        ("6 N, N with head", 6.0 * params.with_head as f64),
        ("6 N, N all", 6.0 * params.total as f64),
    ];
    if args.json {
        let value = json!({
            "params": params,
            "sequence_length": s,
            "forward_per_sequence": flops,
            "train_over_forward": TRAIN_OVER_FORWARD,
            "train_per_token": {"executed": executed, "chinchilla": chinchilla,
                "six_n_non_embedding": rules[0].1, "six_n_with_head": rules[1].1, "six_n_all": rules[2].1},
            "run": {"tokens": tokens, "tokens_per_step": config.tokens_per_step(),
                "steps": config.train.iterations,
                "train_flops_executed": executed * tokens as f64,
                "train_flops_chinchilla": chinchilla * tokens as f64},
        });
        println!("{value:#}");
        return Ok(());
    }
    println!(
        "{} {} layers × {}, {} heads ({} key/value), MLP {}, vocabulary {}{}",
        model.family,
        model.n_layer,
        model.n_embd,
        model.n_head,
        model.n_kv_head,
        thousands(model.intermediate_size as u64),
        thousands(vocab_size as u64),
        if model.tied { ", tied" } else { "" }
    );
    println!("\nparameters");
    let items = [
        ("token embedding", params.token_embedding),
        ("position embedding", params.position_embedding),
        ("attention", params.attention),
        ("MLP", params.mlp),
        ("norms", params.norms),
        ("head", params.head),
    ];
    for (name, n) in items.into_iter().filter(|(_, n)| *n > 0) {
        let share = 100.0 * n as f64 / params.total as f64;
        println!("  {name:<36}{:>16} {share:>6.1} %", thousands(n as u64));
    }
    println!("  {:<36}{:>16}", "N, all", thousands(params.total as u64));
    for (name, n) in [
        ("N, non-embedding (Kaplan)", params.non_embedding),
        ("N, with head, no input embedding", params.with_head),
    ] {
        println!("  {name:<36}{:>16}", thousands(n as u64));
    }
    println!(
        "\nFLOPs per sequence of {}            forward     backward",
        thousands(s as u64)
    );
    let items = [
        ("embedding, as one-hot product", flops.embedding),
        ("queries, keys, values", flops.attention_qkv),
        ("attention scores", flops.attention_scores),
        ("softmax", flops.attention_softmax),
        ("attention values", flops.attention_values),
        ("attention output", flops.attention_output),
        ("MLP", flops.mlp),
        ("head", flops.head),
    ];
    for (name, n) in items {
        let (forward, backward) = (count(n), count((TRAIN_OVER_FORWARD - 1.0) * n));
        println!("  {name:<32}{forward:>12} {backward:>12}");
    }
    println!("\ntraining, C per token             forward + backward");
    println!(
        "  {:<36}{:>16}",
        "executed (embedding is a look-up)",
        count(executed)
    );
    println!(
        "  {:<36}{:>16}",
        "Chinchilla (embedding counted)",
        count(chinchilla)
    );
    for (name, n) in rules {
        println!("  {name:<36}{:>16}", count(n));
    }
    println!(
        "\nrun  {} steps × {} tokens = {} tokens, {}FLOP executed",
        thousands(config.train.iterations),
        thousands(config.tokens_per_step()),
        count(tokens as f64),
        count(executed * tokens as f64)
    );
    Ok(())
}
