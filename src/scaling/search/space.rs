//! What may be asked: ranges of sizes and learning rates, and the budgets there are.

use super::Query;
use crate::error::{Error, Result};
use serde::Serialize;

/// Bounds of a query, all inclusive.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Space {
    pub d_model: (u32, u32),
    pub num_layers: (u32, u32),
    pub num_heads: (u32, u32),
    /// Sequences a step; ascending.
    pub batch_size: Vec<u32>,
    pub learning_rate: (f64, f64),
    /// Budgets of a run; ascending.
    pub train_flops: Vec<f64>,
}

/// A model: width, depth and heads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Size {
    pub d_model: u32,
    pub num_layers: u32,
    pub num_heads: u32,
}

impl Size {
    /// The run of this model; learning rates keep three digits, for a person to type again.
    pub fn query(&self, batch_size: u32, learning_rate: f64, train_flops: f64) -> Query {
        Query {
            d_model: self.d_model,
            num_layers: self.num_layers,
            num_heads: self.num_heads,
            batch_size,
            learning_rate: three_digits(learning_rate),
            train_flops,
        }
    }
}

/// Width over depth that models of the field keep to (384/8 to 1024/24).
const ASPECT: f64 = 46.0;
/// How many e-foldings of a wrong aspect weigh as much as one of a wrong size.
const ASPECT_WEIGHT: f64 = 0.1;
/// Width of a head, where the bounds allow it.
const HEAD_DIM: f64 = 64.0;

impl Space {
    /// The query space of CS336's third assignment (2025).
    pub fn cs336() -> Space {
        Space {
            d_model: (64, 1024),
            num_layers: (2, 24),
            num_heads: (2, 16),
            batch_size: vec![128, 256],
            learning_rate: (1e-4, 1e-3),
            train_flops: budgets(1e13, 1e18),
        }
    }

    /// Lays `d_model=64..256,num_layers=2..8,batch_size=8/16,…` over; a number alone is both bounds. Budgets are
    /// a list (`1e12/1e13`) or a range, in which they stand at 1, 3 and 6 of every decade.
    ///
    /// # Errors
    /// An unknown name, something that is no number, bounds the wrong way round.
    pub fn lay(&mut self, text: &str) -> Result<()> {
        for part in text.split(',').filter(|p| !p.trim().is_empty()) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(wrong(part, "write name=LOW..HIGH"));
            };
            let list = numbers(part, value)?;
            let (low, high) = (list[0], list[list.len() - 1]);
            let whole = || -> Result<(u32, u32)> {
                let fine = |x: f64| (1.0..=1e6).contains(&x) && x.fract() == 0.0;
                match fine(low) && fine(high) && value.matches('/').count() == 0 {
                    true => Ok((low as u32, high as u32)),
                    false => Err(wrong(part, "give whole numbers LOW..HIGH from 1 up")),
                }
            };
            match name.trim() {
                "d_model" => self.d_model = whole()?,
                "num_layers" => self.num_layers = whole()?,
                "num_heads" => self.num_heads = whole()?,
                "batch_size" => {
                    if list
                        .iter()
                        .any(|x| *x < 1.0 || *x > 1e6 || x.fract() != 0.0)
                    {
                        return Err(wrong(part, "give whole numbers, as in 128/256"));
                    }
                    self.batch_size = list.iter().map(|x| *x as u32).collect();
                }
                "learning_rate" => self.learning_rate = (low, high),
                "train_flops" if value.contains("..") => self.train_flops = budgets(low, high),
                "train_flops" => self.train_flops = list,
                _ => {
                    return Err(wrong(
                        part,
                        "the names are d_model, num_layers, num_heads, batch_size, learning_rate and train_flops",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every width and depth that the bounds allow, with the heads that divide the width best. Widths are multiples of the
    /// largest power of two up to 64 that does not exceed the least width.
    ///
    /// # Errors
    /// No width has heads that divide it.
    pub fn sizes(&self) -> Result<Vec<Size>> {
        let sizes = grid(self.d_model, self.num_layers, self.num_heads);
        if sizes.is_empty() {
            return Err(Error::input(format!(
                "no d_model in {}..{} has num_heads in {}..{} that divide it into heads of an even width; widen --space",
                self.d_model.0, self.d_model.1, self.num_heads.0, self.num_heads.1
            )));
        }
        Ok(sizes)
    }

    /// Sizes of about `params` parameters that go on where the bounds end, for a target that lies beyond them.
    pub fn beyond(&self, params: f64) -> Vec<Size> {
        let heads = (self.num_heads.0, self.num_heads.1.max(128));
        let mut sizes = grid((self.d_model.0, 16384), (self.num_layers.0, 128), heads);
        // An embedding may hold most of a small model's parameters, never of a large one's.
        sizes.retain(|s| {
            let share = s.query(1, 1.0, 1.0).block_params() / params;
            (0.05..2.0).contains(&share)
        });
        sizes
    }

    /// Whether `query` lies within the bounds; of budgets, between the least and the greatest.
    pub fn holds(&self, query: &Query) -> bool {
        /// Three digits may round a bound.
        const ROUNDED: f64 = 0.006;
        let within = |x: u32, (low, high): (u32, u32)| (low..=high).contains(&x);
        let near = |x: f64, low: f64, high: f64| {
            (low * (1.0 - ROUNDED)..=high * (1.0 + ROUNDED)).contains(&x)
        };
        let (low, high) = self.learning_rate;
        let flops = &self.train_flops;
        within(query.d_model, self.d_model)
            && within(query.num_layers, self.num_layers)
            && within(query.num_heads, self.num_heads)
            && self.batch_size.contains(&query.batch_size)
            && near(query.learning_rate, low, high)
            && near(query.train_flops, flops[0], flops[flops.len() - 1])
    }

    /// The nearest learning rate that may be asked.
    pub fn clamp_lr(&self, lr: f64) -> f64 {
        lr.clamp(self.learning_rate.0, self.learning_rate.1)
    }
}

/// Of sizes and their parameters, the nearest to `params` whose aspect is not far from the field's.
pub fn nearest(sizes: &[(Size, f64)], params: f64) -> Option<Size> {
    let off = |(s, n): &(Size, f64)| {
        let aspect = f64::from(s.d_model) / f64::from(s.num_layers);
        (n / params).ln().abs() + ASPECT_WEIGHT * (aspect / ASPECT).ln().abs()
    };
    let best = sizes.iter().min_by(|a, b| off(a).total_cmp(&off(b)));
    best.map(|b| b.0)
}

fn grid(width: (u32, u32), layers: (u32, u32), heads: (u32, u32)) -> Vec<Size> {
    let step = [64, 32, 16, 8, 4, 2, 1]
        .into_iter()
        .find(|s| *s <= width.0.max(1))
        .unwrap_or(1);
    let mut sizes = Vec::new();
    let first = width.0.div_ceil(step) * step;
    for d_model in (first..=width.1).step_by(step as usize) {
        let Some(num_heads) = heads_of(d_model, heads) else {
            continue;
        };
        sizes.extend((layers.0..=layers.1).map(|num_layers| Size {
            d_model,
            num_layers,
            num_heads,
        }));
    }
    sizes
}

/// Heads of an even width (rotary positions turn pairs) as near to 64 as the bounds allow.
fn heads_of(d_model: u32, (low, high): (u32, u32)) -> Option<u32> {
    let off = |h: &u32| (f64::from(d_model / h) / HEAD_DIM).ln().abs();
    (low..=high.min(d_model))
        .filter(|h| d_model.is_multiple_of(*h) && (d_model / h).is_multiple_of(2))
        .min_by(|a, b| off(a).total_cmp(&off(b)))
}

/// 1, 3 and 6 of every decade from `low` to `high`, both included where they are among them.
pub fn budgets(low: f64, high: f64) -> Vec<f64> {
    let mut list = Vec::new();
    for decade in low.log10().floor() as i32..=high.log10().ceil() as i32 {
        for digit in [1, 3, 6] {
            // Text makes the double that a person means by 6e17.
            let x: f64 = format!("{digit}e{decade}").parse().unwrap_or(f64::NAN);
            if x >= low * (1.0 - 1e-9) && x <= high * (1.0 + 1e-9) {
                list.push(x);
            }
        }
    }
    if list.is_empty() {
        list.push(low);
    }
    list
}

/// `x` to three significant digits.
pub fn three_digits(x: f64) -> f64 {
    format!("{x:.2e}").parse().unwrap_or(x)
}

/// `a..b`, `a/b/c` or `a`: positive numbers, ascending.
fn numbers(part: &str, value: &str) -> Result<Vec<f64>> {
    let texts: Vec<&str> = match value.split_once("..") {
        Some((low, high)) => vec![low, high.trim_start_matches('=')],
        None => value.split('/').collect(),
    };
    let mut list = Vec::new();
    for text in texts {
        match text.trim().parse::<f64>() {
            Ok(x) if x.is_finite() && (1e-30..=1e40).contains(&x) => list.push(x),
            _ => return Err(wrong(part, &format!("\"{text}\" is no number above 0"))),
        }
    }
    if list.windows(2).any(|w| w[0] > w[1]) {
        return Err(wrong(part, "numbers must ascend"));
    }
    list.dedup();
    Ok(list)
}

fn wrong(part: &str, what: &str) -> Error {
    Error::input(format!("--space {}: {what}", part.trim()))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_assignments_budgets() {
        let list = Space::cs336().train_flops;
        assert_eq!(list.len(), 16);
        assert_eq!(
            (list[0], list[1], list[14], list[15]),
            (1e13, 3e13, 6e17, 1e18)
        );
    }

    #[test]
    fn sizes_divide_and_lie_within() {
        let space = Space::cs336();
        let sizes = space.sizes().unwrap();
        for s in &sizes {
            assert!(s.d_model.is_multiple_of(s.num_heads) && (2..=16).contains(&s.num_heads));
            assert!((64..=1024).contains(&s.d_model) && (2..=24).contains(&s.num_layers));
        }
        let params = |s: &Size| s.query(128, 1e-3, 1e13).block_params();
        let sized: Vec<_> = sizes.iter().map(|s| (*s, params(s))).collect();
        let s = nearest(&sized, 85e6).unwrap();
        assert!((params(&s) / 85e6).ln().abs() < 0.1, "{s:?}");
        assert!((25..=100).contains(&(s.d_model / s.num_layers)), "{s:?}");
    }

    #[test]
    fn bounds_are_laid_over_and_checked() {
        let mut space = Space::cs336();
        space
            .lay("d_model=32..128, num_heads=2,batch_size=8/16,train_flops=1e10..1e11,learning_rate=1e-3..1e-2")
            .unwrap();
        assert_eq!((space.d_model, space.num_heads), ((32, 128), (2, 2)));
        assert_eq!(space.batch_size, [8, 16]);
        assert_eq!(space.train_flops, [1e10, 3e10, 6e10, 1e11]);
        for bad in [
            "d_model=a",
            "d_model=9..3",
            "width=3",
            "d_model",
            "d_model=0.5",
            "batch_size=0",
            "learning_rate=-1",
        ] {
            let said = Space::cs336().lay(bad).unwrap_err().to_string();
            assert!(said.starts_with("--space "), "{said}");
        }
        space.num_heads = (7, 7);
        assert!(space.sizes().unwrap_err().to_string().contains("--space"));
    }
}
