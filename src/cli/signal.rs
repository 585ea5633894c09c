//! Ctrl-C: the first one asks the run to save and stop, the second ends the process at once.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

/// A flag that Ctrl-C (or SIGTERM) sets.
pub fn stop_flag() -> Result<&'static AtomicBool> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step; once more to end at once");
    })
    .map_err(Error::backend)?;
    Ok(&STOP)
}
