//! The file of answers: one JSON object a line, synced before the next question is asked.
//!
//! The first line names the oracle. Before a query goes out, `{"asking": …}` is on the disk; after it, its answer. A process that
//! is killed in between finds the open question when it starts again, and asks that one first: oracles do not
//! charge a repeated query. A question that the oracle refuses is closed by `{"refused": …}`, and costs nothing. Half a
//! last line is cut off.

use super::Query;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// An answer and what it cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    #[serde(flatten)]
    pub query: Query,
    /// Nats a token; `None` where training diverged.
    pub loss: Option<f64>,
    /// FLOPs.
    pub cost: f64,
    /// What the oracle said it had charged in all, after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_flops_used: Option<f64>,
    /// Paid for before this search asked.
    #[serde(default)]
    pub imported: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Head { oracle: String },
    Asking { asking: Query },
    Refused { refused: Query },
    Answer(Entry),
}

/// All answers, on the disk and in memory.
pub struct Ledger {
    /// `None` keeps them in memory alone.
    store: Option<Store>,
    pub entries: Vec<Entry>,
    /// Questions that went out and whose answers never arrived.
    pub open: Vec<Query>,
    /// FLOPs that the oracle said, at the start, it had charged in all.
    pub told: f64,
}

impl Ledger {
    /// Answers that end with the process.
    pub fn in_memory() -> Ledger {
        Ledger {
            store: None,
            entries: Vec::new(),
            open: Vec::new(),
            told: 0.0,
        }
    }

    /// Opens `path` for the oracle of that name, and holds it against other processes. A file that is not
    /// there is created with the first question.
    ///
    /// # Errors
    /// It belongs to another oracle, a live process holds it, or a line is damaged.
    pub fn open(path: &Path, oracle: &str) -> Result<Ledger> {
        let mut ledger = Ledger::in_memory();
        let mut store = Store {
            path: path.to_path_buf(),
            oracle: oracle.to_string(),
            file: None,
        };
        if path.exists() {
            let (mut file, bytes) = store.take()?;
            let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
            let (entries, open, found) = parse(path, &bytes[..whole])?;
            if let Some(found) = &found
                && found != oracle
            {
                return Err(Error::input(format!(
                    "{} holds answers of {found}, not of {oracle}; give another --state",
                    path.display()
                )));
            }
            if found.is_none() && !bytes.is_empty() {
                return Err(Error::corrupt(
                    path,
                    "it is no file of answers; give another --state",
                ));
            }
            if whole < bytes.len() {
                file.set_len(whole as u64)
                    .and_then(|()| file.seek(SeekFrom::End(0)))
                    .map_err(|e| Error::io("write", path, e))?;
            }
            (ledger.entries, ledger.open) = (entries, open);
            store.file = found.map(|_| file);
        }
        ledger.store = Some(store);
        Ok(ledger)
    }

    /// The answer to `query`, if it is here.
    pub fn find(&self, query: &Query) -> Option<&Entry> {
        self.entries.iter().find(|e| e.query.same(query))
    }

    /// FLOPs charged: the sum of all answers, or what the oracle says where that is more. Open questions count, by `cost`.
    pub fn spent(&self, cost: impl Fn(&Query) -> f64) -> f64 {
        let sum: f64 = self.entries.iter().map(|e| e.cost).sum();
        let told = self.entries.iter().filter_map(|e| e.total_flops_used);
        sum.max(told.fold(self.told, f64::max)) + self.open.iter().map(cost).sum::<f64>()
    }

    /// Notes that `query` is about to be asked.
    pub fn asking(&mut self, query: &Query) -> Result<()> {
        self.append(&Line::Asking { asking: *query })?;
        self.open.retain(|q| !q.same(query));
        self.open.push(*query);
        Ok(())
    }

    /// Notes that the oracle refused `query`: nothing was charged.
    pub fn refused(&mut self, query: &Query) -> Result<()> {
        self.append(&Line::Refused { refused: *query })?;
        self.open.retain(|q| !q.same(query));
        Ok(())
    }

    /// Notes an answer.
    pub fn answered(&mut self, entry: Entry) -> Result<()> {
        self.append(&Line::Answer(entry))?;
        self.open.retain(|q| !q.same(&entry.query));
        self.entries.push(entry);
        Ok(())
    }

    fn append(&mut self, line: &Line) -> Result<()> {
        match &mut self.store {
            Some(store) => store.append(line),
            None => Ok(()),
        }
    }
}

/// Where a ledger lies; open once its first line is there.
struct Store {
    path: PathBuf,
    oracle: String,
    file: Option<File>,
}

impl Store {
    /// Opens or creates the file, locked, with what it holds.
    fn take(&self) -> Result<(File, Vec<u8>)> {
        let path = &self.path;
        let mut file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(|e| Error::io("open", path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(self.in_use()),
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", path, e)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|e| Error::io("read", path, e))?;
        Ok((file, bytes))
    }

    fn in_use(&self) -> Error {
        Error::input(format!(
            "{} is in use by another search; wait for it to end, or give another --state",
            self.path.display()
        ))
    }

    fn append(&mut self, line: &Line) -> Result<()> {
        let mut text = String::new();
        if self.file.is_none() {
            let (file, bytes) = self.take()?;
            if !bytes.is_empty() {
                return Err(self.in_use());
            }
            let head = Line::Head {
                oracle: self.oracle.clone(),
            };
            text = serde_json::to_string(&head).map_err(Error::backend)? + "\n";
            self.file = Some(file);
        }
        text += &serde_json::to_string(line).map_err(Error::backend)?;
        text.push('\n');
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_data())
            .map_err(|e| Error::io("write", &self.path, e))
    }
}

type Parsed = (Vec<Entry>, Vec<Query>, Option<String>);

fn parse(path: &Path, bytes: &[u8]) -> Result<Parsed> {
    let damaged = |number: usize, why: &str| {
        Error::corrupt(
            path,
            format!(
                "line {} {why}; mend it, or give another --state",
                number + 1
            ),
        )
    };
    let text = std::str::from_utf8(bytes).map_err(|_| Error::corrupt(path, "it is no text"))?;
    let (mut entries, mut open, mut head) = (Vec::<Entry>::new(), Vec::<Query>::new(), None);
    for (number, line) in text.lines().enumerate() {
        let line = serde_json::from_str(line).map_err(|_| damaged(number, "is no answer"))?;
        match line {
            Line::Head { oracle } if number == 0 => head = Some(oracle),
            _ if number == 0 => return Err(damaged(number, "does not name the oracle")),
            Line::Head { .. } => return Err(damaged(number, "names an oracle again")),
            Line::Asking { asking } => {
                open.retain(|q| !q.same(&asking));
                open.push(asking);
            }
            Line::Refused { refused } => open.retain(|q| !q.same(&refused)),
            Line::Answer(entry) => {
                let sound = entry.cost >= 0.0 && entry.loss.is_none_or(f64::is_finite);
                if !sound || entries.iter().any(|e| e.query.same(&entry.query)) {
                    return Err(damaged(number, "is a second answer or has no cost"));
                }
                open.retain(|q| !q.same(&entry.query));
                entries.push(entry);
            }
        }
    }
    Ok((entries, open, head))
}

#[cfg(test)]
mod unit {
    use super::*;

    fn entry(lr: f64) -> Entry {
        Entry {
            query: Query {
                d_model: 64,
                num_layers: 2,
                num_heads: 2,
                batch_size: 128,
                learning_rate: lr,
                train_flops: 1e13,
            },
            loss: Some(4.25),
            cost: 1e13,
            total_flops_used: None,
            imported: false,
        }
    }

    #[test]
    fn answers_survive_and_half_a_line_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.jsonl");
        let mut ledger = Ledger::open(&path, "a").unwrap();
        ledger.asking(&entry(1e-3).query).unwrap();
        ledger.answered(entry(1e-3)).unwrap();
        ledger.asking(&entry(3e-4).query).unwrap();
        let second = Ledger::open(&path, "a").err().unwrap().to_string();
        assert!(second.contains("in use by another search"), "{second}");
        drop(ledger);
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"{\"d_model\":64,\"num").unwrap();
        drop(file);
        let ledger = Ledger::open(&path, "a").unwrap();
        assert_eq!(ledger.entries, [entry(1e-3)]);
        assert_eq!(ledger.open, [entry(3e-4).query]);
        assert_eq!(ledger.spent(|q| q.train_flops), 2e13);
        drop(ledger);
        let mut ledger = Ledger::open(&path, "a").unwrap();
        ledger.refused(&entry(3e-4).query).unwrap();
        assert_eq!(ledger.spent(|q| q.train_flops), 1e13);
        drop(ledger);
        let ledger = Ledger::open(&path, "a").unwrap();
        assert!(ledger.open.is_empty());
        assert_eq!(ledger.spent(|q| q.train_flops), 1e13);
        drop(ledger);
        assert!(std::fs::read(&path).unwrap().ends_with(b"}\n"));
        let other = Ledger::open(&path, "b").err().unwrap().to_string();
        assert!(other.contains("holds answers of a"), "{other}");
    }

    #[test]
    fn other_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        for text in ["step,loss\n1,2\n", "{\"a\": 1}\n", &"x".repeat(300)] {
            std::fs::write(&path, text).unwrap();
            assert!(Ledger::open(&path, "a").is_err());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
