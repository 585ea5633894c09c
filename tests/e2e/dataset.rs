//! Data sets on disk, driven through the library as `prepare` and `train` drive it.

use lehr::text::dataset::{Dataset, DatasetIndex};
use lehr::text::loader::{Loader, LoaderConfig};
use lehr::text::shards::{ShardWriter, TokenWidth};
use lehr::text::store::TokenStore;
use lehr::text::synthetic::MarkovSource;
use lehr::text::tokenizer::Tokenizer;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn all(store: &TokenStore) -> Vec<u32> {
    let mut tokens = vec![0; store.len() as usize];
    store.read(0, &mut tokens);
    tokens
}

/// A data set of three train shards (10, 10 and 4 tokens) and one for validation.
fn prepared(dir: &Path, width: TokenWidth, scale: u32) -> DatasetIndex {
    let split = |name, documents: &[Vec<u32>]| {
        let mut writer = ShardWriter::create(dir, name, width, 10).unwrap();
        for document in documents {
            writer
                .write_document(document, document.len() as u64 - 1)
                .unwrap();
        }
        writer.finish().unwrap()
    };
    let documents: Vec<Vec<u32>> = [0..7, 7..19, 19..24]
        .map(|range| range.map(|i| i * scale).collect())
        .to_vec();
    let index = DatasetIndex {
        format: 1,
        tokenizer: "bpe-30".into(),
        vocab_size: 24 * scale as usize,
        eot: Some(0),
        width,
        train: split("train", &documents),
        val: split("val", &documents[..1]),
        source: serde_json::json!({ "inputs": ["a.txt"] }),
    };
    index.write(dir).unwrap();
    index
}

fn fixture() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    prepared(dir.path(), TokenWidth::U16, 1);
    dir
}

fn edit_index(dir: &Path, edit: impl FnOnce(&mut serde_json::Value)) {
    let path = dir.join("dataset.json");
    let mut index = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut index);
    fs::write(path, index.to_string()).unwrap();
}

fn refusal(dir: &Path) -> String {
    Dataset::open(dir).unwrap_err().to_string()
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    assert!(
        !message.contains('\n') && !message.contains("  "),
        "{message:?}"
    );
}

#[test]
fn prepared_data_reads_back() {
    for (width, scale) in [(TokenWidth::U16, 1), (TokenWidth::U32, 70_000)] {
        let dir = tempfile::tempdir().unwrap();
        let index = prepared(dir.path(), width, scale);
        let dataset = Dataset::open(dir.path()).unwrap();
        assert_eq!(dataset.index(), Some(&index));
        assert_eq!(dataset.vocab_size(), Some(24 * scale as usize));
        let counts: Vec<u64> = index.train.shards.iter().map(|s| s.tokens).collect();
        assert_eq!(counts, [10, 10, 4]);
        assert_eq!((index.train.documents, index.train.bytes), (3, 21));
        assert!(
            all(dataset.train())
                .into_iter()
                .eq((0..24).map(|i| i * scale))
        );
        assert!(all(dataset.val()).into_iter().eq((0..7).map(|i| i * scale)));
        dataset.verify().unwrap();
        dataset.check_vocab(23 * scale as usize + 1).unwrap();
        let message = dataset
            .check_vocab(23 * scale as usize)
            .unwrap_err()
            .to_string();
        assert_says(&message, &["train-00002.bin", &(23 * scale).to_string()]);
    }
}

#[test]
fn the_fingerprint_follows_the_tokens_and_nothing_else() {
    let (a, b) = (fixture(), fixture());
    let fingerprint = |dir: &TempDir| Dataset::open(dir.path()).unwrap().fingerprint();
    assert_eq!(fingerprint(&a), fingerprint(&b));
    edit_index(b.path(), |index| index["source"] = "elsewhere".into());
    assert_eq!(fingerprint(&a), fingerprint(&b));
    edit_index(b.path(), |index| {
        index["val"]["shards"][0]["blake3"] = "00".into()
    });
    assert_ne!(fingerprint(&a), fingerprint(&b));
}

#[test]
fn damaged_shards_are_named() {
    let dir = fixture();
    let shard = dir.path().join("train-00001.bin");
    let bytes = fs::read(&shard).unwrap();

    fs::write(&shard, &bytes[..bytes.len() - 2]).unwrap();
    assert_says(
        &refusal(dir.path()),
        &["train-00001.bin", "18 bytes", "10 tokens"],
    );
    fs::write(&shard, &bytes[..bytes.len() - 1]).unwrap();
    assert_says(&refusal(dir.path()), &["train-00001.bin", "19 bytes"]);
    fs::write(&shard, [&bytes[..], &[0, 0]].concat()).unwrap();
    assert_says(&refusal(dir.path()), &["train-00001.bin", "22 bytes"]);
    fs::remove_file(&shard).unwrap();
    assert_says(&refusal(dir.path()), &["train-00001.bin", "missing"]);

    let mut flipped = bytes.clone();
    flipped[7] ^= 1;
    fs::write(&shard, &flipped).unwrap();
    let dataset = Dataset::open(dir.path()).unwrap();
    let message = dataset.verify().unwrap_err().to_string();
    assert_says(&message, &["train-00001.bin", "checksum", "lehr prepare"]);
    drop(dataset);

    fs::write(&shard, &bytes).unwrap();
    Dataset::open(dir.path()).unwrap().verify().unwrap();
}

#[test]
fn foreign_and_damaged_indexes_are_refused() {
    let dir = fixture();
    edit_index(dir.path(), |index| index["format"] = 7.into());
    assert_says(
        &refusal(dir.path()),
        &["dataset.json", "format 7", "reads format 1"],
    );

    fs::write(
        dir.path().join("dataset.json"),
        r#"{"name": "something else"}"#,
    )
    .unwrap();
    assert_says(&refusal(dir.path()), &["dataset.json", "not the index"]);

    fs::write(dir.path().join("dataset.json"), "{\"format\": 1,").unwrap();
    assert_says(&refusal(dir.path()), &["dataset.json", "not JSON"]);

    let dir = fixture();
    edit_index(dir.path(), |index| index["train"]["tokens"] = 23.into());
    assert_says(&refusal(dir.path()), &["dataset.json", "train", "23"]);

    let dir = fixture();
    edit_index(dir.path(), |index| {
        index["val"]["shards"][0]["file"] = "../../secret".into()
    });
    assert_says(&refusal(dir.path()), &["dataset.json", "../../secret"]);

    let dir = fixture();
    edit_index(dir.path(), |index| index["width"] = "u8".into());
    assert_says(&refusal(dir.path()), &["dataset.json", "u8"]);
}

fn nanogpt(train: &[u8], val: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("train.bin"), train).unwrap();
    fs::write(dir.path().join("val.bin"), val).unwrap();
    dir
}

#[test]
fn nanogpt_directories_read_as_they_are() {
    let dir = nanogpt(&[1, 0, 2, 0, 0x50, 0xc4], &[3, 0]);
    fs::write(dir.path().join("meta.pkl"), b"not read").unwrap();
    let dataset = Dataset::open(dir.path()).unwrap();
    assert_eq!(all(dataset.train()), [1, 2, 50256]);
    assert_eq!(all(dataset.val()), [3]);
    assert_eq!((dataset.vocab_size(), dataset.index()), (None, None));
    assert_eq!(dataset.train().max_token(), 50256);
    dataset.verify().unwrap();

    let same = nanogpt(&[1, 0, 2, 0, 0x50, 0xc4], &[3, 0]);
    let other = nanogpt(&[1, 0, 2, 0, 0x51, 0xc4], &[3, 0]);
    let fingerprint = |dir: &TempDir| Dataset::open(dir.path()).unwrap().fingerprint();
    assert_eq!(fingerprint(&dir), fingerprint(&same));
    assert_ne!(fingerprint(&dir), fingerprint(&other));
}

#[test]
fn nanogpt_files_are_checked() {
    let dir = nanogpt(&[1, 0, 2], &[3, 0]);
    assert_says(
        &refusal(dir.path()),
        &["train.bin", "3 bytes", "2-byte tokens"],
    );
    let dir = nanogpt(&[1, 0], &[]);
    assert_says(&refusal(dir.path()), &["val.bin", "no tokens"]);
    fs::remove_file(dir.path().join("val.bin")).unwrap();
    assert_says(&refusal(dir.path()), &["no val.bin"]);
    fs::remove_file(dir.path().join("train.bin")).unwrap();
    assert_says(&refusal(dir.path()), &["is not a data set", "lehr prepare"]);
    let missing = dir.path().join("nowhere");
    assert_says(
        &refusal(&missing),
        &["there is no data set", "nowhere", "lehr prepare"],
    );
}

/// Contents beyond the 64 MiB that are hashed whole count through their samples.
#[test]
fn large_nanogpt_files_are_sampled() {
    let dir = nanogpt(&[1, 0], &[3, 0]);
    let path = dir.path().join("train.bin");
    let fingerprint = |length: usize, at: usize| {
        let mut bytes = vec![0; length];
        bytes[at] = 1;
        // A new file: an open map of the old one stays as it was.
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        Dataset::open(dir.path()).unwrap().fingerprint()
    };
    const LENGTH: usize = 80 << 20;
    let first = fingerprint(LENGTH, 0);
    assert_eq!(first, fingerprint(LENGTH, 0));
    assert_ne!(first, fingerprint(LENGTH, LENGTH - 1));
    assert_ne!(first, fingerprint(LENGTH + 2, 0));
}

#[test]
fn a_synthetic_data_set_trains_and_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let source = MarkovSource::new(9, 64, 1.0).unwrap();
    let index = source.write_dataset(dir.path(), 5000, 500).unwrap();
    assert_eq!((index.train.tokens, index.val.tokens), (5000, 500));
    let dataset = Dataset::open(dir.path()).unwrap();
    dataset.verify().unwrap();
    dataset.check_vocab(64).unwrap();
    assert_eq!(all(dataset.train()), source.tokens(0, 5000));
    let config = LoaderConfig {
        seed: 1,
        sequence_length: 32,
        batch_size: 4,
        grad_accumulation: 1,
        rank: 0,
        world: 1,
    };
    let loader = Loader::new(dataset.train().clone(), config).unwrap();
    for batch in loader.batch(77).micro_batches {
        for (token, next) in batch.tokens.iter().zip(&batch.targets) {
            assert!(source.probability(*token, *next) > 0.0);
        }
    }
    let message = source
        .write_dataset(dir.path(), 10, 10)
        .unwrap_err()
        .to_string();
    assert_says(&message, &["holds a data set already"]);
}

#[test]
fn the_tokenizer_beside_the_tokens_is_found_and_checked() {
    let dir = fixture();
    assert!(
        Dataset::open(dir.path())
            .unwrap()
            .tokenizer()
            .unwrap()
            .is_none()
    );
    let chars = Tokenizer::train_chars(&"abc".chars().collect());
    chars.save(&dir.path().join("tokenizer.json")).unwrap();
    let message = Dataset::open(dir.path())
        .unwrap()
        .tokenizer()
        .err()
        .unwrap()
        .to_string();
    assert_says(&message, &["tokenizer.json", "24"]);

    edit_index(dir.path(), |index| {
        index["vocab_size"] = chars.vocab_size().into()
    });
    let found = Dataset::open(dir.path())
        .unwrap()
        .tokenizer()
        .unwrap()
        .unwrap();
    assert_eq!(found.encode("cab").unwrap(), chars.encode("cab").unwrap());
}

/// The shipped corpus is the one that its provenance describes.
#[test]
fn the_shipped_corpus_is_clean_and_documented() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data");
    let text = fs::read_to_string(data.join("austen.txt")).unwrap();
    let readme = fs::read_to_string(data.join("README.md")).unwrap();
    assert!(readme.contains(blake3::hash(text.as_bytes()).to_hex().as_str()));
    let documents: Vec<&str> = text.split("\n<|endoftext|>\n").collect();
    assert_eq!(documents.len(), 270);
    for document in &documents {
        assert!(!document.contains("<|endoftext|>") && document.len() > 800);
        assert_eq!(
            document.trim_end(),
            document.strip_suffix('\n').unwrap_or(document)
        );
    }
    for unwanted in ["\r", "\t", "_", "  ", "\n\n\n", "Gutenberg", "\u{feff}"] {
        assert!(!text.contains(unwanted), "{unwanted:?}");
    }
}
