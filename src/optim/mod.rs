//! AdamW and clipping.
