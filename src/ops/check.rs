//! What every op's tests do: the fused path against the composition in f64, its gradients too;
//! the composition's gradients against finite differences; strided inputs; the fallback; the same
//! bits on any number of threads; no input without a gradient.

use super::dropout::Dropout;
use crate::kernels::dropout::Mask;
use candle_core::{DType, Device, Result, Shape, Tensor, Var};

/// Numbers in [−1, 1), the same ones for the same seed.
pub(crate) fn random(shape: impl Into<Shape>, seed: u64) -> Tensor {
    let shape = shape.into();
    let coin = |i: u64| {
        // 24 bits, each from a mask of its own.
        (0..24).fold(0u32, |bits, bit| {
            let dropout = Dropout {
                p: 0.5,
                key: seed * 24 + bit,
            };
            let kept = Mask::new(dropout).starting_at(i).get(0) > 0.0;
            bits << 1 | u32::from(kept)
        }) as f32
            / (1 << 23) as f32
            - 1.0
    };
    let data: Vec<f32> = (0..shape.elem_count() as u64).map(coin).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
}

/// The output and the gradient of each input, for a loss that weighs every output differently.
fn run(inputs: &[Tensor], op: impl Fn(&[Tensor]) -> Result<Tensor>) -> Vec<Tensor> {
    let vars: Vec<Var> = inputs
        .iter()
        .map(|t| Var::from_tensor(t).unwrap())
        .collect();
    // A copy of a strided input is strided no more: go from the variable through its strides.
    let arguments: Vec<Tensor> = vars
        .iter()
        .zip(inputs)
        .map(|(var, like)| with_strides_of(var.as_tensor(), like))
        .collect();
    let output = op(&arguments).unwrap();
    let weights = random(output.shape(), 99).to_dtype(output.dtype()).unwrap();
    let loss = (&output * weights).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    let mut results = vec![output.detach()];
    for (i, var) in vars.iter().enumerate() {
        let gradient = gradients.get(var.as_tensor());
        let gradient = gradient.unwrap_or_else(|| panic!("input {i} has no gradient"));
        results.push(gradient.clone());
    }
    results
}

fn with_strides_of(t: &Tensor, like: &Tensor) -> Tensor {
    if like.is_contiguous() {
        return t.clone();
    }
    strided(t)
}

/// The same numbers, neither contiguous nor consecutive in the last dimension.
fn strided(t: &Tensor) -> Tensor {
    match t.rank() {
        0 => t.clone(),
        1 => {
            let doubled = Tensor::stack(&[t, t], 1).unwrap();
            doubled.narrow(1, 0, 1).unwrap().squeeze(1).unwrap()
        }
        rank => {
            let last = rank - 1;
            let copy = t.transpose(last - 1, last).unwrap().contiguous().unwrap();
            copy.transpose(last - 1, last).unwrap()
        }
    }
}

/// The same numbers, consecutive in the last dimension but with gaps between rows, as a part of
/// a packed projection has them.
fn gapped(t: &Tensor) -> Tensor {
    let last = t.rank() - 1;
    let doubled = Tensor::cat(&[t, t], last).unwrap();
    doubled.narrow(last, 0, t.dims()[last]).unwrap()
}

fn numbers(t: &Tensor) -> Vec<f64> {
    let t = t.to_dtype(DType::F64).unwrap();
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// Asserts that two tensors differ by at most `tolerance` of the largest number.
#[track_caller]
fn close(what: &str, actual: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(actual.dims(), expected.dims(), "{what}");
    let (actual, expected) = (numbers(actual), numbers(expected));
    let largest = expected.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    for (i, (a, e)) in actual.iter().zip(&expected).enumerate() {
        assert!(
            (a - e).abs() <= tolerance * largest,
            "{what}: element {i} is {a}, but should be {e} (the largest is {largest})"
        );
    }
}

fn bits(results: &[Tensor]) -> Vec<Vec<u64>> {
    let of = |t: &Tensor| numbers(t).iter().map(|x| x.to_bits()).collect();
    results.iter().map(of).collect()
}

/// Everything that the module's documentation lists, but the finite differences.
#[track_caller]
pub(crate) fn check(
    inputs: &[Tensor],
    fused: impl Fn(&[Tensor]) -> Result<Tensor> + Sync,
    composition: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let exact: Vec<Tensor> = inputs
        .iter()
        .map(|t| t.to_dtype(DType::F64).unwrap())
        .collect();
    let expected = run(&exact, composition);
    for (i, gradient) in expected.iter().enumerate().skip(1) {
        let alive = numbers(gradient).iter().any(|&x| x != 0.0);
        assert!(alive, "the gradient of input {} is zero", i - 1);
    }
    let compare = |kind: &str, results: &[Tensor]| {
        close(&format!("{kind}output"), &results[0], &expected[0], 1e-5);
        for i in 1..results.len() {
            let what = format!("{kind}gradient of input {}", i - 1);
            close(&what, &results[i], &expected[i], 1e-5);
        }
    };
    let results = run(inputs, &fused);
    compare("", &results);
    let torn: Vec<Tensor> = inputs.iter().map(strided).collect();
    compare("strided inputs: ", &run(&torn, &fused));
    let packed = |inputs: &[Tensor]| {
        let inputs: Vec<Tensor> = inputs.iter().map(gapped).collect();
        fused(&inputs)
    };
    compare("inputs with gaps: ", &run(inputs, packed));
    // What the kernels do not take falls back, in its own precision.
    for (i, (wide, expected)) in run(&exact, &fused).iter().zip(&expected).enumerate() {
        close(&format!("f64: result {i}"), wide, expected, 1e-14);
    }

    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let again = pool.unwrap().install(|| run(inputs, &fused));
        assert_eq!(bits(&again), bits(&results), "{threads} threads");
    }
}

/// The composition's gradients in f64 against central finite differences.
#[track_caller]
pub(crate) fn finite_differences(
    inputs: &[Tensor],
    composition: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    const STEP: f64 = 1e-5;
    let exact: Vec<Tensor> = inputs
        .iter()
        .map(|t| t.to_dtype(DType::F64).unwrap())
        .collect();
    let gradients = run(&exact, &composition);
    let loss = |inputs: &[Tensor]| {
        let output = composition(inputs).unwrap();
        let weights = numbers(&random(output.shape(), 99));
        let pairs = numbers(&output).into_iter().zip(weights);
        pairs.map(|(y, w)| y * w).sum::<f64>()
    };
    for (i, input) in exact.iter().enumerate() {
        let mut differences = Vec::new();
        for element in 0..input.elem_count() {
            let at = |step: f64| {
                let mut data = numbers(input);
                data[element] += step;
                let mut moved = exact.clone();
                moved[i] = Tensor::from_vec(data, input.shape(), &Device::Cpu).unwrap();
                loss(&moved)
            };
            differences.push((at(STEP) - at(-STEP)) / (2.0 * STEP));
        }
        let differences = Tensor::from_vec(differences, input.shape(), &Device::Cpu).unwrap();
        let what = format!("finite differences of input {i}");
        close(&what, &gradients[i + 1], &differences, 1e-6);
    }
}
