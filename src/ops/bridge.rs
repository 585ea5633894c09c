//! From tensors to the slices that kernels see, and back.

use candle_core::{
    CpuStorage, DType, Device, Layout, Result, Shape, Storage, StorageRef, Tensor, bail,
};
use std::ops::Deref;

/// Whether a node over kernels can serve an operation on these tensors.
pub(crate) fn fits(tensors: &[&Tensor]) -> bool {
    tensors
        .iter()
        .all(|t| matches!(t.device(), Device::Cpu) && t.dtype() == DType::F32 && t.elem_count() > 0)
}

/// The tensor itself if its last dimension is consecutive in memory, else a contiguous copy.
pub(crate) fn unit_stride(tensor: &Tensor) -> Result<Tensor> {
    match tensor.stride().last() {
        Some(1) => Ok(tensor.clone()),
        _ => tensor.contiguous(),
    }
}

/// The elements of an operand of a custom operation, from its first on.
pub(crate) fn strided<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match storage {
        CpuStorage::F32(data) => Ok(&data[layout.start_offset()..]),
        _ => bail!("a fused kernel was given something else than f32"),
    }
}

/// The elements of a contiguous operand of a custom operation.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    if !layout.is_contiguous() {
        bail!("a fused kernel was given a strided tensor");
    }
    Ok(&strided(storage, layout)?[..layout.shape().elem_count()])
}

/// A CPU f32 tensor opened for reading; derefs to its elements from the first on
/// (to exactly its elements if it is contiguous).
pub(crate) struct Floats<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

/// Opens a tensor for reading.
pub(crate) fn floats(tensor: &Tensor) -> Result<Floats<'_>> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(_)) => Ok(Floats { storage, layout }),
        _ => bail!("a fused kernel was given something else than f32 on the CPU"),
    }
}

impl Deref for Floats<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        let Storage::Cpu(CpuStorage::F32(data)) = &*self.storage else {
            unreachable!("checked by floats()");
        };
        let start = self.layout.start_offset();
        if self.layout.is_contiguous() {
            &data[start..start + self.layout.shape().elem_count()]
        } else {
            &data[start..]
        }
    }
}

/// The result of a custom operation.
pub(crate) fn result(data: Vec<f32>, shape: impl Into<Shape>) -> Result<(CpuStorage, Shape)> {
    Ok((CpuStorage::F32(data), shape.into()))
}

/// A gradient for `like`.
pub(crate) fn gradient(data: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(data, like.shape(), &Device::Cpu)
}
