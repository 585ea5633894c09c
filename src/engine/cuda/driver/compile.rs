//! The kernels of a model, compiled for one kind of GPU.

use crate::engine::cuda::sources;
use crate::error::{Error, Result};
use crate::kernels::gemm::Precision;
use crate::model::ModelConfig;
use cudarc::nvrtc::{result, sys};
use std::ffi::CString;

/// A module as the driver loads it.
///
/// # Errors
/// A compiler that does not know the GPU; a fault of the kernels.
pub fn kernels(
    config: &ModelConfig,
    precision: Precision,
    tiles: sources::Tiles,
    (major, minor): (i32, i32),
) -> Result<Vec<u8>> {
    let text = CString::new(sources::text(config, precision)).expect("sources hold no zeros");
    let program = result::create_program(&text, Some(c"lehr.cu"))
        .map_err(|e| Error::backend(format!("NVRTC cannot begin: {e:?}")))?;
    let mut options = vec![
        format!("--gpu-architecture=sm_{major}{minor}"),
        "--std=c++17".to_string(),
    ];
    let constants = sources::constants(config, precision, tiles);
    options.extend(constants.iter().map(|(name, x)| format!("-D{name}={x}")));
    // SAFETY: the program was made above and is destroyed once, below.
    unsafe {
        let done = result::compile_program(program, &options);
        let image = done.map_err(|e| refused(e, program, (major, minor)));
        let image = image.and_then(|()| image_of(program));
        let _ = result::destroy_program(program);
        image
    }
}

/// # Safety
/// The program has been compiled.
unsafe fn image_of(program: sys::nvrtcProgram) -> Result<Vec<u8>> {
    let failed = |e| Error::backend(format!("NVRTC made no kernels: {e:?}"));
    let mut size = 0;
    // SAFETY: the caller's word; the buffer is as long as was asked.
    unsafe {
        sys::nvrtcGetCUBINSize(program, &mut size)
            .result()
            .map_err(failed)?;
        let mut image = vec![0u8; size];
        sys::nvrtcGetCUBIN(program, image.as_mut_ptr().cast())
            .result()
            .map_err(failed)?;
        Ok(image)
    }
}

fn refused(e: result::NvrtcError, program: sys::nvrtcProgram, (major, minor): (i32, i32)) -> Error {
    if e.0 == sys::nvrtcResult::NVRTC_ERROR_INVALID_OPTION {
        return Error::input(format!(
            "this NVRTC knows no GPU of compute capability {major}.{minor}; install a newer CUDA toolkit (or nvidia-cuda-nvrtc)"
        ));
    }
    // SAFETY: the program was made by the caller and is there still.
    let log = unsafe { result::get_program_log(program) }.unwrap_or_default();
    let log: Vec<u8> = (log.iter().map(|&c| c as u8))
        .take_while(|&c| c != 0)
        .collect();
    Error::backend(format!(
        "NVRTC does not take the kernels, which is a fault of Lehr; please report it: {e:?}\n{}",
        String::from_utf8_lossy(&log)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cuda::driver::libraries;
    use crate::model::Family;
    use crate::model::config::tests::tiny;

    /// No GPU is needed for this: every kernel, as Ampere, its smaller chips and Hopper have it.
    #[test]
    fn kernels_compile_for_the_device() {
        if let Err(e) = libraries::compiler() {
            eprintln!("skipped: {e}");
            return;
        }
        for (family, heads, kv_heads, head_dim) in
            [(Family::Gpt2, 12, 12, 64), (Family::Llama, 8, 2, 128)]
        {
            let mut config = tiny(family, true);
            (config.n_head, config.n_kv_head, config.head_dim) = (heads, kv_heads, head_dim);
            config.n_embd = heads * head_dim;
            (config.intermediate_size, config.vocab_size) = (4 * config.n_embd, 50257);
            for (capability, shared) in [((8, 0), 163), ((8, 6), 99), ((9, 0), 227)] {
                let tiles = sources::Tiles::within(shared << 10, head_dim);
                for precision in [Precision::F32, Precision::Bf16] {
                    let image = kernels(&config, precision, tiles, capability).unwrap();
                    // An ELF file.
                    assert_eq!(&image[1..4], b"ELF");
                }
            }
        }
        let config = tiny(Family::Gpt2, true);
        let tiles = sources::Tiles::within(227 << 10, config.head_dim);
        let e = kernels(&config, Precision::F32, tiles, (99, 0)).unwrap_err();
        assert!(e.to_string().contains("99.0"), "{e}");
    }
}
