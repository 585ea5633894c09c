//! A data set is whole or absent: it is written into `.NAME.tmp` beside `NAME`, then renamed.

use crate::error::{Error, Result};
use crate::files;
use crate::text::dataset::INDEX_FILE;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// The hidden directory; removed unless [`Staging::commit`] is reached.
pub(super) struct Staging {
    dir: PathBuf,
    out: PathBuf,
    /// Held while the directory is in use, so that a leftover can be told from another process.
    _lock: File,
    lock_path: PathBuf,
    committed: bool,
}

impl Staging {
    /// # Errors
    /// When something is at `out` that may not be replaced, when another process prepares the
    /// same data set, or when the place cannot be written to.
    pub(super) fn start(out: &Path, overwrite: bool) -> Result<Staging> {
        check(out, overwrite)?;
        let name = out.file_name().ok_or_else(|| {
            Error::input(format!(
                "--out {} is no name for a directory",
                out.display()
            ))
        })?;
        let parent = parent(out);
        fs::create_dir_all(parent).map_err(|e| Error::io("create the directory", parent, e))?;
        let hidden = |ending: &str| {
            let mut hidden = std::ffi::OsString::from(".");
            hidden.push(name);
            hidden.push(ending);
            parent.join(hidden)
        };
        let (dir, lock_path) = (hidden(".tmp"), hidden(".lock"));
        let lock = File::create(&lock_path).map_err(|e| Error::io("create", &lock_path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::input(format!(
                    "another process is preparing {}; run this again when it is done",
                    out.display()
                )));
            }
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &lock_path, e)),
        }
        // What a killed process left.
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(|e| Error::io("remove", &dir, e))?;
        }
        fs::create_dir(&dir).map_err(|e| Error::io("create the directory", &dir, e))?;
        Ok(Staging {
            dir,
            out: out.to_path_buf(),
            _lock: lock,
            lock_path,
            committed: false,
        })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts the directory in its place.
    pub(super) fn commit(mut self) -> Result<()> {
        files::sync_dir(&self.dir)?;
        let old = self.dir.with_extension("old");
        if self.out.exists() {
            let _ = fs::remove_dir_all(&old);
            fs::rename(&self.out, &old).map_err(|e| Error::io("replace", &self.out, e))?;
        }
        fs::rename(&self.dir, &self.out).map_err(|e| Error::io("create", &self.out, e))?;
        self.committed = true;
        files::sync_dir(parent(&self.out))?;
        let _ = fs::remove_dir_all(&old);
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_dir_all(&self.dir);
        }
        let _ = fs::remove_file(&self.lock_path);
    }
}

fn parent(out: &Path) -> &Path {
    match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Only an empty directory may be used, and only a data set be replaced.
fn check(out: &Path, overwrite: bool) -> Result<()> {
    if !out.exists() {
        return Ok(());
    }
    let shown = out.display();
    if !out.is_dir() {
        return Err(Error::input(format!(
            "{shown} is a file; choose a directory for --out"
        )));
    }
    let mut entries = fs::read_dir(out).map_err(|e| Error::io("read the folder", out, e))?;
    match (entries.next().is_none(), out.join(INDEX_FILE).is_file()) {
        (true, _) => Ok(()),
        (_, true) if overwrite => Ok(()),
        (_, true) => Err(Error::input(format!(
            "{shown} already holds a data set; give --overwrite to replace it, or another --out"
        ))),
        _ => Err(Error::input(format!(
            "{shown} is not empty and is no data set; choose another --out"
        ))),
    }
}
