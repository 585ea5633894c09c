//! What a curve argument says: `FILE`, `FILE#KEY`, `FILE@SPEC`, `FILE#KEY@SPEC`.
//!
//! Names of files may hold `#` and `@` themselves: the longest reading that names a file that exists
//! is taken, the whole argument first. In SPEC the keys `peak=`, `warmup=` and `steps=` say what the
//! schedule language leaves to the run; the rest is [`Shape`]'s. A line of the same form in
//! `FILE.schedule` beside the file stands for `@SPEC` where none is given.

use crate::error::{Error, Result};
use crate::schedule::{Shape, Warmup};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A curve argument, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Argument {
    pub path: PathBuf,
    pub key: Option<String>,
    pub spec: Option<Spec>,
}

/// A schedule as a curve argument gives it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spec {
    /// As the user wrote it.
    pub text: String,
    pub shape: Shape,
    pub peak_lr: Option<f64>,
    pub warmup: Option<Warmup>,
    pub steps: Option<u64>,
}

impl Argument {
    /// # Errors
    /// Nothing of that name exists, or the schedule cannot be read.
    pub fn parse(text: &str) -> Result<Argument> {
        if Path::new(text).exists() {
            return Argument::new(text, None, None);
        }
        for (at, _) in text.rmatch_indices('@') {
            let (left, spec) = (&text[..at], &text[at + 1..]);
            if let Some((path, key)) = file_and_key(left) {
                return Argument::new(path, key, Some(spec));
            }
        }
        if let Some((path, key)) = file_and_key(text) {
            return Argument::new(path, key, None);
        }
        let path = text.split('@').next().unwrap_or(text);
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        Err(Error::io("read", path, missing))
    }

    fn new(path: &str, key: Option<&str>, spec: Option<&str>) -> Result<Argument> {
        let path = PathBuf::from(path);
        let spec = match spec {
            Some(text) => Some(Spec::parse(text)?),
            None => beside(&path)?,
        };
        Ok(Argument {
            path,
            key: key.map(str::to_string),
            spec,
        })
    }
}

fn file_and_key(text: &str) -> Option<(&str, Option<&str>)> {
    let exists = |path: &str| !path.is_empty() && Path::new(path).exists();
    if exists(text) {
        return Some((text, None));
    }
    text.rmatch_indices('#')
        .map(|(at, _)| (&text[..at], &text[at + 1..]))
        .find(|(path, _)| exists(path))
        .map(|(path, key)| (path, Some(key)))
}

/// The schedule in `FILE.schedule`.
fn beside(path: &Path) -> Result<Option<Spec>> {
    /// A schedule is one line; more is some other file.
    const MOST: u64 = 64 << 10;
    let mut name = path.as_os_str().to_owned();
    name.push(".schedule");
    let path = PathBuf::from(name);
    if !path.is_file() {
        return Ok(None);
    }
    let size = std::fs::metadata(&path)
        .map_err(|e| Error::io("read", &path, e))?
        .len();
    if size > MOST {
        return Err(Error::input(format!(
            "{} is no schedule: it should hold one line such as wsd:fraction=0.2",
            path.display()
        )));
    }
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
    let lines = text.lines().map(str::trim);
    let mut lines = lines.filter(|l| !l.is_empty() && !l.starts_with('#'));
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(Error::input(format!(
            "{} must hold one line, a schedule such as wsd:fraction=0.2,peak=1e-3,steps=5000",
            path.display()
        )));
    };
    let mut spec =
        Spec::parse(line).map_err(|e| Error::input(format!("{}: {e}", path.display())))?;
    // A table that is named there lies beside it.
    if let Shape::Table { path: table } = &spec.shape
        && table.is_relative()
        && let Some(folder) = path.parent()
    {
        spec.shape = Shape::Table {
            path: folder.join(table),
        };
    }
    Ok(Some(spec))
}

impl Spec {
    /// # Errors
    /// An unknown shape or setting, or a value that is no number.
    pub fn parse(text: &str) -> Result<Spec> {
        let (name, tail) = text.trim().split_once(':').unwrap_or((text.trim(), ""));
        let mut spec = Spec {
            text: text.trim().to_string(),
            shape: Shape::Constant,
            peak_lr: None,
            warmup: None,
            steps: None,
        };
        // A table's tail is a path, commas and all.
        if name.trim().eq_ignore_ascii_case("table") {
            spec.shape = Shape::from_str(text)?;
            return Ok(spec);
        }
        let mut rest = Vec::new();
        for part in tail.split(',') {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim();
            match key.trim() {
                "peak" | "peak_lr" | "lr" => spec.peak_lr = Some(number("peak", value)?),
                "steps" => {
                    spec.steps = Some(value.replace('_', "").parse().map_err(|_| {
                        Error::input(format!("steps must be a whole number, not '{value}'"))
                    })?);
                }
                "warmup" => spec.warmup = Some(Warmup::from_str(value)?),
                _ => rest.push(part),
            }
        }
        let rest = rest.join(",");
        let shape = if rest.trim().is_empty() {
            name.to_string()
        } else {
            format!("{name}:{rest}")
        };
        spec.shape = Shape::from_str(&shape)?;
        Ok(spec)
    }
}

fn number(key: &str, text: &str) -> Result<f64> {
    let value = text
        .parse()
        .ok()
        .filter(|v: &f64| v.is_finite() && *v > 0.0);
    value.ok_or_else(|| {
        Error::input(format!(
            "{key} must be a positive number such as 1e-3, not '{text}'"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_own_keys_are_taken_out() {
        let spec =
            Spec::parse("wsd:fraction=0.2,peak=1e-3,decay=sqrt,warmup=300,steps=50_000").unwrap();
        assert_eq!(spec.shape, "wsd:fraction=0.2,decay=sqrt".parse().unwrap());
        assert_eq!((spec.peak_lr, spec.steps), (Some(1e-3), Some(50_000)));
        assert_eq!(spec.warmup, Some(Warmup::Steps(300)));
        assert_eq!(
            Spec::parse("cosine:peak=1").unwrap().shape,
            "cosine".parse().unwrap()
        );
        for bad in [
            "",
            "wsdd",
            "wsd:peak=x",
            "wsd:steps=-1",
            "wsd:peak=nan",
            "wsd:foo=1",
        ] {
            assert!(Spec::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_may_have_odd_names() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, "").unwrap();
            path.to_str().unwrap().to_string()
        };
        let (odd, plain) = (file("a#1@2.csv"), file("b.pkl"));
        let parsed = |text: &str| {
            let a = Argument::parse(text).unwrap();
            (
                a.path.to_str().unwrap().to_string(),
                a.key,
                a.spec.map(|s| s.text),
            )
        };
        assert_eq!(parsed(&odd), (odd.clone(), None, None));
        assert_eq!(
            parsed(&format!("{odd}@cosine")),
            (odd, None, Some("cosine".into()))
        );
        assert_eq!(
            parsed(&format!("{plain}#M:100M_x@wsd:fraction=0.2")),
            (
                plain.clone(),
                Some("M:100M_x".into()),
                Some("wsd:fraction=0.2".into())
            )
        );
        assert_eq!(
            parsed(&format!("{plain}#k")),
            (plain.clone(), Some("k".into()), None)
        );
        std::fs::write(format!("{plain}.schedule"), "# ours\nwsd:steps=9\n").unwrap();
        assert_eq!(parsed(&plain).2.as_deref(), Some("wsd:steps=9"));
        let error = Argument::parse("/nowhere/x.csv@wsd")
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nowhere/x.csv:"), "{error}");
    }
}
