//! GPT-2's vocabulary without a network.
//!
//! The ranks of `r50k_base` come inside the crate `tiktoken-rs` (MIT); the vocabulary itself is
//! OpenAI's, published under the MIT licence with GPT-2 and with `tiktoken`. A rank table says
//! only which byte strings are tokens; `tokenizer.json` wants the pair that each was merged from.
//! That pair is what remains of the token's bytes after every merge of lower rank.

use super::EOT;
use super::bpe::ByteBpe;
use super::cache::Fast;
use crate::error::{Error, Result};
use std::collections::HashMap;

/// Ids of ordinary tokens; `<|endoftext|>` follows as 50256.
const RANKS: u32 = 50_256;

pub(super) fn vocabulary() -> Result<ByteBpe> {
    let ranks = tiktoken_rs::r50k_base().map_err(|e| Error::backend(e.to_string()))?;
    let mut tokens: Vec<Box<[u8]>> = Vec::with_capacity(RANKS as usize + 1);
    let mut ids: HashMap<Box<[u8]>, u32, Fast> = HashMap::default();
    for id in 0..RANKS {
        let bytes: Box<[u8]> = ranks
            .decode_bytes(&[id])
            .map_err(|e| Error::backend(e.to_string()))?
            .into();
        ids.insert(bytes.clone(), id);
        tokens.push(bytes);
    }
    let mut merges = Vec::with_capacity(RANKS as usize - 256);
    for (id, token) in tokens.iter().enumerate().filter(|(_, t)| t.len() > 1) {
        let cut = last_cut(token, id as u32, &ids);
        merges.push((ids[&token[..cut]], ids[&token[cut..]], id as u32));
    }
    tokens.push([].into());
    ByteBpe::new(tokens, merges, vec![(RANKS, EOT.to_owned())])
        .ok_or_else(|| Error::backend("the embedded GPT-2 ranks lack a byte"))
}

/// Merges `token`'s bytes by all ranks below its own, and returns where its last two parts meet.
fn last_cut(token: &[u8], rank: u32, ids: &HashMap<Box<[u8]>, u32, Fast>) -> usize {
    let mut cuts: Vec<usize> = (0..=token.len()).collect();
    while cuts.len() > 3 {
        let lowest = (0..cuts.len() - 2)
            .filter_map(|i| {
                let part = &token[cuts[i]..cuts[i + 2]];
                ids.get(part).map(|&r| (r, i))
            })
            .filter(|&(r, _)| r < rank)
            .min();
        let Some((_, i)) = lowest else { break };
        cuts.remove(i + 1);
    }
    debug_assert_eq!(
        cuts.len(),
        3,
        "every token of rank {rank} is a merge of two"
    );
    cuts[1]
}
