//! `table:FILE`: the LR of every step from a file, as a law designed it or another run logged it.
//!
//! The LRs are absolute and include warm-up; nothing is scaled. Four ways to write them:
//! - CSV with a column `lr` (or `learning_rate`); with a column `step` too, the steps must follow one another;
//! - one LR a line;
//! - JSON `{"lr": [1e-4, 2e-4, …]}`, other keys ignored, or the bare list;
//! - JSON `{"knots": [[0, 1e-4], [100, 1e-3], [999, 0]]}`: straight lines between (step, LR)
//!   pairs, the first at step 0.
//!
//! Lines that are empty or start with `#` are skipped. A table may be longer than the run, which
//! then uses its beginning; a shorter one is an error, and so is a first LR of 0, which would
//! spend a step on nothing. What `lehr design` wrote (an object with the key `lehr_design`) is for a
//! run of just its length, since without its end it is no design.

use super::describe::count;
use super::{Curve, Landmark};
use crate::error::{Error, Result};
use serde::Deserialize;
use std::path::Path;

/// LRs as a file gave them.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    values: Values,
    file: String,
    run: u64,
    /// The step that its first entry is of.
    first: u64,
    /// Step and value of the highest LR.
    highest: (u64, f64),
    /// Whether a law designed it.
    designed: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Values {
    /// Entry `s` is the LR of step `s`.
    Steps(Vec<f64>),
    /// (step, LR), steps rising from 0, linear in between.
    Knots(Vec<(u64, f64)>),
}

impl Values {
    fn len(&self) -> u64 {
        match self {
            Values::Steps(lrs) => lrs.len() as u64,
            Values::Knots(knots) => knots.last().map_or(0, |&(step, _)| step.saturating_add(1)),
        }
    }

    fn lr(&self, step: u64) -> f64 {
        match self {
            Values::Steps(lrs) => lrs[(step.min(self.len() - 1)) as usize],
            Values::Knots(knots) => {
                let after = knots.partition_point(|&(at, _)| at <= step);
                let (from, low) = knots[after - 1];
                match knots.get(after) {
                    None => low,
                    Some(&(to, high)) => {
                        let x = (step - from) as f64 / (to - from) as f64;
                        match low == high {
                            // To the bit: (1 − x) + x need not be 1.
                            true => low,
                            false => low * (1.0 - x) + high * x,
                        }
                    }
                }
            }
        }
    }

    /// Step and value of the highest LR, the first of equals.
    fn highest(&self) -> (u64, f64) {
        let first_highest = |best: (u64, f64), next: (u64, f64)| {
            if next.1 > best.1 { next } else { best }
        };
        let start = (0, self.lr(0));
        match self {
            Values::Steps(lrs) => (0..).zip(lrs.iter().copied()).fold(start, first_highest),
            Values::Knots(knots) => knots.iter().copied().fold(start, first_highest),
        }
    }
}

impl Table {
    /// Reads `path` for a run of `steps` steps.
    pub(super) fn read(path: &Path, steps: u64) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).map_err(|e| Error::io("read the table", path, e))?;
        let file = path.display().to_string();
        let Parsed { values, designed } = parse(&text, &file)?;
        let length = values.len();
        check_design(designed, length, steps, &file)?;
        if length < steps {
            return Err(Error::input(format!(
                "the table {file} holds {} learning rates but the run has {} steps; \
                 lengthen the table or train {} steps",
                count(length),
                count(steps),
                count(length)
            )));
        }
        if values.lr(0) == 0.0 {
            return Err(Error::input(format!(
                "the table {file} starts with a learning rate of 0, which would spend a step on nothing; \
                 drop that entry or make it positive"
            )));
        }
        let highest = values.highest();
        let run = steps;
        Ok(Table {
            values,
            file,
            run,
            first: 0,
            highest,
            designed,
        })
    }

    /// Reads `path` for steps `at .. steps` of a run: its rows are of the whole run, or, where they are fewer, of those
    /// steps alone.
    pub(super) fn for_cooldown(path: &Path, at: u64, steps: u64) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).map_err(|e| Error::io("read the table", path, e))?;
        let file = path.display().to_string();
        let Parsed { values, designed } = parse(&text, &file)?;
        let length = values.len();
        check_design(designed, length, steps, &file)?;
        let first = match length {
            _ if length >= steps => 0,
            _ if length >= steps - at => at,
            _ => {
                return Err(Error::input(format!(
                    "the table {file} holds {} learning rates, and the cooldown has {} steps; \
                     lengthen the table, or cool down over {}",
                    count(length),
                    count(steps - at),
                    count(length)
                )));
            }
        };
        let starts = if first == 0 { at } else { 0 };
        if values.lr(starts) == 0.0 {
            return Err(Error::input(format!(
                "the table {file} has a learning rate of 0 where the cooldown starts, at step {at}; \
                 make it positive, or branch from a later checkpoint"
            )));
        }
        let highest = values.highest();
        Ok(Table {
            values,
            file,
            run: steps - first,
            first,
            highest: (first + highest.0, highest.1),
            designed,
        })
    }

    /// Whether a law designed it, and the first step before `at` whose LR is not the run's: a design goes with the run
    /// that it was made for.
    pub(super) fn strays(&self, at: u64, run: impl Fn(u64) -> f64) -> Option<u64> {
        let differs = |s: &u64| (self.at(*s) - run(*s)).abs() > 1e-9 * run(*s);
        (0..at)
            .filter(|_| self.designed && self.first == 0)
            .find(differs)
    }

    /// The highest LR in the file.
    pub(super) fn peak_lr(&self) -> f64 {
        self.highest.1
    }
}

impl Curve for Table {
    /// The LR itself: a table's multiple is of 1, not of a peak.
    fn at(&self, step: u64) -> f64 {
        self.values.lr(step - self.first)
    }

    fn landmarks(&self) -> Vec<Landmark> {
        vec![Landmark::new(self.highest.0, "highest")]
    }

    fn words(&self) -> String {
        let length = self.values.len();
        if length == self.run {
            format!("{} steps from {}", count(length), self.file)
        } else {
            format!(
                "first {} of {} steps from {}",
                count(self.run),
                count(length),
                self.file
            )
        }
    }
}

/// What a file says.
struct Parsed {
    values: Values,
    /// Whether a law designed it.
    designed: bool,
}

fn check_design(designed: bool, length: u64, steps: u64, file: &str) -> Result<()> {
    if !designed || length == steps {
        return Ok(());
    }
    Err(Error::input(format!(
        "the schedule {file} was designed for a run of {} steps and this run has {}; train {} steps, \
         or design another with lehr design --steps {steps}",
        count(length),
        count(steps),
        count(length)
    )))
}

fn parse(text: &str, file: &str) -> Result<Parsed> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(Error::input(format!("the table {file} is empty")));
    }
    if text.trim_start().starts_with(['{', '[']) {
        parse_json(text, file)
    } else {
        parse_lines(text, file).map(|lrs| Parsed {
            values: Values::Steps(lrs),
            designed: false,
        })
    }
}

fn check(lr: f64, file: &str, place: impl Fn() -> String) -> Result<f64> {
    if lr.is_finite() && lr >= 0.0 {
        return Ok(lr);
    }
    Err(Error::input(format!(
        "the table {file}, {}: a learning rate must be finite and at least 0, not {lr}",
        place()
    )))
}

fn parse_json(text: &str, file: &str) -> Result<Parsed> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        List(Vec<f64>),
        Object(Object),
    }
    #[derive(Deserialize)]
    struct Object {
        lr: Option<Vec<f64>>,
        knots: Option<Vec<(u64, f64)>>,
    }
    let value: serde_json::Value = serde_json::from_str(text)
        .map_err(|e| Error::input(format!("the table {file} is not valid JSON: {e}")))?;
    let designed = value.get("lehr_design").is_some();
    let shape = || {
        Error::input(format!(
            "the table {file} must hold numbers as {{\"lr\": [lr, …]}} or {{\"knots\": [[step, lr], …]}}"
        ))
    };
    let values = match serde_json::from_value(value).map_err(|_| shape())? {
        Written::List(lrs) => Values::Steps(lrs),
        Written::Object(Object { lr: Some(lrs), .. }) => Values::Steps(lrs),
        Written::Object(Object {
            knots: Some(knots), ..
        }) => Values::Knots(knots),
        Written::Object(_) => return Err(shape()),
    };
    match &values {
        Values::Steps(lrs) => {
            for (step, &lr) in lrs.iter().enumerate() {
                check(lr, file, || format!("step {step}"))?;
            }
        }
        Values::Knots(knots) => {
            for &(step, lr) in knots {
                check(lr, file, || format!("knot at step {step}"))?;
            }
            let starts_at_zero = knots.first().is_none_or(|&(step, _)| step == 0);
            if !starts_at_zero || knots.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
                return Err(Error::input(format!(
                    "the table {file} needs knots whose steps rise from 0"
                )));
            }
        }
    }
    if values.len() == 0 {
        return Err(Error::input(format!("the table {file} is empty")));
    }
    Ok(Parsed { values, designed })
}

/// Which columns of a CSV matter.
struct Columns {
    lr: usize,
    step: Option<usize>,
}

fn parse_lines(text: &str, file: &str) -> Result<Vec<f64>> {
    let mut lrs: Vec<f64> = Vec::new();
    let mut columns: Option<Columns> = None;
    let mut last_step: Option<u64> = None;
    let lines = (1..)
        .zip(text.lines().map(str::trim))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    for (number, line) in lines {
        let fields: Vec<&str> = line
            .split([',', '\t'])
            .map(|f| f.trim().trim_matches('"'))
            .collect();
        let Some(columns) = &columns else {
            let (found, is_header) = read_first_line(&fields, file)?;
            columns = Some(found);
            if !is_header {
                lrs.push(number_in(&fields, 0, file, number)?);
            }
            continue;
        };
        if let Some(at) = columns.step {
            let step = number_in(&fields, at, file, number)? as u64;
            let follows = last_step.map_or(step <= 1, |before| step == before + 1);
            if !follows {
                let before = last_step.map_or("the start".into(), |s| format!("step {}", count(s)));
                return Err(Error::input(format!(
                    "the table {file}, line {number}: step {} follows {before}, but a table needs every step",
                    count(step)
                )));
            }
            last_step = Some(step);
        }
        lrs.push(number_in(&fields, columns.lr, file, number)?);
    }
    if lrs.is_empty() {
        return Err(Error::input(format!(
            "the table {file} holds no learning rate"
        )));
    }
    Ok(lrs)
}

/// The columns, and whether this line names them (or is already the first LR).
fn read_first_line(fields: &[&str], file: &str) -> Result<(Columns, bool)> {
    let find = |names: &[&str]| {
        fields
            .iter()
            .position(|f| names.iter().any(|name| f.eq_ignore_ascii_case(name)))
    };
    if let Some(lr) = find(&["lr", "learning_rate"]) {
        let step = find(&["step"]);
        return Ok((Columns { lr, step }, true));
    }
    if fields.len() == 1 && fields[0].parse::<f64>().is_ok() {
        return Ok((Columns { lr: 0, step: None }, false));
    }
    Err(Error::input(format!(
        "the table {file} starts with '{}': it needs a column called lr, or one learning rate a line",
        fields.join(",")
    )))
}

fn number_in(fields: &[&str], at: usize, file: &str, line: usize) -> Result<f64> {
    let place = || format!("line {line}");
    let text = fields.get(at).copied().unwrap_or("");
    let value = text.parse().map_err(|_| {
        Error::input(format!(
            "the table {file}, {}: '{text}' is not a number",
            place()
        ))
    })?;
    check(value, file, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lrs(text: &str) -> std::result::Result<Vec<f64>, String> {
        let values = parse(text, "t").map_err(|e| e.to_string())?.values;
        Ok((0..values.len()).map(|s| values.lr(s)).collect())
    }

    #[test]
    fn every_way_of_writing_reads_the_same() {
        let expected = Ok(vec![0.1, 0.2, 0.1]);
        for text in [
            "lr\n0.1\n0.2\n0.1\n",
            "step,lr,loss\n0,0.1,3\n1,0.2,2\n2,1e-1,1\n",
            "step,LR\n1,0.1\n2,0.2\n3,0.1",
            "\u{feff}# designed\n\n0.1\n0.2\n0.1",
            "\"loss\"\t\"learning_rate\"\r\n3\t0.1\r\n2\t0.2\r\n1\t0.1\r\n",
            r#"{"spec": {"law": "x"}, "lr": [0.1, 0.2, 0.1]}"#,
            "[0.1, 0.2, 0.1]",
            r#"{"knots": [[0, 0.1], [1, 0.2], [2, 0.1]]}"#,
        ] {
            assert_eq!(lrs(text), expected, "{text}");
        }
    }

    #[test]
    fn knots_join_by_straight_lines_and_hold_their_ends() {
        let knots = parse(r#"{"knots": [[0, 0.1], [10, 1.1], [20, 0]]}"#, "t")
            .unwrap()
            .values;
        assert_eq!(knots.len(), 21);
        assert!((knots.lr(5) - 0.6).abs() < 1e-15);
        assert_eq!((knots.lr(10), knots.lr(20), knots.lr(99)), (1.1, 0.0, 0.0));
        assert_eq!(knots.highest(), (10, 1.1));
    }

    #[test]
    fn a_design_is_for_a_run_of_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("schedule.json");
        let knots = r#""knots": [[0, 0.1], [9, 0.1], [19, 0.03]]"#;
        std::fs::write(&path, format!(r#"{{"lehr_design": 1, {knots}}}"#)).unwrap();
        assert_eq!(Table::read(&path, 20).unwrap().at(7), 0.1);
        assert!(Table::for_cooldown(&path, 10, 20).is_ok());
        for steps in [15, 30] {
            let said = Table::read(&path, steps).unwrap_err().to_string();
            assert!(said.contains("20 steps") && said.contains(&steps.to_string()));
        }
        std::fs::write(&path, format!("{{{knots}}}")).unwrap();
        assert!(Table::read(&path, 15).is_ok());
    }

    #[test]
    fn errors_name_the_place() {
        for (text, part) in [
            ("", "empty"),
            ("{}", "\"lr\""),
            ("{\"lr\": [1, null]}", "\"lr\""),
            ("{\"lr\": []}", "empty"),
            ("{\"lr\": [", "not valid JSON"),
            ("{\"lr\": [0.1, -1]}", "step 1"),
            ("{\"knots\": [[1, 0.1]]}", "rise from 0"),
            ("{\"knots\": [[0, 0.1], [0, 0.2]]}", "rise from 0"),
            ("0.1\n0.2\nx", "line 3: 'x'"),
            ("0.1\nNaN", "line 2"),
            ("0.1\n-0.1", "line 2"),
            ("0.1\ninf", "line 2"),
            ("lr\n", "no learning rate"),
            ("loss,rate\n1,2", "a column called lr"),
            ("step,lr\n0,0.1\n2,0.1", "line 3: step 2 follows step 0"),
            ("step,lr\n5,0.1", "line 2: step 5 follows the start"),
            ("loss,lr\n0.1", "line 2: '' is not a number"),
        ] {
            let error = lrs(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
