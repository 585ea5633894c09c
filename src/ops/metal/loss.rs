//! Output projection and cross-entropy.

use super::fresh;
use super::launch::{Argument::*, Launch, launch, size};
use super::node::{Gradients, Node};
use candle_core::{Result, Tensor};

/// How many logits a chunk may hold: 128 MiB of them. More than on the processor, because candle's products cannot add to
/// what is there: each chunk makes a gradient of the whole weight and adds it to the sum.
const CHUNK_LOGITS: usize = 1 << 25;
/// A chunk has at least so many rows.
const MIN_CHUNK_ROWS: usize = 128;

/// See [`crate::ops::linear_cross_entropy()`]. Nobody waits for the device here, so a target that is no row of the weight is
/// not refused but makes a loss that is not a number.
pub(crate) fn linear_cross_entropy(
    h: &Tensor,
    weight: &Tensor,
    targets: &Tensor,
) -> Result<Tensor> {
    let chunk = (CHUNK_LOGITS / weight.dims()[0]).max(MIN_CHUNK_ROWS);
    in_chunks(chunk, h, weight, targets)
}

/// `chunk` rows at a time. As in the processor's node, gradients are made while the logits are at hand, for a loss whose own
/// gradient is one.
pub(super) fn in_chunks(
    chunk: usize,
    h: &Tensor,
    weight: &Tensor,
    targets: &Tensor,
) -> Result<Tensor> {
    let (h, weight, targets) = (h.contiguous()?, weight.contiguous()?, targets.contiguous()?);
    let (h_nd, weight_vd) = (h.detach(), weight.detach());
    let (wants_dh, wants_dweight) = (h.track_op(), weight.track_op());
    let ((rows, _), (vocab, _)) = (h_nd.dims2()?, weight_vd.dims2()?);
    let mut losses = Vec::new();
    let mut dh_parts = Vec::new();
    let mut dweight: Option<Tensor> = None;
    for start in (0..rows).step_by(chunk) {
        let len = chunk.min(rows - start);
        let h_nd = h_nd.narrow(0, start, len)?;
        let logits_nv = h_nd.matmul(&weight_vd.t()?)?;
        let targets_n = targets.narrow(0, start, len)?;
        let losses_n = fresh(len, h.device())?;
        let run = Launch {
            kernel: "cross_entropy",
            groups: len,
            arguments: vec![
                Writes(&logits_nv),
                Reads(&targets_n),
                (1.0 / rows as f32).into(),
                (wants_dh || wants_dweight).into(),
                Writes(&losses_n),
                size(vocab)?.into(),
            ],
        };
        launch(h.device(), &run)?;
        losses.push(losses_n);
        // Now the gradient of the logits.
        if wants_dh {
            dh_parts.push(logits_nv.matmul(&weight_vd)?);
        }
        if wants_dweight {
            let share = logits_nv.t()?.matmul(&h_nd)?;
            dweight = Some(match dweight {
                Some(sum) => (sum + share)?,
                None => share,
            });
        }
    }
    let dh = match wants_dh {
        true => Some(Tensor::cat(&dh_parts, 0)?),
        false => None,
    };
    let result = Tensor::cat(&losses, 0)?.mean_all()?;
    let back = move |dloss: &Tensor| -> Gradients<2> {
        let scaled = |gradient: &Option<Tensor>| {
            let scaled = gradient.as_ref().map(|g| g.broadcast_mul(dloss));
            scaled.transpose()
        };
        Ok([scaled(&dh)?, scaled(&dweight)?])
    };
    let name = "linear_cross_entropy";
    h.apply_op2(&weight, Node { name, result, back })
}
