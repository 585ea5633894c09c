//! A table of answered queries as an oracle: CSV, a JSON array, JSON lines (as a search writes them), or an object
//! with `previous_runs`.

use super::{Answer, Oracle, Query, Reply, Space};
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// Answers that somebody has paid for already.
pub struct Table {
    name: String,
    space: Space,
    queries: Vec<Query>,
    losses: Vec<f64>,
}

/// A table has no more rows than a search can look through for each question.
const MOST_ROWS: usize = 200_000;

impl Table {
    /// Reads `path`.
    ///
    /// # Errors
    /// Names the file, the row and the field that cannot be used.
    pub fn read(path: &Path) -> Result<Table> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        let at = path.display().to_string();
        let rows = match text.trim_start().chars().next() {
            Some('[') => json(&at, &text)?,
            Some('{') => json(&at, &text).or_else(|_| lines(&at, &text))?,
            _ => csv(&at, &text)?,
        };
        if rows.is_empty() {
            return Err(Error::input(format!("{at} holds no answered query")));
        }
        if rows.len() > MOST_ROWS {
            return Err(Error::input(format!(
                "{at} has {} rows; a table may have {MOST_ROWS}",
                rows.len()
            )));
        }
        let (queries, losses): (Vec<Query>, Vec<f64>) = rows.into_iter().unzip();
        Ok(Table {
            name: format!("table:{at} {}", fingerprint(&queries, &losses)),
            space: around(&queries),
            queries,
            losses,
        })
    }
}

impl Oracle for Table {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn space(&self) -> &Space {
        &self.space
    }

    fn listed(&self) -> Option<&[Query]> {
        Some(&self.queries)
    }

    fn ask(&mut self, query: &Query) -> Result<Reply> {
        match self.queries.iter().position(|q| q.same(query)) {
            Some(row) => Ok(Reply::Answered(Answer {
                loss: self.losses[row],
                total_flops_used: None,
            })),
            None => Err(Error::input(format!("{query} is not in {}", self.name))),
        }
    }
}

/// A short hash of the rows: a table that was edited is another oracle.
fn fingerprint(queries: &[Query], losses: &[f64]) -> String {
    let mut hasher = blake3::Hasher::new();
    for (query, loss) in queries.iter().zip(losses) {
        hasher.update(format!("{query} loss={loss}\n").as_bytes());
    }
    hasher.finalize().to_hex()[..8].to_string()
}

/// The bounds that the rows themselves show.
fn around(queries: &[Query]) -> Space {
    let range = |of: fn(&Query) -> u32| {
        let values = || queries.iter().map(of);
        (values().min().unwrap_or(1), values().max().unwrap_or(1))
    };
    let distinct = |of: fn(&Query) -> f64| {
        let mut values: Vec<f64> = queries.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        values
    };
    let lrs = distinct(|q| q.learning_rate);
    Space {
        d_model: range(|q| q.d_model),
        num_layers: range(|q| q.num_layers),
        num_heads: range(|q| q.num_heads),
        batch_size: distinct(|q| f64::from(q.batch_size))
            .iter()
            .map(|b| *b as u32)
            .collect(),
        learning_rate: (lrs[0], lrs[lrs.len() - 1]),
        train_flops: distinct(|q| q.train_flops),
    }
}

type Rows = Vec<(Query, f64)>;

fn json(at: &str, text: &str) -> Result<Rows> {
    let value =
        lenient(text).map_err(|e| Error::input(format!("{at}: the JSON cannot be read ({e})")))?;
    rows(at, &value)
}

/// Rows of a JSON array, or of an object's `previous_runs`, `runs` or `data`. `at` says where they come from.
pub(super) fn rows(at: &str, value: &Value) -> Result<Rows> {
    let inner = ["previous_runs", "runs", "data"]
        .iter()
        .find_map(|k| value.get(k));
    let list = value.as_array().or_else(|| inner?.as_array());
    let Some(list) = list else {
        return Err(Error::input(format!(
            "{at}: expected a list of answered queries, or an object with \"previous_runs\""
        )));
    };
    let mut rows = Vec::new();
    for (i, item) in list.iter().enumerate() {
        let row = item.as_object();
        let row = row.ok_or_else(|| Error::input(format!("{at}: entry {} is no object", i + 1)))?;
        push(&mut rows, &format!("{at}, entry {}", i + 1), row)?;
    }
    Ok(rows)
}

fn lines(at: &str, text: &str) -> Result<Rows> {
    let mut rows = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|l| !l.1.trim().is_empty()) {
        let at = format!("{at}, line {}", i + 1);
        let row: Map<String, Value> = serde_json::from_str(line)
            .map_err(|e| Error::input(format!("{at}: the JSON cannot be read ({e})")))?;
        // What a search writes besides its answers.
        if ["oracle", "asking", "refused"]
            .iter()
            .any(|k| row.contains_key(*k))
        {
            continue;
        }
        push(&mut rows, &at, &row)?;
    }
    Ok(rows)
}

fn csv(at: &str, text: &str) -> Result<Rows> {
    let mut records = text.lines().enumerate().filter(|l| !l.1.trim().is_empty());
    let Some((_, header)) = records.next() else {
        return Ok(Vec::new());
    };
    // As tables of points are read.
    let separator = ['\t', ';', ',']
        .into_iter()
        .find(|c| header.contains(*c))
        .unwrap_or(',');
    let names: Vec<&str> = header
        .split(separator)
        .map(|n| n.trim().trim_matches('"'))
        .collect();
    let mut rows = Vec::new();
    for (i, line) in records {
        let at = format!("{at}, line {}", i + 1);
        let cells: Vec<&str> = line
            .split(separator)
            .map(|c| c.trim().trim_matches('"'))
            .collect();
        if cells.len() != names.len() {
            return Err(Error::input(format!(
                "{at}: {} cells under {} columns",
                cells.len(),
                names.len()
            )));
        }
        let number = |c: &str| c.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
        let row = names.iter().zip(&cells).map(|(name, cell)| {
            let value = number(cell).map_or_else(|| Value::from(*cell), Value::Number);
            (name.to_string(), value)
        });
        push(&mut rows, &at, &row.collect())?;
    }
    Ok(rows)
}

/// A final loss: infinite where training diverged, which is written as null, NaN or infinity; `None` where it is no loss.
pub(super) fn loss(value: &Value) -> Option<f64> {
    let x = match value {
        Value::Null => f64::INFINITY,
        Value::String(text) => text.trim().parse().ok().filter(|x: &f64| !x.is_finite())?,
        other => other.as_f64()?,
    };
    match x.is_finite() {
        true => (x > 0.0).then_some(x),
        false => Some(f64::INFINITY),
    }
}

/// JSON as Python writes it: NaN and Infinity, which are not of the standard, are read as null.
pub(super) fn lenient(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text).or_else(|error| {
        // Every other piece lies within quotes; a text with escaped quotes is left to the first reader.
        let mut pieces: Vec<String> = text.split('"').map(str::to_string).collect();
        for piece in pieces.iter_mut().step_by(2) {
            *piece = piece
                .replace("-Infinity", "null")
                .replace("Infinity", "null")
                .replace("NaN", "null");
        }
        serde_json::from_str(&pieces.join("\"")).map_err(|_| error)
    })
}

fn push(rows: &mut Rows, at: &str, row: &Map<String, Value>) -> Result<()> {
    let number = |name: &str| -> Result<f64> {
        match row.get(name).map(Value::as_f64) {
            Some(Some(x)) if x > 0.0 && x.is_finite() => Ok(x),
            Some(_) => Err(Error::input(format!(
                "{at}: {name} is {}, not a number above 0",
                row[name]
            ))),
            None => Err(Error::input(format!(
                "{at}: there is no {name}; a row has d_model, num_layers, num_heads, batch_size, learning_rate, train_flops and loss"
            ))),
        }
    };
    let whole = |name: &str| -> Result<u32> {
        let x = number(name)?;
        match x.fract() == 0.0 && x <= f64::from(u32::MAX) {
            true => Ok(x as u32),
            false => Err(Error::input(format!(
                "{at}: {name} is {x}, not a whole number"
            ))),
        }
    };
    let query = Query {
        d_model: whole("d_model")?,
        num_layers: whole("num_layers")?,
        num_heads: whole("num_heads")?,
        batch_size: whole("batch_size")?,
        learning_rate: number("learning_rate")?,
        train_flops: number("train_flops")?,
    };
    let loss = match row.get("loss").map(|value| (value, loss(value))) {
        Some((_, Some(loss))) => loss,
        Some((value, None)) => {
            return Err(Error::input(format!(
                "{at}: loss is {value}, not a number above 0"
            )));
        }
        None => number("loss")?,
    };
    rows.push((query, loss));
    Ok(())
}

#[cfg(test)]
mod unit {
    use super::*;
    use proptest::prelude::*;

    const HEADER: &str = "d_model,num_layers,num_heads,batch_size,learning_rate,train_flops,loss\n";

    fn read(text: &str) -> Result<Table> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        std::fs::write(&path, text).unwrap();
        Table::read(&path)
    }

    #[test]
    fn every_form_gives_the_same_rows() {
        let csv = read(&format!("{HEADER}64,2,2,128,1e-3,1e13,5.5\n")).unwrap();
        let row = r#"{"d_model":64,"num_layers":2,"num_heads":2,"batch_size":128,"learning_rate":0.001,"train_flops":1e13,"loss":5.5}"#;
        for text in [
            format!("{HEADER}64,2,2,128,1e-3,1e13,5.5\n").replace(',', ";"),
            format!("{HEADER}64,2,2,128,1e-3,1e13,5.5\n").replace(',', "\t"),
            format!("[{row}]"),
            format!("{{\"previous_runs\":[{row}]}}"),
            format!("{{\"oracle\":\"x\"}}\n{row}\n"),
        ] {
            let table = read(&text).unwrap();
            assert_eq!((&table.queries, &table.losses), (&csv.queries, &csv.losses));
        }
    }

    #[test]
    fn wrong_rows_are_named() {
        let said = |text: &str| read(text).err().unwrap().to_string();
        assert!(
            said(&format!("{HEADER}64,2,2,128,NaN,1e13,5.5\n")).contains("line 2: learning_rate")
        );
        assert!(said("d_model,loss\n64,3\n").contains("there is no num_layers"));
        let name = |loss: &str| {
            let table = read(&format!("{HEADER}64,2,2,128,1e-3,1e13,{loss}\n"));
            let name = table.unwrap().name;
            name.rsplit_once(' ').unwrap().1.to_string()
        };
        assert_eq!(name("5.5"), name("5.50"));
        assert_ne!(name("5.5"), name("5.6"));
        assert!(said(HEADER).contains("holds no answered query"));
        assert!(said("[1]").contains("entry 1 is no object"));
        assert!(said(&format!("{HEADER}64,2,2,128,1e-3,1e13,-4\n")).contains("loss is -4"));
        let row = |loss: &str| {
            format!(
                r#"[{{"d_model":64,"num_layers":2,"num_heads":2,"batch_size":128,"learning_rate":1e-3,"train_flops":1e13,"loss":{loss}}}]"#
            )
        };
        for diverged in ["null", "NaN", "Infinity", "\"nan\""] {
            assert_eq!(read(&row(diverged)).unwrap().losses, [f64::INFINITY]);
        }
        assert!(said(&row("0")).contains("loss is 0"));
        assert!(said(&row("\"x\"")).contains("loss is \"x\""));
        let mut table = read(&format!("{HEADER}64,2,2,128,1e-3,1e13,5.5\n")).unwrap();
        let other = Query {
            d_model: 128,
            ..table.queries[0]
        };
        assert!(
            table
                .ask(&other)
                .unwrap_err()
                .to_string()
                .contains("is not in table:")
        );
    }

    proptest! {
        #[test]
        fn junk_never_panics(text in "\\PC{0,200}") {
            let _ = read(&text);
        }
    }
}
