//! Numbers made of a run's records.

use super::Run;
use super::record::Step;
use crate::report::ticks::nice_ceiling;

/// Dots of a line of means.
const MOST_MEANS: f64 = 240.0;

/// Steps a mean so that `last` steps make at most about 240 of them: 1, 2, 5, 10, …
pub fn bin_width(last: u64) -> u64 {
    let width = last as f64 / MOST_MEANS;
    match width > 1.0 {
        true => nice_ceiling(width, 1) as u64,
        false => 1,
    }
}

/// `(middle step, mean)` of `of` over bins of `width` steps. Values that are not finite are left out of their mean;
/// a bin of nothing else is NaN, so that a line has a gap there.
pub fn means(steps: &[Step], width: u64, of: impl Fn(&Step) -> f64) -> Vec<[f64; 2]> {
    let bin = |s: &Step| s.step.saturating_sub(1) / width.max(1);
    steps
        .chunk_by(|a, b| bin(a) == bin(b))
        .map(|bin| {
            let middle = bin.iter().map(|s| s.step as f64).sum::<f64>() / bin.len() as f64;
            [middle, mean(bin.iter().map(&of))]
        })
        .collect()
}

/// Of the values that are finite; NaN where there is none.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let finite = values.filter(|v| v.is_finite());
    let (n, sum) = finite.fold((0u64, 0.0), |(n, sum), v| (n + 1, sum + v));
    if n == 0 { f64::NAN } else { sum / n as f64 }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finals {
    pub steps: u64,
    /// Mean loss of the last `over` batches, nats a token; NaN where none is finite.
    pub train: f64,
    pub over: u64,
    /// The newest evaluation: its step, nats a token, bits a byte.
    pub held_out: Option<(u64, f64, Option<f64>)>,
    /// The lowest held-out loss of the newest averages of the weights.
    pub averaged: Option<f64>,
    pub tokens: u64,
    pub flops: Option<f64>,
    /// Time of the steps alone, in seconds: tokens over the logged speed.
    pub seconds: f64,
}

impl Finals {
    /// `None` for a run without steps.
    pub fn of(run: &Run) -> Option<Finals> {
        let last = run.steps.last()?;
        let over = tail_length(run.steps.len());
        let newest = &run.steps[run.steps.len() - over..];
        let end = run.averages.last().map(|a| a.step);
        let averaged = run.averages.iter().filter(|a| Some(a.step) == end);
        let averaged = averaged.map(|a| a.loss).filter(|l| l.is_finite());
        let tokens = match last.tokens {
            0 => run
                .facts
                .tokens_per_step
                .unwrap_or(0)
                .saturating_mul(last.step),
            tokens => tokens,
        };
        Some(Finals {
            steps: last.step,
            train: mean(newest.iter().map(|s| s.loss)),
            over: over as u64,
            held_out: run.evals.last().map(|e| (e.step, e.loss, e.bits_per_byte)),
            averaged: averaged.min_by(f64::total_cmp),
            tokens,
            flops: run.facts.flops_per_token.map(|f| f * tokens as f64),
            seconds: seconds(&run.steps),
        })
    }

    /// Where the run stands: the newest held-out loss, or of a run without evaluations that of training.
    pub fn end(&self) -> f64 {
        self.held_out.map_or(self.train, |e| e.1)
    }

    /// Tokens a second while stepping; NaN where the log tells no speed.
    pub fn speed(&self) -> f64 {
        self.tokens as f64 / self.seconds
    }
}

/// A fiftieth of the steps, from 1 to 500.
fn tail_length(steps: usize) -> usize {
    steps.div_ceil(50).clamp(1, 500).min(steps)
}

/// Steps whose speed was not logged are left out.
fn seconds(steps: &[Step]) -> f64 {
    let mut before = 0;
    let mut total = 0.0;
    for s in steps {
        let time = s.tokens.saturating_sub(before) as f64 / s.tokens_per_second;
        before = s.tokens;
        if time.is_finite() {
            total += time;
        }
    }
    total
}

/// How two runs that saw the same batches differ at their ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// Mean over the shared steps of the losses' difference, nats a token: positive where `b` is the worse one.
    pub difference: f64,
    /// Standard error of that mean, from means of eighths of those steps: the batches' own noise is gone, since both runs saw
    /// the same ones.
    pub error: f64,
    pub steps: u64,
}

/// Whether both runs trained on the same batches in the same order.
pub fn same_batches(a: &Run, b: &Run) -> bool {
    let key = |run: &Run| {
        let f = &run.facts;
        // Other sequences may make as many tokens a step.
        let size = (f.tokens_per_step?, f.sequence_length?);
        Some((f.seed?, f.data_fingerprint.clone()?, size))
    };
    key(a).is_some_and(|k| Some(k) == key(b))
}

/// Over the last tenth of two runs of one length on one order of batches; `None` for any others.
pub fn paired(a: &Run, b: &Run) -> Option<Paired> {
    const BLOCKS: usize = 8;
    if !same_batches(a, b) || a.last_step() != b.last_step() {
        return None;
    }
    let n = (a.steps.len().min(b.steps.len()) / 10).max(BLOCKS);
    let (from_a, from_b) = (a.steps.len().checked_sub(n)?, b.steps.len().checked_sub(n)?);
    let both = a.steps[from_a..].iter().zip(&b.steps[from_b..]);
    let mut differences = Vec::with_capacity(n);
    for (x, y) in both {
        if x.step != y.step {
            return None;
        }
        differences.push(y.loss - x.loss);
    }
    let blocks: Vec<f64> = (0..BLOCKS)
        .map(|i| {
            mean(
                differences[i * n / BLOCKS..(i + 1) * n / BLOCKS]
                    .iter()
                    .copied(),
            )
        })
        .collect();
    let centre = mean(blocks.iter().copied());
    let squares: f64 = blocks.iter().map(|b| (b - centre).powi(2)).sum();
    let error = (squares / (BLOCKS * (BLOCKS - 1)) as f64).sqrt();
    (centre.is_finite() && error.is_finite()).then_some(Paired {
        difference: centre,
        error,
        steps: n as u64,
    })
}

/// LR that every step was made with, 0 where an update was left out; from the last one on, what is planned. Empty where
/// neither is known.
pub fn applied(run: &Run) -> Vec<f64> {
    lrs(run, Step::applied)
}

/// As [`applied`], as if no update had been left out: the schedule itself.
pub fn scheduled(run: &Run) -> Vec<f64> {
    lrs(run, |s| s.lr)
}

fn lrs(run: &Run, of: impl Fn(&Step) -> f64) -> Vec<f64> {
    let planned = run.facts.schedule.as_ref();
    let mut lrs: Vec<f64> = match planned {
        Some(schedule) => (0..run.horizon().min(super::config::MOST_STEPS))
            .map(|s| schedule.lr(s))
            .collect(),
        None => vec![f64::NAN; run.last_step().min(super::config::MOST_STEPS) as usize],
    };
    if let Some((from, schedule)) = &run.redesigned {
        let later = lrs.iter_mut().enumerate().skip(*from as usize);
        later.for_each(|(s, lr)| *lr = schedule.lr(s as u64));
    }
    for s in &run.steps {
        let place = s
            .step
            .checked_sub(1)
            .and_then(|at| lrs.get_mut(at as usize));
        if let Some(place) = place.filter(|_| of(s).is_finite()) {
            *place = of(s);
        }
    }
    // What no row tells is as the row before it.
    let mut before = lrs.iter().copied().find(|lr| lr.is_finite()).unwrap_or(0.0);
    for lr in &mut lrs {
        if lr.is_finite() {
            before = *lr;
        } else {
            *lr = before;
        }
    }
    lrs
}
