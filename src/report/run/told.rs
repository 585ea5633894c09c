//! What the live law told while a run trained: where it would end, that its losses left the law, and what was decided about
//! the rest of its schedule.
//!
//! Read leniently: what a line does not say is NaN or empty, and is not shown.

use super::record::number;
use crate::report::words::thousands;
use serde_json::Value;

/// A forecast of the run's end.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// Completed steps when it was told.
    pub step: u64,
    /// The last of the losses that it knows, in completed steps, from which [`Forecast::cooldown_now`] starts; `step` where
    /// not given.
    pub fitted_to: u64,
    /// The law's name; empty where not given.
    pub law: String,
    /// Whether the law explains the run so far. What one that does not says of cooldowns is left out.
    pub describes: bool,
    /// Held-out loss at the end, nats a token, and its interval; NaN where not given.
    pub loss: f64,
    pub low: f64,
    pub high: f64,
    pub cooldown_now: Vec<CooldownNow>,
    /// Standard deviation of one logged loss around the law, nats; NaN where not given.
    pub noise: f64,
}

/// What the run would end at if it cooled down to 0 from [`Forecast::fitted_to`] on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CooldownNow {
    /// Share of the run, the cooldown included, that it would take.
    pub fraction: f64,
    /// How many steps that is; 0 where not given.
    pub steps: u64,
    /// Held-out loss at its end, nats a token.
    pub loss: f64,
}

/// What is said after the forecast of a law that does not explain the run's losses, as `lehr train` says it.
pub const DOES_NOT_DESCRIBE: &str = "but does not describe the run so far";

impl Forecast {
    pub(super) fn read(step: u64, law: &Value) -> Forecast {
        let of = |key: &str| number(law.get(key));
        let cooldown = |entry: &Value| CooldownNow {
            fraction: number(entry.get("fraction")),
            steps: entry.get("steps").and_then(Value::as_u64).unwrap_or(0),
            loss: number(entry.get("loss")),
        };
        let cooldowns = law.get("cooldown_now").and_then(Value::as_array);
        let cooldowns = cooldowns.into_iter().flatten().map(cooldown);
        let describes = law.get("describes").and_then(Value::as_bool) != Some(false);
        let fitted_to = law.get("fitted_to").and_then(Value::as_u64);
        Forecast {
            step,
            fitted_to: fitted_to.filter(|to| *to <= step).unwrap_or(step),
            describes,
            law: text(law, "name"),
            loss: of("forecast"),
            low: of("low"),
            high: of("high"),
            cooldown_now: cooldowns
                .filter(|c| describes && c.fraction.is_finite() && c.loss.is_finite())
                .collect(),
            noise: of("noise"),
        }
    }

    /// `4.5603 (4.5503 to 4.5703)`
    pub fn words(&self) -> String {
        match self.low.is_finite() && self.high.is_finite() {
            true => format!("{:.4} ({:.4} to {:.4})", self.loss, self.low, self.high),
            false => format!("{:.4}", self.loss),
        }
    }

    /// Whether it is one to hold against the end.
    pub fn speaks(&self) -> bool {
        self.describes && self.loss.is_finite()
    }

    /// The lowest of what cooling down now would end at.
    pub fn best_cooldown(&self) -> Option<&CooldownNow> {
        let all = self.cooldown_now.iter();
        all.min_by(|a, b| a.loss.total_cmp(&b.loss))
    }
}

impl CooldownNow {
    /// `20 %`
    pub fn share(&self) -> String {
        format!("{} %", (self.fraction * 1000.0).round() / 10.0)
    }

    /// `20 % (80 steps)`
    pub fn over(&self) -> String {
        match self.steps {
            0 => self.share(),
            steps => format!("{} ({} steps)", self.share(), thousands(steps)),
        }
    }
}

/// Losses that the law does not explain.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    pub step: u64,
    /// `spike`, `above`, `below`, or what a newer version says.
    pub kind: String,
    /// How far off the law, nats.
    pub nats: f64,
    /// The same in standard deviations of one step's loss.
    pub sigmas: f64,
}

impl Alarm {
    pub(super) fn read(step: u64, alarm: &Value) -> Alarm {
        Alarm {
            step,
            kind: text(alarm, "kind"),
            nats: number(alarm.get("nats")),
            sigmas: number(alarm.get("sigmas")),
        }
    }

    /// On a picture.
    pub fn label(&self) -> String {
        match &self.kind[..] {
            "above" => "above the law".into(),
            "below" => "below the law".into(),
            "" => "alarm".into(),
            other => other.chars().take(16).collect(),
        }
    }

    pub fn sentence(&self) -> String {
        let what = match &self.kind[..] {
            "spike" => "a spike: this step’s loss lies",
            "above" => "divergence, or harder data: the last losses lie",
            "below" => "easier or repeated data: the last losses lie",
            _ => return format!("{}{}", self.label(), self.size(": ", " off the law")),
        };
        let side = match self.kind == "below" {
            true => "below",
            false => "above",
        };
        let size = self.size(" ", "");
        format!("{what}{size} {side} the law{}", self.in_noise())
    }

    /// `0.31 nats`, between `before` and `after`.
    fn size(&self, before: &str, after: &str) -> String {
        match self.nats.is_finite() {
            true => format!("{before}{:.3} nats{after}", self.nats.abs()),
            false => String::new(),
        }
    }

    fn in_noise(&self) -> String {
        match self.sigmas.is_finite() {
            true => format!(", {:.1} σ of one step", self.sigmas.abs()),
            false => String::new(),
        }
    }
}

/// What became of the rest of the schedule at a point where it could be designed anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Completed steps; the LRs from here on were decided.
    pub step: u64,
    /// Whether the schedule stayed as it was; where not told, whether there is no new one.
    pub kept: bool,
    /// Predicted gain of the design, nats; NaN where not given.
    pub gain: f64,
    /// Held-out loss predicted for the end under what was chosen; NaN where not given.
    pub predicted: f64,
    /// Name of the new schedule's file in the run's directory.
    pub schedule: Option<String>,
    /// The reason, as it was written; may be empty.
    pub why: String,
}

impl Decision {
    pub(super) fn read(step: u64, decision: &Value) -> Decision {
        let schedule = Some(text(decision, "schedule")).filter(|name| !name.is_empty());
        let kept = decision.get("kept").and_then(Value::as_bool);
        Decision {
            step,
            kept: kept.unwrap_or(schedule.is_none()),
            gain: number(decision.get("gain")),
            predicted: number(decision.get("predicted")),
            schedule,
            why: text(decision, "why"),
        }
    }

    /// On a picture.
    pub fn label(&self) -> &'static str {
        match self.kept {
            true => "kept",
            false => "redesigned",
        }
    }

    pub fn sentence(&self) -> String {
        let mut said = match self.kept {
            true => "the schedule stays as it was".to_string(),
            false => "the rest of the schedule is designed anew".to_string(),
        };
        if !self.why.is_empty() {
            said += &format!(": {}", self.why.trim_end_matches('.'));
        } else if self.gain.is_finite() {
            said += &format!(": a gain of {:.4} nats", self.gain);
        }
        if self.predicted.is_finite() {
            said += &format!("; predicted end {:.4}", self.predicted);
        }
        said
    }
}

fn text(of: &Value, key: &str) -> String {
    let text = of.get(key).and_then(Value::as_str);
    text.unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_forecast_and_its_cooldowns() {
        let law = json!({"name": "tissue", "fitted_to": 3, "forecast": 2.1, "low": 2, "high": 2.2, "noise": 0.01,
            "cooldown_now": [{"fraction": 0.1, "loss": 2.4}, {"fraction": 0.2, "steps": 80, "loss": 2.3}, {"fraction": 0.3}]});
        let f = Forecast::read(4, &law);
        assert_eq!((f.step, f.fitted_to, f.describes), (4, 3, true));
        assert_eq!(f.words(), "2.1000 (2.0000 to 2.2000)");
        assert_eq!(
            (&f.law[..], f.noise, f.cooldown_now.len()),
            ("tissue", 0.01, 2)
        );
        let best = f.best_cooldown().unwrap();
        assert_eq!(best.over(), "20 % (80 steps)");
        assert_eq!(f.cooldown_now[0].over(), "10 %");
        // A law that does not describe the run says nothing of cooldowns, and none knows more than was measured.
        let mut other = law;
        other["describes"] = json!(false);
        other["fitted_to"] = json!(5);
        let f = Forecast::read(4, &other);
        assert!(!f.describes && !f.speaks() && f.best_cooldown().is_none());
        assert_eq!((f.fitted_to, f.loss), (4, 2.1));
    }

    #[test]
    fn alarms_and_decisions_are_sentences() {
        let alarm = |alarm| Alarm::read(9, &alarm).sentence();
        assert_eq!(
            alarm(json!({"kind": "spike", "nats": 0.31, "sigmas": 8.24})),
            "a spike: this step’s loss lies 0.310 nats above the law, 8.2 σ of one step"
        );
        assert_eq!(
            alarm(json!({"kind": "below", "nats": -0.02})),
            "easier or repeated data: the last losses lie 0.020 nats below the law"
        );
        assert_eq!(
            alarm(json!({"kind": "drift", "nats": 0.5})),
            "drift: 0.500 nats off the law"
        );
        assert_eq!(alarm(json!({})), "alarm");
        let decision = |decision| Decision::read(9, &decision);
        let taken = decision(
            json!({"kept": false, "gain": 0.01, "schedule": "schedule-0009.json", "predicted": 2.5, "why": "It gains."}),
        );
        assert_eq!(
            taken.sentence(),
            "the rest of the schedule is designed anew: It gains; predicted end 2.5000"
        );
        let kept = decision(json!({"gain": 0.01}));
        assert!(kept.kept);
        assert_eq!(
            kept.sentence(),
            "the schedule stays as it was: a gain of 0.0100 nats"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_missing_or_of_another_type_is_not_said(
            key in "name|fitted_to|describes|forecast|low|high|cooldown_now|kind|nats|sigmas|kept|gain|schedule|predicted|why",
            value in prop_oneof![Just(json!(null)), Just(json!([1, {"fraction": "x"}])), Just(json!({})), Just(json!("t")), Just(json!(1e300))],
        ) {
            let line = json!({ key: value });
            let f = Forecast::read(1, &line);
            let said = [Alarm::read(1, &line).sentence(), Decision::read(1, &line).sentence()].concat();
            prop_assert!(!said.contains("NaN") && f.best_cooldown().is_none());
        }
    }
}
