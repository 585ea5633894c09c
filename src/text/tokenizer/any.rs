//! Any other `tokenizer.json`, through Hugging Face's `tokenizers`.

use super::{EOT, json};
use crate::error::{Error, Result};
use std::path::Path;
use tokenizers::AddedToken;

/// Names that models give their end-of-text token, most telling first.
const END_NAMES: [&str; 6] = [
    EOT,
    "<|end_of_text|>",
    "<|endofdocument|>",
    "</s>",
    "<eos>",
    "[SEP]",
];

pub(super) struct Any {
    inner: tokenizers::Tokenizer,
    /// The file as it was read: saving it again changes nothing.
    pub(super) source: String,
    pub(super) vocab_size: usize,
    pub(super) eot: Option<u32>,
    eot_text: Option<String>,
    byte_level: bool,
}

impl Any {
    /// # Errors
    /// What is wrong with the file, to be completed by its name.
    pub(super) fn new(source: String, file: &Path) -> std::result::Result<Any, String> {
        let mut inner: tokenizers::Tokenizer = source.parse().map_err(|e| format!("{e}"))?;
        // A corpus is never truncated nor padded, and spelling a special token does not make one.
        inner.with_truncation(None).map_err(|e| e.to_string())?;
        inner.with_padding(None);
        inner.set_encode_special_tokens(true);
        let vocab_size = inner
            .get_vocab(true)
            .values()
            .max()
            .map_or(0, |&id| id as usize + 1);
        if vocab_size == 0 {
            return Err("its vocabulary is empty".to_owned());
        }
        let named = named_by_config(file).filter(|name| inner.token_to_id(name).is_some());
        let customary = END_NAMES.iter().map(|name| name.to_string());
        let eot_text = named.or_else(|| {
            customary
                .into_iter()
                .find(|n| inner.token_to_id(n).is_some())
        });
        let eot = eot_text.as_ref().and_then(|name| inner.token_to_id(name));
        if let Some(name) = &eot_text {
            // Some files add the token without calling it special; it would be found in text.
            inner
                .add_special_tokens([AddedToken::from(name.as_str(), true)])
                .map_err(|e| e.to_string())?;
        }
        let byte_level = matches!(
            inner.get_decoder(),
            Some(tokenizers::DecoderWrapper::ByteLevel(_))
        );
        Ok(Any {
            inner,
            source,
            vocab_size,
            eot,
            eot_text,
            byte_level,
        })
    }

    pub(super) fn encode(&self, text: &str, out: &mut Vec<u32>) -> Result<()> {
        let start = out.len();
        self.encode_plain(text, out)?;
        // A model that holds the end-of-text token as an ordinary word can still meet it.
        if let (Some(eot), Some(name)) = (self.eot, &self.eot_text)
            && out[start..].contains(&eot)
        {
            out.truncate(start);
            let middle = name.char_indices().nth(name.chars().count() / 2);
            let middle = middle.map_or(0, |(i, _)| i);
            let mut from = 0;
            for (at, _) in text.match_indices(name.as_str()) {
                self.encode_plain(&text[from..at + middle], out)?;
                from = at + middle;
            }
            self.encode_plain(&text[from..], out)?;
        }
        Ok(())
    }

    fn encode_plain(&self, text: &str, out: &mut Vec<u32>) -> Result<()> {
        let encoding = self.inner.encode_fast(text, false).map_err(|e| {
            Error::input(format!("the tokenizer.json cannot encode a document: {e}"))
        })?;
        out.extend_from_slice(encoding.get_ids());
        Ok(())
    }

    pub(super) fn decode(&self, ids: &[u32]) -> Result<String> {
        let text = self.inner.decode(ids, false);
        text.map_err(|e| Error::input(format!("the tokenizer.json cannot decode: {e}")))
    }

    pub(super) fn token_bytes(&self) -> Vec<u32> {
        let mut bytes = vec![0; self.vocab_size];
        let added = self.inner.get_added_vocabulary();
        for (token, id) in self.inner.get_vocab(true) {
            if added.is_special_token(&token) {
                continue;
            }
            bytes[id as usize] = if self.byte_level
                && let Some(b) = json::unspell(&token)
            {
                b.len() as u32
            } else if token.len() == 6 && token.starts_with("<0x") && token.ends_with('>') {
                1
            } else {
                // SentencePiece spells a space as U+2581, WordPiece marks a continuation.
                token
                    .trim_start_matches("##")
                    .replace('\u{2581}', " ")
                    .len() as u32
            };
        }
        bytes
    }
}

/// `eos_token` of the `tokenizer_config.json` beside the file.
fn named_by_config(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file.with_file_name("tokenizer_config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_str(&text).ok()?;
    let eos = &config["eos_token"];
    let name = eos.as_str().or(eos["content"].as_str())?;
    Some(name.to_owned())
}
