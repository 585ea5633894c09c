//! `--svg` and `--png`, and what is printed.

use crate::error::{Error, Result};
use crate::files;
use crate::report::{Chart, png, svg};
use std::io::Write;
use std::path::PathBuf;

/// Where pictures go.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Pictures")]
pub struct PictureFlags {
    /// Write the picture, light and dark
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Write the picture, light
    #[arg(long, value_name = "FILE")]
    pub png: Option<PathBuf>,
}

impl PictureFlags {
    /// Writes what is asked for; returns the lines that say so.
    pub fn write(&self, chart: &Chart) -> Result<String> {
        if let Some(path) = &self.svg {
            files::write(path, svg::draw(chart).as_bytes())?;
        }
        if let Some(path) = &self.png {
            files::write(path, &png::draw(chart)?)?;
        }
        let written = self.svg.iter().chain(&self.png);
        Ok(written
            .map(|p| format!("wrote {}\n", p.display()))
            .collect())
    }
}

/// Prints to the standard output; a reader who has seen enough (`| head`) is no error.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("write to", "the standard output", e))
        }
        _ => Ok(()),
    }
}
