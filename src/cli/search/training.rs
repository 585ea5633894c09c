//! This trainer as an oracle: a query is a run of a recipe, its cost the FLOPs that it executes.

use crate::cli::flops;
use crate::cli::prepare::Watcher;
use crate::cli::signal;
use crate::error::{Error, Result};
use crate::model::flops::{ForwardFlops, ParamCount};
use crate::scaling::search::{Answer, Oracle, Query, Reply, Space, space};
use crate::text::dataset::DatasetIndex;
use crate::train::RunConfig;
use crate::train::metrics::StepRecord;
use crate::train::recipe::Layers;
use crate::train::run::{Observer, Run};
use crate::train::rundir::RUN_FILE;
use crate::train::setup::is_dataset;
use crate::train::start::StartOptions;
use std::path::{Path, PathBuf};

/// A recipe whose sizes, learning rate and length the search decides.
pub struct Training {
    base: RunConfig,
    vocab_size: usize,
    space: Space,
    out: PathBuf,
    name: String,
}

/// A shorter run is all warm-up.
const FEWEST_STEPS: f64 = 50.0;
/// The least budget of a run, over what the smallest model needs: several sizes fit into it.
const SEVERAL_SIZES: f64 = 4.0;
/// Checkpoints within a run: what a kill can cost.
const CHECKPOINTS: u64 = 10;

impl Training {
    /// A recipe with `--set` over it. The space goes from an eighth of the recipe's width to four times it.
    ///
    /// # Errors
    /// A recipe, key or bound that cannot be used.
    pub fn new(
        recipe: &str,
        set: &[String],
        bounds: Option<&str>,
        budget: f64,
        out: &Path,
    ) -> Result<Training> {
        let mut layers = Layers::new();
        if !recipe.is_empty() {
            layers.recipe(recipe)?;
        }
        for assignment in set {
            layers.assign(assignment)?;
        }
        let base = layers.finish()?;
        let data = Path::new(&base.data.path);
        let vocab_size = match is_dataset(data) && base.data.vocab_size == 0 {
            true => DatasetIndex::read(data)?.vocab_size,
            false => flops::vocab_size(&base)?,
        };
        let whole = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (m, t) = (&base.model, &base.train);
        let peak = base.schedule.peak_lr;
        let mut training = Training {
            space: Space {
                d_model: (whole(m.n_embd / 8).max(8), whole(m.n_embd * 4)),
                num_layers: (1, whole(m.n_layer * 2)),
                num_heads: (1, whole(m.n_head * 4)),
                batch_size: vec![whole(t.batch_size)],
                learning_rate: (peak / 30.0, peak * 10.0),
                train_flops: Vec::new(),
            },
            vocab_size,
            out: out.to_path_buf(),
            name: String::new(),
            base,
        };
        training.space.lay(bounds.unwrap_or_default())?;
        if training.space.train_flops.is_empty() {
            let least = SEVERAL_SIZES * training.cheapest()?;
            training.space.train_flops = space::budgets(least.max(budget * 1e-3), budget / 2.0);
        }
        training.name = format!("train:{recipe} {}", training.fingerprint()?);
        Ok(training)
    }

    /// FLOPs of the smallest model over the fewest steps that mean anything.
    fn cheapest(&self) -> Result<f64> {
        let mut least = f64::INFINITY;
        for size in self.space.sizes()? {
            let query = size.query(self.space.batch_size[0], 1e-3, 1.0);
            let steps = FEWEST_STEPS * self.tokens_per_step(&query);
            least = least.min(self.flops_per_token(&query) * steps);
        }
        Ok(least)
    }

    /// What the answers depend on besides the query, as a short hash.
    fn fingerprint(&self) -> Result<String> {
        let query = Query {
            d_model: 64,
            num_layers: 1,
            num_heads: 1,
            batch_size: 1,
            learning_rate: 1e-3,
            train_flops: 1e9,
        };
        let text = toml::to_string(&self.config(&query)?.to_table()).map_err(Error::backend)?;
        let key = format!("{text}{}", self.vocab_size);
        Ok(blake3::hash(key.as_bytes()).to_hex()[..8].to_string())
    }

    fn tokens_per_step(&self, query: &Query) -> f64 {
        let t = &self.base.train;
        f64::from(query.batch_size) * (t.grad_accumulation * t.sequence_length) as f64
    }

    fn flops_per_token(&self, query: &Query) -> f64 {
        let mut config = self.base.clone();
        size(&mut config, query);
        // Bounds on sizes are checked before any is asked for; a size that is none costs too much.
        match config.model_config(self.vocab_size) {
            Ok(model) => ForwardFlops::train_per_token(&model, config.train.sequence_length),
            Err(_) => f64::INFINITY,
        }
    }

    fn steps(&self, query: &Query) -> f64 {
        let step = self.flops_per_token(query) * self.tokens_per_step(query);
        (query.train_flops / step).floor().max(1.0)
    }

    fn config(&self, query: &Query) -> Result<RunConfig> {
        let mut config = self.base.clone();
        size(&mut config, query);
        let steps = self.steps(query) as u64;
        config.train.iterations = steps;
        config.train.batch_size = query.batch_size as usize;
        // A run that diverges is an answer too; see `Watch`.
        config.train.non_finite = crate::train::config::NonFinite::Skip;
        config.schedule.peak_lr = query.learning_rate;
        config.eval.every = 0;
        config.sample.every = 0;
        config.sample.tokens = 1;
        config.checkpoint.every = steps.div_ceil(CHECKPOINTS);
        config.checkpoint.keep_last = 1;
        config.validate()?;
        Ok(config)
    }

    fn dir(&self, q: &Query) -> PathBuf {
        let hash = self.name.rsplit(' ').next().unwrap_or_default();
        self.out.join(format!(
            "{hash}-d{}-l{}-h{}-b{}-lr{:e}-c{:e}",
            q.d_model, q.num_layers, q.num_heads, q.batch_size, q.learning_rate, q.train_flops
        ))
    }
}

fn size(config: &mut RunConfig, query: &Query) {
    let m = &mut config.model;
    (m.n_embd, m.n_layer) = (query.d_model as usize, query.num_layers as usize);
    m.n_head = query.num_heads as usize;
    // Derived from the width; the recipe's own would not fit.
    (m.n_kv_head, m.intermediate_size) = (0, 0);
}

/// Counts the updates that were left out one after another, up to now.
#[derive(Default)]
struct Watch {
    skipped: u32,
}

impl Observer for Watch {
    fn stepped(&mut self, record: &StepRecord) {
        self.skipped = if record.skipped { self.skipped + 1 } else { 0 };
    }
}

/// Whether the trainer gave a run up over numbers that are not finite: it says so as bad input, after updates left
/// out one after another or after weights or a last loss that are no numbers. A full disk or a damaged file is another kind.
fn diverged(error: &Error, watch: &Watch) -> bool {
    let Error::Input(words) = error else {
        return false;
    };
    watch.skipped > 1 && words.contains("the gradient norm")
        || words.starts_with("the held-out loss after the last step is")
        || words.contains("are not finite")
}

impl Oracle for Training {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn space(&self) -> &Space {
        &self.space
    }

    /// With the head and without the input embedding (Porian et al. 2024): the count for which 6·N·D is nearest to the FLOPs
    /// of a small model.
    fn params(&self, query: &Query) -> f64 {
        let mut config = self.base.clone();
        size(&mut config, query);
        match config.model_config(self.vocab_size) {
            Ok(model) => ParamCount::of(&model).with_head as f64,
            Err(_) => f64::INFINITY,
        }
    }

    fn tokens(&self, query: &Query) -> f64 {
        self.steps(query) * self.tokens_per_step(query)
    }

    fn worth_asking(&self, query: &Query) -> bool {
        self.steps(query) >= FEWEST_STEPS
    }

    fn cost(&self, query: &Query) -> f64 {
        self.tokens(query) * self.flops_per_token(query)
    }

    fn ask(&mut self, query: &Query) -> Result<Reply> {
        let dir = self.dir(query);
        let mut progress = Watcher::new()?;
        // A run that a killed process left behind goes on, and a finished one is evaluated again.
        let run = match dir.join(RUN_FILE).exists() {
            true => Run::resume(&dir, None, &mut progress),
            false => {
                let config = self.config(query)?;
                Run::start(&dir, config, &StartOptions::default(), &mut progress)
            }
        };
        progress.finish();
        let mut watch = Watch::default();
        let stop = signal::stop_flag()?;
        let loss = match run?.train(&mut watch, stop) {
            Ok(summary) => summary.eval.val_loss,
            Err(Error::Interrupted(_)) => {
                return Err(Error::Interrupted(
                    "stopped; every answer is kept, and the same command goes on from here".into(),
                ));
            }
            Err(e) if diverged(&e, &watch) => f64::INFINITY,
            Err(e) => return Err(e),
        };
        Ok(Reply::Answered(Answer {
            loss,
            total_flops_used: None,
        }))
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn only_numbers_that_are_not_finite_are_divergence() {
        let (calm, rough) = (Watch { skipped: 0 }, Watch { skipped: 20 });
        let said = "step 21: the loss is NaN and the gradient norm NaN at learning rate 1e1";
        assert!(diverged(&Error::input(said), &rough));
        assert!(diverged(
            &Error::input("the held-out loss after the last step is NaN, so there is no model"),
            &calm
        ));
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        for other in [
            Error::Interrupted("stopped after step 3".into()),
            Error::io("write", "x", full),
            Error::corrupt("x", "it is short"),
            Error::input("checkpoint.every: give a number"),
        ] {
            assert!(!diverged(&other, &rough), "{other}");
        }
    }
}
