//! Cells: the runs of a suite, each with its resolved configuration and a directory named after the hash of it.
//!
//! A model and a seed have one trunk at constant LR, which ends where the last cooldown branches off; cooldowns that end
//! at each horizon T, from the trunk's step T − round(fraction·T); and, if asked for, a cosine from scratch a
//! horizon. The three share seed, batches, initial weights and warm-up, so that their losses are compared in pairs
//! (Hägele et al. 2024, arXiv 2405.18392, section 5).

use super::spec::Tailing;
use super::suite::Model;
use crate::error::{Error, Result};
use crate::train::RunConfig;
use crate::train::cached::{self, named};

/// One run.
#[derive(Clone, Debug)]
pub struct Cell {
    /// `small-s0-trunk`, `small-s0-600-cooldown`: unique within a suite.
    pub id: String,
    /// The name of its directory: the id and the hash.
    pub run: String,
    /// Index of its model.
    pub model: usize,
    pub seed: u64,
    pub kind: Kind,
    /// Steps at its end: of a trunk, its last branch point.
    pub steps: u64,
    /// Of a trunk or a cosine, the run's own; of a cooldown, its trunk's.
    pub config: RunConfig,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Constant LR, saved at these steps.
    Trunk {
        branches: Vec<u64>,
    },
    Cooldown {
        /// Index of the trunk among the cells.
        trunk: usize,
        /// The trunk's step that it goes on from.
        at: u64,
        tailing: Tailing,
        /// Name of the `[[cooldown]]` entry; none for the suite's own.
        variant: Option<String>,
    },
    Cosine,
}

impl Cell {
    /// `trunk`, `cooldown`, `cooldown-NAME` or `cosine`: the column `kind` of the results.
    pub fn kind(&self) -> String {
        match &self.kind {
            Kind::Trunk { .. } => "trunk".into(),
            Kind::Cooldown { variant: None, .. } => "cooldown".into(),
            Kind::Cooldown {
                variant: Some(name),
                ..
            } => format!("cooldown-{name}"),
            Kind::Cosine => "cosine".into(),
        }
    }

    /// Steps that this cell trains itself: a cooldown's begin at its branch.
    pub fn own_steps(&self) -> u64 {
        self.steps - self.first_step()
    }

    /// Completed steps that it starts with.
    pub fn first_step(&self) -> u64 {
        match self.kind {
            Kind::Cooldown { at, .. } => at,
            _ => 0,
        }
    }

    /// The cell that must be finished before.
    pub fn needs(&self) -> Option<usize> {
        match self.kind {
            Kind::Cooldown { trunk, .. } => Some(trunk),
            _ => None,
        }
    }
}

/// What every cooldown of a suite is made of.
pub(super) struct Recipe<'a> {
    pub seeds: &'a [u64],
    pub cosine: bool,
    pub trunk_lr_ratio: f64,
    pub cooldown: Tailing,
}

/// A further cooldown of one model: its name, its form, and the horizons where it ends.
pub(super) struct Further<'a> {
    pub name: &'a str,
    pub tailing: Tailing,
    pub horizons: Vec<u64>,
}

/// Appends the cells of one model, in the order in which they are run.
///
/// # Errors
/// A horizon too short for its cooldown or for the warm-up, naming the model and the horizon.
pub(super) fn append(
    cells: &mut Vec<Cell>,
    index: usize,
    model: &Model,
    recipe: &Recipe,
    further: &[Further],
) -> Result<()> {
    let plain = model.horizons.iter().map(|&t| (t, recipe.cooldown, None));
    let variants = further.iter().flat_map(|f| {
        let name = Some(f.name.to_string());
        f.horizons
            .iter()
            .map(move |&t| (t, f.tailing, name.clone()))
    });
    let mut cooldowns = Vec::new();
    for (t, tailing, variant) in plain.chain(variants) {
        let at = branch_point(model, t, &tailing)?;
        cooldowns.push((t, at, tailing, variant));
    }
    let mut branches: Vec<u64> = cooldowns.iter().map(|c| c.1).collect();
    branches.sort_unstable();
    branches.dedup();
    let last = *branches.last().expect("a model has a horizon");
    for &seed in recipe.seeds {
        let name = |what: &str| format!("{}-s{seed}-{what}", model.name);
        let mut config = model.config.clone();
        config.train.seed = seed;

        let mut trunk = config.clone();
        trunk.train.iterations = last;
        trunk.schedule.scheduler = "constant".into();
        trunk.schedule.peak_lr *= recipe.trunk_lr_ratio;
        trunk.checkpoint.at = branches.clone();
        let trunk_index = cells.len();
        let base = || base(&trunk, model);
        // First what its bits at any step hang on, then how far it goes: see `pool`.
        let family = named(&name("trunk"), &base());
        let key = format!("{family} {branches:?}");
        cells.push(Cell {
            run: named(&family, &key),
            id: name("trunk"),
            model: index,
            seed,
            kind: Kind::Trunk {
                branches: branches.clone(),
            },
            steps: last,
            config: trunk.clone(),
        });
        for (t, at, tailing, variant) in &cooldowns {
            let id = match variant {
                None => name(&format!("{t}-cooldown")),
                Some(variant) => name(&format!("{t}-cooldown-{variant}")),
            };
            // How far the trunk goes on beyond the branch is nothing to the cooldown.
            let Tailing {
                decay, final_ratio, ..
            } = tailing;
            let key = format!("{}\ncooldown = {at}..{t} {decay} {final_ratio:?}", base());
            cells.push(Cell {
                run: named(&id, &key),
                id,
                model: index,
                seed,
                kind: Kind::Cooldown {
                    trunk: trunk_index,
                    at: *at,
                    tailing: *tailing,
                    variant: variant.clone(),
                },
                steps: *t,
                config: trunk.clone(),
            });
        }
        for &t in model.horizons.iter().filter(|_| recipe.cosine) {
            let mut cosine = config.clone();
            cosine.train.iterations = t;
            cosine.schedule.scheduler = "cosine:final=0.1".into();
            let id = name(&format!("{t}-cosine"));
            let key = format!("{}\niterations = {t}", self::base(&cosine, model));
            cells.push(Cell {
                run: named(&id, &key),
                id,
                model: index,
                seed,
                kind: Kind::Cosine,
                steps: t,
                config: cosine,
            });
        }
    }
    Ok(())
}

/// The step that the cooldown ending at `t` starts from.
fn branch_point(model: &Model, t: u64, tailing: &Tailing) -> Result<u64> {
    let steps = tailing.steps(t);
    let at = t.saturating_sub(steps);
    let error = |what: String| {
        Err(Error::input(format!(
            "size {}: a horizon of {t} steps {what}",
            model.name
        )))
    };
    if steps == 0 || at == 0 {
        return error(format!(
            "is too short for a cooldown over {} of it; make the horizon longer",
            tailing.fraction
        ));
    }
    if at < model.warmup {
        return error(format!(
            "would begin its cooldown at step {at}, before the warm-up of {} steps is over; make the horizon longer, or schedule.warmup shorter",
            model.warmup
        ));
    }
    Ok(at)
}

fn base(config: &RunConfig, model: &Model) -> String {
    cached::key(config, &model.data.fingerprint)
}
