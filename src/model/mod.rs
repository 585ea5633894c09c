//! GPT-2 and Llama over `ops`.
