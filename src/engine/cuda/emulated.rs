//! A device on the processor, for tests: kernels compiled by the system's C++ compiler under kernels/emulated.hpp, memory of
//! the host's, products in plain loops.

use super::device::{Address, Argument, Device, Gelu, Launch, Number, Operand, Product};
use super::ledger::{Ledger, Taken};
use super::sources;
use crate::error::{Error, Result};
use crate::kernels::element::{Bf16, Element};
use crate::kernels::emulated::{InOrder, load};
use crate::kernels::gemm::Precision;
use crate::model::ModelConfig;
use rayon::prelude::*;
use std::collections::HashMap;
use std::ffi::c_void;

type Kernel = unsafe extern "C" fn(*const u32, u32, u32, u32, *mut *mut c_void);

pub struct Emulated {
    kernels: HashMap<String, Kernel>,
    in_order: InOrder,
    shared: usize,
    /// What was allocated, by address.
    memory: HashMap<u64, Vec<Aligned>>,
    /// What it says that it has left.
    pub room: Option<usize>,
    ledger: Ledger,
    /// Whether it takes products that could be a product and a kernel.
    pub fuses: bool,
    /// What is being recorded.
    recording: Option<Vec<Task>>,
    pub recordings: Vec<Option<Vec<Task>>>,
}

/// What was asked for, with what it was asked with.
#[derive(Clone)]
pub enum Task {
    Launch {
        kernel: &'static str,
        blocks: [u32; 3],
        threads: u32,
        shared: u32,
        arguments: Vec<Argument>,
    },
    Multiply(Product),
    Clear(Address, usize),
}

/// 256 bytes, of which only the address is used here.
#[derive(Clone)]
#[repr(align(256))]
struct Aligned {
    _bytes: [u8; 256],
}

impl Emulated {
    pub fn new(config: &ModelConfig, precision: Precision) -> Emulated {
        // Hopper's.
        Emulated::with_shared(config, precision, 227 << 10)
    }

    /// One whose blocks have so much shared memory.
    pub fn with_shared(config: &ModelConfig, precision: Precision, shared: usize) -> Emulated {
        let text = sources::text(config, precision);
        let names: Vec<&str> = (text.split("KERNEL void ").skip(1))
            .map(|rest| rest.split('(').next().unwrap())
            .map(|named| named.split(' ').next_back().unwrap())
            .collect();
        let tiles = sources::Tiles::within(shared, config.head_dim);
        let defines = sources::constants(config, precision, tiles);
        let defines = defines
            .iter()
            .map(|(name, x)| format!("#define {name} {x}\n"));
        let exports = names.iter().map(|name| format!("EXPORT({name})\n"));
        let all = format!(
            "#define EMULATED\n{}{}{text}{}",
            defines.collect::<String>(),
            include_str!("../../kernels/emulated.hpp"),
            exports.collect::<String>()
        );
        let kernel = |(name, found)| {
            // SAFETY: EXPORT gives it this type.
            (name, unsafe {
                std::mem::transmute::<*mut c_void, Kernel>(found)
            })
        };
        let (kernels, in_order) = load(&all, &names);
        Emulated {
            kernels: kernels.into_iter().map(kernel).collect(),
            in_order,
            shared,
            memory: HashMap::new(),
            room: None,
            ledger: Ledger::default(),
            fuses: false,
            recording: None,
            recordings: Vec::new(),
        }
    }

    /// Gives threads and blocks their turns in another order.
    pub fn in_order(&mut self, order: u32) {
        // SAFETY: nothing is running.
        unsafe { (self.in_order)(order) };
    }

    /// Whether all of these bytes lie in one allocation.
    fn check(&self, at: Address, bytes: usize) {
        let inside = self.memory.iter().any(|(start, block)| {
            *start <= at.0 && at.0 + bytes as u64 <= start + 256 * block.len() as u64
        });
        assert!(inside, "{bytes} bytes at {at:?} are not all allocated");
    }

    fn matrix(&self, of: Operand, number: Number, rows: usize, columns: usize) -> Vec<f32> {
        // What the operand holds is the transpose of what it stands for.
        let (down, across) = match of.transposed {
            true => (columns, rows),
            false => (rows, columns),
        };
        self.check(of.at, number.bytes() * (of.stride * (across - 1) + down));
        let read = |i: usize| {
            let at = of.at.after(i * number.bytes()).0;
            // SAFETY: inside an allocation.
            unsafe {
                match number {
                    Number::F32 => *(at as *const f32),
                    Number::Bf16 => Bf16(*(at as *const u16)).to_f32(),
                }
            }
        };
        let at = |row: usize, column: usize| match of.transposed {
            true => read(row * of.stride + column),
            false => read(column * of.stride + row),
        };
        (0..rows)
            .flat_map(|row| (0..columns).map(move |column| (row, column)))
            .map(|(row, column)| at(row, column))
            .collect()
    }
}

impl Device for Emulated {
    fn name(&self) -> &str {
        "emulated"
    }

    fn shared_memory(&self) -> usize {
        self.shared
    }

    fn allocate(&mut self, bytes: usize) -> Result<Address> {
        assert!(self.recording.is_none(), "no recording allocates");
        let block = vec![Aligned { _bytes: [0; 256] }; bytes.div_ceil(256).max(1)];
        let at = block.as_ptr() as u64;
        self.memory.insert(at, block);
        self.ledger.took(Address(at), bytes);
        Ok(Address(at))
    }

    fn room(&mut self) -> Option<usize> {
        self.room
    }

    fn taken(&mut self) -> Taken {
        self.ledger.taken(None)
    }

    fn free(&mut self, at: Address) {
        assert!(self.memory.remove(&at.0).is_some(), "freed once");
        self.ledger.gave_back(at);
    }

    fn write(&mut self, to: Address, bytes: &[u8]) -> Result<()> {
        assert!(self.recording.is_none(), "a copy would not be recorded");
        self.check(to, bytes.len());
        // SAFETY: inside an allocation.
        unsafe { std::ptr::copy(bytes.as_ptr(), to.0 as *mut u8, bytes.len()) };
        Ok(())
    }

    fn read(&mut self, from: Address, bytes: &mut [u8]) -> Result<()> {
        assert!(
            self.recording.is_none(),
            "nothing is there to be waited for"
        );
        self.check(from, bytes.len());
        // SAFETY: inside an allocation.
        unsafe { std::ptr::copy(from.0 as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn clear(&mut self, at: Address, bytes: usize) -> Result<()> {
        match &mut self.recording {
            Some(tasks) => {
                tasks.push(Task::Clear(at, bytes));
                Ok(())
            }
            None => self.write(at, &vec![0; bytes]),
        }
    }

    fn launch(&mut self, launch: &Launch) -> Result<()> {
        if let Some(tasks) = &mut self.recording {
            tasks.push(Task::Launch {
                kernel: launch.kernel,
                blocks: launch.blocks,
                threads: launch.threads,
                shared: launch.shared,
                arguments: launch.arguments.to_vec(),
            });
            return Ok(());
        }
        assert!(launch.shared as usize <= self.shared, "{}", launch.kernel);
        let kernel = self.kernels.get(launch.kernel);
        let kernel = kernel.ok_or_else(|| Error::input(format!("no {}", launch.kernel)))?;
        let mut arguments: Vec<*mut c_void> = (launch.arguments.iter())
            .map(|a| a.as_ptr().cast_mut().cast())
            .collect();
        // SAFETY: the launches of this engine fit its kernels, which is what is tested.
        unsafe {
            kernel(
                launch.blocks.as_ptr(),
                launch.threads,
                launch.shared,
                arguments.len() as u32,
                arguments.as_mut_ptr(),
            );
        }
        Ok(())
    }

    fn multiply(&mut self, p: &Product) -> Result<()> {
        if let Some(tasks) = &mut self.recording {
            tasks.push(Task::Multiply(*p));
            return Ok(());
        }
        let a = self.matrix(p.a, p.number, p.m, p.k);
        // Columns of b one after the other.
        let b = Operand {
            transposed: !p.b.transposed,
            ..p.b
        };
        let b = self.matrix(b, p.number, p.n, p.k);
        let bytes = p.d_number.bytes();
        let whole = bytes * (p.d_stride * (p.n - 1) + p.m);
        self.check(p.d, whole);
        let read = |at: Address, i: usize| {
            // SAFETY: checked below and above.
            unsafe {
                match p.d_number {
                    Number::F32 => *((at.0 as *const f32).add(i)),
                    Number::Bf16 => Bf16(*((at.0 as *const u16).add(i))).to_f32(),
                }
            }
        };
        if let Some(c) = p.c {
            self.check(c, whole);
        }
        if let Some(bias) = p.bias {
            self.check(bias, bytes * p.m);
        }
        if let Some(Gelu::Forward(at) | Gelu::Backward(at)) = p.gelu {
            self.check(at, whole);
        }
        let sums: Vec<f32> = (0..p.n * p.m)
            .into_par_iter()
            .map(|i| {
                let (column, row) = (i / p.m, i % p.m);
                let pairs = a[row * p.k..][..p.k].iter().zip(&b[column * p.k..][..p.k]);
                let mut sum: f32 = pairs.map(|(a, b)| a * b).sum();
                sum += p.c.map_or(0.0, |c| read(c, column * p.d_stride + row));
                sum + p.bias.map_or(0.0, |bias| read(bias, row))
            })
            .collect();
        let write = |to: Address, i: usize, x: f32| {
            // SAFETY: checked above.
            unsafe {
                match p.d_number {
                    Number::F32 => *((to.0 as *mut f32).add(i)) = x,
                    Number::Bf16 => *((to.0 as *mut u16).add(i)) = Bf16::from_f32(x).0,
                }
            }
        };
        for (i, sum) in sums.into_iter().enumerate() {
            let i = i / p.m * p.d_stride + i % p.m;
            let out = match p.gelu {
                None => sum,
                Some(Gelu::Forward(pre)) => {
                    write(pre, i, sum);
                    gelu(sum)
                }
                Some(Gelu::Backward(pre)) => sum * gelu_slope(read(pre, i)),
            };
            write(p.d, i, out);
        }
        Ok(())
    }

    fn takes(&mut self, _: &Product) -> bool {
        self.fuses
    }

    fn begin_recording(&mut self) -> Result<()> {
        assert!(
            self.recording.replace(Vec::new()).is_none(),
            "one at a time"
        );
        Ok(())
    }

    fn end_recording(&mut self) -> Result<usize> {
        self.recordings.push(self.recording.take());
        Ok(self.recordings.len() - 1)
    }

    fn replay(&mut self, recording: usize) -> Result<()> {
        let tasks = self.recordings[recording].clone().expect("not forgotten");
        for task in &tasks {
            match task {
                Task::Clear(at, bytes) => self.clear(*at, *bytes)?,
                Task::Multiply(product) => self.multiply(product)?,
                Task::Launch {
                    kernel,
                    blocks,
                    threads,
                    shared,
                    arguments,
                } => self.launch(&Launch {
                    kernel,
                    blocks: *blocks,
                    threads: *threads,
                    shared: *shared,
                    arguments,
                })?,
            }
        }
        Ok(())
    }

    fn forget(&mut self, recording: usize) {
        assert!(
            self.recordings[recording].take().is_some(),
            "forgotten once"
        );
    }
}

/// GELU by tanh, as cuBLASLt has it.
fn gelu(x: f32) -> f32 {
    let u = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
    0.5 * x * (1.0 + u.tanh())
}

fn gelu_slope(x: f32) -> f32 {
    let root = (2.0 / std::f32::consts::PI).sqrt();
    let t = (root * (x + 0.044715 * x.powi(3))).tanh();
    0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * root * (1.0 + 3.0 * 0.044715 * x * x)
}
