//! Tables out of the nodes: the shapes that pandas gives its frames, blocks and indexes.

use super::array::{Array, DType, Data, Kind};
use super::{Class, Node, Value};
use crate::curve::columns::{Role, role_of};
use crate::curve::frame::{Column, Frame, MOST_CELLS, Places};
use std::borrow::Cow;

const MOST_TABLES: usize = 10_000;

/// Class, arguments, state.
type Called<'n, 'a> = (Class, &'n [Value<'a>], Option<Value<'a>>);

pub(super) type Found<T> = Result<T, String>;

pub(super) struct Tables<'n, 'a> {
    nodes: &'n [Node<'a>],
    /// Cells left, however often the file names the same bytes.
    cells: usize,
}

impl<'n, 'a> Tables<'n, 'a> {
    pub fn new(nodes: &'n [Node<'a>]) -> Self {
        Tables {
            nodes,
            cells: MOST_CELLS,
        }
    }

    /// A table, or a dict of tables.
    pub fn read(mut self, root: Value<'a>) -> Found<Vec<Frame>> {
        if let Some(frame) = self.table(root)? {
            return Ok(vec![frame]);
        }
        let mut frames = Vec::new();
        for &(key, value) in self.dict(root).unwrap_or_default() {
            let key = match key {
                Value::Text(text) => self.name(text)?,
                Value::Int(number) => number.to_string(),
                _ => continue,
            };
            if frames.len() >= MOST_TABLES {
                return Err(format!("holds more than {MOST_TABLES} tables"));
            }
            if let Some(mut frame) = self.table(value).map_err(|e| {
                let shown: String = key.chars().take(100).collect();
                format!("its table '{shown}' cannot be read: {e}")
            })? {
                frame.key = Some(key);
                frames.push(frame);
            }
        }
        match frames.is_empty() {
            true => Err("it holds no table (a DataFrame, or a dict of them)".into()),
            false => Ok(frames),
        }
    }

    fn table(&mut self, value: Value<'a>) -> Found<Option<Frame>> {
        if let Some((Class::DataFrame, _, state)) = self.call(value) {
            return self.data_frame(state).map(Some);
        }
        match self.dict(value) {
            Some(pairs) => self.dict_of_columns(pairs),
            None => Ok(None),
        }
    }

    /// `{"step": [0, 1], "loss": array}`; `None` where it has no loss.
    fn dict_of_columns(&mut self, pairs: &'n [(Value<'a>, Value<'a>)]) -> Found<Option<Frame>> {
        let is_loss = |p: &(Value, Value)| matches!(p.0, Value::Text(name) if matches!(role_of(name), Some((Role::Loss(_), _))));
        self.charge(pairs.len())?;
        if !pairs.iter().any(is_loss) {
            return Ok(None);
        }
        let mut columns = Vec::new();
        for &(key, value) in pairs {
            let Value::Text(name) = key else { continue };
            let mut column = Column::new(self.name(name)?);
            if let Some(list) = self.sequence(value) {
                self.charge(list.len())?;
                for (row, &item) in (0u32..).zip(list) {
                    match self.number(item)? {
                        Some(number) => column.cells.push((row, number)),
                        None => continue,
                    }
                }
            } else if let Some(array) = self.array(value)?
                && array.dtype.is_number()
            {
                let length = array.len()?;
                self.charge(length)?;
                column.cells = (0..length).map(|i| (i as u32, array.number(i))).collect();
            } else {
                continue;
            }
            columns.push(column);
        }
        if !columns
            .iter()
            .any(|c| matches!(role_of(&c.name), Some((Role::Step, _))))
        {
            let rows = columns
                .iter()
                .filter_map(|c| c.cells.last())
                .map(|c| c.0)
                .max();
            let mut steps = Column::new("step");
            self.charge(rows.map_or(0, |r| r as usize + 1))?;
            steps.cells = rows.map_or(Vec::new(), |last| {
                (0..=last).map(|r| (r, f64::from(r))).collect()
            });
            columns.push(steps);
        }
        Ok(Some(Frame::new(None, columns, Places::Rows)))
    }

    fn data_frame(&mut self, state: Option<Value<'a>>) -> Found<Frame> {
        let manager = state.and_then(|s| self.get(s, "_mgr"));
        let manager = manager.and_then(|m| self.call(m));
        let Some((Class::BlockManager, [blocks, axes, ..], _)) = manager else {
            return Err("a DataFrame is not in the form of pandas 1.3 to 3".into());
        };
        let (Some(blocks), Some(&[labels, index])) = (self.sequence(*blocks), self.sequence(*axes))
        else {
            return Err("a DataFrame has not two axes".into());
        };
        let labels = self.labels(labels)?;
        let mut columns = Vec::new();
        let mut rows = None;
        self.charge(blocks.len())?;
        for &block in blocks {
            let Some((Class::UnpickleBlock, [values, placement, ..], _)) = self.call(block) else {
                return Err("a DataFrame holds something that is no block".into());
            };
            let Some(array) = self.array(*values)? else {
                continue;
            };
            if !array.dtype.is_number() {
                continue;
            }
            let &[width, height] = &array.shape[..] else {
                return Err("a block has not two dimensions".into());
            };
            let count = array.len()?;
            if *rows.get_or_insert(height) != height {
                return Err("blocks differ in their rows".into());
            }
            let places = self.placement(*placement, width)?;
            self.charge(count)?;
            for (i, place) in places.into_iter().enumerate() {
                let Some(name) = labels.get(place) else {
                    return Err(format!("a block claims column {place} of {}", labels.len()));
                };
                let at = |row: usize| {
                    if array.fortran {
                        row * width + i
                    } else {
                        i * height + row
                    }
                };
                let mut column = Column::new(self.name(name)?);
                column.cells = (0..height)
                    .map(|row| (row as u32, array.number(at(row))))
                    .collect();
                columns.push((place, column));
            }
        }
        columns.sort_by_key(|c| c.0);
        let mut columns: Vec<Column> = columns.into_iter().map(|c| c.1).collect();
        if let Some(index) = self.index(index, rows.unwrap_or(0), &columns)? {
            columns.push(index);
        }
        Ok(Frame::new(None, columns, Places::Rows))
    }

    /// The columns of a block: a slice, or an array of whole numbers.
    fn placement(&mut self, value: Value<'a>, width: usize) -> Found<Vec<usize>> {
        let bad = || "a block's columns cannot be told".to_string();
        let whole = |value: f64| (0.0..1e6).contains(&value).then_some(value as usize);
        self.charge(width)?;
        if let Some((Class::Slice, &[Value::Int(start), Value::Int(stop), step], _)) =
            self.call(value)
        {
            let step = if let Value::Int(step) = step { step } else { 1 };
            let inside = |at: i64| (0..stop.max(0)).contains(&at) || (step < 0 && at > stop);
            let place = |i: usize| {
                let at = start.checked_add(step.checked_mul(i as i64)?)?;
                usize::try_from(at).ok().filter(|_| inside(at))
            };
            return (0..width).map(place).collect::<Option<_>>().ok_or_else(bad);
        }
        let array = self
            .array(value)?
            .filter(|a| a.dtype.is_number())
            .ok_or_else(bad)?;
        if array.len()? != width {
            return Err(bad());
        }
        (0..width)
            .map(|i| whole(array.number(i)))
            .collect::<Option<_>>()
            .ok_or_else(bad)
    }

    /// Bytes as the protocols write them: in place, or as text to be encoded.
    pub(super) fn bytes(&mut self, value: Value<'a>) -> Found<Option<Cow<'a, [u8]>>> {
        if let Value::Bytes(bytes) = value {
            return Ok(Some(Cow::Borrowed(bytes)));
        }
        match self.call(value) {
            Some((Class::Encode, [Value::Text(text), Value::Text("latin1" | "latin-1")], _)) => {
                self.charge(text.len() / 8)?;
                let bytes: Option<Vec<u8>> = text
                    .chars()
                    .map(|c| u8::try_from(u32::from(c)).ok())
                    .collect();
                Ok(bytes.map(Cow::Owned))
            }
            Some((Class::Bytes | Class::ByteArray, [], _)) => Ok(Some(Cow::Borrowed(&[]))),
            // `bytearray(bytes)`, where the bytes may be written either way, but not as another of these.
            Some((Class::ByteArray, [inner], _))
                if !matches!(self.call(*inner), Some((Class::ByteArray, ..))) =>
            {
                self.bytes(*inner)
            }
            _ => Ok(None),
        }
    }

    /// `_frombuffer(bytes, dtype, shape, order)`, or `_reconstruct(…)` with the state
    /// `(version, shape, dtype, is_fortran, data)`.
    pub(super) fn array(&mut self, value: Value<'a>) -> Found<Option<Array<'a>>> {
        let (data, dtype, shape, fortran) = match self.call(value) {
            Some((Class::FromBuffer, &[data, dtype, shape, order], _)) => {
                (data, dtype, shape, matches!(order, Value::Text("F")))
            }
            Some((Class::Reconstruct, _, Some(state))) => match self.sequence(state) {
                Some(&[_, shape, dtype, fortran, data]) => {
                    (data, dtype, shape, matches!(fortran, Value::Bool(true)))
                }
                _ => return Err("an array without its state".into()),
            },
            _ => return Ok(None),
        };
        let dtype = self.dtype(dtype).ok_or("an array without a type")?;
        let size = |&v: &Value| match v {
            Value::Int(n) => usize::try_from(n).ok(),
            _ => None,
        };
        let shape = self.sequence(shape).filter(|s| s.len() <= 8);
        let shape = shape.and_then(|s| s.iter().map(size).collect::<Option<Vec<usize>>>());
        let shape = shape.ok_or("an array without a shape")?;
        let data = match dtype.kind {
            Kind::Object => {
                let objects = self.sequence(data).ok_or("an array without its objects")?;
                self.charge(objects.len())?;
                Data::Objects(objects.to_vec())
            }
            _ => Data::Bytes(self.bytes(data)?.ok_or("an array without its bytes")?),
        };
        Ok(Some(Array {
            dtype,
            shape,
            fortran,
            data,
        }))
    }

    /// `dtype(name, …)` with the state `(3, order, …)`.
    fn dtype(&self, value: Value<'a>) -> Option<DType> {
        let Some((Class::DType, [Value::Text(name), ..], state)) = self.call(value) else {
            return None;
        };
        let order = state.and_then(|s| self.sequence(s)?.get(1).copied());
        let order = if let Some(Value::Text(order)) = order {
            order
        } else {
            "<"
        };
        Some(DType::new(name, order))
    }

    /// A number in a list: Python's, or a scalar of numpy's.
    fn number(&mut self, value: Value<'a>) -> Found<Option<f64>> {
        Ok(match value {
            Value::Int(value) => Some(value as f64),
            Value::Float(value) => Some(value),
            _ => match self.call(value) {
                Some((Class::Scalar, &[dtype, data], _)) => {
                    let dtype = self.dtype(dtype).filter(|d| d.is_number());
                    let data = self.bytes(data)?;
                    let (Some(dtype), Some(data)) = (dtype, data) else {
                        return Ok(None);
                    };
                    let array = Array {
                        dtype,
                        shape: Vec::new(),
                        fortran: false,
                        data: Data::Bytes(data),
                    };
                    array.len().ok().map(|_| array.number(0))
                }
                _ => None,
            },
        })
    }

    fn node(&self, value: Value<'a>) -> Option<&'n Node<'a>> {
        match value {
            Value::Node(at) => self.nodes.get(at as usize),
            _ => None,
        }
    }

    pub(super) fn sequence(&self, value: Value<'a>) -> Option<&'n [Value<'a>]> {
        match self.node(value)? {
            Node::Tuple(values) | Node::List(values) => Some(values),
            _ => None,
        }
    }

    fn dict(&self, value: Value<'a>) -> Option<&'n [(Value<'a>, Value<'a>)]> {
        match self.node(value)? {
            Node::Dict(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// What a node wants called, with its arguments and the state set on its result.
    pub(super) fn call(&self, value: Value<'a>) -> Option<Called<'n, 'a>> {
        match self.node(value)? {
            Node::Call { class, args, state } => Some((*class, self.sequence(*args)?, *state)),
            _ => None,
        }
    }

    /// The value of a key; the state of an object may be `(None, {…})` or `({…}, None)`.
    pub(super) fn get(&self, value: Value<'a>, key: &str) -> Option<Value<'a>> {
        let pairs = match self.dict(value) {
            Some(pairs) => pairs,
            None => self
                .sequence(value)?
                .iter()
                .take(2)
                .find_map(|v| self.dict(*v))?,
        };
        // pandas' own have ten; a long one would be searched again for every table that names it.
        let pairs = &pairs[..pairs.len().min(100)];
        let mut pairs = pairs.iter().rev();
        pairs
            .find(|p| matches!(p.0, Value::Text(k) if k == key))
            .map(|p| p.1)
    }

    /// A copy of a name, which costs as much as the numbers that would fit in its place.
    pub(super) fn name(&mut self, text: &str) -> Found<String> {
        self.charge(1 + text.len() / 8)?;
        Ok(text.to_string())
    }

    pub(super) fn charge(&mut self, cells: usize) -> Found<()> {
        match self.cells.checked_sub(cells) {
            Some(left) => {
                self.cells = left;
                Ok(())
            }
            None => Err(format!("its tables hold more than {MOST_CELLS} numbers")),
        }
    }
}
