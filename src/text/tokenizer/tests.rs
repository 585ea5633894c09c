//! The fast paths against the libraries whose ids they must give.

use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;

static GPT2: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::gpt2().unwrap());
static TIKTOKEN: LazyLock<tiktoken_rs::CoreBPE> =
    LazyLock::new(|| tiktoken_rs::r50k_base().unwrap());

/// The `tokenizers` library on what we save.
fn hugging_face(tokenizer: &Tokenizer) -> tokenizers::Tokenizer {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    tokenizer.save(&path).unwrap();
    let mut hf = tokenizers::Tokenizer::from_file(&path).unwrap();
    hf.set_encode_special_tokens(true);
    hf
}

static GPT2_HF: LazyLock<tokenizers::Tokenizer> = LazyLock::new(|| hugging_face(&GPT2));

fn hf_ids(hf: &tokenizers::Tokenizer, text: &str) -> Vec<u32> {
    hf.encode(text, false).unwrap().get_ids().to_vec()
}

/// English with repetition, and every kind of line that upsets tokenizers.
fn sample() -> Vec<String> {
    let words = "the of and to in that it was his he with for as had you not be her is";
    let words: Vec<&str> = words.split(' ').collect();
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    (0..60)
        .map(|_| {
            let mut line = String::new();
            for _ in 0..next() % 200 {
                line += words[next() % words.len()];
                line += [" ", " ", "  ", ", ", ".\n", "'s ", "'ll 42", "… é漢"][next() % 8];
            }
            line
        })
        .collect()
}

static TRAINED: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::train_bpe(&sample(), 320).unwrap());

fn text() -> impl Strategy<Value = String> {
    let atoms = prop::sample::select(vec![
        " ",
        "  ",
        "\n\n",
        "\t",
        "'s",
        "'",
        "don't",
        " the",
        "The",
        "antidisestablishment",
        "1811",
        "½",
        "é",
        "漢字",
        "😀",
        "👩‍💻",
        "\u{301}",
        "\0",
        "<|endoftext|>",
        "------------",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "abcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabc",
    ]);
    prop_oneof![
        prop::collection::vec(atoms, 0..30).prop_map(|v| v.concat()),
        any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn gpt2_is_tiktoken_and_hugging_face(text in text()) {
        let ids = GPT2.encode(&text).unwrap();
        prop_assert_eq!(&ids, &TIKTOKEN.encode_ordinary(&text));
        prop_assert_eq!(&ids, &hf_ids(&GPT2_HF, &text));
        prop_assert_eq!(GPT2.decode(&ids).unwrap(), text);
    }

    #[test]
    fn cutting_a_document_changes_no_id(text in text(), tail in text()) {
        for tokenizer in [&*GPT2, &*TRAINED] {
            let Some(cut) = tokenizer.cuts().last(&text) else { continue };
            let whole = text.clone() + &tail;
            let mut parts = tokenizer.encode(&whole[..cut]).unwrap();
            parts.extend(tokenizer.encode(&whole[cut..]).unwrap());
            prop_assert_eq!(parts, tokenizer.encode(&whole).unwrap());
        }
    }

    #[test]
    fn a_trained_vocabulary_is_hugging_faces_too(text in text()) {
        static HF: LazyLock<tokenizers::Tokenizer> = LazyLock::new(|| hugging_face(&TRAINED));
        let ids = TRAINED.encode(&text).unwrap();
        prop_assert_eq!(&ids, &hf_ids(&HF, &text));
        prop_assert_eq!(&HF.decode(&ids, false).unwrap(), &text);
        prop_assert_eq!(TRAINED.decode(&ids).unwrap(), text);
    }

    #[test]
    fn characters_are_hugging_faces_too(text in "[a-zé\n <|>\u{FFFD}漢0-9]{0,60}") {
        static CHARS: LazyLock<Tokenizer> =
            LazyLock::new(|| Tokenizer::train_chars(&"the quick é\n <|ndoftx>".chars().collect()));
        static HF: LazyLock<tokenizers::Tokenizer> = LazyLock::new(|| hugging_face(&CHARS));
        let ids = CHARS.encode(&text).unwrap();
        prop_assert_eq!(&ids, &hf_ids(&HF, &text));
        prop_assert_eq!(CHARS.decode(&ids).unwrap(), HF.decode(&ids, false).unwrap());
        prop_assert!(ids.iter().all(|&id| Some(id) != CHARS.eot()));
    }
}

#[test]
fn gpt2_has_its_published_ids() {
    assert_eq!(
        (GPT2.vocab_size(), GPT2.eot(), GPT2.name()),
        (50257, Some(50256), "gpt2")
    );
    assert_eq!(GPT2.encode("Hello world").unwrap(), [15496, 995]);
    let bytes = GPT2.token_bytes();
    assert_eq!((bytes.len(), bytes[15496], bytes[50256]), (50257, 5, 0));
}

#[test]
fn saving_and_reading_back_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let chars = Tokenizer::train_chars(&"abc é\n".chars().collect());
    for tokenizer in [&*GPT2, &*TRAINED, &chars] {
        let (once, twice) = (dir.path().join("a.json"), dir.path().join("b.json"));
        tokenizer.save(&once).unwrap();
        let back = Tokenizer::from_file(&once).unwrap();
        back.save(&twice).unwrap();
        assert_eq!(
            std::fs::read(&once).unwrap(),
            std::fs::read(&twice).unwrap()
        );
        assert_eq!(back.name(), tokenizer.name());
        assert_eq!(
            (back.vocab_size(), back.eot()),
            (tokenizer.vocab_size(), tokenizer.eot())
        );
        assert_eq!(back.token_bytes(), tokenizer.token_bytes());
        assert!(!matches!(*back.kind, Kind::Any(_)));
        assert_eq!(
            back.encode("a bad  cab").unwrap(),
            tokenizer.encode("a bad  cab").unwrap()
        );
    }
}

#[test]
fn training_is_exact_in_size_and_the_same_on_any_number_of_threads() {
    let texts = sample();
    let saved = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let tokenizer = pool.install(|| Tokenizer::train_bpe(&texts, 330).unwrap());
        assert_eq!((tokenizer.vocab_size(), tokenizer.eot()), (330, Some(329)));
        let Kind::Bpe(bpe) = &*tokenizer.kind else {
            panic!()
        };
        format!("{}", json::write_bpe(bpe))
    };
    let one = saved(1);
    for threads in [2, 5] {
        assert_eq!(saved(threads), one);
    }
}

#[test]
fn training_merges_what_is_most_frequent() {
    let tokenizer = Tokenizer::train_bpe(&["aaabdaaabac aaabdaaabac"], 260).unwrap();
    let Kind::Bpe(bpe) = &*tokenizer.kind else {
        panic!()
    };
    // "aa" (8 times, overlapping), then "ab" and "aaab" by the counts that remain.
    let new: Vec<&[u8]> = bpe.tokens[256..259].iter().map(|t| &**t).collect();
    assert_eq!(new, [&b"aa"[..], b"ab", b"aaab"]);
}

#[test]
fn too_small_corpora_and_vocabularies_say_so() {
    let few = Tokenizer::train_bpe(&["abab"], 300)
        .err()
        .unwrap()
        .to_string();
    assert!(
        few.contains("too small for bpe-300") && few.contains("bpe-2"),
        "{few}"
    );
    let none = Tokenizer::train_bpe(&["abab"], 256)
        .err()
        .unwrap()
        .to_string();
    assert!(none.contains("bpe-257"), "{none}");
    for (spec, wanted) in [
        ("gpt-2", "did you mean gpt2"),
        ("chars", "did you mean char"),
        ("bpe4096", "did you mean bpe-4096"),
        ("bpe-12", "too small"),
        ("bpe-many", "vocabulary size"),
    ] {
        let message = spec.parse::<TokenizerSpec>().unwrap_err().to_string();
        assert!(message.contains(wanted), "{message}");
    }
}

/// A foreign file: words by white space, the end-of-text token an ordinary word of the model.
#[test]
fn any_other_file_is_read_and_never_yields_end_of_text() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    let file = serde_json::json!({
        "version": "1.0", "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "<unk>",
                  "vocab": {"<unk>": 0, "hello": 1, "world": 2, "<|endoftext|>": 3}}
    });
    std::fs::write(&path, file.to_string()).unwrap();
    let tokenizer = Tokenizer::from_file(dir.path()).unwrap();
    assert_eq!((tokenizer.vocab_size(), tokenizer.eot()), (4, Some(3)));
    assert_eq!(tokenizer.cuts(), Cuts::Never);
    let ids = tokenizer.encode("hello world <|endoftext|> hello").unwrap();
    assert_eq!(ids, [1, 2, 0, 0, 1]);
    assert_eq!(tokenizer.token_bytes()[1], 5);
    let copy = dir.path().join("copy.json");
    tokenizer.save(&copy).unwrap();
    assert_eq!(std::fs::read(copy).unwrap(), std::fs::read(path).unwrap());
    assert!(
        tokenizer
            .decode(&[9])
            .unwrap_err()
            .to_string()
            .contains("outside the vocabulary")
    );
}

#[test]
fn a_file_that_is_no_tokenizer_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    std::fs::write(&path, "{\"version\": 3}").unwrap();
    let message = Tokenizer::from_file(&path).err().unwrap().to_string();
    assert!(message.contains("not a tokenizer.json"), "{message}");
    let missing = Tokenizer::load("./nowhere.json").err().unwrap().to_string();
    assert!(missing.contains("cannot read ./nowhere.json"), "{missing}");
}
