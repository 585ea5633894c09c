//! Flags that `fit` and `compare` share: how curves are read, and how laws are fitted.

use crate::curve::{self, ColumnMap, LossCurve, LossKind, ReadOptions, WarmUp};
use crate::error::{Error, Result};
use crate::fit::{FitOptions, Residual, S1Offset, Weights};
use crate::law::{self, Law, LawOptions, WarmupRule};
use std::sync::Arc;

/// How curve arguments are read.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Reading curves")]
pub struct CurveFlags {
    /// Warm-up steps that the runs had, whether their logs show them or not
    #[arg(long, value_name = "STEPS")]
    pub warmup_steps: Option<u64>,
    /// Steps of the runs, for a FILE@SPEC that does not say them
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Peak learning rate of the runs, for a FILE@SPEC that does not say it
    #[arg(long, value_name = "PEAK")]
    pub lr: Option<f64>,
    /// Columns by name: step=…,loss=…,lr=… (those left out are found)
    #[arg(long, value_name = "ROLE=NAME,…")]
    pub columns: Option<String>,
    /// Which loss to take of a log that holds several
    #[arg(long, value_enum)]
    pub kind: Option<Kind>,
    /// Evaluate FILE@SPEC as schedules-and-scaling does
    #[arg(long)]
    pub compat: bool,
}

/// A loss by where it was measured.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Train,
    Validation,
}

impl CurveFlags {
    fn options(&self) -> Result<ReadOptions> {
        if let Some(lr) = self.lr.filter(|lr| !(lr.is_finite() && *lr > 0.0)) {
            return Err(Error::input(format!(
                "--lr {lr}: the peak learning rate must be a positive number, such as 1e-3"
            )));
        }
        Ok(ReadOptions {
            warmup: self.warmup_steps,
            steps: self.steps,
            peak_lr: self.lr,
            columns: columns(self.columns.as_deref().unwrap_or_default())?,
            kind: self.kind.map(|kind| match kind {
                Kind::Train => LossKind::TrainBatch,
                Kind::Validation => LossKind::Validation,
            }),
            compat: self.compat,
        })
    }

    /// The curves of all arguments, in their order; each has a name of its own.
    pub fn read(&self, arguments: &[String]) -> Result<Vec<LossCurve>> {
        let options = self.options()?;
        let mut curves: Vec<LossCurve> = Vec::new();
        for argument in arguments {
            for mut curve in curve::read(argument, &options)? {
                if curves.iter().any(|c| c.name == curve.name) {
                    curve.name = format!("{argument}#{}", curve.name);
                }
                curves.push(curve);
            }
        }
        Ok(curves)
    }
}

fn columns(text: &str) -> Result<ColumnMap> {
    let mut map = ColumnMap::default();
    for part in text.split(',').filter(|p| !p.trim().is_empty()) {
        let (role, name) = part.split_once('=').unwrap_or((part, ""));
        let place = match role.trim() {
            "step" => &mut map.step,
            "lr" => &mut map.lr,
            "loss" => &mut map.loss,
            other => {
                return Err(Error::input(format!(
                    "--columns knows step=, loss= and lr=, not '{other}'"
                )));
            }
        };
        if name.trim().is_empty() {
            return Err(Error::input(format!(
                "--columns {part}: name a column, as in {}=NAME",
                role.trim()
            )));
        }
        *place = Some(name.trim().to_string());
    }
    Ok(map)
}

/// How laws are fitted.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Fitting")]
pub struct FitFlags {
    /// First step fitted and scored [default: the end of the warm-up, and 5 % of the shortest run]
    #[arg(long, value_name = "STEP")]
    pub from: Option<u64>,
    /// What is made small
    #[arg(long, value_enum, default_value = "log-huber")]
    pub residual: Objective,
    /// Where Huber's function turns linear: relative for log-huber, nats for huber
    #[arg(long, default_value_t = 1e-3)]
    pub delta: f64,
    /// Steps a bin, of which the mean is fitted; 1: every point [default: bins for long logs]
    #[arg(long, value_name = "STEPS")]
    pub bin: Option<u64>,
    /// Whether every point counts the same, or every curve
    #[arg(long, value_enum, default_value = "points")]
    pub weights: Share,
    /// Starts of the search [default: those that the law lists]
    #[arg(long, value_name = "N")]
    pub starts: Option<usize>,
    /// Decides the starts that are drawn, and the bootstrap
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Leave the law's priors out
    #[arg(long)]
    pub no_priors: bool,
    /// A free offset of S₁, for runs whose warm-up was not logged
    #[arg(long, value_enum, default_value = "auto")]
    pub s1_offset: Offset,
    /// How the warm-up enters a law
    #[arg(long, value_enum, default_value = "ignored")]
    pub warmup_rule: Rule,
    /// Hold parameters at values: gamma=0.3,beta=0.4
    #[arg(long, value_name = "NAME=VALUE,…")]
    pub fix: Option<String>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    LogHuber,
    Huber,
    LogSquares,
    Squares,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Points,
    Curves,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offset {
    /// Where the warm-up of a fitted curve was not logged
    Auto,
    Free,
    Fixed,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Its true LRs count in S₁, its rises get no response
    Ignored,
    /// Its rises count as negative drops
    Rise,
    /// It counts in S₁ as if it stood at its last LR
    ConstantPeak,
}

impl From<Rule> for WarmupRule {
    fn from(rule: Rule) -> WarmupRule {
        match rule {
            Rule::Ignored => WarmupRule::Ignored,
            Rule::Rise => WarmupRule::Rise,
            Rule::ConstantPeak => WarmupRule::ConstantPeak,
        }
    }
}

impl FitFlags {
    /// # Errors
    /// A value that no fit can use.
    pub fn options(&self) -> Result<FitOptions> {
        if !(self.delta.is_finite() && self.delta > 0.0) {
            return Err(Error::input(format!(
                "--delta {}: it must be a positive number, such as 1e-3",
                self.delta
            )));
        }
        for (flag, value) in [
            ("--bin", self.bin),
            ("--starts", self.starts.map(|n| n as u64)),
        ] {
            if value == Some(0) {
                return Err(Error::input(format!("{flag} 0: it must be at least 1")));
            }
        }
        Ok(FitOptions {
            from: self.from,
            residual: match self.residual {
                Objective::LogHuber => Residual::LogHuber,
                Objective::Huber => Residual::Huber,
                Objective::LogSquares => Residual::LogSquares,
                Objective::Squares => Residual::Squares,
            },
            delta: self.delta,
            bin: self.bin,
            weights: match self.weights {
                Share::Points => Weights::Points,
                Share::Curves => Weights::Curves,
            },
            starts: self.starts,
            seed: self.seed,
            priors: !self.no_priors,
            s1_offset: match self.s1_offset {
                Offset::Auto => S1Offset::Auto,
                Offset::Free => S1Offset::Free,
                Offset::Fixed => S1Offset::Fixed,
            },
        })
    }

    /// How laws are set up for these fitted curves.
    pub fn law_options(&self, fitted: &[&LossCurve]) -> Result<LawOptions> {
        Ok(LawOptions {
            s1_offset: match self.s1_offset {
                Offset::Auto => fitted.iter().any(|c| c.warmup == WarmUp::Unlogged),
                Offset::Free => true,
                Offset::Fixed => false,
            },
            warmup: self.warmup_rule.into(),
            fixed: fixed(self.fix.as_deref().unwrap_or_default())?,
        })
    }
}

fn fixed(text: &str) -> Result<Vec<(String, f64)>> {
    let one = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let value: f64 = value.trim().parse().ok()?;
        value.is_finite().then(|| (name.trim().to_string(), value))
    };
    text.split(',')
        .filter(|part| !part.trim().is_empty())
        .map(|part| {
            one(part).ok_or_else(|| {
                Error::input(format!("--fix {part}: write NAME=VALUE, such as gamma=0.3"))
            })
        })
        .collect()
}

/// The laws that a list such as `mpl,tissue` or `all` names, each once. Of `all`, laws that cannot be
/// set up for these curves (they lack a parameter that is held, or need the size of models that do not
/// say it) are left out.
pub fn laws(list: &str, options: &LawOptions, fitted: &[&LossCurve]) -> Result<Vec<Arc<dyn Law>>> {
    let all = list.trim() == "all";
    let sized = fitted.iter().all(|c| c.parameters.is_some());
    let names: Vec<&str> = match all {
        true => law::NAMES.to_vec(),
        false => list
            .split(',')
            .map(str::trim)
            .filter(|n| !n.is_empty())
            .collect(),
    };
    let mut laws: Vec<Arc<dyn Law>> = Vec::new();
    for name in names {
        let law: Arc<dyn Law> = match law::by_name(name, options) {
            Ok(law) => law.into(),
            Err(_) if all => continue,
            Err(e) => return Err(e),
        };
        let repeated = laws.iter().any(|l| l.name() == law.name());
        if !(repeated || all && law.needs_size() && !sized) {
            laws.push(law);
        }
    }
    match laws.is_empty() {
        true => Err(Error::input(format!(
            "--law names no law; choose among {}, or all",
            law::NAMES.join(", ")
        ))),
        false => Ok(laws),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_by_role() {
        let map = columns("step=iter, loss=val/loss").unwrap();
        assert_eq!(map.step.as_deref(), Some("iter"));
        assert_eq!(map.loss.as_deref(), Some("val/loss"));
        assert_eq!(map.lr, None);
        assert!(
            columns("epoch=x")
                .unwrap_err()
                .to_string()
                .contains("'epoch'")
        );
        assert!(
            columns("step=")
                .unwrap_err()
                .to_string()
                .contains("step=NAME")
        );
    }

    #[test]
    fn held_parameters() {
        assert_eq!(fixed("gamma=0.3,").unwrap(), [("gamma".to_string(), 0.3)]);
        assert!(
            fixed("gamma")
                .unwrap_err()
                .to_string()
                .contains("NAME=VALUE")
        );
        assert!(fixed("gamma=nan").is_err());
    }
}
