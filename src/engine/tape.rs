//! Steps through candle's tape, for devices that candle knows: right before it is fast.
//!
//! Every operation is what [`crate::ops`] has for the device, weights and moments are tensors of the device, and AdamW is one
//! kernel a parameter on Metal, elsewhere the composition of its formula ([`crate::optim::adamw`]).

use super::{Stepped, Tokens};
use crate::error::{Error, Result};
use crate::kernels::update::Factors;
use crate::model::{DropoutStream, LanguageModel, ModelConfig, Params};
use crate::ops::metal;
use crate::optim::{AdamW, clip_coefficient};
use candle_core::{DType, Device, Tensor, Var};

/// A model on a device of candle's.
pub struct Tape {
    model: LanguageModel,
    /// The same weights without the tape, on which the loss would compute gradients that nobody wants.
    silent: LanguageModel,
    vars: Vec<Var>,
    moments: Option<Moments>,
}

/// Of each variable.
struct Moments {
    m: Vec<Tensor>,
    v: Vec<Tensor>,
    decays: Vec<bool>,
}

impl Tape {
    /// # Errors
    /// The device has no room.
    pub fn new(config: &ModelConfig, params: &Params, device: &Device) -> Result<Tape> {
        let (model, vars) = LanguageModel::for_training(config, params, device)?;
        let silent = LanguageModel::beside_training(config, params.specs(), &vars, device)?;
        Ok(Tape {
            model,
            silent,
            vars,
            moments: None,
        })
    }

    /// Mean loss in nats, without dropout.
    ///
    /// # Errors
    /// The device failed; so in all that follows.
    pub fn loss(&self, t: Tokens) -> Result<f64> {
        let off = DropoutStream::off();
        let loss = self.silent.loss(t.tokens, t.targets, t.rows, off)?;
        scalar(&loss)
    }

    /// Mean loss over equally large micro-batches and its gradient by every variable.
    fn gradients(&self, micro_batches: &[(Tokens, DropoutStream)]) -> Result<(f64, Vec<Tensor>)> {
        let share = 1.0 / micro_batches.len() as f64;
        let mut sums: Vec<Tensor> = Vec::new();
        let mut mean = 0.0;
        for (t, dropout) in micro_batches {
            let loss = (self.model).loss(t.tokens, t.targets, t.rows, dropout.clone())?;
            mean += share * scalar(&loss)?;
            let add = || {
                let store = (loss * share)?.backward()?;
                for (i, var) in self.vars.iter().enumerate() {
                    let gradient = store.get(var).expect("every parameter has a gradient");
                    match sums.get(i) {
                        Some(sum) => sums[i] = (sum + gradient)?,
                        None => sums.push(gradient.clone()),
                    }
                }
                candle_core::Result::Ok(())
            };
            add().map_err(Error::backend)?;
        }
        Ok((mean, sums))
    }

    /// As [`Tape::step`], without an update; gradients come flat, in the order of the parameters.
    ///
    /// # Errors
    /// As there.
    pub fn loss_and_gradients(
        &self,
        micro_batches: &[(Tokens, DropoutStream)],
        into: &mut [f32],
    ) -> Result<f64> {
        let (loss, gradients) = self.gradients(micro_batches)?;
        read(&gradients, into)?;
        Ok(loss)
    }

    /// One step of training.
    ///
    /// # Errors
    /// The device failed.
    pub fn step(
        &mut self,
        micro_batches: &[(Tokens, DropoutStream)],
        params: &Params,
        optimizer: &mut AdamW,
        lr: f64,
    ) -> Result<Stepped> {
        let (loss, gradients) = self.gradients(micro_batches)?;
        let grad_norm = norm(&gradients).map_err(Error::backend)?;
        let finite = loss.is_finite() && grad_norm.is_finite();
        if finite {
            if self.moments.is_none() {
                self.moments = Some(self.begin(params, optimizer).map_err(Error::backend)?);
            }
            let clip = clip_coefficient(grad_norm, optimizer.config().grad_clip);
            self.update(&gradients, optimizer, lr, clip)
                .map_err(Error::backend)?;
            optimizer.updated();
        }
        Ok(Stepped {
            loss,
            grad_norm,
            finite,
        })
    }

    /// The moments as the optimiser has them, which a run that is taken up brings along.
    fn begin(&self, params: &Params, optimizer: &mut AdamW) -> candle_core::Result<Moments> {
        let config = optimizer.config().clone();
        let (host_m, host_v) = optimizer.moments_mut();
        let (mut m, mut v, mut decays) = (Vec::new(), Vec::new(), Vec::new());
        let mut start = 0;
        for (spec, var) in params.specs().iter().zip(&self.vars) {
            let span = start..start + spec.elements();
            let tensor = |x: &[f32]| Tensor::from_slice(x, var.dims(), var.device());
            m.push(tensor(&host_m[span.clone()])?);
            v.push(tensor(&host_v[span.clone()])?);
            decays.push(config.decays(spec.kind));
            start = span.end;
        }
        Ok(Moments { m, v, decays })
    }

    fn update(
        &mut self,
        gradients: &[Tensor],
        optimizer: &AdamW,
        lr: f64,
        clip: f64,
    ) -> candle_core::Result<()> {
        let f = optimizer.next_factors(lr);
        let wide = f64::from;
        let moments = self.moments.as_mut().expect("begun before an update");
        for (i, (var, g)) in self.vars.iter().zip(gradients).enumerate() {
            let decay = if moments.decays[i] { f.decay } else { 1.0 };
            let f = Factors { decay, ..f };
            if metal::fits(&[var.as_tensor(), g]) {
                let clip = clip as f32;
                let (m, v) = (&moments.m[i], &moments.v[i]);
                metal::adamw(Factors { clip, ..f }, var, m, v, &g.detach())?;
                continue;
            }
            let g = (g.detach() * clip)?;
            let m = ((&moments.m[i] * wide(f.beta1))? + (&g * wide(f.rest1))?)?;
            let v = ((&moments.v[i] * wide(f.beta2))? + (g.sqr()? * wide(f.rest2))?)?;
            let root = v
                .sqrt()?
                .affine(wide(f.inverse_root_correction), wide(f.eps))?;
            let step = ((&m / root)? * wide(f.step_size))?;
            var.set(&((var.as_detached_tensor() * wide(f.decay))? - step)?)?;
            (moments.m[i], moments.v[i]) = (m, v);
        }
        Ok(())
    }

    /// # Errors
    /// The device failed.
    pub fn weights(&self, into: &mut [f32]) -> Result<()> {
        let tensors: Vec<Tensor> = self.vars.iter().map(Var::as_detached_tensor).collect();
        read(&tensors, into)
    }

    /// # Errors
    /// The device failed.
    pub fn set_weights(&mut self, values: &[f32]) -> Result<()> {
        let mut start = 0;
        for var in &self.vars {
            let end = start + var.elem_count();
            let values = Tensor::from_slice(&values[start..end], var.dims(), var.device());
            values
                .and_then(|values| var.set(&values))
                .map_err(Error::backend)?;
            start = end;
        }
        Ok(())
    }

    /// Brings the moments to the host.
    ///
    /// # Errors
    /// The device failed.
    pub fn moments(&self, optimizer: &mut AdamW) -> Result<()> {
        let Some(moments) = &self.moments else {
            return Ok(());
        };
        let (m, v) = optimizer.moments_mut();
        read(&moments.m, m)?;
        read(&moments.v, v)
    }
}

/// Like all that reads from the device, waits for everything first: candle looks only at what was asked for last, and memory
/// that an earlier failure left unwritten would pass for numbers.
fn scalar(x: &Tensor) -> Result<f64> {
    let value =
        (x.device().synchronize()).and_then(|()| x.to_dtype(DType::F32)?.to_scalar::<f32>());
    value.map(f64::from).map_err(Error::backend)
}

/// ‖g‖₂, a sum on the device for each of the tensors.
fn norm(gradients: &[Tensor]) -> candle_core::Result<f64> {
    let squares: Vec<Tensor> = (gradients.iter())
        .map(|g| g.sqr()?.sum_all())
        .collect::<candle_core::Result<_>>()?;
    let squares = Tensor::stack(&squares, 0)?;
    squares.device().synchronize()?;
    let squares = squares.to_vec1::<f32>()?;
    Ok(squares.into_iter().map(f64::from).sum::<f64>().sqrt())
}

/// Tensors one after the other.
fn read(tensors: &[Tensor], into: &mut [f32]) -> Result<()> {
    let mut start = 0;
    for tensor in tensors {
        let values =
            (tensor.device().synchronize()).and_then(|()| tensor.flatten_all()?.to_vec1::<f32>());
        let values = values.map_err(Error::backend)?;
        into[start..start + values.len()].copy_from_slice(&values);
        start += values.len();
    }
    Ok(())
}
