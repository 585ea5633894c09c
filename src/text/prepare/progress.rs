//! Who watches a preparation.

/// Told what [`super::prepare`] does; `()` watches nothing.
pub trait Progress {
    /// A new phase begins; `total` is in bytes of the files on disk, 0 when that is not known.
    fn phase(&mut self, _what: &str, _total: u64) {}
    /// How many of the phase's bytes are behind us.
    fn position(&mut self, _bytes: u64) {}
    /// Something that the user should know.
    fn note(&mut self, _message: &str) {}
    /// True once the user has asked to stop.
    fn cancelled(&self) -> bool {
        false
    }
}

impl Progress for () {}
