//! Ctrl-C, SIGTERM and SIGHUP: the first one asks the work at hand to stop cleanly, the second ends the process.

use crate::error::{Error, Result};
use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);
static INSTALLED: Once = Once::new();

/// The flag that Ctrl-C sets; the first call installs the handler.
pub fn stop_flag() -> Result<&'static AtomicBool> {
    install(true)
}

/// As [`stop_flag`], for what stops at once: nothing is said.
pub fn quiet_stop_flag() -> Result<&'static AtomicBool> {
    install(false)
}

fn install(say: bool) -> Result<&'static AtomicBool> {
    let mut outcome = Ok(());
    INSTALLED.call_once(|| {
        outcome = ctrlc::set_handler(move || {
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            if !say {
                return;
            }
            let _ = writeln!(std::io::stderr(), "\nstopping; once more to end at once");
        });
    });
    outcome.map_err(Error::backend)?;
    Ok(&STOP)
}
