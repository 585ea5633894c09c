//! A log that grows: each look reads only what is new.

use crate::error::{Error, Result};
use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A line without an end by then is none: nothing that a run writes comes near.
const LONGEST_LINE: usize = 16 << 20;
const CHUNK: usize = 1 << 20;

/// Where reading has come to.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    offset: u64,
    /// What was read after the last line break: a line that is still being written.
    open: Vec<u8>,
    /// Lines handed out.
    lines: u64,
    identity: Option<u64>,
}

impl Tail {
    /// The file need not be there yet.
    pub fn new(path: &Path) -> Tail {
        Tail {
            path: path.to_path_buf(),
            offset: 0,
            open: Vec::new(),
            lines: 0,
            identity: None,
        }
    }

    /// Whether the file is no longer the one that was read, or lost lines: a resumed run cuts its log. The next
    /// [`Tail::poll`] then reads from the beginning.
    pub fn restarted(&mut self) -> bool {
        let Ok(metadata) = std::fs::metadata(&self.path) else {
            return false;
        };
        let same = self
            .identity
            .is_none_or(|id| identity(&metadata) == Some(id));
        if same && metadata.len() >= self.offset {
            return false;
        }
        *self = Tail::new(&self.path);
        true
    }

    /// Hands every line completed since to `take`, with its number from 1; whether there was one. A last line
    /// that is still being written waits.
    ///
    /// # Errors
    /// [`Error::Io`] where the file is there but cannot be read; a line beyond all bounds.
    pub fn poll(&mut self, mut take: impl FnMut(u64, &[u8])) -> Result<bool> {
        let io = |e| Error::io("read", &self.path, e);
        let mut file = match File::open(&self.path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            file => file.map_err(io)?,
        };
        self.identity = file.metadata().ok().as_ref().and_then(identity);
        file.seek(SeekFrom::Start(self.offset)).map_err(io)?;
        let mut any = false;
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = file.read(&mut chunk).map_err(io)?;
            if n == 0 {
                return Ok(any);
            }
            self.offset += n as u64;
            for part in chunk[..n].split_inclusive(|b| *b == b'\n') {
                self.open.extend_from_slice(part);
                if part.last() == Some(&b'\n') {
                    self.lines += 1;
                    self.open.pop();
                    take(self.lines, &self.open);
                    self.open.clear();
                    any = true;
                }
            }
            if self.open.len() > LONGEST_LINE {
                return Err(Error::corrupt(
                    &self.path,
                    format!("line {} does not end", self.lines + 1),
                ));
            }
        }
    }
}

/// What tells a file from one put in its place.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    Some(metadata.ino())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines(tail: &mut Tail) -> Vec<(u64, String)> {
        let mut out = Vec::new();
        tail.poll(|n, line| out.push((n, String::from_utf8_lossy(line).into_owned())))
            .unwrap();
        out
    }

    #[test]
    fn reads_what_is_new_and_waits_for_the_end_of_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut tail = Tail::new(&path);
        assert!(lines(&mut tail).is_empty());
        let mut file = File::create(&path).unwrap();
        write!(file, "one\ntw").unwrap();
        assert_eq!(lines(&mut tail), [(1, "one".to_string())]);
        assert!(lines(&mut tail).is_empty());
        write!(file, "o\nthree\n").unwrap();
        assert!(!tail.restarted());
        assert_eq!(
            lines(&mut tail),
            [(2, "two".to_string()), (3, "three".to_string())]
        );
    }

    #[test]
    fn a_log_that_was_cut_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        let mut tail = Tail::new(&path);
        assert_eq!(lines(&mut tail).len(), 3);
        crate::files::write(&path, b"one\nand more than there was before\n").unwrap();
        assert!(tail.restarted());
        assert_eq!(lines(&mut tail).len(), 2);
    }
}
