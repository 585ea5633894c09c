//! Gradient norms G_t: assumed, in closed form, from a file, or as a run logged them.

use crate::error::{Error, Result};
use crate::schedule::count;
use crate::schedule::keys::Keys;
use std::collections::BTreeMap;
use std::path::Path;

/// Where the norms come from. Steps count from 1 here, as in the papers.
#[derive(Clone, Debug, PartialEq)]
pub enum GradNorms {
    /// The same at every step.
    Constant(f64),
    /// `G1·e^{A1·t} + G2·t^{A2} + B`, the form of the reference package.
    Parametric {
        g1: f64,
        a1: f64,
        g2: f64,
        a2: f64,
        b: f64,
    },
    /// One a step, from a file or a run, whose `lost` logged norms were 0 or not finite and are made up from those around
    /// them.
    Table {
        values: Vec<f64>,
        source: String,
        lost: usize,
    },
}

impl GradNorms {
    /// Reads `1.5`, `param:g1=…,a1=…,g2=…,a2=…,b=…`, `table:FILE` or `run:DIR`.
    ///
    /// A table is one norm a line, or columns of which one is called `grad_norm`, or a JSON list. Where a column is called
    /// `step`, its steps rise, from 1 (or from 0, where the first is that), and norms between them are interpolated. A run's
    /// norms are those in its `metrics.jsonl`, taken before clipping; between logged steps they are interpolated too.
    ///
    /// # Errors
    /// Text of another form, a file that cannot be read or does not hold norms, a norm that is not positive.
    pub fn parse(text: &str) -> Result<GradNorms> {
        let text = text.trim();
        if let Some(file) = text.strip_prefix("table:") {
            return table(Path::new(file.trim()));
        }
        if let Some(dir) = text.strip_prefix("run:") {
            return run(Path::new(dir.trim()));
        }
        if let Some(tail) = text.strip_prefix("param:") {
            return parametric(tail);
        }
        match text.parse::<f64>() {
            Ok(norm) if usable(norm) => Ok(GradNorms::Constant(norm)),
            _ => Err(Error::input(format!(
                "--grad-norm '{text}': write a positive number, param:g1=1,a1=-0.01,b=0.5, table:FILE or run:DIR"
            ))),
        }
    }

    /// G_t of the first `steps` steps.
    ///
    /// # Errors
    /// A table that is shorter, a form whose value is not a positive number at some step.
    pub fn over(&self, steps: usize) -> Result<Vec<f64>> {
        match self {
            GradNorms::Constant(norm) => Ok(vec![*norm; steps]),
            GradNorms::Table { values, source, .. } => match values.get(..steps) {
                Some(values) => Ok(values.to_vec()),
                None => Err(Error::input(format!(
                    "{source} holds the gradient norms of {} steps, and {} are asked about; \
                     shorten the horizon or lengthen the table",
                    count(values.len() as u64),
                    count(steps as u64)
                ))),
            },
            GradNorms::Parametric { g1, a1, g2, a2, b } => (1..=steps)
                .map(|step| {
                    let t = step as f64;
                    // A factor of 0 leaves a part out, wherever the part itself overflows.
                    let part = |factor: f64, value: f64| match factor {
                        0.0 => 0.0,
                        _ => factor * value,
                    };
                    let norm = part(*g1, (a1 * t).exp()) + part(*g2, t.powf(*a2)) + b;
                    match usable(norm) {
                        true => Ok(norm),
                        false => Err(Error::input(format!(
                            "--grad-norm param: the norm at step {} is {norm}, and must be a positive number",
                            count(step as u64)
                        ))),
                    }
                })
                .collect(),
        }
    }

    /// What of the norms is made up, as a sentence.
    pub fn note(&self) -> Option<String> {
        match self {
            GradNorms::Table { source, lost, .. } if *lost > 0 => Some(format!(
                "{} 0 or not finite in {source}, and interpolated",
                match lost {
                    1 => "1 gradient norm is".to_string(),
                    n => format!("{} gradient norms are", count(*n as u64)),
                }
            )),
            _ => None,
        }
    }

    /// `G = 1`
    pub fn describe(&self) -> String {
        match self {
            GradNorms::Constant(norm) => format!("G = {norm}"),
            GradNorms::Table { source, .. } => format!("G from {source}"),
            GradNorms::Parametric { g1, a1, g2, a2, b } => {
                let mut parts = Vec::new();
                if *g1 != 0.0 {
                    parts.push(format!("{g1}·e^({a1}·t)"));
                }
                if *g2 != 0.0 {
                    parts.push(format!("{g2}·t^({a2})"));
                }
                if *b != 0.0 {
                    parts.push(b.to_string());
                }
                format!("G = {}", parts.join(" + "))
            }
        }
    }
}

/// The square must be a normal number too.
fn usable(norm: f64) -> bool {
    (1e-100..1e100).contains(&norm)
}

fn parametric(tail: &str) -> Result<GradNorms> {
    let mut keys = Keys::parse("param", tail)?;
    let mut take = |name: &'static str| -> Result<f64> {
        let value = keys.take_parsed(&[name], "a number")?;
        Ok(value.unwrap_or(0.0))
    };
    let norms = GradNorms::Parametric {
        g1: take("g1")?,
        a1: take("a1")?,
        g2: take("g2")?,
        a2: take("a2")?,
        b: take("b")?,
    };
    keys.finish()?;
    norms.over(1)?;
    Ok(norms)
}

fn checked(norm: f64, place: impl Fn() -> String) -> Result<f64> {
    match usable(norm) {
        true => Ok(norm),
        false => Err(Error::input(format!(
            "{}: a gradient norm must be a positive number, not {norm}",
            place()
        ))),
    }
}

fn table(path: &Path) -> Result<GradNorms> {
    let text =
        std::fs::read_to_string(path).map_err(|e| Error::io("read the gradient norms", path, e))?;
    let source = path.display().to_string();
    let values = if text.trim_start().starts_with('[') {
        let values: Vec<f64> = serde_json::from_str(&text).map_err(|e| {
            Error::input(format!(
                "{source} is not a JSON list of gradient norms: {e}"
            ))
        })?;
        let one = |(step, norm)| checked(norm, || format!("{source}, entry {step}"));
        (1..).zip(values).map(one).collect::<Result<Vec<f64>>>()?
    } else {
        lines(&text, &source)?
    };
    if values.is_empty() {
        return Err(Error::input(format!("{source} holds no gradient norm")));
    }
    Ok(GradNorms::Table {
        values,
        source,
        lost: 0,
    })
}

/// Where a table's first line puts things.
#[derive(Clone, Copy)]
struct Columns {
    norm: usize,
    step: Option<usize>,
}

fn lines(text: &str, source: &str) -> Result<Vec<f64>> {
    let mut columns: Option<Columns> = None;
    let mut values = Vec::new();
    let mut steps: Vec<u64> = Vec::new();
    let rows = (1..)
        .zip(text.lines().map(str::trim))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    for (number, line) in rows {
        let fields: Vec<&str> = line.split([',', '\t']).map(str::trim).collect();
        let columns = match columns {
            Some(columns) => columns,
            None => {
                let of = |name: &str| fields.iter().position(|f| *f == name);
                let named = of("grad_norm");
                let norm = match (named, fields.len()) {
                    (Some(named), _) => named,
                    (None, 1) => 0,
                    (None, _) => {
                        return Err(Error::input(format!(
                            "{source}: its columns need a header, of which one is grad_norm"
                        )));
                    }
                };
                let step = of("step").filter(|_| named.is_some());
                let found = *columns.insert(Columns { norm, step });
                if named.is_some() {
                    continue;
                }
                found
            }
        };
        let field = |at: usize| fields.get(at).copied().unwrap_or("");
        let wrong = |what: &str| Error::input(format!("{source}, line {number}: {what}"));
        let text = field(columns.norm);
        let norm = text
            .parse()
            .map_err(|_| wrong(&format!("'{text}' is not a number")))?;
        values.push(checked(norm, || format!("{source}, line {number}"))?);
        if let Some(at) = columns.step {
            let text = field(at);
            let step: u64 = text
                .parse()
                .map_err(|_| wrong(&format!("'{text}' is not a step")))?;
            if let Some(before) = steps.last().filter(|before| **before >= step) {
                return Err(wrong(&format!(
                    "step {} follows step {}, but steps must rise",
                    count(step),
                    count(*before)
                )));
            }
            steps.push(step);
        }
    }
    match steps.first() {
        None => Ok(values),
        Some(first) => {
            // Counted from 0: the first step is 1 here.
            let shift = u64::from(*first == 0);
            let steps = steps.iter().map(|step| step.saturating_add(shift));
            every_step(steps.zip(values), source)
        }
    }
}

/// The norms of all steps from 1 to the last one known: straight lines between steps that rise, and before the first its
/// norm. Steps count from 1.
fn every_step(known: impl Iterator<Item = (u64, f64)>, source: &str) -> Result<Vec<f64>> {
    let mut values: Vec<f64> = Vec::new();
    for (step, norm) in known {
        if step > MOST_STEPS as u64 {
            return Err(Error::input(format!(
                "{source}: step {} is beyond what can be read",
                count(step)
            )));
        }
        let (from, low) = (values.len(), values.last().copied().unwrap_or(norm));
        let gap = step as usize - from;
        values.extend((1..gap).map(|i| low + (norm - low) * i as f64 / gap as f64));
        values.push(norm);
    }
    Ok(values)
}

/// What `metrics.jsonl` of a run directory says; the last word counts where a step was trained twice.
fn run(dir: &Path) -> Result<GradNorms> {
    let path = match dir.is_dir() {
        true => dir.join("metrics.jsonl"),
        false => dir.to_path_buf(),
    };
    let text = std::fs::read_to_string(&path)
        .map_err(|e| Error::io("read the gradient norms of the run", &path, e))?;
    let mut logged: BTreeMap<u64, Option<f64>> = BTreeMap::new();
    for line in text.lines() {
        // A run that was killed may end in half a line; other records have no norm.
        let Ok(record) = serde_json::from_str::<serde_json::Value>(line) else {
            continue;
        };
        let step = record["step"].as_u64().filter(|step| *step > 0);
        if let (Some(step), Some(norm)) = (step, record.get("grad_norm")) {
            logged.insert(step, norm.as_f64().filter(|norm| usable(*norm)));
        }
    }
    let source = path.display().to_string();
    let known = logged
        .iter()
        .filter_map(|(step, norm)| Some((*step, (*norm)?)));
    let values = every_step(known, &source)?;
    if values.is_empty() {
        return Err(Error::input(format!(
            "{source} logs no gradient norm; every line needs step and grad_norm"
        )));
    }
    // Behind the last one known there is nothing to make up.
    let within = logged.range(..=values.len() as u64);
    let lost = within.filter(|(_, norm)| norm.is_none()).count();
    Ok(GradNorms::Table {
        values,
        source,
        lost,
    })
}

/// A longer table would fill the memory.
const MOST_STEPS: usize = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(
            GradNorms::parse("2.5").unwrap().over(2).unwrap(),
            [2.5, 2.5]
        );
        let norms = GradNorms::parse("param:g1=2,a1=-0.5,g2=3,a2=-1,b=0.25").unwrap();
        let values = norms.over(2).unwrap();
        let want = |t: f64| 2.0 * (-0.5 * t).exp() + 3.0 / t + 0.25;
        assert!((values[0] - want(1.0)).abs() < 1e-15 && (values[1] - want(2.0)).abs() < 1e-15);
        assert_eq!(norms.describe(), "G = 2·e^(-0.5·t) + 3·t^(-1) + 0.25");
        for bad in [
            "",
            "-1",
            "nan",
            "param:b=0",
            "param:c=1",
            "param:b=x",
            "table:",
            "run:/nowhere",
        ] {
            assert!(GradNorms::parse(bad).is_err(), "{bad}");
        }
        let error = GradNorms::parse("param:g1=1,a1=1")
            .unwrap()
            .over(500)
            .unwrap_err();
        assert!(error.to_string().contains("at step 231"), "{error}");
    }

    #[test]
    fn tables_and_runs() {
        let dir = tempfile::tempdir().unwrap();
        let read = |kind: &str, name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            GradNorms::parse(&format!("{kind}:{}", path.display()))
        };
        for text in [
            "# norms\n1\n0.5\n",
            "step,grad_norm\n1,1\n2,0.5\n",
            "[1, 0.5]",
        ] {
            let norms = read("table", "t", text).unwrap();
            assert_eq!(norms.over(2).unwrap(), [1.0, 0.5], "{text}");
            assert!(
                norms
                    .over(3)
                    .unwrap_err()
                    .to_string()
                    .contains("2 steps, and 3")
            );
        }
        let norms = read("table", "t", "grad_norm,step\n1,2\n2,4\n").unwrap();
        assert_eq!(norms.over(4).unwrap(), [1.0, 1.0, 1.5, 2.0]);
        let norms = read("table", "t", "step,grad_norm\n0,1\n2,2\n").unwrap();
        assert_eq!(norms.over(3).unwrap(), [1.0, 1.5, 2.0]);
        for (text, part) in [
            (
                "step,grad_norm\n1,1\n1,2\n",
                "line 3: step 1 follows step 1",
            ),
            ("step,grad_norm\nx,1\n", "'x' is not a step"),
            ("step,grad_norm\n900000000,1\n", "beyond"),
            ("", "no gradient norm"),
            ("1\nx\n", "line 2"),
            ("1\n-1\n", "line 2"),
            ("1,2\n", "grad_norm"),
            ("[1, 0]", "entry 2"),
            ("[1,", "JSON"),
        ] {
            let error = read("table", "t", text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        let log = "{\"step\":1,\"grad_norm\":1.0}\n{\"step\":1,\"val_loss\":3}\n{\"step\":2,\"grad_norm\":null}\n\
                   {\"step\":3,\"grad_norm\":2.0}\n{\"step\":3,\"grad_norm\":3.0}\n{\"st";
        let norms = read("run", "metrics.jsonl", log).unwrap();
        assert_eq!(norms.over(3).unwrap(), [1.0, 2.0, 3.0]);
        let note = norms.note().unwrap();
        assert!(
            note.starts_with("1 gradient norm is 0 or not finite in"),
            "{note}"
        );
        assert_eq!(GradNorms::Constant(1.0).note(), None);
        let of_dir = GradNorms::parse(&format!("run:{}", dir.path().display())).unwrap();
        assert_eq!(of_dir, norms);
        assert!(read("run", "metrics.jsonl", "{}\n").is_err());
    }
}
