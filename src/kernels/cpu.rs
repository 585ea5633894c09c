//! What the processor can do, found out once.

use std::sync::OnceLock;

/// Instruction sets that kernels are compiled for, each with those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What the target has without asking: SSE2 on x86-64, NEON on aarch64.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// Products of bf16 pairs: AVX512-BF16.
    Avx512Bf16,
}

impl Level {
    const ALL: [(Level, &'static str); 4] = [
        (Level::Portable, "portable"),
        (Level::Avx2, "avx2"),
        (Level::Avx512, "avx512"),
        (Level::Avx512Bf16, "avx512bf16"),
    ];

    /// As `LEHR_CPU` spells it.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    fn named(name: &str) -> Option<Level> {
        let found = Self::ALL.iter().find(|(_, n)| *n == name);
        found.map(|&(level, _)| level)
    }
}

/// The best level that this processor has.
#[cfg(target_arch = "x86_64")]
pub fn detected() -> Level {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (avx2, avx512, is_x86_feature_detected!("avx512bf16")) {
        (true, true, true) => Level::Avx512Bf16,
        (true, true, false) => Level::Avx512,
        (true, false, _) => Level::Avx2,
        (false, ..) => Level::Portable,
    }
}

/// The best level that this processor has.
#[cfg(not(target_arch = "x86_64"))]
pub fn detected() -> Level {
    Level::Portable
}

/// The level that kernels use: the best there is, or what the environment variable `LEHR_CPU`
/// lowers it to (for tests; read once).
///
/// # Panics
/// `LEHR_CPU` names no level; [`asked`] says so beforehand.
#[inline]
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| match asked() {
        Ok(asked) => asked.map_or(detected(), |level| level.min(detected())),
        Err(message) => panic!("{message}"),
    })
}

/// What `LEHR_CPU` asks for.
///
/// # Errors
/// A name that there is not, in one sentence.
pub fn asked() -> Result<Option<Level>, String> {
    match std::env::var("LEHR_CPU") {
        Ok(name) if !name.is_empty() => match Level::named(&name) {
            Some(level) => Ok(Some(level)),
            None => {
                let names = Level::ALL.map(|(_, name)| name).join(", ");
                Err(format!("LEHR_CPU={name}: choose one of {names}"))
            }
        },
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_found_by_its_name() {
        for (level, name) in Level::ALL {
            assert_eq!(level.name(), name);
            assert_eq!(Level::named(name), Some(level));
        }
        assert_eq!(Level::named("avx"), None);
    }

    #[test]
    fn nothing_absent_is_chosen() {
        assert!(level() <= detected());
    }
}
