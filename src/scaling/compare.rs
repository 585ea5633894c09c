//! All approaches to one set of models, so that they can be read side by side.
//!
//! Hoffmann et al. 2022 found exponents of .50, .49 and .46 by their three approaches, and later work (Besiroglu
//! et al. 2024, arXiv 2404.10102; Porian et al. 2024) showed how much of such differences is method: one number
//! alone hides it.

use super::bootstrap::{Bootstrap, bootstrap};
use super::curves::{self, Curve};
use super::envelope::{self, Envelope};
use super::estimate::Estimate;
use super::holdout::{HeldOut, holdout};
use super::isoflop::{self, IsoFlop, Method};
use super::parametric::{self, FitOptions, ParametricFit};
use super::point::{Point, flops_ratio};
use super::power::PowerLaw;
use crate::error::Result;
use crate::fit::quantile::central;
use std::time::Instant;

/// What was found, or one sentence on why it cannot be.
pub type Found<T> = std::result::Result<T, String>;

/// Which approaches, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub envelope: bool,
    pub isoflop: bool,
    pub parametric: bool,
    pub resamples: usize,
    /// Of the intervals, such as 0.95.
    pub level: f64,
    pub seed: u64,
    /// FLOPs at which N and D are wanted.
    pub at: Vec<f64>,
    pub options: FitOptions,
}

/// Approach 3 with what surrounds it.
#[derive(Clone, Debug)]
pub struct Parametric {
    pub fit: ParametricFit,
    pub bootstrap: Bootstrap,
    pub held_out: Found<HeldOut>,
    /// Wall time of the fit from all its starts, and of the resampling.
    pub seconds: (f64, f64),
}

/// What each approach found; `Err` says why the data do not allow it, `None` that nobody asked.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub isoflop: Option<Found<IsoFlop>>,
    pub envelope: Option<Found<Envelope>>,
    pub parametric: Option<Found<Parametric>>,
    /// One row a method, over all approaches.
    pub rows: Vec<Row>,
    /// κ of C = κ·6·N·D, under which the parametric law has its optimum.
    pub flops_ratio: f64,
}

/// One method's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub way: Way,
    /// a of N_opt ∝ C^a.
    pub exponent: Estimate,
    /// At each of the FLOPs asked for.
    pub params: Vec<Estimate>,
    pub tokens: Vec<Estimate>,
    /// Predicted loss there, of the approach that has one.
    pub loss: Vec<Estimate>,
    pub held_out: Option<Missed>,
}

/// Error beyond what was fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Missed {
    /// Mean relative error of N_opt.
    Params(f64),
    /// Mean absolute error of the loss, in nats.
    Loss(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    IsoFlop(Method),
    Envelope,
    EnvelopeCrossings,
    Parametric,
}

impl Way {
    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Way::IsoFlop(Method::Argmin) => "isoFLOP argmin",
            Way::IsoFlop(Method::ArgminRaw) => "isoFLOP argmin, raw",
            Way::IsoFlop(Method::Parabola) => "isoFLOP parabola",
            Way::IsoFlop(Method::ParabolaNear) => "isoFLOP parabola ±1",
            Way::IsoFlop(Method::Spline) => "isoFLOP spline",
            Way::Envelope => "envelope",
            Way::EnvelopeCrossings => "envelope crossings",
            Way::Parametric => "parametric",
        }
    }
}

/// Runs what was asked for on `points`, and on `curves` (made of the points where there are none).
pub fn compare(points: &[Point], curves: Option<&[Curve]>, request: &Request) -> Comparison {
    let said = |e: crate::error::Error| e.to_string();
    let isoflop = request
        .isoflop
        .then(|| isoflop::fit(points, request.resamples, request.seed).map_err(said));
    let envelope = request.envelope.then(|| {
        let made = match curves {
            Some(curves) => curves.to_vec(),
            None => curves::of_points(points).map_err(said)?,
        };
        envelope::fit(&made, request.resamples, request.seed).map_err(said)
    });
    let parametric = request
        .parametric
        .then(|| fit_parametric(points, request).map_err(said));
    let flops_ratio = flops_ratio(points);
    let mut rows = Vec::new();
    if let Some(Ok(found)) = &isoflop {
        rows.extend(isoflop_rows(found, request));
    }
    if let Some(Ok(found)) = &envelope {
        rows.extend(envelope_rows(found, request));
    }
    if let Some(Ok(found)) = &parametric
        && found.fit.law.has_optimum()
    {
        rows.push(parametric_row(found, request, flops_ratio));
    }
    Comparison {
        isoflop,
        envelope,
        parametric,
        rows,
        flops_ratio,
    }
}

impl Parametric {
    /// Sentences on what of the fit and of its resamples has no optimum.
    pub fn without_optimum(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let law = &self.fit.law;
        if !law.has_optimum() {
            notes.push(format!(
                "the parametric law has no optimum: alpha {:.3} and beta {:.3} must both be positive, so that both \
                 more parameters and more tokens help; its row is left out",
                law.alpha, law.beta
            ));
        }
        notes.extend(self.bootstrap.without_optimum());
        notes
    }
}

impl Comparison {
    pub fn row(&self, way: Way) -> Option<&Row> {
        self.rows.iter().find(|r| r.way == way)
    }

    /// How far argmin lies from the parabola, and why.
    pub fn argmin_bias(&self, at: &[f64]) -> Option<String> {
        let Some(Ok(found)) = &self.isoflop else {
            return None;
        };
        let argmin = self.row(Way::IsoFlop(Method::Argmin))?;
        let parabola = self.row(Way::IsoFlop(Method::Parabola))?;
        let pairs = argmin.params.iter().zip(&parabola.params).zip(at);
        let off: Vec<String> = pairs
            .map(|((a, p), flops)| {
                let share = a.value / p.value - 1.0;
                let side = if share < 0.0 { "below" } else { "above" };
                format!("{:.0} % {side} at {flops:.0e}", 100.0 * share.abs())
            })
            .collect();
        Some(format!(
            "argmin is biased by the grid: it can only answer with a size that was trained, these are ×{:.2} \
             apart, and the exponent follows where in the gaps the optima happen to fall. Against the parabola \
             its N is {} FLOPs. Go by the parabola.",
            found.spacing(),
            off.join(", ")
        ))
    }
}

fn fit_parametric(points: &[Point], request: &Request) -> Result<Parametric> {
    let clock = Instant::now();
    let fit = parametric::fit(points, &request.options)?;
    let fitting = clock.elapsed();
    let bootstrap = bootstrap(
        points,
        &fit,
        &request.options,
        request.resamples,
        request.seed,
    );
    let resampling = clock.elapsed() - fitting;
    Ok(Parametric {
        held_out: holdout(points, None, &request.options).map_err(|e| e.to_string()),
        fit,
        bootstrap,
        seconds: (fitting.as_secs_f64(), resampling.as_secs_f64()),
    })
}

fn isoflop_rows(found: &IsoFlop, request: &Request) -> Vec<Row> {
    let row = |m: &isoflop::MethodFit| Row {
        held_out: m.held_out.map(|h| Missed::Params(h.1)),
        ..of_laws(
            Way::IsoFlop(m.method),
            (m.params, m.tokens),
            &m.draws,
            request,
        )
    };
    found.methods.iter().map(row).collect()
}

fn envelope_rows(found: &Envelope, request: &Request) -> Vec<Row> {
    let pair = |l: &envelope::Laws| (l.params, l.tokens);
    let row = |way, laws: &envelope::Laws, draws: &[envelope::Laws]| {
        let draws: Vec<_> = draws.iter().map(pair).collect();
        of_laws(way, pair(laws), &draws, request)
    };
    let mut rows = vec![row(Way::Envelope, &found.laws, &found.draws)];
    rows.extend(found.crossings.map(|laws| Row {
        held_out: found.held_out.map(|h| Missed::Params(h.1)),
        ..row(Way::EnvelopeCrossings, &laws, &found.crossings_draws)
    }));
    rows
}

/// N and D by two power laws, intervals by those of the resamples.
fn of_laws(
    way: Way,
    laws: (PowerLaw, PowerLaw),
    draws: &[(PowerLaw, PowerLaw)],
    request: &Request,
) -> Row {
    let estimate = |of: &dyn Fn(&(PowerLaw, PowerLaw)) -> f64| {
        let interval = central(draws.iter().map(of).collect(), request.level);
        Estimate::new(of(&laws), interval)
    };
    let each = |of: &dyn Fn(&(PowerLaw, PowerLaw), f64) -> f64| {
        let at = |c: &f64| estimate(&|laws| of(laws, *c));
        request.at.iter().map(at).collect()
    };
    Row {
        way,
        exponent: estimate(&|laws| laws.0.a),
        params: each(&|laws, c| laws.0.at(c)),
        tokens: each(&|laws, c| laws.1.at(c)),
        loss: Vec::new(),
        held_out: None,
    }
}

fn parametric_row(found: &Parametric, request: &Request, flops_ratio: f64) -> Row {
    let estimate = |of: &dyn Fn(&super::law::ScalingLaw) -> f64| {
        // Draws without an optimum have nothing to say of one.
        let of_optimum = |law: &super::law::ScalingLaw| match law.has_optimum() {
            true => of(law),
            false => f64::NAN,
        };
        let interval = found.bootstrap.interval(request.level, of_optimum);
        Estimate::new(of(&found.fit.law), interval)
    };
    let each = |of: &dyn Fn(&super::law::ScalingLaw, f64) -> f64| {
        let at = |c: &f64| estimate(&|law| of(law, *c / flops_ratio));
        request.at.iter().map(at).collect()
    };
    Row {
        way: Way::Parametric,
        exponent: estimate(&|law| law.beta / (law.alpha + law.beta)),
        params: each(&|law, c| law.optimum(c).0),
        tokens: each(&|law, c| law.optimum(c).1),
        loss: each(&|law, c| {
            let (n, d) = law.optimum(c);
            law.loss(n, d)
        }),
        held_out: match &found.held_out {
            Ok(held_out) => Some(Missed::Loss(held_out.mean)),
            Err(_) => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::law::ScalingLaw;

    #[test]
    fn a_law_without_an_optimum_has_constants_and_no_row() {
        let falling = ScalingLaw {
            e: 1.7,
            a: 400.0,
            b: 900.0,
            alpha: 0.34,
            beta: -0.1,
        };
        let rising = ScalingLaw {
            beta: 0.3,
            ..falling
        };
        let fit = |law| Parametric {
            fit: ParametricFit {
                law,
                objective: 0.0,
                starts: 1,
                agree: 1.0,
                points: 9,
            },
            bootstrap: Bootstrap {
                draws: vec![rising, falling, rising],
                resamples: 3,
            },
            held_out: Err("none".into()),
            seconds: (0.0, 0.0),
        };
        let notes = fit(falling).without_optimum();
        assert!(notes[0].contains("no optimum"), "{notes:?}");
        assert!(notes[1].contains("1 of 3 resamples"), "{notes:?}");
        assert_eq!(fit(rising).without_optimum().len(), 1);
    }

    #[test]
    fn approaches_agree_on_an_exact_law_and_argmin_is_called_biased() {
        let law = ScalingLaw {
            e: 1.7,
            a: 400.0,
            b: 900.0,
            alpha: 0.34,
            beta: 0.3,
        };
        let mut points = Vec::new();
        for flops in [1e18, 1e19, 1e20, 1e21] {
            for i in 0..9 {
                let params = 1.2e8 * (flops / 1e18f64).sqrt() * 1.7f64.powi(i - 4);
                let tokens = flops / (6.0 * params);
                let loss = law.loss(params, tokens);
                let point = Point {
                    params,
                    tokens,
                    flops,
                    loss,
                    size: None,
                    seed: None,
                    kind: None,
                };
                points.push(point);
            }
        }
        let request = Request {
            envelope: true,
            isoflop: true,
            parametric: true,
            resamples: 40,
            level: 0.9,
            seed: 0,
            at: vec![1e22],
            options: FitOptions::default(),
        };
        let found = compare(&points, None, &request);
        let exact = law.optimum(1e22).0;
        let parametric = found.row(Way::Parametric).unwrap();
        assert!((parametric.params[0].value / exact - 1.0).abs() < 1e-3);
        let near = found.row(Way::IsoFlop(Method::ParabolaNear)).unwrap();
        assert!((near.params[0].value / exact - 1.0).abs() < 0.05);
        assert!(near.exponent.low <= Some(near.exponent.value) && near.params[0].low > Some(0.0));
        // No size has several horizons here.
        assert!(matches!(&found.envelope, Some(Err(why)) if why.contains("envelope")));
        assert!(
            found
                .argmin_bias(&request.at)
                .unwrap()
                .contains("×1.70 apart")
        );
    }
}
