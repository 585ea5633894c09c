//! Loss curves: what was logged, beside the learning rate that every step really trained with.
//!
//! # One convention
//! A *step* `t` of a [`Point`] counts the optimiser updates done when the loss was measured, and
//! `lrs[s]` is the learning rate of update `s`, counted from 0. So the intrinsic time of a point is
//! `S₁(t) = Σ_{s<t} lrs[s]`, warm-up included. Logs that count differently are off by one step,
//! a relative change of S₁ by 1/t, far below the noise of any loss.

/// One measured loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Updates done when the loss was measured.
    pub step: u64,
    /// Mean cross-entropy, in nats a token.
    pub loss: f64,
}

/// Where the LR of each step comes from; it bounds how exactly a law can be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub enum LrOrigin {
    /// Computed from a schedule, written as the user gave it: exact.
    Schedule(String),
    /// Logged at every step: exact.
    EveryStep,
    /// Logged at `rows` steps only, and interpolated between them.
    Interpolated { rows: usize },
}

/// What kind of loss was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossKind {
    /// Of the batch just trained on: noisy, and the noise is shared by runs with one batch order.
    TrainBatch,
    /// On held-out text.
    Validation,
    /// The file does not say.
    Unknown,
}

/// What is known of the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmUp {
    /// `lrs` holds the true warm-up, which ends after this many steps (0: there was none).
    Known(u64),
    /// The first row already stands at the peak although training cannot have begun there (or the
    /// file begins later), so the early part of S₁ is a guess: laws get a free S₁ offset.
    Unlogged,
}

/// A loss curve: points in strictly increasing step order, and the LR of every step up to the
/// last point at least.
#[derive(Clone, Debug, PartialEq)]
pub struct LossCurve {
    /// For tables and pictures: the file's stem, or the key inside a file that holds several.
    pub name: String,
    pub points: Vec<Point>,
    /// `lrs[s]`: LR of update `s`; as long as the run where its schedule is known.
    pub lrs: Vec<f64>,
    pub lr_origin: LrOrigin,
    pub kind: LossKind,
    pub warmup: WarmUp,
    /// Parameters of the model, where known; laws over model size need it.
    pub parameters: Option<f64>,
    /// What reading had to decide (gaps, duplicates, NaN dropped), one sentence each.
    pub notes: Vec<String>,
}
