//! The training step: loss, gradients and weights in flat buffers that live as long as the run.
//!
//! A step is a [`Program`]: data that [`build`] makes of a model and a shape, and that a device
//! runs (`cpu`). The backward pass is written out, not recorded: activations lie in one
//! arena and go as soon as they are not needed, weight gradients are accumulated by the products
//! that make them, and nothing is allocated once a shape has been seen. Candle's tape over
//! [`crate::ops`] computes the same gradients and is the oracle of all this.

pub mod build;
pub mod program;
pub mod times;

mod cpu;
#[cfg(test)]
mod tests;

pub use crate::kernels::gemm::Precision;
pub use build::Purpose;
pub use program::Program;
pub use times::{Time, Times};

use crate::memory::Block;
use crate::model::{DropoutStream, ModelConfig, Params};
use cpu::{Batch, Cpu};

/// One model's weights and what trains them.
pub struct Engine {
    config: ModelConfig,
    params: Params,
    gradients: Block<f32>,
    precision: Precision,
    recompute: bool,
    programs: Vec<(Shape, Program)>,
    cpu: Cpu,
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
    /// An engine over these weights. With `recompute` the activations inside a block are computed
    /// again on the way back instead of being kept.
    pub fn new(
        config: &ModelConfig,
        params: Params,
        precision: Precision,
        recompute: bool,
    ) -> Engine {
        Engine {
            config: config.clone(),
            params,
            gradients: Block::zeroed(0),
            precision,
            recompute,
            programs: Vec::new(),
            cpu: Cpu::new(precision),
        }
    }

    pub fn params(&self) -> &Params {
        &self.params
    }

    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The gradients that [`Engine::gradients`] left, flat, in the parameters' order.
    pub fn flat_gradients(&self) -> &[f32] {
        &self.gradients
    }

    /// Weights to change and gradients to read, for an optimiser.
    pub fn for_update(&mut self) -> (&mut [f32], &[f32]) {
        (self.params.values_mut(), &self.gradients)
    }

    /// Mean loss over equally large micro-batches in nats, and its gradient by every parameter.
    ///
    /// # Panics
    /// Micro-batches differ in size, or a stream drops where the model does not (or the reverse).
    pub fn gradients<'a>(
        &mut self,
        micro_batches: impl ExactSizeIterator<Item = (Tokens<'a>, DropoutStream)>,
    ) -> f64 {
        self.gradients.grow(self.params.elements());
        let share = 1.0 / micro_batches.len() as f64;
        let mut size = None;
        let recompute = self.recompute;
        let mut loss = 0.0;
        for (i, (micro, dropout)) in micro_batches.enumerate() {
            let purpose = Purpose::Train { recompute };
            let n = micro.tokens.len();
            assert_eq!(*size.get_or_insert(n), n, "micro-batches of one size");
            assert_eq!(
                dropout.is_on(),
                self.config.dropout > 0.0,
                "the model's dropout"
            );
            loss += share * self.run(micro, purpose, &dropout, i > 0, share as f32);
        }
        loss
    }

    /// Mean loss in nats, without dropout.
    pub fn loss(&mut self, batch: Tokens) -> f64 {
        self.run(batch, Purpose::Evaluate, &DropoutStream::off(), false, 1.0)
    }

    fn run(
        &mut self,
        batch: Tokens,
        purpose: Purpose,
        dropout: &DropoutStream,
        add: bool,
        scale: f32,
    ) -> f64 {
        let n = batch.tokens.len();
        assert!(n > 0 && n == batch.targets.len() && n.is_multiple_of(batch.rows));
        let shape = (batch.rows, batch.tokens.len() / batch.rows, purpose);
        let known = self.programs.iter().position(|(s, _)| *s == shape);
        let index = known.unwrap_or_else(|| {
            let (rows, positions, purpose) = shape;
            let bytes = Cpu::act_bytes(self.precision);
            let specs = self.params.specs();
            let program = build::program(&self.config, specs, rows, positions, purpose, bytes);
            self.programs.push((shape, program));
            self.programs.len() - 1
        });
        let mut batch = Batch {
            tokens: batch.tokens,
            targets: batch.targets,
            dropout,
            weights: self.params.values(),
            gradients: &mut self.gradients,
            add,
            scale,
        };
        let losses = self.cpu.run(&self.programs[index].1, &mut batch);
        let sum: f64 = losses.iter().map(|&x| f64::from(x)).sum();
        sum / losses.len() as f64
    }

    /// Where the time of all programs went so far.
    pub fn times(&self) -> &Times {
        &self.cpu.times
    }

    /// As [`Engine::times`], to clear it or to add to it.
    pub fn times_mut(&mut self) -> &mut Times {
        &mut self.cpu.times
    }
}
