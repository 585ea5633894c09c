//! Kernels on a device of candle's. What is compiled stays, a device at a time.

use super::SOURCES;
use super::launch::{Argument, Launch, THREADS};
use candle_core::metal_backend::DeviceId;
use candle_core::{Device, Error, MetalDevice, Result, Storage, bail};
use candle_metal_kernels::metal::{ComputeCommandEncoder, ComputePipeline, Library};
use objc2_metal::{
    MTLCompileOptions, MTLComputePipelineState, MTLMathFloatingPointFunctions, MTLMathMode, MTLSize,
};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

/// As SIMD in device.metal.
const SIMD: usize = 32;

struct Compiled {
    library: Library,
    pipelines: HashMap<&'static str, ComputePipeline>,
}

static COMPILED: LazyLock<Mutex<HashMap<DeviceId, Compiled>>> = LazyLock::new(Mutex::default);

/// The first GPU.
///
/// # Errors
/// Why there is none. Candle's own way to it panics where the list is empty, and where the system is too old for it.
pub(crate) fn device() -> std::result::Result<Device, String> {
    if candle_metal_kernels::metal::Device::all().is_empty() {
        return Err("the system lists none".into());
    }
    let opened = std::panic::catch_unwind(|| Device::new_metal(0));
    let opened = opened.map_err(|_| "candle needs macOS 15 or newer".to_string())?;
    opened.map_err(|e| e.to_string())
}

pub(super) fn launch(device: &MetalDevice, launch: &Launch) -> Result<()> {
    let pipeline = pipeline(device, launch.kernel)?;
    // Locks on tensors before the one on the device, in the order in which candle takes them.
    let storages: Vec<_> = (launch.arguments.iter())
        .map(|argument| match argument {
            Argument::Reads(t) | Argument::Writes(t) => Some(t.storage_and_layout()),
            Argument::Words(_) => None,
        })
        .collect();
    let guard = device.command_encoder()?;
    let encoder: &ComputeCommandEncoder = guard.as_ref();
    encoder.set_compute_pipeline_state(&pipeline);
    for (i, (argument, storage)) in launch.arguments.iter().zip(&storages).enumerate() {
        let tensor = storage.as_ref().map(|(storage, layout)| match &**storage {
            Storage::Metal(storage) => {
                let offset = layout.start_offset() * storage_bytes(storage);
                Ok((storage.buffer(), offset))
            }
            _ => Err(Error::msg(format!(
                "{}: argument {i} is not on the device",
                launch.kernel
            ))),
        });
        match (argument, tensor.transpose()?) {
            (Argument::Reads(_), Some((buffer, offset))) => {
                encoder.set_input_buffer(i, Some(buffer), offset);
            }
            // Whatever touched it before is waited for, readers and writers.
            (Argument::Writes(_), Some((buffer, offset))) => {
                encoder.set_output_buffer(i, Some(buffer), offset);
            }
            (Argument::Words(words), _) => {
                encoder.set_bytes_directly(i, 4 * words.len(), words.as_ptr().cast());
            }
            (_, None) => unreachable!("every tensor has a storage"),
        }
    }
    let along = |width| MTLSize {
        width,
        height: 1,
        depth: 1,
    };
    encoder.dispatch_thread_groups(along(launch.groups), along(THREADS));
    Ok(())
}

fn storage_bytes(storage: &candle_core::MetalStorage) -> usize {
    use candle_core::backend::BackendStorage;
    storage.dtype().size_in_bytes()
}

fn pipeline(device: &MetalDevice, kernel: &'static str) -> Result<ComputePipeline> {
    let mut compiled = COMPILED.lock().unwrap_or_else(|e| e.into_inner());
    let compiled = match compiled.entry(device.id()) {
        std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
        std::collections::hash_map::Entry::Vacant(entry) => entry.insert(Compiled {
            library: library(device)?,
            pipelines: HashMap::new(),
        }),
    };
    if let Some(pipeline) = compiled.pipelines.get(kernel) {
        return Ok(pipeline.clone());
    }
    let make = || {
        let function = compiled.library.get_function(kernel, None)?;
        (device.metal_device()).new_compute_pipeline_state_with_function(&function)
    };
    let pipeline = make().map_err(|e| Error::msg(format!("the Metal kernel {kernel}: {e}")))?;
    let lanes = pipeline.as_ref().threadExecutionWidth();
    if lanes != SIMD || pipeline.max_total_threads_per_threadgroup() < THREADS {
        bail!(
            "this GPU runs {lanes} threads together, {} in a group; the kernels are made for {SIMD} and {THREADS}, which \
             Apple's own GPUs have: give --device cpu",
            pipeline.max_total_threads_per_threadgroup()
        );
    }
    compiled.pipelines.insert(kernel, pipeline.clone());
    Ok(pipeline)
}

fn library(device: &MetalDevice) -> Result<Library> {
    let options = MTLCompileOptions::new();
    // Fast arithmetic knows no infinities and no NaN, by which a loss shows that it diverged; nor do fast functions.
    options.setMathMode(MTLMathMode::Safe);
    options.setMathFloatingPointFunctions(MTLMathFloatingPointFunctions::Precise);
    let text = SOURCES.join("\n");
    (device.metal_device())
        .new_library_with_source(&text, Some(&options))
        .map_err(|e| Error::msg(format!("the Metal kernels do not compile here: {e}")))
}
