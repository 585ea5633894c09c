//! The footer: columns of the schema, and where the pages of each lie.

use super::thrift::{Cursor, Kind};

pub(super) struct Footer {
    /// Columns without children, in order.
    pub leaves: Vec<Leaf>,
    pub groups: Vec<Group>,
}

pub(super) struct Leaf {
    /// The names on the way to it, joined by dots.
    pub name: String,
    /// What it holds, where it is a flat column of numbers.
    pub number: Option<Number>,
    /// The level of a value that is there; those below are nulls.
    pub level: u32,
}

/// Parquet's physical types of numbers, least byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Int32,
    Int64,
    Float,
    Double,
}

impl Number {
    pub fn size(self) -> usize {
        match self {
            Number::Int32 | Number::Float => 4,
            Number::Int64 | Number::Double => 8,
        }
    }
}

pub(super) struct Group {
    pub rows: u64,
    /// One a leaf.
    pub chunks: Vec<Chunk>,
}

/// The pages of one column in one row group.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    pub codec: i64,
    /// With nulls.
    pub values: i64,
    pub compressed: i64,
    pub data_page: i64,
    pub dictionary_page: Option<i64>,
}

#[derive(Default)]
struct Element {
    kind: Option<i64>,
    repetition: i64,
    name: String,
    children: i64,
}

/// Groups within groups of the schema.
const DEPTH: usize = 64;
const MOST_LEAVES: usize = 20_000;

impl Footer {
    /// `FileMetaData`.
    pub fn read(bytes: &[u8]) -> Option<Footer> {
        let mut elements = Vec::new();
        let mut groups = Vec::new();
        Cursor(bytes).fields(|c, id, kind| {
            match (id, kind) {
                (2, Kind::List) => c.list(Kind::Struct, |c| {
                    elements.push(element(c)?);
                    Some(())
                })?,
                (4, Kind::List) => c.list(Kind::Struct, |c| {
                    groups.push(group(c)?);
                    Some(())
                })?,
                _ => return Some(false),
            }
            Some(true)
        })?;
        let leaves = leaves(&elements)?;
        Some(Footer { leaves, groups })
    }
}

/// `SchemaElement`.
fn element(c: &mut Cursor) -> Option<Element> {
    let mut element = Element::default();
    c.fields(|c, id, kind| {
        match (id, kind) {
            (1, Kind::Int) => element.kind = Some(c.int()?),
            (3, Kind::Int) => element.repetition = c.int()?,
            (4, Kind::Binary) => element.name = String::from_utf8_lossy(c.binary()?).into_owned(),
            (5, Kind::Int) => element.children = c.int()?,
            _ => return Some(false),
        }
        Some(true)
    })?;
    Some(element)
}

/// The tree is written depth first; its root is no column.
fn leaves(elements: &[Element]) -> Option<Vec<Leaf>> {
    const OPTIONAL: i64 = 1;
    const REPEATED: i64 = 2;
    let mut leaves = Vec::new();
    // Children that are still to come, with the level and the name of their parent.
    let mut open: Vec<(i64, u32, bool, String)> = Vec::new();
    let (root, rest) = elements.split_first()?;
    open.push((root.children, 0, false, String::new()));
    for element in rest {
        while open.last().is_some_and(|o| o.0 == 0) {
            open.pop();
        }
        let (left, level, repeated, path) = open.last_mut()?;
        *left -= 1;
        let level =
            *level + u32::from(element.repetition == OPTIONAL || element.repetition == REPEATED);
        let repeated = *repeated || element.repetition == REPEATED;
        // Long paths would be copied for every child.
        let name = match path.is_empty() || path.len() + element.name.len() > 1000 {
            true => element.name.clone(),
            false => format!("{path}.{}", element.name),
        };
        if element.children > 0 {
            if open.len() >= DEPTH {
                return None;
            }
            open.push((element.children, level, repeated, name));
            continue;
        }
        let number = match element.kind {
            Some(1) => Some(Number::Int32),
            Some(2) => Some(Number::Int64),
            Some(4) => Some(Number::Float),
            Some(5) => Some(Number::Double),
            _ => None,
        };
        if leaves.len() >= MOST_LEAVES {
            return None;
        }
        leaves.push(Leaf {
            name,
            number: number.filter(|_| !repeated),
            level,
        });
    }
    Some(leaves)
}

/// `RowGroup`.
fn group(c: &mut Cursor) -> Option<Group> {
    let (mut rows, mut chunks) = (0, Vec::new());
    c.fields(|c, id, kind| {
        match (id, kind) {
            (1, Kind::List) => c.list(Kind::Struct, |c| {
                chunks.push(chunk(c)?);
                Some(())
            })?,
            (3, Kind::Int) => rows = c.int()?,
            _ => return Some(false),
        }
        Some(true)
    })?;
    let rows = u64::try_from(rows).ok()?;
    Some(Group { rows, chunks })
}

/// `ColumnChunk`, of which only its `ColumnMetaData` counts.
fn chunk(c: &mut Cursor) -> Option<Chunk> {
    let mut chunk = Chunk::default();
    c.fields(|c, id, kind| {
        if (id, kind) != (3, Kind::Struct) {
            return Some(false);
        }
        c.fields(|c, id, kind| {
            match (id, kind) {
                (4, Kind::Int) => chunk.codec = c.int()?,
                (5, Kind::Int) => chunk.values = c.int()?,
                (7, Kind::Int) => chunk.compressed = c.int()?,
                (9, Kind::Int) => chunk.data_page = c.int()?,
                (11, Kind::Int) => chunk.dictionary_page = Some(c.int()?),
                _ => return Some(false),
            }
            Some(true)
        })?;
        Some(true)
    })?;
    Some(chunk)
}
