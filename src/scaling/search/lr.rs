//! The best learning rate of a size: probed at a few sizes, carried over to all by a power law lr*(N).

use super::run::Sought;
use super::space::Size;
use super::{Query, Session};
use crate::error::Result;
use crate::fit::linalg::Cholesky;
use serde::Serialize;

/// lr*(N) = level·N^(−power).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LrLaw {
    pub level: f64,
    pub power: f64,
    /// Whether probes stand behind the level; the rule of thumb does otherwise.
    pub tuned: bool,
}

impl LrLaw {
    /// Porian et al. 2024 (arXiv 2406.19146), figure 5: fitted from 25 to 110 M parameters, batch size tuned as well.
    pub const RULE: LrLaw = LrLaw {
        level: 3.7,
        power: 0.36,
        tuned: false,
    };

    pub fn at(&self, params: f64) -> f64 {
        self.level * params.powf(-self.power)
    }
}

/// Sizes that are probed, learning rates of each, and how far they lie apart.
const SIZES: usize = 3;
const RATES: usize = 3;
const SIZE_STEP: f64 = 4.0;
const RATE_STEP: f64 = 2.5;
/// Further probes of a size while its best lies on the edge.
const MOST_EXTENSIONS: usize = 2;
/// Share of the budget that probes take at best, and at most.
const SHARE: f64 = 0.06;
const MOST_SHARE: f64 = 0.25;
/// What is known of the power before anything is seen: it is the rule's within this.
const POWER_SPREAD: f64 = 0.1;
/// The least noise that a fit of a dozen probes may claim, in nats.
const LEAST_NOISE: f64 = 0.002;

/// Probes as planned: their budget, and the queries in the order of asking.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    pub train_flops: Option<f64>,
    pub queries: Vec<Query>,
}

/// At which budget to probe: the dearest that takes a small share of all, else the cheapest if that is not much.
pub fn plan(session: &Session) -> Probes {
    let levels = &session.oracle.space().train_flops;
    let at = |level: f64| {
        let queries: Vec<Query> = sizes(session, level)
            .iter()
            .flat_map(|s| rates(session, s).map(|lr| s.query(batch(session), lr, level)))
            .filter_map(|q| session.exact(&q))
            .collect();
        let cost: f64 = queries.iter().map(|q| session.oracle.cost(q)).sum();
        (queries, cost)
    };
    let budget = session.budget;
    let mut chosen = None;
    for level in levels {
        let (queries, cost) = at(*level);
        let share = if chosen.is_none() { MOST_SHARE } else { SHARE };
        if queries.len() >= SIZES * RATES / 2 && cost <= share * budget {
            chosen = Some((*level, queries));
        }
    }
    match chosen {
        Some((level, mut queries)) => {
            let mut once: Vec<Query> = Vec::new();
            queries.retain(|q| {
                let new = !once.iter().any(|o| o.same(q));
                once.push(*q);
                new
            });
            Probes {
                train_flops: Some(level),
                queries,
            }
        }
        None => Probes::default(),
    }
}

fn batch(session: &Session) -> u32 {
    session.oracle.space().batch_size[0]
}

fn sizes(session: &Session, level: f64) -> Vec<Size> {
    super::plan::ladder(session, level, SIZE_STEP, SIZES)
}

/// Three rates around the rule's, moved inwards where the bounds cut them off.
fn rates(session: &Session, size: &Size) -> [f64; RATES] {
    let space = session.oracle.space();
    let (low, high) = space.learning_rate;
    let rule = LrLaw::RULE.at(session.params(size));
    let ends = (low * RATE_STEP, high / RATE_STEP);
    let centre = match ends.0 <= ends.1 {
        true => rule.clamp(ends.0, ends.1),
        false => (low * high).sqrt(),
    };
    [centre / RATE_STEP, centre, centre * RATE_STEP].map(|lr| space.clamp_lr(lr))
}

/// What the probes gave; infinite where training diverged.
#[derive(Default)]
struct Probed(Vec<(Query, f64)>);

impl Probed {
    /// Asks; whether something new came of it.
    fn ask(&mut self, session: &mut Session, query: &Query) -> Result<bool> {
        let Some(entry) = session.ask("learning rate", query)? else {
            return Ok(false);
        };
        let new = !self.0.iter().any(|(q, _)| q.same(&entry.query));
        if new {
            let loss = entry.loss.unwrap_or(f64::INFINITY);
            self.0.push((entry.query, loss));
        }
        Ok(new)
    }

    /// (rate, loss) of one size, by rate.
    fn of_size(&self, size: &Size) -> Vec<(f64, f64)> {
        let of_size = |q: &Query| (q.d_model, q.num_layers) == (size.d_model, size.num_layers);
        let own = self.0.iter().filter(|(q, _)| of_size(q));
        let mut list: Vec<_> = own.map(|(q, loss)| (q.learning_rate, *loss)).collect();
        list.sort_by(|a, b| a.0.total_cmp(&b.0));
        list
    }
}

/// Probes, extends where the best of a size is the edge of what it was asked at, and fits. Then tries the other
/// batch sizes once, at the middle size and its best rate.
pub fn tune(session: &mut Session, sought: &mut Sought) -> Result<()> {
    let probes = plan(session);
    let Some(level) = probes.train_flops else {
        sought.notes.push(
            "the budget leaves nothing for probes of the learning rate: it follows a rule of thumb"
                .into(),
        );
        return Ok(());
    };
    let mut probed = Probed::default();
    for query in &probes.queries {
        probed.ask(session, query)?;
    }
    for size in sizes(session, level) {
        for _ in 0..MOST_EXTENSIONS {
            let bounds = session.oracle.space().learning_rate;
            let Some(next) = outwards(&probed.of_size(&size), bounds) else {
                break;
            };
            if !probed.ask(session, &size.query(batch(session), next, level))? {
                break;
            }
        }
    }
    let finite = probed.0.iter().filter(|p| p.1.is_finite());
    let points: Vec<(f64, f64, f64)> = finite
        .map(|(q, loss)| (session.oracle.params(q), q.learning_rate, *loss))
        .collect();
    sought.lr = fit(&points);
    if !sought.lr.tuned {
        sought.notes.push(
            "the probes do not tell the best learning rate: it follows a rule of thumb".into(),
        );
    }
    other_batches(session, sought, &probed)
}

fn other_batches(session: &mut Session, sought: &mut Sought, probed: &Probed) -> Result<()> {
    let others = session.oracle.space().batch_size[1..].to_vec();
    let mut params: Vec<f64> = probed
        .0
        .iter()
        .map(|(q, _)| session.oracle.params(q))
        .collect();
    params.sort_by(f64::total_cmp);
    let middle = params.get(params.len() / 2).copied();
    let of_middle = probed
        .0
        .iter()
        .filter(|(q, _)| Some(session.oracle.params(q)) == middle);
    let Some((best, loss)) = of_middle.min_by(|a, b| a.1.total_cmp(&b.1)) else {
        return Ok(());
    };
    let mut least = *loss;
    sought.batch_size = best.batch_size;
    for batch_size in others {
        let query = Query {
            batch_size,
            ..*best
        };
        if let Some(entry) = session.ask("batch size", &query)?
            && let Some(loss) = entry.loss
            && entry.query.same_size(best)
            && loss < least
        {
            (least, sought.batch_size) = (loss, entry.query.batch_size);
        }
    }
    Ok(())
}

/// The next rate outwards, where the best of these is the first or the last and the bounds allow one.
fn outwards(rates: &[(f64, f64)], (low, high): (f64, f64)) -> Option<f64> {
    let best = (0..rates.len()).min_by(|a, b| rates[*a].1.total_cmp(&rates[*b].1))?;
    let next = match best {
        0 => rates[0].0 / RATE_STEP,
        b if b + 1 == rates.len() => rates[b].0 * RATE_STEP,
        _ => return None,
    };
    // A step that the bounds cut to almost nothing tells nothing.
    let cut = next.clamp(low, high);
    ((cut / rates[best].0).ln().abs() > 0.3 * RATE_STEP.ln()).then_some(cut)
}

/// Least squares of loss = m(N) + c·(ln lr − ln lr*(N))² over (N, lr, loss): a bottom for each size, one curvature c, and ln lr* linear in
/// ln N with a slope that stays near the rule's unless the probes object.
pub fn fit(points: &[(f64, f64, f64)]) -> LrLaw {
    let mut sizes: Vec<f64> = points.iter().map(|p| p.0).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let k = sizes.len();
    // Centred, so that the normal equations are well conditioned.
    let mean = |of: fn(&(f64, f64, f64)) -> f64| {
        points.iter().map(of).sum::<f64>() / points.len().max(1) as f64
    };
    let (n0, x0) = (mean(|p| p.0.ln()), mean(|p| p.1.ln()));
    let row = |p: &(f64, f64, f64)| {
        let (n, x) = (p.0.ln() - n0, p.1.ln() - x0);
        let mut row: Vec<f64> = sizes.iter().map(|s| f64::from(*s == p.0)).collect();
        // m + c·x² − 2c·(ln lr* at n0)·x + 2c·power·n·x
        row.extend([x * x, x, n * x]);
        row
    };
    let unknowns = k + 3;
    if k < 2 || points.len() < unknowns {
        return level_only(points);
    }
    let solve = |prior: Option<(f64, f64)>| -> Option<Vec<f64>> {
        let mut matrix = vec![0.0; unknowns * unknowns];
        let mut right = vec![0.0; unknowns];
        let mut add = |row: &[f64], y: f64, weight: f64| {
            for a in 0..unknowns {
                right[a] += weight * row[a] * y;
                for b in 0..unknowns {
                    matrix[a * unknowns + b] += weight * row[a] * row[b];
                }
            }
        };
        points.iter().for_each(|p| add(&row(p), p.2, 1.0));
        if let Some((curvature, noise)) = prior {
            // The slope of ln lr* against ln N: q/(2c) = power.
            let mut slope = vec![0.0; unknowns];
            slope[k + 2] = 1.0;
            let scale = noise / (2.0 * curvature * POWER_SPREAD);
            add(&slope, 2.0 * curvature * LrLaw::RULE.power, scale * scale);
        }
        let mut solution = right;
        Cholesky::new(&matrix, unknowns)?.solve(&mut solution);
        Some(solution)
    };
    let spread = |solution: &[f64]| {
        let sum: f64 = points
            .iter()
            .map(|p| {
                let fitted: f64 = row(p).iter().zip(solution).map(|(r, s)| r * s).sum();
                (p.2 - fitted).powi(2)
            })
            .sum();
        (sum / (points.len() - unknowns).max(1) as f64)
            .sqrt()
            .max(LEAST_NOISE)
    };
    let free = solve(None);
    let Some(free) = free.filter(|s| s[k] > 0.0) else {
        return level_only(points);
    };
    let Some(s) = solve(Some((free[k], spread(&free)))).filter(|s| s[k] > 0.0) else {
        return level_only(points);
    };
    let c = s[k];
    let power = s[k + 2] / (2.0 * c);
    let at_centre = x0 - s[k + 1] / (2.0 * c);
    LrLaw {
        level: (at_centre + power * n0).exp(),
        power,
        tuned: true,
    }
}

/// The rule's slope through the best rates that were seen.
fn level_only(points: &[(f64, f64, f64)]) -> LrLaw {
    let mut best: Vec<(f64, f64, f64)> = Vec::new();
    for p in points {
        match best.iter_mut().find(|b| b.0 == p.0) {
            Some(b) if p.2 < b.2 => *b = *p,
            Some(_) => {}
            None => best.push(*p),
        }
    }
    let off: Vec<f64> = best
        .iter()
        .map(|b| (b.1 / LrLaw::RULE.at(b.0)).ln())
        .collect();
    if points.len() <= best.len() {
        return LrLaw::RULE;
    }
    let mean = off.iter().sum::<f64>() / off.len() as f64;
    LrLaw {
        level: LrLaw::RULE.level * mean.exp(),
        power: LrLaw::RULE.power,
        tuned: true,
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn finds_the_law_behind_exact_probes() {
        let truth = |n: f64| 0.15 * n.powf(-0.36);
        let mut points = Vec::new();
        for n in [1e6, 4e6, 2e7] {
            for lr in [1e-4, 4e-4, 1e-3, 2e-3] {
                let off: f64 = (lr / truth(n)).ln();
                points.push((n, lr, 3.0 + 10.0 / n.ln() + 0.04 * off * off));
            }
        }
        let law = fit(&points);
        assert!(law.tuned && (law.power - 0.36).abs() < 1e-6, "{law:?}");
        assert!((law.at(1e8) / truth(1e8) - 1.0).abs() < 1e-6, "{law:?}");
    }

    #[test]
    fn too_few_probes_leave_the_rule() {
        assert_eq!(fit(&[]), LrLaw::RULE);
        assert_eq!(fit(&[(1e6, 1e-3, 3.0), (4e6, 1e-3, 2.9)]), LrLaw::RULE);
        // One size at two rates moves the level alone.
        let law = fit(&[(1e6, 1e-3, 3.0), (1e6, 3e-3, 2.9)]);
        assert!(
            law.tuned && (law.at(1e6) / 3e-3 - 1.0).abs() < 1e-9,
            "{law:?}"
        );
    }

    #[test]
    fn edges_are_extended_within_the_bounds() {
        let bounds = (1e-4, 1e-2);
        assert_eq!(
            outwards(&[(1e-3, 3.0), (2e-3, 2.9), (4e-3, 3.1)], bounds),
            None
        );
        let next = outwards(&[(1e-3, 3.0), (2e-3, 2.9), (3e-3, 2.8)], bounds);
        assert!((next.unwrap() - 7.5e-3).abs() < 1e-12);
        assert_eq!(outwards(&[(1e-4, 2.0), (2e-4, 2.9)], bounds), None);
    }
}
