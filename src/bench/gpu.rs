//! What a step on a GPU is held against.

use crate::engine::cuda::device::{Address, Device, Number, Operand, Product};
use crate::engine::cuda::ledger::Taken;
use crate::error::Result;
use crate::kernels::gemm::Precision;
use crate::train::config::Dtype;
use serde::Serialize;
use std::time::Instant;

/// The device that a step ran on, if not the processor.
#[derive(Clone, Debug, Serialize)]
pub struct OnGpu {
    pub name: String,
    /// Of the step's precision; none is known of Apple's.
    pub peak: Option<GpuPeak>,
    /// After the last timed step.
    pub memory: Option<Taken>,
}

/// Operations a second, a fused multiply-add counted as two.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GpuPeak {
    pub flops: f64,
    pub from: PeakSource,
}

/// Where a peak comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeakSource {
    /// NVIDIA's data sheet: dense products, sums in f32, at the boost clock.
    DataSheet,
    /// The best of some large products on this device: what can be reached, so that shares of it come out higher.
    Measured,
}

/// Words of a GPU's name, and 10¹² operations a second of dense products: bf16 with sums in f32, tf32, f32. More words
/// first.
///
/// Sources: NVIDIA's data sheets of H100 (SXM, PCIe, NVL), H200 (SXM, NVL), A100, L40S, L40, L4 and A10, halved where they
/// print the rate with sparsity; the white paper of the Ada architecture for the RTX 4090.
const DATA_SHEETS: &[(&[&str], [f64; 3])] = &[
    (&["H100", "PCIe"], [756.5, 378.0, 51.2]),
    (&["H100", "NVL"], [835.5, 417.5, 60.0]),
    (&["H200", "NVL"], [835.5, 417.5, 60.0]),
    (&["H100"], [989.4, 494.7, 66.9]),
    (&["H200"], [989.4, 494.7, 66.9]),
    (&["GH200"], [989.4, 494.7, 66.9]),
    (&["A100"], [312.0, 156.0, 19.5]),
    (&["L40S"], [362.05, 183.0, 91.6]),
    (&["L40"], [181.05, 90.5, 90.5]),
    (&["L4"], [121.0, 60.0, 30.3]),
    (&["A10"], [125.0, 62.5, 31.2]),
    (&["4090"], [165.2, 82.6, 82.6]),
];

/// Words of names of something slower: a part of a GPU, one of a laptop, one for another market.
const OTHERWISE: &[&str] = &["MIG", "Laptop", "D"];

/// The data sheet's rate of a GPU, by its name.
fn data_sheet(name: &str, dtype: Dtype) -> Option<f64> {
    // "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3".
    let words: Vec<&str> = name.split([' ', '-']).collect();
    if OTHERWISE.iter().any(|word| words.contains(word)) {
        return None;
    }
    let (_, [bf16, tf32, f32]) = DATA_SHEETS
        .iter()
        .find(|(wanted, _)| wanted.iter().all(|word| words.contains(word)))?;
    let rate = match dtype {
        Dtype::Bf16 | Dtype::Auto => bf16,
        Dtype::Tf32 => tf32,
        Dtype::F32 => f32,
    };
    Some(1e12 * rate)
}

/// What products are held against, on a device that was opened for this dtype: the data sheet's rate, or what a large product
/// reaches here.
///
/// # Errors
/// The device has no room for the product, or failed.
pub fn peak(device: &mut dyn Device, dtype: Dtype) -> Result<GpuPeak> {
    const SIDE: usize = 8192;
    Ok(match data_sheet(device.name(), dtype) {
        Some(flops) => GpuPeak {
            flops,
            from: PeakSource::DataSheet,
        },
        None => GpuPeak {
            flops: measured(device, dtype.precision(), SIDE)?,
            from: PeakSource::Measured,
        },
    })
}

/// Operations a second of square products, the best of some rounds. Of zeros, which draw the least power, so that no clock
/// falls for them.
fn measured(device: &mut dyn Device, precision: Precision, side: usize) -> Result<f64> {
    const PRODUCTS: usize = 10;
    const ROUNDS: usize = 5;
    let number = match precision {
        Precision::F32 => Number::F32,
        Precision::Bf16 => Number::Bf16,
    };
    let bytes = number.bytes() * side * side;
    let mut matrices = [Address::NULL; 3];
    for matrix in &mut matrices {
        *matrix = device.allocate(bytes)?;
    }
    let [a, b, d] = matrices;
    let operand = |at, transposed| Operand {
        at,
        stride: side,
        transposed,
    };
    let product = Product {
        m: side,
        n: side,
        k: side,
        a: operand(a, true),
        b: operand(b, false),
        number,
        d,
        d_stride: side,
        d_number: number,
        c: None,
        bias: None,
        gelu: None,
    };
    let mut fastest = f64::INFINITY;
    // The first round finds out how to multiply.
    for round in 0..=ROUNDS {
        let clock = Instant::now();
        for _ in 0..PRODUCTS {
            device.multiply(&product)?;
        }
        device.read(d, &mut [0; 4])?;
        if round > 0 {
            fastest = fastest.min(clock.elapsed().as_secs_f64());
        }
    }
    matrices.into_iter().for_each(|at| device.free(at));
    Ok(2.0 * (side as f64).powi(3) * PRODUCTS as f64 / fastest.max(1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cuda::emulated::Emulated;
    use crate::kernels::emulated::there_is_a_compiler;
    use crate::model::Family;
    use crate::model::config::tests::tiny;

    #[test]
    fn data_sheets_are_found_by_name() {
        let bf16 = |name| data_sheet(name, Dtype::Bf16).map(|x| x / 1e12);
        assert_eq!(bf16("NVIDIA H200"), Some(989.4));
        assert_eq!(bf16("NVIDIA H200 NVL"), Some(835.5));
        assert_eq!(bf16("NVIDIA H100 80GB HBM3"), Some(989.4));
        assert_eq!(bf16("NVIDIA H100 PCIe"), Some(756.5));
        assert_eq!(bf16("NVIDIA A100-SXM4-80GB"), Some(312.0));
        assert_eq!(bf16("NVIDIA L40S"), Some(362.05));
        assert_eq!(bf16("NVIDIA L4"), Some(121.0));
        assert_eq!(bf16("NVIDIA GeForce RTX 4090"), Some(165.2));
        assert_eq!(data_sheet("NVIDIA H200", Dtype::F32), Some(66.9 * 1e12));
        assert_eq!(data_sheet("NVIDIA H200", Dtype::Tf32), Some(494.7 * 1e12));
        for unknown in [
            "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
            "NVIDIA GeForce RTX 4090 Laptop GPU",
            "NVIDIA GeForce RTX 4090 D",
            "NVIDIA A10G",
            "Tesla T4",
        ] {
            assert_eq!(bf16(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn where_no_data_sheet_is_known_a_product_is_timed() {
        if !there_is_a_compiler() {
            return;
        }
        let config = tiny(Family::Gpt2, true);
        let mut device = Emulated::new(&config, Precision::F32);
        for precision in [Precision::F32, Precision::Bf16] {
            let flops = measured(&mut device, precision, 24).unwrap();
            assert!(flops > 0.0 && flops.is_finite());
        }
        let taken = device.taken();
        assert_eq!((taken.allocated, taken.peak), (0, 3 * 4 * 24 * 24));
    }
}
