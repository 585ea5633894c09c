//! How the models of a suite, or of runs, were made, so that the next one can be made alike.

use super::curves::run_directories;
use std::path::{Path, PathBuf};

/// What every run of a fit has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub vocab_size: usize,
    pub sequence_length: usize,
    pub tied: bool,
}

/// Of the suite whose directory, or table, `path` is. `None` where it is no suite's, or its runs differ.
pub fn of_suite(path: &Path) -> Option<Origin> {
    let dir = match path.is_dir() {
        true => path,
        false => path.parent()?,
    };
    of_runs(&run_directories(&dir.join("runs")))
}

/// Of runs. `None` without any, where one has no readable `run.toml`, and where they differ.
pub fn of_runs(dirs: &[PathBuf]) -> Option<Origin> {
    let mut all = dirs.iter().map(|d| of_run(d));
    let first = all.next()??;
    all.all(|o| o == Some(first)).then_some(first)
}

fn of_run(dir: &Path) -> Option<Origin> {
    let text = std::fs::read_to_string(dir.join("run.toml")).ok()?;
    let table: toml::Table = text.parse().ok()?;
    let of = |section: &str, key: &str| table.get(section)?.get(key).cloned();
    let size = |section: &str, key: &str| usize::try_from(of(section, key)?.as_integer()?).ok();
    Some(Origin {
        vocab_size: size("run", "vocab_size")?,
        sequence_length: size("train", "sequence_length")?,
        tied: of("model", "tied")?.as_bool()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_differ_have_nothing_in_common() {
        let dir = tempfile::tempdir().unwrap();
        let run = |name: &str, vocab: usize| {
            let path = dir.path().join("runs").join(name);
            std::fs::create_dir_all(&path).unwrap();
            let text = format!(
                "[run]\nvocab_size = {vocab}\n[model]\ntied = false\n[train]\nsequence_length = 64\n"
            );
            std::fs::write(path.join("run.toml"), text).unwrap();
            path
        };
        let (a, b) = (run("a", 300), run("b", 300));
        let found = of_suite(dir.path()).unwrap();
        assert_eq!(
            found,
            Origin {
                vocab_size: 300,
                sequence_length: 64,
                tied: false
            }
        );
        assert_eq!(of_suite(&dir.path().join("results.csv")), Some(found));
        let c = run("c", 301);
        assert_eq!(of_runs(&[a, b]), Some(found));
        assert_eq!(of_suite(dir.path()), None);
        assert_eq!(of_runs(&[]), None);
        assert_eq!(of_runs(&[c.join("no such run")]), None);
    }
}
