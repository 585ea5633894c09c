//! Scaling: what a model of N parameters trained on D tokens ends at, and what to train next.

pub mod allocate;
pub mod bootstrap;
pub mod compare;
pub mod curves;
pub mod envelope;
pub mod estimate;
pub mod holdout;
pub mod isoflop;
pub mod law;
pub mod origin;
pub mod parametric;
pub mod point;
pub mod power;
pub mod search;
pub mod spline;
pub mod suite;
