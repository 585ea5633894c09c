//! A schedule as laws see it: intrinsic time at the points, and the changes of the LR before them.

/// A change of the LR, or several adjacent ones taken together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    /// Step `k` whose LR differs from the one before it (the weighted mean, for several).
    pub step: f64,
    /// `S₁(k) = Σ_{s<k} η_s`: intrinsic time when the change happens (likewise).
    pub s1: f64,
    /// LR before the change; 0 before the first step of all.
    pub before: f64,
    /// LR after it. A drop has `before > after`.
    pub after: f64,
}

/// What a law needs of one curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Of each point: updates done, intrinsic time `Σ_{s<t} η_s`, LR of the last update, and how many
    /// of `nodes` happened before it.
    pub steps: Vec<f64>,
    pub s1: Vec<f64>,
    pub lr: Vec<f64>,
    pub seen: Vec<usize>,
    /// In step order; the rise to the first LR is node 0.
    pub nodes: Vec<Node>,
    /// How many of the first nodes belong to the warm-up.
    pub warmup_nodes: usize,
}
