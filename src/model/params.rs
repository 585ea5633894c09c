//! The trainable parameters of a model: named as Hugging Face names them, in a fixed order.

use crate::error::{Error, Result};
use candle_core::{Device, Tensor, Var};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::HashMap;

/// What a parameter is for; the optimiser's decay groups and the parameter counts follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// Token table (with a tied head it is the head as well), learned positions.
    Embedding,
    /// A head that has a table of its own.
    Head,
    /// Weights of a linear map inside a block.
    Matrix,
    Norm,
    Bias,
}

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    Zeros,
    Ones,
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
}

/// One parameter before it exists: name, shape, kind, start.
#[derive(Clone, Debug)]
pub struct ParamSpec {
    pub name: String,
    pub shape: Vec<usize>,
    pub kind: ParamKind,
    pub init: Init,
}

impl ParamSpec {
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A parameter that can be trained.
pub struct Param {
    pub spec: ParamSpec,
    pub var: Var,
}

/// All parameters, in the order of the model's definition.
pub struct Params {
    list: Vec<Param>,
    index: HashMap<String, usize>,
}

impl Params {
    /// Draws every parameter from its initial distribution.
    ///
    /// Each has a random stream of its own, keyed by `(seed, name)`: the same seed gives the same
    /// bits on every device, in whatever order a model lists its parameters.
    pub fn init(specs: Vec<ParamSpec>, seed: u64, device: &Device) -> Result<Params> {
        Self::build(specs, device, |spec| Ok(initial_values(spec, seed)))
    }

    /// Takes every parameter's values from `values` (flattened, row-major).
    ///
    /// # Errors
    /// Passes on what `values` says, or names the parameter whose number of elements is wrong.
    pub fn build(
        specs: Vec<ParamSpec>,
        device: &Device,
        mut values: impl FnMut(&ParamSpec) -> Result<Vec<f32>>,
    ) -> Result<Params> {
        let mut list = Vec::with_capacity(specs.len());
        for spec in specs {
            let data = values(&spec)?;
            let var = Var::from_vec(data, spec.shape.as_slice(), device).map_err(Error::backend)?;
            list.push(Param { spec, var });
        }
        let index = list
            .iter()
            .enumerate()
            .map(|(i, p)| (p.spec.name.clone(), i))
            .collect();
        Ok(Params { list, index })
    }

    /// All parameters, in the order of the model's definition.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Param> {
        self.list.iter()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Number of trainable scalars.
    pub fn elements(&self) -> usize {
        self.list.iter().map(|p| p.spec.elements()).sum()
    }

    /// The first parameter that holds a NaN or an infinity.
    pub fn first_not_finite(&self) -> Result<Option<&str>> {
        for p in &self.list {
            let sum = p.var.abs().and_then(|t| t.sum_all()?.to_scalar::<f32>());
            if !sum.map_err(Error::backend)?.is_finite() {
                return Ok(Some(&p.spec.name));
            }
        }
        Ok(None)
    }

    /// The parameter of a name.
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.index.get(name).map(|&i| &self.list[i])
    }

    /// The tensor of a parameter; gradients flow to it when `tracked`, otherwise the same storage
    /// is read without recording anything (evaluation, sampling).
    pub(super) fn tensor(&self, name: &str, tracked: bool) -> Tensor {
        let var = &self
            .get(name)
            .expect("a model asks only for its own parameters")
            .var;
        if tracked {
            var.as_tensor().clone()
        } else {
            var.as_detached_tensor()
        }
    }
}

/// Values of one parameter at the start, from the stream of `(seed, name)`.
fn initial_values(spec: &ParamSpec, seed: u64) -> Vec<f32> {
    let n = spec.elements();
    match spec.init {
        Init::Zeros => vec![0.0; n],
        Init::Ones => vec![1.0; n],
        Init::Normal(std) => {
            let mut key = blake3::Hasher::new();
            key.update(b"lehr parameter");
            key.update(&seed.to_le_bytes());
            key.update(spec.name.as_bytes());
            let mut rng = ChaCha8Rng::from_seed(*key.finalize().as_bytes());
            normals(&mut rng, n).map(|z| (z * std) as f32).collect()
        }
    }
}

/// `n` standard normal draws by Box and Muller's transform, two at a time.
fn normals(rng: &mut ChaCha8Rng, n: usize) -> impl Iterator<Item = f64> {
    let mut uniform = move || (rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64);
    let mut spare = None;
    (0..n).map(move |_| {
        spare.take().unwrap_or_else(|| {
            // 1 − u is in (0, 1], so the logarithm is finite.
            let radius = (-2.0 * (1.0 - uniform()).ln()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * uniform()).sin_cos();
            spare = Some(radius * sin);
            radius * cos
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, n: usize) -> ParamSpec {
        ParamSpec {
            name: name.into(),
            shape: vec![n],
            kind: ParamKind::Matrix,
            init: Init::Normal(0.02),
        }
    }

    #[test]
    fn normal_start_has_its_mean_and_deviation() {
        let v = initial_values(&spec("a", 200_000), 1);
        let mean = v.iter().map(|&x| x as f64).sum::<f64>() / v.len() as f64;
        let var = v.iter().map(|&x| (x as f64 - mean).powi(2)).sum::<f64>() / v.len() as f64;
        assert!(mean.abs() < 2e-4, "{mean}");
        assert!((var.sqrt() / 0.02 - 1.0).abs() < 0.01, "{}", var.sqrt());
    }

    #[test]
    fn streams_depend_on_seed_and_name_only() {
        let a = initial_values(&spec("a", 64), 1);
        assert_eq!(a, initial_values(&spec("a", 64), 1));
        assert_ne!(a, initial_values(&spec("b", 64), 1));
        assert_ne!(a, initial_values(&spec("a", 64), 2));
        // A longer parameter starts with the same draws: nothing depends on the length.
        assert_eq!(a[..], initial_values(&spec("a", 65), 1)[..64]);
    }
}
