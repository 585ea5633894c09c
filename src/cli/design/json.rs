//! A design as JSON: what is printed, and the head of `schedule.json`.

use super::Outcome;
use crate::fit::COVERAGE;
use serde_json::{Map, Value, json};

/// What `schedule.json` says before its LRs.
pub(super) fn head(o: &Outcome) -> Map<String, Value> {
    let from = o.start.as_ref();
    let from = from.map(|s| json!({"run": s.run.display().to_string(), "step": s.step}));
    o.judged.head(&o.under.named, from.unwrap_or(Value::Null))
}

pub(super) fn object(o: &Outcome) -> Value {
    let mut out = head(o);
    let baselines = o.judged.compared.iter().map(|c| {
        let interval = c.half_width.map(|h| [c.difference - h, c.difference + h]);
        json!({
            "spec": c.baseline.family.to_string(),
            "tuned": c.baseline.tuned,
            "predicted": c.baseline.loss,
            "difference": c.difference,
            "interval": interval,
            "within_trust_rule": c.within,
        })
    });
    let baselines: Vec<Value> = baselines.collect();
    let mut put = |key: &str, value: Value| out.insert(key.to_string(), value);
    put("coverage", COVERAGE.into());
    put("baselines", baselines.into());
    put("fit_notes", o.fit_notes.clone().into());
    put("evaluations", o.judged.designed.evaluations.into());
    put("seconds", o.judged.seconds.into());
    let written = o.written.as_ref();
    put(
        "schedule",
        written.map_or(Value::Null, |p| p.display().to_string().into()),
    );
    Value::Object(out)
}
