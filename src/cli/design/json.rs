//! A design as JSON: what is printed, and the head of `schedule.json`.

use super::Outcome;
use crate::design::trust;
use crate::fit::COVERAGE;
use serde_json::{Map, Value, json};

/// What `schedule.json` says before its LRs.
pub(super) fn head(o: &Outcome) -> Map<String, Value> {
    let (model, limits) = (&o.under.model, o.limits());
    let names = model.law.parameters().iter().map(|p| p.name.to_string());
    let values = model.parameters.iter().map(|v| Value::from(*v));
    let params: Map<String, Value> = names.zip(values).collect();
    let mut head = Map::new();
    let mut put = |key: &str, value: Value| head.insert(key.to_string(), value);
    put(
        "law",
        json!({"name": model.law.name(), "from": o.under.named, "params": params}),
    );
    put("steps", limits.steps.into());
    put("peak_lr", limits.peak_lr.into());
    put("min_lr", limits.min_lr.into());
    put("warmup_steps", limits.warmup.into());
    let from = o.start.as_ref();
    put(
        "from",
        from.map_or(
            Value::Null,
            |s| json!({"run": s.run.display().to_string(), "step": s.step}),
        ),
    );
    put("family", o.among.name().into());
    put(
        "shape",
        o.designed
            .family
            .map_or(Value::Null, |f| f.to_string().into()),
    );
    put("predicted_loss", o.designed.loss.into());
    put(
        "interval",
        o.interval
            .map_or(Value::Null, |(low, high)| json!([low, high])),
    );
    put(
        "largest_drop",
        o.problem.largest_drop(&o.designed.lrs).into(),
    );
    put("largest_drop_allowed", limits.largest_drop.into());
    head
}

pub(super) fn object(o: &Outcome) -> Value {
    let mut out = head(o);
    let baselines: Vec<Value> = o
        .compared
        .iter()
        .map(|c| {
            let interval = c.half_width.map(|h| [c.difference - h, c.difference + h]);
            json!({
                "spec": c.baseline.family.to_string(),
                "tuned": c.baseline.tuned,
                "predicted": c.baseline.loss,
                "difference": c.difference,
                "interval": interval,
                "within_trust_rule": c.within,
            })
        })
        .collect();
    let v = &o.verdict;
    let mut put = |key: &str, value: Value| out.insert(key.to_string(), value);
    put("trust_rule", o.rule.why.clone().into());
    put("falls_from", o.falls_from().into());
    put("coverage", COVERAGE.into());
    put("baselines", baselines.into());
    put(
        "gain",
        json!({
            "over": trust::rival(&o.compared).baseline.family.to_string(),
            "nats": v.gain,
            "half_width": v.half_width,
            "pair_noise": v.pair_noise,
            "share_of_draws_won": v.wins,
            "believable": v.believable,
            "sentence": v.sentence,
        }),
    );
    put("warnings", o.warnings.clone().into());
    put("fit_notes", o.fit_notes.clone().into());
    put("evaluations", o.designed.evaluations.into());
    put("seconds", o.seconds.into());
    let written = o.written.as_ref();
    put(
        "schedule",
        written.map_or(Value::Null, |p| p.display().to_string().into()),
    );
    Value::Object(out)
}
