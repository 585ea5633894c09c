//! What convex theory says of a schedule: the bound Ω, the LR that it favours, and the schedule that it would have.
//!
//! SGD, `x_{t+1} = x_t − η_t·g_t`, on a convex function, started at distance `D` from the optimum, with stochastic gradients
//! of norms `G_t`: after T steps the expected suboptimality is at most Ω_T ([`omega`]; Theorem 10 of arXiv 2310.07831,
//! as arXiv 2501.18965 puts it beside the losses of language models). Ω knows the schedule alone, so it can be had
//! before anything is trained.
//!
//! - [`omega`]: Ω, its split into distance and noise, its best base LR, its curve over time, its gradient
//! - [`optimal`]: the schedule with the least Ω, in closed form
//! - [`extend`]: a trained prefix carried on to a later horizon
//! - [`norms`]: the gradient norms G_t
//! - [`schedules`]: the unit schedules that specs mean, in our convention and in that of the reference package
//! - [`study`]: the experiments of the reference package

pub mod extend;
pub mod norms;
pub mod omega;
pub mod optimal;
pub mod schedules;
pub mod study;

#[cfg(test)]
mod reference_tests;

pub use norms::GradNorms;
pub use omega::{Bound, Iterate, Split};
pub use schedules::{Convention, Spec};
