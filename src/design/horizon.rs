//! The length of a run as a part of its design: what more steps gain against what they cost.

use super::families::{self, Family, golden};
use super::problem::Problem;
use crate::error::{Error, Result};
use crate::schedule::count;

/// What decides the length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// Least `loss + price·steps`, in nats a step.
    Price(f64),
    /// The shortest run that ends at this loss.
    Loss(f64),
}

/// Between `shortest` and `longest` steps, the length that the goal asks for, of runs that cool down by the best power
/// family's shape (within 1e-3 nats of the free design). `of` is the run at a length, with its trust rule and its warm-up.
///
/// # Errors
/// A goal that is no number, what `of` says of the first lengths looked at, or a loss that no run within reach gets down to.
pub fn length(
    of: impl Fn(u64) -> Result<Problem>,
    goal: Goal,
    (shortest, longest): (u64, u64),
) -> Result<u64> {
    let (flag, value) = match goal {
        Goal::Price(price) => ("--price", price),
        Goal::Loss(loss) => ("--loss-target", loss),
    };
    if !(value.is_finite() && value > 0.0) {
        return Err(Error::input(format!(
            "{flag} {value}: it must be a positive number"
        )));
    }
    let whole = |ln: f64| (ln.exp().round() as u64).clamp(shortest, longest);
    let (low, high) = ((shortest as f64).ln(), (longest as f64).ln());
    let mut at = whole(0.5 * (low + high));
    // The best shape hardly depends on the length: tune it where the length is, then the length again.
    for _ in 0..3 {
        let tuned = of(at)?;
        let Family::Power {
            steps,
            exponent,
            floor,
        } = families::power(&tuned).family
        else {
            break;
        };
        let share = steps / tuned.free_steps() as f64;
        let loss = |steps: u64| -> f64 {
            let Ok(run) = of(steps) else { return f64::NAN };
            let family = Family::Power {
                steps: (share * run.free_steps() as f64).max(2.0),
                exponent,
                floor,
            };
            run.rough_loss(&family.lrs(&run))
        };
        let next = match goal {
            Goal::Price(price) => whole(golden(low, high, |ln| {
                let steps = whole(ln);
                loss(steps) + price * steps as f64
            })),
            Goal::Loss(target) => shortest_to(target, (low, high), |ln| loss(whole(ln)))
                .map(whole)
                .ok_or_else(|| {
                    Error::input(format!(
                        "--loss-target {target}: under the law {} no run of up to {} steps gets there (the longest ends at {:.4}); ask for more",
                        tuned.model.law.name(),
                        count(longest),
                        loss(longest)
                    ))
                })?,
        };
        if next.abs_diff(at) <= at / 200 {
            at = next;
            break;
        }
        at = next;
    }
    Ok(at)
}

/// Where a falling function first is `target` or less, by bisection.
fn shortest_to(target: f64, (low, high): (f64, f64), loss: impl Fn(f64) -> f64) -> Option<f64> {
    if loss(low) <= target {
        return Some(low);
    }
    let least = loss(high);
    if least > target || least.is_nan() {
        return None;
    }
    let (mut low, mut high) = (low, high);
    while high - low > 1e-4 {
        let middle = 0.5 * (low + high);
        match loss(middle) <= target {
            true => high = middle,
            false => low = middle,
        }
    }
    Some(high)
}
