//! Fits of any law to any curves: objective, multi-start optimiser, uncertainty, held-out scores.
