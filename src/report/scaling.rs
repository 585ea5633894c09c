//! The picture of compute-optimal sizes.
//!
//! Both panels share the axis of sizes: above, loss against parameters, one curve a compute budget; below, the
//! budgets themselves, in which each approach's N_opt(C) rises to the right. A minimum above stands over its
//! point below.

use super::chart::{Axis, Chart, Entry, Panel, Scale, Series};
use super::ticks::Numbers;
use crate::scaling::compare::{Comparison, Way};
use crate::scaling::isoflop::{IsoFlop, Method, parabola};
use crate::scaling::law::ScalingLaw;
use crate::scaling::point::{FLOPS_A_PAIR, Point};

/// Grey: what was measured, and the curves through it.
const DATA: usize = 7;
/// Points of a drawn curve.
const FINE: usize = 60;
/// Budgets at which a law is drawn where the data form none.
const CONTOURS: usize = 7;
/// The early fall of the loss would flatten its minima: losses shown reach this many times as far above the
/// lowest minimum as the highest minimum does.
const HEIGHT: f64 = 1.35;

/// Colour and letter of an approach.
pub fn key(way: Way) -> usize {
    match way {
        Way::IsoFlop(Method::Argmin) => 0,
        Way::IsoFlop(Method::ArgminRaw) => 1,
        Way::IsoFlop(Method::Parabola) => 2,
        Way::Parametric => 3,
        Way::IsoFlop(Method::Spline) => 4,
        Way::Envelope => 5,
        Way::EnvelopeCrossings => 6,
        Way::IsoFlop(Method::ParabolaNear) => 8,
    }
}

/// `at` are the budgets to which the lower panel reaches.
pub fn chart(title: String, points: &[Point], found: &Comparison, at: &[f64]) -> Chart {
    let mut panels = vec![losses(points, found), budgets(points, found, at)];
    panels.retain(|p| !p.series.is_empty());
    let mut legend: Vec<Entry> = found
        .rows
        .iter()
        .map(|row| Entry {
            key: key(row.way),
            text: format!("{}, a = {:.3}", row.way.title(), row.exponent.value),
        })
        .collect();
    legend.sort_by_key(|e| e.key);
    Chart {
        title,
        subtitle: subtitle(found).into(),
        x: log_axis("parameters"),
        panels,
        legend,
        dashes: false,
    }
}

fn subtitle(found: &Comparison) -> &'static str {
    match (&found.isoflop, &found.parametric) {
        (Some(Ok(_)), _) => {
            "grey: losses at one compute budget each, and parabolas; coloured: minima; below: N = k·C^a"
        }
        (_, Some(Ok(_))) => {
            "dots: losses; lines: the parametric law at equal compute, and its minima; below: N = k·C^a"
        }
        _ => "dots: losses; below: the size that wins at each budget, and N = k·C^a",
    }
}

fn log_axis(label: &str) -> Axis {
    Axis {
        label: label.into(),
        scale: Scale::Log,
        numbers: Numbers::Power,
        range: None,
    }
}

fn losses(points: &[Point], found: &Comparison) -> Panel {
    let mut y = Axis::linear("loss, nats a token", Numbers::Plain);
    let mut series = Vec::new();
    match (&found.isoflop, &found.parametric) {
        (Some(Ok(isoflop)), _) => {
            series.extend(bowls(isoflop));
            y.range = shown(isoflop);
        }
        (_, Some(Ok(parametric))) => {
            series.push(dots(points));
            series.extend(contours(&parametric.fit.law, found.flops_ratio, points));
        }
        _ => series.push(dots(points)),
    }
    Panel {
        y,
        height: 320.0,
        rows: 0,
        series,
    }
}

fn dots(points: &[Point]) -> Series {
    let mut dots: Vec<[f64; 2]> = points.iter().map(|p| [p.params, p.loss]).collect();
    dots.sort_by(|a, b| a[0].total_cmp(&b[0]));
    Series::dots(DATA, dots)
}

/// Losses of every budget, the parabola through them and the minima.
fn bowls(found: &IsoFlop) -> Vec<Series> {
    let mut series = Vec::new();
    for budget in &found.budgets {
        let seen = budget.sizes.iter().map(|s| [s.params, s.loss]).collect();
        series.push(Series::dots(DATA, seen));
        let Some([c0, c1, c2, middle]) = parabola(&budget.sizes) else {
            continue;
        };
        let (first, last) = (
            budget.sizes[0].params.ln(),
            budget.sizes[budget.sizes.len() - 1].params.ln(),
        );
        let line = (0..=FINE).map(|i| {
            let x = first + (last - first) * i as f64 / FINE as f64;
            let from = x - middle;
            [x.exp(), c0 + from * (c1 + from * c2)]
        });
        series.push(Series::line(DATA, line.collect()));
    }
    for method in [Method::Argmin, Method::Parabola] {
        if let Some(fit) = found.method(method) {
            let minima: Vec<_> = fit.minima.iter().map(|m| [m.params, m.loss]).collect();
            // Joined: a smooth path, or one that jumps from size to size.
            series.push(Series::line(key(Way::IsoFlop(method)), minima.clone()));
            series.push(Series::dots(key(Way::IsoFlop(method)), minima));
        }
    }
    series
}

/// Losses worth showing.
fn shown(found: &IsoFlop) -> Option<(f64, f64)> {
    let lowest = |b: &crate::scaling::isoflop::Budget| {
        let losses = b.sizes.iter().map(|s| s.loss);
        losses.fold(f64::INFINITY, f64::min)
    };
    let minima: Vec<f64> = found.budgets.iter().map(lowest).collect();
    let low = minima.iter().copied().fold(f64::INFINITY, f64::min);
    let high = minima.iter().copied().fold(0.0, f64::max);
    (high > low).then_some((low - 0.06 * (high - low), low + HEIGHT * (high - low)))
}

/// The law at equal compute, over the budgets and sizes seen, and its minima.
fn contours(law: &ScalingLaw, ratio: f64, points: &[Point]) -> Vec<Series> {
    let mut flops: Vec<f64> = points.iter().map(|p| p.flops).collect();
    flops.sort_by(f64::total_cmp);
    // Without the few far off.
    let few = flops.len() / 20;
    let (low, high) = extent(flops[few..flops.len() - few].iter().copied());
    let (small, large) = extent(points.iter().map(|p| p.params));
    let mut series = Vec::new();
    let mut minima = Vec::new();
    for i in 0..CONTOURS {
        let flops = low * (high / low).powf(i as f64 / (CONTOURS - 1) as f64);
        let at = |n: f64| law.loss(n, flops / (ratio * FLOPS_A_PAIR * n));
        let highest = points.iter().map(|p| p.loss).fold(0.0, f64::max);
        let line = (0..=FINE)
            .map(|i| small * (large / small).powf(i as f64 / FINE as f64))
            .map(|n| [n, at(n)])
            .filter(|p| p[1] <= highest);
        series.push(Series::line(key(Way::Parametric), line.collect()));
        let (n, d) = law.optimum(flops / ratio);
        if (small..=large).contains(&n) {
            minima.push([n, law.loss(n, d)]);
        }
    }
    series.push(Series::dots(key(Way::Parametric), minima));
    series
}

fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, 0.0), |(l, h), v| (l.min(v), h.max(v)))
}

/// N_opt(C) of every approach, N to the right and C upwards.
fn budgets(points: &[Point], found: &Comparison, at: &[f64]) -> Panel {
    // Curves cross long before they end.
    let steps = match &found.envelope {
        Some(Ok(envelope)) => &envelope.steps[..],
        _ => &[],
    };
    let flops = points.iter().map(|p| p.flops).chain(at.iter().copied());
    let (low, high) = extent(flops.chain(steps.iter().map(|s| s.from)));
    let mut series: Vec<Series> = Vec::new();
    for row in &found.rows {
        // Straight in logarithms, through any two of its points.
        let ends = [low, high].map(|flops| [optimum(found, row.way, flops), flops]);
        let mut line = ends.to_vec();
        line.sort_by(|a, b| a[0].total_cmp(&b[0]));
        series.push(Series::line(key(row.way), line).lettered());
    }
    if let Some(Ok(isoflop)) = &found.isoflop {
        for method in [Method::Argmin, Method::Parabola] {
            if let Some(fit) = isoflop.method(method) {
                let minima = fit.minima.iter().map(|m| [m.params, m.flops]);
                series.push(Series::dots(key(Way::IsoFlop(method)), minima.collect()));
            }
        }
    }
    for step in steps {
        let line = vec![[step.params, step.from], [step.params, step.to]];
        series.push(Series::line(key(Way::Envelope), line));
    }
    Panel {
        y: log_axis("compute, FLOPs: the best size at each"),
        height: 300.0,
        rows: 18,
        series,
    }
}

fn optimum(found: &Comparison, way: Way, flops: f64) -> f64 {
    let law = match way {
        Way::IsoFlop(method) => match &found.isoflop {
            Some(Ok(f)) => f.method(method).map(|m| m.params),
            _ => None,
        },
        Way::Envelope | Way::EnvelopeCrossings => match &found.envelope {
            Some(Ok(f)) if way == Way::Envelope => Some(f.laws.params),
            Some(Ok(f)) => f.crossings.map(|laws| laws.params),
            _ => None,
        },
        Way::Parametric => {
            return match &found.parametric {
                Some(Ok(p)) => p.fit.law.optimum(flops / found.flops_ratio).0,
                _ => f64::NAN,
            };
        }
    };
    law.map_or(f64::NAN, |law| law.at(flops))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Data, png, svg};
    use crate::scaling::compare::{Request, compare};
    use crate::scaling::parametric::FitOptions;

    fn points() -> Vec<Point> {
        let law = ScalingLaw {
            e: 1.7,
            a: 400.0,
            b: 900.0,
            alpha: 0.34,
            beta: 0.3,
        };
        let sizes = (0..3).flat_map(|budget| (0..7).map(move |size| (budget, size)));
        let point = |(budget, size): (i32, i32)| {
            let flops = 1e18 * 10f64.powi(budget);
            let params = law.optimum(flops).0 * 1.6f64.powi(size - 3) * 1.1;
            let tokens = flops / (6.0 * params);
            Point {
                params,
                tokens,
                flops,
                loss: law.loss(params, tokens),
                size: None,
                seed: None,
                kind: None,
            }
        };
        sizes.map(point).collect()
    }

    #[test]
    fn minima_stand_over_their_budgets() {
        let request = Request {
            envelope: true,
            isoflop: true,
            parametric: false,
            resamples: 0,
            level: 0.95,
            seed: 0,
            at: vec![1e22],
            options: FitOptions::default(),
        };
        let points = points();
        let found = compare(&points, None, &request);
        let chart = chart("title".into(), &points, &found, &request.at);
        let places = |panel: usize| -> Vec<f64> {
            let own = chart.panels[panel].series.iter().filter(|s| s.key == 2);
            let dots = own.filter_map(|s| match &s.data {
                Data::Dots(dots) => Some(dots.iter().map(|d| d[0])),
                _ => None,
            });
            dots.flatten().collect()
        };
        assert_eq!(places(0).len(), 3);
        assert_eq!(places(0), places(1));
        assert_eq!(chart.legend.len(), 5);
        assert!(svg::draw(&chart).contains("isoFLOP parabola, a = 0.4"));
        assert!(png::draw(&chart).unwrap().len() > 10_000);
    }
}
