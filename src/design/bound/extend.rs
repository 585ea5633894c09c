//! From one horizon to a later one, with the trained prefix kept.
//!
//! With the LRs of the first m steps given and those after them free, only the sum of the free ones is left to choose: for any
//! `R = R_m` the best tail costs `½·c·R` ([`super::optimal`]), and
//!
//! `Ω(R) = D²/(2(P + R)) + ½·Σ_{k≤m} η_k²·G_k²/(P_k + R) + ½·c·R`
//!
//! with P the prefix's sum and P_k that of its steps after k. Convex in R, O(m) to evaluate.

use super::optimal::tail;
use super::{Bound, Iterate};
use crate::error::{Error, Result};

/// A schedule of the whole new horizon.
#[derive(Clone, Debug, PartialEq)]
pub struct Extension {
    /// Prefix and tail, base LR included.
    pub lrs: Vec<f64>,
    pub omega: f64,
}

impl Bound<'_> {
    /// The best way on: `prefix` (base LR included) and then the tail with the least Ω at step `steps`.
    ///
    /// # Errors
    /// A bound on the best iterate, for which there is none in closed form; a horizon within the prefix; gradient norms out
    /// of range.
    pub fn extend(&self, prefix: &[f64], steps: usize) -> Result<Extension> {
        if self.iterate != Iterate::Last {
            return Err(Error::input(
                "the best extension is that of the last iterate's bound; leave --type min out",
            ));
        }
        if prefix.len() >= steps {
            return Err(Error::input(format!(
                "a prefix of {} steps leaves nothing of {steps} steps to choose; extend further or keep less",
                prefix.len()
            )));
        }
        let free = tail(&self.norms[prefix.len()..steps])?;
        let reach = self.best_reach(prefix, free.cost);
        let mut lrs = prefix.to_vec();
        lrs.extend(free.scaled(reach));
        let omega = self.split(&lrs).at(1.0);
        Ok(Extension { lrs, omega })
    }

    /// The root of Ω′(R), which rises and is concave: Newton from below it only ever goes up.
    fn best_reach(&self, prefix: &[f64], cost: f64) -> f64 {
        // (η_k·G_k)² and P_k, from the end, and D² with P.
        let mut terms = Vec::with_capacity(prefix.len() + 1);
        let mut behind = 0.0;
        for (lr, norm) in prefix.iter().zip(self.norms).rev() {
            terms.push(((lr * norm).powi(2), behind));
            behind += lr;
        }
        terms.push((self.distance * self.distance, behind));
        // Each term alone puts the root at or above √(weight/c) − P_k.
        let from = |(weight, behind): &(f64, f64)| (weight / cost).sqrt() - behind;
        let mut reach = terms.iter().map(from).fold(0.0, f64::max);
        for _ in 0..100 {
            let (mut slope, mut bend) = (cost, 0.0);
            for (weight, behind) in &terms {
                let inverse = 1.0 / (behind + reach);
                let term = weight * inverse * inverse;
                slope -= term;
                bend += 2.0 * term * inverse;
            }
            let next = reach - slope / bend;
            if next <= reach * (1.0 + 1e-15) {
                break;
            }
            reach = next;
        }
        reach
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::design::bound::optimal::optimal;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_other_tail_is_better(
            prefix in prop::collection::vec(0.0..1.0f64, 0..40),
            other in prop::collection::vec(1e-4..1.0f64, 40),
            norms in prop::collection::vec(0.3..3.0f64, 80),
            steps in 1usize..40,
            distance in 0.1..10.0f64,
        ) {
            let bound = Bound { iterate: Iterate::Last, distance, norms: &norms };
            let end = prefix.len() + steps;
            let found = bound.extend(&prefix, end).unwrap();
            prop_assert_eq!(&found.lrs[..prefix.len()], &prefix[..]);
            let with = |tail: &[f64]| bound.split(&[&prefix[..], tail].concat()).at(1.0);
            prop_assert!(with(&other[..steps]) >= found.omega * (1.0 - 1e-12));
            for factor in [0.99, 1.01] {
                let tail: Vec<f64> = found.lrs[prefix.len()..].iter().map(|lr| factor * lr).collect();
                prop_assert!(with(&tail) >= found.omega * (1.0 - 1e-12));
            }
            // The free steps' slopes vanish, each beside what it is made of.
            let total: f64 = found.lrs.iter().sum();
            let last = found.lrs[end - 1];
            let scale = 0.5 * (distance / total).powi(2) + norms[end - 1].powi(2) + last / total;
            for slope in &bound.gradient(&found.lrs)[prefix.len()..] {
                prop_assert!(slope.abs() < 1e-9 * scale, "{slope} {scale}");
            }
        }
    }

    #[test]
    fn without_a_prefix_it_is_the_optimum() {
        let norms = [1.0; 50];
        let bound = Bound {
            iterate: Iterate::Last,
            distance: 2.0,
            norms: &norms,
        };
        let (all, none) = (
            optimal(2.0, &norms).unwrap(),
            bound.extend(&[], 50).unwrap(),
        );
        assert!((none.omega / all.omega - 1.0).abs() < 1e-12);
        // Its own beginning is no hindrance.
        let kept = bound.extend(&all.lrs[..20], 50).unwrap();
        assert!((kept.omega / all.omega - 1.0).abs() < 1e-12);
        assert!(bound.extend(&all.lrs, 50).is_err());
    }
}
