//! Reading the `key=value,…` tail of a schedule's spec, and the checks that every shape shares.

use crate::error::{Error, Result};

/// The pairs of one spec, taken out one by one; what is left at the end was not known.
pub struct Keys<'a> {
    shape: &'static str,
    pairs: Vec<(String, &'a str)>,
    known: Vec<&'static str>,
}

impl<'a> Keys<'a> {
    /// Splits `tail`; `shape` is what error messages call the spec.
    ///
    /// # Errors
    /// A part that is not `key=value`, and a key given twice.
    pub fn parse(shape: &'static str, tail: &'a str) -> Result<Self> {
        let mut pairs: Vec<(String, &'a str)> = Vec::new();
        for part in tail.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let Some((key, value)) = part.split_once('=') else {
                return Err(Error::input(format!(
                    "{shape}: '{part}' should read key=value"
                )));
            };
            let key = key.trim().to_ascii_lowercase().replace('-', "_");
            if pairs.iter().any(|(seen, _)| *seen == key) {
                return Err(Error::input(format!("{shape}: {key} is given twice")));
            }
            pairs.push((key, value.trim()));
        }
        let known = Vec::new();
        Ok(Keys {
            shape,
            pairs,
            known,
        })
    }

    /// The value of a setting under any of its spellings, of which the first is the one we write.
    pub fn take(&mut self, names: &[&'static str]) -> Option<&'a str> {
        self.known.push(names[0]);
        let at = self
            .pairs
            .iter()
            .position(|(key, _)| names.contains(&key.as_str()))?;
        Some(self.pairs.remove(at).1)
    }

    /// A ratio, `0.1` or `10%`. Its range is checked when the schedule is built.
    pub fn take_ratio(&mut self, names: &[&'static str]) -> Result<Option<f64>> {
        let shape = self.shape;
        let expected = "a number such as 0.1";
        self.take(names)
            .map(|text| ratio(text).ok_or_else(|| bad(shape, names[0], text, expected)))
            .transpose()
    }

    /// A value of any type that reads itself from text.
    pub fn take_parsed<T: std::str::FromStr>(
        &mut self,
        names: &[&'static str],
        expected: &str,
    ) -> Result<Option<T>> {
        let shape = self.shape;
        self.take(names)
            .map(|text| {
                text.parse()
                    .map_err(|_| bad(shape, names[0], text, expected))
            })
            .transpose()
    }

    /// Values joined by `/`, as in `at=0.8/0.9`.
    pub fn take_list<T: std::str::FromStr>(
        &mut self,
        name: &'static str,
        expected: &str,
    ) -> Result<Option<Vec<T>>> {
        let shape = self.shape;
        self.take(&[name])
            .map(|text| {
                text.split('/')
                    .map(|one| one.parse().map_err(|_| bad(shape, name, one, expected)))
                    .collect()
            })
            .transpose()
    }

    /// Fails on the first pair that nobody took.
    pub fn finish(self) -> Result<()> {
        let Some((key, _)) = self.pairs.first() else {
            return Ok(());
        };
        let shape = self.shape;
        Err(Error::input(if self.known.is_empty() {
            format!("{shape} takes no settings, but {key} was given")
        } else {
            format!(
                "{shape} has no setting '{key}'{}; it takes {}",
                nearest(key, &self.known),
                self.known.join(", ")
            )
        }))
    }
}

fn bad(shape: &str, name: &str, text: &str, expected: &str) -> Error {
    Error::input(format!("{shape}: {name} must be {expected}, not '{text}'"))
}

/// `0.1` or `10%`.
pub fn ratio(text: &str) -> Option<f64> {
    match text.strip_suffix('%') {
        Some(percent) => Some(percent.trim().parse::<f64>().ok()? / 100.0),
        None => text.parse().ok(),
    }
}

/// Refuses what is not in \[0, 1\], NaN included.
pub fn check_ratio(shape: &str, name: &str, value: f64) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::input(format!(
        "{shape}: {name} must be between 0 and 1, not {value}"
    )))
}

/// ` (did you mean 'wsd'?)`, or nothing when no known name is near.
pub fn nearest(name: &str, known: &[&str]) -> String {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .map(|(_, candidate)| format!(" (did you mean '{candidate}'?)"))
        .unwrap_or_default()
}
