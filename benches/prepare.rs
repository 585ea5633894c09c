//! Encoding speed against Hugging Face's `tokenizers` on the same cores and documents.
//!
//! ```text
//! cargo bench --bench prepare -- FILE [--rounds 5] [--tokenizer gpt2|bpe-4096] [--piece 2048]
//! ```
//!
//! A: the library's `encode_batch` and `encode_batch_fast` on all of the text in memory, in its
//! own parallel mode, and in its best setting: its time grows faster than a document's length, so
//! it gets the documents in pieces of `--piece` bytes, cut where no id changes. B: all of `lehr prepare` with the same tokenizer.json: reading the file,
//! encoding, writing and checksumming the shards. They alternate; medians are printed, and the
//! ids are compared.

use lehr::text::dataset::Dataset;
use lehr::text::prepare::{PrepareConfig, prepare};
use lehr::text::tokenizer::{Cuts, EOT, Tokenizer, TokenizerSpec};
use std::path::{Path, PathBuf};
use std::time::Instant;

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let option = |name: &str| {
        let at = args.iter().position(|a| a == name)?;
        args.get(at + 1).cloned()
    };
    let Some(file) = args.first().filter(|a| !a.starts_with("--")) else {
        println!(
            "usage: cargo bench --bench prepare -- FILE [--rounds 5] [--tokenizer gpt2|bpe-4096] [--piece 2048]"
        );
        return;
    };
    let rounds: usize = option("--rounds").map_or(5, |r| r.parse().expect("--rounds N"));
    let piece: usize = option("--piece").map_or(2048, |p| p.parse().expect("--piece BYTES"));
    let specs = option("--tokenizer").map_or(vec!["gpt2".into(), "bpe-4096".into()], |t| vec![t]);
    for spec in specs {
        compare(Path::new(file), &spec, rounds, piece);
    }
}

fn compare(file: &Path, spec: &str, rounds: usize, piece: usize) {
    let dir = std::env::temp_dir().join(format!("lehr-bench-{}", std::process::id()));
    let run = |tokenizer: TokenizerSpec, out: &str| {
        let input = vec![file.display().to_string()];
        let mut config = PrepareConfig::new(input, tokenizer, dir.join(out));
        config.overwrite = true;
        prepare(&config, &mut ()).expect("the corpus can be prepared")
    };
    // Make the vocabulary once: both sides then load the same file.
    run(spec.parse().expect("a tokenizer"), "vocabulary");
    let tokenizer_file: PathBuf = dir.join("vocabulary/tokenizer.json");
    let mut hf = tokenizers::Tokenizer::from_file(&tokenizer_file).expect("a tokenizer.json");
    hf.set_encode_special_tokens(true);

    let text = std::fs::read_to_string(file).expect("a UTF-8 file");
    let separator = format!("{EOT}\n");
    let documents: Vec<&str> = text
        .split(separator.as_str())
        .filter(|d| !d.trim().is_empty())
        .collect();
    let pieces: Vec<&str> = documents.iter().flat_map(|d| cut(d, piece)).collect();
    let megabytes = text.len() as f64 / 1e6;
    println!(
        "{spec}: {megabytes:.1} MB, {} documents, {rounds} rounds",
        documents.len()
    );

    let mut seconds: [Vec<f64>; 3] = Default::default();
    let mut ours = Vec::new();
    let mut theirs = 0;
    for _ in 0..rounds {
        let began = Instant::now();
        theirs = hf
            .encode_batch(pieces.clone(), false)
            .expect("encoded")
            .iter()
            .map(|e| e.len())
            .sum();
        seconds[0].push(began.elapsed().as_secs_f64());

        let began = Instant::now();
        run(TokenizerSpec::File(tokenizer_file.clone()), "ours");
        seconds[1].push(began.elapsed().as_secs_f64());

        let began = Instant::now();
        hf.encode_batch_fast(pieces.clone(), false)
            .expect("encoded");
        seconds[2].push(began.elapsed().as_secs_f64());
        let dataset = Dataset::open(&dir.join("ours")).expect("a data set");
        ours = vec![0; dataset.val().len() as usize];
        dataset.val().read(0, &mut ours);
        let total = dataset.train().len() + dataset.val().len();
        assert_eq!(
            total,
            theirs as u64 + documents.len() as u64,
            "as many tokens, and one end a document"
        );
    }
    let names = [
        "tokenizers encode_batch",
        "lehr prepare (all of it)",
        "tokenizers encode_batch_fast",
    ];
    for (name, seconds) in names.iter().zip(&mut seconds) {
        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        println!(
            "  {name:<30} {:7.1} MB/s   ({median:.2} s, {:.2} to {:.2})",
            megabytes / median,
            seconds[0],
            seconds[seconds.len() - 1]
        );
    }
    // The held-out documents id by id; the counts above cover the rest.
    let tokenizer = Tokenizer::from_file(&tokenizer_file).expect("a tokenizer.json");
    let eot = tokenizer.eot().expect("an end of text");
    let mut held_out = ours.split(|&id| id == eot).peekable();
    let mut same = 0;
    for document in &documents {
        let Some(next) = held_out.peek() else { break };
        let encode = |piece| {
            hf.encode_fast(piece, false)
                .expect("encoded")
                .get_ids()
                .to_vec()
        };
        let ids: Vec<u32> = cut(document, piece).into_iter().flat_map(encode).collect();
        if ids == *next {
            held_out.next();
            same += 1;
        }
    }
    println!("  {theirs} tokens, {same} held-out documents equal id by id");
    assert!(
        held_out.all(|rest| rest.is_empty()),
        "a held-out document has other ids"
    );
    let _ = std::fs::remove_dir_all(&dir);
}

/// A document in pieces of about `size` bytes.
fn cut(mut document: &str, size: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    while document.len() > size {
        let head = &document[..document.floor_char_boundary(size)];
        let Some(at) = Cuts::AtWords.last(head) else {
            break;
        };
        let (piece, rest) = document.split_at(at);
        pieces.push(piece);
        document = rest;
    }
    pieces.push(document);
    pieces
}
