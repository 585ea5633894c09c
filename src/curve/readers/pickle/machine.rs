//! The stack machine: opcodes in, nodes out. Nothing recurses and nothing is called.

use super::{Class, Node, Value};
use std::collections::HashMap;

/// Tables take a few hundred nodes each; lists of numbers are one node.
const MOST_NODES: usize = 4_000_000;
/// Values pushed in all, and so the length of all lists together.
const MOST_VALUES: usize = 20_000_000;
/// Names kept for later.
const MOST_MEMO: usize = 4_000_000;

/// Why the machine stopped; the offset is [`Machine::at`].
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    /// A global that is not on the list, as `module.name`.
    Global(String),
    /// An opcode that tables do not need.
    Opcode(u8),
    Bad(&'static str),
}

type Step<T = ()> = Result<T, Fault>;

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    /// The next byte, and the opcode being run.
    next: usize,
    opcode_at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    /// By number; only looked up, never walked.
    memo: HashMap<u32, Value<'a>>,
    pub nodes: Vec<Node<'a>>,
    values: usize,
}

impl<'a> Machine<'a> {
    pub fn new(bytes: &'a [u8]) -> Machine<'a> {
        Machine {
            bytes,
            next: 0,
            opcode_at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            nodes: Vec::new(),
            values: 0,
        }
    }

    /// The offset of the opcode that ran last.
    pub fn at(&self) -> usize {
        self.opcode_at
    }

    /// Runs to `STOP`; what is left on the stack is the result.
    pub fn run(&mut self) -> Step<Value<'a>> {
        loop {
            self.opcode_at = self.next;
            let [code] = self.take()?;
            if code == b'.' {
                return self.pop();
            }
            self.step(code)?;
        }
    }

    fn step(&mut self, code: u8) -> Step {
        match code {
            // PROTO, FRAME: a frame's length is of no use to a reader that holds the file.
            0x80 => {
                let [protocol] = self.take()?;
                match protocol {
                    2..=5 => Ok(()),
                    _ => Err(Fault::Bad("a protocol other than 2 to 5")),
                }
            }
            0x95 => self.take::<8>().map(drop),
            // MARK, POP, POP_MARK, DUP
            b'(' => {
                self.count(1)?;
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.above_mark().map(drop),
            b'2' => {
                let top = *self.stack.last().ok_or(Fault::Bad("an empty stack"))?;
                self.push(top)
            }
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            // BININT, BININT1, BININT2, LONG1, BINFLOAT
            b'J' => {
                let bytes = self.take()?;
                self.push(Value::Int(i32::from_le_bytes(bytes).into()))
            }
            b'K' => {
                let [byte] = self.take()?;
                self.push(Value::Int(byte.into()))
            }
            b'M' => {
                let bytes = self.take()?;
                self.push(Value::Int(u16::from_le_bytes(bytes).into()))
            }
            0x8a => {
                let [length] = self.take()?;
                let bytes = self.slice(length.into())?;
                let value = long(bytes).ok_or(Fault::Bad("a whole number of more than 64 bits"))?;
                self.push(Value::Int(value))
            }
            b'G' => {
                let bytes = self.take()?;
                self.push(Value::Float(f64::from_be_bytes(bytes)))
            }
            // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            b'C' => self.bytes(1),
            b'B' => self.bytes(4),
            0x8e | 0x96 => self.bytes(8),
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8c => self.text(1),
            b'X' => self.text(4),
            0x8d => self.text(8),
            // EMPTY_LIST, APPEND, APPENDS
            b']' => self.node(Node::List(Vec::new())),
            b'a' => {
                let value = self.pop()?;
                self.list()?.push(value);
                Ok(())
            }
            b'e' => {
                let values = self.above_mark()?;
                self.list()?.extend(values);
                Ok(())
            }
            // EMPTY_TUPLE, TUPLE, TUPLE1 to TUPLE3
            b')' => self.node(Node::Tuple(Vec::new())),
            b't' => {
                let values = self.above_mark()?;
                self.node(Node::Tuple(values))
            }
            0x85..=0x87 => {
                let values = self.pop_many(usize::from(code - 0x84))?;
                self.node(Node::Tuple(values))
            }
            // EMPTY_DICT, SETITEM, SETITEMS
            b'}' => self.node(Node::Dict(Vec::new())),
            b's' => {
                let pair = self.pop_many(2)?;
                self.set_items(&pair)
            }
            b'u' => {
                let values = self.above_mark()?;
                self.set_items(&values)
            }
            // BINGET, LONG_BINGET, BINPUT, LONG_BINPUT, MEMOIZE
            b'h' => {
                let [index] = self.take()?;
                self.recall(index.into())
            }
            b'j' => {
                let bytes = self.take()?;
                self.recall(u32::from_le_bytes(bytes))
            }
            b'q' => {
                let [index] = self.take()?;
                self.remember(index.into())
            }
            b'r' => {
                let bytes = self.take()?;
                self.remember(u32::from_le_bytes(bytes))
            }
            0x94 => self.remember(self.memo.len() as u32),
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.global(module, name)
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.global(module, name),
                _ => Err(Fault::Bad("a global without a name")),
            },
            // REDUCE, NEWOBJ: the class, and a tuple of arguments.
            b'R' | 0x81 => {
                let args = self.pop()?;
                let is_tuple = matches!(args, Value::Node(n) if matches!(self.nodes[n as usize], Node::Tuple(_)));
                match self.pop()? {
                    Value::Global(class) if is_tuple => self.node(Node::Call {
                        class,
                        args,
                        state: None,
                    }),
                    _ => Err(Fault::Bad("a call of something that cannot be called")),
                }
            }
            // BUILD
            b'b' => {
                let set = self.pop()?;
                match self.top_node()? {
                    Node::Call { state, .. } => {
                        *state = Some(set);
                        Ok(())
                    }
                    _ => Err(Fault::Bad("a state for something that has none")),
                }
            }
            _ => Err(Fault::Opcode(code)),
        }
    }

    fn take<const N: usize>(&mut self) -> Step<[u8; N]> {
        let bytes = self.bytes[self.next..].first_chunk().ok_or(END)?;
        self.next += N;
        Ok(*bytes)
    }

    fn slice(&mut self, length: u64) -> Step<&'a [u8]> {
        let rest = &self.bytes[self.next..];
        let length = usize::try_from(length).map_err(|_| END)?;
        let (slice, _) = rest.split_at_checked(length).ok_or(END)?;
        self.next += length;
        Ok(slice)
    }

    /// A slice behind its length of `size` bytes.
    fn counted(&mut self, size: u64) -> Step<&'a [u8]> {
        let mut length = [0; 8];
        let written = self.slice(size)?;
        length[..written.len()].copy_from_slice(written);
        self.slice(u64::from_le_bytes(length))
    }

    fn bytes(&mut self, size: u64) -> Step {
        let bytes = self.counted(size)?;
        self.push(Value::Bytes(bytes))
    }

    fn text(&mut self, size: u64) -> Step {
        let bytes = self.counted(size)?;
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::Bad("text that is not UTF-8"))?;
        self.push(Value::Text(text))
    }

    /// A name up to the end of its line.
    fn line(&mut self) -> Step<&'a str> {
        let rest = &self.bytes[self.next..];
        let length = rest.iter().position(|&b| b == b'\n').ok_or(END)?;
        self.next += length + 1;
        std::str::from_utf8(&rest[..length]).map_err(|_| Fault::Bad("text that is not UTF-8"))
    }

    fn global(&mut self, module: &str, name: &str) -> Step {
        match Class::of(module, name) {
            Some(class) => self.push(Value::Global(class)),
            None => {
                let shown = format!("{module}.{name}");
                let shown = shown
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(100)
                    .collect();
                Err(Fault::Global(shown))
            }
        }
    }

    fn count(&mut self, values: usize) -> Step {
        self.values += values;
        match self.values > MOST_VALUES {
            true => Err(Fault::Bad("more values than any table has")),
            false => Ok(()),
        }
    }

    fn push(&mut self, value: Value<'a>) -> Step {
        self.count(1)?;
        self.stack.push(value);
        Ok(())
    }

    fn node(&mut self, node: Node<'a>) -> Step {
        if self.nodes.len() >= MOST_NODES {
            return Err(Fault::Bad("more objects than any table has"));
        }
        self.nodes.push(node);
        self.push(Value::Node((self.nodes.len() - 1) as u32))
    }

    /// The height below which values belong to an open mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Step<Value<'a>> {
        match self.stack.len() > self.floor() {
            true => self.stack.pop().ok_or(Fault::Bad("an empty stack")),
            false => Err(Fault::Bad("an empty stack")),
        }
    }

    fn pop_many(&mut self, n: usize) -> Step<Vec<Value<'a>>> {
        match self.stack.len() - self.floor() >= n {
            true => Ok(self.stack.split_off(self.stack.len() - n)),
            false => Err(Fault::Bad("an empty stack")),
        }
    }

    fn above_mark(&mut self) -> Step<Vec<Value<'a>>> {
        let mark = self.marks.pop().ok_or(Fault::Bad("no mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn top_node(&mut self) -> Step<&mut Node<'a>> {
        match self.stack[self.floor()..].last() {
            Some(&Value::Node(n)) => Ok(&mut self.nodes[n as usize]),
            _ => Err(Fault::Bad("no object where one is needed")),
        }
    }

    fn list(&mut self) -> Step<&mut Vec<Value<'a>>> {
        match self.top_node()? {
            Node::List(list) => Ok(list),
            _ => Err(Fault::Bad("no list where one is needed")),
        }
    }

    fn set_items(&mut self, values: &[Value<'a>]) -> Step {
        let (pairs, rest) = values.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Fault::Bad("a key without a value"));
        }
        match self.top_node()? {
            Node::Dict(dict) => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            _ => Err(Fault::Bad("no dict where one is needed")),
        }
    }

    fn recall(&mut self, index: u32) -> Step {
        let value = self.memo.get(&index).copied();
        self.push(value.ok_or(Fault::Bad("a name that was never given"))?)
    }

    fn remember(&mut self, index: u32) -> Step {
        let top = self.stack[self.floor()..].last().copied();
        let top = top.ok_or(Fault::Bad("an empty stack"))?;
        if self.memo.len() >= MOST_MEMO {
            return Err(Fault::Bad("more names than any table has"));
        }
        self.memo.insert(index, top);
        Ok(())
    }
}

const END: Fault = Fault::Bad("the file ends too early");

/// A whole number in two's complement, least byte first.
fn long(bytes: &[u8]) -> Option<i64> {
    if bytes.len() > 8 {
        return None;
    }
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut wide = if negative { [0xff; 8] } else { [0; 8] };
    wide[..bytes.len()].copy_from_slice(bytes);
    Some(i64::from_le_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longs_are_twos_complement() {
        let cases: [(&[u8], i64); 4] = [
            (&[], 0),
            (&[255, 0], 255),
            (&[255], -1),
            (&[0, 128], -32768),
        ];
        for (bytes, value) in cases {
            assert_eq!(long(bytes), Some(value));
        }
        assert_eq!(long(&[0; 9]), None);
    }
}
