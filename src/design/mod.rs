//! Schedules from theory and from fitted laws: what a schedule is worth, and which would be best.

pub mod bound;
