//! What may be chosen about a fit; every default is free of units.

use serde::{Deserialize, Serialize};

/// What is made small, summed over the fitted points: of the residual `r`, in units of
/// [`FitOptions::delta`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Residual {
    /// Huber's function of `ln L̂ − ln L`: the papers' objective.
    LogHuber,
    /// Huber's function of `L̂ − L`, in nats.
    Huber,
    /// `(ln L̂ − ln L)²/2`.
    LogSquares,
    /// `(L̂ − L)²/2`.
    Squares,
}

impl Residual {
    /// Whether residuals are differences of logarithms.
    pub fn is_log(self) -> bool {
        matches!(self, Residual::LogHuber | Residual::LogSquares)
    }

    /// Whether large residuals count linearly.
    pub fn is_robust(self) -> bool {
        matches!(self, Residual::LogHuber | Residual::Huber)
    }

    /// As written in `law.json` and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Residual::LogHuber => "log-huber",
            Residual::Huber => "huber",
            Residual::LogSquares => "log-squares",
            Residual::Squares => "squares",
        }
    }
}

/// What each fitted point counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// Every point the same, so that a curve with more points counts more: the papers' choice.
    Points,
    /// Every curve the same, whatever its number of points.
    Curves,
}

/// Whether a law gets a free offset of S₁, for runs whose warm-up was not logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum S1Offset {
    /// Free where the warm-up of any fitted curve is unlogged.
    Auto,
    Free,
    Fixed,
}

/// How to fit. The defaults are those of the papers where they agree.
#[derive(Clone, Debug, PartialEq)]
pub struct FitOptions {
    /// First step fitted. `None`: the end of the longest warm-up, and not before 5 % of the shortest
    /// curve, because no law here describes the first collapse of the loss.
    pub from: Option<u64>,
    pub residual: Residual,
    /// Where Huber's function turns from squares to lines, and the unit of residuals: relative for
    /// the logarithmic ones, nats otherwise.
    pub delta: f64,
    /// Steps a bin, of which the mean loss at the mean step is fitted; 1: every point. `None`: bins only
    /// for curves of more than 600 points, of a round width that leaves at most 400.
    pub bin: Option<u64>,
    pub weights: Weights,
    /// How many starts; `None`: those that the law lists. More than it lists are drawn around them.
    pub starts: Option<usize>,
    pub seed: u64,
    /// Whether to use the law's priors.
    pub priors: bool,
    pub s1_offset: S1Offset,
}

impl Default for FitOptions {
    fn default() -> Self {
        FitOptions {
            from: None,
            residual: Residual::LogHuber,
            delta: 1e-3,
            bin: None,
            weights: Weights::Points,
            starts: None,
            seed: 0,
            priors: true,
            s1_offset: S1Offset::Auto,
        }
    }
}
