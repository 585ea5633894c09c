//! Each format on what it meets in the wild.

use super::*;
use std::io::Write;
use std::path::Path;

/// Gathers whole documents.
#[derive(Default)]
struct Gather {
    documents: Vec<String>,
    open: String,
}

impl Sink for Gather {
    fn text(&mut self, part: &str) -> Flow {
        self.open.push_str(part);
        Ok(())
    }
    fn end_document(&mut self) -> Flow {
        self.documents.push(std::mem::take(&mut self.open));
        Ok(())
    }
}

fn documents(path: &Path, lossy: bool) -> Result<Vec<String>, String> {
    let options = ReadOptions {
        field: "text".to_owned(),
        lossy,
        bytes_read: Arc::default(),
    };
    let source = Source::named(path, "corpus".to_owned()).unwrap();
    let mut gather = Gather::default();
    match read(&source, &options, &mut gather) {
        Ok(()) => Ok(gather.documents),
        Err(Stop::Failed(e)) => Err(e.to_string()),
        Err(Stop::Enough) => unreachable!(),
    }
}

fn of(name: &str, contents: &[u8]) -> Result<Vec<String>, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, contents).unwrap();
    documents(&path, false)
}

fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}

fn zstd(contents: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(contents, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn separators_on_lines_of_their_own_or_not() {
    let text = "one\n<|endoftext|>\ntwo\r\n<|endoftext|>\r\nthree<|endoftext|>four\n\nfive";
    let expected = ["one\n", "two\r\n", "three", "four\n\nfive"];
    assert_eq!(of("a.txt", text.as_bytes()).unwrap(), expected);
    assert_eq!(of("a.txt.gz", &gzip(text.as_bytes())).unwrap(), expected);
    assert_eq!(of("a.txt.zst", &zstd(text.as_bytes())).unwrap(), expected);
    assert_eq!(of("README", "\u{FEFF}plain".as_bytes()).unwrap(), ["plain"]);
}

#[test]
fn chunk_borders_cut_neither_characters_nor_separators() {
    // Every alignment of a separator and of a three-byte character against the chunk border.
    for pad in 0..20 {
        let mut text = "x".repeat((256 << 10) - 16 + pad);
        text += "\n<|endoftext|>\r\n漢字<|endoft<|endoftext|>\n<|endoftext";
        let got = of("a.txt", text.as_bytes()).unwrap();
        assert_eq!(got.len(), 3, "pad {pad}");
        assert_eq!(got[1..], ["漢字<|endoft", "<|endoftext"]);
        let mut text = "x".repeat((256 << 10) - 16 + pad);
        text += "漢字";
        assert_eq!(of("a.txt", text.as_bytes()).unwrap(), [text]);
    }
}

#[test]
fn several_members_and_frames() {
    let both = [gzip(b"one "), gzip(b"two")].concat();
    assert_eq!(of("a.txt.gz", &both).unwrap(), ["one two"]);
    let skippable = [
        &0x184D2A50u32.to_le_bytes()[..],
        &3u32.to_le_bytes(),
        b"abc",
    ]
    .concat();
    let both = [zstd(b"one "), skippable, zstd(b"two")].concat();
    assert_eq!(of("a.txt.zst", &both).unwrap(), ["one two"]);
}

#[test]
fn json_lines() {
    let lines = "{\"id\": 1, \"text\": \"a\\n\\u00e9\"}\n\n{\"text\": null}\r\n{\"text\": \"b\", \"meta\": {\"text\": 3}}";
    for name in ["a.jsonl", "a.json", "a.ndjson", "a.json-lines"] {
        assert_eq!(of(name, lines.as_bytes()).unwrap(), ["a\né", "b"]);
    }
    assert_eq!(of("a.jsonl.gz", &gzip(lines.as_bytes())).unwrap().len(), 2);
    assert_eq!(of("a.jsonl.zst", &zstd(lines.as_bytes())).unwrap().len(), 2);
}

#[test]
fn bad_files_name_the_place() {
    let big = "word ".repeat(40_000);
    let cut = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() / 2);
        bytes
    };
    let cases: [(&str, Vec<u8>, &[&str]); 11] = [
        (
            "a.txt",
            b"good \xff".to_vec(),
            &["corpus is not UTF-8 at byte 5", "--lossy"],
        ),
        ("a.txt", b"cut off \xe6\xbc".to_vec(), &["at byte 8"]),
        (
            "a.jsonl",
            b"{\"text\": \"a\"}\n{\"text\": \"\xff\"}".to_vec(),
            &["line 2, byte 10"],
        ),
        (
            "a.jsonl",
            b"{\"text\": \"a\"}\n{\"text\": ".to_vec(),
            &["line 2", "column 8"],
        ),
        ("a.json", b"[\n{}]".to_vec(), &["line 1", "one object"]),
        (
            "a.jsonl",
            b"{\"id\": 3, \"body\": 1}".to_vec(),
            &["no field \"text\" in line 1", "id, body", "--field"],
        ),
        (
            "a.jsonl",
            b"{\"text\": 3}".to_vec(),
            &["a number in field \"text\" of line 1"],
        ),
        (
            "a.txt.gz",
            b"plain text".to_vec(),
            &["cannot be decompressed as gzip"],
        ),
        (
            "a.txt.gz",
            cut(gzip(big.as_bytes())),
            &["decompressed as gzip after", "ends too early"],
        ),
        (
            "a.jsonl.zst",
            cut(zstd(big.as_bytes())),
            &["decompressed as Zstandard after line"],
        ),
        (
            "a.parquet",
            b"PAR1 nonsense PAR1".to_vec(),
            &["cannot be read as Parquet"],
        ),
    ];
    for (name, contents, wanted) in cases {
        let message = of(name, &contents).unwrap_err();
        for part in wanted {
            assert!(message.contains(part), "{name}: {message}");
        }
    }
}

#[test]
fn lossy_replaces_bad_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.txt");
    std::fs::write(&path, b"a\xffb\xe6\xbc").unwrap();
    assert_eq!(documents(&path, true).unwrap(), ["a\u{FFFD}b\u{FFFD}"]);
}

fn parquet_file(path: &Path, compression: ::parquet::basic::Compression) {
    use ::parquet::data_type::{ByteArray, ByteArrayType, Int32Type};
    use ::parquet::file::{properties::WriterProperties, writer::SerializedFileWriter};
    let schema = "message m { required int32 id; optional binary text (UTF8); }";
    let schema = Arc::new(::parquet::schema::parser::parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    for group in 0..2 {
        let mut rows = writer.next_row_group().unwrap();
        let mut ids = rows.next_column().unwrap().unwrap();
        ids.typed::<Int32Type>()
            .write_batch(&[1, 2, 3], None, None)
            .unwrap();
        ids.close().unwrap();
        let mut texts = rows.next_column().unwrap().unwrap();
        let values: Vec<ByteArray> = ["é", "two"]
            .iter()
            .map(|t| format!("{t}{group}").as_str().into())
            .collect();
        texts
            .typed::<ByteArrayType>()
            .write_batch(&values, Some(&[1, 0, 1]), None)
            .unwrap();
        texts.close().unwrap();
        rows.close().unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn parquet_columns() {
    use ::parquet::basic::Compression;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::LZ4_RAW,
        Compression::BROTLI(Default::default()),
    ] {
        parquet_file(&path, compression);
        assert_eq!(
            documents(&path, false).unwrap(),
            ["é0", "two0", "é1", "two1"]
        );
    }
    let source = Source::named(&path, "corpus".to_owned()).unwrap();
    for (field, wanted) in [
        ("body", "its columns are id, text"),
        ("id", "columns of text are text"),
    ] {
        let options = ReadOptions {
            field: field.to_owned(),
            lossy: false,
            bytes_read: Arc::default(),
        };
        let Err(Stop::Failed(e)) = read(&source, &options, &mut Gather::default()) else {
            panic!("{field} was found");
        };
        assert!(e.to_string().contains(wanted), "{e}");
    }
}

#[test]
fn folders_globs_and_hub_names() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("b/deep")).unwrap();
    for name in [
        "z.txt",
        "b/deep/x.jsonl.gz",
        "b/a.parquet",
        "b/notes.md",
        ".hidden.txt",
    ] {
        std::fs::write(at(name), "x").unwrap();
    }
    let files = |input: &str| -> Vec<String> {
        let Input::Files(files) = resolve(&[input.to_owned()]).unwrap().remove(0) else {
            panic!("{input} is a folder");
        };
        let name = |s: &Source| {
            s.path
                .strip_prefix(dir.path())
                .unwrap()
                .display()
                .to_string()
        };
        files.iter().map(name).collect()
    };
    let root = dir.path().display().to_string();
    assert_eq!(files(&root), ["b/a.parquet", "b/deep/x.jsonl.gz", "z.txt"]);
    assert_eq!(files(&format!("{root}/*.txt")), ["z.txt"]);
    assert_eq!(files(&format!("{root}/b/notes.md")), ["b/notes.md"]);
    let hub = |input: &str| resolve(&[input.to_owned()]).map(|mut r| r.remove(0));
    let id = HubId {
        id: "roneneldan/TinyStories".to_owned(),
        revision: Some("v1.0".to_owned()),
    };
    assert_eq!(
        hub("roneneldan/TinyStories@v1.0").unwrap(),
        Input::Hub(id.clone())
    );
    assert_eq!(
        hub("hf://datasets/roneneldan/TinyStories@v1.0").unwrap(),
        Input::Hub(id)
    );
    for missing in [
        "nowhere/file.txt",
        "src/nothing",
        "gone.txt",
        "a/b/c",
        "no/match*.txt",
    ] {
        let message = hub(missing).unwrap_err().to_string();
        assert!(message.contains(missing), "{message}");
    }
}
