//! The law against exact, few and flat probes.

use super::*;

fn probe(params: f64, rate: f64, loss: f64) -> Probe {
    Probe {
        params,
        train_flops: 1e14,
        rate,
        loss,
    }
}

#[test]
fn flat_probes_do_not_send_the_law_away() {
    // Almost linear in ln lr: the vertex lies decades above what was tried.
    let mut points = Vec::new();
    for n in [1e6, 4e6, 2e7] {
        for lr in [1.6e-4, 4e-4, 1e-3] {
            let x: f64 = (lr / 10.0_f64).ln();
            points.push(probe(n, lr, 3.0 + 1e-3 * x * x));
        }
    }
    let law = fit(&points);
    assert!(law.tuned && !law.slope, "{law:?}");
    for n in [1e6, 4e6, 2e7] {
        assert!((law.at(n) / 1e-3).ln().abs() < 1.0, "{law:?}");
    }
    assert!(parabolas(&points).unwrap().at(4e6) > 1.0);
}

#[test]
fn a_best_rate_at_a_bound_is_said() {
    let inner = vec![(1e-4, 3.0), (3e-4, 2.9), (1e-3, 3.1)];
    let upper = vec![(1e-4, 3.0), (3e-4, 2.9), (1e-3, 2.8)];
    let bounds = (1e-4, 1e-3);
    assert_eq!(at_bounds(std::slice::from_ref(&inner), bounds), None);
    let said = at_bounds(&[inner, upper], bounds).unwrap();
    assert!(said.contains("1 of 2") && said.contains("higher"), "{said}");
}

#[test]
fn finds_the_law_behind_exact_probes() {
    let truth = |n: f64| 0.15 * n.powf(-0.36);
    let mut points = Vec::new();
    for n in [1e6, 4e6, 2e7] {
        for lr in [1e-4, 4e-4, 1e-3, 2e-3] {
            let off: f64 = (lr / truth(n)).ln();
            points.push(probe(n, lr, 3.0 + 10.0 / n.ln() + 0.04 * off * off));
        }
    }
    // The same size at another budget has another bottom and the same best rate.
    for lr in [3e-4, 9e-4] {
        let off: f64 = (lr / truth(4e6)).ln();
        points.push(Probe {
            train_flops: 1e15,
            ..probe(4e6, lr, 2.5 + 0.04 * off * off)
        });
    }
    let law = fit(&points);
    assert!(law.tuned && (law.power - 0.36).abs() < 1e-6, "{law:?}");
    assert!((law.at(1e8) / truth(1e8) - 1.0).abs() < 1e-6, "{law:?}");
}

#[test]
fn too_few_probes_leave_the_rule() {
    assert_eq!(fit(&[]), LrLaw::RULE);
    assert_eq!(
        fit(&[probe(1e6, 1e-3, 3.0), probe(4e6, 1e-3, 2.9)]),
        LrLaw::RULE
    );
    // One size at two rates moves the level alone.
    let law = fit(&[probe(1e6, 1e-3, 3.0), probe(1e6, 3e-3, 2.9)]);
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
