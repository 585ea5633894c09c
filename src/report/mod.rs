//! Pictures: a [`Chart`] says what to show, and three renderers draw the same chart.
//!
//! - [`terminal`]: at most 80 columns of characters; legible without colour.
//! - [`svg`]: no scripts, no fonts of its own, light and dark by media query.
//! - [`png`]: light, at two pixels a point, with an embedded font.
//!
//! SVG and PNG are two writings of one [`scene`], so they cannot disagree. [`fitted`] makes the charts of
//! fits, predictions and comparisons, [`scaling`] that of compute-optimal sizes, [`bound`] those of convex theory.
//! [`run`] gathers what a run wrote, and [`page`] makes one HTML file of it, [`frame`] one screen of the terminal.

pub mod bound;
pub mod chart;
pub mod fitted;
pub mod font;
pub mod frame;
mod layout;
mod marks;
pub mod page;
mod place;
pub mod png;
pub mod run;
pub mod scaling;
pub mod scene;
pub mod svg;
pub mod terminal;
pub mod ticks;
pub mod words;

pub use chart::{Axis, Chart, Data, Entry, Panel, Scale, Series};
pub use ticks::Numbers;
