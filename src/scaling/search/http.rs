//! A training service over HTTP, in the protocol of CS336's third assignment (2025).
//!
//! - `GET /loss?d_model=…&num_layers=…&num_heads=…&batch_size=…&learning_rate=…&train_flops=…&api_key=…`
//!   gives `{"loss": …, "total_flops_used": …}`; out of range is a 4xx with a message; repeats are free.
//! - `GET /total_flops_used?api_key=…` gives a number.
//! - `GET /previous_runs?api_key=…` gives `{"previous_runs": [{…the query…, "loss": …}, …]}`.
//!
//! A question can fail after it was charged: the answer is late, broken or lost. So after every failure
//! that leaves this open, `/previous_runs` is looked through before the question is put again.

use super::Space;
use std::time::Duration;

/// How patient the client is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one answer, from connecting to its last byte.
    pub timeout: Duration,
    /// Attempts at one question.
    pub attempts: u32,
    /// Before the second attempt; doubles from one to the next.
    pub wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            timeout: Duration::from_secs(120),
            attempts: 5,
            wait: Duration::from_millis(500),
        }
    }
}

/// The service at one address.
pub struct Service {
    #[cfg_attr(
        not(feature = "hub"),
        allow(dead_code, reason = "nothing to connect with")
    )]
    address: String,
    #[cfg(feature = "hub")]
    client: client::Client,
    space: Space,
}

#[cfg(not(feature = "hub"))]
impl Service {
    /// # Errors
    /// Always: this build has no HTTP client.
    pub fn connect(
        _: &str,
        _: Option<String>,
        _: Patience,
        _: Space,
    ) -> crate::error::Result<Service> {
        Err(crate::error::Error::input(
            "this build has no HTTP client (the feature `hub` brings it); build with --features hub, or use --oracle table:FILE",
        ))
    }
}

#[cfg(not(feature = "hub"))]
impl super::Oracle for Service {
    fn name(&self) -> String {
        self.address.clone()
    }

    fn space(&self) -> &Space {
        &self.space
    }

    fn ask(&mut self, _: &super::Query) -> crate::error::Result<super::Reply> {
        Err(crate::error::Error::input("this build has no HTTP client"))
    }
}

#[cfg(feature = "hub")]
mod client;
