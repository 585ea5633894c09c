//! What every reader keeps: what was written comes back, and no bytes whatever make it panic.

use super::tests::fixtures;
use super::writers::{self, Pickle, Rows};
use crate::curve::{LossKind, ReadOptions, read_bytes};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// Runs as they are logged: rising steps, LRs and losses of ordinary sizes.
fn runs() -> impl Strategy<Value = Vec<(u64, f64, f64)>> {
    let row = (1u64..50, 1e-7..1.0f64, 0.5..11.0f64);
    (0u64..3, prop::collection::vec(row, 12..120)).prop_map(|(first, rows)| {
        let mut step = first;
        let next = |(gap, lr, loss)| {
            step += gap;
            (step - 1, lr, loss)
        };
        rows.into_iter().map(next).collect()
    })
}

fn read(bytes: &[u8]) -> Result<(), String> {
    let begun = Instant::now();
    let result = read_bytes(bytes.to_vec(), "file", &ReadOptions::default());
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(20),
        "{} bytes took {took:?}",
        bytes.len()
    );
    match result {
        Ok(curves) => {
            for curve in curves {
                assert!(curve.points.windows(2).all(|w| w[0].step < w[1].step));
                assert!(curve.points.iter().all(|p| p.loss.is_finite()));
                assert!(curve.lrs.len() as u64 >= curve.last_step());
            }
            Ok(())
        }
        Err(e) => {
            let text = e.to_string();
            assert!(text.starts_with("file") || text.contains(" file"), "{text}");
            assert!(!text.contains('\n') && text.len() < 2000, "{text}");
            Err(text)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_comes_back(rows in runs()) {
        // Validation or unknown losses stay at the step of their row.
        let options = ReadOptions {
            kind: Some(LossKind::Validation),
            columns: crate::curve::ColumnMap::default(),
            warmup: None,
            ..ReadOptions::default()
        };
        for (name, write) in writers::ALL {
            let mut options = options.clone();
            // Formats that say whose loss it is are asked for that one.
            if !matches!(*name, "csv" | "tsv" | "json lines") && !name.starts_with("pickle") && *name != "parquet" {
                options.kind = None;
            }
            let curves = read_bytes(write(&rows), "run.x", &options);
            let curves = match curves {
                Ok(curves) => curves,
                Err(e) => return Err(TestCaseError::fail(format!("{name}: {e}"))),
            };
            prop_assert_eq!(curves.len(), 1, "{}", name);
            let curve = &curves[0];
            // Rows 1, 2, … count what they completed.
            let shift = u64::from(rows[0].0 == 1 && rows[1].0 == 2);
            let points: Vec<(u64, f64)> = curve.points.iter().map(|p| (p.step, p.loss)).collect();
            let moved = shift * u64::from(curve.kind == LossKind::TrainBatch);
            let expected: Vec<(u64, f64)> = rows.iter().map(|r| (r.0 - moved, r.2)).collect();
            prop_assert_eq!(points, expected, "{}", name);
            for row in &rows {
                prop_assert_eq!(curve.lrs[(row.0 - shift) as usize], row.1, "{} at {}", name, row.0);
            }
        }
    }

    #[test]
    fn damage_is_an_error_or_another_curve(
        rows in runs(),
        format in 0..writers::ALL.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..5u8), 1..6),
    ) {
        let mut bytes = writers::ALL[format].1(&rows);
        for (at, byte, how) in edits {
            damage(&mut bytes, at, byte, how);
        }
        let _ = read(&bytes);
    }

    #[test]
    fn any_bytes_at_all(bytes in prop::collection::vec(any::<u8>(), 0..400), head in 0..8usize) {
        let heads: [&[u8]; 8] = [b"", b"PAR1", b"\x80\x02", b"\x80\x05", b"{", b"[", b"step,lr,loss\n", b"step 1 loss 2\n"];
        let _ = read(&[heads[head], &bytes].concat());
    }
}

fn damage(bytes: &mut Vec<u8>, at: prop::sample::Index, byte: u8, how: u8) {
    if bytes.is_empty() {
        return;
    }
    let at = at.index(bytes.len());
    match how {
        0 => bytes.truncate(at),
        1 => bytes[at] ^= 1 << (byte & 7),
        2 => bytes[at] = byte,
        3 => bytes.insert(at, byte),
        // Parts that change places.
        _ => bytes.rotate_left(at),
    }
}

#[test]
fn fixtures_cut_anywhere() {
    let mut files: Vec<_> = std::fs::read_dir(fixtures()).unwrap().flatten().collect();
    files.sort_by_key(|f| f.file_name());
    for file in files {
        let bytes = std::fs::read(file.path()).unwrap();
        for end in (0..bytes.len()).step_by(23) {
            let _ = read(&bytes[..end]);
        }
        for at in (0..bytes.len()).step_by(17) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            let _ = read(&bytes);
        }
    }
}

/// Sixteen rows, as a table has them.
fn small() -> Vec<(u64, f64, f64)> {
    (0..16).map(|i| (i, 1e-3, 5.0 - i as f64 / 8.0)).collect()
}

fn hostile(build: impl FnOnce(&mut Pickle)) -> String {
    let mut pickle = Pickle {
        out: vec![0x80, 4],
        protocol: 4,
    };
    build(&mut pickle);
    read(&pickle.out).expect_err("a hostile pickle must be refused")
}

#[test]
fn pickles_that_would_fill_the_memory() {
    // Tuples of the tuple before: 2^60 values, if anybody unfolded them.
    let bomb = hostile(|p| {
        p.op(b"]\x94");
        for _ in 0..60 {
            p.op(b"h\0h\0\x86q\0");
        }
        p.op(b".");
    });
    assert!(bomb.contains("holds no table"), "{bomb}");
    // Lists within lists, deeper than any stack.
    let deep = hostile(|p| {
        p.op(&b"]".repeat(1 << 20))
            .op(&b"a".repeat((1 << 20) - 1))
            .op(b".");
    });
    assert!(deep.contains("holds no table"), "{deep}");
    // A dict that holds itself.
    let cycle = hostile(|p| {
        p.op(b"}\x94(").text("loss").op(b"h\0u.");
    });
    assert!(cycle.contains("file"), "{cycle}");
    // Lengths of things that are not there.
    for code in [
        &b"B\xff\xff\xff\x7f"[..],
        b"X\xff\xff\xff\xff",
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x8a\xff",
    ] {
        let error = hostile(|p| {
            p.op(code);
        });
        assert!(error.contains("ends too early"), "{error}");
    }
    // An array that claims more than its bytes.
    let mut bytes = writers::pickle(&small(), 5);
    let shape = b"J\x10\0\0\0\x86".as_slice();
    let at = bytes.windows(shape.len()).position(|w| w == shape).unwrap();
    bytes[at + 1..at + 5].copy_from_slice(&i32::MAX.to_le_bytes());
    let error = read(&bytes).unwrap_err();
    assert!(error.contains("holds 16 values"), "{error}");
    // More values, objects and names than any table has.
    let many = hostile(|p| {
        p.op(b"(").op(&b"N".repeat(21_000_000));
    });
    assert!(many.contains("more values than any table"), "{many}");
    let many = hostile(|p| {
        p.op(&b")".repeat(5_000_000));
    });
    assert!(many.contains("more objects than any table"), "{many}");
}

#[test]
fn one_table_named_ten_thousand_times_is_charged_each_time() {
    let rows: Vec<_> = (0..4000).map(|i| (i, 1e-3, 5.0 - i as f64 / 4e3)).collect();
    let table = writers::pickle(&rows, 5);
    let mut p = Pickle {
        out: vec![0x80, 5],
        protocol: 5,
    };
    p.op(b"}(")
        .int(0)
        .op(&table[2..table.len() - 1])
        .op(b"\x94");
    for i in 1..9000 {
        p.int(i).op(b"h\0");
    }
    p.op(b"u.");
    let error = read(&p.out).unwrap_err();
    assert!(error.contains("more than 20000000 numbers"), "{error}");
}

#[test]
fn steps_beyond_all_training_cost_nothing() {
    // Curves of few rows whose LRs would fill the memory.
    let rows: Vec<_> = (0..12)
        .map(|i| (i * 1_600_000, 1e-3, 5.0 - i as f64))
        .collect();
    let objects = |rows: &Rows| {
        let row =
            |(s, lr, l): &(u64, f64, f64)| format!("{{\"step\":{s},\"lr\":{lr},\"loss\":{l}}}");
        rows.iter().map(row).collect::<Vec<_>>().join(",")
    };
    let run = objects(&rows);
    let many: Vec<String> = (0..50).map(|i| format!("\"r{i}\":[{run}]")).collect();
    let error = read(format!("{{{}}}", many.join(",")).as_bytes()).unwrap_err();
    assert!(error.contains("steps together"), "{error}");
}

#[test]
fn more_numbers_than_any_curve_has_are_refused() {
    let csv = [
        &b"step,lr,loss"[..],
        &b",x".repeat(17),
        b"\n",
        &[&b"1,1,1"[..], &b",1".repeat(17), b"\n"]
            .concat()
            .repeat(1_050_000),
    ]
    .concat();
    let error = read(&csv).unwrap_err();
    assert!(error.contains("more than 20,000,000 numbers"), "{error}");
    let wide = [&b"step,lr,loss"[..], &b",".repeat(1 << 20)].concat();
    assert!(
        read(&wide)
            .unwrap_err()
            .contains("more than the 10000 columns")
    );
}
