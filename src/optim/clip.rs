//! Clipping by the global norm (Pascanu et al. 2013).

use crate::error::{Error, Result};
use candle_core::{CpuStorage, Storage, Tensor};
use rayon::prelude::*;

/// Elements that one partial sum covers: fixed, so that the norm does not depend on the number
/// of threads.
const BLOCK: usize = 1 << 14;

/// ‖g‖₂ over all gradients together, summed in f64.
pub fn global_norm<'a>(grads: impl IntoIterator<Item = &'a Tensor>) -> Result<f64> {
    let mut sum = 0.0;
    for grad in grads {
        sum += squared_norm(grad).map_err(Error::backend)?;
    }
    Ok(sum.sqrt())
}

fn squared_norm(grad: &Tensor) -> candle_core::Result<f64> {
    let (storage, layout) = grad.storage_and_layout();
    if let (Storage::Cpu(CpuStorage::F32(data)), Some((start, end))) =
        (&*storage, layout.contiguous_offsets())
    {
        let partial: Vec<f64> = data[start..end]
            .par_chunks(BLOCK)
            .map(|block| block.iter().map(|&x| x as f64 * x as f64).sum())
            .collect();
        return Ok(partial.iter().sum());
    }
    drop(storage);
    Ok(grad.sqr()?.sum_all()?.to_scalar::<f32>()? as f64)
}

/// What every gradient is multiplied by so that the global norm stays at most `max_norm`:
/// min(1, max_norm / (norm + 1e-6)), as PyTorch's `clip_grad_norm_`; `max_norm` 0 never clips.
pub fn clip_coefficient(norm: f64, max_norm: f64) -> f64 {
    if max_norm <= 0.0 {
        return 1.0;
    }
    (max_norm / (norm + 1e-6)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn norm_over_all_tensors_and_layouts() {
        let device = Device::Cpu;
        let a = Tensor::new(&[[3f32, 0.0], [0.0, 0.0]], &device).unwrap();
        let b = Tensor::new(&[4f32], &device).unwrap();
        assert_eq!(global_norm([&a, &b]).unwrap(), 5.0);
        let wide = Tensor::arange(0f32, 6.0, &device)
            .unwrap()
            .reshape((2, 3))
            .unwrap();
        let turned = wide.t().unwrap();
        let norm = global_norm([&wide]).unwrap();
        assert!((global_norm([&turned]).unwrap() - norm).abs() < 1e-6);
    }

    #[test]
    fn coefficient() {
        assert_eq!(clip_coefficient(0.5, 1.0), 1.0);
        assert!((clip_coefficient(4.0, 1.0) - 0.25).abs() < 1e-6);
        assert_eq!(clip_coefficient(1e9, 0.0), 1.0);
    }
}
