//! A run as stretches of nearly equal LR, between which the effective LR is said to change.

use crate::law::Path;

/// LRs below this share of the peak are taken as this share, so that `ε^p` keeps a finite slope.
const LR_FLOOR: f64 = 1e-6;
/// Blocks span this many times the steps that nodes of the path span: the effective LR drifts slowly.
const BLOCK: usize = 3;
/// A warm-up is cut into at least this many blocks.
const WARMUP_BLOCKS: usize = 32;
/// A block ends where the LR has moved by more than this share of itself.
const DRIFT: f64 = 0.02;

/// Steps trained at nearly the same LR.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::law) struct Block {
    pub steps: f64,
    /// Mean LR, floored.
    pub lr: f64,
    /// How many points lie at its end.
    pub points: usize,
}

/// Blocks of a path: single steps for an exact one.
pub(super) fn blocks(path: &Path) -> &[Block] {
    path.sums.blocks.get_or_init(|| build(path))
}

/// The lowest LR of a run with this peak; of one that never trains, any.
pub(super) fn floor(peak: f64) -> f64 {
    if peak > 0.0 { LR_FLOOR * peak } else { 1.0 }
}

fn build(path: &Path) -> Vec<Block> {
    let most = match path.span {
        0 | 1 => 1,
        span => BLOCK * span,
    };
    let floor = floor(path.peak);
    let mut blocks: Vec<Block> = Vec::new();
    let mut at = 0;
    for &step in &path.steps {
        let end = step as usize;
        while at < end {
            // A warm-up rises through all LRs, but little hangs on it later.
            let (limit, most, drift) = if at < path.warmup {
                let rise = (path.warmup / WARMUP_BLOCKS).clamp(1, most);
                (path.warmup.min(end), rise, path.peak)
            } else {
                (end, most, DRIFT * path.lrs[at])
            };
            let mut next = at + 1;
            while next < limit.min(at + most) && (path.lrs[next] - path.lrs[at]).abs() <= drift {
                next += 1;
            }
            let sum: f64 = path.lrs[at..next].iter().sum();
            blocks.push(Block {
                steps: (next - at) as f64,
                lr: (sum / (next - at) as f64).max(floor),
                points: 0,
            });
            at = next;
        }
        match blocks.last_mut() {
            Some(block) => block.points += 1,
            // A point before the first step: nothing has been trained yet.
            None => blocks.push(Block {
                steps: 0.0,
                lr: floor,
                points: 1,
            }),
        }
    }
    blocks
}
