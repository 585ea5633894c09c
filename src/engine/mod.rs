//! The training step: loss, gradients and weights in flat buffers that live as long as the run.
//!
//! A step is a [`Program`]: data that [`build`] makes of a model and a shape, and that a device
//! runs (`cpu`). The backward pass is written out, not recorded: activations lie in one
//! arena and go as soon as they are not needed, weight gradients are accumulated by the products
//! that make them, and nothing is allocated once a shape has been seen. Candle's tape over
//! [`crate::ops`] computes the same gradients and is the oracle of all this.

pub mod build;
pub mod program;
mod tape;
pub mod times;

mod cpu;
pub mod cuda;
#[cfg(test)]
mod tests;

pub use crate::kernels::gemm::Precision;
pub use build::Purpose;
pub use program::Program;
pub use times::{Time, Times};

use crate::error::{Error, Result};
use crate::kernels::update;
use crate::memory::Block;
use crate::model::{DropoutStream, ModelConfig, ParamSpec, Params};
use crate::optim::{AdamW, clip_coefficient};
use cpu::{Batch, Cpu};
use cuda::Cuda;
use cuda::device::Device;
use std::time::Instant;
use tape::Tape;

/// One model's weights and what trains them.
pub struct Engine {
    config: ModelConfig,
    /// Those that the device started from, or that were fetched last.
    params: Params,
    gradients: Block<f32>,
    precision: Precision,
    recompute: bool,
    programs: Vec<(Shape, Program)>,
    on: On,
    /// Whether the device has other weights by now.
    ahead: bool,
}

/// Where programs run.
enum On {
    Processor(Cpu),
    Cuda(Box<Cuda>),
    Tape(Box<Tape>),
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stepped {
    /// Mean over the tokens before the update, nats.
    pub loss: f64,
    /// Before clipping.
    pub grad_norm: f64,
    /// Whether both are finite; otherwise weights and moments are as they were.
    pub finite: bool,
}

/// What a program is made for: sequences, their length, the purpose.
type Shape = (usize, usize, Purpose);

/// A micro-batch: row-major `[rows, T]`.
#[derive(Clone, Copy)]
pub struct Tokens<'a> {
    pub tokens: &'a [u32],
    /// The id after each of `tokens`.
    pub targets: &'a [u32],
    pub rows: usize,
}

impl Engine {
    /// An engine on this processor over these weights. With `recompute` the activations inside a block are computed
    /// again on the way back instead of being kept.
    pub fn new(
        config: &ModelConfig,
        params: Params,
        precision: Precision,
        recompute: bool,
    ) -> Engine {
        let on = On::Processor(Cpu::new(precision));
        Engine::over(config, params, precision, recompute, on)
    }

    /// As [`Engine::new`], on a CUDA device.
    ///
    /// # Errors
    /// What [`Cuda::new`] says.
    pub fn on_cuda(
        device: Box<dyn Device>,
        config: &ModelConfig,
        params: Params,
        precision: Precision,
        recompute: bool,
    ) -> Result<Engine> {
        let cuda = Cuda::new(device, config, precision, params.values())?;
        let on = On::Cuda(Box::new(cuda));
        Ok(Engine::over(config, params, precision, recompute, on))
    }

    /// As [`Engine::new`], through candle's tape on a device of candle's, in f32.
    ///
    /// # Errors
    /// The device has no room.
    pub fn on_tape(
        device: &candle_core::Device,
        config: &ModelConfig,
        params: Params,
    ) -> Result<Engine> {
        let on = On::Tape(Box::new(Tape::new(config, &params, device)?));
        Ok(Engine::over(config, params, Precision::F32, false, on))
    }

    fn over(
        config: &ModelConfig,
        params: Params,
        precision: Precision,
        recompute: bool,
        on: On,
    ) -> Engine {
        Engine {
            config: config.clone(),
            params,
            gradients: Block::zeroed(0),
            precision,
            recompute,
            programs: Vec::new(),
            on,
            ahead: false,
        }
    }

    /// The weights.
    ///
    /// # Panics
    /// A device has changed them since [`Engine::fetch`].
    pub fn params(&self) -> &Params {
        assert!(!self.ahead, "the weights are fetched before they are read");
        &self.params
    }

    /// Names and shapes, wherever the weights are.
    pub fn specs(&self) -> &[ParamSpec] {
        self.params.specs()
    }

    /// Brings the weights to where [`Engine::params`] shows them.
    ///
    /// # Errors
    /// The device failed; so in all that follows.
    pub fn fetch(&mut self) -> Result<()> {
        if self.ahead {
            let into = self.params.values_mut();
            match &mut self.on {
                On::Processor(_) => {}
                On::Cuda(cuda) => cuda.weights(into)?,
                On::Tape(tape) => tape.weights(into)?,
            }
        }
        self.ahead = false;
        Ok(())
    }

    /// Brings the moments to where [`AdamW::moments`] shows them.
    pub fn fetch_moments(&mut self, optimizer: &mut AdamW) -> Result<()> {
        match &mut self.on {
            On::Processor(_) => Ok(()),
            On::Cuda(cuda) => cuda.moments(optimizer),
            On::Tape(tape) => tape.moments(optimizer),
        }
    }

    /// Computes with `values` from now on, and gives back what it computed with.
    pub fn swap_weights(&mut self, values: &mut [f32]) -> Result<()> {
        self.fetch()?;
        self.params.values_mut().swap_with_slice(values);
        match &mut self.on {
            On::Processor(_) => Ok(()),
            On::Cuda(cuda) => cuda.set_weights(self.params.values()),
            On::Tape(tape) => tape.set_weights(self.params.values()),
        }
    }

    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The gradients that [`Engine::gradients`] left, flat, in the parameters' order.
    pub fn flat_gradients(&self) -> &[f32] {
        &self.gradients
    }

    /// Makes sure that micro-batches of so many sequences have room.
    ///
    /// # Errors
    /// They have not; says how many would.
    pub fn check_room(&mut self, rows: usize, positions: usize) -> Result<()> {
        let On::Cuda(cuda) = &mut self.on else {
            return Ok(());
        };
        let recompute = self.recompute;
        let purpose = Purpose::Train { recompute };
        let form = Cuda::form(self.precision);
        let specs = self.params.specs();
        let mut lacks = |rows| {
            let program = build::program(&self.config, specs, rows, positions, purpose, form);
            cuda.lacks(&program)
        };
        let Some((needed, room)) = lacks(rows) else {
            return Ok(());
        };
        // The largest that fits, by halving.
        let (mut fits, mut too_many) = (0, rows);
        while too_many - fits > 1 {
            let middle = (fits + too_many) / 2;
            match lacks(middle) {
                None => fits = middle,
                Some(_) => too_many = middle,
            }
        }
        let gib = |bytes: usize| bytes as f64 / f64::from(1 << 30);
        let advice = match fits {
            0 => {
                let mut advice = "not even one fits; take a smaller model".to_string();
                if !self.recompute {
                    advice += ", or --recompute";
                }
                if self.precision == Precision::F32 {
                    advice += ", or --dtype bf16";
                }
                advice
            }
            fits => format!(
                "{fits} would fit: --batch-size {fits} with more --acc-steps{}",
                if self.recompute {
                    ""
                } else {
                    ", or --recompute (recompute = true in the run.toml of a run that goes on)"
                }
            ),
        };
        Err(Error::input(format!(
            "micro-batches of {rows} {} of {positions} tokens take {:.2} GiB of the GPU's memory, of which {:.2} are free; {advice}",
            if rows == 1 { "sequence" } else { "sequences" },
            gib(needed),
            gib(room)
        )))
    }

    /// The CUDA device, where that is what it trains on.
    pub fn cuda(&mut self) -> Option<&mut dyn Device> {
        match &mut self.on {
            On::Cuda(cuda) => Some(cuda.device()),
            On::Processor(_) | On::Tape(_) => None,
        }
    }

    /// Bytes of the CUDA device's memory that will be taken once micro-batches of so many sequences train.
    pub fn will_take(&mut self, rows: usize, positions: usize) -> Option<usize> {
        let On::Cuda(cuda) = &mut self.on else {
            return None;
        };
        let recompute = self.recompute;
        let (purpose, form) = (Purpose::Train { recompute }, Cuda::form(self.precision));
        let specs = self.params.specs();
        let program = build::program(&self.config, specs, rows, positions, purpose, form);
        let taken = cuda.device().taken();
        Some(taken.in_use.unwrap_or(taken.allocated) + cuda.needs(&program))
    }

    /// One step of training on equally large micro-batches: loss, gradients, their norm, clipping, update.
    ///
    /// # Errors
    /// The device failed.
    pub fn step(
        &mut self,
        micro_batches: &[(Tokens, DropoutStream)],
        optimizer: &mut AdamW,
        lr: f64,
    ) -> Result<Stepped> {
        let index = self.training_program(micro_batches);
        match &mut self.on {
            On::Processor(_) => {}
            On::Cuda(cuda) => {
                self.ahead = true;
                return cuda.step(&self.programs[index].1, micro_batches, optimizer, lr);
            }
            On::Tape(tape) => {
                self.ahead = true;
                return tape.step(micro_batches, &self.params, optimizer, lr);
            }
        }
        let loss = self.gradients(micro_batches)?;
        let n = self.params.elements() as f64;
        let clock = Instant::now();
        let grad_norm = optimizer.global_norm(&self.gradients);
        let finite = loss.is_finite() && grad_norm.is_finite();
        self.record("gradient norm", clock, 4.0 * n);
        if finite {
            let clock = Instant::now();
            let clip = clip_coefficient(grad_norm, optimizer.config().grad_clip);
            let (weights, gradients) = (self.params.values_mut(), &self.gradients);
            optimizer.step(weights, gradients, lr, clip);
            self.record("update", clock, update::TRAFFIC * n);
        }
        Ok(Stepped {
            loss,
            grad_norm,
            finite,
        })
    }

    /// Mean loss over equally large micro-batches in nats; its gradient by every parameter is in
    /// [`Engine::flat_gradients`] afterwards.
    ///
    /// # Errors
    /// The device failed.
    ///
    /// # Panics
    /// Micro-batches differ in size, or a stream drops where the model does not (or the reverse).
    pub fn gradients(&mut self, micro_batches: &[(Tokens, DropoutStream)]) -> Result<f64> {
        self.gradients.grow(self.params.elements());
        let index = self.training_program(micro_batches);
        let program = &self.programs[index].1;
        let cpu = match &mut self.on {
            On::Cuda(cuda) => {
                let loss = cuda.loss_and_gradients(program, micro_batches)?;
                cuda.gradients(&mut self.gradients)?;
                return Ok(loss);
            }
            On::Tape(tape) => {
                return tape.loss_and_gradients(micro_batches, &mut self.gradients);
            }
            On::Processor(cpu) => cpu,
        };
        let share = 1.0 / micro_batches.len() as f64;
        let mut loss = 0.0;
        for (i, (micro, dropout)) in micro_batches.iter().enumerate() {
            let mut batch = Batch {
                tokens: micro.tokens,
                targets: micro.targets,
                dropout,
                weights: self.params.values(),
                gradients: &mut self.gradients,
                add: i > 0,
                scale: share as f32,
            };
            loss += share * mean(cpu.run(program, &mut batch));
        }
        Ok(loss)
    }

    /// Mean loss in nats, without dropout.
    ///
    /// # Errors
    /// The device failed.
    pub fn loss(&mut self, tokens: Tokens) -> Result<f64> {
        let index = self.program(tokens, Purpose::Evaluate);
        let program = &self.programs[index].1;
        match &mut self.on {
            On::Cuda(cuda) => cuda.loss(program, tokens),
            On::Tape(tape) => tape.loss(tokens),
            On::Processor(cpu) => {
                let mut batch = Batch {
                    tokens: tokens.tokens,
                    targets: tokens.targets,
                    dropout: &DropoutStream::off(),
                    weights: self.params.values(),
                    gradients: &mut [],
                    add: false,
                    scale: 1.0,
                };
                Ok(mean(cpu.run(program, &mut batch)))
            }
        }
    }

    /// The program of these micro-batches.
    fn training_program(&mut self, micro_batches: &[(Tokens, DropoutStream)]) -> usize {
        let (first, _) = micro_batches.first().expect("a micro-batch");
        for (micro, dropout) in micro_batches {
            assert_eq!(
                micro.tokens.len(),
                first.tokens.len(),
                "micro-batches of one size"
            );
            assert_eq!(
                dropout.is_on(),
                self.config.dropout > 0.0,
                "the model's dropout"
            );
        }
        let recompute = self.recompute;
        self.program(*first, Purpose::Train { recompute })
    }

    fn program(&mut self, batch: Tokens, purpose: Purpose) -> usize {
        let n = batch.tokens.len();
        assert!(n > 0 && n == batch.targets.len() && n.is_multiple_of(batch.rows));
        let shape = (batch.rows, n / batch.rows, purpose);
        let known = self.programs.iter().position(|(s, _)| *s == shape);
        known.unwrap_or_else(|| {
            let (rows, positions, purpose) = shape;
            let form = match &self.on {
                On::Processor(_) | On::Tape(_) => Cpu::form(self.precision),
                On::Cuda(_) => Cuda::form(self.precision),
            };
            let specs = self.params.specs();
            let program = build::program(&self.config, specs, rows, positions, purpose, form);
            self.programs.push((shape, program));
            self.programs.len() - 1
        })
    }

    fn record(&mut self, name: &'static str, since: Instant, bytes: f64) {
        if let On::Processor(cpu) = &mut self.on {
            cpu.times.record(name, since.elapsed(), 0.0, bytes);
        }
    }

    /// Where the time of all programs went so far; nothing is known of a device's.
    pub fn times(&self) -> Times {
        match &self.on {
            On::Processor(cpu) => cpu.times.clone(),
            On::Cuda(_) | On::Tape(_) => Times::default(),
        }
    }

    /// Forgets [`Engine::times`].
    pub fn clear_times(&mut self) {
        if let On::Processor(cpu) = &mut self.on {
            cpu.times.clear();
        }
    }
}

fn mean(losses: &[f32]) -> f64 {
    let sum: f64 = losses.iter().map(|&x| f64::from(x)).sum();
    sum / losses.len() as f64
}
