//! The best learning rate of a size: probed at a few sizes, carried over to all by a power law lr*(N).

use super::ledger::Entry;
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
    /// Whether probes stand behind the power too.
    pub slope: bool,
}

impl LrLaw {
    /// Porian et al. 2024 (arXiv 2406.19146), figure 5: fitted from 25 to 110 M parameters, batch size tuned as well.
    pub const RULE: LrLaw = LrLaw {
        level: 3.7,
        power: 0.36,
        tuned: false,
        slope: false,
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

/// At which budget to probe: where all probes are answered already (of several the one that was first, so that a search that
/// goes on decides as before), else the dearest that takes a small share of all, else the cheapest if that is not much.
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
    let enough = |queries: &[Query]| queries.len() >= SIZES * RATES / 2;
    let answered = |query: &Query| {
        let mut entries = session.ledger.entries.iter();
        entries.position(|e| e.query.same(query))
    };
    let mut chosen = None;
    let mut first = usize::MAX;
    for level in levels {
        let queries = at(*level).0;
        let last = queries.iter().map(|q| answered(q).unwrap_or(usize::MAX));
        let last = last.max().unwrap_or(usize::MAX);
        if enough(&queries) && last < first {
            first = last;
            chosen = Some((*level, queries));
        }
    }
    for level in levels {
        if first < usize::MAX {
            break;
        }
        let (queries, cost) = at(*level);
        let share = if chosen.is_none() { MOST_SHARE } else { SHARE };
        if enough(&queries) && cost <= share * budget {
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
    sought.lr = fit(&groups(session, &probed));
    match (sought.lr.tuned, sought.lr.slope) {
        (true, true) => {}
        (true, false) => sought.notes.push(format!(
            "the probes do not tell how the best learning rate falls with N: its level is theirs, its power {} a rule of thumb",
            LrLaw::RULE.power
        )),
        _ => sought.notes.push(
            "the probes do not tell the best learning rate: it follows a rule of thumb".into(),
        ),
    }
    let bounds = session.oracle.space().learning_rate;
    let of_sizes: Vec<_> = sizes(session, level)
        .iter()
        .map(|s| probed.of_size(s))
        .collect();
    sought.notes.extend(at_bounds(&of_sizes, bounds));
    other_batches(session, sought, &probed)
}

/// Every size and budget that was answered at several rates, up to the last of the probes: answers that came later
/// must not change what an earlier part of the search decided.
fn groups(session: &Session, probed: &Probed) -> Vec<Probe> {
    let entries = &session.ledger.entries;
    let is_probe = |e: &Entry| probed.0.iter().any(|(q, _)| q.same(&e.query));
    let end = entries.iter().rposition(is_probe).map_or(0, |i| i + 1);
    let of_batch = |e: &&Entry| e.query.batch_size == batch(session);
    let all: Vec<Probe> = entries[..end]
        .iter()
        .filter(of_batch)
        .filter_map(|e| {
            Some(Probe {
                params: session.oracle.params(&e.query),
                train_flops: e.query.train_flops,
                rate: e.query.learning_rate,
                loss: e.loss?,
            })
        })
        .collect();
    let several = |p: &&Probe| {
        let mut own = all.iter().filter(|o| o.group() == p.group());
        own.any(|o| o.rate != p.rate)
    };
    all.iter().filter(several).copied().collect()
}

/// A sentence where the best rate of a size is a bound of what may be asked.
fn at_bounds(sizes: &[Vec<(f64, f64)>], (low, high): (f64, f64)) -> Option<String> {
    let best = |rates: &Vec<(f64, f64)>| rates.iter().min_by(|a, b| a.1.total_cmp(&b.1)).copied();
    let near = |bound: f64| {
        let at = |b: &(f64, f64)| (b.0 / bound).ln().abs() < 0.3 * RATE_STEP.ln();
        let found = sizes.iter().filter_map(best).filter(at);
        found.count()
    };
    let words = |count: usize, bound: f64, way: &str| {
        (count > 0).then(|| {
            format!(
                "the best learning rate that was tried at {count} of {} probed sizes is {bound:.1e}, a bound of what may be asked: {way} ones may be better",
                sizes.len()
            )
        })
    };
    words(near(high), high, "higher").or_else(|| words(near(low), low, "lower"))
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

/// One answer of a size that was asked at several rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    pub params: f64,
    pub train_flops: f64,
    pub rate: f64,
    pub loss: f64,
}

impl Probe {
    /// Runs that differ in their rates alone.
    fn group(&self) -> (f64, f64) {
        (self.params, self.train_flops)
    }
}

/// The law through `points`: the parabolas' where they hold its optima within a step of the rates that each size was asked
/// at, the level alone where they do not (too flat, or open downwards).
pub fn fit(points: &[Probe]) -> LrLaw {
    let held = |law: &LrLaw| {
        points.iter().all(|p| {
            let own = || points.iter().filter(|o| o.params == p.params);
            let low = own().map(|o| o.rate).fold(f64::INFINITY, f64::min);
            let high = own().map(|o| o.rate).fold(0.0, f64::max);
            (low / RATE_STEP..=high * RATE_STEP).contains(&law.at(p.params))
        })
    };
    parabolas(points)
        .filter(held)
        .unwrap_or_else(|| level_only(points))
}

/// Least squares of loss = m(N, C) + c·(ln lr − ln lr*(N))²: a bottom for each size and budget, one curvature c, and ln lr* linear in
/// ln N with a slope that stays near the rule's unless the probes object.
fn parabolas(points: &[Probe]) -> Option<LrLaw> {
    let mut groups: Vec<(f64, f64)> = Vec::new();
    for p in points {
        if !groups.contains(&p.group()) {
            groups.push(p.group());
        }
    }
    let several = points.iter().any(|p| p.params != points[0].params);
    let k = groups.len();
    // Centred, so that the normal equations are well conditioned.
    let mean =
        |of: fn(&Probe) -> f64| points.iter().map(of).sum::<f64>() / points.len().max(1) as f64;
    let (n0, x0) = (mean(|p| p.params.ln()), mean(|p| p.rate.ln()));
    let row = |p: &Probe| {
        let (n, x) = (p.params.ln() - n0, p.rate.ln() - x0);
        let mut row: Vec<f64> = groups.iter().map(|g| f64::from(*g == p.group())).collect();
        // m + c·x² − 2c·(ln lr* at n0)·x + 2c·power·n·x
        row.extend([x * x, x, n * x]);
        row
    };
    let unknowns = k + 3;
    if !several || points.len() < unknowns {
        return None;
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
        points.iter().for_each(|p| add(&row(p), p.loss, 1.0));
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
                (p.loss - fitted).powi(2)
            })
            .sum();
        (sum / (points.len() - unknowns).max(1) as f64)
            .sqrt()
            .max(LEAST_NOISE)
    };
    let free = solve(None).filter(|s| s[k] > 0.0)?;
    let s = solve(Some((free[k], spread(&free)))).filter(|s| s[k] > 0.0)?;
    let c = s[k];
    let power = s[k + 2] / (2.0 * c);
    let at_centre = x0 - s[k + 1] / (2.0 * c);
    Some(LrLaw {
        level: (at_centre + power * n0).exp(),
        power,
        tuned: true,
        slope: true,
    })
}

/// The rule's slope through the best rates that were seen.
fn level_only(points: &[Probe]) -> LrLaw {
    let mut best: Vec<Probe> = Vec::new();
    for p in points {
        match best.iter_mut().find(|b| b.group() == p.group()) {
            Some(b) if p.loss < b.loss => *b = *p,
            Some(_) => {}
            None => best.push(*p),
        }
    }
    let off: Vec<f64> = best
        .iter()
        .map(|b| (b.rate / LrLaw::RULE.at(b.params)).ln())
        .collect();
    if points.len() <= best.len() {
        return LrLaw::RULE;
    }
    let mean = off.iter().sum::<f64>() / off.len() as f64;
    LrLaw {
        level: LrLaw::RULE.level * mean.exp(),
        power: LrLaw::RULE.power,
        tuned: true,
        slope: false,
    }
}

#[cfg(test)]
mod unit;
