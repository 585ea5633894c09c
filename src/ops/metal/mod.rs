//! Fused operations on Metal, in f32: kernels as text beside those of the processor (`kernels/*.metal`), compiled when the
//! first of them runs.
//!
//! An operation computes its result at once, by launches over tensors ([`launch`]), and then puts it on candle's tape
//! ([`node`]) with the launches that are its backward pass. The device sees launches in the order in which they are asked for;
//! candle keeps it from running two at a time where one writes what the other touches, which is why every launch says
//! which of its tensors it writes.
//!
//! `driver` is the device; `emulated` runs the same text and the same launches on the processor, for tests. No Apple
//! machine has run this yet.
//!
//! No sum is atomic, and the order of each depends on the shapes alone: the same bits on one machine.

#[cfg(feature = "metal")]
mod driver;
#[cfg(all(test, target_os = "linux"))]
pub(crate) mod emulated;
mod launch;
mod loss;
mod node;
mod norm;
mod rope;
mod swiglu;
#[cfg(test)]
mod tests;
mod update;

#[cfg(feature = "metal")]
pub(crate) use driver::device;
pub(super) use loss::linear_cross_entropy;
pub(super) use norm::{layer_norm, rms_norm};
pub(super) use rope::rope;
pub(super) use swiglu::swiglu;
pub(crate) use update::adamw;

use candle_core::{DType, Device, Result, Shape, Tensor};

/// All kernels, in the order in which they are compiled.
#[cfg(any(feature = "metal", test))]
const SOURCES: &[&str] = &[
    include_str!("../../kernels/device.metal"),
    include_str!("../../kernels/norm.metal"),
    include_str!("../../kernels/rope.metal"),
    include_str!("../../kernels/activation.metal"),
    include_str!("../../kernels/loss.metal"),
    include_str!("../../kernels/update.metal"),
];

/// Whether kernels can serve an operation on these tensors.
pub(crate) fn fits(tensors: &[&Tensor]) -> bool {
    tensors
        .iter()
        .all(|t| has_kernels(t.device()) && t.dtype() == DType::F32 && t.elem_count() > 0)
}

fn has_kernels(device: &Device) -> bool {
    #[cfg(all(test, target_os = "linux"))]
    if device.is_cpu() && emulated::is_on() {
        return true;
    }
    cfg!(feature = "metal") && device.is_metal()
}

/// f32 that a kernel is going to write, every one of them.
fn fresh(shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
    if device.is_cpu() {
        // The emulated device: so that tests see what was not written.
        return Tensor::full(f32::NAN, shape, device);
    }
    // SAFETY: read by nobody before it is written.
    unsafe { Tensor::empty(shape, DType::F32, device) }
}
