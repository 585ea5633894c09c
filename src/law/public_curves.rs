//! For tests: the multi-power law's public curves, read from `../shared/curves` where that folder exists.

use std::path::PathBuf;

pub struct Public {
    pub name: &'static str,
    pub lrs: Vec<f64>,
    pub steps: Vec<u64>,
    pub losses: Vec<f64>,
}

pub const WARMUP: u64 = 2160;
const PEAK: f64 = 3e-4;
const END: f64 = 3e-5;

/// The nine runs of one size (25 or 100, in millions); `None`, having said so, where they are not there.
pub fn read(size: u32) -> Option<Vec<Public>> {
    let root = std::env::var_os("LEHR_CURVES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/curves"),
        PathBuf::from,
    );
    let folder = root.join(format!("mpl_{size}"));
    if !folder.is_dir() {
        println!("skipped: {} not found", folder.display());
        return None;
    }
    let names = [
        ("cosine_24000", 24_000),
        ("constant_24000", 24_000),
        ("wsdcon_9", 16_000),
        ("constant_72000", 72_000),
        ("cosine_72000", 72_000),
        ("wsd_20000_24000", 24_000),
        ("wsdld_20000_24000", 24_000),
        ("wsdcon_3", 16_000),
        ("wsdcon_18", 16_000),
    ];
    Some(
        names
            .into_iter()
            .map(|(name, total)| {
                let text = std::fs::read_to_string(folder.join(format!("{name}.csv"))).unwrap();
                let rows: Vec<Vec<f64>> = text
                    .lines()
                    .skip(1)
                    .map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect())
                    .collect();
                let public = Public {
                    name,
                    lrs: (0..total).map(|s| lr(name, s, total)).collect(),
                    steps: rows.iter().map(|row| row[0] as u64).collect(),
                    losses: rows.iter().map(|row| row[2]).collect(),
                };
                for row in &rows {
                    let made = public.lrs[row[0] as usize];
                    assert!(
                        (made / row[1] - 1.0).abs() < 1e-12,
                        "{name} step {}",
                        row[0]
                    );
                }
                public
            })
            .collect(),
    )
}

/// As the repository builds it: the warm-up `linspace(0, peak, 2160)`, the LR of the CSV after it.
fn lr(name: &str, s: usize, total: usize) -> f64 {
    let warmup = WARMUP as usize;
    if s < warmup {
        return PEAK * s as f64 / (warmup - 1) as f64;
    }
    let progress = |from: usize| (s as f64 - from as f64) / (total - from) as f64;
    match name.split('_').next().unwrap() {
        "cosine" => {
            let wave = (std::f64::consts::PI * progress(warmup)).cos();
            END + 0.5 * (PEAK - END) * (1.0 + wave)
        }
        "wsd" if s > 20_000 => PEAK * (END / PEAK).powf(progress(20_000)),
        "wsdld" if s > 20_000 => PEAK + (END - PEAK) * progress(20_000),
        "wsdcon" if s >= 8_000 => name.rsplit('_').next().unwrap().parse::<f64>().unwrap() * 1e-5,
        _ => PEAK,
    }
}

pub fn r2(predicted: &[f64], losses: &[f64]) -> f64 {
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    let left: f64 = predicted
        .iter()
        .zip(losses)
        .map(|(a, b)| (a - b).powi(2))
        .sum();
    1.0 - left / losses.iter().map(|b| (b - mean).powi(2)).sum::<f64>()
}
