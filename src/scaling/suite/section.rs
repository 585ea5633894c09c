//! One table of a suite's file, read key by key.

use super::spec::{Horizon, Tailing};
use crate::error::{Error, Result};
use toml::{Table, Value};

/// A table whose keys are taken out one by one; what is left at the end was not known.
pub(super) struct Section {
    /// The file and the table, for errors.
    pub place: String,
    table: Table,
    known: Vec<&'static str>,
}

impl Section {
    pub fn new(place: String, table: Table) -> Section {
        let known = Vec::new();
        Section {
            place,
            table,
            known,
        }
    }

    pub fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::input(format!("{}: {what}", self.place))
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn wrong(&self, key: &str, wanted: &str, value: &Value) -> Error {
        self.error(format!("{key} takes {wanted}, not {value}"))
    }

    pub fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, "text in quotes", &other)),
        }
    }

    pub fn texts(&mut self, key: &'static str) -> Result<Vec<String>> {
        let wanted = "a list of names in quotes";
        let list = match self.take(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(other) => return Err(self.wrong(key, wanted, &other)),
        };
        let text = |value: Value| match value {
            Value::String(text) => Ok(text),
            other => Err(self.wrong(key, wanted, &other)),
        };
        list.into_iter().map(text).collect()
    }

    pub fn number(&mut self, key: &'static str) -> Result<Option<f64>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Float(x)) => Ok(Some(x)),
            Some(Value::Integer(n)) => Ok(Some(n as f64)),
            Some(other) => Err(self.wrong(key, "a number", &other)),
        }
    }

    pub fn flag(&mut self, key: &'static str) -> Result<Option<bool>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Boolean(b)) => Ok(Some(b)),
            Some(other) => Err(self.wrong(key, "true or false", &other)),
        }
    }

    pub fn table(&mut self, key: &'static str) -> Result<Option<Table>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(table)),
            Some(other) => Err(self.wrong(key, "a table of keys", &other)),
        }
    }

    pub fn tables(&mut self, key: &'static str) -> Result<Vec<Table>> {
        let list = match self.take(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(other) => return Err(self.wrong(key, &format!("entries [[{key}]]"), &other)),
        };
        let table = |value: Value| match value {
            Value::Table(table) => Ok(table),
            other => Err(self.wrong(key, &format!("entries [[{key}]]"), &other)),
        };
        list.into_iter().map(table).collect()
    }

    pub fn seeds(&mut self) -> Result<Vec<u64>> {
        let wanted = "a list of different whole numbers, such as [0, 1]";
        let list = match self.take("seeds") {
            None => return Ok(vec![0]),
            Some(Value::Array(list)) if !list.is_empty() => list,
            Some(other) => return Err(self.wrong("seeds", wanted, &other)),
        };
        let mut seeds = Vec::new();
        for value in list {
            match value {
                Value::Integer(n) if n >= 0 && !seeds.contains(&(n as u64)) => seeds.push(n as u64),
                other => return Err(self.wrong("seeds", wanted, &other)),
            }
        }
        Ok(seeds)
    }

    pub fn horizons(&mut self) -> Result<Vec<Horizon>> {
        let list = match self.take("horizons") {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(one) => vec![one],
        };
        let horizon = |value: Value| match value {
            Value::Integer(n) if n > 0 => Ok(Horizon::Steps(n as u64)),
            Value::String(text) => text
                .parse()
                .map_err(|e| self.error(format!("horizons: {e}"))),
            other => Err(self.wrong(
                "horizons",
                "\"2M\" (tokens), \"20x\" or 600 (steps)",
                &other,
            )),
        };
        list.into_iter().map(horizon).collect()
    }

    pub fn tailing(&mut self) -> Result<Tailing> {
        let fraction = self.number("fraction")?.unwrap_or(0.2);
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(self.error(format!(
                "fraction is {fraction}; the cooldown's share of a horizon lies between 0 and 1, such as 0.2"
            )));
        }
        let decay = self.text("decay")?.unwrap_or_else(|| "linear".into());
        let decay = decay.parse().map_err(|e| self.error(e))?;
        let final_ratio = self.number("final")?.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&final_ratio) {
            return Err(self.error(format!(
                "final is {final_ratio}; where a cooldown ends lies between 0 and 1 of the peak"
            )));
        }
        Ok(Tailing {
            fraction,
            decay,
            final_ratio,
        })
    }

    pub fn only_tailing(mut self) -> Result<Tailing> {
        let tailing = self.tailing()?;
        self.finish()?;
        Ok(tailing)
    }

    pub fn finish(self) -> Result<()> {
        match self.table.keys().next() {
            None => Ok(()),
            Some(key) => Err(self.error(format!(
                "there is no key {key}; the nearest is {}",
                nearest(key, &self.known)
            ))),
        }
    }
}

/// The candidate closest to `word`, by edits.
pub(super) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> &'a str {
    let distance = |c: &&&str| strsim::damerau_levenshtein(word, c);
    candidates
        .iter()
        .min_by_key(distance)
        .copied()
        .unwrap_or("none")
}
