//! Pickled pandas tables, by a reader that can build tables and nothing else.
//!
//! A pickle is a program for a stack machine whose `REDUCE` calls whatever the file names. Here nothing
//! is ever called: [`machine`] knows the opcodes of protocols 2–5 that tables need and a closed list of
//! names ([`Class`]); a call becomes a node that remembers what was to be called with what, and [`tables`]
//! reads tables out of those nodes. Any other global is refused by name, any other opcode by number,
//! both with their offset.
//!
//! Read are a `DataFrame`, a dict of them (one curve a key), and a dict of lists or arrays, as pandas 1.3
//! to 3 write them: numeric blocks of any shape and placement, `RangeIndex` and `Index`, column labels
//! as objects, as `StringArray`, or as Arrow strings. Columns of other types are passed over.
//!
//! Memory is bounded: nodes and values are counted, no length is believed before its bytes are there,
//! and a table that is named many times is charged each time.

mod array;
mod labels;
mod machine;
mod tables;

#[cfg(test)]
mod tests;

use crate::curve::frame::Frame;
use crate::error::{Error, Result};

/// The first byte of every pickle of protocol 2 and later.
pub(super) const PROTO: u8 = 0x80;

/// # Errors
/// One sentence with the file and the offset, or with the table at fault.
pub(super) fn read(bytes: &[u8], file: &str) -> Result<Vec<Frame>> {
    let mut machine = machine::Machine::new(bytes);
    let root = machine.run().map_err(|fault| {
        let at = machine.at();
        Error::input(match fault {
            machine::Fault::Global(name) => format!(
                "{file} asks for {name} at byte {at}; a pickle may run anything, so only tables of pandas and \
                 numpy are read: save it from Python as CSV or Parquet (df.to_csv)"
            ),
            machine::Fault::Opcode(code) => format!(
                "{file} uses the pickle opcode {code:#04x} at byte {at}, which no table needs; \
                 save it from Python as CSV or Parquet (df.to_csv)"
            ),
            machine::Fault::Bad(what) => {
                format!("{file} is a damaged pickle: {what} at byte {at}; copy or write it again")
            }
        })
    })?;
    tables::Tables::new(&machine.nodes)
        .read(root)
        .map_err(|what| {
            Error::input(format!(
                "{file} is a pickle, but {what}; save it from Python as CSV (df.to_csv)"
            ))
        })
}

/// The globals that a table may name, whatever module a version keeps them in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    DataFrame,
    BlockManager,
    UnpickleBlock,
    FromBuffer,
    Reconstruct,
    NdArray,
    DType,
    Scalar,
    Slice,
    Encode,
    ByteArray,
    Bytes,
    NewIndex,
    Index,
    RangeIndex,
    StringDtype,
    StringArray,
    UnpickleBacked,
    ArrowStringArray,
    ArrowArray,
    ArrowBuffer,
    ArrowType,
}

impl Class {
    fn of(module: &str, name: &str) -> Option<Class> {
        Some(match (module, name) {
            ("pandas" | "pandas.core.frame", "DataFrame") => Class::DataFrame,
            ("pandas.core.internals.managers" | "pandas.core.internals", "BlockManager") => {
                Class::BlockManager
            }
            ("pandas._libs.internals", "_unpickle_block") => Class::UnpickleBlock,
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Class::FromBuffer,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Class::Reconstruct
            }
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Class::Scalar,
            ("numpy", "ndarray") => Class::NdArray,
            ("numpy", "dtype") => Class::DType,
            ("builtins" | "__builtin__", "slice") => Class::Slice,
            ("builtins" | "__builtin__", "bytearray") => Class::ByteArray,
            ("builtins" | "__builtin__", "bytes") => Class::Bytes,
            // Protocol 2 writes bytes as text that is to be encoded in Latin-1.
            ("_codecs", "encode") => Class::Encode,
            ("pandas.core.indexes.base", "_new_Index") => Class::NewIndex,
            ("pandas" | "pandas.core.indexes.base", "Index") => Class::Index,
            ("pandas.core.indexes.numeric", "Int64Index" | "UInt64Index" | "Float64Index") => {
                Class::Index
            }
            ("pandas" | "pandas.core.indexes.range", "RangeIndex") => Class::RangeIndex,
            ("pandas" | "pandas.core.arrays.string_", "StringDtype") => Class::StringDtype,
            ("pandas.arrays" | "pandas.core.arrays.string_", "StringArray") => Class::StringArray,
            ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked") => Class::UnpickleBacked,
            ("pandas.arrays" | "pandas.core.arrays.string_arrow", "ArrowStringArray") => {
                Class::ArrowStringArray
            }
            ("pyarrow.lib", "_restore_array") => Class::ArrowArray,
            ("pyarrow.lib", "py_buffer") => Class::ArrowBuffer,
            ("pyarrow.lib", "type_for_alias") => Class::ArrowType,
            _ => return None,
        })
    }
}

/// What the machine moves about. Text and bytes are those of the file.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Global(Class),
    Node(u32),
}

/// What holds other values; a value names it by its place in the arena, so that sharing and cycles
/// cost nothing.
#[derive(Clone, Debug)]
enum Node<'a> {
    Tuple(Vec<Value<'a>>),
    List(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    /// A call that was asked for, and the state that was set on its result.
    Call {
        class: Class,
        args: Value<'a>,
        state: Option<Value<'a>>,
    },
}
