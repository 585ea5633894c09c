//! Kernels of other devices as functions of this process, for tests: text compiled by the system's C++ compiler.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::process::Command;

/// Whether there is a compiler; says so where there is none.
pub(crate) fn there_is_a_compiler() -> bool {
    let found = Command::new("c++").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no c++, which makes the kernels of the emulated device");
    }
    found
}

/// The order in which threads and blocks have their turns from the next launch on; the results must not depend on it.
pub(crate) type InOrder = unsafe extern "C" fn(u32);

/// Side by side, one warp ahead of the others (the last, the first), shuffled.
pub(crate) const ORDERS: [u32; 4] = [0, 1, 2, 3];

/// What a text exports as `launch_NAME`, by these names, for good.
pub(crate) fn load(text: &str, names: &[&str]) -> (HashMap<String, *mut c_void>, InOrder) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name| dir.path().join(name);
    let (source, library) = (path("kernels.cpp"), path("kernels.so"));
    std::fs::write(&source, text).unwrap();
    let done = Command::new("c++")
        .args(["-std=c++17", "-O1", "-w", "-fPIC", "-shared", "-o"])
        .args([&library, &source])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "the kernels compile:\n{said}");
    let path = CString::new(library.to_str().unwrap()).unwrap();
    // SAFETY: a library that was just made, which stays loaded for good.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!handle.is_null(), "the kernels load");
    let find = |symbol: String| {
        let name = CString::new(symbol.clone()).unwrap();
        // SAFETY: the library is loaded.
        let found = unsafe { libc::dlsym(handle, name.as_ptr()) };
        assert!(!found.is_null(), "{symbol}");
        found
    };
    let kernel = |name: &&str| (name.to_string(), find(format!("launch_{name}")));
    let in_order = find("emulate_in_order".into());
    // SAFETY: emulated.hpp gives it this type.
    let in_order = unsafe { std::mem::transmute::<*mut c_void, InOrder>(in_order) };
    (names.iter().map(kernel).collect(), in_order)
}
