//! What the fused CPU kernels share: the way from tensors to slices and back ([`bridge`]) and
//! matrix products ([`gemm`]).

pub(crate) mod bridge;
pub(crate) mod gemm;

/// Adds `partials`, rows of `out.len()` numbers, in row order. The second stage of every
/// sum over rows: the first makes one partial sum a block of rows, whoever computes it.
pub(crate) fn sum_rows(partials: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for row in partials.chunks_exact(out.len()) {
        for (sum, &value) in out.iter_mut().zip(row) {
            *sum += value;
        }
    }
}
