use super::*;
use crate::kernels::dropout::{Dropout, Mask};
use crate::kernels::element::{Bf16, Element};
use crate::kernels::gemm::Precision;

const DROPOUT: Dropout = Dropout { p: 0.25, key: 5 };

fn numbers<E: Element>(n: usize, seed: u64) -> Vec<E> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 40) as f32 / 8388608.0 - 1.0
    };
    (0..n).map(|_| E::from_f32(1.5 * next())).collect()
}

fn dims(batch: usize, positions: usize, [heads, kv_heads]: [usize; 2], width: usize) -> Dims {
    Dims {
        batch,
        positions,
        heads,
        kv_heads,
        width,
    }
}

/// Where things lie in a packed `[B, T, (H + 2·KV)·width]`.
struct Layout {
    dims: Dims,
    /// Numbers of a position.
    row: usize,
    offsets: [usize; 3],
}

impl Layout {
    fn new(dims: Dims) -> Self {
        let Dims {
            heads,
            kv_heads,
            width,
            ..
        } = dims;
        Layout {
            dims,
            row: (heads + 2 * kv_heads) * width,
            offsets: [0, heads * width, (heads + kv_heads) * width],
        }
    }

    fn len(&self) -> usize {
        self.dims.batch * self.dims.positions * self.row
    }

    fn heads<'a, E>(&self, data: &'a [E], part: usize) -> Heads<'a, E> {
        Heads {
            data: &data[self.offsets[part]..],
            batch_stride: self.dims.positions * self.row,
            position_stride: self.row,
            head_stride: self.dims.width,
        }
    }

    fn gradients<'a, E>(&self, data: &'a mut [E]) -> Gradients<'a, E> {
        let [q_offset, k_offset, v_offset] = self.offsets;
        Gradients {
            data,
            q_offset,
            k_offset,
            v_offset,
            batch_stride: self.dims.positions * self.row,
            position_stride: self.row,
            head_stride: self.dims.width,
        }
    }
}

fn dense<E>(data: &[E], dims: Dims) -> Heads<'_, E> {
    Heads {
        data,
        batch_stride: dims.positions * dims.heads * dims.width,
        position_stride: dims.heads * dims.width,
        head_stride: dims.width,
    }
}

struct Outcome<T> {
    /// `[B, T, H, width]`.
    o: Vec<T>,
    /// `[B, H, T]`.
    log_sums: Vec<T>,
    /// `[B, T, (H + 2·KV)·width]`.
    gradients: Vec<T>,
}

/// Both passes of the kernels.
fn kernels<E: Element>(
    precision: Precision,
    dims: Dims,
    mask: Option<Mask>,
    qkv: &[E],
    do_: &[E],
) -> Outcome<f32> {
    let layout = Layout::new(dims);
    let [q, k, v] = [0, 1, 2].map(|part| layout.heads(qkv, part));
    let mut o = vec![E::from_f32(f32::NAN); do_.len()];
    let mut log_sums = vec![f32::NAN; dims.batch * dims.heads * dims.positions];
    let shape = dense(do_, dims);
    let out = HeadsMut {
        data: &mut o,
        batch_stride: shape.batch_stride,
        position_stride: shape.position_stride,
        head_stride: shape.head_stride,
    };
    forward(precision, q, k, v, dims, mask, out, &mut log_sums);
    let mut deltas = log_sums.clone();
    let mut gradients = vec![E::from_f32(f32::NAN); qkv.len()];
    backward(
        precision,
        q,
        k,
        v,
        dims,
        mask,
        dense(&o, dims),
        &log_sums,
        dense(do_, dims),
        &mut deltas,
        layout.gradients(&mut gradients),
    );
    let wide = |x: Vec<E>| x.into_iter().map(Element::to_f32).collect();
    Outcome {
        o: wide(o),
        log_sums,
        gradients: wide(gradients),
    }
}

/// The same in f64, weight by weight.
fn oracle(dims: Dims, mask: Option<Mask>, qkv: &[f64], do_: &[f64]) -> Outcome<f64> {
    let layout = Layout::new(dims);
    let Dims {
        batch,
        positions,
        heads,
        width,
        ..
    } = dims;
    let scale = 1.0 / (width as f64).sqrt();
    let mut o = vec![0.0; do_.len()];
    let mut log_sums = vec![0.0; batch * heads * positions];
    let mut gradients = vec![0.0; qkv.len()];
    for b in 0..batch {
        for h in 0..heads {
            let at = |part: usize, t: usize| {
                let head = if part == 0 { h } else { h / dims.group() };
                (b * positions + t) * layout.row + layout.offsets[part] + head * width
            };
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            for t in 0..positions {
                let q = &qkv[at(0, t)..][..width];
                let row = ((b * positions + t) * heads + h) * width..;
                let do_ = &do_[row.clone()][..width];
                let scores: Vec<f64> = (0..=t)
                    .map(|j| scale * dot(q, &qkv[at(1, j)..][..width]))
                    .collect();
                let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = scores.iter().map(|s| (s - highest).exp()).sum();
                log_sums[(b * heads + h) * positions + t] = highest + total.ln();
                let first = dims.first_weight([b, h], t);
                let weights: Vec<[f64; 2]> = (0..=t)
                    .map(|j| {
                        let factor = mask.map_or(1.0, |m| m.starting_at(first).get(j as u32));
                        [(scores[j] - highest).exp() / total, f64::from(factor)]
                    })
                    .collect();
                let mut delta = 0.0;
                for (j, [p, factor]) in weights.iter().enumerate() {
                    let v = &qkv[at(2, j)..][..width];
                    for (o, v) in o[row.clone()].iter_mut().zip(v) {
                        *o += p * factor * v;
                    }
                    delta += p * factor * dot(do_, v);
                }
                for (j, [p, factor]) in weights.iter().enumerate() {
                    let dp = factor * dot(do_, &qkv[at(2, j)..][..width]);
                    let ds = scale * p * (dp - delta);
                    for i in 0..width {
                        gradients[at(2, j) + i] += p * factor * do_[i];
                        gradients[at(1, j) + i] += ds * qkv[at(0, t) + i];
                        gradients[at(0, t) + i] += ds * qkv[at(1, j) + i];
                    }
                }
            }
        }
    }
    Outcome {
        o,
        log_sums,
        gradients,
    }
}

/// Differences as a share of the largest number (or of one: rounded operands leave something
/// where the exact sum cancels).
fn assert_close(name: &str, got: &[f32], want: &[f64], tolerance: f64) {
    let largest = want.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    assert_eq!(got.len(), want.len());
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(got) - want).abs();
        assert!(
            error <= tolerance * largest.max(1.0),
            "{name} at {i}: {got} instead of {want}, largest {largest}"
        );
    }
}

fn check<E: Element>(precision: Precision, dims: Dims, dropout: Option<Dropout>) {
    let layout = Layout::new(dims);
    let mask = dropout.map(Mask::new);
    let qkv = numbers::<E>(layout.len(), 1);
    let do_ = numbers::<E>(dims.batch * dims.positions * dims.heads * dims.width, 2);
    let wide = |x: &[E]| -> Vec<f64> { x.iter().map(|x| f64::from(x.to_f32())).collect() };
    let want = oracle(dims, mask, &wide(&qkv), &wide(&do_));
    let got = kernels(precision, dims, mask, &qkv, &do_);
    let name = |what: &str| format!("{what} {precision:?} {dims:?} {dropout:?}");
    let tolerance = match precision {
        Precision::F32 if !E::ROUNDS => 4e-6,
        _ => 4e-2,
    };
    assert_close(&name("o"), &got.o, &want.o, tolerance);
    assert_close(&name("log sums"), &got.log_sums, &want.log_sums, tolerance);
    // Apart, so that each is measured by its own largest number.
    for part in 0..3 {
        let end = layout.offsets.get(part + 1).copied().unwrap_or(layout.row);
        let cut = layout.offsets[part]..end;
        let of = |rows: &[f32]| -> Vec<f32> {
            let rows = rows.chunks_exact(layout.row);
            rows.flat_map(|row| &row[cut.clone()]).copied().collect()
        };
        let want: Vec<f64> = want
            .gradients
            .chunks_exact(layout.row)
            .flat_map(|row| &row[cut.clone()])
            .copied()
            .collect();
        let name = name(["dq", "dk", "dv"][part]);
        assert_close(&name, &of(&got.gradients), &want, tolerance);
    }
}

#[test]
fn both_passes_agree_with_the_oracle() {
    let groups = [[1, 1], [4, 2], [6, 1]];
    let lengths = [1, 2, 3, 15, 17, 63, 64, 65, 97, 130];
    for (i, width) in [1, 4, 40, 64, 128].into_iter().enumerate() {
        for (j, t) in lengths.into_iter().enumerate() {
            // The oracle is slow: few heads where there is much to do.
            let heads = match t * width {
                0..2600 => groups[(i + j) % 3],
                _ => [2, 1 + j % 2],
            };
            check_all(dims(1 + usize::from(t < 20), t, heads, width));
        }
    }
    // Several blocks of keys and of queries.
    check_all(dims(1, 300, [2, 1], 16));
    check_all(dims(1, 410, [1, 1], 4));
}

fn check_all(dims: Dims) {
    for dropout in [None, Some(DROPOUT)] {
        check::<f32>(Precision::F32, dims, dropout);
        check::<f32>(Precision::Bf16, dims, dropout);
        check::<Bf16>(Precision::Bf16, dims, dropout);
        check::<Bf16>(Precision::F32, dims, dropout);
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    // Of the oracle, which the kernels agree with.
    let dims = dims(1, 5, [2, 1], 3);
    let mask = Some(Mask::new(DROPOUT));
    let layout = Layout::new(dims);
    let wide = |x: Vec<f32>| -> Vec<f64> { x.into_iter().map(f64::from).collect() };
    let qkv = wide(numbers(layout.len(), 3));
    let do_ = wide(numbers(dims.positions * dims.heads * dims.width, 4));
    let loss = |qkv: &[f64]| -> f64 {
        let o = oracle(dims, mask, qkv, &do_).o;
        o.iter().zip(&do_).map(|(o, d)| o * d).sum()
    };
    let gradients = oracle(dims, mask, &qkv, &do_).gradients;
    for i in 0..qkv.len() {
        let [mut up, mut down] = [qkv.clone(), qkv.clone()];
        up[i] += 1e-5;
        down[i] -= 1e-5;
        let slope = (loss(&up) - loss(&down)) / 2e-5;
        assert!((slope - gradients[i]).abs() < 1e-8, "{i}");
    }
}

#[test]
fn large_scores_do_not_overflow() {
    let dims = dims(1, 70, [1, 1], 8);
    let layout = Layout::new(dims);
    let mut qkv = numbers::<f32>(layout.len(), 1);
    for row in qkv.chunks_exact_mut(layout.row) {
        row[..16].iter_mut().for_each(|x| *x *= 100.0);
    }
    let do_ = numbers::<f32>(70 * 8, 2);
    let wide = |x: &[f32]| -> Vec<f64> { x.iter().map(|&x| f64::from(x)).collect() };
    let want = oracle(dims, None, &wide(&qkv), &wide(&do_));
    let got = kernels(Precision::F32, dims, None, &qkv, &do_);
    assert_close("o", &got.o, &want.o, 2e-3);
    assert!(got.gradients.iter().all(|x| x.is_finite()));
}

#[test]
fn the_future_is_not_seen() {
    let dims = dims(1, 70, [2, 1], 8);
    let layout = Layout::new(dims);
    let mut qkv = numbers::<f32>(layout.len(), 1);
    let do_ = numbers::<f32>(70 * 16, 2);
    let before = kernels(Precision::F32, dims, None, &qkv, &do_).o;
    qkv[69 * layout.row + layout.offsets[1]..].fill(3.0);
    let after = kernels(Precision::F32, dims, None, &qkv, &do_).o;
    assert_eq!(before[..69 * 16], after[..69 * 16]);
    assert_ne!(before[69 * 16..], after[69 * 16..]);
}

#[test]
fn nan_reaches_whatever_depends_on_it() {
    let dims = dims(1, 300, [2, 1], 8);
    let layout = Layout::new(dims);
    for precision in [Precision::F32, Precision::Bf16] {
        for (part, t) in [(0, 250), (1, 20), (2, 200)] {
            let mut qkv = numbers::<f32>(layout.len(), 1);
            let do_ = numbers::<f32>(300 * 16, 2);
            let place = t * layout.row + layout.offsets[part];
            qkv[place] = f32::NAN;
            let got = kernels(precision, dims, None, &qkv, &do_);
            // Of the query's own head alone, or of all queries from the key on.
            let last = if part == 0 { t } else { 299 };
            for t in t..=last {
                assert!(got.o[t * 16].is_nan(), "{part} {t}");
                assert!(got.gradients[t * layout.row].is_nan(), "dq {part} {t}");
            }
            // dv does not depend on v.
            assert_eq!(got.gradients[place].is_nan(), part != 2);
            // A tile has fewer rows than this.
            assert!(got.o[..(t - 19) * 16].iter().all(|x| !x.is_nan()));
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let dims = dims(2, 150, [4, 2], 40);
    let layout = Layout::new(dims);
    let qkv = numbers::<f32>(layout.len(), 1);
    let do_ = numbers::<f32>(2 * 150 * 4 * 40, 2);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().unwrap();
        let mask = Some(Mask::new(DROPOUT));
        pool.install(|| kernels(Precision::F32, dims, mask, &qkv, &do_))
    };
    let (one, three) = (run(1), run(3));
    assert_eq!(one.o, three.o);
    assert_eq!(one.log_sums, three.log_sums);
    assert_eq!(one.gradients, three.gradients);
}

#[test]
#[should_panic(expected = "overlap")]
fn overlapping_gradients_are_refused() {
    let dims = dims(1, 3, [2, 2], 4);
    let layout = Layout::new(dims);
    let mut data = vec![0.0f32; layout.len()];
    let gradients = layout.gradients(&mut data);
    let v_offset = gradients.k_offset + 1;
    heads::SharedGradients::new(
        Gradients {
            v_offset,
            ..gradients
        },
        dims,
    );
}
