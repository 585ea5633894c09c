//! Unit schedules, base LR 1, as two programs mean a spec.

mod reference;

use crate::error::{Error, Result};
use crate::schedule::{Schedule, ScheduleSpec, Shape, Warmup};
pub use reference::Reference;

/// Whose formulas a spec is read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// Ours: `Schedule::lr(s)` of the steps 0 to T−1, with a peak of 1.
    Lehr,
    /// The package of arXiv 2501.18965; see [`Reference`].
    Schaipp,
}

/// A spec, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// As it was written.
    pub text: String,
    shape: Meaning,
}

#[derive(Clone, Debug, PartialEq)]
enum Meaning {
    Lehr(Shape),
    Schaipp(Reference),
}

impl Spec {
    /// Reads `name:key=value,…`.
    ///
    /// # Errors
    /// A name or a setting that the convention does not have.
    pub fn parse(text: &str, convention: Convention) -> Result<Spec> {
        let shape = match convention {
            Convention::Lehr => Meaning::Lehr(text.parse()?),
            Convention::Schaipp => Meaning::Schaipp(text.parse()?),
        };
        let text = text.trim().to_string();
        Ok(Spec { text, shape })
    }

    /// Multiples of the base LR over `steps` steps; a table's entries are taken as they are.
    ///
    /// # Errors
    /// No steps, settings out of range, a table shorter than the run.
    pub fn lrs(&self, steps: usize, warmup: Warmup) -> Result<Vec<f64>> {
        match &self.shape {
            Meaning::Lehr(shape) => {
                let schedule = ours(shape, steps, warmup)?;
                let lrs: Vec<f64> = (0..steps as u64).map(|s| schedule.lr(s)).collect();
                match lrs.iter().any(|lr| *lr > 0.0) {
                    true => Ok(lrs),
                    false => Err(Error::input(format!(
                        "{}: every learning rate is 0, so there is nothing to bound",
                        self.text
                    ))),
                }
            }
            // Lengths of warm-ups are read as ours are.
            Meaning::Schaipp(shape) => {
                let warmup = ours(&Shape::Constant, steps, warmup)?.warmup_steps() as usize;
                shape.lrs(steps, warmup)
            }
        }
    }

    /// Whether it is a file's LRs, which are of one length and know no warm-up but their own.
    pub fn is_table(&self) -> bool {
        matches!(self.shape, Meaning::Lehr(Shape::Table { .. }))
    }

    /// Steps of [`Spec::lrs`] that warm up: no more than there are.
    ///
    /// # Errors
    /// As [`Spec::lrs`].
    pub fn warmup_steps(&self, steps: usize, warmup: Warmup) -> Result<usize> {
        let shape = match &self.shape {
            Meaning::Lehr(Shape::Table { .. }) => return Ok(0),
            Meaning::Lehr(shape) => shape,
            Meaning::Schaipp(_) => &Shape::Constant,
        };
        let of = ours(shape, steps, warmup)?.warmup_steps();
        Ok(of.min(steps as u64) as usize)
    }
}

/// A unit schedule of ours.
fn ours(shape: &Shape, steps: usize, warmup: Warmup) -> Result<Schedule> {
    Schedule::new(&ScheduleSpec {
        shape: shape.clone(),
        peak_lr: 1.0,
        warmup,
        steps: steps as u64,
        tokens_per_step: None,
        compat: false,
    })
}

/// Splits `a:k=v,k=v,b,c:k=v` at the commas that begin a new spec: what follows has no `=`, or its name's `:`
/// before it.
pub fn split_specs(text: &str) -> Vec<String> {
    let mut specs: Vec<String> = Vec::new();
    for part in text.split(',') {
        let setting = match (part.find('='), part.find(':')) {
            (Some(equals), Some(colon)) => equals < colon,
            (Some(_), None) => true,
            (None, _) => false,
        };
        match specs.last_mut() {
            Some(spec) if setting => {
                spec.push(',');
                spec.push_str(part);
            }
            _ => specs.push(part.trim().to_string()),
        }
    }
    specs.retain(|spec| !spec.is_empty());
    specs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_belong_to_settings_or_part_specs() {
        let text = "wsd:fraction=0.2,decay=sqrt,linear, cosine:final=0,table:a.csv,piecewise:at=3/4,factor=1/2";
        let parts = [
            "wsd:fraction=0.2,decay=sqrt",
            "linear",
            "cosine:final=0",
            "table:a.csv",
            "piecewise:at=3/4,factor=1/2",
        ];
        assert_eq!(split_specs(text), parts);
        assert!(split_specs(" , ").is_empty());
    }

    #[test]
    fn one_spec_two_conventions() {
        let lrs = |text: &str, convention, warmup| {
            let spec = Spec::parse(text, convention).unwrap();
            spec.lrs(10, Warmup::Steps(warmup)).unwrap()
        };
        let ours = lrs("wsd:fraction=0.2", Convention::Lehr, 2);
        assert_eq!(ours, [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]);
        // 11 steps with 2 of cooldown, of which the last, at 0, is left out.
        let theirs = lrs("wsd:fraction=0.2", Convention::Schaipp, 2);
        assert_eq!(
            theirs[1..],
            [0.5 + 0.5e-10, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]
        );
        assert!(
            Spec::parse("wsd", Convention::Lehr)
                .unwrap()
                .lrs(0, Warmup::Steps(0))
                .is_err()
        );
        assert!(
            Spec::parse("wsd", Convention::Schaipp)
                .unwrap()
                .lrs(0, Warmup::Steps(0))
                .is_err()
        );
        let warmup = |text: &str, steps, warmup| {
            let spec = Spec::parse(text, Convention::Lehr).unwrap();
            spec.warmup_steps(steps, Warmup::Steps(warmup)).unwrap()
        };
        assert_eq!(
            (warmup("constant", 10, 2), warmup("constant", 10, 20)),
            (2, 10)
        );
        assert!(Spec::parse("811", Convention::Schaipp).is_err());
        assert!(Spec::parse("1-sqrt", Convention::Lehr).is_err());
    }
}
