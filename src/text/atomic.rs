//! Files that are whole or absent: written aside, synced, renamed.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// `path` with `.tmp` after its name: where a file is written before it is renamed to `path`.
pub fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

/// Puts `contents` at `path`, so that a reader, or a crash at any moment, finds the old file or
/// the new one, never a part.
///
/// # Errors
/// [`Error::Io`] naming `path` when the disk is full or the place cannot be written to.
pub fn write(path: &Path, contents: &[u8]) -> Result<()> {
    let tmp = aside(path);
    let written = File::create(&tmp).and_then(|mut file| {
        file.write_all(contents)?;
        file.sync_all()
    });
    if let Err(source) = written {
        let _ = fs::remove_file(&tmp);
        return Err(Error::io("write", path, source));
    }
    rename(&tmp, path)
}

/// Renames a synced file over `path` and syncs the directory, after which a power cut cannot
/// undo it.
pub fn rename(from: &Path, path: &Path) -> Result<()> {
    fs::rename(from, path).map_err(|e| Error::io("write", path, e))?;
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => sync_dir(dir),
        _ => sync_dir(Path::new(".")),
    }
}

/// Syncs a directory's entries. Only Unix lets a program open a directory for that; elsewhere
/// the file system's own journal has to do.
pub fn sync_dir(dir: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(dir)
            .and_then(|d| d.sync_all())
            .map_err(|e| Error::io("sync the directory", dir, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn full_disk_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write(&path, b"one").unwrap();
        std::os::unix::fs::symlink("/dev/full", aside(&path)).unwrap();
        let message = write(&path, b"two").unwrap_err().to_string();
        assert!(
            message.contains("a.json") && message.contains("free some space"),
            "{message}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
