//! Runs programs on a CUDA device: weights, gradients, moments and activations live there, and a step is launched from
//! end to end before anything of it is waited for.

mod attend;
pub mod device;
#[cfg(feature = "cuda")]
pub mod driver;
#[cfg(test)]
pub(crate) mod emulated;
pub mod ledger;
mod products;
mod run;
pub mod sources;
mod step;
#[cfg(test)]
mod tests;

use super::Tokens;
use super::build::Form;
use super::program::{Op, Program, Sizes, Store};
use crate::error::{Error, Result};
use crate::kernels::gemm::Precision;
use crate::kernels::{rope, table};
use crate::model::{DropoutStream, ModelConfig};
use crate::optim::AdamW;
use device::{Address, Device, Launch, Number};
use rayon::prelude::*;

/// Partial sums of a norm's gradients: blocks that share the rows out. A number of its own, and not the device's, so that
/// bits do not depend on the device.
const NORM_BLOCKS: usize = 264;
/// Partial sums of a bias's gradient.
const SUM_BLOCKS: usize = 64;
const UPDATE_THREADS: u32 = 256;
/// Numbers a block of the gradient's norm.
const UPDATE_BLOCK: usize = 1 << 14;
/// Bytes for tokens, tables and what the libraries take.
const SPARE: usize = 512 << 20;
/// Logits that exist at a time, in numbers.
const MOST_LOGITS: usize = 1 << 29;
const FEWEST_ROWS: usize = 256;

/// Memory that grows.
#[derive(Clone, Copy)]
struct Region {
    at: Address,
    bytes: usize,
}

impl Region {
    const EMPTY: Region = Region {
        at: Address::NULL,
        bytes: 0,
    };

    fn grow(&mut self, device: &mut dyn Device, bytes: usize) -> Result<()> {
        if bytes > self.bytes {
            if self.bytes > 0 {
                device.free(self.at);
            }
            *self = Region::EMPTY;
            *self = Region {
                at: device.allocate(bytes)?,
                bytes,
            };
        }
        Ok(())
    }
}

/// What AdamW keeps on the device.
struct Moments {
    m: Address,
    v: Address,
    /// Runs of one decay group.
    pieces: Address,
    count: u32,
}

/// A device, and what one model has on it.
pub struct Cuda {
    device: Box<dyn Device>,
    precision: Precision,
    tensor_cores: bool,
    tiles: sources::Tiles,
    parameters: usize,
    /// f32, flat; with room behind them for as many more as products read beyond the head.
    weights: Address,
    /// What products read.
    rounded: Option<Address>,
    gradients: Region,
    moments: Option<Moments>,
    arena: Region,
    partials: Region,
    /// Tokens, targets and buckets of the micro-batches of a step.
    batch: Region,
    rope: Region,
    rope_positions: usize,
    /// f64: the mean loss; then `Verdict` in update.cu.
    outcome: Address,
    /// `Factors` in update.cu, of the step under way.
    factors: Address,
    recorded: Option<step::Recorded>,
    /// Until the device fails to.
    records: bool,
}

/// One micro-batch on the device.
#[derive(Clone, Copy)]
struct Micro {
    tokens: Address,
    targets: Address,
    /// Positions sorted by token.
    starts: Address,
    order: Address,
}

/// What every operation of a run sees.
struct Run<'a> {
    program: &'a Program,
    micro: Micro,
    dropout: &'a DropoutStream,
    /// Whether gradients are added to what is there.
    add: bool,
    /// The share of the mean loss whose gradient is wanted.
    scale: f32,
}

impl Cuda {
    /// A device with these weights.
    ///
    /// # Errors
    /// Sizes that the kernels do not take; no room for the weights.
    pub fn new(
        mut device: Box<dyn Device>,
        config: &ModelConfig,
        precision: Precision,
        weights: &[f32],
    ) -> Result<Cuda> {
        for (name, size) in [
            ("n_embd", config.n_embd),
            ("the MLP's width", config.intermediate_size),
            ("the size of a head", config.head_dim),
        ] {
            if !size.is_multiple_of(8) {
                return Err(Error::input(format!(
                    "{name} is {size}, and on CUDA it must be a multiple of 8; choose {}, or --device cpu",
                    size.next_multiple_of(8)
                )));
            }
        }
        let parameters = weights.len();
        let beyond = sources::LOGITS_STRIDE * config.n_embd;
        let at = device.allocate(4 * (parameters + beyond))?;
        let rounded = match precision {
            Precision::Bf16 => Some(device.allocate(2 * (parameters + beyond))?),
            Precision::F32 => None,
        };
        let tiles = sources::Tiles::within(device.shared_memory(), config.head_dim);
        let (outcome, factors) = (device.allocate(24)?, device.allocate(32)?);
        let mut cuda = Cuda {
            device,
            precision,
            tensor_cores: sources::attends_on_tensor_cores(config, precision),
            tiles,
            parameters,
            weights: at,
            rounded,
            gradients: Region::EMPTY,
            moments: None,
            arena: Region::EMPTY,
            partials: Region::EMPTY,
            batch: Region::EMPTY,
            rope: Region::EMPTY,
            rope_positions: 0,
            outcome,
            factors,
            recorded: None,
            records: true,
        };
        cuda.set_weights(weights)?;
        Ok(cuda)
    }

    /// What programs that run here look like.
    pub fn form(precision: Precision) -> Form {
        let (act, rounded) = match precision {
            Precision::F32 => (Number::F32, false),
            Precision::Bf16 => (Number::Bf16, true),
        };
        Form {
            act_bytes: act.bytes(),
            logits: Store::Act,
            stride: sources::LOGITS_STRIDE,
            most_logits: if cfg!(test) { 1 << 12 } else { MOST_LOGITS },
            fewest_rows: if cfg!(test) { 5 } else { FEWEST_ROWS },
            rounded,
            even: Some(if cfg!(test) { 2 } else { 128 }),
        }
    }

    pub fn device(&mut self) -> &mut dyn Device {
        &mut *self.device
    }

    /// Bytes that training with this program takes beyond what is there.
    pub fn needs(&self, program: &Program) -> usize {
        let moments = if self.moments.is_some() { 0 } else { 8 };
        let gradients = if self.gradients.bytes > 0 { 0 } else { 4 };
        program.bytes.saturating_sub(self.arena.bytes)
            + (moments + gradients) * self.parameters
            + partials(program)
            + SPARE
    }

    /// Those bytes, and how many are free, where there is no room for them.
    pub fn lacks(&mut self, program: &Program) -> Option<(usize, usize)> {
        let (more, room) = (self.needs(program), self.device.room()?);
        (more > room).then_some((more, room))
    }

    /// # Errors
    /// The device failed; so in all that follows.
    pub fn set_weights(&mut self, weights: &[f32]) -> Result<()> {
        assert_eq!(weights.len(), self.parameters);
        self.device.write(self.weights, bytes_of(weights))?;
        let Some(rounded) = self.rounded else {
            return Ok(());
        };
        let count = self.parameters as u64;
        self.launch(
            "round_weights",
            [count.div_ceil(256) as u32, 1, 1],
            256,
            &[self.weights.into(), rounded.into(), count.into()],
        )
    }

    pub fn weights(&mut self, into: &mut [f32]) -> Result<()> {
        self.device.read(self.weights, bytes_of_mut(into))
    }

    pub fn gradients(&mut self, into: &mut [f32]) -> Result<()> {
        self.device.read(self.gradients.at, bytes_of_mut(into))
    }

    /// Brings the moments to the host.
    pub fn moments(&mut self, optimizer: &mut AdamW) -> Result<()> {
        let Some(moments) = &self.moments else {
            return Ok(());
        };
        let (m, v) = optimizer.moments_mut();
        self.device.read(moments.m, bytes_of_mut(m))?;
        self.device.read(moments.v, bytes_of_mut(v))
    }

    /// Mean loss of a program that makes no gradients.
    pub fn loss(&mut self, program: &Program, batch: Tokens) -> Result<f64> {
        self.reserve(program)?;
        let micro = self.upload(&program.sizes, &[batch])?[0];
        let run = Run {
            program,
            micro,
            dropout: &DropoutStream::off(),
            add: false,
            scale: 1.0,
        };
        self.run(&run)?;
        self.mean_loss(program, 1.0, false)?;
        let mut loss = [0.0f64];
        self.device.read(self.outcome, bytes_of_mut(&mut loss))?;
        Ok(loss[0])
    }

    /// Tokens and buckets of micro-batches, in one copy.
    fn upload(&mut self, sizes: &Sizes, batches: &[Tokens]) -> Result<Vec<Micro>> {
        let (n, v) = (sizes.tokens(), sizes.vocab);
        // What each has, rounded up to whole 256 bytes.
        let words = (3 * n + v + 1).next_multiple_of(64);
        let mut host = vec![0u32; words * batches.len()];
        let each = host.par_chunks_exact_mut(words).zip(batches);
        each.for_each(|(host, batch)| {
            let (tokens, rest) = host.split_at_mut(n);
            let (targets, rest) = rest.split_at_mut(n);
            let (order, rest) = rest.split_at_mut(n);
            tokens.copy_from_slice(batch.tokens);
            targets.copy_from_slice(batch.targets);
            table::bucket(batch.tokens, &mut rest[..v + 1], order);
        });
        self.batch.grow(&mut *self.device, 4 * host.len())?;
        self.device.write(self.batch.at, bytes_of(&host))?;
        let micro = |i: usize| {
            let tokens = self.batch.at.after(4 * words * i);
            Micro {
                tokens,
                targets: tokens.after(4 * n),
                order: tokens.after(8 * n),
                starts: tokens.after(12 * n),
            }
        };
        Ok((0..batches.len()).map(micro).collect())
    }

    /// Makes room; nothing happens from the second time on.
    fn reserve(&mut self, program: &Program) -> Result<()> {
        let s = &program.sizes;
        self.partials.grow(&mut *self.device, partials(program))?;
        self.arena.grow(&mut *self.device, program.bytes)?;
        let turns = program.ops.iter().any(|op| matches!(op, Op::Rope { .. }));
        if turns && self.rope_positions < s.positions {
            let [cos, sin] = rope::table(s.positions, s.head_dim, s.rope_theta);
            let bytes = 4 * cos.len();
            self.rope.grow(&mut *self.device, 2 * bytes)?;
            self.device.write(self.rope.at, bytes_of(&cos))?;
            self.device
                .write(self.rope.at.after(bytes), bytes_of(&sin))?;
            self.rope_positions = s.positions;
        }
        Ok(())
    }

    fn launch(
        &mut self,
        kernel: &'static str,
        blocks: [u32; 3],
        threads: u32,
        arguments: &[device::Argument],
    ) -> Result<()> {
        self.device.launch(&Launch {
            kernel,
            blocks,
            threads,
            shared: 0,
            arguments,
        })
    }
}

/// Bytes of the partial sums of a program.
fn partials(program: &Program) -> usize {
    let s = &program.sizes;
    let widest = s.qkv().max(2 * s.mlp).max(s.width);
    4 * (NORM_BLOCKS * 2 * s.width).max(SUM_BLOCKS * widest)
}

/// Plain numbers as bytes.
fn bytes_of<T: Copy>(x: &[T]) -> &[u8] {
    // SAFETY: only numbers and arrays of numbers without padding are given.
    unsafe { std::slice::from_raw_parts(x.as_ptr().cast(), size_of_val(x)) }
}

fn bytes_of_mut<T: Copy>(x: &mut [T]) -> &mut [u8] {
    // SAFETY: as above, and every pattern of bits is one of these numbers.
    unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast(), size_of_val(x)) }
}
