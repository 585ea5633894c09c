//! Any bytes at all into the reader of loss curves, which chooses the format by content.
//!
//! Whatever comes back must be a curve that keeps its promises, or an error; a panic, a hang, or memory
//! beyond libFuzzer's limit is a finding.

#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../src/curve/mod.rs"]
mod curve;
#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/schedule/mod.rs"]
mod schedule;

use curve::{LossKind, MIN_POINTS, ReadOptions, read_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let options = match data.len() % 3 {
        0 => ReadOptions::default(),
        1 => ReadOptions {
            warmup: Some(data.len() as u64),
            ..ReadOptions::default()
        },
        _ => ReadOptions {
            kind: Some(LossKind::TrainBatch),
            ..ReadOptions::default()
        },
    };
    let Ok(curves) = read_bytes(with_checksums(data), "fuzz", &options) else {
        return;
    };
    for curve in curves {
        assert!(curve.points.len() >= MIN_POINTS);
        assert!(curve.points.windows(2).all(|w| w[0].step < w[1].step));
        assert!(curve.points.iter().all(|p| p.loss.is_finite()));
        assert!(curve.lrs.iter().all(|lr| lr.is_finite() && *lr >= 0.0));
        assert!(curve.lrs.len() as u64 >= curve.last_step());
    }
});

/// Event files with the checksums that they should have, which no mutation would find.
fn with_checksums(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    let name = b"brain.Event:";
    if !data[..data.len().min(64)].windows(name.len()).any(|w| w == name) {
        return data;
    }
    let mut at = 0;
    while let Some(header) = data[at..].first_chunk::<12>() {
        let length = u64::from_le_bytes(std::array::from_fn(|i| header[i]));
        let crc = masked_crc(&data[at..at + 8]);
        data[at + 8..at + 12].copy_from_slice(&crc.to_le_bytes());
        let Some(end) = usize::try_from(length).ok().and_then(|n| (at + 12).checked_add(n)) else {
            break;
        };
        if data.len() < end.saturating_add(4) {
            break;
        }
        let crc = masked_crc(&data[at + 12..end]);
        data[end..end + 4].copy_from_slice(&crc.to_le_bytes());
        at = end + 4;
    }
    data
}

fn masked_crc(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}
