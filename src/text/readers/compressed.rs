//! Opens a corpus file: plain, gzip or Zstandard, several members or frames end to end.

use super::{Compression, ReadOptions, Source};
use crate::error::{Error, Result};
use ruzstd::decoding::FrameDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what is read from the disk.
struct Counted {
    file: File,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buf)?;
        self.bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// The decompressed bytes of a file.
pub(super) fn open(source: &Source, options: &ReadOptions) -> Result<Box<dyn Read>> {
    let file = File::open(&source.path).map_err(|e| Error::io("read", &source.path, e))?;
    let bytes = options.bytes_read.clone();
    let file = BufReader::with_capacity(256 << 10, Counted { file, bytes });
    Ok(match source.compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        Compression::Zstd => Box::new(ZstdFrames {
            input: file,
            decoder: FrameDecoder::new(),
            in_frame: false,
        }),
    })
}

/// What a failed read means: the disk's fault, or a file that is not what its name says.
/// `place` is where in the decompressed text it happened.
pub(super) fn read_error(source: &Source, error: io::Error, place: String) -> Error {
    let name = match source.compression {
        Compression::None => return Error::io("read", &source.path, error),
        _ if error.raw_os_error().is_some() => return Error::io("read", &source.path, error),
        Compression::Gzip => "gzip",
        Compression::Zstd => "Zstandard",
    };
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the file ends too early".to_owned(),
        _ => error.to_string(),
    };
    Error::input(format!(
        "{} cannot be decompressed as {name} after {place}: {what}; fetch or compress it again",
        source.name
    ))
}

/// All frames of a Zstandard file, checksums verified. The library's own reader stops after one.
struct ZstdFrames<R> {
    input: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    /// Starts the next frame; false at the end of the file.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.input.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.input) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = length as u64;
                    let skipped =
                        io::copy(&mut Read::take(&mut self.input, length), &mut io::sink())?;
                    if skipped < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(e) => return Err(io::Error::other(e)),
            }
        }
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        use ruzstd::decoding::BlockDecodingStrategy::UptoBytes;
        loop {
            if !self.in_frame {
                if !self.next_frame()? {
                    return Ok(0);
                }
                self.in_frame = true;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buf);
            }
            if self.decoder.is_finished() {
                self.in_frame = false;
                let stored = self.decoder.get_checksum_from_data();
                if stored.is_some() && stored != self.decoder.get_calculated_checksum() {
                    return Err(io::Error::other("a frame's checksum is wrong"));
                }
                continue;
            }
            self.decoder
                .decode_blocks(&mut self.input, UptoBytes(256 << 10))
                .map_err(io::Error::other)?;
        }
    }
}
