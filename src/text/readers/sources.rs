//! From what the user named (files, folders, globs, Hub data sets) to a list of files.

use crate::error::{Error, Result};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    JsonLines,
    Parquet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// A corpus file, and how to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub path: PathBuf,
    /// How messages and the index call it: the path as given, or the file's name on the Hub.
    pub name: String,
    pub format: Format,
    pub compression: Compression,
    /// Bytes on disk.
    pub size: u64,
}

/// A data set on the Hugging Face Hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubId {
    /// `owner/name`.
    pub id: String,
    /// A branch, tag or commit.
    pub revision: Option<String>,
}

/// One item that the user named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    Files(Vec<Source>),
    Hub(HubId),
}

/// Format and compression by name; `None` when the name says nothing.
fn by_name(path: &Path) -> Option<(Format, Compression)> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let (stem, compression) = match name.rsplit_once('.')? {
        (stem, "gz") => (stem, Compression::Gzip),
        (stem, "zst") => (stem, Compression::Zstd),
        _ => (name.as_str(), Compression::None),
    };
    let format = match stem.rsplit_once('.')?.1 {
        "txt" | "text" => Format::Text,
        "jsonl" | "ndjson" | "json" | "json-lines" => Format::JsonLines,
        "parquet" if compression == Compression::None => Format::Parquet,
        _ => return None,
    };
    Some((format, compression))
}

impl Source {
    /// A file that the user named outright: a name that says nothing means plain text.
    pub fn named(path: &Path, name: String) -> Result<Source> {
        let metadata = fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
        if !metadata.is_file() {
            return Err(Error::input(format!(
                "{name} is no regular file; a corpus is read more than once, so save it to a file"
            )));
        }
        let (format, compression) = by_name(path).unwrap_or_else(|| {
            let compression = match path.extension().and_then(|e| e.to_str()) {
                Some("gz") => Compression::Gzip,
                Some("zst") => Compression::Zstd,
                _ => Compression::None,
            };
            (Format::Text, compression)
        });
        Ok(Source {
            path: path.to_path_buf(),
            name,
            format,
            compression,
            size: metadata.len(),
        })
    }

    /// Whether a file of this name would be taken from a folder or from the Hub.
    pub fn is_corpus_name(path: &Path) -> bool {
        by_name(path).is_some()
    }
}

/// Turns each input into files or a Hub data set. A file named twice is read once.
///
/// # Errors
/// When an input does not exist, or names no corpus file.
pub fn resolve(inputs: &[String]) -> Result<Vec<Input>> {
    if inputs.is_empty() {
        return Err(Error::input(
            "no input; name text files, folders, globs or a Hub data set (owner/name)",
        ));
    }
    let mut seen = HashSet::new();
    let mut resolved = Vec::new();
    for input in inputs {
        let paths = match find(input)? {
            Found::Paths(paths) => paths,
            Found::Hub(id) => {
                resolved.push(Input::Hub(id));
                continue;
            }
        };
        let mut files = Vec::new();
        for path in paths {
            let whole = fs::canonicalize(&path).map_err(|e| Error::io("read", &path, e))?;
            if seen.insert(whole) {
                files.push(Source::named(&path, path.display().to_string())?);
            }
        }
        resolved.push(Input::Files(files));
    }
    Ok(resolved)
}

enum Found {
    Paths(Vec<PathBuf>),
    Hub(HubId),
}

fn find(input: &str) -> Result<Found> {
    let path = Path::new(input);
    if path.is_dir() {
        let mut files = Vec::new();
        walk(path, &mut files)?;
        if files.is_empty() {
            return Err(Error::input(format!(
                "the folder {input} holds no corpus file (.txt, .jsonl, .json, .parquet; .gz \
                 and .zst of the first three)"
            )));
        }
        return Ok(Found::Paths(files));
    }
    if path.exists() {
        return Ok(Found::Paths(vec![path.to_path_buf()]));
    }
    if let Some(id) = hub_id(input) {
        return Ok(Found::Hub(id));
    }
    if input.contains(['*', '?', '[']) {
        let bad = |e: String| Error::input(format!("{input} is not a pattern of files: {e}"));
        let visible = glob::MatchOptions {
            require_literal_leading_dot: true,
            ..Default::default()
        };
        let matches = glob::glob_with(input, visible).map_err(|e| bad(e.to_string()))?;
        let mut files = Vec::new();
        for path in matches {
            let path = path.map_err(|e| {
                let at = e.path().to_owned();
                Error::io("read", at, e.into())
            })?;
            match path.is_dir() {
                true => walk(&path, &mut files)?,
                false => files.push(path),
            }
        }
        if files.is_empty() {
            return Err(Error::input(format!("no file matches {input}")));
        }
        return Ok(Found::Paths(files));
    }
    Err(Error::input(format!(
        "there is no file or folder {input}; name text files, folders, quoted globs or a Hub \
         data set (owner/name)"
    )))
}

/// `owner/name[@revision]`, or the same after `hf://datasets/`. A name that ends like a corpus
/// file, or whose first part is a folder here, is taken for a path that does not exist.
fn hub_id(input: &str) -> Option<HubId> {
    let explicit = input.strip_prefix("hf://datasets/");
    let text = explicit.unwrap_or(input);
    let (id, revision) = match text.split_once('@') {
        Some((id, revision)) => (id, Some(revision.to_owned())),
        None => (text, None),
    };
    let (owner, name) = id.split_once('/')?;
    let word = |s: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !s.is_empty() && !s.starts_with('.') && s.chars().all(allowed)
    };
    let plausible = word(owner) && word(name) && revision.as_deref() != Some("");
    let path_like = Source::is_corpus_name(Path::new(id)) || Path::new(owner).is_dir();
    (plausible && (explicit.is_some() || !path_like)).then(|| HubId {
        id: id.to_owned(),
        revision,
    })
}

/// Corpus files below `dir` in order of their names; hidden ones are left alone.
fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let io = |e| Error::io("read the folder", dir, e);
    let mut entries = fs::read_dir(dir)
        .map_err(io)?
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(io)?;
    entries.sort_by_key(|e| e.file_name());
    for entry in entries {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        // A link to a folder is not followed: it may lead back here.
        if entry.file_type().map_err(io)?.is_dir() {
            walk(&path, files)?;
        } else if path.is_file() && Source::is_corpus_name(&path) {
            files.push(path);
        }
    }
    Ok(())
}
