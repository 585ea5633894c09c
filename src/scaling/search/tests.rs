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
fn naive(oracle: &mut Simulated, parabola: bool) -> f64 {
    let sizes = oracle.space.sizes().unwrap();
    let of = |s: &Size| s.query(128, 1e-3, 1e13).block_params();
    let mut line = Vec::new();
    for level in [1e16, 3e16, 6e16, 3e17] {
        let mut row: Vec<(f64, f64)> = Vec::new();
        for i in -2..=2 {
            let size = nearest(&sizes, super::plan::guess(level) * 2.2f64.powi(i), of).unwrap();
            let lr = oracle.best_lr(of(&size));
            let Reply::Answered(answer) = oracle.ask(&size.query(128, lr, level)).unwrap() else {
                panic!("it always answers")
            };
            row.push((of(&size).ln(), answer.loss));
        }
        let best = row.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
        line.push((level.ln(), if parabola { vertex(&row).unwrap_or(best) } else { best }));
    }
    let (slope, intercept) = straight(&line);
    (intercept + slope * TARGET.ln()).exp()
}

fn straight(points: &[(f64, f64)]) -> (f64, f64) {
    let k = points.len() as f64;
    let (mx, my) = (points.iter().map(|p| p.0).sum::<f64>() / k, points.iter().map(|p| p.1).sum::<f64>() / k);
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
    println!("noise    N off, search   naive argmin  naive parabola   loss off   spent     runs  N in 90 %  loss in 90 %");
    for noise in [0.002, 0.005, 0.01] {
        let seeds = 12;
        let (mut n_off, mut loss_off, mut argmin, mut parabola, mut spent, mut runs) =
            (vec![], vec![], vec![], vec![], 0.0, 0);
        let (mut n_in, mut loss_in) = (0, 0);
        for seed in 0..seeds {
            let spec = format!("noise={noise},seed={seed}");
            let mut oracle = Simulated::parse(&spec, Space::cs336()).unwrap();
            let truth = oracle.law.optimum(TARGET);
            let options = Options::of_target(TARGET);
            let outcome = run(&mut oracle, BUDGET, &options).unwrap();
            assert!(outcome.spent <= BUDGET);
            let f = outcome.forecast.unwrap();
            if std::env::var_os("LEHR_SHOW").is_some() {
                println!("{spec}: {:?} {} {:?} N {:.3e} truth {:.3e} {:?} stopped {} paid {}", f.law, f.noise, outcome.lr, f.n_opt.value, truth.0, (f.n_opt.low, f.n_opt.high), outcome.stopped, outcome.paid);
            }
            n_off.push((f.n_opt.value / truth.0).ln().abs());
            n_in += usize::from((f.n_opt.low..=f.n_opt.high).contains(&truth.0));
            let best = oracle.law.loss(truth.0, truth.1);
            loss_off.push((f.loss.value - best).abs());
            loss_in += usize::from((f.loss.low..=f.loss.high).contains(&best));
            argmin.push((naive(&mut oracle, false) / truth.0).ln().abs());
            parabola.push((naive(&mut oracle, true) / truth.0).ln().abs());
            spent += outcome.spent / seeds as f64;
            runs += outcome.paid;
        }
        let worst = n_off.iter().fold(0.0, |a: f64, b| a.max(*b));
        let (ours, theirs) = (median(&mut n_off), median(&mut argmin));
        println!(
            "{noise:<8} {:>5.1} % (worst {:>4.1})  {:>6.1} %  {:>9.1} %     {:>9.4}   {:.2e}  {:>4}  {n_in:>3}/{seeds}  {loss_in:>6}/{seeds}",
            100.0 * ours, 100.0 * worst, 100.0 * theirs, 100.0 * median(&mut parabola), median(&mut loss_off), spent, runs / seeds
        );
        assert!(ours < theirs, "{ours} {theirs}");
    }
}
