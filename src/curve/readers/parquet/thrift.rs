//! Thrift's compact protocol, as far as Parquet's headers use it.
//!
//! Everything that is read takes at least a byte, so work is bounded by the bytes there are.

/// Structs and lists within one another.
const DEPTH: usize = 16;

/// The kinds of fields that Parquet has; those of lists are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of a field; the value of one in a list stands in a byte of its own.
    Bool(bool),
    Byte,
    /// 16, 32 and 64 bits.
    Int,
    Double,
    Binary,
    List,
    Struct,
}

impl Kind {
    fn of(nibble: u8) -> Option<Kind> {
        Some(match nibble {
            1 => Kind::Bool(true),
            2 => Kind::Bool(false),
            3 => Kind::Byte,
            4..=6 => Kind::Int,
            7 => Kind::Double,
            8 => Kind::Binary,
            9 | 10 => Kind::List,
            12 => Kind::Struct,
            _ => return None,
        })
    }
}

/// The bytes that are still to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    /// Walks the fields of a struct. `each` gets number and kind, and says whether it has read the
    /// field; what it has not is skipped. `None` where the bytes are damaged.
    pub fn fields(
        &mut self,
        mut each: impl FnMut(&mut Self, i64, Kind) -> Option<bool>,
    ) -> Option<()> {
        let mut id = 0i64;
        while let Some(kind) = self.field(&mut id)? {
            let before = *self;
            if !each(self, id, kind)? {
                *self = before;
                self.skip(kind, true, DEPTH)?;
            }
        }
        Some(())
    }

    /// Walks a list of structs, lists or numbers of this kind.
    pub fn list(
        &mut self,
        kind: Kind,
        mut each: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        let (found, length) = self.list_head()?;
        if found != kind {
            return None;
        }
        (0..length).try_for_each(|_| each(self))
    }

    /// A whole number, zigzag.
    pub fn int(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub fn binary(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.take(length)
    }

    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let next = self.byte()?;
            value |= u64::from(next & 0x7f) << shift;
            if next < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// The kind of the next field, its number into `id`; `Some(None)` at the end of the struct.
    fn field(&mut self, id: &mut i64) -> Option<Option<Kind>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *id = match head >> 4 {
            0 => self.int()?,
            delta => id.checked_add(i64::from(delta))?,
        };
        Some(Some(Kind::of(head & 15)?))
    }

    fn list_head(&mut self) -> Option<(Kind, u64)> {
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        Some((Kind::of(head & 15)?, length))
    }

    /// A boolean field stands in its head; one in a list has a byte.
    fn skip(&mut self, kind: Kind, is_field: bool, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            Kind::Bool(_) if is_field => Some(()),
            Kind::Bool(_) | Kind::Byte => self.byte().map(drop),
            Kind::Int => self.varint().map(drop),
            Kind::Double => self.take(8).map(drop),
            Kind::Binary => self.binary().map(drop),
            Kind::List => {
                let (kind, length) = self.list_head()?;
                (0..length).try_for_each(|_| self.skip(kind, false, depth))
            }
            Kind::Struct => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, true, depth)?;
                }
                Some(())
            }
        }
    }
}
