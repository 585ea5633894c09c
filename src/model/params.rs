//! The trainable parameters of a model: named as Hugging Face names them, in a fixed order.

use crate::error::Result;
use crate::memory::Block;
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

/// One parameter of a [`Params`].
#[derive(Clone, Copy)]
pub struct Param<'a> {
    pub spec: &'a ParamSpec,
    /// Its values, row-major.
    pub values: &'a [f32],
}

/// All parameters as f32 on the host: one flat run of numbers in the order of the model's
/// definition, without gaps.
pub struct Params {
    specs: Vec<ParamSpec>,
    /// Where each parameter starts, and behind them where the last one ends.
    offsets: Vec<usize>,
    index: HashMap<String, usize>,
    values: Block<f32>,
}

impl Params {
    /// Draws every parameter from its initial distribution.
    ///
    /// Each has a random stream of its own, keyed by `(seed, name)`: the same seed gives the same
    /// bits on every device, in whatever order a model lists its parameters.
    pub fn init(specs: Vec<ParamSpec>, seed: u64) -> Params {
        let build = Self::build(specs, |spec, values| {
            draw(spec, seed, values);
            Ok(())
        });
        build.expect("drawing never fails")
    }

    /// Lets `fill` write every parameter's values (row-major, zeros on entry).
    ///
    /// # Errors
    /// Passes on what `fill` says.
    pub fn build(
        specs: Vec<ParamSpec>,
        mut fill: impl FnMut(&ParamSpec, &mut [f32]) -> Result<()>,
    ) -> Result<Params> {
        let mut offsets = vec![0];
        for spec in &specs {
            offsets.push(offsets[offsets.len() - 1] + spec.elements());
        }
        let mut values = Block::zeroed(offsets[specs.len()]);
        for (spec, range) in specs.iter().zip(offsets.windows(2)) {
            fill(spec, &mut values[range[0]..range[1]])?;
        }
        let named = specs.iter().enumerate();
        Ok(Params {
            index: named.map(|(i, s)| (s.name.clone(), i)).collect(),
            specs,
            offsets,
            values,
        })
    }

    /// All parameters, in the order of the model's definition.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Param<'_>> {
        (0..self.specs.len()).map(|i| self.at(i))
    }

    pub fn specs(&self) -> &[ParamSpec] {
        &self.specs
    }

    pub fn len(&self) -> usize {
        self.specs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.specs.is_empty()
    }

    /// Number of trainable scalars.
    pub fn elements(&self) -> usize {
        self.values.len()
    }

    /// All values, parameter after parameter.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The values of one parameter, to change them.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut [f32]> {
        let &i = self.index.get(name)?;
        Some(&mut self.values[self.offsets[i]..self.offsets[i + 1]])
    }

    /// The first parameter that holds a NaN or an infinity.
    pub fn first_not_finite(&self) -> Option<&str> {
        let is_finite = |p: &Param| p.values.iter().all(|x| x.is_finite());
        let found = self.iter().find(|p| !is_finite(p));
        found.map(|p| p.spec.name.as_str())
    }

    /// The parameter of a name.
    pub fn get(&self, name: &str) -> Option<Param<'_>> {
        self.index.get(name).map(|&i| self.at(i))
    }

    fn at(&self, i: usize) -> Param<'_> {
        Param {
            spec: &self.specs[i],
            values: &self.values[self.offsets[i]..self.offsets[i + 1]],
        }
    }
}

/// Values of one parameter at the start, from the stream of `(seed, name)`, over zeros.
fn draw(spec: &ParamSpec, seed: u64, values: &mut [f32]) {
    match spec.init {
        Init::Zeros => {}
        Init::Ones => values.fill(1.0),
        Init::Normal(std) => {
            let mut key = blake3::Hasher::new();
            key.update(b"lehr parameter");
            key.update(&seed.to_le_bytes());
            key.update(spec.name.as_bytes());
            let mut rng = ChaCha8Rng::from_seed(*key.finalize().as_bytes());
            let n = values.len();
            for (value, z) in values.iter_mut().zip(normals(&mut rng, n)) {
                *value = (z * std) as f32;
            }
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

    fn initial_values(spec: &ParamSpec, seed: u64) -> Vec<f32> {
        let mut values = vec![0.0; spec.elements()];
        draw(spec, seed, &mut values);
        values
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
