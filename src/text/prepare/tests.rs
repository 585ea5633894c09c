//! A preparation from end to end, as a library.

use super::*;
use crate::text::dataset::Dataset;
use crate::text::tokenizer::EOT;
use std::fs;
use std::path::Path;

fn corpus(documents: usize) -> String {
    let mut text = String::new();
    for i in 0..documents {
        for j in 0..20 {
            text += &format!(
                "Document {i} has a line {j}, and isn't it {} long?\n",
                (i * j) % 7
            );
        }
        text += "<|endoftext|>\n";
    }
    text
}

fn config(dir: &Path, input: &str, tokenizer: &str) -> PrepareConfig {
    let input = dir.join(input).display().to_string();
    PrepareConfig::new(vec![input], tokenizer.parse().unwrap(), dir.join("out"))
}

fn decoded(dir: &Path, side: &str) -> Vec<String> {
    let dataset = Dataset::open(dir).unwrap();
    dataset.verify().unwrap();
    let tokenizer = Tokenizer::from_file(dir).unwrap();
    let store = match side {
        "train" => dataset.train(),
        _ => dataset.val(),
    };
    let mut ids = vec![0; store.len() as usize];
    store.read(0, &mut ids);
    let text = tokenizer.decode(&ids).unwrap();
    let documents = text.strip_suffix(EOT).expect("documents end");
    documents.split(EOT).map(str::to_owned).collect()
}

#[test]
fn every_document_arrives_once_on_one_side_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let text = corpus(300);
    fs::write(dir.path().join("a.txt"), &text).unwrap();
    for tokenizer in ["char", "bpe-300", "gpt2"] {
        let mut config = config(dir.path(), "a.txt", tokenizer);
        config.overwrite = true;
        config.tokens_per_shard = 10_000;
        let index = prepare(&config, &mut ()).unwrap();
        assert_eq!(index.tokenizer, tokenizer);
        assert!(index.train.shards.len() > 1);
        let (train, val) = (decoded(&config.out, "train"), decoded(&config.out, "val"));
        assert_eq!(
            (train.len() as u64, val.len() as u64),
            (index.train.documents, index.val.documents)
        );
        assert!((5..30).contains(&val.len()));
        let bytes: usize = train.iter().chain(&val).map(String::len).sum();
        assert_eq!(bytes as u64, index.train.bytes + index.val.bytes);
        // Merge the two sides by the order of the corpus.
        let (mut train, mut val) = (train.iter().peekable(), val.iter().peekable());
        for document in text.split("<|endoftext|>\n").filter(|d| !d.is_empty()) {
            let side = if train.peek().is_some_and(|d| *d == document) {
                &mut train
            } else {
                &mut val
            };
            assert_eq!(side.next().unwrap(), document);
        }
    }
}

#[test]
fn the_same_bytes_on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.txt"), corpus(2000)).unwrap();
    let mut files = Vec::new();
    for threads in [1, 2, 7] {
        let mut config = config(dir.path(), "a.txt", "bpe-280");
        config.out = dir.path().join(format!("out{threads}"));
        config.threads = threads;
        prepare(&config, &mut ()).unwrap();
        let read = |name: &str| fs::read(config.out.join(name)).unwrap();
        files.push((
            read("train-00000.bin"),
            read("val-00000.bin"),
            read("tokenizer.json"),
            read("dataset.json"),
        ));
    }
    assert!(files.iter().all(|f| *f == files[0]));
}

#[test]
fn a_single_document_is_cut_near_its_end() {
    let dir = tempfile::tempdir().unwrap();
    // Longer than a piece, and preceded by a blank document.
    let text: String = (0..60_000).map(|i| format!("word{i} ")).collect();
    fs::write(
        dir.path().join("a.txt"),
        format!("\n\n<|endoftext|>\n{text}"),
    )
    .unwrap();
    let config = config(dir.path(), "a.txt", "gpt2");
    let index = prepare(&config, &mut ()).unwrap();
    assert_eq!((index.train.documents, index.val.documents), (1, 1));
    let (train, val) = (decoded(&config.out, "train"), decoded(&config.out, "val"));
    assert_eq!(format!("{}{}", train[0], val[0]), text);
    assert!(train[0].ends_with(' ') && val[0].starts_with("word"));
    let share = val[0].len() as f64 / text.len() as f64;
    assert!((share - 0.05).abs() < 1e-4, "{share}");
    assert_eq!(index.source["held_out"], "the end of the only document");
    assert_eq!(index.source["blank_documents_skipped"], 1);
}

#[test]
fn long_documents_encode_as_if_they_were_never_cut() {
    let dir = tempfile::tempdir().unwrap();
    let unit = "It's  a\ttruth\n\n  universally acknowledged—naïve 漢字 1813, isn't it?  \r\n";
    let text = unit.repeat(20_000);
    let lines = [&text, "short"].map(|t| serde_json::json!({ "text": t }).to_string());
    fs::write(dir.path().join("a.jsonl"), lines.join("\n")).unwrap();
    let config = config(dir.path(), "a.jsonl", "gpt2");
    let index = prepare(&config, &mut ()).unwrap();
    let side = if index.train.bytes > 100 {
        "train"
    } else {
        "val"
    };
    let dataset = Dataset::open(&config.out).unwrap();
    let store = if side == "train" {
        dataset.train()
    } else {
        dataset.val()
    };
    let mut ids = vec![0; store.len() as usize];
    store.read(0, &mut ids);
    let mut whole = tiktoken_rs::r50k_base().unwrap().encode_ordinary(&text);
    whole.push(50256);
    assert!(ids == whole);
}

#[test]
fn end_of_text_inside_a_document_is_only_text() {
    let dir = tempfile::tempdir().unwrap();
    let line = serde_json::json!({"text": "a <|endoftext|> b"}).to_string();
    fs::write(dir.path().join("a.jsonl"), [line.as_str(); 4].join("\n")).unwrap();
    for tokenizer in ["gpt2", "char", "bpe-260"] {
        let mut config = config(dir.path(), "a.jsonl", tokenizer);
        config.overwrite = true;
        let index = prepare(&config, &mut ()).unwrap();
        let dataset = Dataset::open(&config.out).unwrap();
        for (store, split) in [(dataset.train(), &index.train), (dataset.val(), &index.val)] {
            let mut ids = vec![0; store.len() as usize];
            store.read(0, &mut ids);
            let ends = ids.iter().filter(|&&id| Some(id) == index.eot).count();
            assert_eq!(ends as u64, split.documents);
        }
    }
}

#[test]
fn fingerprints_follow_contents_and_options() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.txt"), corpus(10)).unwrap();
    let base = config(dir.path(), "a.txt", "char");
    let first = source_fingerprint(&base).unwrap();
    assert_eq!(
        prepare(&base, &mut ()).unwrap().source["fingerprint"],
        first.as_str()
    );
    assert_eq!(source_fingerprint(&base).unwrap(), first);
    let mut other = base.clone();
    other.val_fraction = 0.1;
    assert_ne!(source_fingerprint(&other).unwrap(), first);
    fs::write(dir.path().join("a.txt"), corpus(11)).unwrap();
    assert_ne!(source_fingerprint(&base).unwrap(), first);
}

/// Stops at the first sign of the given phase.
struct StopIn(&'static str, bool);

impl Progress for StopIn {
    fn phase(&mut self, what: &str, _: u64) {
        self.1 |= what == self.0;
    }
    fn cancelled(&self) -> bool {
        self.1
    }
}

#[test]
fn stopping_leaves_nothing_and_an_older_data_set_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.txt"), corpus(500)).unwrap();
    let mut config = config(dir.path(), "a.txt", "char");
    for phase in ["reading", "learning the vocabulary", "encoding"] {
        let stopped = prepare(&config, &mut StopIn(phase, false)).unwrap_err();
        assert!(matches!(stopped, Error::Interrupted(_)), "{stopped}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "{phase}");
    }
    prepare(&config, &mut ()).unwrap();
    let before = fs::read(config.out.join("dataset.json")).unwrap();
    config.overwrite = true;
    config.seed = 1;
    assert!(prepare(&config, &mut StopIn("encoding", false)).is_err());
    assert_eq!(fs::read(config.out.join("dataset.json")).unwrap(), before);
    prepare(&config, &mut ()).unwrap();
    assert_ne!(fs::read(config.out.join("dataset.json")).unwrap(), before);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}
