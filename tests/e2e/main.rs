//! The binary, driven as its users drive it: a file a verb or a promise. One test binary, since each would link all of Lehr.

mod average;
mod bad_input;
mod bench;
mod bound;
mod common;
mod cooldown;
mod curves;
mod dataset;
mod design;
mod device;
mod dtype;
mod fit;
mod live;
mod loop_;
mod prepare;
mod prepare_hub;
mod report;
mod scaling;
mod schedule;
mod search;
mod suite;
mod suite_jobs;
mod train;
