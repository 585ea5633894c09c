//! The kernels on the processor, for tests: compiled by the system's C++ compiler under kernels/emulated_metal.hpp, on copies of
//! the tensors that have nothing around them.

use super::SOURCES;
use super::launch::{Argument, Launch, THREADS};
use crate::kernels::emulated::{InOrder, ORDERS, load};
use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Result, Tensor, bail};
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::{LazyLock, Mutex};

type Kernel = unsafe extern "C" fn(u32, u32, usize, *mut *mut c_void) -> c_int;

/// The lock: threads and groups are globals in there.
static KERNELS: LazyLock<Mutex<(HashMap<String, Kernel>, InOrder)>> =
    LazyLock::new(|| Mutex::new(compiled()));

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
}

pub(super) fn is_on() -> bool {
    ON.get()
}

/// What `work` does with f32 on the processor, it does with these kernels, as if that were Metal.
pub(crate) fn on<T>(work: impl FnOnce() -> T) -> T {
    let before = ON.replace(true);
    let done = work();
    ON.set(before);
    done
}

/// Names of the kernels in a source.
pub(super) fn names(text: &str) -> impl Iterator<Item = &str> {
    let kernels = text.split("\nKERNEL ").skip(1);
    kernels.map(|rest| rest.split('(').next().unwrap())
}

fn compiled() -> (HashMap<String, Kernel>, InOrder) {
    let text = SOURCES.join("\n");
    let exports = names(&text).map(|name| format!("EXPORT_METAL({name})\n"));
    let all = format!(
        "#define EMULATED\n{}{}{text}{}",
        include_str!("../../kernels/emulated.hpp"),
        include_str!("../../kernels/emulated_metal.hpp"),
        exports.collect::<String>()
    );
    let names: Vec<&str> = names(&text).collect();
    let kernel = |(name, found)| {
        // SAFETY: EXPORT_METAL gives it this type.
        (name, unsafe {
            std::mem::transmute::<*mut c_void, Kernel>(found)
        })
    };
    let (kernels, in_order) = load(&all, &names);
    (kernels.into_iter().map(kernel).collect(), in_order)
}

/// On both sides of what a kernel is given; a multiple of what it could step over.
const GUARD: usize = 1024;
/// What lies around argument i: a NaN that arithmetic makes another of, and no two of them alike.
fn untouched(i: usize) -> u32 {
    0x7f8d_cba0 + i as u32
}

/// The words of a contiguous tensor, argument i, between guards.
fn guarded(i: usize, t: &Tensor) -> Result<Vec<u32>> {
    let flat = t.flatten_all()?;
    let words: Vec<u32> = match t.dtype() {
        DType::F32 => flat
            .to_vec1::<f32>()?
            .into_iter()
            .map(f32::to_bits)
            .collect(),
        DType::U32 => flat.to_vec1()?,
        other => bail!("kernels do not know {other:?}"),
    };
    let guard = [untouched(i); GUARD];
    Ok([&guard, &words[..], &guard].concat())
}

struct Write(Vec<f32>);

impl InplaceOp1 for Write {
    fn name(&self) -> &'static str {
        "write"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let CpuStorage::F32(data) = storage else {
            bail!("kernels write f32");
        };
        data[layout.start_offset()..][..self.0.len()].copy_from_slice(&self.0);
        Ok(())
    }
}

/// What the tensors are afterwards, whichever thread comes first.
pub(super) fn launch(launch: &Launch) -> Result<()> {
    let before: Vec<Vec<u32>> = (launch.arguments.iter())
        .enumerate()
        .map(|(i, argument)| match argument {
            Argument::Reads(t) | Argument::Writes(t) => guarded(i, t),
            Argument::Words(words) => Ok(words.clone()),
        })
        .collect::<Result<_>>()?;
    let [memory, others @ ..] = ORDERS.map(|order| {
        let mut memory = before.clone();
        launch_in(order, launch, &mut memory);
        memory
    });
    for other in others {
        assert!(memory == other, "{}: a barrier is missing", launch.kernel);
    }
    for (i, argument) in launch.arguments.iter().enumerate() {
        let (kernel, end) = (launch.kernel, memory[i].len().saturating_sub(GUARD));
        match argument {
            Argument::Writes(t) => {
                let guards = [&memory[i][..GUARD], &memory[i][end..]].concat();
                let kept = guards.iter().all(|word| *word == untouched(i));
                assert!(kept, "{kernel}: wrote around argument {i}");
                let data = memory[i][GUARD..end].iter().map(|x| f32::from_bits(*x));
                t.inplace_op1(&Write(data.collect()))?;
            }
            _ => assert!(memory[i] == before[i], "{kernel}: wrote argument {i}"),
        }
    }
    Ok(())
}

fn launch_in(order: u32, launch: &Launch, memory: &mut [Vec<u32>]) {
    let pointers: Vec<*mut u32> = (memory.iter_mut().zip(&launch.arguments))
        .map(|(words, argument)| match argument {
            Argument::Words(_) => words.as_mut_ptr(),
            _ => words[GUARD..].as_mut_ptr(),
        })
        .collect();
    // A kernel is given pointers to its arguments: of numbers the words themselves, of tensors a pointer to them.
    let mut arguments: Vec<*mut c_void> = (pointers.iter().zip(&launch.arguments))
        .map(|(pointer, argument)| match argument {
            Argument::Words(_) => pointer.cast(),
            _ => std::ptr::from_ref(pointer).cast_mut().cast(),
        })
        .collect();
    let kernels = KERNELS.lock().unwrap_or_else(|e| e.into_inner());
    let (kernels, in_order) = &*kernels;
    let kernel = kernels[launch.kernel];
    let (groups, threads) = (launch.groups as u32, THREADS as u32);
    // SAFETY: nothing that a kernel may touch is anywhere else; that it touches no more is what is tested.
    let fits = unsafe {
        in_order(order);
        kernel(groups, threads, arguments.len(), arguments.as_mut_ptr())
    };
    assert!(
        fits == 1,
        "{}: {} arguments",
        launch.kernel,
        arguments.len()
    );
}
