//! The runs of a campaign, each with its resolved configuration and a directory named after the hash of what decides
//! its bits.

use super::plan::Plan;
use super::spec::Baseline;
use crate::error::Result;
use crate::forecast::LawConfig;
use crate::schedule::{Decay, Schedule, ScheduleSpec, Shape, Warmup};
use crate::train::RunConfig;
use crate::train::cached::{self, State, named};
use crate::train::checkpoint::schedule_fingerprint;
use std::path::{Path, PathBuf};

/// One run.
#[derive(Clone, Debug)]
pub struct Cell {
    /// `designed-2e-3-s0`: unique within a campaign.
    pub id: String,
    /// The name of its directory: the id and the hash.
    pub run: String,
    pub kind: Kind,
    /// Steps at its end.
    pub steps: u64,
    /// Of a cooldown, its trunk's, but for when it is evaluated.
    pub config: RunConfig,
    /// What it is a result of; none for trunks and probes.
    pub wanted: Option<Wanted>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// From its first step to its last.
    Whole,
    Cooldown {
        /// Index of the trunk among the cells.
        trunk: usize,
        /// The trunk's step that it goes on from.
        at: u64,
        decay: Decay,
        final_ratio: f64,
    },
}

/// A result that is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    /// 0: the designed schedule; i: baseline i − 1.
    pub schedule: usize,
    pub peak: f64,
    pub seed: u64,
}

impl Cell {
    /// Completed steps that it starts with.
    pub fn first_step(&self) -> u64 {
        match self.kind {
            Kind::Cooldown { at, .. } => at,
            Kind::Whole => 0,
        }
    }

    /// Steps that it trains itself.
    pub fn own_steps(&self) -> u64 {
        self.steps - self.first_step()
    }

    /// The cell that must be finished before.
    pub fn needs(&self) -> Option<usize> {
        match self.kind {
            Kind::Cooldown { trunk, .. } => Some(trunk),
            Kind::Whole => None,
        }
    }

    pub fn dir(&self, out: &Path) -> PathBuf {
        out.join("runs").join(&self.run)
    }

    pub fn state(&self, out: &Path) -> State {
        cached::state(&self.dir(out), self.first_step())
    }
}

/// The step that a WSD schedule starts to fall at; none for what is no branch of a constant trunk.
pub fn falls_at(shape: &Shape, steps: u64, warmup: u64) -> Option<u64> {
    let Shape::Wsd { fraction, .. } = shape else {
        return None;
    };
    let length = (fraction * steps as f64).round() as u64;
    let at = steps.saturating_sub(length).max(warmup);
    (at > 0 && at < steps).then_some(at)
}

/// The LRs of a baseline in the long run.
///
/// # Errors
/// A schedule that cannot have this run, a table that does not fit it.
pub fn schedule(plan: &Plan, baseline: &Baseline, peak: f64) -> Result<Schedule> {
    Schedule::new(&ScheduleSpec {
        shape: baseline.shape.clone(),
        peak_lr: peak,
        warmup: Warmup::Steps(plan.warmup),
        steps: plan.steps(),
        tokens_per_step: None,
        compat: false,
    })
}

/// The probes: the trunk first, the one at half the peak last.
pub fn probes(plan: &Plan) -> Vec<Cell> {
    let p = &plan.probes;
    let seed = plan.spec.seeds[0];
    let name = |what: &str| format!("probe-{what}-s{seed}");
    let evaluated = |steps: u64| (steps / plan.spec.points).max(1);
    let branches: Vec<u64> = p.cooldowns.iter().map(|c| p.trunk - c).collect();
    let mut cells = Vec::new();
    let first = trunk(
        plan,
        name("trunk"),
        (plan.spec.peak(), seed),
        p.trunk,
        &branches,
    );
    for (&length, &at) in p.cooldowns.iter().zip(&branches) {
        let id = name(&format!("cooldown-{length}"));
        let mut cell = cooldown(
            plan,
            id,
            (0, &first.config),
            (at, p.trunk),
            Decay::Linear,
            0.0,
        );
        cell.config.eval.every = evaluated(length);
        cells.push(cell);
    }
    cells.insert(0, first);
    cells[0].config.eval.every = evaluated(p.trunk);
    if p.low > 0 {
        let [peak, _] = plan.probed_peaks();
        let mut low = trunk(plan, name("low"), (peak, seed), p.low, &[]);
        low.config.eval.every = evaluated(p.low);
        cells.push(low);
    }
    cells
}

/// The runs that give `wanted`: the designed ones first, then trunks, each before its cooldowns, then the others.
/// `designed` is the table, where there is one.
///
/// # Errors
/// A baseline that cannot have this run.
pub fn long(plan: &Plan, designed: Option<&Path>, wanted: &[Wanted]) -> Result<Vec<Cell>> {
    let steps = plan.steps();
    let mut cells = Vec::new();
    for want in wanted.iter().filter(|w| w.schedule == 0) {
        let shape = designed.map(|path| Shape::Table {
            path: path.to_path_buf(),
        });
        cells.push(whole(plan, "designed", shape, *want)?);
    }
    let falls = |want: &Wanted| {
        let shape = &plan.spec.baselines[want.schedule - 1].shape;
        falls_at(shape, steps, plan.warmup)
    };
    let rest = || wanted.iter().filter(|w| w.schedule > 0);
    let mut trunks: Vec<(f64, u64)> = Vec::new();
    for want in rest().filter(|w| falls(w).is_some()) {
        let key = (want.peak, want.seed);
        if trunks.contains(&key) {
            continue;
        }
        trunks.push(key);
        let same = |w: &&Wanted| (w.peak, w.seed) == key;
        let own: Vec<(&Wanted, u64)> = rest()
            .filter(same)
            .filter_map(|w| Some((w, falls(w)?)))
            .collect();
        let mut branches: Vec<u64> = own.iter().map(|(_, at)| *at).collect();
        branches.sort_unstable();
        branches.dedup();
        let last = branches[branches.len() - 1];
        let index = cells.len();
        let id = named_by("trunk", key.0, key.1);
        cells.push(trunk(plan, id, key, last, &branches));
        let config = cells[index].config.clone();
        for (want, at) in own {
            let baseline = &plan.spec.baselines[want.schedule - 1];
            let Shape::Wsd {
                decay, final_ratio, ..
            } = baseline.shape
            else {
                continue;
            };
            let id = named_by(&baseline.label(), want.peak, want.seed);
            let ends = (at, steps);
            let mut cell = cooldown(plan, id, (index, &config), ends, decay, final_ratio);
            cell.wanted = Some(*want);
            cells.push(cell);
        }
    }
    for want in rest().filter(|w| falls(w).is_none()) {
        let baseline = &plan.spec.baselines[want.schedule - 1];
        let shape = Some(baseline.shape.clone());
        cells.push(whole(plan, &baseline.label(), shape, *want)?);
    }
    for cell in &mut cells {
        forecast_by_probes(plan, &mut cell.config.law);
    }
    Ok(cells)
}

/// While they train, long runs are forecast by what the probes say as well, unless the recipe names probes of its own. A
/// cooldown's log holds its trunk's past.
fn forecast_by_probes(plan: &Plan, law: &mut LawConfig) {
    if !law.probes.is_empty() {
        return;
    }
    let probes = probes(plan);
    let own = probes[1..].iter();
    law.probes = own
        .map(|cell| cell.dir(&plan.spec.out).display().to_string())
        .collect();
    if plan.probes.low > 0 && law.law == LawConfig::default().law {
        // Two LRs tell what a law in S₁ has no use for.
        law.law = "elr-fixed".into();
    }
}

/// `wsd-fraction-0.2-2e-3-s0`.
fn named_by(label: &str, peak: f64, seed: u64) -> String {
    let plain = |c: char| match c.is_ascii_alphanumeric() || c == '.' || c == '-' {
        true => c,
        false => '-',
    };
    let mut plain: String = label.chars().map(plain).collect();
    // The path of a table is none of a directory's business; the hash tells tables apart.
    if label.starts_with("table:") {
        plain = "table".into();
    }
    format!("{plain}-{peak:e}-s{seed}")
}

fn trunk(plan: &Plan, id: String, (peak, seed): (f64, u64), steps: u64, branches: &[u64]) -> Cell {
    let mut config = plan.config(peak, seed, steps);
    config.checkpoint.at = branches.to_vec();
    let key = format!("{}\ntrunk = {branches:?}..{steps}", plan.key(&config));
    Cell {
        run: named(&id, &key),
        id,
        kind: Kind::Whole,
        steps,
        config,
        wanted: None,
    }
}

/// How far the trunk goes on beyond the branch is nothing to a cooldown.
fn cooldown(
    plan: &Plan,
    id: String,
    (trunk, config): (usize, &RunConfig),
    (at, end): (u64, u64),
    decay: Decay,
    final_ratio: f64,
) -> Cell {
    let key = format!(
        "{}\ncooldown = {at}..{end} {decay} {final_ratio:?}",
        plan.key(config)
    );
    Cell {
        run: named(&id, &key),
        id,
        kind: Kind::Cooldown {
            trunk,
            at,
            decay,
            final_ratio,
        },
        steps: end,
        config: config.clone(),
        wanted: None,
    }
}

/// `shape` none: a schedule that is not designed yet.
fn whole(plan: &Plan, label: &str, shape: Option<Shape>, want: Wanted) -> Result<Cell> {
    let steps = plan.steps();
    let id = named_by(label, want.peak, want.seed);
    let mut config = plan.config(want.peak, want.seed, steps);
    let mut key = format!("{}\niterations = {steps}", plan.key(&config));
    if let Some(shape) = shape {
        config.schedule.scheduler = shape.to_string();
        // Of a table its LRs, wherever it lies.
        key += &match shape {
            Shape::Table { .. } => format!("\nlrs = {}", schedule_fingerprint(&config.schedule()?)),
            shape => format!("\nscheduler = {shape}"),
        };
    }
    Ok(Cell {
        run: named(&id, &key),
        id,
        kind: Kind::Whole,
        steps,
        config,
        wanted: Some(want),
    })
}
