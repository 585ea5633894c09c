//! Parquet: one document a row, from one column of strings.

use super::{Flow, ReadOptions, Sink, Source, Stop, list_names};
use crate::error::Error;
use parquet::basic::{Compression, Type};
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::ByteArrayType;
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::fs::File;
use std::sync::atomic::Ordering;

/// Rows decoded at a time: a page of them is held in any case.
const ROWS: usize = 64;

pub(super) fn read(source: &Source, options: &ReadOptions, sink: &mut dyn Sink) -> Flow {
    let damaged = |e: parquet::errors::ParquetError| {
        Stop::from(Error::input(format!(
            "{} cannot be read as Parquet: {e}; fetch or write it again",
            source.name
        )))
    };
    let file = File::open(&source.path).map_err(|e| Error::io("read", &source.path, e))?;
    let file = SerializedFileReader::new(file).map_err(damaged)?;
    let metadata = file.metadata();
    let column = text_column(metadata, &options.field, source)?;
    let nullable = metadata
        .file_metadata()
        .schema_descr()
        .column(column)
        .max_def_level();
    let groups = metadata.num_row_groups();
    let mut row = 0u64;
    for group in 0..groups {
        readable(
            metadata.row_group(group).column(column).compression(),
            source,
        )?;
        let reader = file.get_row_group(group).map_err(damaged)?;
        let mut reader = get_typed_column_reader::<ByteArrayType>(
            reader.get_column_reader(column).map_err(damaged)?,
        );
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        loop {
            levels.clear();
            values.clear();
            let (rows, ..) = reader
                .read_records(ROWS, Some(&mut levels), None, &mut values)
                .map_err(damaged)?;
            if rows == 0 {
                break;
            }
            let mut values = values.iter();
            // A column that is never null has no levels.
            levels.resize(rows, nullable);
            for &level in &levels {
                row += 1;
                if level < nullable {
                    continue;
                }
                let bytes = values.next().map_or(&b""[..], |v| v.data());
                match std::str::from_utf8(bytes) {
                    Ok(text) => sink.text(text)?,
                    Err(_) if options.lossy => sink.text(&String::from_utf8_lossy(bytes))?,
                    Err(e) => {
                        return Err(Error::input(format!(
                            "{} is not UTF-8 in row {row}, byte {} of column {:?}; convert it, \
                             or give --lossy to replace such bytes by U+FFFD",
                            source.name,
                            e.valid_up_to(),
                            options.field
                        ))
                        .into());
                    }
                }
                sink.end_document()?;
            }
        }
        // Progress by row groups; the footer's own bytes go with the last.
        let part = |g: usize| source.size * g as u64 / groups as u64;
        (options.bytes_read).fetch_add(part(group + 1) - part(group), Ordering::Relaxed);
    }
    Ok(())
}

/// The index of the column of strings called `field`.
fn text_column(
    metadata: &parquet::file::metadata::ParquetMetaData,
    field: &str,
    source: &Source,
) -> Result<usize, Error> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let is_text = |i: usize| {
        columns[i].physical_type() == Type::BYTE_ARRAY && columns[i].max_rep_level() == 0
    };
    let names = |only_text: bool| -> Vec<String> {
        (0..columns.len())
            .filter(|&i| !only_text || is_text(i))
            .map(|i| columns[i].path().string())
            .collect()
    };
    match columns.iter().position(|c| c.path().string() == field) {
        Some(i) if is_text(i) => Ok(i),
        Some(i) => Err(Error::input(format!(
            "{} has no text in column {field:?} but {}; its columns of text are {}; name one \
             with --field",
            source.name,
            columns[i].physical_type(),
            list_names(&names(true))
        ))),
        None => Err(Error::input(format!(
            "{} has no column {field:?}; its columns are {}; name the one that holds the text \
             with --field",
            source.name,
            list_names(&names(false))
        ))),
    }
}

/// Refuses the one common compression that needs a C library, before the reader does.
fn readable(compression: Compression, source: &Source) -> Result<(), Error> {
    if matches!(compression, Compression::ZSTD(_)) && !cfg!(feature = "parquet-zstd") {
        return Err(Error::input(format!(
            "{} is compressed with Zstandard inside, which this build cannot read; build lehr \
             with --features parquet-zstd, or write the file with another compression (snappy)",
            source.name
        )));
    }
    Ok(())
}
