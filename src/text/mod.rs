//! From text to batches: readers, tokenizers, token shards, the loader. No candle here.

pub mod dataset;
pub mod loader;
pub mod permutation;
pub mod prefetch;
pub mod prepare;
pub mod readers;
pub mod shards;
pub mod store;
pub mod synthetic;
pub mod tokenizer;
