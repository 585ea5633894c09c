//! The one error type: what a user reads when something cannot be done.

use std::path::{Path, PathBuf};

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be done. `Display` is the sentence the user sees, so every
/// message says what is wrong, where (file, line, flag), and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Input that cannot be used: a flag, a config key, a file's contents.
    #[error("{0}")]
    Input(String),
    /// The operating system refused something.
    #[error("cannot {doing} {path}: {source}{}", advice(.source))]
    Io {
        /// What was being done, as a verb phrase: "read", "create the directory".
        doing: String,
        path: PathBuf,
        source: std::io::Error,
    },
    /// A file that Lehr wrote, or was told to trust, does not hold what it must.
    #[error("{path} is damaged: {what}")]
    Corrupt { path: PathBuf, what: String },
    /// The tensor backend failed: a fault of the program or of the device, not of the input.
    #[error("{0}")]
    Backend(Box<dyn std::error::Error + Send + Sync>),
    /// The user asked to stop (Ctrl-C); everything worth keeping has been saved.
    #[error("{0}")]
    Interrupted(String),
    /// The run has ended early because it was told to under a condition that holds; everything has been saved.
    #[error("{0}")]
    Ended(String),
}

impl Error {
    pub fn input(message: impl Into<String>) -> Self {
        Error::Input(message.into())
    }

    pub fn io(doing: impl Into<String>, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io {
            doing: doing.into(),
            path: path.as_ref().to_path_buf(),
            source,
        }
    }

    pub fn corrupt(path: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Error::Corrupt {
            path: path.as_ref().to_path_buf(),
            what: what.into(),
        }
    }

    pub fn backend(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Backend(source.into())
    }

    /// The process exit code: 130 as shells report Ctrl-C, 3 of a run that a condition ended, otherwise 1 (clap itself
    /// exits with 2).
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Interrupted(_) => 130,
            Error::Ended(_) => 3,
            _ => 1,
        }
    }
}

fn advice(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind::*;
    match source.kind() {
        StorageFull | QuotaExceeded => {
            "; free some space and go on, what was saved before is intact"
        }
        PermissionDenied | ReadOnlyFilesystem => "; choose a place that you may write to",
        _ => "",
    }
}
