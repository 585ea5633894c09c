//! A suite whose models are sized, whose corpus is known, and whose cells are resolved.

use super::cell::{self, Cell, Further, Kind, Recipe};
use super::spec::{Size, Spec};
use crate::error::{Error, Result};
use crate::model::ModelConfig;
use crate::model::flops::{ForwardFlops, ParamCount};
use crate::schedule::Warmup;
use crate::text::loader::Loader;
use crate::text::prepare::Progress;
use crate::train::RunConfig;
use crate::train::cached;
pub use crate::train::cached::State;
use crate::train::config::DataSection;
use crate::train::evaluate::HeldOut;
use crate::train::recipe::Layers;
use crate::train::setup::Source;
use std::path::PathBuf;
use toml::Value;

/// What may be run, and everything that can be wrong with it has been looked for.
pub struct Suite {
    pub spec: Spec,
    pub models: Vec<Model>,
    pub cells: Vec<Cell>,
    /// What the user should know, in sentences.
    pub notes: Vec<String>,
}

/// One size, resolved.
#[derive(Clone, Debug)]
pub struct Model {
    pub name: String,
    /// What its cells have in common: the cosine's peak LR, the warm-up in steps.
    pub config: RunConfig,
    pub sizes: ModelConfig,
    pub params: ParamCount,
    /// Executed FLOPs of training on one token; see [`crate::model::flops`].
    pub flops_per_token: f64,
    pub tokens_per_step: u64,
    pub warmup: u64,
    /// In steps, rising.
    pub horizons: Vec<u64>,
    pub data: Data,
}

impl Model {
    /// N of the results: parameters with the head and without the input embedding, of which 6·N·D is nearest to the
    /// FLOPs that are executed (Porian et al. 2024, arXiv 2406.19146).
    pub fn n(&self) -> f64 {
        self.params.with_head as f64
    }

    pub fn tokens(&self, steps: u64) -> f64 {
        (steps * self.tokens_per_step) as f64
    }

    /// Executed training FLOPs of so many steps.
    pub fn flops(&self, steps: u64) -> f64 {
        self.flops_per_token * self.tokens(steps)
    }
}

/// What is known of a corpus.
#[derive(Clone, Debug)]
pub struct Data {
    pub section: DataSection,
    pub tokenizer: String,
    pub vocab_size: usize,
    pub train_tokens: u64,
    pub val_tokens: u64,
    pub fingerprint: String,
}

impl Suite {
    /// Resolves a spec: reads (and if need be prepares) the corpus, sizes the models, lists the cells.
    ///
    /// # Errors
    /// Everything that can be wrong before a step is trained, in a sentence that names the size.
    pub fn resolve(spec: Spec, progress: &mut dyn Progress) -> Result<Suite> {
        let mut sources: Vec<(DataSection, Source)> = Vec::new();
        let (mut models, mut cells) = (Vec::new(), Vec::new());
        let mut advice = Advice::default();
        for (index, size) in spec.sizes.iter().enumerate() {
            let place = format!("{}, size {}", spec.path.display(), size.name);
            let named = |e: Error| match e {
                Error::Input(what) => Error::input(format!("{place}: {what}")),
                other => other,
            };
            let config = configuration(&spec, size).map_err(named)?;
            let known = sources.iter().position(|(data, _)| *data == config.data);
            let at = match known {
                Some(at) => at,
                None => {
                    let source = Source::open(&config, progress).map_err(named)?;
                    sources.push((config.data.clone(), source));
                    sources.len() - 1
                }
            };
            let model = sized(&spec, size, config, &sources[at].1).map_err(named)?;
            advice.take(&model, &sources[at].1).map_err(named)?;
            let further = further(&spec, &model).map_err(named)?;
            let recipe = Recipe {
                seeds: &spec.seeds,
                cosine: spec.cosine,
                trunk_lr_ratio: spec.trunk_lr_ratio,
                cooldown: spec.cooldown,
            };
            cell::append(&mut cells, index, &model, &recipe, &further)
                .map_err(|e| Error::input(format!("{}, {e}", spec.path.display())))?;
            models.push(model);
        }
        Ok(Suite {
            spec,
            models,
            cells,
            notes: advice.notes(),
        })
    }

    pub fn model(&self, cell: &Cell) -> &Model {
        &self.models[cell.model]
    }

    /// The directory of a cell's run.
    pub fn dir(&self, cell: &Cell) -> PathBuf {
        self.spec.out.join("runs").join(&cell.run)
    }

    /// How far a cell is, by its directory.
    pub fn state(&self, cell: &Cell) -> State {
        cached::state(&self.dir(cell), cell.first_step())
    }

    /// The cell of an id, with or without its hash.
    ///
    /// # Errors
    /// There is none, naming the nearest.
    pub fn find(&self, id: &str) -> Result<usize> {
        let found = self.cells.iter().position(|c| c.id == id || c.run == id);
        found.ok_or_else(|| {
            let ids: Vec<&str> = self.cells.iter().map(|c| c.id.as_str()).collect();
            Error::input(format!(
                "--cell {id}: {} has no such cell; the nearest is {}",
                self.spec.path.display(),
                super::section::nearest(id, &ids)
            ))
        })
    }

    /// The cell in words: `small, seed 0, cooldown to 600 steps`.
    pub fn describe(&self, cell: &Cell) -> String {
        format!("{}{}", self.model(cell).name, self.describe_rest(cell))
    }

    /// What [`Suite::describe`] says after the size's name: `, seed 0, cooldown to 600 steps`.
    pub fn describe_rest(&self, cell: &Cell) -> String {
        let what = match &cell.kind {
            Kind::Trunk { .. } => format!("trunk of {} steps", cell.steps),
            Kind::Cooldown { at, .. } => format!("{} {at} → {}", cell.kind(), cell.steps),
            Kind::Cosine => format!("cosine of {} steps", cell.steps),
        };
        format!(", seed {}, {what}", cell.seed)
    }
}

/// The configuration that the cells of a size have in common.
fn configuration(spec: &Spec, size: &Size) -> Result<RunConfig> {
    let mut layers = Layers::new();
    for recipe in [&spec.recipe, &size.recipe].into_iter().flatten() {
        layers.recipe(recipe)?;
    }
    // Nobody looks at the text that a suite's models write.
    layers.set("sample.tokens", Value::Integer(0), "a suite")?;
    let scheduler = Value::String("constant".into());
    layers.set("schedule.scheduler", scheduler, "a suite")?;
    for (key, value) in spec.set.iter().chain(&size.set) {
        layers.set(key, value.clone(), &spec.path.display().to_string())?;
    }
    if let Some(lr) = size.peak_lr {
        layers.set("schedule.peak_lr", Value::Float(lr), "peak_lr")?;
    }
    layers.finish()
}

/// Sizes a model over its corpus and turns its horizons and its warm-up into steps.
fn sized(spec: &Spec, size: &Size, mut config: RunConfig, source: &Source) -> Result<Model> {
    let vocab_size = source.vocab_size(&config)?;
    let sizes = config.model_config(vocab_size)?;
    let params = ParamCount::of(&sizes);
    let tokens_per_step = config.tokens_per_step();
    let wished = match size.horizons.is_empty() {
        true => &spec.horizons,
        false => &size.horizons,
    };
    let steps = |h: &super::spec::Horizon| h.steps(params.with_head as f64, tokens_per_step);
    let horizons: Vec<u64> = wished.iter().map(steps).collect();
    if let Some(i) = horizons.windows(2).position(|w| w[0] >= w[1]) {
        return Err(Error::input(format!(
            "horizons must rise, but {} ({} steps of {tokens_per_step} tokens) follows {} ({} steps)",
            wished[i + 1],
            horizons[i + 1],
            wished[i],
            horizons[i]
        )));
    }
    let (shortest, longest) = (horizons[0], horizons[horizons.len() - 1]);
    config.train.iterations = longest.max(1);
    config.validate()?;
    // A share is one of the shortest horizon, and all cells warm up alike: the trunk does not know where it will end.
    config.train.iterations = shortest.max(1);
    let warmup = config.schedule()?.warmup_steps();
    config.schedule.warmup = Warmup::Steps(warmup).to_string();
    config.train.iterations = longest;
    let dataset = &source.dataset;
    let tokenizer = source.tokenizer_name().unwrap_or("tokens as they are");
    Ok(Model {
        name: size.name.clone(),
        flops_per_token: ForwardFlops::train_per_token(&sizes, config.train.sequence_length),
        data: Data {
            section: config.data.clone(),
            tokenizer: tokenizer.to_string(),
            vocab_size,
            train_tokens: dataset.train().len(),
            val_tokens: dataset.val().len(),
            fingerprint: dataset.fingerprint(),
        },
        config,
        sizes,
        params,
        tokens_per_step,
        warmup,
        horizons,
    })
}

/// The `[[cooldown]]` entries that concern a model.
fn further<'a>(spec: &'a Spec, model: &Model) -> Result<Vec<Further<'a>>> {
    let mut list = Vec::new();
    for variant in &spec.variants {
        if !variant.sizes.is_empty() && !variant.sizes.contains(&model.name) {
            continue;
        }
        let steps = variant.horizons.iter();
        let mut horizons: Vec<u64> = steps
            .map(|h| h.steps(model.n(), model.tokens_per_step))
            .collect();
        if horizons.is_empty() {
            horizons = model.horizons.clone();
        }
        if let Some(t) = horizons.iter().find(|t| !model.horizons.contains(t)) {
            return Err(Error::input(format!(
                "cooldown {} ends at {t} steps, which is none of the horizons ({:?} steps)",
                variant.name, model.horizons
            )));
        }
        list.push(Further {
            name: &variant.name,
            tailing: variant.tailing,
            horizons,
        });
    }
    Ok(list)
}

/// What may be unwise, size by size.
#[derive(Default)]
struct Advice {
    /// Sizes that read the text more than once, and how often.
    repeated: Vec<(String, f64)>,
    /// Sizes whose warm-up is longer than is advised, that in tokens, and the most advised.
    warm: Vec<(String, f64, f64)>,
}

impl Advice {
    /// Checks a model against its corpus, and takes down what may be unwise.
    fn take(&mut self, model: &Model, source: &Source) -> Result<()> {
        let (config, dataset) = (&model.config, &source.dataset);
        let loader = Loader::new(dataset.train().clone(), config.loader())?;
        let (length, batch) = (config.train.sequence_length, config.train.batch_size);
        HeldOut::new(dataset.val().clone(), length, batch, 1, None)?;
        let longest = model.horizons[model.horizons.len() - 1];
        let epoch = loader.windows_per_epoch() as f64 * length as f64;
        let epochs = model.tokens(longest) / epoch;
        if epochs > 1.0 {
            self.repeated.push((model.name.clone(), epochs));
        }
        let warmup = model.tokens(model.warmup);
        let advised = model.n().min(model.tokens(model.horizons[0]) / 6.0);
        if warmup > advised {
            self.warm.push((model.name.clone(), warmup, advised));
        }
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.repeated.is_empty() {
            let list: Vec<String> = self
                .repeated
                .iter()
                .map(|(name, epochs)| format!("{name} {epochs:.1} times"))
                .collect();
            notes.push(format!(
                "the longest runs read the text more than once ({}): they are not single-pass, and L(N, D) takes repeated text for new; give more text",
                list.join(", ")
            ));
        }
        if !self.warm.is_empty() {
            let list: Vec<String> = self
                .warm
                .iter()
                .map(|(name, has, most)| format!("{name} {has:.1e}, at most {most:.1e}"))
                .collect();
            notes.push(format!(
                "the warm-up is longer than the min(N, D/6) tokens that are advised ({}): short runs look worse than they are (Porian et al. 2024)",
                list.join("; ")
            ));
        }
        notes
    }
}
