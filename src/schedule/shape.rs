//! The shapes by name, and their written form `name:key=value,…`.

use super::branch::{self, Tail};
use super::keys::{Keys, nearest};
use super::multistep::{AT_811, FACTOR_811};
use super::{Decay, Length};
use crate::error::{Error, Result};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What the LR does after warm-up. `Display` writes what `FromStr` reads; ranges are checked when
/// the schedule is built, not here.
///
/// | written | settings and their defaults |
/// |---|---|
/// | `constant` | |
/// | `linear` | `final=0` (in compatibility mode 0.1, the floor of the original) |
/// | `cosine` | `final=0.1` |
/// | `cos-inf` | `final=0.1`, `hold=0`: length of the constant part at the end |
/// | `wsd` | `fraction=0.1`, `decay=linear`, `final=0` |
/// | `wsd-s` | `ends=0.5/1.0` or `cycles=2`, `fraction=0.1`, `decay=linear`, `final=0` |
/// | `multistep` | `at=0.8/0.9`, `factor=0.316…` |
/// | `811` | `multistep` with its defaults |
/// | `inverse-sqrt` | `timescale`: the warm-up, or 10,000 steps without one |
/// | `table:FILE` | see [`super::table`] |
/// | `branch` | `at`, `horizon`, `decay=linear`, `final=0` or `table=FILE`, and last `trunk=SPEC`; see [`super::branch`] |
///
/// Ratios are `0.1` or `10%`; moments and lengths are steps (`800`) or fractions of the horizon
/// (`0.8`); lists are joined by `/`. The spellings of schedules-and-scaling are read too: `cos`, `cos_inf`, `none`,
/// `fract_decay`, `decay_type`, `final_lr_scale`, `miror_cosine`.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Constant,
    Linear {
        /// LR at the horizon over the peak. `None`: 0, or 0.1 in compatibility mode.
        final_ratio: Option<f64>,
    },
    Cosine {
        final_ratio: f64,
    },
    CosInf {
        final_ratio: f64,
        /// The constant part at the end of the run.
        hold: Length,
    },
    Wsd {
        /// Cooldown over horizon.
        fraction: f64,
        decay: Decay,
        final_ratio: f64,
    },
    WsdS {
        /// Steps at which a cooldown is over, rising.
        ends: Vec<Length>,
        /// Cooldown over its cycle, from the end before it.
        fraction: f64,
        decay: Decay,
        final_ratio: f64,
    },
    MultiStep {
        /// First steps at each lower level, rising.
        at: Vec<Length>,
        /// Each level over the one before it.
        factor: f64,
    },
    InverseSqrt {
        /// Steps over which the LR falls to 1/√2 of the peak.
        timescale: Option<u64>,
    },
    Table {
        path: PathBuf,
    },
    /// A trunk, then a cooldown of its own.
    Branch {
        /// First step of the cooldown.
        at: u64,
        /// The trunk's own horizon, which its fractions are of.
        horizon: u64,
        tail: Tail,
        trunk: Box<Shape>,
    },
}

const NAMES: &[&str] = &[
    "constant",
    "linear",
    "cosine",
    "cos-inf",
    "wsd",
    "wsd-s",
    "multistep",
    "811",
    "inverse-sqrt",
    "table:FILE",
    "branch",
];

const DEFAULT_FLOOR: f64 = 0.1;
const DEFAULT_COOLDOWN: f64 = 0.1;
const LENGTH: &str = "steps (800) or a fraction of the run (0.8)";
const LENGTHS: &str = "steps (800/900) or fractions of the run (0.8/0.9)";

impl Shape {
    /// The name alone, without settings.
    pub fn name(&self) -> &'static str {
        match self {
            Shape::Constant => "constant",
            Shape::Linear { .. } => "linear",
            Shape::Cosine { .. } => "cosine",
            Shape::CosInf { .. } => "cos-inf",
            Shape::Wsd { .. } => "wsd",
            Shape::WsdS { .. } => "wsd-s",
            Shape::MultiStep { .. } if *self == Shape::preset_811() => "811",
            Shape::MultiStep { .. } => "multistep",
            Shape::InverseSqrt { .. } => "inverse-sqrt",
            Shape::Table { .. } => "table",
            Shape::Branch { .. } => "branch",
        }
    }

    /// 80 % of the run at the peak, 10 % at peak/√10, 10 % at peak/10.
    pub fn preset_811() -> Shape {
        Shape::MultiStep {
            at: AT_811.to_vec(),
            factor: FACTOR_811,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Shape::Constant => Ok(()),
            Shape::Linear { final_ratio: None } => Ok(()),
            Shape::Linear {
                final_ratio: Some(ratio),
            } => write!(f, ":final={ratio}"),
            Shape::Cosine { final_ratio } => write!(f, ":final={final_ratio}"),
            Shape::CosInf { final_ratio, hold } => write!(f, ":final={final_ratio},hold={hold}"),
            Shape::Wsd {
                fraction,
                decay,
                final_ratio,
            } => write!(f, ":fraction={fraction},decay={decay},final={final_ratio}"),
            Shape::WsdS {
                ends,
                fraction,
                decay,
                final_ratio,
            } => write!(
                f,
                ":ends={},fraction={fraction},decay={decay},final={final_ratio}",
                join(ends)
            ),
            Shape::MultiStep { .. } if self.name() == "811" => Ok(()),
            Shape::MultiStep { at, factor } => write!(f, ":at={},factor={factor}", join(at)),
            Shape::InverseSqrt { timescale: None } => Ok(()),
            Shape::InverseSqrt {
                timescale: Some(steps),
            } => write!(f, ":timescale={steps}"),
            Shape::Table { path } => write!(f, ":{}", path.display()),
            Shape::Branch {
                at,
                horizon,
                tail,
                trunk,
            } => write!(f, ":at={at},horizon={horizon},{tail},trunk={trunk}"),
        }
    }
}

fn join(lengths: &[Length]) -> String {
    let all: Vec<String> = lengths.iter().map(Length::to_string).collect();
    all.join("/")
}

impl FromStr for Shape {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, tail) = text.trim().split_once(':').unwrap_or((text.trim(), ""));
        let name = name.trim().to_ascii_lowercase().replace('_', "-");
        match name.as_str() {
            "constant" | "const" | "none" => {
                Keys::parse("constant", tail)?.finish()?;
                Ok(Shape::Constant)
            }
            "linear" => {
                let mut keys = Keys::parse("linear", tail)?;
                let final_ratio = take_final(&mut keys)?;
                keys.finish()?;
                Ok(Shape::Linear { final_ratio })
            }
            "cosine" | "cos" => {
                let mut keys = Keys::parse("cosine", tail)?;
                let final_ratio = take_final(&mut keys)?.unwrap_or(DEFAULT_FLOOR);
                keys.finish()?;
                Ok(Shape::Cosine { final_ratio })
            }
            "cos-inf" | "cosine-inf" => parse_cos_inf(tail),
            "wsd" => parse_wsd(tail),
            "wsd-s" | "wsds" => parse_wsd_s(tail),
            "multistep" | "multi-step" => parse_multistep(tail),
            "811" => {
                Keys::parse("811", tail)?.finish()?;
                Ok(Shape::preset_811())
            }
            "inverse-sqrt" | "inv-sqrt" | "rsqrt" => {
                let mut keys = Keys::parse("inverse-sqrt", tail)?;
                let timescale =
                    keys.take_parsed(&["timescale", "time_scale"], "a number of steps")?;
                keys.finish()?;
                Ok(Shape::InverseSqrt { timescale })
            }
            "table" if tail.trim().is_empty() => Err(Error::input(
                "table needs the file that holds the learning rates: table:FILE",
            )),
            "table" => Ok(Shape::Table {
                path: PathBuf::from(tail.trim()),
            }),
            "branch" => branch::parse(tail),
            _ => Err(Error::input(format!(
                "unknown schedule '{text}'{}; known are {}",
                nearest(&name, NAMES),
                NAMES.join(", ")
            ))),
        }
    }
}

fn take_final(keys: &mut Keys) -> Result<Option<f64>> {
    keys.take_ratio(&["final", "final_ratio", "final_lr_scale"])
}

/// `fraction`, `decay` and `final`, which both kinds of `wsd` have.
fn take_cooldown(keys: &mut Keys) -> Result<(f64, Decay, f64)> {
    let fraction = keys.take_ratio(&["fraction", "fract_decay"])?;
    let decay = match keys.take(&["decay", "decay_type"]) {
        Some(text) => text.parse()?,
        None => Decay::Linear,
    };
    let final_ratio = take_final(keys)?.unwrap_or(0.0);
    Ok((fraction.unwrap_or(DEFAULT_COOLDOWN), decay, final_ratio))
}

fn parse_cos_inf(tail: &str) -> Result<Shape> {
    let mut keys = Keys::parse("cos-inf", tail)?;
    let final_ratio = take_final(&mut keys)?.unwrap_or(DEFAULT_FLOOR);
    let hold = keys
        .take_parsed(&["hold", "cos_inf_steps"], LENGTH)?
        .unwrap_or(Length::Steps(0));
    keys.finish()?;
    Ok(Shape::CosInf { final_ratio, hold })
}

fn parse_wsd(tail: &str) -> Result<Shape> {
    let mut keys = Keys::parse("wsd", tail)?;
    let (fraction, decay, final_ratio) = take_cooldown(&mut keys)?;
    keys.finish()?;
    Ok(Shape::Wsd {
        fraction,
        decay,
        final_ratio,
    })
}

fn parse_wsd_s(tail: &str) -> Result<Shape> {
    let mut keys = Keys::parse("wsd-s", tail)?;
    let (fraction, decay, final_ratio) = take_cooldown(&mut keys)?;
    let ends = keys.take_list("ends", LENGTHS)?;
    let cycles = keys.take_parsed::<u32>(&["cycles", "n_cycles"], "a number of cooldowns")?;
    keys.finish()?;
    let ends = match (ends, cycles) {
        (Some(_), Some(_)) => {
            return Err(Error::input("wsd-s: give either ends or cycles, not both"));
        }
        (Some(ends), None) => ends,
        (None, cycles) => equal_cycles(cycles.unwrap_or(2))?,
    };
    Ok(Shape::WsdS {
        ends,
        fraction,
        decay,
        final_ratio,
    })
}

/// Ends that cut the run into `n` equal cycles.
fn equal_cycles(n: u32) -> Result<Vec<Length>> {
    // A spec is one line; a thousand cooldowns is past any use, and a typo should not fill memory.
    if !(1..=1000).contains(&n) {
        return Err(Error::input(format!(
            "wsd-s: cycles must be between 1 and 1,000, not {n}"
        )));
    }
    Ok((1..=n)
        .map(|k| Length::Fraction(k as f64 / n as f64))
        .collect())
}

fn parse_multistep(tail: &str) -> Result<Shape> {
    let mut keys = Keys::parse("multistep", tail)?;
    let at = keys.take_list("at", LENGTHS)?;
    let factor = keys.take_ratio(&["factor", "gamma"])?;
    keys.finish()?;
    Ok(Shape::MultiStep {
        at: at.unwrap_or_else(|| AT_811.to_vec()),
        factor: factor.unwrap_or(FACTOR_811),
    })
}

impl serde::Serialize for Shape {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Shape {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
