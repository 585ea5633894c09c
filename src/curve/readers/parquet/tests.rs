//! Files of pyarrow, and files that claim what they do not hold.

use crate::curve::readers::tests::{check, default, fixture};
use crate::curve::tests::{error, one};
use crate::curve::{ReadOptions, read_bytes};

#[test]
fn files_of_pyarrow() {
    for name in ["snappy", "plain", "gzip", "lz4", "zstd", "delta", "nested"] {
        let file = fixture(&format!("{name}.parquet"));
        // The LR of row 3 is missing and lies inside a flat stretch.
        check(&one(&file, &default()), 0.0, &file);
    }
    let refused = error(&fixture("brotli.parquet"), &default());
    assert!(
        refused.contains("column step: it is compressed with brotli"),
        "{refused}"
    );
}

fn refusal(bytes: Vec<u8>) -> String {
    read_bytes(bytes, "file", &ReadOptions::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn damage_is_told() {
    let bytes = std::fs::read(fixture("plain.parquet")).unwrap();
    let cut = refusal(bytes[..800].to_vec());
    assert!(
        cut.contains("file cannot be read as Parquet: its footer is missing or damaged"),
        "{cut}"
    );
    let mut fewer = bytes.clone();
    fewer[4..200].fill(0);
    let fewer = refusal(fewer);
    assert!(
        fewer.contains("file cannot be read as Parquet: column step: "),
        "{fewer}"
    );
}

/// A footer of these bytes and nothing else.
fn footer(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u32).to_le_bytes();
    [&b"PAR1"[..], bytes, &length, b"PAR1"].concat()
}

#[test]
fn lists_that_claim_to_be_long_are_not_walked() {
    // Field 9, a list of two thousand million: booleans, empty structs, lists.
    for kind in [1u8, 2, 12, 9] {
        let error = refusal(footer(&[0x99, 0xf0 | kind, 0xff, 0xff, 0xff, 0xff, 7, 0]));
        assert!(
            error.contains("its footer is missing or damaged"),
            "{error}"
        );
    }
    // Lists within lists, without end.
    let error = refusal(footer(&[&[0x99u8][..], &[0x19; 100_000]].concat()));
    assert!(
        error.contains("its footer is missing or damaged"),
        "{error}"
    );
}
