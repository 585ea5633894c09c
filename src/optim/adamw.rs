//! AdamW (Loshchilov & Hutter 2019, algorithm 2), with decay groups and moments that are saved.
//!
//! At update k = 1, 2, … with gradient g (after clipping), learning rate η and decay λ:
//!
//! ```text
//! m ← β₁ m + (1 − β₁) g            v ← β₂ v + (1 − β₂) g²
//! p ← (1 − ηλ) p − η/(1 − β₁ᵏ) · m / (√v / √(1 − β₂ᵏ) + ε)
//! ```
//!
//! which is PyTorch's order of operations; all of it, clipping too, in one pass
//! ([`crate::kernels::update`]).

use crate::error::{Error, Result};
use crate::kernels::shared::Shared;
use crate::kernels::update::{self, BLOCK, Factors};
use crate::memory::Block;
use crate::model::{ParamKind, ParamSpec};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

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

    /// Whether parameters of this kind decay.
    pub fn decays(&self, kind: ParamKind) -> bool {
        match kind {
            ParamKind::Matrix | ParamKind::Head => true,
            ParamKind::Embedding => self.decay_embeddings,
            ParamKind::Norm | ParamKind::Bias => false,
        }
    }
}

/// The optimiser's state: two moments a parameter, and how many updates they have seen.
///
/// Moments lie as the parameters do: flat, in the model's order.
pub struct AdamW {
    config: AdamWConfig,
    slots: Vec<Slot>,
    pieces: Vec<Piece>,
    m: Block<f32>,
    v: Block<f32>,
    updates: u64,
    /// Partial sums of the gradient norm.
    partials: Block<f64>,
}

/// Where one parameter's moments lie.
struct Slot {
    name: String,
    shape: Vec<usize>,
    start: usize,
    len: usize,
}

/// What one task updates: at most [`BLOCK`] numbers of one decay group.
struct Piece {
    start: usize,
    len: usize,
    decays: bool,
}

/// One moment of one parameter, by the name that checkpoints give it.
pub struct Moment<'a> {
    pub name: String,
    pub shape: &'a [usize],
    pub values: &'a [f32],
}

impl AdamW {
    /// Moments of zero for every parameter.
    pub fn new(config: AdamWConfig, specs: &[ParamSpec]) -> AdamW {
        let (mut slots, mut pieces, mut start) = (Vec::new(), Vec::new(), 0);
        for spec in specs {
            let len = spec.elements();
            let decays = config.decays(spec.kind);
            for first in (0..len).step_by(BLOCK) {
                pieces.push(Piece {
                    start: start + first,
                    len: BLOCK.min(len - first),
                    decays,
                });
            }
            let (name, shape) = (spec.name.clone(), spec.shape.clone());
            slots.push(Slot {
                name,
                shape,
                start,
                len,
            });
            start += len;
        }
        AdamW {
            config,
            slots,
            pieces,
            m: Block::zeroed(start),
            v: Block::zeroed(start),
            updates: 0,
            partials: Block::zeroed(start.div_ceil(BLOCK)),
        }
    }

    pub fn updates(&self) -> u64 {
        self.updates
    }

    pub fn config(&self) -> &AdamWConfig {
        &self.config
    }

    /// Start, length and decay of the runs that are updated together, for a device that does it itself.
    pub fn pieces(&self) -> impl Iterator<Item = (usize, usize, bool)> {
        self.pieces.iter().map(|p| (p.start, p.len, p.decays))
    }

    /// Both moments, flat.
    pub fn moments_mut(&mut self) -> (&mut [f32], &mut [f32]) {
        (&mut self.m, &mut self.v)
    }

    /// Counts an update that a device has made.
    pub fn updated(&mut self) {
        self.updates += 1;
    }

    /// What the next update multiplies with.
    pub fn next_factors(&self, lr: f64) -> Factors {
        let c = &self.config;
        let k = (self.updates + 1) as f64;
        Factors {
            beta1: c.beta1 as f32,
            rest1: (1.0 - c.beta1) as f32,
            beta2: c.beta2 as f32,
            rest2: (1.0 - c.beta2) as f32,
            clip: 1.0,
            decay: (1.0 - lr * c.weight_decay) as f32,
            step_size: (lr / (1.0 - c.beta1.powf(k))) as f32,
            inverse_root_correction: (1.0 / (1.0 - c.beta2.powf(k)).sqrt()) as f32,
            eps: c.eps as f32,
        }
    }

    /// ‖g‖₂ of the flat gradients, summed in f64 over blocks of fixed size.
    pub fn global_norm(&mut self, gradients: &[f32]) -> f64 {
        update::squared_norm(gradients, &mut self.partials).sqrt()
    }

    /// One update of the flat `weights`; `clip` multiplies every gradient first.
    pub fn step(&mut self, weights: &mut [f32], gradients: &[f32], lr: f64, clip: f64) {
        assert!(weights.len() == self.m.len() && gradients.len() == self.m.len());
        let factors = Factors {
            clip: clip as f32,
            ..self.next_factors(lr)
        };
        self.updates += 1;
        let (weights, m, v) = (
            Shared::new(weights),
            Shared::new(&mut self.m),
            Shared::new(&mut self.v),
        );
        self.pieces
            .par_iter()
            .for_each(|&Piece { start, len, decays }| {
                let decay = if decays { factors.decay } else { 1.0 };
                // SAFETY: pieces do not overlap.
                let (p, m, v) = unsafe {
                    (
                        weights.part(start, len),
                        m.part(start, len),
                        v.part(start, len),
                    )
                };
                update::adamw(
                    Factors { decay, ..factors },
                    p,
                    m,
                    v,
                    &gradients[start..start + len],
                );
            });
    }

    /// The moments by name: `<parameter>.m` and `<parameter>.v`.
    pub fn moments(&self) -> Vec<Moment<'_>> {
        self.slots
            .iter()
            .flat_map(|slot| {
                [("m", &self.m), ("v", &self.v)].map(|(suffix, values)| Moment {
                    name: format!("{}.{suffix}", slot.name),
                    shape: &slot.shape,
                    values: &values[slot.start..slot.start + slot.len],
                })
            })
            .collect()
    }

    /// Takes moments back; the inverse of [`AdamW::moments`]. `read` gives the shape and values of
    /// a name.
    ///
    /// # Errors
    /// Names the tensor that is missing or has another shape.
    pub fn restore(
        &mut self,
        mut read: impl FnMut(&str) -> Option<(Vec<usize>, Vec<f32>)>,
        updates: u64,
    ) -> Result<()> {
        for slot in &self.slots {
            for (suffix, flat) in [("m", &mut self.m), ("v", &mut self.v)] {
                let name = format!("{}.{suffix}", slot.name);
                let (shape, values) = read(&name)
                    .ok_or_else(|| Error::input(format!("the moment {name} is missing")))?;
                if shape != slot.shape {
                    return Err(Error::input(format!(
                        "the moment {name} has shape {shape:?} and the parameter {:?}",
                        slot.shape
                    )));
                }
                flat[slot.start..slot.start + slot.len].copy_from_slice(&values);
            }
        }
        self.updates = updates;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::tests::tiny;
    use crate::model::{Family, LanguageModel, Params};

    fn params() -> Params {
        Params::init(LanguageModel::specs(&tiny(Family::Gpt2, true)), 1)
    }

    #[test]
    fn updates_follow_the_formula() {
        let config = AdamWConfig::default();
        let mut params = params();
        let mut adamw = AdamW::new(config.clone(), params.specs());
        let n = params.elements();
        let (mut p, mut m, mut v): (Vec<f64>, _, _) = (
            params.values().iter().map(|&x| x.into()).collect(),
            vec![0.0f64; n],
            vec![0.0f64; n],
        );
        let decays: Vec<bool> = params
            .iter()
            .flat_map(|p| vec![config.decays(p.spec.kind); p.values.len()])
            .collect();
        let (lr, clip) = (0.01, 0.7);
        for k in 1..=4 {
            let g: Vec<f32> = (0..n).map(|i| ((i * k) as f32).sin()).collect();
            adamw.step(params.values_mut(), &g, lr, clip);
            for i in 0..n {
                let g = clip * f64::from(g[i]);
                m[i] = config.beta1 * m[i] + (1.0 - config.beta1) * g;
                v[i] = config.beta2 * v[i] + (1.0 - config.beta2) * g * g;
                let m_hat = m[i] / (1.0 - config.beta1.powi(k as i32));
                let v_hat = v[i] / (1.0 - config.beta2.powi(k as i32));
                if decays[i] {
                    p[i] *= 1.0 - lr * config.weight_decay;
                }
                p[i] -= lr * m_hat / (v_hat.sqrt() + config.eps);
            }
        }
        for (a, b) in params.values().iter().zip(p) {
            assert!((f64::from(*a) - b).abs() < 2e-6, "{a} {b}");
        }
    }

    #[test]
    fn first_update_moves_by_the_learning_rate_and_decays_only_matrices() {
        let mut params = params();
        let before = params.values().to_vec();
        let ones = vec![1.0; params.elements()];
        let mut adamw = AdamW::new(AdamWConfig::default(), params.specs());
        adamw.step(params.values_mut(), &ones, 0.01, 1.0);
        let mut before = before.into_iter();
        for p in params.iter() {
            let decay = match p.spec.kind {
                ParamKind::Matrix | ParamKind::Head => 1.0 - 0.01 * 0.1,
                _ => 1.0,
            };
            for new in p.values {
                // m̂/√v̂ = 1 on the first update, whatever the betas.
                let expected = decay * before.next().unwrap() - 0.01;
                assert!((new - expected).abs() < 1e-6, "{}: {new}", p.spec.name);
            }
        }
    }

    #[test]
    fn restored_moments_continue_bit_for_bit() {
        let step = |adamw: &mut AdamW, params: &mut Params| {
            let g: Vec<f32> = params.values().iter().map(|x| x.sin()).collect();
            adamw.step(params.values_mut(), &g, 0.02, 0.9);
        };
        let mut straight = params();
        let mut a = AdamW::new(AdamWConfig::default(), straight.specs());
        for _ in 0..3 {
            step(&mut a, &mut straight);
        }
        let mut broken = params();
        let mut b = AdamW::new(AdamWConfig::default(), broken.specs());
        step(&mut b, &mut broken);
        let saved = b.moments();
        let mut c = AdamW::new(AdamWConfig::default(), broken.specs());
        let find = |name: &str| {
            let moment = saved.iter().find(|m| m.name == name)?;
            Some((moment.shape.to_vec(), moment.values.to_vec()))
        };
        c.restore(find, b.updates()).unwrap();
        for _ in 0..2 {
            step(&mut c, &mut broken);
        }
        assert_eq!(straight.values(), broken.values());
    }

    #[test]
    fn norm_over_all_gradients() {
        let mut adamw = AdamW::new(AdamWConfig::default(), params().specs());
        let n = params().elements();
        let mut g = vec![0.0; n];
        (g[0], g[n - 1]) = (3.0, -4.0);
        assert_eq!(adamw.global_norm(&g), 5.0);
        g[7] = f32::NAN;
        assert!(adamw.global_norm(&g).is_nan());
    }
}
