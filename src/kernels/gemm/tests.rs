use super::*;
use crate::kernels::element::Bf16;
use std::sync::Mutex;

fn numbers<E: Element>(n: usize, seed: u64) -> Vec<E> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 40) as f32 / 8388608.0 - 1.0
    };
    (0..n).map(|_| E::from_f32(next())).collect()
}

/// C in f64, with operands rounded as the precision asks.
fn reference<E: Element>(precision: Precision, a: Matrix<E>, b: Matrix<E>) -> Vec<f64> {
    let round = |x: E| match precision {
        Precision::F32 => f64::from(x.to_f32()),
        Precision::Bf16 => f64::from(Bf16::from_f32(x.to_f32()).to_f32()),
    };
    let at =
        |m: &Matrix<E>, i: usize, j: usize| round(m.data[i * m.row_stride + j * m.column_stride]);
    let mut c = Vec::new();
    for i in 0..a.rows {
        for j in 0..b.columns {
            c.push((0..a.columns).map(|k| at(&a, i, k) * at(&b, k, j)).sum());
        }
    }
    c
}

fn check<E: Element>(precision: Precision, m: usize, n: usize, k: usize, layout: usize) {
    let (x, y) = (numbers::<E>(m * k, 1), numbers::<E>(k * n, 2));
    let a = match layout & 1 {
        0 => Matrix::dense(&x, m, k),
        _ => Matrix::dense(&x, k, m).t(),
    };
    let b = match layout & 2 {
        0 => Matrix::dense(&y, k, n),
        _ => Matrix::dense(&y, n, k).t(),
    };
    let micro = Micro::of(precision);
    let mut packed = vec![u32::MAX; pack::packed_b_len(micro, k, n)];
    pack_b(precision, b, &mut packed, layout & 4 == 0);
    let out = Mutex::new(vec![f32::NAN; m * n]);
    product(
        precision,
        a,
        PackedB::new(&packed, micro, k, n),
        &|mut tile: Tile| {
            let mut out = out.lock().unwrap();
            for i in 0..tile.rows {
                let start = (tile.row + i) * n + tile.column;
                let old = &mut out[start..start + tile.columns];
                assert!(old.iter().all(|x| x.is_nan()), "an element came twice");
                old.copy_from_slice(tile.line(i));
            }
        },
    );
    let out = out.into_inner().unwrap();
    for (i, (&got, want)) in out.iter().zip(reference(precision, a, b)).enumerate() {
        let error = (f64::from(got) - want).abs();
        assert!(
            error < 1e-6 * (k as f64 + 8.0),
            "{m}×{n}×{k} layout {layout} at {i}: {got} {want}"
        );
    }
}

#[test]
fn products_of_odd_shapes_and_every_layout() {
    let sizes = [1, 2, 5, 13, 15, 31, 33, 64, 97, 130];
    for (i, &m) in sizes.iter().enumerate() {
        for (j, &n) in sizes.iter().enumerate() {
            let k = [1, 2, 3, 40, 65, 300][(i + 3 * j) % 6];
            for layout in 0..8 {
                check::<f32>(Precision::F32, m, n, k, layout);
                check::<f32>(Precision::Bf16, m, n, k, layout);
                check::<Bf16>(Precision::Bf16, m, n, k, layout);
            }
        }
    }
}
