//! One line of `metrics.jsonl`, as a reader of logs takes it.

use super::config::MOST_STEPS;
use super::told::{Alarm, Decision, Forecast};
use serde_json::{Map, Value};

/// A trained step. What a line does not say, or says as `null`, is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Completed steps, this one included.
    pub step: u64,
    /// LR that the step asked for; see [`Step::applied`].
    pub lr: f64,
    /// Loss of the batch before the update, nats a token.
    pub loss: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// Tokens since step 0; 0 where the log does not say.
    pub tokens: u64,
    pub tokens_per_second: f64,
    /// Whether the update was left out because something was not finite.
    pub skipped: bool,
}

/// A held-out evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Eval {
    pub step: u64,
    /// Nats a token.
    pub loss: f64,
    pub bits_per_byte: Option<f64>,
}

/// Which average of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Window,
    Best,
    Moving,
}

/// The held-out loss of an average of weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Average {
    pub step: u64,
    pub kind: Kind,
    /// Nats a token, on the windows of [`Eval`].
    pub loss: f64,
    /// Windows that it is the mean of; 0 where the log does not say.
    pub windows: u64,
}

/// Text drawn from the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub step: u64,
    pub prompt: String,
    pub text: String,
}

/// A run ended here by a condition of its own, short of its last step.
#[derive(Clone, Debug, PartialEq)]
pub struct Stop {
    pub step: u64,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    Step(Step),
    Eval(Eval),
    Average(Average),
    Sample(Sample),
    Forecast(Forecast),
    Alarm(Alarm),
    Decision(Decision),
    Stop(Stop),
    /// A whole object of a kind that this version does not know.
    Unknown,
}

/// # Errors
/// What is wrong with the line, as the end of a sentence.
pub fn parse(line: &[u8]) -> Result<Record, &'static str> {
    let line: Map<String, Value> =
        serde_json::from_slice(line).map_err(|_| "it is not a JSON object")?;
    let step = line.get("step").and_then(Value::as_u64);
    let step = step.ok_or("it does not say its step")?;
    // Whoever lays a run out step by step trusts this.
    if step > MOST_STEPS {
        return Err("its step is beyond any run's");
    }
    let has = |key: &str| line.contains_key(key);
    let number = |key: &str| number(line.get(key));
    let text = |key: &str| line.get(key).and_then(Value::as_str).map(str::to_string);
    if let Some(law) = line.get("law") {
        return Ok(Record::Forecast(Forecast::read(step, law)));
    }
    if let Some(alarm) = line.get("alarm") {
        return Ok(Record::Alarm(Alarm::read(step, alarm)));
    }
    if let Some(decision) = line.get("decision") {
        return Ok(Record::Decision(Decision::read(step, decision)));
    }
    if let Some(why) = text("stopped") {
        return Ok(Record::Stop(Stop { step, why }));
    }
    if let Some(kind) = line.get("average") {
        let (kind, key) = match kind.as_str() {
            Some("window") => (Kind::Window, "val_loss_wa"),
            Some("sweep") => (Kind::Best, "best_val_loss_wa"),
            Some("ema") => (Kind::Moving, "val_loss_ema"),
            _ => return Ok(Record::Unknown),
        };
        return Ok(Record::Average(Average {
            step,
            kind,
            loss: number(key),
            windows: line.get("windows").and_then(Value::as_u64).unwrap_or(0),
        }));
    }
    if has("val_loss") {
        return Ok(Record::Eval(Eval {
            step,
            loss: number("val_loss"),
            bits_per_byte: line.get("val_bits_per_byte").and_then(Value::as_f64),
        }));
    }
    if let Some(sample) = text("sample") {
        return Ok(Record::Sample(Sample {
            step,
            prompt: text("prompt").unwrap_or_default(),
            text: sample,
        }));
    }
    if !has("loss") {
        return Ok(Record::Unknown);
    }
    Ok(Record::Step(Step {
        step,
        lr: number("lr"),
        loss: number("loss"),
        grad_norm: number("grad_norm"),
        tokens: line.get("tokens").and_then(Value::as_u64).unwrap_or(0),
        tokens_per_second: number("tokens_per_second"),
        skipped: line.get("skipped").and_then(Value::as_bool) == Some(true),
    }))
}

/// NaN for what is not there or no number.
pub(super) fn number(value: Option<&Value>) -> f64 {
    value.and_then(Value::as_f64).unwrap_or(f64::NAN)
}

impl Step {
    /// The LR that the update was made with: 0 where it was left out.
    pub fn applied(&self) -> f64 {
        if self.skipped { 0.0 } else { self.lr }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line() {
        let step =
            parse(br#"{"step":3,"lr":0.001,"loss":null,"grad_norm":2,"tokens":30,"skipped":true}"#);
        let Ok(Record::Step(step)) = step else {
            panic!("{step:?}");
        };
        assert!(step.loss.is_nan() && step.skipped && step.applied() == 0.0);
        assert!(step.tokens_per_second.is_nan());
        let eval = parse(br#"{"step":3,"val_loss":2.5,"val_tokens":7}"#).unwrap();
        assert!(matches!(eval, Record::Eval(e) if e.loss == 2.5 && e.bits_per_byte.is_none()));
        let average = parse(br#"{"step":3,"average":"sweep","best_val_loss_wa":2.4,"windows":2}"#);
        assert!(
            matches!(average, Ok(Record::Average(a)) if a.kind == Kind::Best && a.loss == 2.4 && a.windows == 2)
        );
        let sample = parse(br#"{"step":3,"prompt":"a","sample":"b"}"#).unwrap();
        assert!(matches!(sample, Record::Sample(s) if s.prompt == "a" && s.text == "b"));
        let told = [
            r#"{"step":3,"law":{"forecast":2.1}}"#,
            r#"{"step":3,"alarm":{"kind":"spike"}}"#,
            r#"{"step":3,"decision":{"kept":true}}"#,
            r#"{"step":3,"stopped":"it will not do"}"#,
        ];
        let told = told.map(|line| parse(line.as_bytes()).unwrap());
        assert!(matches!(
            told,
            [
                Record::Forecast(_),
                Record::Alarm(_),
                Record::Decision(_),
                Record::Stop(_)
            ]
        ));
    }

    #[test]
    fn what_is_new_is_passed_over_and_what_is_damaged_is_told() {
        assert_eq!(
            parse(br#"{"step":3,"weather":"fine"}"#),
            Ok(Record::Unknown)
        );
        assert_eq!(
            parse(br#"{"step":3,"average":"median"}"#),
            Ok(Record::Unknown)
        );
        assert!(parse(br#"{"step":3,"loss":"#).is_err());
        assert!(parse(b"[1]").is_err());
        assert!(parse(br#"{"loss":1}"#).is_err());
        for step in [MOST_STEPS + 1, u64::MAX] {
            assert!(parse(format!("{{\"step\":{step},\"loss\":1}}").as_bytes()).is_err());
        }
        assert!(parse(format!("{{\"step\":{MOST_STEPS},\"loss\":1}}").as_bytes()).is_ok());
        assert!(parse(&[0xff, 0xfe]).is_err());
    }
}
