//! What `run.toml` says of a run, read leniently: a report does not die of a key that a newer version wrote.

use crate::schedule::{Schedule, ScheduleSpec, Shape, Warmup};
use std::path::Path;
use toml::{Table, Value};

/// More steps than this are not laid out one by one.
pub const MOST_STEPS: u64 = 50_000_000;

/// `None` is what the file does not say.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The file, as it is.
    pub text: String,
    pub lehr_version: Option<String>,
    /// `llama, 4 layers of 128`
    pub model: Option<String>,
    pub parameters: Option<f64>,
    /// Steps of the whole run.
    pub steps: Option<u64>,
    /// Tokens of one sequence of a batch.
    pub sequence_length: Option<u64>,
    pub tokens_per_step: Option<u64>,
    /// FLOPs of one trained token, forward and backward.
    pub flops_per_token: Option<f64>,
    pub seed: Option<i64>,
    pub data: Option<String>,
    pub data_fingerprint: Option<String>,
    /// `cpu, 2 threads, f32`
    pub machine: Option<String>,
    /// The trunk's directory, and the step at which this run left it.
    pub branched_from: Option<(String, u64)>,
    /// As `run.toml` writes it.
    pub scheduler: Option<String>,
    pub schedule: Option<Schedule>,
    /// What could not be made out, one sentence each.
    pub notes: Vec<String>,
}

/// Reads `dir/run.toml`; a run without one has no facts.
pub fn read(dir: &Path) -> Facts {
    let path = dir.join("run.toml");
    let text = match std::fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => {
            let note =
                "run.toml is missing: the schedule and the configuration are not known".into();
            return Facts {
                notes: vec![note],
                ..Facts::default()
            };
        }
    };
    from_text(text)
}

fn from_text(text: String) -> Facts {
    let table: Table = match text.parse() {
        Ok(table) => table,
        Err(e) => {
            let e: toml::de::Error = e;
            let note = format!("run.toml cannot be read: {}", e.message());
            return Facts {
                text,
                notes: vec![note],
                ..Facts::default()
            };
        }
    };
    let get = |section: &str, key: &str| table.get(section)?.get(key);
    let word = |section: &str, key: &str| get(section, key)?.as_str().map(str::to_string);
    let whole = |section: &str, key: &str| {
        let n = get(section, key)?.as_integer()?;
        u64::try_from(n).ok().filter(|n| *n > 0)
    };
    let real = |section: &str, key: &str| match get(section, key)? {
        Value::Float(x) => Some(*x),
        Value::Integer(n) => Some(*n as f64),
        _ => None,
    };
    let mut notes = Vec::new();
    let steps = whole("train", "iterations");
    let tokens_per_step = || {
        let t = |key| whole("train", key);
        t("batch_size")?
            .checked_mul(t("grad_accumulation").unwrap_or(1))?
            .checked_mul(t("sequence_length")?)
    };
    let scheduler = word("schedule", "scheduler");
    let schedule = || -> Option<crate::Result<Schedule>> {
        let (scheduler, steps) = (scheduler.as_ref()?, steps.filter(|s| *s <= MOST_STEPS)?);
        let make = || {
            let shape: Shape = scheduler.parse()?;
            Schedule::new(&ScheduleSpec {
                shape,
                peak_lr: real("schedule", "peak_lr").unwrap_or(f64::NAN),
                warmup: word("schedule", "warmup").unwrap_or("0".into()).parse()?,
                steps,
                tokens_per_step: tokens_per_step(),
                compat: get("schedule", "compat").and_then(Value::as_bool) == Some(true),
            })
        };
        Some(make())
    };
    let schedule = match schedule() {
        Some(Ok(schedule)) => Some(schedule),
        Some(Err(e)) => {
            notes.push(format!(
                "the schedule of run.toml cannot be made ({e}): the learning rates are those logged"
            ));
            None
        }
        None => None,
    };
    let version = word("run", "lehr_version");
    if let Some(v) = version.as_deref().filter(|v| newer(v)) {
        notes.push(format!(
            "the run was written by Lehr {v}, newer than this one ({}): what it does not know is left out",
            env!("CARGO_PKG_VERSION")
        ));
    }
    let (tokens, flops) = (real("run", "tokens"), real("run", "train_flops"));
    let model = word("model", "family").map(|family| {
        let size = whole("model", "n_layer").zip(whole("model", "n_embd"));
        size.map_or(family.clone(), |(layers, width)| {
            format!("{family}, {layers} layers of {width}")
        })
    });
    let machine = word("run", "device").map(|device| {
        let threads = || {
            whole("run", "threads").map(|n| match n {
                1 => "1 thread".to_string(),
                n => format!("{n} threads"),
            })
        };
        let parts = match word("run", "gpu") {
            Some(gpu) => [Some(gpu), None, word("train", "dtype")],
            None => [Some(device), threads(), word("train", "dtype")],
        };
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    });
    let at = get("run", "branched_at").and_then(Value::as_integer);
    Facts {
        model,
        parameters: real("run", "parameters").filter(|p| *p > 0.0),
        sequence_length: whole("train", "sequence_length"),
        tokens_per_step: tokens_per_step(),
        flops_per_token: flops.zip(tokens).map(|(f, t)| f / t).filter(|f| *f > 0.0),
        seed: get("train", "seed").and_then(Value::as_integer),
        data: word("data", "path"),
        data_fingerprint: word("run", "data_fingerprint"),
        machine,
        branched_from: word("run", "branched_from").zip(at.and_then(|at| u64::try_from(at).ok())),
        lehr_version: version,
        steps,
        scheduler,
        schedule,
        notes,
        text,
    }
}

/// The LRs of a file, over the run's steps; `None` where it cannot be read, or the run does not say how long it is.
pub(super) fn table(path: &Path, facts: &Facts) -> Option<Schedule> {
    let spec = ScheduleSpec {
        shape: format!("table:{}", path.display()).parse().ok()?,
        peak_lr: facts.schedule.as_ref().map_or(1.0, Schedule::peak_lr),
        warmup: Warmup::Steps(0),
        steps: facts.steps.filter(|s| *s <= MOST_STEPS)?,
        tokens_per_step: facts.tokens_per_step,
        compat: false,
    };
    Schedule::new(&spec).ok()
}

/// Whether version `v` (`major.minor.patch`) is above this program's.
fn newer(v: &str) -> bool {
    let parts =
        |v: &str| -> Vec<u64> { v.split(['.', '-']).map_while(|p| p.parse().ok()).collect() };
    parts(v) > parts(env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[run]
lehr_version = "99.0.0"
device = "cpu"
threads = 2
parameters = 1000
tokens = 1024
train_flops = 6144000.0
branched_from = "/x"
branched_at = 5
[model]
family = "llama"
n_layer = 4
n_embd = 128
[schedule]
scheduler = "wsd:fraction=0.5"
peak_lr = 0.002
warmup = "2"
[train]
iterations = 16
sequence_length = 8
batch_size = 8
grad_accumulation = 1
seed = 0
a_key_from_tomorrow = true
"#;

    #[test]
    fn what_a_newer_version_wrote_is_read_as_far_as_it_goes() {
        let facts = from_text(TEXT.into());
        assert_eq!(facts.steps, Some(16));
        assert_eq!(
            (facts.tokens_per_step, facts.sequence_length),
            (Some(64), Some(8))
        );
        assert_eq!(facts.flops_per_token, Some(6000.0));
        assert_eq!(facts.model.as_deref(), Some("llama, 4 layers of 128"));
        assert_eq!(facts.branched_from, Some(("/x".into(), 5)));
        assert_eq!(facts.schedule.unwrap().lr(0), 0.001);
        assert!(facts.notes[0].contains("99.0.0"), "{:?}", facts.notes);
    }

    #[test]
    fn what_cannot_be_made_out_is_noted() {
        let facts = from_text(TEXT.replace("wsd:", "moon:"));
        assert!(facts.schedule.is_none() && facts.notes.len() == 2);
        let facts = from_text("[run".into());
        assert!(facts.notes[0].contains("run.toml cannot be read"));
        assert!(read(Path::new("/nowhere")).notes[0].contains("missing"));
    }
}
