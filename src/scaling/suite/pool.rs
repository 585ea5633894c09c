//! Checkpoints of trunks that may serve a suite that was edited.
//!
//! A trunk at constant LR does not know where it ends: two of them that differ only in their length, or in where they are
//! saved, have the same bits at the same step. So when a horizon is added, the new trunk goes on from the newest checkpoint of
//! an older one that lies before everything it lacks, as a branch whose LR stays where it is, and cooldowns branch
//! from whichever of them holds their step.

use super::cell::{Cell, Kind};
use super::suite::{State, Suite};
use crate::error::Result;
use crate::schedule::{Decay, Tail};
use crate::train::RunConfig;
use crate::train::branch::{BranchPoint, Cooldown};
use crate::train::rundir::{RUN_FILE, saved_steps, step_dir};
use std::path::{Path, PathBuf};

/// The trunk's own directory, then those of older trunks with the same bits, by name.
fn directories(suite: &Suite, trunk: &Cell) -> Vec<PathBuf> {
    let own = suite.dir(trunk);
    let family = trunk.run.rsplit_once('-').map_or("", |(family, _)| family);
    let entries = own.parent().and_then(|runs| std::fs::read_dir(runs).ok());
    let mut older: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| {
            let name = e.file_name();
            let rest = name.to_str().and_then(|n| n.strip_prefix(family));
            rest.is_some_and(|r| r.starts_with('-'))
        })
        .map(|e| e.path())
        .filter(|dir| *dir != own && dir.join(RUN_FILE).exists())
        .collect();
    older.sort();
    older.insert(0, own);
    older
}

/// The run that holds the trunk's checkpoint of a step; the trunk's own directory where none does.
pub(super) fn holder(suite: &Suite, trunk: &Cell, step: u64) -> PathBuf {
    let mut all = directories(suite, trunk).into_iter();
    let holds = |dir: &PathBuf| step_dir(dir, step).exists();
    let found = all.find(holds);
    found.unwrap_or_else(|| suite.dir(trunk))
}

/// Where a trunk that has not begun can go on from: an older trunk, and a step of it.
pub(super) fn head_start(suite: &Suite, trunk: &Cell) -> Option<(PathBuf, u64)> {
    // The averages of the part before lie with the older trunk.
    older_checkpoint(suite, trunk).filter(|_| !averages(trunk))
}

/// Steps that a trunk trains once more because, with averages, it cannot go on from an older one that has them.
pub(super) fn begins_anew(suite: &Suite, trunk: &Cell) -> Option<u64> {
    let anew = averages(trunk) && suite.state(trunk) == State::New;
    let older = anew.then(|| older_checkpoint(suite, trunk)).flatten();
    older.map(|(_, step)| step)
}

fn averages(trunk: &Cell) -> bool {
    let average = &trunk.config.average;
    average.weight_average || average.ema
}

/// The newest checkpoint of an older trunk that lies before everything this one lacks.
fn older_checkpoint(suite: &Suite, trunk: &Cell) -> Option<(PathBuf, u64)> {
    let Kind::Trunk { branches } = &trunk.kind else {
        return None;
    };
    let older = directories(suite, trunk).split_off(1);
    let saved: Vec<(u64, &PathBuf)> = older
        .iter()
        .flat_map(|dir| {
            let steps = saved_steps(dir).unwrap_or_default();
            steps.into_iter().map(move |s| (s, dir))
        })
        .collect();
    let lacks = |b: &&u64| !saved.iter().any(|(s, _)| s == *b);
    // Its last step is trained in any case: the loss there is one of the results.
    let first = branches.iter().find(lacks).copied().unwrap_or(trunk.steps);
    let warm = suite.model(trunk).warmup.max(1);
    let serves = |&&(step, _): &&(u64, &PathBuf)| step >= warm && step < first.min(trunk.steps);
    let (step, dir) = saved.iter().filter(serves).max_by_key(|(s, _)| *s)?;
    Some((dir.to_path_buf(), *step))
}

/// The branch that goes on as the trunk would have.
pub(super) fn extension(trunk: &Cell, from: &Path, at: u64) -> Result<(BranchPoint, RunConfig)> {
    let point = BranchPoint::find(from, Some(at))?;
    let mut config = point.config(&Cooldown {
        steps: trunk.steps - at,
        tail: Tail::Decay {
            decay: Decay::Linear,
            final_ratio: 1.0,
        },
    })?;
    config.checkpoint = trunk.config.checkpoint.clone();
    config.checkpoint.at.retain(|&step| step > at);
    // The same text, which may have been moved since the older trunk was trained.
    config.data = trunk.config.data.clone();
    Ok((point, config))
}
