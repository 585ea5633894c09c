//! The step, the loop, evaluation, metrics, checkpoints.
