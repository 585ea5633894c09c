use super::driver::{product_for, product_serial_for};
use super::pack::pack_b_for;
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

fn check<E: Element>(
    micro: &Micro,
    precision: Precision,
    m: usize,
    n: usize,
    k: usize,
    layout: usize,
) {
    let (x, y) = (numbers::<E>(m * k, 1), numbers::<E>(k * n, 2));
    let a = match layout & 1 {
        0 => Matrix::dense(&x, m, k),
        _ => Matrix::dense(&x, k, m).t(),
    };
    let b = match layout & 2 {
        0 => Matrix::dense(&y, k, n),
        _ => Matrix::dense(&y, n, k).t(),
    };
    let mut packed = vec![u32::MAX; pack::packed_b_len(micro, k, n)];
    pack_b_for(micro, b, &mut packed, layout & 4 == 0);
    let packed = PackedB::new(&packed, micro, k, n);
    let out = Mutex::new(vec![f32::NAN; m * n]);
    let finish = |mut tile: Tile| {
        let mut out = out.lock().unwrap();
        for i in 0..tile.rows {
            let start = (tile.row + i) * n + tile.column;
            let old = &mut out[start..start + tile.columns];
            assert!(old.iter().all(|x| x.is_nan()), "an element came twice");
            old.copy_from_slice(tile.line(i));
        }
    };
    product_for(micro, a, packed, &finish);
    let parallel = std::mem::replace(&mut *out.lock().unwrap(), vec![f32::NAN; m * n]);
    product_serial_for(micro, a, packed, &mut |tile| finish(tile));
    assert_eq!(parallel, *out.lock().unwrap(), "{} {m}×{n}×{k}", micro.name);
    for (i, (&got, want)) in parallel.iter().zip(reference(precision, a, b)).enumerate() {
        let error = (f64::from(got) - want).abs();
        assert!(
            error < 1e-6 * (k as f64 + 8.0),
            "{} {m}×{n}×{k} layout {layout} at {i}: {got} {want}",
            micro.name
        );
    }
}

fn check_all(m: usize, n: usize, k: usize, layout: usize) {
    for micro in Micro::available(Precision::F32) {
        check::<f32>(micro, Precision::F32, m, n, k, layout);
        // What is stored as bf16 loses nothing in f32.
        check::<Bf16>(micro, Precision::F32, m, n, k, layout);
    }
    for micro in Micro::available(Precision::Bf16) {
        check::<f32>(micro, Precision::Bf16, m, n, k, layout);
        check::<Bf16>(micro, Precision::Bf16, m, n, k, layout);
    }
}

#[test]
fn products_of_odd_shapes_and_every_layout() {
    let sizes = [1, 2, 5, 13, 15, 31, 33, 64, 97, 130];
    for (i, &m) in sizes.iter().enumerate() {
        for (j, &n) in sizes.iter().enumerate() {
            let k = [1, 2, 3, 40, 65, 300][(i + 3 * j) % 6];
            check_all(m, n, k, (i + j) % 8);
        }
    }
}

#[test]
fn products_of_several_blocks_and_tiles() {
    for (i, (m, n, k)) in [(193, 261, 777), (20, 1601, 300), (260, 200, 769)]
        .into_iter()
        .enumerate()
    {
        check_all(m, n, k, i);
    }
}

#[test]
fn many_rows_have_tiles_as_wide_as_the_product() {
    check_all(3100, 33, 5, 0);
}

/// Packing, for every kind of unit, against number by number; also for those that this CPU
/// cannot multiply.
#[test]
fn panels_hold_every_number_once_and_zeros_beyond() {
    fn check<E: Element>(micro: &Micro, m: Matrix<E>, width: usize) {
        let units = micro.units(m.columns());
        let mut out = vec![u32::MAX; m.rows().div_ceil(width) * width * units];
        pack::panels(micro, m, width, &mut out);
        for (i, &got) in out.iter().enumerate() {
            let (panel, unit, row) = (i / (units * width), i / width % units, i % width);
            let at = |k: usize| {
                let row = panel * width + row;
                let inside = row < m.rows && k < m.columns;
                let x = if inside {
                    m.data[row * m.row_stride + k * m.column_stride]
                } else {
                    E::default()
                };
                x.to_f32()
            };
            let bf16 = |k: usize| u32::from(Bf16::from_f32(at(k)).0);
            let want = match (micro.paired, micro.rounds) {
                (true, _) => bf16(2 * unit) | bf16(2 * unit + 1) << 16,
                (false, true) => bf16(unit) << 16,
                (false, false) => at(unit).to_bits(),
            };
            assert_eq!(got, want, "panel {panel} unit {unit} row {row} of {width}");
        }
    }
    fn check_layouts<E: Element>(micro: &Micro, width: usize) {
        let mut x = numbers::<E>(5000, 3);
        for (i, odd) in [f32::NAN, f32::INFINITY, -0.0, 3.4e38, -1e-40]
            .into_iter()
            .enumerate()
        {
            x[37 * i + 5] = E::from_f32(odd);
        }
        for (rows, k) in [
            (1, 1),
            (3, 17),
            (6, 16),
            (12, 33),
            (32, 64),
            (33, 65),
            (45, 100),
        ] {
            check(micro, Matrix::new(&x, rows, k, k + 3), width);
            check(micro, Matrix::new(&x, k, rows, rows + 5).t(), width);
            let both = Matrix {
                column_stride: 3,
                row_stride: 7,
                ..Matrix::new(&x, rows, k, k)
            };
            check(micro, both, width);
        }
        let wide = numbers::<E>(300 * 20, 4);
        check(micro, Matrix::dense(&wide, 20, 300).t(), width);
    }
    let plain = Micro::available(Precision::F32)[0];
    for (paired, rounds) in [(false, false), (false, true), (true, true)] {
        let micro = Micro {
            paired,
            rounds,
            ..*plain
        };
        for width in [4, 6, 8, 12, 16, 32] {
            check_layouts::<f32>(&micro, width);
            check_layouts::<Bf16>(&micro, width);
        }
    }
}

#[test]
fn columns_of_a_packed_side_are_a_side_of_their_own() {
    let micro = Micro::of(Precision::F32);
    let (k, n) = (7, 5 * micro.columns + 3);
    let (x, y) = (numbers::<f32>(k, 1), numbers::<f32>(k * n, 2));
    let mut packed = vec![0; pack::packed_b_len(micro, k, n)];
    pack_b(Precision::F32, Matrix::dense(&y, k, n), &mut packed, false);
    let packed = PackedB::new(&packed, micro, k, n);
    let a = Matrix::dense(&x, 1, k);
    let row = |b: PackedB| {
        let mut row = Vec::new();
        product_serial(Precision::F32, a, b, &mut |mut tile| {
            row.extend_from_slice(tile.line(0))
        });
        row
    };
    let whole = row(packed);
    for (first, last) in [(0, 1), (1, 3), (0, 5)] {
        let (first, last) = (first * micro.columns, last * micro.columns);
        assert_eq!(row(packed.columns(first..last)), whole[first..last]);
    }
    assert_eq!(
        row(packed.columns(2 * micro.columns..n)),
        whole[2 * micro.columns..]
    );
}

#[test]
fn nan_and_infinity_reach_the_sums_that_they_are_in() {
    for precision in [Precision::F32, Precision::Bf16] {
        let micro = Micro::of(precision);
        let (m, n, k) = (7, 9, 11);
        let mut x = vec![1.0f32; m * k];
        x[3 * k + 10] = f32::NAN;
        x[5 * k] = f32::INFINITY;
        let y = vec![1.0f32; k * n];
        let mut packed = vec![0; pack::packed_b_len(micro, k, n)];
        pack_b(precision, Matrix::dense(&y, k, n), &mut packed, true);
        let b = PackedB::new(&packed, micro, k, n);
        product_serial(precision, Matrix::dense(&x, m, k), b, &mut |mut tile| {
            for i in 0..m {
                for &c in &*tile.line(i) {
                    match i {
                        3 => assert!(c.is_nan()),
                        5 => assert_eq!(c, f32::INFINITY),
                        _ => assert_eq!(c, k as f32),
                    }
                }
            }
        });
    }
}
