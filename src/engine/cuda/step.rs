//! A step of training: what is launched for it, and, where launching would take longer than the work, the recording that is
//! launched instead.

use super::device::Address;
use super::{Cuda, Micro, Moments, Run, UPDATE_BLOCK, UPDATE_THREADS, bytes_of, bytes_of_mut};
use crate::engine::program::{Program, Sizes};
use crate::engine::{Stepped, Tokens};
use crate::error::Result;
use crate::kernels::update::Factors;
use crate::model::DropoutStream;
use crate::optim::AdamW;

/// A step of more operations is not recorded: its operations are large enough that launching them costs nothing.
const MOST_RECORDED: usize = 1 << 14;

/// Steps that may stand for each other: the same operations at the same addresses. What changes from step to step (tokens,
/// the learning rate) lies in the device's memory and is no argument of anything.
#[derive(Clone, Copy, PartialEq)]
struct Key {
    sizes: Sizes,
    ops: usize,
    micro_batches: usize,
    grad_clip: f64,
    rope_positions: usize,
    regions: [Address; 5],
}

/// The kind of step that was last taken.
pub(super) struct Recorded {
    key: Key,
    /// Once it has been taken twice.
    recording: Option<usize>,
}

impl Cuda {
    /// Mean loss and, on the device, its gradients.
    pub fn loss_and_gradients(
        &mut self,
        program: &Program,
        batches: &[(Tokens, DropoutStream)],
    ) -> Result<f64> {
        let micros = self.prepare(program, batches)?;
        self.launch_gradients(program, &micros, batches)?;
        let mut loss = [0.0f64];
        self.device.read(self.outcome, bytes_of_mut(&mut loss))?;
        Ok(loss[0])
    }

    /// A whole step of training; waited for once, at its end.
    pub fn step(
        &mut self,
        program: &Program,
        batches: &[(Tokens, DropoutStream)],
        optimizer: &mut AdamW,
        lr: f64,
    ) -> Result<Stepped> {
        if self.moments.is_none() {
            self.moments = Some(self.begin_moments(optimizer)?);
        }
        let blocks = self.parameters.div_ceil(UPDATE_BLOCK);
        self.partials.grow(&mut *self.device, 8 * blocks)?;
        let micros = self.prepare(program, batches)?;
        let factors = in_order(&optimizer.next_factors(lr));
        self.device.write(self.factors, bytes_of(&factors))?;
        let grad_clip = optimizer.config().grad_clip;

        let dropout = batches.iter().any(|(_, dropout)| dropout.is_on());
        let operations = program.ops.len() * batches.len();
        // Masks are arguments, and others in every step.
        match self.records && !dropout && operations <= MOST_RECORDED {
            true => self.recorded_step(program, &micros, batches, grad_clip)?,
            false => self.launch_step(program, &micros, batches, grad_clip)?,
        }

        let mut outcome = [0u64; 3];
        self.device.read(self.outcome, bytes_of_mut(&mut outcome))?;
        let finite = (outcome[2] >> 32) as u32 == 1;
        if finite {
            optimizer.updated();
        }
        Ok(Stepped {
            loss: f64::from_bits(outcome[0]),
            grad_norm: f64::from_bits(outcome[1]),
            finite,
        })
    }

    /// Makes room, and brings the tokens to the device.
    fn prepare(
        &mut self,
        program: &Program,
        batches: &[(Tokens, DropoutStream)],
    ) -> Result<Vec<Micro>> {
        self.reserve(program)?;
        let bytes = 4 * self.parameters;
        self.gradients.grow(&mut *self.device, bytes)?;
        let tokens: Vec<Tokens> = batches.iter().map(|(tokens, _)| *tokens).collect();
        self.upload(&program.sizes, &tokens)
    }

    /// Launches the first step of a kind, records the second, and runs the recording from there on.
    fn recorded_step(
        &mut self,
        program: &Program,
        micros: &[Micro],
        batches: &[(Tokens, DropoutStream)],
        grad_clip: f64,
    ) -> Result<()> {
        let regions = [
            self.arena,
            self.gradients,
            self.partials,
            self.batch,
            self.rope,
        ];
        let key = Key {
            sizes: program.sizes,
            ops: program.ops.len(),
            micro_batches: batches.len(),
            grad_clip,
            rope_positions: self.rope_positions,
            regions: regions.map(|region| region.at),
        };
        let recording = match self.recorded.take() {
            Some(Recorded {
                key: known,
                recording,
            }) if known == key => match recording {
                Some(recording) => recording,
                None => match self.record_step(program, micros, batches, grad_clip) {
                    Ok(recording) => recording,
                    Err(_) => {
                        // What cannot be recorded can be launched, or says why it cannot.
                        self.records = false;
                        return self.launch_step(program, micros, batches, grad_clip);
                    }
                },
            },
            other => {
                if let Some(old) = other.and_then(|other| other.recording) {
                    self.device.forget(old);
                }
                self.launch_step(program, micros, batches, grad_clip)?;
                let recording = None;
                self.recorded = Some(Recorded { key, recording });
                return Ok(());
            }
        };
        self.device.replay(recording)?;
        let recording = Some(recording);
        self.recorded = Some(Recorded { key, recording });
        Ok(())
    }

    /// Whether the last step was a recording's.
    #[cfg(test)]
    pub(super) fn replays(&self) -> bool {
        (self.recorded.as_ref()).is_some_and(|recorded| recorded.recording.is_some())
    }

    fn record_step(
        &mut self,
        program: &Program,
        micros: &[Micro],
        batches: &[(Tokens, DropoutStream)],
        grad_clip: f64,
    ) -> Result<usize> {
        self.device.begin_recording()?;
        let launched = self.launch_step(program, micros, batches, grad_clip);
        let recording = self.device.end_recording();
        launched.and(recording)
    }

    /// Gradients, their norm, and the update.
    fn launch_step(
        &mut self,
        program: &Program,
        micros: &[Micro],
        batches: &[(Tokens, DropoutStream)],
        grad_clip: f64,
    ) -> Result<()> {
        self.launch_gradients(program, micros, batches)?;
        let n = self.parameters;
        let blocks = n.div_ceil(UPDATE_BLOCK) as u32;
        let (partials, gradients) = (self.partials.at, self.gradients.at);
        let verdict = self.outcome.after(8);
        let squares = [gradients.into(), (n as u64).into(), partials.into()];
        self.launch("squares", [blocks, 1, 1], UPDATE_THREADS, &squares)?;
        self.launch(
            "judge",
            [1, 1, 1],
            UPDATE_THREADS,
            &[
                partials.into(),
                blocks.into(),
                self.outcome.into(),
                grad_clip.into(),
                verdict.into(),
            ],
        )?;
        let moments = self.moments.as_ref().expect("begun before the first step");
        let arguments = [
            self.factors.into(),
            moments.pieces.into(),
            verdict.into(),
            self.weights.into(),
            moments.m.into(),
            moments.v.into(),
            gradients.into(),
            self.rounded.unwrap_or(Address::NULL).into(),
        ];
        let count = moments.count;
        self.launch("adamw", [count, 1, 1], UPDATE_THREADS, &arguments)
    }

    /// Launches forward and backward over equally large micro-batches; the mean loss and its gradients are then on the device.
    fn launch_gradients(
        &mut self,
        program: &Program,
        micros: &[Micro],
        batches: &[(Tokens, DropoutStream)],
    ) -> Result<()> {
        let share = 1.0 / batches.len() as f64;
        for (i, (&micro, (_, dropout))) in micros.iter().zip(batches).enumerate() {
            let run = Run {
                program,
                micro,
                dropout,
                add: i > 0,
                scale: share as f32,
            };
            self.run(&run)?;
            self.mean_loss(program, share, i > 0)?;
        }
        Ok(())
    }

    fn begin_moments(&mut self, optimizer: &mut AdamW) -> Result<Moments> {
        let bytes = 4 * self.parameters;
        let (m, v) = (self.device.allocate(bytes)?, self.device.allocate(bytes)?);
        let pieces: Vec<[u32; 4]> = (optimizer.pieces())
            .map(|(start, len, decays)| {
                let start = start as u64;
                [
                    start as u32,
                    (start >> 32) as u32,
                    len as u32,
                    u32::from(decays),
                ]
            })
            .collect();
        let at = self.device.allocate(16 * pieces.len())?;
        self.device.write(at, bytes_of(&pieces))?;
        // A run that is taken up has them already.
        let (host_m, host_v) = optimizer.moments_mut();
        self.device.write(m, bytes_of(host_m))?;
        self.device.write(v, bytes_of(host_v))?;
        Ok(Moments {
            m,
            v,
            pieces: at,
            count: pieces.len() as u32,
        })
    }

    pub(super) fn mean_loss(&mut self, program: &Program, share: f64, add: bool) -> Result<()> {
        let losses = self.arena.at.after(program.losses.offset);
        let count = program.losses.len as u32;
        let outcome = self.outcome;
        self.launch(
            "mean_loss",
            [1, 1, 1],
            UPDATE_THREADS,
            &[
                losses.into(),
                count.into(),
                share.into(),
                add.into(),
                outcome.into(),
            ],
        )
    }
}

/// `Factors` in update.cu.
fn in_order(f: &Factors) -> [f32; 8] {
    [
        f.beta1,
        f.rest1,
        f.beta2,
        f.rest2,
        f.decay,
        f.step_size,
        f.inverse_root_correction,
        f.eps,
    ]
}
