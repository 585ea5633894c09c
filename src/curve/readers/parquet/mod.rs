//! Parquet: every flat column of numbers.
//!
//! The `parquet` crate decodes; before it sees a page, [`pages`] walks the page headers and refuses what
//! would make it allocate or run beyond what the bytes justify. Brotli and Zstandard inside are refused.

mod pages;

use crate::curve::columns::role_of;
use crate::curve::frame::{Column, Frame, MOST_CELLS, Places};
use crate::error::{Error, Result};
use bytes::Bytes;
use parquet::basic::{Compression, Type};
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{DataType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Rows of one file.
const MOST_ROWS: i64 = 5_000_000;

/// # Errors
/// A file that does not parse, or whose pages claim more than they hold.
pub(super) fn read(bytes: Vec<u8>, file: &str) -> Result<Vec<Frame>> {
    let damaged = |what: &dyn std::fmt::Display| {
        Error::input(format!(
            "{file} cannot be read as Parquet: {what}; write it again, or as CSV"
        ))
    };
    // The decoder asserts what it takes for granted of a sound file.
    let read = catch_unwind(AssertUnwindSafe(|| columns(Bytes::from(bytes))));
    match read {
        Ok(Ok(columns)) => Ok(vec![Frame::new(None, columns, Places::Rows)]),
        Ok(Err(what)) => Err(damaged(&what)),
        Err(_) => Err(damaged(&"it is damaged")),
    }
}

fn columns(bytes: Bytes) -> std::result::Result<Vec<Column>, String> {
    let file = SerializedFileReader::new(bytes.clone()).map_err(|e| e.to_string())?;
    let metadata = file.metadata();
    let schema = metadata.file_metadata().schema_descr();
    let rows: i64 = metadata
        .row_groups()
        .iter()
        .map(|g| g.num_rows().clamp(0, MOST_ROWS + 1))
        .sum();
    if rows > MOST_ROWS {
        return Err(format!("it has more than {MOST_ROWS} rows"));
    }
    let is_number = |i: &usize| {
        let column = schema.column(*i);
        column.max_rep_level() == 0
            && matches!(
                column.physical_type(),
                Type::INT32 | Type::INT64 | Type::FLOAT | Type::DOUBLE
            )
    };
    // Columns that may matter by their names first; others while there is room.
    let mut wanted: Vec<usize> = (0..schema.num_columns()).filter(is_number).collect();
    let role = |i: &usize| role_of(&name(metadata, *i)).is_none();
    wanted.sort_by_key(role);
    wanted.truncate((MOST_CELLS / rows.max(1) as usize).max(1));
    wanted.sort_unstable();
    wanted
        .into_iter()
        .map(|i| column(&file, &bytes, i))
        .collect()
}

fn name(metadata: &ParquetMetaData, i: usize) -> String {
    metadata
        .file_metadata()
        .schema_descr()
        .column(i)
        .path()
        .string()
}

fn column(
    file: &SerializedFileReader<Bytes>,
    bytes: &[u8],
    i: usize,
) -> std::result::Result<Column, String> {
    let metadata = file.metadata();
    let mut column = Column::new(name(metadata, i));
    let mut row = 0;
    for group in 0..metadata.num_row_groups() {
        let chunk = metadata.row_group(group).column(i);
        match chunk.compression() {
            Compression::UNCOMPRESSED
            | Compression::SNAPPY
            | Compression::GZIP(_)
            | Compression::LZ4_RAW => {}
            other => {
                return Err(format!(
                    "column {} is compressed with {other}, and only snappy, gzip and lz4 are read",
                    column.name
                ));
            }
        }
        pages::check(bytes, chunk).map_err(|what| format!("column {}: {what}", column.name))?;
        let physical = metadata
            .file_metadata()
            .schema_descr()
            .column(i)
            .physical_type();
        let cells = &mut column.cells;
        let done = match physical {
            Type::INT32 => group_of::<Int32Type>(file, group, i, row, cells, f64::from),
            Type::INT64 => group_of::<Int64Type>(file, group, i, row, cells, |v| v as f64),
            Type::FLOAT => group_of::<FloatType>(file, group, i, row, cells, f64::from),
            _ => group_of::<DoubleType>(file, group, i, row, cells, |v| v),
        };
        done.map_err(|e| format!("column {}: {e}", column.name))?;
        row += u32::try_from(metadata.row_group(group).num_rows()).unwrap_or(0);
    }
    Ok(column)
}

/// The cells of one column in one row group, whose first row is `row`.
fn group_of<T: DataType>(
    file: &SerializedFileReader<Bytes>,
    group: usize,
    i: usize,
    mut row: u32,
    cells: &mut Vec<(u32, f64)>,
    number: fn(T::T) -> f64,
) -> parquet::errors::Result<()> {
    /// Decoded at a time.
    const ROWS: usize = 8192;
    let nullable = file
        .metadata()
        .file_metadata()
        .schema_descr()
        .column(i)
        .max_def_level();
    let most = file.metadata().row_group(group).num_rows();
    let end = row.saturating_add(u32::try_from(most).unwrap_or(0));
    let reader = file.get_row_group(group)?;
    let mut reader = get_typed_column_reader::<T>(reader.get_column_reader(i)?);
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    while row < end {
        levels.clear();
        values.clear();
        let (read, ..) = reader.read_records(ROWS, Some(&mut levels), None, &mut values)?;
        if read == 0 {
            break;
        }
        // A column that is never null has no levels.
        levels.resize(read, nullable);
        let mut values = values.drain(..);
        for &level in &levels {
            if level == nullable
                && let Some(value) = values.next()
            {
                cells.push((row, number(value)));
            }
            row += 1;
        }
    }
    Ok(())
}
