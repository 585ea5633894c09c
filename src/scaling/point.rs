//! Trained models as points: parameters, tokens, FLOPs and the loss they ended at.

/// One trained model.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Parameters, counted as whoever made the point counted them.
    pub params: f64,
    /// Training tokens.
    pub tokens: f64,
    /// Training FLOPs.
    pub flops: f64,
    /// Final loss, in nats a token.
    pub loss: f64,
    /// Name of the size, where several points share one.
    pub size: Option<String>,
    pub seed: Option<u64>,
    /// `cooldown`, `cosine`, …
    pub kind: Option<String>,
}
