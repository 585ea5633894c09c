//! Curves that a known law wrote, and the binary to run on them.

use assert_cmd::Command;
use serde_json::Value;
use std::fmt::Write;
use std::path::PathBuf;
use tempfile::TempDir;

pub const STEPS: u64 = 3000;
pub const WARMUP: u64 = 100;
pub const PEAK: f64 = 1e-3;

/// `L = L0 + A·S₁^−alpha − B·(peak − lr)`, the law `lldl`.
pub const L0: f64 = 3.0;
pub const A: f64 = 0.5;
pub const ALPHA: f64 = 0.5;
pub const B: f64 = 120.0;

/// LR of update `s` under a shape.
pub fn lr(shape: &str, s: u64, steps: u64, peak: f64) -> f64 {
    if s < WARMUP {
        return peak * (s + 1) as f64 / WARMUP as f64;
    }
    let x = (s - WARMUP) as f64 / (steps - WARMUP) as f64;
    match shape {
        "constant" => peak,
        "cosine" => peak * (0.1 + 0.45 * (1.0 + (std::f64::consts::PI * x).cos())),
        "linear" => peak * (1.0 - x),
        "wsd" => peak * ((1.0 - x) / 0.2).min(1.0),
        other => panic!("no shape {other}"),
    }
}

/// A log with every row, whose losses follow the law with a little noise of its own.
pub fn log(shape: &str, steps: u64, peak: f64, noise: f64, seed: u64) -> String {
    let mut text = String::from("step,lr,loss\n");
    let mut s1 = 0.0f64;
    for t in 1..=steps {
        let lr = lr(shape, t - 1, steps, peak);
        s1 += lr;
        // A hash of step and seed, between −½ and ½.
        let hash = (t.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ seed.wrapping_mul(0xD1B5_4A32_D192_ED03))
        .wrapping_mul(0x2545_F491_4F6C_DD1D);
        let noise = noise * ((hash >> 40) as f64 / (1u64 << 24) as f64 - 0.5);
        let loss = L0 + A * s1.powf(-ALPHA) - B * (peak - lr) + noise;
        // The warm-up has no such law; nothing is fitted there.
        let loss = if t <= WARMUP { 8.0 } else { loss };
        writeln!(text, "{t},{lr:e},{loss:.6}").unwrap();
    }
    text
}

pub struct Place {
    dir: TempDir,
}

impl Place {
    /// Logs of three shapes, with noise of ±.002.
    pub fn new() -> Place {
        let place = Place {
            dir: tempfile::tempdir().unwrap(),
        };
        for (seed, shape) in ["constant", "cosine", "wsd"].into_iter().enumerate() {
            place.write(
                &format!("{shape}.csv"),
                &log(shape, STEPS, PEAK, 0.004, seed as u64),
            );
        }
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn lehr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lehr"));
        command.current_dir(self.dir.path()).args(arguments);
        command
    }

    pub fn said(&self, arguments: &[&str]) -> String {
        let output = self.lehr(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.said(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// The one sentence on stderr of a call that must fail.
    pub fn refused(&self, arguments: &[&str]) -> String {
        crate::common::refused(self.lehr(arguments))
    }

    /// Fits `lldl` to two curves and writes `law.json`.
    pub fn fitted(&self) {
        self.said(&[
            "fit",
            "--law",
            "lldl",
            "--train",
            "constant.csv",
            "cosine.csv",
            "--no-plot",
        ]);
    }
}

pub fn narrow(text: &str) {
    for line in text.lines() {
        assert!(
            line.chars().count() <= 80,
            "{} columns: {line}",
            line.chars().count()
        );
    }
}

pub fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}
