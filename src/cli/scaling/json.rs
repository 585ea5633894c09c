//! What `lehr scaling --json` prints.

use super::input::Input;
use crate::scaling::compare::{Comparison, Missed, Parametric, Request, Row, Way};
use crate::scaling::envelope::Envelope;
use crate::scaling::estimate::Estimate;
use crate::scaling::isoflop::IsoFlop;
use crate::scaling::law::ScalingLaw;
use serde_json::{Map, Value, json};

pub fn object(input: &Input, found: &Comparison, request: &Request) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_string(), value);
    put("points", json!(input.points.len()));
    put("at", json!(request.at));
    put("level", json!(request.level));
    put("resamples", json!(request.resamples));
    put("seed", json!(request.seed));
    let mut unavailable = Map::new();
    let mut refused = |key: &str, why: &str| unavailable.insert(key.to_string(), json!(why));
    match &found.parametric {
        Some(Ok(fit)) => {
            put("parametric", parametric(fit, found, request));
        }
        Some(Err(why)) => {
            refused("parametric", why);
        }
        None => {}
    }
    match &found.isoflop {
        Some(Ok(fit)) => {
            put("isoflop", isoflop(fit, found));
        }
        Some(Err(why)) => {
            refused("isoflop", why);
        }
        None => {}
    }
    match &found.envelope {
        Some(Ok(fit)) => {
            put("envelope", envelope(fit, found));
        }
        Some(Err(why)) => {
            refused("envelope", why);
        }
        None => {}
    }
    if !unavailable.is_empty() {
        put("unavailable", Value::Object(unavailable));
    }
    let mut notes = input.notes.clone();
    notes.extend(super::table::notes(found, request));
    put("notes", json!(notes));
    Value::Object(out)
}

/// `a`, N and D with their bounds, and the error held out.
fn row(row: &Row) -> Map<String, Value> {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_string(), value);
    put("a", json!(row.exponent.value));
    put("a_low", json!(row.exponent.low));
    put("a_high", json!(row.exponent.high));
    for (name, all) in [("n", &row.params), ("d", &row.tokens), ("loss", &row.loss)] {
        if all.is_empty() {
            continue;
        }
        let each = |of: fn(&Estimate) -> Option<f64>| all.iter().map(|e| json!(of(e))).collect();
        put(name, each(|e| Some(e.value)));
        put(&format!("{name}_low"), each(|e| e.low));
        put(&format!("{name}_high"), each(|e| e.high));
    }
    if let Some(Missed::Params(error)) = row.held_out {
        put("held_out", json!({ "n_error": error }));
    }
    out
}

/// Null where there is none: JSON has no NaN.
fn number(x: f64) -> Value {
    match x.is_finite() {
        true => json!(x),
        false => Value::Null,
    }
}

fn of(found: &Comparison, way: Way) -> Map<String, Value> {
    found.row(way).map(row).unwrap_or_default()
}

fn constants(of: impl Fn(fn(&ScalingLaw) -> f64) -> Value) -> Value {
    json!({
        "E": of(|l| l.e),
        "A": of(|l| l.a),
        "B": of(|l| l.b),
        "alpha": of(|l| l.alpha),
        "beta": of(|l| l.beta),
    })
}

fn parametric(fit: &Parametric, found: &Comparison, request: &Request) -> Value {
    let bound = |high: bool, of: fn(&ScalingLaw) -> f64| {
        if fit.bootstrap.draws.is_empty() {
            return Value::Null;
        }
        let (l, h) = fit.bootstrap.interval(request.level, of);
        number(if high { h } else { l })
    };
    let error = |of: fn(&ScalingLaw) -> f64| number(fit.bootstrap.standard_error(of));
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_string(), value);
    put("params", constants(|of| number(of(&fit.fit.law))));
    put("low", constants(|of| bound(false, of)));
    put("high", constants(|of| bound(true, of)));
    put("standard_error", constants(error));
    put("flops_ratio", json!(found.flops_ratio));
    put("objective", number(fit.fit.objective));
    put("starts", json!(fit.fit.starts));
    put("agree", json!(fit.fit.agree));
    let (fitting, resampling) = fit.seconds;
    put("seconds", json!({"fit": fitting, "bootstrap": resampling}));
    out.extend(of(found, Way::Parametric));
    if let Ok(held_out) = &fit.held_out {
        out.insert("held_out".into(), json!(held_out));
    }
    Value::Object(out)
}

fn isoflop(fit: &IsoFlop, found: &Comparison) -> Value {
    let mut out = Map::new();
    for method in &fit.methods {
        let mut one = Map::new();
        one.insert("k".into(), json!(method.params.k));
        one.extend(of(found, Way::IsoFlop(method.method)));
        let minima = method.minima.iter();
        let minima =
            minima.map(|m| json!({"flops": m.flops, "n": m.params, "d": m.tokens, "loss": m.loss}));
        one.insert("minima".into(), minima.collect());
        out.insert(method.method.name().into(), Value::Object(one));
    }
    let budgets = fit.budgets.iter().map(|b| {
        let edge = b.edge.map(|e| format!("{e:?}").to_lowercase());
        json!({"flops": b.flops, "sizes": b.sizes.len(), "edge": edge})
    });
    out.insert("budgets".into(), budgets.collect());
    out.insert("spacing".into(), json!(fit.spacing()));
    Value::Object(out)
}

fn envelope(fit: &Envelope, found: &Comparison) -> Value {
    let mut out = Map::new();
    out.insert("k".into(), json!(fit.laws.params.k));
    out.extend(of(found, Way::Envelope));
    if let Some(laws) = &fit.crossings {
        let mut crossings = Map::new();
        crossings.insert("k".into(), json!(laws.params.k));
        crossings.extend(of(found, Way::EnvelopeCrossings));
        out.insert("crossings".into(), Value::Object(crossings));
    }
    let steps = fit.steps.iter();
    let steps = steps.map(|s| json!({"n": s.params, "from": s.from, "to": s.to}));
    out.insert("steps".into(), steps.collect());
    out.insert("kept".into(), json!(fit.kept));
    Value::Object(out)
}
