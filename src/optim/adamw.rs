//! AdamW (Loshchilov & Hutter 2019, algorithm 2), with decay groups and moments that are saved.
//!
//! At update k = 1, 2, … with gradient g (after clipping), learning rate η and decay λ:
//!
//! ```text
//! m ← β₁ m + (1 − β₁) g            v ← β₂ v + (1 − β₂) g²
//! p ← (1 − ηλ) p − η/(1 − β₁ᵏ) · m / (√v / √(1 − β₂ᵏ) + ε)
//! ```
//!
//! which is PyTorch's order of operations. On the CPU each line is one pass over flat buffers; on
//! other devices it is composed of tensor operations, and that composition is the oracle of the
//! passes.

use crate::error::{Error, Result};
use crate::model::{ParamKind, Params};
use candle_core::{CpuStorage, Device, InplaceOp2, InplaceOp3, Layout, Tensor, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Settings of AdamW; the learning rate is not among them, it comes from the schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// λ, decoupled; applied to matrices, never to norms and biases.
    pub weight_decay: f64,
    /// Whether embeddings decay too (nanoGPT and llm.c: yes; schedules-and-scaling: no). A tied
    /// head follows the embedding; a head of its own is a matrix.
    pub decay_embeddings: bool,
    /// Largest global gradient norm; 0 never clips.
    pub grad_clip: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        AdamWConfig {
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            decay_embeddings: false,
            grad_clip: 1.0,
        }
    }
}

impl AdamWConfig {
    /// # Errors
    /// A setting outside its range, by name.
    pub fn validate(&self) -> Result<()> {
        for (name, value) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::input(format!(
                    "optim.{name} is {value}; it must lie in [0, 1)"
                )));
            }
        }
        // The update computes in f32, where a smaller ε would be 0.
        if !(self.eps as f32 > 0.0 && self.eps.is_finite()) {
            return Err(Error::input(format!(
                "optim.eps is {}; it must be a positive number",
                self.eps
            )));
        }
        for (name, value) in [
            ("weight_decay", self.weight_decay),
            ("grad_clip", self.grad_clip),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::input(format!(
                    "optim.{name} is {value}; it must be 0 or more"
                )));
            }
        }
        Ok(())
    }

    fn decays(&self, kind: ParamKind) -> bool {
        match kind {
            ParamKind::Matrix | ParamKind::Head => true,
            ParamKind::Embedding => self.decay_embeddings,
            ParamKind::Norm | ParamKind::Bias => false,
        }
    }
}

/// The optimiser's state: two moments a parameter, and how many updates they have seen.
pub struct AdamW {
    config: AdamWConfig,
    slots: Vec<Slot>,
    updates: u64,
}

struct Slot {
    name: String,
    decays: bool,
    m: Var,
    v: Var,
}

/// Numbers of one update, the same for every parameter.
#[derive(Clone, Copy)]
struct Update {
    beta: f64,
    /// What the gradient is multiplied by first.
    clip: f64,
}

impl AdamW {
    /// Moments of zero for every parameter.
    pub fn new(config: AdamWConfig, params: &Params, device: &Device) -> Result<AdamW> {
        let slots = params
            .iter()
            .map(|p| {
                let zeros = || {
                    Var::zeros(p.spec.shape.as_slice(), candle_core::DType::F32, device)
                        .map_err(Error::backend)
                };
                Ok(Slot {
                    name: p.spec.name.clone(),
                    decays: config.decays(p.spec.kind),
                    m: zeros()?,
                    v: zeros()?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(AdamW {
            config,
            slots,
            updates: 0,
        })
    }

    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// One update of every parameter, in the parameters' order.
    ///
    /// `grads[i]` belongs to parameter i; `clip` multiplies every gradient first.
    pub fn step(&mut self, params: &Params, grads: &[Tensor], lr: f64, clip: f64) -> Result<()> {
        debug_assert_eq!(grads.len(), self.slots.len());
        self.updates += 1;
        let c = &self.config;
        let k = self.updates as f64;
        let step_size = lr / (1.0 - c.beta1.powf(k));
        let root_correction = (1.0 - c.beta2.powf(k)).sqrt();
        for ((param, slot), grad) in params.iter().zip(&self.slots).zip(grads) {
            let decay = match slot.decays {
                true => 1.0 - lr * c.weight_decay,
                false => 1.0,
            };
            let apply = Apply {
                decay: decay as f32,
                step_size: step_size as f32,
                root_correction: root_correction as f32,
                eps: c.eps as f32,
            };
            let first = Update {
                beta: c.beta1,
                clip,
            };
            let second = Update {
                beta: c.beta2,
                clip,
            };
            let update = || match param.var.device() {
                Device::Cpu => {
                    let grad = grad.contiguous()?;
                    slot.m.inplace_op2(&grad, &FirstMoment(first))?;
                    slot.v.inplace_op2(&grad, &SecondMoment(second))?;
                    param.var.inplace_op3(&slot.m, &slot.v, &apply)
                }
                _ => compose(&param.var, &slot.m, &slot.v, grad, first, second, &apply),
            };
            update().map_err(Error::backend)?;
        }
        Ok(())
    }

    /// The moments by name: `<parameter>.m` and `<parameter>.v`.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        self.slots
            .iter()
            .flat_map(|s| {
                [
                    (format!("{}.m", s.name), s.m.as_detached_tensor()),
                    (format!("{}.v", s.name), s.v.as_detached_tensor()),
                ]
            })
            .collect()
    }

    /// Takes moments back; the inverse of [`AdamW::tensors`].
    ///
    /// # Errors
    /// Names the tensor that is missing or has another shape.
    pub fn restore(&mut self, mut saved: HashMap<String, Tensor>, updates: u64) -> Result<()> {
        for slot in &self.slots {
            for (suffix, var) in [("m", &slot.m), ("v", &slot.v)] {
                let name = format!("{}.{suffix}", slot.name);
                let tensor = saved
                    .remove(&name)
                    .ok_or_else(|| Error::input(format!("the moment {name} is missing")))?;
                if tensor.dims() != var.dims() {
                    return Err(Error::input(format!(
                        "the moment {name} has shape {:?} and the parameter {:?}",
                        tensor.dims(),
                        var.dims()
                    )));
                }
                var.set(&tensor).map_err(Error::backend)?;
            }
        }
        self.updates = updates;
        Ok(())
    }
}

/// m ← β m + (1 − β) g
struct FirstMoment(Update);
/// v ← β v + (1 − β) g²
struct SecondMoment(Update);
/// p ← decay·p − step_size · m / (√v / root_correction + ε)
struct Apply {
    decay: f32,
    step_size: f32,
    root_correction: f32,
    eps: f32,
}

/// Elements that one task updates.
const BLOCK: usize = 1 << 14;

impl InplaceOp2 for FirstMoment {
    fn name(&self) -> &'static str {
        "adamw-first-moment"
    }

    fn cpu_fwd(
        &self,
        m: &mut CpuStorage,
        m_layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (beta, rest) = self.0.weights();
        let clip = self.0.clip as f32;
        let g = slice(g, g_layout)?;
        slice_mut(m, m_layout)?
            .par_chunks_mut(BLOCK)
            .zip(g.par_chunks(BLOCK))
            .for_each(|(m, g)| {
                for (m, &g) in m.iter_mut().zip(g) {
                    *m = beta * *m + rest * (clip * g);
                }
            });
        Ok(())
    }
}

impl InplaceOp2 for SecondMoment {
    fn name(&self) -> &'static str {
        "adamw-second-moment"
    }

    fn cpu_fwd(
        &self,
        v: &mut CpuStorage,
        v_layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (beta, rest) = self.0.weights();
        let clip = self.0.clip as f32;
        let g = slice(g, g_layout)?;
        slice_mut(v, v_layout)?
            .par_chunks_mut(BLOCK)
            .zip(g.par_chunks(BLOCK))
            .for_each(|(v, g)| {
                for (v, &g) in v.iter_mut().zip(g) {
                    let g = clip * g;
                    *v = beta * *v + rest * (g * g);
                }
            });
        Ok(())
    }
}

impl InplaceOp3 for Apply {
    fn name(&self) -> &'static str {
        "adamw-apply"
    }

    fn cpu_fwd(
        &self,
        p: &mut CpuStorage,
        p_layout: &Layout,
        m: &CpuStorage,
        m_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (m, v) = (slice(m, m_layout)?, slice(v, v_layout)?);
        slice_mut(p, p_layout)?
            .par_chunks_mut(BLOCK)
            .zip(m.par_chunks(BLOCK).zip(v.par_chunks(BLOCK)))
            .for_each(|(p, (m, v))| {
                for ((p, &m), &v) in p.iter_mut().zip(m).zip(v) {
                    let root = v.sqrt() / self.root_correction + self.eps;
                    *p = self.decay * *p - self.step_size * (m / root);
                }
            });
        Ok(())
    }
}

impl Update {
    fn weights(&self) -> (f32, f32) {
        (self.beta as f32, (1.0 - self.beta) as f32)
    }
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&data[start..end]),
        _ => candle_core::bail!("AdamW on the CPU takes contiguous f32 tensors"),
    }
}

fn slice_mut<'a>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> candle_core::Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&mut data[start..end]),
        _ => candle_core::bail!("AdamW on the CPU takes contiguous f32 tensors"),
    }
}

/// The update by tensor operations: for devices without a pass of their own, and the oracle of
/// those that have one.
fn compose(
    p: &Var,
    m: &Var,
    v: &Var,
    grad: &Tensor,
    first: Update,
    second: Update,
    apply: &Apply,
) -> candle_core::Result<()> {
    let g = (grad * first.clip)?;
    m.set(&((m.as_tensor() * first.beta)? + (&g * (1.0 - first.beta))?)?)?;
    v.set(&((v.as_tensor() * second.beta)? + (g.sqr()? * (1.0 - second.beta))?)?)?;
    let root = ((v.sqrt()? / apply.root_correction as f64)? + apply.eps as f64)?;
    let change = ((m.as_tensor() / root)? * apply.step_size as f64)?;
    p.set(&((p.as_tensor() * apply.decay as f64)? - change)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::tests::tiny;
    use crate::model::{Family, LanguageModel};

    fn params() -> Params {
        let specs = LanguageModel::specs(&tiny(Family::Gpt2, true));
        Params::init(specs, 1, &Device::Cpu).unwrap()
    }

    fn values(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn passes_agree_with_the_composition() {
        let device = Device::Cpu;
        let draw = |std: f64| Tensor::randn(0f32, std as f32, (37, 5), &device).unwrap();
        let var = |t: &Tensor| Var::from_tensor(&t.copy().unwrap()).unwrap();
        let (p, m, v, g) = (draw(1.0), draw(0.1), draw(0.1).sqr().unwrap(), draw(1.0));
        let first = Update {
            beta: 0.9,
            clip: 0.7,
        };
        let second = Update {
            beta: 0.95,
            clip: 0.7,
        };
        let apply = Apply {
            decay: 0.999,
            step_size: 0.01,
            root_correction: 0.3,
            eps: 1e-8,
        };
        let (p1, m1, v1) = (var(&p), var(&m), var(&v));
        compose(&p1, &m1, &v1, &g, first, second, &apply).unwrap();
        let (p2, m2, v2) = (var(&p), var(&m), var(&v));
        m2.inplace_op2(&g, &FirstMoment(first)).unwrap();
        v2.inplace_op2(&g, &SecondMoment(second)).unwrap();
        p2.inplace_op3(&m2, &v2, &apply).unwrap();
        for (a, b) in [(&p1, &p2), (&m1, &m2), (&v1, &v2)] {
            for (a, b) in values(a).iter().zip(values(b)) {
                assert!((a - b).abs() <= 1e-6 * (1.0 + a.abs()), "{a} {b}");
            }
        }
    }

    #[test]
    fn first_update_moves_by_the_learning_rate_and_decays_only_matrices() {
        let params = params();
        let before: Vec<_> = params.iter().map(|p| values(&p.var)).collect();
        let grads: Vec<_> = params.iter().map(|p| p.var.ones_like().unwrap()).collect();
        let mut adamw = AdamW::new(AdamWConfig::default(), &params, &Device::Cpu).unwrap();
        adamw.step(&params, &grads, 0.01, 1.0).unwrap();
        for (p, before) in params.iter().zip(before) {
            let decay = match p.spec.kind {
                ParamKind::Matrix | ParamKind::Head => 1.0 - 0.01 * 0.1,
                _ => 1.0,
            };
            for (new, old) in values(&p.var).iter().zip(before) {
                // m̂/√v̂ = 1 on the first update, whatever the betas.
                let expected = decay * old - 0.01;
                assert!((new - expected).abs() < 1e-6, "{}: {new}", p.spec.name);
            }
        }
    }

    #[test]
    fn restored_moments_continue_bit_for_bit() {
        let grads = |params: &Params| -> Vec<Tensor> {
            params
                .iter()
                .map(|p| p.var.as_tensor().sin().unwrap())
                .collect()
        };
        let straight = params();
        let mut a = AdamW::new(AdamWConfig::default(), &straight, &Device::Cpu).unwrap();
        for _ in 0..3 {
            a.step(&straight, &grads(&straight), 0.02, 0.9).unwrap();
        }
        let broken = params();
        let mut b = AdamW::new(AdamWConfig::default(), &broken, &Device::Cpu).unwrap();
        b.step(&broken, &grads(&broken), 0.02, 0.9).unwrap();
        let saved = b
            .tensors()
            .into_iter()
            .map(|(n, t)| (n, t.copy().unwrap()))
            .collect();
        let mut c = AdamW::new(AdamWConfig::default(), &broken, &Device::Cpu).unwrap();
        c.restore(saved, b.updates()).unwrap();
        for _ in 0..2 {
            c.step(&broken, &grads(&broken), 0.02, 0.9).unwrap();
        }
        for (x, y) in straight.iter().zip(broken.iter()) {
            assert_eq!(values(&x.var), values(&y.var), "{}", x.spec.name);
        }
    }
}
