//! Scaling: what a model of N parameters trained on D tokens ends at, and what to train next.

pub mod bootstrap;
pub mod law;
pub mod parametric;
pub mod point;
pub mod search;
