//! `lehr fit`, `predict` and `compare`, driven as a user does, on curves that a known law wrote.

mod bad_input;
mod comparisons;
mod fits;
mod place;
mod predictions;
mod public;
