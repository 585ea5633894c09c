//! Where the time of the steps goes, by kind of operation.

use std::time::Duration;

/// All calls of one kind of operation so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Time {
    pub name: &'static str,
    pub calls: u64,
    pub elapsed: Duration,
    /// Floating-point operations of products and attention, as executed.
    pub flops: f64,
    /// Bytes of operands and results, each counted once an operation.
    pub bytes: f64,
}

/// Times by kind, in the order of first use.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Time>);

impl Times {
    pub fn record(&mut self, name: &'static str, elapsed: Duration, flops: f64, bytes: f64) {
        let time = match self.0.iter_mut().find(|t| t.name == name) {
            Some(time) => time,
            None => {
                self.0.push(Time {
                    name,
                    calls: 0,
                    elapsed: Duration::ZERO,
                    flops: 0.0,
                    bytes: 0.0,
                });
                self.0.last_mut().expect("just pushed")
            }
        };
        time.calls += 1;
        time.elapsed += elapsed;
        time.flops += flops;
        time.bytes += bytes;
    }

    pub fn list(&self) -> &[Time] {
        &self.0
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
