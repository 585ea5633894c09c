//! The search as a whole, against the simulated service whose truth is known.

use super::ledger::Ledger;
use super::outcome::Outcome;
use super::run::{Options, search};
use super::simulate::Simulated;
use super::space::{Size, nearest};
use super::{Oracle, Reply, Session, Space};
use std::sync::atomic::AtomicBool;

const BUDGET: f64 = 2e18;
const TARGET: f64 = 1e19;
/// How a note begins that two methods differ.
const DISAGREE: &str = " put the target's best N ";

fn run(oracle: &mut dyn Oracle, budget: f64, options: &Options) -> crate::error::Result<Outcome> {
    let stop = AtomicBool::new(false);
    let mut tell = |_: &str, _: &super::ledger::Entry, _: bool, _: f64| {};
    let mut session = Session::start(oracle, Ledger::in_memory(), budget, &stop, &mut tell)?;
    search(&mut session, options)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What a student does first: five sizes at each of four budgets, which cost 2·10¹⁸ FLOPs together, the best size of each
/// budget by argmin (or by parabola), a power law through them. It is told the best learning rate.
fn naive(oracle: &mut dyn Oracle, best_lr: impl Fn(f64) -> f64, parabola: bool) -> f64 {
    let sizes = oracle.space().sizes().unwrap();
    let of = |s: &Size| s.query(128, 1e-3, 1e13).block_params();
    let sizes: Vec<(Size, f64)> = sizes.iter().map(|s| (*s, of(s))).collect();
    let mut line = Vec::new();
    for level in [1e16, 3e16, 6e16, 3e17] {
        let mut row: Vec<(f64, f64)> = Vec::new();
        for i in -2..=2 {
            let size = nearest(&sizes, super::plan::guess(level) * 2.2f64.powi(i)).unwrap();
            let lr = best_lr(of(&size));
            let Reply::Answered(answer) = oracle.ask(&size.query(128, lr, level)).unwrap() else {
                panic!("it always answers")
            };
            row.push((of(&size).ln(), answer.loss));
        }
        let best = row.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
        line.push((
            level.ln(),
            if parabola {
                vertex(&row).unwrap_or(best)
            } else {
                best
            },
        ));
    }
    let (slope, intercept) = straight(&line);
    (intercept + slope * TARGET.ln()).exp()
}

fn straight(points: &[(f64, f64)]) -> (f64, f64) {
    let k = points.len() as f64;
    let (mx, my) = (
        points.iter().map(|p| p.0).sum::<f64>() / k,
        points.iter().map(|p| p.1).sum::<f64>() / k,
    );
    let sxy: f64 = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
    let sxx: f64 = points.iter().map(|p| (p.0 - mx).powi(2)).sum();
    (sxy / sxx, my - sxy / sxx * mx)
}

fn vertex(row: &[(f64, f64)]) -> Option<f64> {
    use crate::fit::linalg::Cholesky;
    let m = row.iter().map(|p| p.0).sum::<f64>() / row.len() as f64;
    let (mut a, mut b) = (vec![0.0; 9], vec![0.0; 3]);
    for (x, y) in row {
        let r = [1.0, x - m, (x - m) * (x - m)];
        for i in 0..3 {
            b[i] += r[i] * y;
            (0..3).for_each(|j| a[i * 3 + j] += r[i] * r[j]);
        }
    }
    Cholesky::new(&a, 3)?.solve(&mut b);
    (b[2] > 0.0).then(|| m - b[1] / (2.0 * b[2]))
}

/// Run with `--nocapture` for the table.
#[test]
fn closer_to_the_truth_than_a_sweep_of_the_same_cost() {
    println!(
        "noise    N off, search   naive argmin  naive parabola   loss off   spent     runs  N in 90 %  loss in 90 %  lr off > 2×  disagreements"
    );
    for noise in [0.002, 0.005, 0.01, 0.02] {
        let seeds = 10;
        let (mut n_off, mut loss_off, mut argmin, mut parabola, mut spent, mut runs) =
            (vec![], vec![], vec![], vec![], 0.0, 0);
        let (mut n_in, mut loss_in, mut lr_off, mut told) = (0, 0, 0, 0);
        for seed in 0..seeds {
            let spec = format!("noise={noise},seed={seed}");
            let mut oracle = Simulated::parse(&spec, Space::cs336()).unwrap();
            let truth = oracle.law.optimum(TARGET);
            let options = Options::of_target(TARGET);
            let outcome = run(&mut oracle, BUDGET, &options).unwrap();
            assert!(outcome.spent <= BUDGET);
            told += outcome
                .notes
                .iter()
                .filter(|n| n.contains(DISAGREE))
                .count();
            let f = outcome.forecast.unwrap();
            let lr = f.architecture.learning_rate / oracle.best_lr(f.architecture.params);
            lr_off += usize::from(lr.ln().abs() > 2f64.ln());
            n_off.push((f.n_opt.value / truth.0).ln().abs());
            n_in += usize::from((f.n_opt.low..=f.n_opt.high).contains(&truth.0));
            let best = oracle.law.loss(truth.0, truth.1);
            loss_off.push((f.loss.value - best).abs());
            loss_in += usize::from((f.loss.low..=f.loss.high).contains(&best));
            let same = oracle.clone();
            let best_lr = |n| same.best_lr(n);
            argmin.push((naive(&mut oracle, best_lr, false) / truth.0).ln().abs());
            parabola.push((naive(&mut oracle, best_lr, true) / truth.0).ln().abs());
            spent += outcome.spent / seeds as f64;
            runs += outcome.paid;
        }
        let worst = n_off.iter().fold(0.0, |a: f64, b| a.max(*b));
        let (ours, theirs) = (median(&mut n_off), median(&mut argmin));
        println!(
            "{noise:<8} {:>5.1} % (worst {:>4.1})  {:>6.1} %  {:>9.1} %     {:>9.4}   {:.2e}  {:>4}  {n_in:>3}/{seeds}  {loss_in:>6}/{seeds}  {lr_off:>8}/{seeds}  {told:>6}",
            100.0 * ours,
            100.0 * worst,
            100.0 * theirs,
            100.0 * median(&mut parabola),
            median(&mut loss_off),
            spent,
            runs / seeds
        );
        assert!(ours < theirs, "{ours} {theirs}");
    }
}

/// A truth that is not of the form that is fitted.
struct Other {
    of: Simulated,
    truth: fn(&Simulated, f64, f64, f64) -> f64,
}

impl Other {
    /// N of the least loss at the target, by search over a fine grid at an aspect of 46.
    fn optimum(&self) -> f64 {
        let loss = |n: f64| (self.truth)(&self.of, n, TARGET / (6.0 * n), 46.0);
        let grid = (0..4000).map(|i| 1e7 * (i as f64 * 2e-3).exp());
        grid.min_by(|a, b| loss(*a).total_cmp(&loss(*b))).unwrap()
    }
}

impl Oracle for Other {
    fn name(&self) -> String {
        "other".into()
    }
    fn space(&self) -> &Space {
        &self.of.space
    }
    fn ask(&mut self, q: &super::Query) -> crate::error::Result<Reply> {
        let (n, d) = (self.params(q), self.tokens(q));
        let aspect = f64::from(q.d_model) / f64::from(q.num_layers);
        let Reply::Answered(mut answer) = self.of.ask(q)? else {
            panic!("it always answers")
        };
        answer.loss += (self.truth)(&self.of, n, d, aspect) - self.of.law.loss(n, d);
        Ok(Reply::Answered(answer))
    }
}

type Truth = fn(&Simulated, f64, f64, f64) -> f64;

#[test]
fn truths_of_other_forms_are_met_nearly() {
    let truths: [(&str, Truth); 4] = [
        ("L(N, D) itself", |s, n, d, _| s.law.loss(n, d)),
        // Kaplan et al. 2020, eq. 1.5, over an entropy.
        ("Kaplan's form", |_, n, d, _| {
            1.7 + ((7e8 / n).powf(0.9) + 2e10 / d).powf(0.3)
        }),
        ("short runs pay more", |s, n, d, _| {
            s.law.loss(n, d) + 0.5 * (2e8 / d).powf(0.8)
        }),
        ("aspects matter", |s, n, d, aspect| {
            s.law.loss(n, d) + 0.02 * (aspect / 46.0).ln().powi(2)
        }),
    ];
    for (name, truth) in truths {
        let (mut off, mut argmin, mut parabola) = (vec![], vec![], vec![]);
        let (mut check, mut told) = (vec![], 0);
        for seed in 0..5 {
            let spec = format!("noise=0.005,seed={seed}");
            let of = Simulated::parse(&spec, Space::cs336()).unwrap();
            let mut oracle = Other { of, truth };
            let optimum = oracle.optimum();
            let outcome = run(&mut oracle, BUDGET, &Options::of_target(TARGET)).unwrap();
            told += usize::from(outcome.notes.iter().any(|n| n.starts_with("isoFLOP")));
            let forecast = outcome.forecast.unwrap();
            off.push((forecast.n_opt.value / optimum).ln().abs());
            check.push((forecast.checks[0].n_opt / optimum).ln().abs());
            let same = oracle.of.clone();
            let best_lr = |n| same.best_lr(n);
            argmin.push((naive(&mut oracle, best_lr, false) / optimum).ln().abs());
            parabola.push((naive(&mut oracle, best_lr, true) / optimum).ln().abs());
        }
        let (ours, argmin) = (median(&mut off), median(&mut argmin));
        println!(
            "{name:<22} N off by {:5.1} %, its isoFLOP check {:5.1} % (warns {told}/5); naive argmin {:5.1} %, parabola {:5.1} %",
            100.0 * ours,
            100.0 * median(&mut check),
            100.0 * argmin,
            100.0 * median(&mut parabola)
        );
        assert!(ours < 0.25, "{name}: {ours}");
    }
}

/// Charges as it likes to be asked, and remembers; some runs diverge, and it may have a budget of its own.
struct Strict {
    of: Simulated,
    asked: Vec<super::Query>,
    charged: f64,
    own_budget: f64,
    diverging: bool,
    tax: f64,
}

impl Strict {
    fn new(space: Space) -> Strict {
        Strict {
            of: Simulated::parse("noise=0.01", space).unwrap(),
            asked: Vec::new(),
            charged: 0.0,
            own_budget: f64::INFINITY,
            diverging: false,
            tax: 1.0,
        }
    }
}

impl Oracle for Strict {
    fn name(&self) -> String {
        "strict".into()
    }
    fn space(&self) -> &Space {
        &self.of.space
    }
    fn cost(&self, q: &super::Query) -> f64 {
        q.train_flops * self.tax
    }
    fn ask(&mut self, q: &super::Query) -> crate::error::Result<Reply> {
        assert!(!self.asked.iter().any(|a| a.same(q)), "{q} is asked twice");
        let space = &self.of.space;
        let within = |x: u32, (low, high): (u32, u32)| (low..=high).contains(&x);
        assert!(within(q.d_model, space.d_model) && within(q.num_layers, space.num_layers));
        assert!(within(q.num_heads, space.num_heads) && q.d_model.is_multiple_of(q.num_heads));
        assert!(
            space.batch_size.contains(&q.batch_size) && space.train_flops.contains(&q.train_flops)
        );
        // Three digits may round a bound.
        let (low, high) = space.learning_rate;
        assert!(
            (low * 0.995..=high * 1.005).contains(&q.learning_rate),
            "{q}"
        );
        if self.charged + self.cost(q) > self.own_budget {
            return Ok(Reply::OverBudget("the budget is used up".into()));
        }
        self.asked.push(*q);
        self.charged += self.cost(q);
        let diverges = self.diverging && self.asked.len().is_multiple_of(3);
        match self.of.ask(q)? {
            Reply::Answered(a) if diverges => Ok(Reply::Answered(super::Answer {
                loss: f64::NAN,
                ..a
            })),
            reply => Ok(reply),
        }
    }
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    fn spaces() -> impl Strategy<Value = Space> {
        let widths = (16u32..512, 1u32..8, 1u32..8, 1u32..16);
        let rates = (1e-5f64..1e-2, 1.0f64..100.0);
        let batches = prop::sample::subsequence(vec![8u32, 16, 128, 256], 1..=3);
        let flops = (8.0f64..19.0, 0.0f64..6.0);
        (widths, rates, batches, flops).prop_map(
            |((d, dx, l, lx), (lr, wide), batch_size, (c, cs))| Space {
                d_model: (d, d * dx),
                num_layers: (l, l + lx),
                num_heads: (1, 16),
                batch_size,
                learning_rate: (lr, lr * wide),
                train_flops: crate::scaling::search::space::budgets(
                    10f64.powf(c),
                    10f64.powf(c + cs),
                ),
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn the_budget_is_never_exceeded_and_nothing_asked_twice(
            space in spaces(),
            runs in -1.0f64..3.0,
            target in 0.5f64..3.0,
            own in prop::option::of(0.0f64..1.0),
            diverging in any::<bool>(),
            tax in 0.5f64..2.0,
            most in 1usize..50,
        ) {
            let budget = space.train_flops[0] * 10f64.powf(runs);
            let mut oracle = Strict::new(space);
            (oracle.diverging, oracle.tax) = (diverging, tax);
            oracle.own_budget = own.map_or(f64::INFINITY, |share| share * budget);
            let mut options = Options::of_target(budget * 10f64.powf(target));
            options.most = most;
            let outcome = run(&mut oracle, budget, &options);
            prop_assert!(oracle.charged <= budget);
            match outcome {
                Ok(o) => {
                    prop_assert!((o.spent - oracle.charged).abs() <= 1e-9 * budget);
                    prop_assert!(o.paid <= most);
                    if let Some(f) = o.forecast {
                        prop_assert!(f.n_opt.value.is_finite() && f.loss.value.is_finite());
                        prop_assert!(f.n_opt.low <= f.n_opt.high);
                    }
                }
                Err(e) => {
                    let said = e.to_string();
                    prop_assert!(oracle.charged == 0.0, "{}", said);
                    prop_assert!(said.contains("--budget") || said.contains("--space"), "{}", said);
                }
            }
        }
    }
}

/// Stopped after every few answers and started again on the same file.
#[test]
fn a_search_in_pieces_asks_what_a_search_in_one_asks() {
    use std::sync::atomic::Ordering;
    let options = Options::of_target(TARGET);
    let mut whole = Strict::new(Space::cs336());
    let outcome = run(&mut whole, BUDGET, &options).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.jsonl");
    let mut pieces = Strict::new(Space::cs336());
    for k in 1.. {
        let stop = AtomicBool::new(false);
        let mut answers = 0;
        let mut tell = |_: &str, _: &super::ledger::Entry, free: bool, _: f64| {
            answers += usize::from(!free);
            stop.store(answers >= 4, Ordering::Relaxed);
        };
        let ledger = Ledger::open(&path, "strict").unwrap();
        let mut session = Session::start(&mut pieces, ledger, BUDGET, &stop, &mut tell).unwrap();
        match search(&mut session, &options) {
            Ok(again) => {
                assert!(k > 3);
                assert_eq!(
                    (again.spent, again.forecast),
                    (outcome.spent, outcome.forecast)
                );
                break;
            }
            Err(e) => assert!(matches!(e, crate::error::Error::Interrupted(_)), "{e}"),
        }
    }
    assert_eq!(pieces.asked, whole.asked);
}

/// A service whose bounds are narrower than the space that is searched.
struct Picky {
    of: Strict,
    most_width: u32,
}

impl Oracle for Picky {
    fn name(&self) -> String {
        "picky".into()
    }
    fn space(&self) -> &Space {
        self.of.space()
    }
    fn ask(&mut self, q: &super::Query) -> crate::error::Result<Reply> {
        match q.d_model > self.most_width {
            true => Ok(Reply::Refused(format!("{q}: d_model is too large"))),
            false => self.of.ask(q),
        }
    }
}

#[test]
fn a_refused_question_costs_nothing_and_is_not_asked_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.jsonl");
    let options = Options::of_target(TARGET);
    let stop = AtomicBool::new(false);
    let mut tell = |_: &str, _: &super::ledger::Entry, _: bool, _: f64| {};
    let mut picky = Picky {
        of: Strict::new(Space::cs336()),
        most_width: 300,
    };
    let ledger = Ledger::open(&path, "picky").unwrap();
    let mut session = Session::start(&mut picky, ledger, BUDGET, &stop, &mut tell).unwrap();
    let said = search(&mut session, &options).unwrap_err().to_string();
    assert!(said.contains("too large"), "{said}");
    let spent = session.spent();
    drop(session);
    assert!(spent > 0.0 && (spent - picky.of.charged).abs() < 1.0);

    // A question of a killed process that the narrower space does not hold is not put again.
    let mut ledger = Ledger::open(&path, "picky").unwrap();
    assert!(ledger.open.is_empty());
    let wide = Size {
        d_model: 512,
        num_layers: 4,
        num_heads: 8,
    };
    ledger.asking(&wide.query(128, 1e-3, 1e13)).unwrap();
    drop(ledger);
    picky.of.of.space.d_model.1 = 300;
    let ledger = Ledger::open(&path, "picky").unwrap();
    let mut session = Session::start(&mut picky, ledger, BUDGET, &stop, &mut tell).unwrap();
    let outcome = search(&mut session, &options).unwrap();
    // It may have been charged, and goes on counting.
    assert!((outcome.spent - picky.of.charged - 1e13).abs() < 1.0);
    assert!(outcome.spent <= BUDGET);
}

/// A larger budget would probe at a dearer level; what is answered already serves.
#[test]
fn probes_of_another_budget_are_not_paid_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.jsonl");
    let stop = AtomicBool::new(false);
    let mut oracle = Strict::new(Space::cs336());
    let mut laws = Vec::new();
    for budget in [BUDGET / 30.0, BUDGET, BUDGET] {
        let mut probes = 0;
        let mut tell = |why: &str, _: &super::ledger::Entry, free: bool, _: f64| {
            probes += usize::from(why == "learning rate" && !free);
        };
        let ledger = Ledger::open(&path, "strict").unwrap();
        let mut session = Session::start(&mut oracle, ledger, budget, &stop, &mut tell).unwrap();
        let outcome = search(&mut session, &Options::of_target(TARGET)).unwrap();
        drop(session);
        assert_eq!(probes > 0, laws.is_empty());
        assert_eq!(outcome.new == 0, laws.len() == 2);
        laws.push(outcome.lr);
    }
    assert!(laws.iter().all(|l| *l == laws[0]), "{laws:?}");
}
