//! Writers of every format, for the property tests: what the libraries write, in its plainest form.

use super::tensorboard;
use parquet::data_type::{DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fmt::Write;
use std::sync::Arc;

/// Rows of step, LR and loss.
pub type Rows = [(u64, f64, f64)];

/// The bytes of a file that holds these rows.
pub type Writer = fn(&Rows) -> Vec<u8>;

/// Each format by name.
pub const ALL: &[(&str, Writer)] = &[
    ("csv", csv),
    ("tsv", tsv),
    ("json lines", json_lines),
    ("trainer state", trainer_state),
    ("wandb columns", wandb_columns),
    ("wandb rows", wandb_rows),
    ("text log", text_log),
    ("tensorboard", event_file),
    ("parquet", parquet),
    ("pickle 2", |rows| pickle(rows, 2)),
    ("pickle 3", |rows| pickle(rows, 3)),
    ("pickle 4", |rows| pickle(rows, 4)),
    ("pickle 5", |rows| pickle(rows, 5)),
];

fn lines(start: &str, rows: &Rows, row: impl Fn(&mut String, u64, f64, f64), end: &str) -> Vec<u8> {
    let mut text = start.to_string();
    for &(step, lr, loss) in rows {
        row(&mut text, step, lr, loss);
    }
    (text + end).into_bytes()
}

fn csv(rows: &Rows) -> Vec<u8> {
    lines(
        "step,lr,loss\n",
        rows,
        |t, s, lr, l| writeln!(t, "{s},{lr},{l}").unwrap(),
        "",
    )
}

fn tsv(rows: &Rows) -> Vec<u8> {
    lines(
        "loss\tlearning_rate\titer\r\n",
        rows,
        |t, s, lr, l| write!(t, "\"{l}\"\t{lr:e}\t{s}\r\n").unwrap(),
        "",
    )
}

fn json_lines(rows: &Rows) -> Vec<u8> {
    let row =
        |t: &mut String, s, lr, l| writeln!(t, r#"{{"step":{s},"lr":{lr:e},"loss":{l}}}"#).unwrap();
    lines("", rows, row, "")
}

fn trainer_state(rows: &Rows) -> Vec<u8> {
    let row = |t: &mut String, s, lr, l| {
        write!(t, r#"{{"loss":{l},"learning_rate":{lr:e},"step":{s}}},"#).unwrap()
    };
    lines(
        r#"{"log_history":["#,
        rows,
        row,
        r#"{"train_runtime":1.5,"train_loss":9,"step":9}]}"#,
    )
}

fn column(rows: &Rows, cell: impl Fn(&(u64, f64, f64)) -> String) -> String {
    rows.iter().map(cell).collect::<Vec<_>>().join(",")
}

fn wandb_columns(rows: &Rows) -> Vec<u8> {
    let (steps, lrs, losses) = (
        column(rows, |r| r.0.to_string()),
        column(rows, |r| format!("{:e}", r.1)),
        column(rows, |r| r.2.to_string()),
    );
    format!(r#"{{"history":{{"train":{{"iter":[{steps}],"train_lr":[{lrs}],"train_loss":[{losses}]}}}},"config":{{}}}}"#)
        .into_bytes()
}

fn wandb_rows(rows: &Rows) -> Vec<u8> {
    let rows = column(rows, |(s, lr, l)| {
        format!("{{\"_step\": {s},\n \"train/loss\": {l}, \"lr\": {lr}}}")
    });
    format!("[{rows}]").into_bytes()
}

fn text_log(rows: &Rows) -> Vec<u8> {
    let row = |t: &mut String, s, lr, l| {
        writeln!(t, "step {s}/9999 | loss {l} | lr {lr:e} | 12.3 ms").unwrap()
    };
    lines("hello\n", rows, row, "done\n")
}

fn event_file(rows: &Rows) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let mut out = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend(bytes);
        out
    };
    // A tensor of one double: what single precision would round stays as it is.
    let scalar = |tag: &str, value: f64| {
        let tensor = [&[8, 2][..], &field(4, &value.to_le_bytes())].concat();
        field(1, &[field(1, tag.as_bytes()), field(8, &tensor)].concat())
    };
    let mut out = tensorboard::record(&field(3, b"brain.Event:2"));
    for &(step, lr, loss) in rows {
        let mut event = vec![9, 0, 0, 0, 0, 0, 0, 0, 0, 16];
        let mut rest = step;
        while rest >= 0x80 {
            event.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        event.push(rest as u8);
        event.extend(field(
            5,
            &[scalar("lr", lr), scalar("Loss/train", loss)].concat(),
        ));
        out.extend(tensorboard::record(&event));
    }
    out
}

fn parquet(rows: &Rows) -> Vec<u8> {
    let schema = "message run { required int64 step; required double lr; required double loss; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    for part in rows.chunks(37) {
        let mut group = writer.next_row_group().unwrap();
        let steps: Vec<i64> = part.iter().map(|r| r.0 as i64).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<Int64Type>()
            .write_batch(&steps, None, None)
            .unwrap();
        column.close().unwrap();
        for pick in [|r: &(u64, f64, f64)| r.1, |r: &(u64, f64, f64)| r.2] {
            let values: Vec<f64> = part.iter().map(pick).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column
                .typed::<DoubleType>()
                .write_batch(&values, None, None)
                .unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

/// A frame whose LR and loss share a block, as pandas 2 pickles it.
pub fn pickle(rows: &Rows, protocol: u8) -> Vec<u8> {
    let n = rows.len();
    let steps = rows
        .iter()
        .flat_map(|r| (r.0 as i64).to_le_bytes())
        .collect();
    let lrs = rows.iter().flat_map(|r| r.1.to_le_bytes());
    let both = lrs
        .chain(rows.iter().flat_map(|r| r.2.to_le_bytes()))
        .collect();
    let mut p = Pickle {
        out: vec![0x80, protocol],
        protocol,
    };
    p.global("pandas.core.frame", "DataFrame")
        .op(b")\x81}(")
        .text("_mgr");
    p.global("pandas.core.internals.managers", "BlockManager");
    p.block("i8", 1, n, steps, 0, 1)
        .block("f8", 2, n, both, 1, 3)
        .op(b"\x86](");
    p.global("pandas.core.indexes.base", "_new_Index");
    p.global("pandas.core.indexes.base", "Index")
        .op(b"}(")
        .text("data");
    p.array().op(b"(K\x01K\x03\x85").dtype("O8").op(b"\x89](");
    p.text("step").text("lr").text("loss").op(b"etbu\x86R");
    p.global("pandas.core.indexes.base", "_new_Index");
    p.global("pandas.core.indexes.range", "RangeIndex")
        .op(b"}(");
    p.text("start")
        .int(0)
        .text("stop")
        .int(n)
        .text("step")
        .int(1)
        .op(b"u\x86Re\x86Rub.");
    p.out
}

pub struct Pickle {
    pub out: Vec<u8>,
    pub protocol: u8,
}

impl Pickle {
    pub fn op(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend(bytes);
        self
    }

    pub fn text(&mut self, text: &str) -> &mut Self {
        self.op(b"X")
            .op(&(text.len() as u32).to_le_bytes())
            .op(text.as_bytes())
    }

    pub fn int(&mut self, value: usize) -> &mut Self {
        self.op(b"J").op(&(value as i32).to_le_bytes())
    }

    pub fn global(&mut self, module: &str, name: &str) -> &mut Self {
        match self.protocol {
            4.. => self.text(module).text(name).op(b"\x93"),
            _ => self
                .op(b"c")
                .op(module.as_bytes())
                .op(b"\n")
                .op(name.as_bytes())
                .op(b"\n"),
        }
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        match self.protocol {
            5 => self
                .op(b"\x96")
                .op(&(bytes.len() as u64).to_le_bytes())
                .op(bytes),
            3 | 4 => self
                .op(b"B")
                .op(&(bytes.len() as u32).to_le_bytes())
                .op(bytes),
            _ => {
                let text: String = bytes.iter().map(|&b| char::from(b)).collect();
                self.global("_codecs", "encode")
                    .text(&text)
                    .text("latin1")
                    .op(b"\x86R")
            }
        }
    }

    pub fn dtype(&mut self, name: &str) -> &mut Self {
        self.global("numpy", "dtype")
            .text(name)
            .op(b"\x89\x88\x87R(K\x03")
            .text("<");
        self.op(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb")
    }

    /// `_reconstruct` of an array, whose state is to follow.
    pub fn array(&mut self) -> &mut Self {
        self.global("numpy.core.multiarray", "_reconstruct");
        self.global("numpy", "ndarray")
            .op(b"K\0\x85")
            .bytes(b"b")
            .op(b"\x87R")
    }

    pub fn block(
        &mut self,
        dtype: &str,
        columns: usize,
        n: usize,
        data: Vec<u8>,
        from: usize,
        to: usize,
    ) -> &mut Self {
        self.global("pandas._libs.internals", "_unpickle_block");
        if self.protocol == 5 {
            self.global("numpy._core.numeric", "_frombuffer")
                .op(b"(")
                .bytes(&data);
            self.dtype(dtype)
                .int(columns)
                .int(n)
                .op(b"\x86")
                .text("C")
                .op(b"tR");
        } else {
            self.array().op(b"(K\x01").int(columns).int(n).op(b"\x86");
            self.dtype(dtype).op(b"\x89").bytes(&data).op(b"tb");
        }
        self.global("builtins", "slice")
            .int(from)
            .int(to)
            .op(b"K\x01\x87RK\x02\x87R")
    }
}
