//! Pickles of pandas' own, and pickles that want something else.

use crate::curve::readers::tests::{check, default, fixture};
use crate::curve::readers::writers::{self, Pickle};
use crate::curve::tests::{Files, error, one, shared};
use crate::curve::{WarmUp, read, read_bytes};

#[test]
fn pickles_of_pandas_2_and_3_at_every_protocol() {
    for pandas in ["pandas2_bare", "pandas3_bare", "pandas3"] {
        for protocol in 2..=5 {
            let file = fixture(&format!("{pandas}_{protocol}.pkl"));
            let curves = read(&file, &default()).unwrap();
            let names: Vec<&str> = curves.iter().map(|c| c.name.as_str()).collect();
            let expected = [
                "mixed", "indexed", "picked", "twice", "arrays", "numbered", "big", "wide",
            ];
            assert_eq!(names, expected, "{file}");
            for curve in &curves {
                check(curve, 0.0, &format!("{file}#{}", curve.name));
            }
            let narrowed = one(&format!("{file}#twice"), &default());
            assert_eq!(narrowed, curves[3]);
        }
        check(
            &one(&fixture(&format!("{pandas}_one.pkl")), &default()),
            0.0,
            pandas,
        );
    }
    let error = error(&fixture("pandas3_5.pkl#ones"), &default());
    assert!(
        error.contains("no curve 'ones'; it has mixed, indexed"),
        "{error}"
    );
}

#[test]
fn the_public_pickle_equals_its_tables() {
    let Some(pickle) = shared("gpt_loss+lrs.pkl") else {
        return;
    };
    let pickle = pickle.to_str().unwrap();
    let curves = read(pickle, &default()).unwrap();
    assert_eq!(curves.len(), 3);
    for (curve, name) in curves.iter().zip(["811", "wsd", "cosine"]) {
        assert_eq!(
            curve.name,
            format!("M:100M_gpt_D:20B_scheduler:{name}_rope")
        );
        let Some(csv) = shared(&format!("gpt100m_{name}.csv")) else {
            return;
        };
        let csv = one(csv.to_str().unwrap(), &default());
        assert_eq!(curve.points, csv.points, "{name}");
        assert_eq!(curve.lrs, csv.lrs, "{name}");
        assert_eq!(curve.notes, csv.notes, "{name}");
    }
    let key =
        format!("{pickle}#M:100M_gpt_D:20B_scheduler:wsd_rope@constant:peak=1e-3,warmup=2000");
    let spec = one(&key, &default());
    assert_eq!((spec.warmup, spec.lrs[5000]), (WarmUp::Known(2000), 1e-3));
}

#[test]
fn pickles_that_would_run_something_are_refused_by_name() {
    let files = Files::new();
    let cases: [(&[u8], &str); 12] = [
        (
            b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.",
            "asks for os.system at byte 2;",
        ),
        (
            b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
            "builtins.eval at byte 18;",
        ),
        (
            b"\x80\x04\x8c\x05numpy\x8c\x0bndarray.sys\x93.",
            "numpy.ndarray.sys at byte 22",
        ),
        (
            b"\x80\x02csubprocess\nPopen\n)\x81.",
            "subprocess.Popen at byte 2",
        ),
        (b"\x80\x02(S'ls'\nios\nsystem\n.", "opcode 0x53"),
        (b"\x80\x02Pid\n.", "opcode 0x50"),
        (b"\x80\x05\x97.", "opcode 0x97"),
        (b"\x80\x02}\x82\x01.", "opcode 0x82"),
        (
            b"\x80\x02K\x01K\x02\x85R.",
            "a call of something that cannot be called at byte 7",
        ),
        (b"\x80\x02}(K\x01u.", "a key without a value"),
        (b"\x80\x02].", "it holds no table"),
        (
            b"\x80\x03B\xff\xff\xff\xff12",
            "the file ends too early at byte 2",
        ),
    ];
    for (bytes, part) in cases {
        let path = files.put("a.pkl", bytes);
        let error = error(&path, &default());
        assert!(
            error.contains(part) && error.contains("a.pkl"),
            "{part}: {error}"
        );
    }
}

#[test]
fn tables_without_a_loss_are_passed_over() {
    let rows: Vec<_> = (0..16).map(|i| (i, 1e-3, 5.0 - i as f64 / 8.0)).collect();
    let table = writers::pickle(&rows, 4);
    let table = &table[2..table.len() - 1];
    let at = table.windows(4).rposition(|w| w == b"loss").unwrap();
    let mut other = table.to_vec();
    other[at..at + 4].copy_from_slice(b"size");
    let mut p = Pickle {
        out: vec![0x80, 4],
        protocol: 4,
    };
    p.op(b"}(")
        .text("run")
        .op(table)
        .text("sizes")
        .op(&other)
        .op(b"u.");
    let curves = read_bytes(p.out, "a.pkl", &default()).unwrap();
    assert_eq!((curves.len(), curves[0].name.as_str()), (1, "run"));
    let told = "tables without a loss were passed over: sizes";
    assert_eq!(curves[0].notes.last().map(String::as_str), Some(told));
}
