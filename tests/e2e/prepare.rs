//! `lehr prepare` as a user runs it: what it makes, and what it says of bad input.

use assert_cmd::Command;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// A directory with helpers to run the binary in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> &Place {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
        self
    }

    fn lehr(&self, args: &str) -> Command {
        let mut command = Command::cargo_bin("lehr").unwrap();
        command
            .current_dir(self.0.path())
            .arg("prepare")
            .args(args.split(' '));
        command
    }

    /// Runs and expects one sentence that holds all of `wanted`, and nothing left behind.
    fn refuses(&self, args: &str, wanted: &[&str]) {
        let before = self.names();
        let output = self.lehr(args).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args}: {message}");
        let last = message.trim_end().lines().last().unwrap();
        assert!(last.starts_with("error: "), "{args}: {message}");
        assert_eq!(message.matches("error: ").count(), 1, "{args}: {message}");
        for part in wanted {
            assert!(
                message.contains(part),
                "{args}: wanted {part:?} in: {message}"
            );
        }
        assert_eq!(self.names(), before, "{args}");
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}

fn documents(n: usize) -> String {
    (0..n)
        .map(|i| format!("Document {i} holds a few words, and it isn't long.\n<|endoftext|>\n"))
        .collect()
}

#[test]
fn prepares_the_shipped_corpus() {
    let place = Place::new();
    let austen = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/austen.txt");
    let args = format!("{} --tokenizer bpe-1024 --out set --json", austen.display());
    let output = place.lehr(&args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["vocab_size"], 1024);
    let side = |side: &str, what: &str| summary[side][what].as_u64().unwrap();
    assert!(side("train", "documents") > 200 && side("val", "documents") > 3);
    let bytes = side("train", "bytes") + side("val", "bytes");
    assert!(bytes > 3_900_000, "{bytes}");
    let train = fs::read(place.path("set/train-00000.bin")).unwrap();
    assert_eq!(train.len() as u64, 2 * side("train", "tokens"));
    let ids = train
        .chunks_exact(2)
        .map(|b| u16::from_le_bytes([b[0], b[1]]));
    assert_eq!(
        ids.filter(|&id| id == 1023).count() as u64,
        side("train", "documents")
    );
    assert_eq!(place.names(), ["set"]);
    let mut files: Vec<_> = fs::read_dir(place.path("set"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(
        files,
        [
            "dataset.json",
            "tokenizer.json",
            "train-00000.bin",
            "val-00000.bin"
        ]
    );
}

#[test]
fn reads_folders_and_globs_and_its_own_tokenizer() {
    let place = Place::new();
    place.write("in/a.txt", documents(20));
    place.write(
        "in/deep/b.jsonl.gz",
        gzip(b"{\"text\": \"one\"}\n{\"text\": \"two\"}\n"),
    );
    place.write("in/notes.bin", b"\xff\xff");
    let run = |args: &str| -> serde_json::Value {
        let output = place.lehr(args).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let total = |summary: &serde_json::Value| {
        ["train", "val"]
            .map(|s| summary[s]["documents"].as_u64().unwrap())
            .iter()
            .sum::<u64>()
    };
    let folder = run("in --tokenizer char --out one --json");
    assert_eq!(total(&folder), 22);
    let globbed =
        run("in/*.txt in/**/*.gz in/a.txt --tokenizer one/tokenizer.json --out two --json");
    assert_eq!(total(&globbed), 22);
    let same = |file: &str| fs::read(place.path(file)).unwrap();
    assert!(same("one/train-00000.bin") == same("two/train-00000.bin"));
    assert!(same("one/tokenizer.json") == same("two/tokenizer.json"));
    // Plain lines when nobody watches, and the line to type next.
    let output = place
        .lehr("in --tokenizer gpt2 --out three")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("gpt2, 50,257 ids") && text.ends_with(" train --data three\n"),
        "{text}"
    );
}

#[test]
fn missing_and_empty_corpora() {
    let place = Place::new();
    place
        .write("empty.txt", "")
        .write("blank.txt", "\n <|endoftext|>\n\n")
        .write("folder/x.bin", "x");
    place.write("tiny.txt", "abc");
    place.refuses("gone.txt --out set", &["no file or folder gone.txt"]);
    place.refuses(
        "folder/gone.txt --out set",
        &["no file or folder folder/gone.txt"],
    );
    place.refuses("*.jsonl --out set", &["no file matches *.jsonl"]);
    place.refuses("folder --out set", &["folder holds no corpus file"]);
    place.refuses(
        "empty.txt --out set",
        &["corpus is empty", "empty.txt holds no text"],
    );
    place.refuses(
        "blank.txt --out set",
        &["corpus is empty", "2 documents are blank"],
    );
    place.refuses(
        "tiny.txt --tokenizer char --out set",
        &["too short to split", "val"],
    );
    place.refuses(
        "tiny.txt --tokenizer bpe-300 --out set",
        &["too small for bpe-300"],
    );
}

#[test]
fn fields_that_are_not_there() {
    let place = Place::new();
    place.write("a.jsonl", "{\"id\": 1, \"content\": \"words\"}\n");
    place.refuses(
        "a.jsonl --out set",
        &[
            "a.jsonl has no field \"text\" in line 1",
            "id, content",
            "--field",
        ],
    );
    place.refuses(
        "a.jsonl --field id --out set",
        &["a number in field \"id\" of line 1"],
    );
}

#[test]
fn bytes_that_are_not_utf8() {
    let place = Place::new();
    let mut text = documents(30).into_bytes();
    text[700] = 0xff;
    place.write("a.txt", &text);
    place.refuses(
        "a.txt --tokenizer char --out set",
        &["a.txt is not UTF-8 at byte 700", "--lossy"],
    );
    let mut lossy = place.lehr("a.txt --tokenizer char --out set --lossy");
    lossy.assert().success();
}

#[test]
fn files_that_are_broken() {
    let place = Place::new();
    let packed = gzip(documents(5000).as_bytes());
    place.write("cut.txt.gz", &packed[..packed.len() / 2]);
    place.write("plain.jsonl.zst", "{\"text\": \"not compressed\"}");
    place.write("a.parquet", "PAR1 this is no parquet file PAR1");
    place.write("a.jsonl", "{\"text\": \"good\"}\n{\"text\": \"cut");
    place.refuses(
        "cut.txt.gz --out set",
        &[
            "cut.txt.gz cannot be decompressed as gzip",
            "ends too early",
        ],
    );
    place.refuses(
        "plain.jsonl.zst --out set",
        &["cannot be decompressed as Zstandard"],
    );
    place.refuses(
        "a.parquet --out set",
        &["a.parquet cannot be read as Parquet"],
    );
    place.refuses(
        "a.jsonl --out set",
        &["a.jsonl holds no JSON object in line 2"],
    );
}

#[test]
fn parquet_with_zstd_inside() {
    let place = Place::new();
    place.write("a.parquet", include_bytes!("fixtures/zstd.parquet"));
    if cfg!(feature = "parquet-zstd") {
        place
            .lehr("a.parquet --tokenizer char --out set")
            .assert()
            .success();
    } else {
        place.refuses(
            "a.parquet --tokenizer char --out set",
            &["Zstandard", "--features parquet-zstd"],
        );
    }
    place.refuses(
        "a.parquet --field body --out set",
        &["no column \"body\"", "id, text"],
    );
}

#[test]
fn tokenizers_that_do_not_exist() {
    let place = Place::new();
    place.write("a.txt", documents(30)).write("bad.json", "{}");
    place.refuses(
        "a.txt --tokenizer gpt-2 --out set",
        &["unknown tokenizer \"gpt-2\"", "did you mean gpt2"],
    );
    place.refuses(
        "a.txt --tokenizer bpe-256 --out set",
        &["bpe-256 is too small", "bpe-257"],
    );
    place.refuses(
        "a.txt --tokenizer no/tokenizer.json --out set",
        &["cannot read no/tokenizer.json"],
    );
    place.refuses(
        "a.txt --tokenizer bad.json --out set",
        &["bad.json is not a tokenizer.json"],
    );
}

#[test]
fn options_out_of_range() {
    let place = Place::new();
    place.write("a.txt", documents(30));
    for fraction in ["0", "0.7", "nan"] {
        place.refuses(
            &format!("a.txt --out set --val-fraction {fraction}"),
            &["--val-fraction", "at most 0.5"],
        );
    }
    place.refuses(
        "a.txt --out set --tokens-per-shard 0",
        &["--tokens-per-shard"],
    );
}

#[test]
fn outputs_that_cannot_be_written() {
    let place = Place::new();
    place
        .write("a.txt", documents(3000))
        .write("full/other", "x")
        .write("file", "x");
    place.refuses(
        "a.txt --tokenizer char --out full",
        &["full is not empty and is no data set"],
    );
    place.refuses(
        "a.txt --tokenizer char --out full --overwrite",
        &["is no data set"],
    );
    place.refuses("a.txt --tokenizer char --out file", &["file is a file"]);
    place.refuses(
        "a.txt --tokenizer char --out /proc/nowhere/set",
        &["cannot create the directory /proc/nowhere"],
    );
    place
        .lehr("a.txt --tokenizer char --out set")
        .assert()
        .success();
    place.refuses(
        "a.txt --tokenizer char --out set",
        &["set already holds a data set", "--overwrite"],
    );
    place
        .lehr("a.txt --tokenizer char --out set --overwrite")
        .assert()
        .success();

    let lock = File::create(place.path(".other.lock")).unwrap();
    lock.lock().unwrap();
    place.refuses(
        "a.txt --tokenizer char --out other",
        &["another process is preparing other"],
    );
}

/// A file system that ends: a small tmpfs where the kernel lets us mount one, otherwise a limit
/// on the size of files.
#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_is_full() {
    let place = Place::new();
    place.write("a.txt", documents(5000));
    fs::create_dir(place.path("small")).unwrap();
    let lehr = assert_cmd::cargo::cargo_bin("lehr");
    let lehr = format!(
        "{} prepare a.txt --tokenizer char --out small/set",
        lehr.display()
    );
    let run = |command: &str, script: &str| {
        let mut words = command.split(' ');
        let mut command = std::process::Command::new(words.next().unwrap());
        command.args(words).arg(script).current_dir(place.0.path());
        command.output().unwrap()
    };
    let mount = "mount -t tmpfs -o size=128k tmpfs small";
    let can_mount = run("unshare -rm sh -c", mount).status.success();
    let output = match can_mount {
        true => run(
            "unshare -rm sh -c",
            &format!("{mount} && {{ {lehr}; s=$?; ls -A small; exit $s; }}"),
        ),
        false => run(
            "sh -c",
            &format!("trap '' XFSZ; ulimit -f 128; {lehr}; s=$?; ls -A small; exit $s"),
        ),
    };
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.contains("cannot write") && message.contains("train-00000.bin"),
        "{message}"
    );
    assert!(
        !can_mount || message.contains("free some space"),
        "{message}"
    );
    assert!(
        output.stdout.is_empty(),
        "left: {}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// Starts a preparation that takes seconds, and signals it in the middle of the shards.
#[cfg(unix)]
fn signalled(place: &Place, signal: &str) -> std::process::Output {
    place.write("big.txt", documents(600_000));
    let child = std::process::Command::new(assert_cmd::cargo::cargo_bin("lehr"))
        .args(
            "prepare big.txt --tokenizer gpt2 --threads 1 --tokens-per-shard 50000 --out set"
                .split(' '),
        )
        .current_dir(place.0.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !place.path(".set.tmp/train-00001.bin").exists() {
        assert!(
            !place.path("set").exists(),
            "it was done before it could be stopped"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    let id = child.id().to_string();
    std::process::Command::new("kill")
        .args([signal, &id])
        .status()
        .unwrap();
    child.wait_with_output().unwrap()
}

#[test]
#[cfg(unix)]
fn ctrl_c_leaves_nothing() {
    let place = Place::new();
    let output = signalled(&place, "-INT");
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(
        message.contains("interrupted; no data set was written"),
        "{message}"
    );
    assert_eq!(place.names(), ["big.txt"]);
}

#[test]
#[cfg(unix)]
fn a_kill_leaves_nothing_that_looks_like_a_data_set() {
    let place = Place::new();
    assert!(!signalled(&place, "-KILL").status.success());
    assert!(!place.path("set").exists());
    place.write("a.txt", documents(30));
    place
        .lehr("a.txt --tokenizer char --out set")
        .assert()
        .success();
    assert_eq!(place.names(), ["a.txt", "big.txt", "set"]);
}
