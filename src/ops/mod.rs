//! Differentiable tensor ops; one op, one folder.
