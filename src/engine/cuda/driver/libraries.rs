//! Where NVIDIA's libraries are: on the loader's path, in an installed toolkit, or among a Python environment's packages.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Finds the driver, NVRTC and cuBLASLt.
///
/// # Errors
/// One sentence on the one that is missing.
pub fn find() -> Result<()> {
    // SAFETY: looks for libraries, whose initialisers are NVIDIA's.
    let there = unsafe { cudarc::driver::sys::is_culib_present() };
    if !there {
        return Err(Error::input(
            "there is no NVIDIA driver here (libcuda.so.1 was not found); give --device cpu",
        ));
    }
    compiler()?;
    // SAFETY: as above.
    let products = || unsafe { cudarc::cublaslt::sys::is_culib_present() };
    among_places(&["libcublasLt"], &products)
        .map_err(|tried| missing("cuBLASLt, which multiplies,", &tried))
}

/// Finds NVRTC.
///
/// # Errors
/// As [`find`].
pub fn compiler() -> Result<()> {
    // SAFETY: as above.
    let there = || unsafe { cudarc::nvrtc::sys::is_culib_present() };
    // It looks for its builtins on the loader's path alone, unless they are there already.
    among_places(&["libnvrtc-builtins", "libnvrtc"], &there)
        .map_err(|tried| missing("NVRTC, which compiles the kernels,", &tried))
}

/// Loads these from the first place that has them, unless they are there; otherwise the places.
fn among_places(stems: &[&str], there: &dyn Fn() -> bool) -> std::result::Result<(), Vec<PathBuf>> {
    if there() {
        return Ok(());
    }
    let places = places();
    for place in &places {
        for stem in stems {
            load(place, stem);
        }
        if there() {
            return Ok(());
        }
    }
    Err(places)
}

fn missing(what: &str, tried: &[PathBuf]) -> Error {
    let tried: Vec<String> = tried.iter().map(|p| p.display().to_string()).collect();
    Error::input(format!(
        "{what} was not found on the loader's path{}{}; install the CUDA toolkit and set CUDA_HOME, or `pip install nvidia-cuda-nvrtc nvidia-cublas` and activate that environment",
        if tried.is_empty() { "" } else { " nor in " },
        tried.join(", ")
    ))
}

/// Directories that may hold them.
fn places() -> Vec<PathBuf> {
    let mut roots = Vec::new();
    for name in ["CUDA_HOME", "CUDA_PATH"] {
        roots.extend(std::env::var_os(name).map(PathBuf::from));
    }
    roots.push("/usr/local/cuda".into());
    let mut all: Vec<PathBuf> = (roots.iter())
        .flat_map(|root| [root.join("lib64"), root.join("lib")])
        .collect();
    for name in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        if let Some(environment) = std::env::var_os(name) {
            let packages = Path::new(&environment).join("lib/python3*/site-packages/nvidia");
            for rest in ["*/lib", "*/*/lib"] {
                let pattern = packages.join(rest);
                let found = glob::glob(&pattern.to_string_lossy());
                all.extend(found.into_iter().flatten().flatten());
            }
        }
    }
    all.retain(|place| place.is_dir());
    all
}

/// Loads `stem.so…` of a directory for good, so that it is found by its name from then on.
fn load(place: &Path, stem: &str) {
    let Ok(entries) = std::fs::read_dir(place) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(stem)) else {
            continue;
        };
        // Not libnvrtc.alt.so, nor one library's name that begins as another's does.
        if rest.starts_with(".so") {
            let path = std::ffi::CString::new(entry.path().as_os_str().as_encoded_bytes());
            if let Ok(path) = path {
                // SAFETY: as above; stays loaded.
                unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
            }
        }
    }
}
