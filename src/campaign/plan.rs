//! A campaign over its corpus: how long each probe is, what everything costs, and what its directory stands for.

use super::cells::{self, Cell, Wanted};
use super::probes::{self, Probes};
use super::spec::Spec;
use crate::error::{Error, Result};
use crate::files;
use crate::law::{self, LawOptions};
use crate::model::flops::{ForwardFlops, ParamCount};
use crate::schedule::{Warmup, count};
use crate::text::loader::Loader;
use crate::text::prepare::Progress;
use crate::train::RunConfig;
use crate::train::cached::{self, State};
use crate::train::evaluate::HeldOut;
use crate::train::setup::Source;
use crate::train::speed;
use serde::Serialize;
use std::path::PathBuf;
use toml::{Table, Value};

/// What the directory of a campaign stands for.
pub const PLAN_FILE: &str = "plan.toml";
/// Evaluations that cost more than this share of the probes' steps are told.
const DEAR: f64 = 0.25;

/// A campaign that may be run; everything that can be wrong with it has been looked for.
#[derive(Clone, Debug)]
pub struct Plan {
    pub spec: Spec,
    /// Of the long run, and of every other.
    pub warmup: u64,
    pub probes: Probes,
    pub data: Data,
    /// Parameters with the head and without the input embedding.
    pub params: ParamCount,
    /// Executed FLOPs of training on one token; see [`crate::model::flops`].
    pub flops_per_token: f64,
    /// What the user should know, in sentences.
    pub notes: Vec<String>,
}

/// What is known of the corpus.
#[derive(Clone, Debug)]
pub struct Data {
    pub tokenizer: String,
    pub vocab_size: usize,
    pub train_tokens: u64,
    pub fingerprint: String,
    /// Tokens of one evaluation.
    pub held_out: u64,
}

/// Steps that are trained, whatever of it is finished already.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    pub probes: u64,
    /// Every seed.
    pub designed: u64,
    /// With WSD's trunks shared: on the first seed at every peak.
    pub baselines: u64,
    /// On the other seeds, at each baseline's best peak; with several peaks, at most, since it hangs on which are best.
    pub other_seeds: u64,
}

impl Cost {
    pub fn total(&self) -> u64 {
        self.probes + self.designed + self.baselines + self.other_seeds
    }
}

impl Plan {
    /// Reads (and if need be prepares) the corpus, and shares out the steps.
    ///
    /// # Errors
    /// Everything that can be wrong before a step is trained, in a sentence.
    pub fn resolve(mut spec: Spec, progress: &mut dyn Progress) -> Result<Plan> {
        spec.validate()?;
        for law in &spec.laws {
            let known = law::by_name(law, &LawOptions::default())?;
            if known.needs_size() {
                return Err(Error::input(format!(
                    "--law {law}: it is a law over models of several sizes, and a loop has one; choose tissue, mpl or another"
                )));
            }
        }
        let config = &mut spec.config;
        // Nobody looks at the text that the runs of a campaign write, and each keeps its own schedule to its end.
        config.sample.tokens = 0;
        config.law.redesign.clear();
        config.law.stop_when.clear();
        config.schedule.scheduler = "constant".into();
        config.train.seed = spec.seeds[0];
        config.validate()?;
        let warmup = config.schedule()?.warmup_steps();
        config.schedule.warmup = Warmup::Steps(warmup).to_string();
        let steps = config.train.iterations;
        let probes = probes::probes(&spec, warmup)?;
        let config = &spec.config;
        let source = Source::open(config, progress)?;
        let vocab_size = source.vocab_size(config)?;
        let sizes = config.model_config(vocab_size)?;
        let dataset = &source.dataset;
        let (length, batch) = (config.train.sequence_length, config.train.batch_size);
        HeldOut::new(dataset.val().clone(), length, batch, 1, None)?;
        let loader = Loader::new(dataset.train().clone(), config.loader())?;
        let windows = match config.eval.sequences {
            0 => u64::MAX,
            n => n as u64,
        };
        let all = dataset.val().len().saturating_sub(1) / length as u64;
        let data = Data {
            tokenizer: (source.tokenizer_name().unwrap_or("tokens as they are")).to_string(),
            vocab_size,
            train_tokens: dataset.train().len(),
            fingerprint: dataset.fingerprint(),
            held_out: windows.min(all) * length as u64,
        };
        let mut plan = Plan {
            warmup,
            probes,
            params: ParamCount::of(&sizes),
            flops_per_token: ForwardFlops::train_per_token(&sizes, length),
            data,
            notes: Vec::new(),
            spec,
        };
        for baseline in &plan.spec.baselines {
            for peak in plan.peaks(baseline) {
                cells::schedule(&plan, baseline, peak)
                    .map_err(|e| Error::input(format!("--baselines {}: {e}", baseline.label())))?;
            }
        }
        let tokens = (steps * plan.spec.config.tokens_per_step()) as f64;
        let epochs = tokens / (loader.windows_per_epoch() as f64 * length as f64);
        if epochs > 1.0 {
            plan.notes.push(format!(
                "the long run reads the text {epochs:.1} times, and the probes less often: a law fitted to the first reading does not know what repetition does; give more text"
            ));
        }
        let evaluations = plan.evaluations();
        if evaluations > DEAR * plan.probes.steps() as f64 {
            plan.notes.push(format!(
                "the probes' evaluations cost as much as {} steps beside their {}; fewer --points, or smaller eval.sequences, are cheaper",
                count(evaluations.round() as u64),
                count(plan.probes.steps())
            ));
        }
        let probed = plan.probed_peaks();
        let beyond = |p: &&f64| !(probed[0]..=probed[1]).contains(*p);
        let beyond: Vec<String> = (plan.spec.peaks.iter().filter(beyond))
            .map(|p| format!("{p:e}"))
            .collect();
        if !beyond.is_empty() {
            let at = match probed[0] == probed[1] {
                true => format!("at the peak {:e} alone", probed[1]),
                false => format!("at peaks from {:e} to {:e}", probed[0], probed[1]),
            };
            plan.notes.push(format!(
                "the law is fitted {at}: what it predicts of baselines at {} is a guess",
                beyond.join(" and ")
            ));
        }
        Ok(plan)
    }

    /// Steps of the long run.
    pub fn steps(&self) -> u64 {
        self.spec.config.train.iterations
    }

    /// The lowest and the highest peak of a probe.
    pub fn probed_peaks(&self) -> [f64; 2] {
        let peak = self.spec.peak();
        match self.probes.low {
            0 => [peak; 2],
            _ => [probes::LOW * peak, peak],
        }
    }

    /// The peaks that a baseline is trained at.
    pub fn peaks(&self, baseline: &super::spec::Baseline) -> Vec<f64> {
        match baseline.is_table() {
            true => vec![self.spec.peak()],
            false => self.spec.all_peaks(),
        }
    }

    /// A run of this campaign at constant LR.
    pub(super) fn config(&self, peak: f64, seed: u64, steps: u64) -> RunConfig {
        let mut config = self.spec.config.clone();
        config.schedule.peak_lr = peak;
        config.train.seed = seed;
        config.train.iterations = steps;
        config
    }

    /// What decides the bits of a run besides its length and its schedule.
    pub(super) fn key(&self, config: &RunConfig) -> String {
        cached::key(config, &self.data.fingerprint)
    }

    /// What is wanted first: the designed schedule on every seed, every baseline on the first at every peak; and on the
    /// others too where there is one peak alone, so that nothing is to be chosen.
    pub fn first(&self) -> Vec<Wanted> {
        let mut all: Vec<Wanted> = Vec::new();
        for &seed in &self.spec.seeds {
            all.push(Wanted {
                schedule: 0,
                peak: self.spec.peak(),
                seed,
            });
        }
        let one_peak = self.spec.all_peaks().len() == 1;
        for &seed in self.spec.seeds.iter().take(match one_peak {
            true => usize::MAX,
            false => 1,
        }) {
            for (i, baseline) in self.spec.baselines.iter().enumerate() {
                for peak in self.peaks(baseline) {
                    all.push(Wanted {
                        schedule: i + 1,
                        peak,
                        seed,
                    });
                }
            }
        }
        all
    }

    /// Then, with several peaks: each baseline at its best one, on the other seeds. `best` is by baseline; none has
    /// failed.
    pub fn rest(&self, best: &[Option<f64>]) -> Vec<Wanted> {
        if self.spec.all_peaks().len() == 1 {
            return Vec::new();
        }
        let mut all = Vec::new();
        for &seed in &self.spec.seeds[1..] {
            for (i, peak) in best.iter().enumerate() {
                all.extend(peak.map(|peak| Wanted {
                    schedule: i + 1,
                    peak,
                    seed,
                }));
            }
        }
        all
    }

    /// Of everything, whether finished or not.
    ///
    /// # Errors
    /// A baseline that cannot have this run.
    pub fn cost(&self) -> Result<Cost> {
        let seed = self.spec.seeds[0];
        let first = self.first();
        let steps = |wanted: &[Wanted]| -> Result<u64> {
            let cells = cells::long(self, None, wanted)?;
            Ok(cells.iter().map(Cell::own_steps).sum())
        };
        let of = |designed: bool, on_first: bool| -> Vec<Wanted> {
            let wanted = first.iter().filter(|w| {
                (w.schedule == 0) == designed && (designed || (w.seed == seed) == on_first)
            });
            wanted.copied().collect()
        };
        let others = match self.spec.all_peaks().len() {
            1 => steps(&of(false, false))?,
            peaks => (self.spec.seeds.len() as u64 - 1) * self.at_most(peaks),
        };
        Ok(Cost {
            probes: self.probes.steps(),
            designed: steps(&of(true, true))?,
            baselines: steps(&of(false, true))?,
            other_seeds: others,
        })
    }

    /// Steps of every baseline on one seed where each may have another one of `peaks` peaks: WSD shares least where the
    /// longest trunks stand apart.
    fn at_most(&self, peaks: usize) -> u64 {
        let all = self.spec.baselines.iter();
        let falls = all.map(|b| cells::falls_at(&b.shape, self.steps(), self.warmup));
        let falls: Vec<Option<u64>> = falls.collect();
        let mut trunks: Vec<u64> = falls.iter().flatten().copied().collect();
        trunks.sort_unstable_by(|a, b| b.cmp(a));
        trunks.truncate(peaks);
        let own = |at: &Option<u64>| self.steps() - at.unwrap_or(0);
        trunks.iter().sum::<u64>() + falls.iter().map(own).sum::<u64>()
    }

    /// What the probes' evaluations cost, in steps; one is a forward pass, a third of a step.
    fn evaluations(&self) -> f64 {
        let all = cells::probes(self);
        let number = all.iter().map(evaluations).sum::<u64>() as f64;
        number * self.data.held_out as f64 / 3.0 / self.spec.config.tokens_per_step() as f64
    }

    /// Seconds that training takes a token on this machine, by a few steps; none where the model is too large.
    pub fn seconds_per_token(&self) -> Option<f64> {
        speed::seconds_per_token(
            &self.spec.config,
            self.data.vocab_size,
            self.flops_per_token,
        )
    }

    /// Seconds that a cell still takes.
    pub fn seconds_left(&self, cell: &Cell, per_token: f64) -> f64 {
        let from = match cell.state(&self.spec.out) {
            State::Finished => return 0.0,
            State::Begun(step) => step.min(cell.steps),
            State::New => cell.first_step(),
        };
        let share = (cell.steps - from) as f64 / cell.own_steps().max(1) as f64;
        let tokens = ((cell.steps - from) * self.spec.config.tokens_per_step()) as f64;
        let held_out = share * (evaluations(cell) * self.data.held_out) as f64;
        per_token * (tokens + held_out / 3.0)
    }

    /// The directory, created and held against this plan; another one there is refused. Baselines, seeds and peaks may
    /// be added to.
    ///
    /// # Errors
    /// Another plan there, naming the first key that differs; a place that cannot be written.
    pub fn settle(&self) -> Result<()> {
        let out = &self.spec.out;
        std::fs::create_dir_all(out).map_err(|e| Error::io("create the directory", out, e))?;
        if self.check()? {
            return Ok(());
        }
        let text = toml::to_string(&self.table()).map_err(Error::backend)?;
        files::write(&out.join(PLAN_FILE), text.as_bytes())
    }

    /// Whether the directory holds this plan.
    ///
    /// # Errors
    /// It holds another one.
    pub fn check(&self) -> Result<bool> {
        let path = self.spec.out.join(PLAN_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(Error::io("read", &path, e)),
        };
        let there: Table = text
            .parse()
            .map_err(|e: toml::de::Error| Error::corrupt(&path, e.message().to_string()))?;
        // Through the same text, so that numbers are compared as they are written.
        let here = toml::to_string(&self.table()).map_err(Error::backend)?;
        let here: Table = here.parse().map_err(Error::backend)?;
        match difference("", &Value::Table(here), &Value::Table(there)) {
            None => Ok(true),
            Some(what) => Err(Error::input(format!(
                "{} holds another plan: {what}; give another --out",
                self.spec.out.display()
            ))),
        }
    }

    /// What decides probes, law and design.
    fn table(&self) -> Table {
        let mut config = self.spec.config.to_table();
        for section in ["checkpoint", "sample"] {
            config.remove(section);
        }
        for (section, key) in [("data", "path"), ("data", "cache"), ("eval", "every")] {
            if let Some(keys) = config.get_mut(section).and_then(Value::as_table_mut) {
                keys.remove(key);
            }
        }
        let list = |all: &[String]| Value::Array(all.iter().cloned().map(Value::String).collect());
        let numbers = |all: &[f64]| Value::Array(all.iter().copied().map(Value::Float).collect());
        let mut own = Table::new();
        own.insert("budget".into(), self.spec.budget.into());
        own.insert("cooldowns".into(), numbers(&self.spec.cooldowns));
        own.insert("low_probe".into(), self.spec.low_probe.into());
        own.insert("points".into(), (self.spec.points as i64).into());
        own.insert("law".into(), list(&self.spec.laws));
        let drop: Vec<f64> = self.spec.largest_drop.into_iter().collect();
        own.insert("largest_drop".into(), numbers(&drop));
        own.insert("data".into(), self.data.fingerprint.clone().into());
        let mut table = Table::new();
        table.insert("loop".into(), Value::Table(own));
        table.extend(config);
        table
    }

    /// A file of the campaign.
    pub fn file(&self, name: &str) -> PathBuf {
        self.spec.out.join(name)
    }
}

/// Evaluations that a cell makes itself.
fn evaluations(cell: &Cell) -> u64 {
    let every = cell.config.eval.every;
    cell.own_steps().checked_div(every).unwrap_or(0).max(1)
}

/// The first key whose values differ, in words.
fn difference(name: &str, here: &Value, there: &Value) -> Option<String> {
    let (Value::Table(a), Value::Table(b)) = (here, there) else {
        return (here != there)
            .then(|| format!("{name} is {there} there, and {here} is asked for"));
    };
    let inner = |key: &str| match name {
        "" => key.to_string(),
        name => format!("{name}.{key}"),
    };
    let missing = Value::String("not set".into());
    let keys = a.keys().chain(b.keys().filter(|k| !a.contains_key(*k)));
    keys.into_iter().find_map(|key| {
        let at = |table: &Table| table.get(key).cloned().unwrap_or_else(|| missing.clone());
        difference(&inner(key), &at(a), &at(b))
    })
}
