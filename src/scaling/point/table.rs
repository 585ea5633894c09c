//! Rows and named columns of text, out of CSV or JSON.

use crate::error::{Error, Result};
use serde_json::Value;

/// A table with more columns holds something else than trained models.
const MOST_COLUMNS: usize = 10_000;
/// More cells are no table of trained models either; the bound keeps a hostile file from filling the memory.
const MOST_CELLS: usize = 20_000_000;
/// Keys under which a JSON file may keep its points.
const WRAPPERS: &[&str] = &["points", "runs", "data", "results"];

/// Cells as they were written; an absent one is empty.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) names: Vec<String>,
    pub(super) rows: Vec<Row>,
}

#[derive(Debug)]
pub(super) struct Row {
    /// "line 3", "entry 3".
    pub(super) place: String,
    pub(super) cells: Vec<String>,
}

impl Table {
    fn cell(&self, row: usize, column: usize) -> &str {
        self.rows[row].cells.get(column).map_or("", |c| c.trim())
    }

    /// The cell as a positive number; `None` where it is empty.
    ///
    /// # Errors
    /// Any other content, with its place.
    pub(super) fn number(&self, row: usize, column: usize, file: &str) -> Result<Option<f64>> {
        let cell = self.cell(row, column);
        if cell.is_empty() {
            return Ok(None);
        }
        match amount(cell) {
            Some(x) if x > 0.0 && x.is_finite() => Ok(Some(x)),
            _ => Err(Error::input(format!(
                "{file}, {}, column {}: {} is not a positive number; correct it or leave the row out",
                self.rows[row].place,
                self.names[column],
                shortened(cell)
            ))),
        }
    }

    /// Whether a flag is set: a number other than 0, or a word that says so.
    pub(super) fn is_true(&self, row: usize, column: usize) -> bool {
        let cell = self.cell(row, column);
        match cell.parse::<f64>() {
            Ok(x) => x != 0.0 && !x.is_nan(),
            Err(_) => ["true", "t", "yes", "y", "x"].contains(&cell.to_lowercase().as_str()),
        }
    }
}

/// A number, or one as people write sizes: `3.00M`, `70B`, `2 T`.
fn amount(cell: &str) -> Option<f64> {
    if let Ok(x) = cell.parse() {
        return Some(x);
    }
    let times = match cell.chars().last()?.to_ascii_uppercase() {
        'K' => 1e3,
        'M' => 1e6,
        'B' | 'G' => 1e9,
        'T' => 1e12,
        _ => return None,
    };
    // The suffix is one byte.
    let number: f64 = cell[..cell.len() - 1].trim_end().parse().ok()?;
    Some(number * times)
}

fn shortened(cell: &str) -> String {
    match cell.char_indices().nth(40) {
        Some((end, _)) => format!("{:?}…", &cell[..end]),
        None => format!("{cell:?}"),
    }
}

/// JSON where the text starts like it, otherwise CSV.
pub(super) fn parse(text: &str, file: &str) -> Result<Table> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with(['{', '[']) {
        json(text, file)
    } else {
        csv(text, file)
    }
}

fn csv(text: &str, file: &str) -> Result<Table> {
    let mut lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let Some((first, header)) = lines.next() else {
        return Err(Error::input(format!(
            "{file} is empty; a first line such as params,tokens,flops,loss names the columns"
        )));
    };
    let separator = ['\t', ';', ',']
        .into_iter()
        .find(|&c| header.contains(c))
        .unwrap_or(',');
    let split = |number: usize, line: &str| {
        fields(line, separator).ok_or_else(|| {
            Error::input(format!(
                "{file}, line {number}: a quoted field does not end on its line"
            ))
        })
    };
    let names: Vec<String> = split(first, header)?
        .iter()
        .map(|name| name.trim().to_string())
        .collect();
    if names.iter().all(|name| name.parse::<f64>().is_ok()) {
        return Err(Error::input(format!(
            "{file}, line {first}: there is no header; name the columns in a first line such as params,tokens,flops,loss"
        )));
    }
    let mut rows = Vec::new();
    for (number, line) in lines {
        let cells = split(number, line)?;
        if cells.len() > names.len() && cells[names.len()..].iter().any(|c| !c.trim().is_empty()) {
            return Err(Error::input(format!(
                "{file}, line {number}: {} fields under a header of {}",
                cells.len(),
                names.len()
            )));
        }
        rows.push(Row {
            place: format!("line {number}"),
            cells,
        });
        bounded(names.len(), rows.len(), file)?;
    }
    Ok(Table { names, rows })
}

fn bounded(columns: usize, rows: usize, file: &str) -> Result<()> {
    if columns > MOST_COLUMNS || columns.saturating_mul(rows) > MOST_CELLS {
        return Err(Error::input(format!(
            "{file} has {columns} columns and {rows} rows or more: too much for a table of trained models"
        )));
    }
    Ok(())
}

/// The fields of a line, unquoted (a doubled quote is one); `None` where a quote does not close.
fn fields(line: &str, separator: char) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let mut field = String::new();
        let quoted = rest.trim_start_matches(' ');
        if let Some(mut inner) = quoted.strip_prefix('"') {
            loop {
                let end = inner.find('"')?;
                field.push_str(&inner[..end]);
                inner = &inner[end + 1..];
                match inner.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        inner = more;
                    }
                    None => break,
                }
            }
            rest = inner.trim_start_matches(' ');
            if !(rest.is_empty() || rest.starts_with(separator)) {
                return None;
            }
        } else {
            let end = rest.find(separator).unwrap_or(rest.len());
            field.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.strip_prefix(separator) {
            Some(next) => rest = next,
            None => return Some(fields),
        }
    }
}

fn json(text: &str, file: &str) -> Result<Table> {
    let value: Value = serde_json::from_str(text).map_err(|e| {
        let line = text.lines().nth(e.line().saturating_sub(1)).unwrap_or("");
        let at = line.get(e.column().saturating_sub(2)..).unwrap_or("");
        // Python's json writes these, and no standard knows them.
        match ["NaN", "Infinity", "-Infinity"].iter().find(|w| at.contains(*w)) {
            Some(word) => Error::input(format!(
                "{file}, line {}: {word} is no number of JSON, though Python writes it; leave that run out, or write null where the value is not needed",
                e.line()
            )),
            None => Error::input(format!("{file} is not JSON that can be read: {e}")),
        }
    })?;
    match value {
        Value::Array(list) => objects(&list, file),
        Value::Object(map) => {
            let wrapped = WRAPPERS.iter().find_map(|key| map.get(*key));
            match wrapped {
                Some(Value::Array(list)) if list.iter().all(Value::is_object) => {
                    objects(list, file)
                }
                Some(Value::Object(inner)) => columns(inner, file),
                _ => columns(&map, file),
            }
        }
        _ => Err(shape(file)),
    }
}

fn shape(file: &str) -> Error {
    Error::input(format!(
        "{file} holds no points: wanted a list of objects such as {{\"params\": 1e8, \"tokens\": 2e9, \"loss\": 3.2}}, or a list of numbers a column"
    ))
}

fn objects(list: &[Value], file: &str) -> Result<Table> {
    let mut table = Table {
        names: Vec::new(),
        rows: Vec::new(),
    };
    let mut index = std::collections::HashMap::new();
    for (i, entry) in list.iter().enumerate() {
        let Value::Object(map) = entry else {
            return Err(shape(file));
        };
        let mut cells = vec![String::new(); table.names.len()];
        for (key, value) in map {
            let at = *index.entry(key.clone()).or_insert_with(|| {
                table.names.push(key.clone());
                cells.push(String::new());
                table.names.len() - 1
            });
            cells[at] = cell(value);
        }
        table.rows.push(Row {
            place: format!("entry {}", i + 1),
            cells,
        });
        bounded(table.names.len(), table.rows.len(), file)?;
    }
    Ok(table)
}

fn columns(map: &serde_json::Map<String, Value>, file: &str) -> Result<Table> {
    let lists: Vec<(&String, &Vec<Value>)> = map
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_array()?)))
        .collect();
    let Some(&(first, list)) = lists.first() else {
        return Err(shape(file));
    };
    if let Some((other, longer)) = lists.iter().find(|(_, l)| l.len() != list.len()) {
        return Err(Error::input(format!(
            "{file}: column {first} has {} entries and column {other} has {}; each point needs all of them",
            list.len(),
            longer.len()
        )));
    }
    bounded(lists.len(), list.len(), file)?;
    let rows = (0..list.len()).map(|i| Row {
        place: format!("entry {}", i + 1),
        cells: lists.iter().map(|(_, l)| cell(&l[i])).collect(),
    });
    Ok(Table {
        names: lists.iter().map(|(name, _)| name.to_string()).collect(),
        rows: rows.collect(),
    })
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
