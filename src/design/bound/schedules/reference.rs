//! The schedules of the reference package (arXiv 2501.18965), formula by formula.
//!
//! A schedule of T steps is built with T+1, of which the last is not used: most end at 0 there. With S = T+1 steps, of which
//! w warm up and `n = ⌊c·S⌋` cool down (one fewer where nothing would be left between them), and t from 0:
//! - warm-up: `l + (t/w)·(1 − l)`, `l = 1e-10`, so that step w is the first at 1;
//! - cooldown from the last LR `p` before it to `f`: linear `p − (t+1)·(p−f)/n`, sqrt `f + (p−f)·(1 − √((t+1)/n))`;
//! - cosine over `m = S−w` steps: `f + ½(1−f)·(1 + cos(πt/(m−1)))`;
//! - backward polynomial: `f + (1−f)·((S−t−1)/(S−1))^α`; polynomial: `(t+1)^−α`;
//! - piecewise constant: the product of the factors whose milestones are at or before t.

use crate::error::{Error, Result};
use crate::schedule::keys::{Keys, check_ratio, nearest};
use std::str::FromStr;

/// A schedule of the package.
///
/// | written | settings and their defaults |
/// |---|---|
/// | `constant` | |
/// | `cosine` | `final=0` |
/// | `wsd` | `fraction=0.2`, `decay=linear` or `sqrt`, `final=0` |
/// | `linear`, `1-sqrt` | `final=0`: a cooldown over the whole run |
/// | `inverse-sqrt` | `fraction=0`, `decay`, `final`: `poly` with `alpha=0.5` |
/// | `poly` | `alpha=1`, `fraction=0`, `decay`, `final` |
/// | `poly-backward` | `alpha=1`, `final=0` |
/// | `piecewise` | `at=300/600` (steps), `factor=0.5/0.5`, `fraction=0`, `decay`, `final` |
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    main: Main,
    cooldown: Cooldown,
}

#[derive(Clone, Debug, PartialEq)]
enum Main {
    Constant,
    Cosine { final_ratio: f64 },
    PolyBackward { alpha: f64, final_ratio: f64 },
    Poly { alpha: f64 },
    Piecewise { at: Vec<usize>, factors: Vec<f64> },
}

#[derive(Clone, Debug, PartialEq)]
struct Cooldown {
    fraction: f64,
    sqrt: bool,
    final_ratio: f64,
}

const NAMES: &[&str] = &[
    "constant",
    "cosine",
    "wsd",
    "linear",
    "1-sqrt",
    "inverse-sqrt",
    "poly",
    "poly-backward",
    "piecewise",
];
const WARMUP_LR: f64 = 1e-10;
const NONE: Cooldown = Cooldown {
    fraction: 0.0,
    sqrt: false,
    final_ratio: 0.0,
};

impl Reference {
    /// Constant, then a cooldown over `fraction` of the run, linear or 1-sqrt, to 0.
    pub fn wsd(fraction: f64, sqrt: bool) -> Reference {
        Reference {
            main: Main::Constant,
            cooldown: Cooldown {
                fraction,
                sqrt,
                final_ratio: 0.0,
            },
        }
    }

    /// Multiples of the base LR over `steps` steps, the last of `steps + 1` left out.
    ///
    /// # Errors
    /// Warm-up and cooldown that leave nothing between them, a cooldown that would rise.
    pub fn lrs(&self, steps: usize, warmup: usize) -> Result<Vec<f64>> {
        let mut lrs = self.built(steps.saturating_add(1), warmup)?;
        lrs.truncate(steps);
        Ok(lrs)
    }

    /// All of the `total` steps that the package builds.
    ///
    /// # Errors
    /// As [`Reference::lrs`].
    pub fn built(&self, total: usize, warmup: usize) -> Result<Vec<f64>> {
        if total > MOST_STEPS {
            return Err(Error::input(format!(
                "a schedule of {total} steps is longer than the {MOST_STEPS} that can be bounded"
            )));
        }
        let mut cooldown = (self.cooldown.fraction * total as f64) as usize;
        if warmup.saturating_add(cooldown) == total && cooldown > 0 {
            cooldown -= 1;
        }
        let middle = total
            .checked_sub(warmup.saturating_add(cooldown))
            .filter(|middle| *middle > 0);
        let Some(middle) = middle else {
            return Err(Error::input(format!(
                "a warm-up of {warmup} and a cooldown of {cooldown} steps leave nothing of {} steps between them; \
                 shorten either",
                total - 1
            )));
        };
        if warmup > 0 && matches!(self.main, Main::PolyBackward { .. }) {
            return Err(Error::input(
                "poly-backward has no warm-up in the reference package; leave --warmup out",
            ));
        }
        let mut lrs = Vec::with_capacity(total);
        let rise = |t: usize| WARMUP_LR + (t as f64 / warmup as f64) * (1.0 - WARMUP_LR);
        lrs.extend((0..warmup).map(rise));
        lrs.extend((0..middle).map(|t| self.main.at(t, middle, warmup)));
        self.cool(&mut lrs, cooldown)?;
        Ok(lrs)
    }

    fn cool(&self, lrs: &mut Vec<f64>, steps: usize) -> Result<()> {
        let peak = lrs[lrs.len() - 1];
        let last = self.cooldown.final_ratio;
        if steps > 0 && last > peak {
            return Err(Error::input(format!(
                "the cooldown starts at {peak:.3} of the base LR, below its end at {last}; lower final"
            )));
        }
        lrs.extend((1..=steps).map(|t| {
            let left = match self.cooldown.sqrt {
                true => last + (peak - last) * (1.0 - (t as f64 / steps as f64).sqrt()),
                false => peak - t as f64 * (peak - last) / steps as f64,
            };
            left.max(0.0)
        }));
        Ok(())
    }
}

/// A longer schedule would fill the memory.
const MOST_STEPS: usize = 100_000_000;

impl Main {
    /// At step `t` of the `steps` between warm-up and cooldown.
    fn at(&self, t: usize, steps: usize, warmup: usize) -> f64 {
        // One step is its own end.
        let last = (steps - 1).max(1) as f64;
        match self {
            Main::Constant => 1.0,
            Main::Cosine { final_ratio } => {
                let angle = t as f64 / last * std::f64::consts::PI;
                final_ratio + 0.5 * (1.0 - final_ratio) * (1.0 + angle.cos())
            }
            Main::PolyBackward { alpha, final_ratio } => {
                let left = (steps - t - 1) as f64 / last;
                final_ratio + (1.0 - final_ratio) * left.powf(*alpha)
            }
            Main::Poly { alpha } => ((t + 1) as f64).powf(-alpha),
            Main::Piecewise { at, factors } => {
                let passed = at.iter().zip(factors).filter(|(at, _)| **at <= t + warmup);
                passed.map(|(_, factor)| factor).product()
            }
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, tail) = text.trim().split_once(':').unwrap_or((text.trim(), ""));
        let name = name.trim().to_ascii_lowercase().replace('_', "-");
        let plain = |main: Main| Reference {
            main,
            cooldown: NONE,
        };
        match name.as_str() {
            "constant" => {
                Keys::parse("constant", tail)?.finish()?;
                Ok(plain(Main::Constant))
            }
            "cosine" => {
                let mut keys = Keys::parse("cosine", tail)?;
                let final_ratio = take_final("cosine", &mut keys)?;
                keys.finish()?;
                Ok(plain(Main::Cosine { final_ratio }))
            }
            "wsd" => with_cooldown("wsd", tail, 0.2, |_| Ok(Main::Constant)),
            "linear" => whole("linear", tail, false),
            "1-sqrt" | "sqrt" => whole("1-sqrt", tail, true),
            "inverse-sqrt" | "inv-sqrt" | "1/sqrt" => {
                with_cooldown("inverse-sqrt", tail, 0.0, |_| Ok(Main::Poly { alpha: 0.5 }))
            }
            "poly" => with_cooldown("poly", tail, 0.0, |keys| {
                let alpha = take_alpha("poly", keys)?;
                Ok(Main::Poly { alpha })
            }),
            "poly-backward" => {
                let mut keys = Keys::parse("poly-backward", tail)?;
                let alpha = take_alpha("poly-backward", &mut keys)?;
                let final_ratio = take_final("poly-backward", &mut keys)?;
                keys.finish()?;
                Ok(plain(Main::PolyBackward { alpha, final_ratio }))
            }
            "piecewise" => with_cooldown("piecewise", tail, 0.0, piecewise),
            _ => Err(Error::input(format!(
                "unknown schedule '{text}' in the convention schaipp{}; known are {}",
                nearest(&name, NAMES),
                NAMES.join(", ")
            ))),
        }
    }
}

fn take_final(name: &str, keys: &mut Keys) -> Result<f64> {
    let value = keys.take_ratio(&["final", "final_lr"])?.unwrap_or(0.0);
    check_ratio(name, "final", value)?;
    Ok(value)
}

fn take_alpha(name: &str, keys: &mut Keys) -> Result<f64> {
    let alpha = keys.take_parsed(&["alpha"], "a positive number")?;
    match alpha.unwrap_or(1.0) {
        alpha if (1e-6..1e3).contains(&alpha) => Ok(alpha),
        alpha => Err(Error::input(format!(
            "{name}: alpha must be a positive number, not {alpha}"
        ))),
    }
}

fn take_sqrt(name: &str, keys: &mut Keys) -> Result<bool> {
    match keys.take(&["decay", "decay_type"]) {
        None | Some("linear") => Ok(false),
        Some("sqrt" | "1-sqrt") => Ok(true),
        Some(other) => Err(Error::input(format!(
            "{name}: decay must be linear or sqrt in the convention schaipp, not '{other}'"
        ))),
    }
}

fn with_cooldown(
    name: &'static str,
    tail: &str,
    fraction: f64,
    main: impl Fn(&mut Keys) -> Result<Main>,
) -> Result<Reference> {
    let mut keys = Keys::parse(name, tail)?;
    let main = main(&mut keys)?;
    let fraction = keys
        .take_ratio(&["fraction", "cooldown_len"])?
        .unwrap_or(fraction);
    check_ratio(name, "fraction", fraction)?;
    let sqrt = take_sqrt(name, &mut keys)?;
    let final_ratio = take_final(name, &mut keys)?;
    keys.finish()?;
    Ok(Reference {
        main,
        cooldown: Cooldown {
            fraction,
            sqrt,
            final_ratio,
        },
    })
}

fn whole(name: &'static str, tail: &str, sqrt: bool) -> Result<Reference> {
    let mut keys = Keys::parse(name, tail)?;
    let final_ratio = take_final(name, &mut keys)?;
    keys.finish()?;
    Ok(Reference {
        main: Main::Constant,
        cooldown: Cooldown {
            fraction: 1.0,
            sqrt,
            final_ratio,
        },
    })
}

fn piecewise(keys: &mut Keys) -> Result<Main> {
    let at: Vec<usize> = keys.take_list("at", "steps (300/600)")?.unwrap_or_default();
    let factors: Vec<f64> = keys
        .take_list("factor", "numbers (0.5/0.5)")?
        .unwrap_or_default();
    let positive = |f: &f64| f.is_finite() && *f > 0.0;
    if at.is_empty()
        || at.len() != factors.len()
        || at.contains(&0)
        || !factors.iter().all(positive)
    {
        return Err(Error::input(
            "piecewise needs steps from 1 on and as many positive factors, such as piecewise:at=300/600,factor=0.5/0.5",
        ));
    }
    Ok(Main::Piecewise { at, factors })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(text: &str, total: usize, warmup: usize) -> Vec<f64> {
        let reference: Reference = text.parse().unwrap();
        reference.built(total, warmup).unwrap()
    }

    fn near(found: &[f64], want: &[f64]) {
        assert_eq!(found.len(), want.len());
        for (found, want) in found.iter().zip(want) {
            assert!((found - want).abs() < 1e-9, "{found} {want}");
        }
    }

    #[test]
    fn formulas() {
        near(&built("constant", 3, 1), &[0.0, 1.0, 1.0]);
        near(
            &built("cosine:final=0.5", 5, 2),
            &[0.0, 0.5, 1.0, 0.75, 0.5],
        );
        near(&built("wsd:fraction=0.5", 4, 0), &[1.0, 1.0, 0.5, 0.0]);
        let root = 1.0 - 0.5f64.sqrt();
        near(
            &built("wsd:fraction=0.5,decay=sqrt", 4, 0),
            &[1.0, 1.0, root, 0.0],
        );
        // One step of the cooldown makes room for the peak.
        near(&built("linear:final=0.4", 4, 0), &[1.0, 0.8, 0.6, 0.4]);
        near(&built("1-sqrt", 3, 0), &[1.0, root, 0.0]);
        near(
            &built("inverse-sqrt:fraction=0.5", 4, 0),
            &[1.0, 0.5f64.sqrt(), 0.125f64.sqrt(), 0.0],
        );
        near(&built("poly:alpha=2", 3, 0), &[1.0, 0.25, 1.0 / 9.0]);
        near(
            &built("poly-backward:alpha=2,final=0.2", 3, 0),
            &[1.0, 0.4, 0.2],
        );
        near(
            &built("piecewise:at=2/3,factor=0.5/0.5,fraction=0.2", 5, 1),
            &[0.0, 1.0, 0.5, 0.25, 0.0],
        );
        let reference: Reference = "linear".parse().unwrap();
        near(&reference.lrs(2, 0).unwrap(), &[1.0, 0.5]);
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "wsd:fraction=2",
            "wsd:fraction=nan",
            "wsd:decay=cosine",
            "poly:alpha=0",
            "cosine:final=-1",
            "piecewise",
            "piecewise:at=0,factor=0.5",
            "piecewise:at=3,factor=0.5/0.5",
            "linear:fraction=0.2",
            "constant:final=0",
            "bogus",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        let refused = |text: &str, warmup| {
            let reference: Reference = text.parse().unwrap();
            reference.lrs(10, warmup).unwrap_err().to_string()
        };
        assert!(refused("wsd", 11).contains("leave nothing"));
        assert!(refused("constant", usize::MAX).contains("leave nothing"));
        assert!(refused("poly-backward", 1).contains("no warm-up"));
        assert!(refused("poly:final=0.9,fraction=0.5", 0).contains("lower final"));
    }
}
