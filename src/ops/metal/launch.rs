//! Runs of kernels, as data: what a device is given and what tests give the emulated one.

use candle_core::{Device, Result, Tensor, bail};

/// Threads a group, as THREADS in device.metal.
pub(crate) const THREADS: usize = 256;

/// What a parameter of a kernel is bound to. Without a device nobody looks.
#[cfg_attr(not(any(test, feature = "metal")), expect(dead_code))]
pub(crate) enum Argument<'a> {
    /// The elements of a contiguous tensor, which the kernel leaves as they are.
    Reads(&'a Tensor),
    /// The elements of a contiguous tensor, which the kernel writes, after reading them or not.
    Writes(&'a Tensor),
    /// Consecutive words: a number, or a struct of them.
    Words(Vec<u32>),
}

impl From<u32> for Argument<'_> {
    fn from(x: u32) -> Self {
        Argument::Words(vec![x])
    }
}

impl From<bool> for Argument<'_> {
    fn from(x: bool) -> Self {
        u32::from(x).into()
    }
}

impl From<f32> for Argument<'_> {
    fn from(x: f32) -> Self {
        x.to_bits().into()
    }
}

/// One run of a kernel, over `groups` times [`THREADS`] threads.
#[cfg_attr(not(any(test, feature = "metal")), expect(dead_code))]
pub(crate) struct Launch<'a> {
    pub kernel: &'static str,
    pub groups: usize,
    /// In the order of the kernel's parameters, without its PLACE.
    pub arguments: Vec<Argument<'a>>,
}

/// Puts a run behind all that its device was asked for so far.
///
/// # Errors
/// The device has no kernels, or does not take them.
pub(crate) fn launch(device: &Device, launch: &Launch) -> Result<()> {
    for argument in &launch.arguments {
        if let Argument::Reads(t) | Argument::Writes(t) = argument
            && !t.is_contiguous()
        {
            bail!("{}: a kernel was given a strided tensor", launch.kernel);
        }
    }
    match device {
        #[cfg(feature = "metal")]
        Device::Metal(device) => super::driver::launch(device, launch),
        #[cfg(all(test, target_os = "linux"))]
        Device::Cpu => super::emulated::launch(launch),
        other => bail!("{}: there is no such kernel on {other:?}", launch.kernel),
    }
}

/// A size as kernels have it.
///
/// # Errors
/// It leaves no room for the rest of a group.
pub(crate) fn size(n: usize) -> Result<u32> {
    match u32::try_from(n + THREADS) {
        Ok(_) => Ok(n as u32),
        Err(_) => bail!("a kernel counts to 2^32, but was given {n} numbers"),
    }
}

/// Groups for so many threads.
pub(crate) fn groups(threads: usize) -> usize {
    threads.div_ceil(THREADS)
}
