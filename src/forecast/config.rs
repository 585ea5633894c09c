//! `[law]`: what a law does while a run trains.

use super::StopWhen;
use crate::error::{Error, Result};
use crate::law;
use serde::{Deserialize, Serialize};

/// Settings of the live law. None of them but `redesign` changes a bit of the training, and the others only through it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LawConfig {
    /// Whether the run is forecast.
    pub live: bool,
    /// As `lehr fit --law` takes it.
    pub law: String,
    /// Earlier runs of the same model on the same data, one with a decay among them: run directories, or logs.
    pub probes: Vec<String>,
    /// `forecast>LOSS` or `forecast<LOSS`; empty: never.
    pub stop_when: String,
    /// Shares of the run after which its remaining LRs are designed anew, if that gains; rising.
    pub redesign: Vec<f64>,
}

impl Default for LawConfig {
    fn default() -> Self {
        LawConfig {
            live: true,
            law: "tissue".into(),
            probes: Vec::new(),
            stop_when: String::new(),
            redesign: Vec::new(),
        }
    }
}

impl LawConfig {
    /// # Errors
    /// One sentence that names the key.
    pub fn validate(&self) -> Result<()> {
        law::by_name(&self.law, &Default::default())
            .map_err(|e| Error::input(format!("law.law: {e}")))?;
        self.stop_when()?;
        let asked = [
            ("stop_when", !self.stop_when.trim().is_empty()),
            ("redesign", !self.redesign.is_empty()),
        ];
        if let Some((key, _)) = asked.into_iter().find(|(_, asked)| *asked && !self.live) {
            return Err(Error::input(format!(
                "law.{key} needs the live law; set law.live to true (--live-law on)"
            )));
        }
        if let Some(bad) = self.redesign.iter().find(|f| !(**f > 0.0 && **f < 1.0)) {
            return Err(Error::input(format!(
                "law.redesign holds {bad}; shares of the run lie above 0 and below 1, such as 0.5"
            )));
        }
        if self.redesign.windows(2).any(|w| w[0] >= w[1]) {
            return Err(Error::input(
                "the shares of law.redesign must rise, such as 0.25,0.5,0.75",
            ));
        }
        Ok(())
    }

    /// # Errors
    /// A condition that cannot be read.
    pub fn stop_when(&self) -> Result<Option<StopWhen>> {
        match self.stop_when.trim() {
            "" => Ok(None),
            text => text.parse().map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_contradicts_itself_is_refused_by_name() {
        let of = |text: &str| toml::from_str::<LawConfig>(text).unwrap().validate();
        of("").unwrap();
        of("redesign = [0.25, 0.5]\nstop_when = 'forecast>3'").unwrap();
        for (text, word) in [
            ("law = 'moon'", "law.law"),
            ("stop_when = 'loss>3'", "stop_when"),
            ("live = false\nredesign = [0.5]", "law.redesign"),
            ("live = false\nstop_when = 'forecast>3'", "law.stop_when"),
            ("redesign = [0.5, 0.5]", "must rise"),
            ("redesign = [1.0]", "below 1"),
        ] {
            let error = of(text).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
