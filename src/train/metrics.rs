//! What a run writes down as it goes: `metrics.jsonl`, `curve.csv`, `curve.val.csv`, and where weights
//! are averaged `curve.average.csv`.
//!
//! One line a step, flushed line by line. The loss and the learning rate of a line belong to the
//! same step: the loss was computed on that step's batch before the update, and the learning rate
//! is the one that the update then applied. `step` counts completed steps, so the first line
//! is step 1 and carries `schedule.lr(0)`.

use super::rundir::{AVERAGE_CURVE_FILE, CURVE_FILE, METRICS_FILE, RunDir, VAL_CURVE_FILE};
use crate::error::{Error, Result};
use crate::files;
use crate::forecast::{Alarm, CooldownNow, Decision, Fitted};
use serde::Serialize;
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// One trained step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRecord {
    /// Completed steps, this one included.
    pub step: u64,
    /// The learning rate that this step applied.
    pub lr: f64,
    /// Mean cross-entropy over all tokens of the step, in nats; `null` in JSON when not finite.
    pub loss: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// Tokens trained on since step 0.
    pub tokens: u64,
    /// Whether the update was left out because loss or gradient was not finite.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
    /// Tokens of the step over the wall time since the step before it ended: waiting for the
    /// batch counts, evaluation, samples and checkpoints do not.
    pub tokens_per_second: f64,
}

/// One held-out evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvalRecord {
    pub step: u64,
    /// Mean cross-entropy over all targets of the fixed held-out windows, in nats a token.
    pub val_loss: f64,
    /// The same nats in bits over the UTF-8 bytes of those targets; absent when the tokenizer is
    /// not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_bits_per_byte: Option<f64>,
    pub val_tokens: u64,
}

/// Which average of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AverageKind {
    /// The last finished window.
    Window,
    /// The mean of the last windows, of as many as give the least loss.
    Sweep,
    /// The exponential moving average.
    Ema,
}

impl AverageKind {
    /// What its loss is called beside `val_loss`, as schedules-and-scaling calls it.
    fn loss_key(self) -> &'static str {
        match self {
            AverageKind::Window => "val_loss_wa",
            AverageKind::Sweep => "best_val_loss_wa",
            AverageKind::Ema => "val_loss_ema",
        }
    }
}

/// The held-out loss of an average of weights, on the windows of [`EvalRecord`].
#[derive(Clone, Debug, PartialEq)]
pub struct AverageRecord {
    /// Completed steps of the run when it was evaluated.
    pub step: u64,
    pub average: AverageKind,
    /// As [`EvalRecord::val_loss`]; `val_loss_wa`, `best_val_loss_wa` or `val_loss_ema` in files.
    pub val_loss: f64,
    pub val_bits_per_byte: Option<f64>,
    /// Windows that it is the mean of; 0 of a moving average.
    pub windows: u64,
    /// The first and the last step that it covers; of a moving average the completed steps when it
    /// began, and at its last update.
    pub from: u64,
    pub to: u64,
}

impl AverageRecord {
    /// A line of `metrics.jsonl`. Its loss is not called `val_loss`: that is the run's own.
    fn line(&self) -> serde_json::Value {
        let mut line = json!({
            "step": self.step,
            "average": self.average,
            (self.average.loss_key()): self.val_loss,
        });
        if let Some(bits) = self.val_bits_per_byte {
            let key = self.average.loss_key().replace("loss", "bits_per_byte");
            line[key] = bits.into();
        }
        if self.windows > 0 {
            line["windows"] = self.windows.into();
        }
        line["from"] = self.from.into();
        line["to"] = self.to.into();
        line
    }
}

/// What the law says at an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ForecastRecord {
    /// Completed steps when it was told; it knows losses up to `law.fitted_to`.
    pub step: u64,
    pub law: Forecast,
}

/// The part of a [`Fitted`] that is for people to read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forecast {
    pub name: String,
    pub fitted_to: u64,
    /// Predicted held-out loss at the end of the run, nats a token, and its 90 % interval.
    pub forecast: f64,
    pub low: f64,
    pub high: f64,
    /// Standard deviation of a held-out loss about the law.
    pub noise: f64,
    /// Whether the law explains this run's losses.
    pub describes: bool,
    pub cooldown_now: Vec<CooldownNow>,
}

impl ForecastRecord {
    pub fn new(step: u64, fitted: &Fitted) -> ForecastRecord {
        ForecastRecord {
            step,
            law: Forecast {
                name: fitted.law.clone(),
                fitted_to: fitted.fitted_to,
                forecast: fitted.forecast,
                low: fitted.low,
                high: fitted.high,
                noise: fitted.noise,
                describes: fitted.describes,
                cooldown_now: fitted.cooldown_now.clone(),
            },
        }
    }
}

/// Text drawn from the model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SampleRecord {
    pub step: u64,
    pub prompt: String,
    pub sample: String,
}

/// The files, open for appending.
pub struct Metrics {
    jsonl: LogFile,
    curve: LogFile,
    val_curve: LogFile,
    /// Opened when there is something to put in.
    average_curve: Option<LogFile>,
    average_path: PathBuf,
}

struct LogFile {
    path: PathBuf,
    file: File,
}

const CURVE_HEADER: &str = "step,lr,loss";
const VAL_CURVE_HEADER: &str = "step,loss,bits_per_byte";
const AVERAGE_CURVE_HEADER: &str = "step,val_loss_wa,best_val_loss_wa,best_wa_windows,val_loss_ema";

impl Metrics {
    /// Opens the files of a run and drops every line after `step`: what a killed process logged
    /// beyond its last checkpoint will be trained, and logged, again.
    pub fn open(run: &RunDir, step: u64) -> Result<Metrics> {
        let open = |name: &str, header| LogFile::open(run.join(name), step, header);
        let average_path = run.join(AVERAGE_CURVE_FILE);
        let average_curve = match average_path.exists() {
            true => Some(open(AVERAGE_CURVE_FILE, Some(AVERAGE_CURVE_HEADER))?),
            false => None,
        };
        Ok(Metrics {
            average_curve,
            average_path,
            jsonl: open(METRICS_FILE, None)?,
            curve: open(CURVE_FILE, Some(CURVE_HEADER))?,
            val_curve: open(VAL_CURVE_FILE, Some(VAL_CURVE_HEADER))?,
        })
    }

    /// Logs a step. In the curve an update that was left out has the learning rate that was
    /// applied, 0.
    pub fn step(&mut self, record: &StepRecord) -> Result<()> {
        self.jsonl.json(record)?;
        let StepRecord { step, loss, .. } = record;
        let lr = if record.skipped { 0.0 } else { record.lr };
        self.curve.line(&format!("{step},{lr},{loss}"))
    }

    /// Logs an evaluation.
    pub fn eval(&mut self, record: &EvalRecord) -> Result<()> {
        self.jsonl.json(record)?;
        let bits = record
            .val_bits_per_byte
            .map_or(String::new(), |b| b.to_string());
        self.val_curve
            .line(&format!("{},{},{bits}", record.step, record.val_loss))
    }

    /// Logs the averages of one evaluation.
    pub fn averages(&mut self, records: &[AverageRecord]) -> Result<()> {
        let Some(first) = records.first() else {
            return Ok(());
        };
        for record in records {
            self.jsonl.json(&record.line())?;
        }
        let of = |kind| records.iter().find(|r| r.average == kind);
        let loss = |kind| of(kind).map_or(String::new(), |r| r.val_loss.to_string());
        let windows = of(AverageKind::Sweep).map_or(String::new(), |r| r.windows.to_string());
        let line = format!(
            "{},{},{},{windows},{}",
            first.step,
            loss(AverageKind::Window),
            loss(AverageKind::Sweep),
            loss(AverageKind::Ema)
        );
        let curve = match &mut self.average_curve {
            Some(curve) => curve,
            none => {
                let path = self.average_path.clone();
                none.insert(LogFile::open(path, 0, Some(AVERAGE_CURVE_HEADER))?)
            }
        };
        curve.line(&line)
    }

    /// Logs a forecast.
    pub fn forecast(&mut self, record: &ForecastRecord) -> Result<()> {
        self.jsonl.json(record)
    }

    /// Logs a departure from the law.
    pub fn alarm(&mut self, alarm: &Alarm) -> Result<()> {
        self.jsonl
            .json(&json!({ "step": alarm.step, "alarm": alarm }))
    }

    /// Logs what became of the schedule at a step.
    pub fn decision(&mut self, step: u64, decision: &Decision) -> Result<()> {
        self.jsonl
            .json(&json!({ "step": step, "decision": decision }))
    }

    /// Logs that the run ends after a step short of its last, and why.
    pub fn stopped(&mut self, step: u64, why: &str) -> Result<()> {
        self.jsonl.json(&json!({ "step": step, "stopped": why }))
    }

    /// Logs a sample.
    pub fn sample(&mut self, record: &SampleRecord) -> Result<()> {
        self.jsonl.json(record)
    }

    /// Waits until everything logged is on the disk: a checkpoint must not be newer than its log.
    pub fn sync(&self) -> Result<()> {
        let always = [&self.jsonl, &self.curve, &self.val_curve];
        for log in always.into_iter().chain(&self.average_curve) {
            log.file
                .sync_data()
                .map_err(|e| Error::io("write", &log.path, e))?;
        }
        Ok(())
    }
}

impl LogFile {
    /// Opens a log for appending, cut back to `step`.
    fn open(path: PathBuf, step: u64, header: Option<&str>) -> Result<LogFile> {
        keep_until(&path, step, header)?;
        let file = File::options()
            .append(true)
            .open(&path)
            .map_err(|e| Error::io("open", &path, e))?;
        Ok(LogFile { path, file })
    }

    fn json(&mut self, record: &impl Serialize) -> Result<()> {
        self.line(&serde_json::to_string(record).map_err(Error::backend)?)
    }

    /// One `write` a line, so that a kill leaves at most one partial line at the very end.
    fn line(&mut self, line: &str) -> Result<()> {
        self.file
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|e| Error::io("write", &self.path, e))
    }
}

/// Rewrites a log so that it holds its header and the lines up to and including `step`.
///
/// A line counts only if its end was written: the last one may be torn, in the middle of a number
/// or of a character.
fn keep_until(path: &Path, step: u64, header: Option<&str>) -> Result<()> {
    let mut kept = Vec::new();
    if let Some(header) = header {
        kept.extend_from_slice(header.as_bytes());
        kept.push(b'\n');
    }
    if path.exists() {
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            if line_step(line, header).is_some_and(|s| s <= step) {
                kept.extend_from_slice(line);
            }
        }
    }
    files::write(path, &kept)
}

/// The step of a whole line; `None` for a header or a torn line. `header` is the CSV's, `None` for
/// JSON lines.
fn line_step(line: &[u8], header: Option<&str>) -> Option<u64> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let Some(header) = header else {
        let json: serde_json::Value = serde_json::from_str(line).ok()?;
        return json["step"].as_u64();
    };
    let whole = line.split(',').count() == header.split(',').count();
    line.split(',').next().filter(|_| whole)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(step: u64) -> StepRecord {
        StepRecord {
            step,
            lr: 1e-3 / step as f64,
            loss: 0.1 + step as f64,
            grad_norm: 1.0,
            tokens: 10 * step,
            skipped: false,
            tokens_per_second: 5.0,
        }
    }

    #[test]
    fn a_torn_log_is_cut_back_to_the_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path()).unwrap();
        let mut m = Metrics::open(&run, 0).unwrap();
        for step in 1..=5 {
            m.step(&record(step)).unwrap();
        }
        let eval = EvalRecord {
            step: 3,
            val_loss: 2.5,
            val_bits_per_byte: None,
            val_tokens: 7,
        };
        m.eval(&eval).unwrap();
        drop(m);
        let path = run.join(METRICS_FILE);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text += "{\"step\":2,\"sample\":\"caf";
        let mut torn = text.into_bytes();
        torn.push(0xC3); // the first half of é
        std::fs::write(&path, torn).unwrap();
        let curve = run.join(CURVE_FILE);
        let text = std::fs::read_to_string(&curve).unwrap();
        std::fs::write(&curve, text + "3").unwrap(); // of 31,…

        let mut m = Metrics::open(&run, 3).unwrap();
        m.step(&record(4)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let steps: Vec<_> = text
            .split_inclusive('\n')
            .map(|l| line_step(l.as_bytes(), None).unwrap())
            .collect();
        assert_eq!(steps, [1, 2, 3, 3, 4]);
        let curve = std::fs::read_to_string(run.join(CURVE_FILE)).unwrap();
        assert_eq!(curve.lines().count(), 5);
        assert_eq!(curve.lines().nth(4).unwrap(), "4,0.00025,4.1");
        let val = std::fs::read_to_string(run.join(VAL_CURVE_FILE)).unwrap();
        assert_eq!(val, "step,loss,bits_per_byte\n3,2.5,\n");
    }

    #[test]
    fn averages_have_names_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path()).unwrap();
        let mut m = Metrics::open(&run, 0).unwrap();
        m.averages(&[]).unwrap();
        assert!(!run.join(AVERAGE_CURVE_FILE).exists());
        let window = AverageRecord {
            step: 8,
            average: AverageKind::Window,
            val_loss: 2.5,
            val_bits_per_byte: Some(0.5),
            windows: 1,
            from: 1,
            to: 5,
        };
        let ema = AverageRecord {
            average: AverageKind::Ema,
            val_loss: f64::NAN,
            val_bits_per_byte: None,
            windows: 0,
            ..window.clone()
        };
        m.averages(std::slice::from_ref(&window)).unwrap();
        m.averages(&[window, AverageRecord { step: 9, ..ema }])
            .unwrap();
        drop(Metrics::open(&run, 8).unwrap());
        let text = std::fs::read_to_string(run.join(METRICS_FILE)).unwrap();
        let line = r#"{"step":8,"average":"window","val_loss_wa":2.5,"val_bits_per_byte_wa":0.5,"windows":1,"from":1,"to":5}"#;
        assert_eq!(text.lines().collect::<Vec<_>>(), [line, line]);
        let curve = std::fs::read_to_string(run.join(AVERAGE_CURVE_FILE)).unwrap();
        assert_eq!(
            curve,
            format!("{AVERAGE_CURVE_HEADER}\n8,2.5,,,\n8,2.5,,,NaN\n")
        );
    }

    #[test]
    fn a_loss_that_is_not_finite_stays_json() {
        let mut r = record(1);
        r.loss = f64::NAN;
        let text = serde_json::to_string(&r).unwrap();
        assert!(text.contains("\"loss\":null"), "{text}");
    }
}
