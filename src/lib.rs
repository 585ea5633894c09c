//! Lehr: an LLM pretraining harness that knows the laws its own learning-rate schedule obeys.
//!
//! The rooms of the house stand on floors; a room imports only from floors below it.
//! `ARCHITECTURE.md` draws the map and lists the invariants.

pub mod average;
pub mod bench;
pub mod campaign;
pub mod cli;
pub mod curve;
pub mod design;
pub mod engine;
pub mod error;
pub mod files;
pub mod fit;
pub mod forecast;
pub mod kernels;
pub mod law;
pub mod memory;
pub mod model;
pub mod ops;
pub mod optim;
pub mod report;
pub mod scaling;
pub mod schedule;
pub mod text;
pub mod train;

pub use error::{Error, Result};
