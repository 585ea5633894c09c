//! What a device does for an engine: memory, kernels by name, products.

use super::ledger::Taken;
use crate::error::Result;
use crate::kernels::dropout::Mask;

/// A byte on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub u64);

impl Address {
    /// Nothing.
    pub const NULL: Address = Address(0);

    /// So many bytes further on.
    pub fn after(self, bytes: usize) -> Address {
        Address(self.0 + bytes as u64)
    }
}

/// An argument of a kernel, laid out as C does.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Argument {
    bytes: [u8; 32],
}

impl Argument {
    fn of(bytes: &[u8]) -> Argument {
        let mut all = [0; 32];
        all[..bytes.len()].copy_from_slice(bytes);
        Argument { bytes: all }
    }

    pub fn as_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }
}

impl From<Address> for Argument {
    fn from(x: Address) -> Argument {
        Argument::of(&x.0.to_ne_bytes())
    }
}

impl From<u32> for Argument {
    fn from(x: u32) -> Argument {
        Argument::of(&x.to_ne_bytes())
    }
}

impl From<u64> for Argument {
    fn from(x: u64) -> Argument {
        Argument::of(&x.to_ne_bytes())
    }
}

impl From<f32> for Argument {
    fn from(x: f32) -> Argument {
        Argument::of(&x.to_ne_bytes())
    }
}

impl From<f64> for Argument {
    fn from(x: f64) -> Argument {
        Argument::of(&x.to_ne_bytes())
    }
}

impl From<bool> for Argument {
    fn from(x: bool) -> Argument {
        u32::from(x).into()
    }
}

/// `Mask` in device.cuh.
impl From<Option<Mask>> for Argument {
    fn from(mask: Option<Mask>) -> Argument {
        let words = mask.map_or([0; 5], |mask| {
            let (low, high, threshold, scale) = mask.parts();
            [low, high, threshold, scale.to_bits(), 1]
        });
        let bytes: Vec<u8> = words.iter().flat_map(|x: &u32| x.to_ne_bytes()).collect();
        Argument::of(&bytes)
    }
}

/// One run of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    pub kernel: &'static str,
    pub blocks: [u32; 3],
    /// A multiple of 32.
    pub threads: u32,
    /// Bytes of shared memory beyond what the kernel declares.
    pub shared: u32,
    pub arguments: &'a [Argument],
}

/// How numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    F32,
    Bf16,
}

impl Number {
    pub fn bytes(self) -> usize {
        match self {
            Number::F32 => 4,
            Number::Bf16 => 2,
        }
    }
}

/// A matrix in memory, columns `stride` numbers apart, as BLAS has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    pub at: Address,
    pub stride: usize,
    /// Whether the product takes its transpose.
    pub transposed: bool,
}

/// `d [m, n] = a [m, k] · b [k, n] + c + bias`, column by column; the bias is a column. Sums are f32.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Operand,
    pub b: Operand,
    /// Of a and b.
    pub number: Number,
    pub d: Address,
    /// Of c and d.
    pub d_stride: usize,
    /// Of c, d and bias.
    pub d_number: Number,
    pub c: Option<Address>,
    pub bias: Option<Address>,
    pub gelu: Option<Gelu>,
}

/// What a product does with its sums on their way out: GELU by tanh. Its other matrix lies as d does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gelu {
    /// `d` is GELU of the sums, which go here.
    Forward(Address),
    /// `d` is the sums by the slope of GELU at what is here.
    Backward(Address),
}

/// A device, whose work happens in the order in which it is asked for, later than it is asked for.
pub trait Device {
    /// What it is sold as.
    fn name(&self) -> &str;

    /// Bytes that a block of a kernel may have, and that its kernels were compiled for.
    fn shared_memory(&self) -> usize;

    /// As many bytes of zeros, at a multiple of 256.
    ///
    /// # Errors
    /// There is no room.
    fn allocate(&mut self, bytes: usize) -> Result<Address>;

    fn free(&mut self, at: Address);

    /// Bytes that may still be allocated, where that is known.
    fn room(&mut self) -> Option<usize>;

    /// What is taken of its memory.
    fn taken(&mut self) -> Taken;

    /// # Errors
    /// The device failed, here or earlier; so in all that follows.
    fn write(&mut self, to: Address, bytes: &[u8]) -> Result<()>;

    /// Waits for all that was asked for so far.
    fn read(&mut self, from: Address, bytes: &mut [u8]) -> Result<()>;

    fn clear(&mut self, at: Address, bytes: usize) -> Result<()>;

    fn launch(&mut self, launch: &Launch) -> Result<()>;

    fn multiply(&mut self, product: &Product) -> Result<()>;

    /// Whether this is one product here, and the better for it: asked of those that could be a product and a kernel.
    fn takes(&mut self, product: &Product) -> bool;

    /// What is asked for from here on is kept, and not done: launches, products and clearing alone.
    fn begin_recording(&mut self) -> Result<()>;

    /// Ends what was begun, and names the recording.
    fn end_recording(&mut self) -> Result<usize>;

    /// Does what was recorded, with what is in memory now.
    fn replay(&mut self, recording: usize) -> Result<()>;

    fn forget(&mut self, recording: usize);
}
