//! A real device, through NVIDIA's libraries, which are found when they are asked for: the driver, NVRTC, which compiles the
//! kernels, and cuBLASLt, which multiplies.

mod blas;
mod compile;
mod libraries;

use super::device::{Address, Device, Launch, Product};
use super::ledger::{Ledger, Taken};
use super::sources::Tiles;
use crate::error::{Error, Result};
use crate::kernels::gemm::Precision;
use crate::model::ModelConfig;
use blas::Blas;
use cudarc::driver::{result, sys};
use std::collections::HashMap;
use std::ffi::{CString, c_void};

/// The oldest that multiplies bf16: Ampere.
const OLDEST: (i32, i32) = (8, 0);
/// From here on a product with GELU behind it is faster than a product and a kernel, as llm.c found: Hopper.
const FUSES_GELU: (i32, i32) = (9, 0);
/// What kernels may have of shared memory without asking for more.
const PLAIN_SHARED: u32 = 48 << 10;

/// One GPU, a stream of work on it, and the kernels of one model.
pub struct Driver {
    name: String,
    stream: sys::CUstream,
    module: sys::CUmodule,
    /// By name, with the shared memory that it may have.
    kernels: HashMap<&'static str, (sys::CUfunction, u32)>,
    blas: Blas,
    ledger: Ledger,
    fuses_gelu: bool,
    /// Bytes a block.
    shared: usize,
    /// Those that were forgotten are gone, and their places stay.
    recordings: Vec<Option<sys::CUgraphExec>>,
}

impl Driver {
    /// The first GPU, with the kernels of this model compiled for it. With `tf32` products of f32 round their operands to
    /// TF32.
    ///
    /// # Errors
    /// One sentence each: no driver, no GPU, one that is too old, no compiler, no cuBLAS.
    pub fn open(config: &ModelConfig, precision: Precision, tf32: bool) -> Result<Driver> {
        let (device, name, capability) = first()?;
        let shared = attribute(
            device,
            sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
        )? as usize;
        let tiles = Tiles::within(shared, config.head_dim);
        let image = compile::kernels(config, precision, tiles, capability)?;
        // SAFETY: the device is there; the context stays until the process ends.
        let (stream, module) = unsafe {
            let context = result::primary_ctx::retain(device)
                .map_err(|e| failed("make a context on the GPU", &e))?;
            result::ctx::set_current(context).map_err(|e| failed("use the GPU", &e))?;
            let stream = result::stream::create(result::stream::StreamKind::NonBlocking)
                .map_err(|e| failed("make a stream on the GPU", &e))?;
            let module = result::module::load_data(image.as_ptr().cast())
                .map_err(|e| failed("load the kernels, which an older driver may not take,", &e))?;
            (stream, module)
        };
        let mut ledger = Ledger::default();
        // SAFETY: a context is current; nothing reads what it has not written there.
        let workspace = unsafe { result::malloc_sync(blas::WORKSPACE) };
        let workspace = Address(workspace.map_err(|e| no_room(&name, blas::WORKSPACE, &e))?);
        ledger.took(workspace, blas::WORKSPACE);
        let blas = Blas::new(stream, workspace, tf32)?;
        Ok(Driver {
            name,
            stream,
            module,
            kernels: HashMap::new(),
            blas,
            ledger,
            fuses_gelu: capability >= FUSES_GELU,
            shared,
            recordings: Vec::new(),
        })
    }

    /// A kernel that may have so many bytes of shared memory.
    fn kernel(&mut self, name: &'static str, shared: u32) -> Result<sys::CUfunction> {
        let known = self.kernels.get(name).copied();
        let (function, allowed) = match known {
            Some(known) => known,
            None => {
                let symbol = CString::new(name).expect("a name");
                // SAFETY: the module is loaded.
                let function = unsafe { result::module::get_function(self.module, symbol) };
                (function.map_err(|e| failed(name, &e))?, PLAIN_SHARED)
            }
        };
        if shared > allowed {
            let attribute =
                sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: a function of the module.
            unsafe { result::function::set_function_attribute(function, attribute, shared as i32) }
                .map_err(|e| failed("have as much shared memory as attention takes", &e))?;
        }
        self.kernels.insert(name, (function, allowed.max(shared)));
        Ok(function)
    }
}

impl Device for Driver {
    fn name(&self) -> &str {
        &self.name
    }

    fn shared_memory(&self) -> usize {
        self.shared
    }

    fn allocate(&mut self, bytes: usize) -> Result<Address> {
        // SAFETY: a context is current; what is allocated is cleared before anything reads it.
        unsafe {
            let at = result::malloc_sync(bytes).map_err(|e| no_room(&self.name, bytes, &e))?;
            let address = Address(at);
            self.ledger.took(address, bytes);
            self.clear(address, bytes)?;
            Ok(address)
        }
    }

    fn free(&mut self, at: Address) {
        // SAFETY: allocated above; nothing under way may need it any more. A failure would be told by what comes next.
        let _ = unsafe {
            result::stream::synchronize(self.stream).and_then(|()| result::free_sync(at.0))
        };
        self.ledger.gave_back(at);
    }

    fn write(&mut self, to: Address, bytes: &[u8]) -> Result<()> {
        // SAFETY: the engine writes into what it allocated, and the bytes are here until they are there.
        unsafe {
            result::memcpy_htod_async(to.0, bytes, self.stream)
                .and_then(|()| result::stream::synchronize(self.stream))
        }
        .map_err(|e| failed("copy to the GPU", &e))
    }

    fn room(&mut self) -> Option<usize> {
        result::mem_get_info().ok().map(|(free, _)| free)
    }

    fn taken(&mut self) -> Taken {
        self.ledger.taken(result::mem_get_info().ok())
    }

    fn read(&mut self, from: Address, bytes: &mut [u8]) -> Result<()> {
        // SAFETY: the engine reads what it allocated, and waits here until it is there.
        unsafe {
            result::memcpy_dtoh_async(bytes, from.0, self.stream)
                .and_then(|()| result::stream::synchronize(self.stream))
        }
        .map_err(|e| failed("finish what the GPU was asked for", &e))
    }

    fn clear(&mut self, at: Address, bytes: usize) -> Result<()> {
        // SAFETY: as above.
        unsafe { result::memset_d8_async(at.0, 0, bytes, self.stream) }
            .map_err(|e| failed("clear memory of the GPU", &e))
    }

    fn launch(&mut self, launch: &Launch) -> Result<()> {
        let function = self.kernel(launch.kernel, launch.shared)?;
        let mut arguments: Vec<*mut c_void> = (launch.arguments.iter())
            .map(|a| a.as_ptr().cast_mut().cast())
            .collect();
        let [x, y, z] = launch.blocks;
        let threads = (launch.threads, 1, 1);
        // SAFETY: the arguments are the kernel's, as the emulated device holds them against it; they are copied here.
        unsafe {
            result::launch_kernel(
                function,
                (x, y, z),
                threads,
                launch.shared,
                self.stream,
                &mut arguments,
            )
        }
        .map_err(|e| failed(launch.kernel, &e))
    }

    fn multiply(&mut self, product: &Product) -> Result<()> {
        self.blas.multiply(product)
    }

    fn takes(&mut self, product: &Product) -> bool {
        (self.fuses_gelu || product.gelu.is_none()) && self.blas.takes(product)
    }

    fn begin_recording(&mut self) -> Result<()> {
        // Relaxed: other threads may do with CUDA what they like meanwhile.
        let mode = sys::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream is there.
        unsafe { result::stream::begin_capture(self.stream, mode) }
            .map_err(|e| failed("begin to record a step", &e))
    }

    fn end_recording(&mut self) -> Result<usize> {
        // SAFETY: recording was begun on this stream; the graph is not needed once it is made executable.
        let recording = unsafe {
            result::stream::end_capture(self.stream).and_then(|graph| {
                let flags = sys::CUgraphInstantiate_flags(0);
                let made = result::graph::instantiate(graph, flags);
                result::graph::destroy(graph).and(made)
            })
        };
        let recording = recording.map_err(|e| failed("record a step", &e))?;
        self.recordings.push(Some(recording));
        Ok(self.recordings.len() - 1)
    }

    fn replay(&mut self, recording: usize) -> Result<()> {
        let recording = self.recordings[recording].expect("not forgotten");
        // SAFETY: it was made on this stream, and what it reads and writes is there still, or it would be forgotten.
        unsafe { result::graph::launch(recording, self.stream) }
            .map_err(|e| failed("run a recorded step", &e))
    }

    fn forget(&mut self, recording: usize) {
        if let Some(recording) = self.recordings[recording].take() {
            // SAFETY: made once; a recording that is under way is freed when it has ended. A failure would be told by what comes next.
            let _ = unsafe { result::graph::exec_destroy(recording) };
        }
    }
}

/// A process may train one model after the other, in turn or side by side. The context stays: libraries keep things in it
/// that outlive their handles.
impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: all of it was made by this driver and is used by nobody else, nor after this. Nobody would hear of a failure.
        unsafe {
            let _ = result::stream::synchronize(self.stream);
            for recording in self.recordings.drain(..).flatten() {
                let _ = result::graph::exec_destroy(recording);
            }
            for at in self.ledger.addresses() {
                let _ = result::free_sync(at.0);
            }
            self.blas.close();
            let _ = result::module::unload(self.module);
            let _ = result::stream::destroy(self.stream);
        }
    }
}

/// The name of the GPU that [`Driver::open`] would take.
///
/// # Errors
/// As there.
pub fn usable() -> Result<String> {
    Ok(first()?.1)
}

/// The first GPU, its name and its compute capability.
fn first() -> Result<(sys::CUdevice, String, (i32, i32))> {
    libraries::find()?;
    let count = match result::init() {
        Ok(()) => result::device::get_count().unwrap_or(0),
        Err(e) if e.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => 0,
        Err(e) => return Err(failed("start the CUDA driver", &e)),
    };
    if count == 0 {
        return Err(Error::input(
            "there is no GPU that CUDA can see (look at CUDA_VISIBLE_DEVICES); give --device cpu",
        ));
    }
    let device = result::device::get(0).map_err(|e| failed("open the GPU", &e))?;
    let name = result::device::get_name(device).unwrap_or_else(|_| "GPU".into());
    let capability = capability(device)?;
    if capability < OLDEST {
        return Err(Error::input(format!(
            "{name} has compute capability {}.{}, and the kernels take {}.{} or newer; give --device cpu",
            capability.0, capability.1, OLDEST.0, OLDEST.1
        )));
    }
    Ok((device, name, capability))
}

fn capability(device: sys::CUdevice) -> Result<(i32, i32)> {
    use sys::CUdevice_attribute_enum as Attribute;
    Ok((
        attribute(
            device,
            Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
        )?,
        attribute(
            device,
            Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        )?,
    ))
}

fn attribute(device: sys::CUdevice, attribute: sys::CUdevice_attribute_enum) -> Result<i32> {
    // SAFETY: the device is there.
    unsafe { result::device::get_attribute(device, attribute) }
        .map_err(|e| failed("say what it is", &e))
}

fn no_room(name: &str, bytes: usize, e: &result::DriverError) -> Error {
    if e.0 != sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
        return failed("allocate memory on the GPU", e);
    }
    let gib = |bytes: usize| bytes as f64 / f64::from(1 << 30);
    let (free, total) = result::mem_get_info().unwrap_or_default();
    Error::input(format!(
        "{name} has no room for {:.2} GiB more: {:.2} of its {:.1} GiB are free; take a smaller --batch-size with more --acc-steps, --recompute, --dtype bf16, or a smaller model",
        gib(bytes),
        gib(free),
        gib(total)
    ))
}

fn failed(doing: &str, e: &result::DriverError) -> Error {
    let why = e.error_string().ok();
    let why = why.map_or("unknown".into(), |s| s.to_string_lossy().into_owned());
    Error::backend(format!("the GPU could not {doing}: {why} ({:?})", e.0))
}
