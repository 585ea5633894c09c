//! Ω of a schedule.
//!
//! With `S = Σ_k η_k` and the tails `R_k = Σ_{s>k} η_s`, the bound on the last iterate is
//!
//! `Ω_T = D²/(2S) + ½·[η_T·G_T² + Σ_{k<T} η_k²·G_k²/R_k]`,
//!
//! which is Theorem 10 of arXiv 2310.07831 summed by parts: every term is positive, and tails are summed from the
//! end, so nothing cancels. The older bound on the best iterate is `(D² + Σ_k η_k²·G_k²)/(2S)`.
//!
//! Steps at an LR of 0 leave the iterate where it is. At the end of a schedule they count as not taken: Ω is that of the
//! last step with an LR above 0.

use rayon::prelude::*;

/// Which iterate the bound is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iterate {
    /// The last one ("refined" in the reference package).
    Last,
    /// The best one so far, or the weighted mean ("standard" there).
    Min,
}

/// The problem that a schedule is judged on.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    pub iterate: Iterate,
    /// D: from the start to the optimum.
    pub distance: f64,
    /// G_t of step t, positive, for at least as many steps as any schedule asked about has.
    pub norms: &'a [f64],
}

/// Ω of a schedule times a base LR γ: `distance/γ + γ·noise`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// 𝒯₁: what is left of the way from the start. Infinite before the first step with an LR above 0.
    pub distance: f64,
    /// 𝒯₂: what gradient noise adds.
    pub noise: f64,
}

impl Split {
    /// Ω at the base LR `gamma`.
    pub fn at(&self, gamma: f64) -> f64 {
        self.distance / gamma + gamma * self.noise
    }

    /// γ* = √(𝒯₁/𝒯₂), the base LR with the least Ω.
    pub fn best_lr(&self) -> f64 {
        (self.distance / self.noise).sqrt()
    }

    /// Ω* = 2·√(𝒯₁·𝒯₂), Ω at [`Split::best_lr`].
    pub fn best(&self) -> f64 {
        2.0 * (self.distance * self.noise).sqrt()
    }
}

/// Points worked at together: enough additions in flight to keep the dividers busy.
const LANES: usize = 16;

impl Bound<'_> {
    /// After all of `lrs`, O(T).
    pub fn split(&self, lrs: &[f64]) -> Split {
        let Some(last) = last_step(lrs) else {
            return self.of(0.0, 0.0);
        };
        match self.iterate {
            Iterate::Last => {
                let (mut behind, mut sum) = self.from(lrs, last);
                for k in (0..last).rev() {
                    sum += self.weight(lrs, k) / behind;
                    behind += lrs[k];
                }
                self.of(behind, sum)
            }
            Iterate::Min => {
                let total: f64 = lrs.iter().sum();
                let squares: f64 = (0..=last).map(|k| self.weight(lrs, k)).sum();
                self.of(total, squares / total)
            }
        }
    }

    /// After each number of steps in `points`, which rise from 1 to at most `lrs.len()`: O(points·T) for the last
    /// iterate, O(T) for the best. The same bits for any number of threads.
    pub fn curve(&self, lrs: &[f64], points: &[usize]) -> Vec<Split> {
        let weights: Vec<f64> = (0..lrs.len()).map(|k| self.weight(lrs, k)).collect();
        match self.iterate {
            Iterate::Min => {
                let (mut total, mut squares, mut reached) = (0.0, 0.0, 0);
                let one = |&point: &usize| {
                    for k in reached..point {
                        total += lrs[k];
                        squares += weights[k];
                    }
                    reached = reached.max(point);
                    self.of(total, if total > 0.0 { squares / total } else { 0.0 })
                };
                points.iter().map(one).collect()
            }
            Iterate::Last => {
                let ends = last_steps(lrs, points);
                ends.par_chunks(LANES)
                    .flat_map_iter(|ends| self.group(lrs, &weights, ends))
                    .collect()
            }
        }
    }

    /// ∂Ω/∂η of every step, O(T). Zero for steps at an LR of 0 at the end, where Ω jumps.
    pub fn gradient(&self, lrs: &[f64]) -> Vec<f64> {
        let mut gradient = vec![0.0; lrs.len()];
        let Some(last) = last_step(lrs) else {
            return gradient;
        };
        if self.iterate == Iterate::Min {
            let total: f64 = lrs.iter().sum();
            let omega = self.split(lrs).at(1.0);
            let steps = lrs.iter().zip(self.norms).take(last + 1);
            for (slope, (lr, norm)) in gradient.iter_mut().zip(steps) {
                *slope = (lr * norm * norm - omega) / total;
            }
            return gradient;
        }
        // Tails first, where the gradient will be.
        let mut behind = 0.0;
        for (slope, lr) in gradient.iter_mut().zip(lrs).take(last + 1).rev() {
            *slope = behind;
            behind += lr;
        }
        let start = 0.5 * (self.distance / behind).powi(2);
        let mut before = 0.0;
        for (k, slope) in gradient.iter_mut().enumerate().take(last + 1) {
            let squared = self.norms[k] * self.norms[k];
            let tail = *slope;
            let own = match k == last {
                true => 0.5 * squared,
                false => lrs[k] * squared / tail,
            };
            *slope = own - start - 0.5 * before;
            before += self.weight(lrs, k) / (tail * tail);
        }
        gradient
    }

    /// `η_k²·G_k²`
    fn weight(&self, lrs: &[f64], k: usize) -> f64 {
        let step = lrs[k] * self.norms[k];
        step * step
    }

    /// The tail behind the step before `last`, and that last step's term.
    fn from(&self, lrs: &[f64], last: usize) -> (f64, f64) {
        (lrs[last], lrs[last] * self.norms[last] * self.norms[last])
    }

    fn of(&self, total: f64, sum: f64) -> Split {
        Split {
            distance: 0.5 * self.distance * self.distance / total,
            noise: 0.5 * sum,
        }
    }

    fn group(&self, lrs: &[f64], weights: &[f64], ends: &[Option<usize>]) -> Vec<Split> {
        // What no point stands on stays at 1/1.
        let (mut behind, mut sums) = ([1.0; LANES], [0.0; LANES]);
        let common = ends.iter().flatten().copied().min().unwrap_or(0);
        // [`walk`] takes two steps at a time.
        let common = common - common % 2;
        for (lane, end) in ends.iter().enumerate() {
            let Some(end) = *end else { continue };
            let (mut tail, mut sum) = self.from(lrs, end);
            for k in (common..end).rev() {
                sum += weights[k] / tail;
                tail += lrs[k];
            }
            (behind[lane], sums[lane]) = (tail, sum);
        }
        walk(&lrs[..common], &weights[..common], &mut behind, &mut sums);
        let lanes = ends.iter().zip(behind.iter().zip(&sums));
        lanes
            .map(|(end, (total, sum))| match end {
                Some(_) => self.of(*total, *sum),
                None => self.of(0.0, 0.0),
            })
            .collect()
    }
}

/// All lanes back to the first step, of an even number of steps. Divisions are what this costs, so two steps share one:
/// `w₁/r₁ + w₂/r₂ = (w₁r₂ + w₂r₁)/(r₁r₂)`.
fn walk(lrs: &[f64], weights: &[f64], behind: &mut [f64; LANES], sums: &mut [f64; LANES]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function asks for.
        return unsafe { walk_avx2(lrs, weights, behind, sums) };
    }
    walk_lanes(lrs, weights, behind, sums);
}

/// The same arithmetic four lanes at a time, so the same bits.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn walk_avx2(lrs: &[f64], weights: &[f64], behind: &mut [f64; LANES], sums: &mut [f64; LANES]) {
    walk_lanes(lrs, weights, behind, sums);
}

#[inline(always)]
fn walk_lanes(lrs: &[f64], weights: &[f64], behind: &mut [f64; LANES], sums: &mut [f64; LANES]) {
    // In registers, which what lies behind a reference need not be.
    let (mut tails, mut terms) = (*behind, *sums);
    let pairs = lrs.chunks_exact(2).zip(weights.chunks_exact(2));
    for (lrs, weights) in pairs.rev() {
        for lane in 0..LANES {
            let near = tails[lane];
            let far = near + lrs[1];
            terms[lane] += (weights[1] * far + weights[0] * near) / (near * far);
            tails[lane] = far + lrs[0];
        }
    }
    (*behind, *sums) = (tails, terms);
}

/// The last step with an LR above 0.
fn last_step(lrs: &[f64]) -> Option<usize> {
    lrs.iter().rposition(|lr| *lr > 0.0)
}

/// The same of the first `point` steps, for every point.
fn last_steps(lrs: &[f64], points: &[usize]) -> Vec<Option<usize>> {
    let (mut last, mut reached) = (None, 0);
    let one = |&point: &usize| {
        if let Some(found) = last_step(&lrs[reached.min(point)..point]) {
            last = Some(reached + found);
        }
        reached = reached.max(point);
        last
    };
    points.iter().map(one).collect()
}

/// About `most` points over `steps` steps, evenly; the last step is among them.
pub fn points(steps: usize, most: usize) -> Vec<usize> {
    let most = most.clamp(1, steps.max(1));
    let mut points: Vec<usize> = (1..=most)
        .map(|i| (i as u128 * steps as u128 / most as u128) as usize)
        .filter(|&point| point > 0)
        .collect();
    points.dedup();
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The theorem as it is written, in O(T²).
    fn written_out(lrs: &[f64], g: &[f64], d: f64) -> f64 {
        let sum = |from: usize| lrs[from..].iter().sum::<f64>();
        let noise =
            |from: usize| -> f64 { (from..lrs.len()).map(|s| (lrs[s] * g[s]).powi(2)).sum() };
        let mut omega = (d * d + noise(0)) / (2.0 * sum(0));
        for (k, lr) in lrs.iter().enumerate().take(lrs.len() - 1) {
            omega += 0.5 * lr / sum(k + 1) * noise(k) / sum(k);
        }
        omega
    }

    fn problem() -> impl Strategy<Value = (Vec<f64>, Vec<f64>, f64)> {
        (1usize..60).prop_flat_map(|n| {
            (
                prop::collection::vec(1e-3..1.0f64, n),
                prop::collection::vec(0.1..10.0f64, n),
                0.1..10.0f64,
            )
        })
    }

    fn both() -> [Iterate; 2] {
        [Iterate::Last, Iterate::Min]
    }

    proptest! {
        #[test]
        fn one_sum_of_positive_terms_is_the_theorem((lrs, g, d) in problem()) {
            let bound = Bound { iterate: Iterate::Last, distance: d, norms: &g };
            let (found, want) = (bound.split(&lrs).at(1.0), written_out(&lrs, &g, d));
            prop_assert!((found / want - 1.0).abs() < 1e-12, "{found} {want}");
        }

        #[test]
        fn the_best_lr_is_best((lrs, g, d) in problem(), factor in 0.3..3.0f64) {
            for iterate in both() {
                let bound = Bound { iterate, distance: d, norms: &g };
                let split = bound.split(&lrs);
                prop_assert!((split.at(split.best_lr()) / split.best() - 1.0).abs() < 1e-12);
                prop_assert!(split.at(factor * split.best_lr()) >= split.best() * (1.0 - 1e-12));
                // A base LR is a factor of every LR.
                let scaled: Vec<f64> = lrs.iter().map(|lr| factor * lr).collect();
                prop_assert!((bound.split(&scaled).at(1.0) / split.at(factor) - 1.0).abs() < 1e-12);
            }
        }

        #[test]
        fn gradients_are_those_of_differences((lrs, g, d) in problem()) {
            for iterate in both() {
                let bound = Bound { iterate, distance: d, norms: &g };
                let gradient = bound.gradient(&lrs);
                let scale = gradient.iter().fold(0.0f64, |m, x| m.max(x.abs()));
                for k in 0..lrs.len() {
                    let h = 1e-5 * lrs[k];
                    let at = |by: f64| {
                        let mut lrs = lrs.clone();
                        lrs[k] += by;
                        bound.split(&lrs).at(1.0)
                    };
                    let want = (at(h) - at(-h)) / (2.0 * h);
                    let near = 1e-6 * scale.max(want.abs()) + 1e-9 * at(0.0) / h * 1e-5;
                    prop_assert!((gradient[k] - want).abs() < near, "{k}: {} {want}", gradient[k]);
                }
            }
        }

        #[test]
        fn curves_are_the_bounds_of_beginnings(
            (mut lrs, g, d) in problem(),
            zeros in prop::collection::vec(0usize..60, 0..20),
        ) {
            for zero in zeros {
                if let Some(lr) = lrs.get_mut(zero) {
                    *lr = 0.0;
                }
            }
            let points: Vec<usize> = (1..=lrs.len()).collect();
            for iterate in both() {
                let bound = Bound { iterate, distance: d, norms: &g };
                for (point, split) in points.iter().zip(bound.curve(&lrs, &points)) {
                    let want = bound.split(&lrs[..*point]);
                    let near = |a: f64, b: f64| a == b || (a / b - 1.0).abs() < 1e-12;
                    prop_assert!(near(split.distance, want.distance), "{split:?} {want:?}");
                    prop_assert!(near(split.noise, want.noise), "{split:?} {want:?}");
                }
            }
        }
    }

    #[test]
    fn steps_at_the_end_without_lr_are_not_taken() {
        let g = [1.0; 5];
        for iterate in both() {
            let bound = Bound {
                iterate,
                distance: 1.0,
                norms: &g,
            };
            let lrs = [0.3, 0.2, 0.1, 0.0, 0.0];
            assert_eq!(bound.split(&lrs), bound.split(&lrs[..3]));
            assert_eq!(bound.gradient(&lrs)[..3], bound.gradient(&lrs[..3]));
            assert_eq!(bound.gradient(&lrs)[3..], [0.0, 0.0]);
            assert_eq!(bound.split(&[0.0, 0.0]).at(1.0), f64::INFINITY);
        }
    }

    #[test]
    fn points_reach_the_end() {
        assert_eq!(points(10, 4), [2, 5, 7, 10]);
        assert_eq!(points(3, 100), [1, 2, 3]);
        assert_eq!(points(1, 0), [1]);
    }

    /// Prints; asserts nothing of time.
    #[test]
    #[ignore = "prints timings"]
    fn timings() {
        let steps = 200_000;
        let lrs: Vec<f64> = (0..steps).map(|s| 1.0 - s as f64 / steps as f64).collect();
        let g = vec![1.0; 1_000_000];
        let bound = Bound {
            iterate: Iterate::Last,
            distance: 1.0,
            norms: &g,
        };
        let points = points(steps, 1000);
        for _ in 0..5 {
            let start = std::time::Instant::now();
            let omega = bound.split(&lrs).best();
            let one = start.elapsed();
            let curve = bound.curve(&lrs, &points);
            let whole = start.elapsed() - one;
            let optimal = super::super::optimal::optimal(1.0, &g).unwrap();
            let best = start.elapsed() - one - whole;
            println!(
                "omega {one:?}, curve {whole:?} ({} {omega}), optimal {best:?} ({})",
                curve.last().unwrap().best(),
                optimal.omega
            );
        }
    }
}
