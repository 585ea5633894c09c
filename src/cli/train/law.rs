//! The flags of `lehr train` that say what a law does while the run trains.

use super::lay;
use crate::error::{Error, Result};
use crate::train::recipe::Layers;
use toml::Value;

/// Under `--scheduler auto`: what is trained until the law has something better, and when it is asked.
const FIRST_GUESS: &str = "wsd:fraction=0.2";
const REDESIGN_AT: [f64; 3] = [0.25, 0.5, 0.75];

#[derive(clap::Args)]
pub struct LawFlags {
    /// The law that forecasts the end of the run as it trains, by name (docs/law-table.md), or
    /// off; tissue if not given
    #[arg(long, value_name = "LAW|off")]
    live_law: Option<String>,
    /// Earlier runs of the same model on the same data, one with a decay among them, that the law
    /// is fitted to as well
    #[arg(long, value_name = "RUN,…", value_delimiter = ',')]
    law_probes: Option<Vec<String>>,
    /// Saves and ends once the whole interval of the forecast lies there: "forecast>3.2"
    #[arg(long, value_name = "CONDITION")]
    stop_when: Option<String>,
    /// Shares of the run at which the law designs the remaining learning rates anew, if it
    /// believes in a gain; with --scheduler auto 0.25,0.5,0.75 if not given
    #[arg(long, value_name = "SHARE,…", value_delimiter = ',')]
    redesign_at: Option<Vec<f64>>,
}

/// The schedule that a run under `--scheduler auto` starts with, where `spec` is that.
pub(super) fn first_guess(spec: &str) -> Option<&'static str> {
    spec.trim()
        .eq_ignore_ascii_case("auto")
        .then_some(FIRST_GUESS)
}

impl LawFlags {
    /// Lays the flags over; `auto` is whether the scheduler is that.
    ///
    /// # Errors
    /// A redesign without a live law.
    pub(super) fn lay(&self, layers: &mut Layers, auto: bool) -> Result<()> {
        let off = self
            .live_law
            .as_deref()
            .is_some_and(|l| l.eq_ignore_ascii_case("off"));
        if off && auto {
            return Err(Error::input(
                "--scheduler auto goes by the live law; leave --live-law off out",
            ));
        }
        let name = self.live_law.clone().filter(|_| !off);
        let live = self.live_law.is_some().then_some(Value::Boolean(!off));
        let probes = self
            .law_probes
            .as_ref()
            .map(|runs| Value::Array(runs.iter().map(|run| Value::String(run.clone())).collect()));
        let default = auto.then(|| REDESIGN_AT.to_vec());
        let redesign = self.redesign_at.clone().or(default);
        let redesign = redesign.map(|at| Value::Array(at.into_iter().map(Value::Float).collect()));
        let flags = [
            ("--live-law", "law.live", live),
            ("--live-law", "law.law", name.map(Value::String)),
            ("--law-probes", "law.probes", probes),
            (
                "--stop-when",
                "law.stop_when",
                self.stop_when.clone().map(Value::String),
            ),
            ("--redesign-at", "law.redesign", redesign),
        ];
        for (flag, key, value) in flags {
            lay(layers, flag, key, value)?;
        }
        Ok(())
    }
}
