//! Accumulators as safetensors, one tensor a parameter: `<parameter>.window`, `<parameter>.ema`.

use super::accumulator::Accumulator;
use crate::error::{Error, Result};
use crate::model::ParamSpec;
use safetensors::{Dtype, SafeTensors, View};
use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

/// The numbers of one parameter on their way into a file.
struct Piece<'a> {
    shape: &'a [usize],
    values: Values<'a>,
}

enum Values<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl View for Piece<'_> {
    fn dtype(&self) -> Dtype {
        match self.values {
            Values::F32(_) => Dtype::F32,
            Values::F64(_) => Dtype::F64,
        }
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        if cfg!(target_endian = "little") {
            let (data, len): (*const u8, _) = match self.values {
                Values::F32(values) => (values.as_ptr().cast(), size_of_val(values)),
                Values::F64(values) => (values.as_ptr().cast(), size_of_val(values)),
            };
            // SAFETY: the bytes of the numbers, which is how the file holds them.
            return Cow::Borrowed(unsafe { std::slice::from_raw_parts(data, len) });
        }
        Cow::Owned(match self.values {
            Values::F32(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::F64(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        })
    }

    fn data_len(&self) -> usize {
        match self.values {
            Values::F32(values) => size_of_val(values),
            Values::F64(values) => size_of_val(values),
        }
    }
}

/// Writes accumulators under their names and syncs. The file grows in place: write it into a
/// directory that is renamed when whole.
pub fn write(path: &Path, specs: &[ParamSpec], named: &[(&str, &Accumulator)]) -> Result<()> {
    let mut pieces = Vec::new();
    for (suffix, accumulator) in named {
        let mut start = 0;
        for spec in specs {
            let range = start..start + spec.elements();
            start = range.end;
            let values = match accumulator {
                Accumulator::F32(a) => Values::F32(&a[range]),
                Accumulator::F64(a) => Values::F64(&a[range]),
            };
            let shape = spec.shape.as_slice();
            pieces.push((format!("{}.{suffix}", spec.name), Piece { shape, values }));
        }
    }
    safetensors::serialize_to_file(pieces, None, path).map_err(|e| match e {
        safetensors::SafeTensorError::IoError(e) => Error::io("write", path, e),
        e => Error::backend(e),
    })?;
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|e| Error::io("write", path, e))
}

/// Reads accumulators back, each into one of its size and type.
///
/// # Errors
/// Names the tensor that is missing, or that has another shape or type.
pub fn read(path: &Path, specs: &[ParamSpec], named: Vec<(&str, &mut Accumulator)>) -> Result<()> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|e| Error::corrupt(path, format!("it cannot be read as safetensors ({e})")))?;
    for (suffix, accumulator) in named {
        let mut start = 0;
        for spec in specs {
            let name = format!("{}.{suffix}", spec.name);
            let tensor = tensors
                .tensor(&name)
                .map_err(|_| Error::corrupt(path, format!("the average {name} is missing")))?;
            let range = start..start + spec.elements();
            start = range.end;
            let fits = tensor.shape() == spec.shape;
            match accumulator {
                Accumulator::F32(a) if fits && tensor.dtype() == Dtype::F32 => {
                    let (numbers, _) = tensor.data().as_chunks();
                    for (a, &bytes) in a[range].iter_mut().zip(numbers) {
                        *a = f32::from_le_bytes(bytes);
                    }
                }
                Accumulator::F64(a) if fits && tensor.dtype() == Dtype::F64 => {
                    let (numbers, _) = tensor.data().as_chunks();
                    for (a, &bytes) in a[range].iter_mut().zip(numbers) {
                        *a = f64::from_le_bytes(bytes);
                    }
                }
                _ => {
                    return Err(Error::corrupt(
                        path,
                        format!(
                            "the average {name} has shape {:?} and type {:?}, and the parameter {:?}",
                            tensor.shape(),
                            tensor.dtype(),
                            spec.shape
                        ),
                    ));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::average::AverageDtype;
    use crate::model::config::tests::tiny;
    use crate::model::{Family, LanguageModel, Params};

    #[test]
    fn what_is_written_is_read_back_bit_for_bit() {
        let params = Params::init(LanguageModel::specs(&tiny(Family::Gpt2, true)), 1);
        let zeroed = |dtype| Accumulator::zeroed(dtype, params.elements());
        let mut window = zeroed(AverageDtype::Float64);
        window.approach(params.values(), 1.0 / 3.0);
        let mut ema = zeroed(AverageDtype::Float32);
        ema.approach(params.values(), 0.05);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let specs = params.specs();
        write(&path, specs, &[("window", &window), ("ema", &ema)]).unwrap();
        let (mut a, mut b) = (zeroed(AverageDtype::Float64), zeroed(AverageDtype::Float32));
        read(&path, specs, vec![("window", &mut a), ("ema", &mut b)]).unwrap();
        match (&window, &a, &ema, &b) {
            (
                Accumulator::F64(window),
                Accumulator::F64(a),
                Accumulator::F32(ema),
                Accumulator::F32(b),
            ) => assert!(window[..] == a[..] && ema[..] == b[..]),
            _ => unreachable!("the types that they were made with"),
        }
        let other = read(&path, specs, vec![("window", &mut b)]);
        assert!(other.unwrap_err().to_string().contains(".window"));
        let none = read(&path, specs, vec![("mean", &mut b)]);
        assert!(none.unwrap_err().to_string().contains("is missing"));
    }
}
