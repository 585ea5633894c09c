//! `tokenizer.json`, the format of Hugging Face's `tokenizers`, for the vocabularies that have a
//! fast path here: written so that the library encodes as we do, recognised when read back.

use super::EOT;
use super::bpe::ByteBpe;
use super::chars::{Chars, UNKNOWN};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

/// GPT-2's printable stand-in for every byte (`bytes_to_unicode` in its `encoder.py`).
static BYTE_CHARS: LazyLock<[char; 256]> = LazyLock::new(|| {
    let printable = |b: u32| matches!(b, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut chars = ['\0'; 256];
    let mut next = 256;
    for b in 0..256u32 {
        let c = if printable(b) {
            b
        } else {
            next += 1;
            next - 1
        };
        chars[b as usize] = char::from_u32(c).expect("below the surrogates");
    }
    chars
});

static CHAR_BYTES: LazyLock<HashMap<char, u8>> = LazyLock::new(|| {
    let pairs = BYTE_CHARS.iter().enumerate();
    pairs.map(|(b, &c)| (c, b as u8)).collect()
});

fn spell(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| BYTE_CHARS[b as usize]).collect()
}

/// The bytes that a byte-level token's text stands for; `None` when it is not of that alphabet.
pub(super) fn unspell(token: &str) -> Option<Box<[u8]>> {
    token.chars().map(|c| CHAR_BYTES.get(&c).copied()).collect()
}

fn special(id: u32, content: &str) -> Value {
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true
    })
}

fn bpe_model(unknown: Option<&str>, vocab: Map<String, Value>, merges: Vec<Value>) -> Value {
    json!({
        "type": "BPE", "dropout": null, "unk_token": unknown,
        "continuing_subword_prefix": null, "end_of_word_suffix": null,
        "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        "vocab": vocab, "merges": merges
    })
}

pub(super) fn write_bpe(bpe: &ByteBpe) -> Value {
    let mut vocab = Map::new();
    let special_text: HashMap<u32, &str> = bpe
        .specials
        .iter()
        .map(|(id, s)| (*id, s.as_str()))
        .collect();
    for (id, token) in bpe.tokens.iter().enumerate() {
        let text = match special_text.get(&(id as u32)) {
            Some(text) => (*text).to_owned(),
            None => spell(token),
        };
        vocab.insert(text, id.into());
    }
    let merges = bpe.merges.iter().map(|&(left, right, _)| {
        json!([
            spell(&bpe.tokens[left as usize]),
            spell(&bpe.tokens[right as usize])
        ])
    });
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": bpe.specials.iter().map(|(id, s)| special(*id, s)).collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": {
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true
        },
        "post_processor": {
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true
        },
        "decoder": {
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true
        },
        "model": bpe_model(None, vocab, merges.collect()),
    })
}

pub(super) fn write_chars(chars: &Chars) -> Value {
    let mut vocab = Map::new();
    for (id, c) in chars.chars.iter().enumerate() {
        vocab.insert(c.to_string(), id.into());
    }
    vocab.insert(EOT.to_owned(), chars.eot().into());
    // A BPE without merges and without a pre-tokenizer cuts a text into its characters.
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(chars.eot(), EOT)],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "Fuse"},
        "model": bpe_model(Some(&UNKNOWN.to_string()), vocab, vec![]),
    })
}

fn is_null_or(value: &Value, also: Value) -> bool {
    value.is_null() || *value == also
}

/// The parts that both fast paths ask for: a plain BPE, nothing done to the text before it, and
/// only special tokens added.
fn plain_bpe(file: &Value) -> Option<&Map<String, Value>> {
    let model = &file["model"];
    let plain = model["type"] == "BPE"
        && is_null_or(&model["dropout"], json!(0.0))
        && is_null_or(&model["continuing_subword_prefix"], json!(""))
        && is_null_or(&model["end_of_word_suffix"], json!(""))
        && is_null_or(&model["byte_fallback"], json!(false))
        && is_null_or(&model["ignore_merges"], json!(false))
        && file["normalizer"].is_null();
    let added = file["added_tokens"].as_array()?;
    (plain && added.iter().all(|t| t["special"] == true)).then(|| model["vocab"].as_object())?
}

/// Recognises a byte-level BPE with GPT-2's pre-tokenization. `None` sends the file to the
/// general path, which reads everything.
pub(super) fn read_bpe(file: &Value) -> Option<ByteBpe> {
    let vocab = plain_bpe(file)?;
    let pre = &file["pre_tokenizer"];
    let gpt2 = pre["type"] == "ByteLevel"
        && pre["add_prefix_space"] == false
        && is_null_or(&pre["use_regex"], json!(true))
        && file["decoder"]["type"] == "ByteLevel"
        && file["model"]["unk_token"].is_null();
    if !gpt2 {
        return None;
    }
    let mut specials = Vec::new();
    for token in file["added_tokens"].as_array()? {
        let id = u32::try_from(token["id"].as_u64()?).ok()?;
        specials.push((id, token["content"].as_str()?.to_owned()));
    }
    let special_ids: BTreeSet<u32> = specials.iter().map(|(id, _)| *id).collect();
    let outside = specials.iter().filter(|(_, s)| !vocab.contains_key(s));
    let mut tokens: Vec<Option<Box<[u8]>>> = vec![None; vocab.len() + outside.count()];
    for &id in &special_ids {
        *tokens.get_mut(id as usize)? = Some([].into());
    }
    let mut ids: HashMap<&str, u32> = HashMap::with_capacity(vocab.len());
    for (text, id) in vocab {
        let id = u32::try_from(id.as_u64()?).ok()?;
        ids.insert(text, id);
        if !special_ids.contains(&id) {
            *tokens.get_mut(id as usize)? = Some(unspell(text)?);
        }
    }
    let tokens = tokens.into_iter().collect::<Option<Vec<_>>>()?;
    let mut merges = Vec::new();
    for merge in file["model"]["merges"].as_array()? {
        let (left, right) = match merge {
            Value::String(pair) => pair.split_once(' ')?,
            pair => (pair[0].as_str()?, pair[1].as_str()?),
        };
        let merged = ids.get([left, right].concat().as_str())?;
        merges.push((*ids.get(left)?, *ids.get(right)?, *merged));
    }
    ByteBpe::new(tokens, merges, specials)
}

/// Recognises what [`write_chars`] wrote.
pub(super) fn read_chars(file: &Value) -> Option<Chars> {
    let vocab = plain_bpe(file)?;
    let model = &file["model"];
    let ours = model["merges"].as_array()?.is_empty()
        && file["pre_tokenizer"].is_null()
        && file["decoder"]["type"] == "Fuse"
        && model["unk_token"] == UNKNOWN.to_string();
    let mut seen = BTreeSet::new();
    for text in vocab.keys().filter(|text| *text != EOT) {
        let mut chars = text.chars();
        seen.insert(chars.next()?);
        if chars.next().is_some() {
            return None;
        }
    }
    let chars = Chars::new(&seen);
    // The ids must be the very ones that we would give.
    (ours
        && write_chars(&chars)["model"]["vocab"] == model["vocab"]
        && file["added_tokens"] == json!([special(chars.eot(), EOT)]))
    .then_some(chars)
}
