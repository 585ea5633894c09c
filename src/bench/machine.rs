//! The processor by name, and what of its instruction sets matters here.

use serde::Serialize;

/// The machine that numbers hold for.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    /// As this program finds them at run time, narrow to wide.
    pub instruction_sets: Vec<&'static str>,
    /// Threads that the program computes with.
    pub threads: usize,
}

impl Machine {
    /// The machine that this program runs on.
    pub fn here() -> Machine {
        Machine {
            cpu: cpu_name(),
            instruction_sets: instruction_sets(),
            threads: rayon::current_num_threads(),
        }
    }
}

fn cpu_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|rest| rest.split_once(':'));
    match name {
        Some((_, name)) => name.trim().to_string(),
        None => std::env::consts::ARCH.to_string(),
    }
}

#[cfg(target_arch = "x86_64")]
fn instruction_sets() -> Vec<&'static str> {
    let mut list = Vec::new();
    let mut add = |has: bool, name| {
        if has {
            list.push(name);
        }
    };
    add(is_x86_feature_detected!("avx2"), "avx2");
    add(is_x86_feature_detected!("fma"), "fma");
    add(is_x86_feature_detected!("avx512f"), "avx512f");
    add(is_x86_feature_detected!("avx512bw"), "avx512bw");
    add(is_x86_feature_detected!("avx512vnni"), "avx512vnni");
    add(is_x86_feature_detected!("avx512bf16"), "avx512bf16");
    list
}

#[cfg(target_arch = "aarch64")]
fn instruction_sets() -> Vec<&'static str> {
    let mut list = vec!["neon"];
    if std::arch::is_aarch64_feature_detected!("bf16") {
        list.push("bf16");
    }
    list
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn instruction_sets() -> Vec<&'static str> {
    Vec::new()
}

/// Bytes of the last-level cache, where the system tells.
pub fn last_level_cache() -> Option<usize> {
    let size = |index: usize| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
        let text = std::fs::read_to_string(path).ok()?;
        let text = text.trim();
        let (digits, unit) = text.split_at(text.len().checked_sub(1)?);
        let scale = match unit {
            "K" => 1 << 10,
            "M" => 1 << 20,
            _ => return text.parse().ok(),
        };
        Some(digits.parse::<usize>().ok()? * scale)
    };
    (0..6).filter_map(size).max()
}
