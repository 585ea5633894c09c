//! Averages after the fact, of what a run has saved: checkpoints, or finished windows.
//!
//! In f64, in the order of their steps: the plain mean, or with a decay
//! a ← decay·a + (1 − decay)·w from the first one on.

use super::{ORIGIN_FILE, WINDOW_PREFIX, window_dir};
use crate::average::{Accumulator, AverageDtype};
use crate::error::{Error, Result};
use crate::model::{ModelConfig, Params, hf};
use crate::text::tokenizer::Tokenizer;
use crate::train::evaluate::Evaluation;
use crate::train::rundir::{AVERAGES_DIR, RUN_FILE, TOKENIZER_FILE, saved_steps, step_dir};
use crate::train::setup::Source;
use crate::train::{load, run_file, start};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// `a..b`: steps, both ends among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    pub from: u64,
    pub to: u64,
}

impl FromStr for Steps {
    type Err = Error;

    fn from_str(text: &str) -> Result<Steps> {
        let ends = text.split_once("..");
        let whole = |part: &str| part.trim().trim_start_matches('=').parse::<u64>().ok();
        let Some((from, to)) = ends.and_then(|(a, b)| Some((whole(a)?, whole(b)?))) else {
            return Err(Error::input(format!(
                "--steps {text}: write the first and the last step, such as 800..1000"
            )));
        };
        if to < from {
            return Err(Error::input(format!(
                "--steps {text} ends before it begins; write it {to}..{from}"
            )));
        }
        Ok(Steps { from, to })
    }
}

/// What is averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The checkpoints in these steps, at multiples of `every`.
    Steps { steps: Steps, every: u64 },
    /// The last so many windows.
    Windows(u64),
}

/// The models of a run that are to be averaged.
pub struct Chosen {
    run: PathBuf,
    which: Which,
    /// In the order of their steps.
    models: Vec<(u64, PathBuf)>,
}

/// An average that was made after the fact.
pub struct Average {
    pub config: ModelConfig,
    pub params: Params,
    pub tokenizer: Option<Tokenizer>,
}

/// The held-out losses of an average and of the last model in it.
pub type Losses = (Evaluation, Evaluation);

impl Chosen {
    /// Finds the models in a run.
    ///
    /// # Errors
    /// No run; none of its models is meant, and then which there are; windows of different sizes.
    pub fn find(run: &Path, which: Which) -> Result<Chosen> {
        if !run.join(RUN_FILE).exists() {
            return Err(Error::input(format!(
                "{} holds no run (there is no {RUN_FILE}); give the directory that `lehr train` printed",
                run.display()
            )));
        }
        let models = match which {
            Which::Steps { steps, every } => checkpoints(run, steps, every)?,
            Which::Windows(count) => windows(run, count)?,
        };
        Ok(Chosen {
            run: run.to_path_buf(),
            which,
            models,
        })
    }

    /// The steps of the models, in order; of a window its last.
    pub fn steps(&self) -> Vec<u64> {
        self.models.iter().map(|m| m.0).collect()
    }

    /// Where the average goes if nobody says.
    pub fn default_out(&self, ema: Option<f64>) -> PathBuf {
        let mut name = match self.which {
            Which::Steps { steps, .. } => format!("steps-{}-{}", steps.from, steps.to),
            Which::Windows(count) => format!("last-{count}-windows"),
        };
        if let Which::Steps { every, .. } = self.which
            && every > 1
        {
            name += &format!("-every-{every}");
        }
        if let Some(decay) = ema {
            name += &format!("-ema-{decay}");
        }
        self.run.join(AVERAGES_DIR).join(name)
    }

    /// Whether the models lie at equal distances.
    pub fn evenly_spaced(&self) -> bool {
        let steps = self.steps();
        let gap = |w: &[u64]| w[1] - w[0];
        steps.windows(3).all(|w| gap(&w[..2]) == gap(&w[1..]))
    }

    /// What the directory says about its weights.
    pub fn origin(&self, ema: Option<f64>) -> Value {
        json!({
            "kind": match self.which {
                Which::Steps { .. } => "checkpoints",
                Which::Windows(_) => "windows",
            },
            "steps": self.steps(),
            "decay": ema,
        })
    }

    /// The average: the plain mean, or an exponential one of this decay.
    ///
    /// # Errors
    /// A model that cannot be read, is damaged, or has other sizes than the first.
    pub fn average(&self, ema: Option<f64>) -> Result<Average> {
        let (_, first) = &self.models[0];
        let config = hf::read_config(first)?;
        let mut average: Option<(Accumulator, Params)> = None;
        for ((_, dir), n) in self.models.iter().zip(1u64..) {
            let dir = load::weights_dir(dir)?;
            let its = hf::read_config(&dir)?;
            if its != config {
                return Err(Error::input(format!(
                    "the models in {} and {} have different sizes, so they have no average; leave one out with --steps",
                    first.display(),
                    dir.display()
                )));
            }
            let params = hf::read_params(&dir, &config)?;
            let (average, _) = average.get_or_insert_with(|| {
                let zeros = Accumulator::zeroed(AverageDtype::Float64, params.elements());
                let same = Params::build(params.specs().to_vec(), |_, _| Ok(()));
                (zeros, same.expect("nothing is filled in"))
            });
            match ema {
                _ if n == 1 => average.copy(params.values()),
                Some(decay) => average.approach(params.values(), 1.0 - decay),
                None => average.approach(params.values(), 1.0 / n as f64),
            }
        }
        let (average, mut params) = average.expect("at least one model is chosen");
        average.read(1.0, params.values_mut());
        let tokenizer = Some(self.run.join(TOKENIZER_FILE)).filter(|file| file.is_file());
        Ok(Average {
            config,
            params,
            tokenizer: tokenizer
                .map(|file| Tokenizer::from_file(&file))
                .transpose()?,
        })
    }

    /// The held-out losses of the average and of the last model in it, on the windows and in the
    /// precision of the run's own evaluations.
    ///
    /// # Errors
    /// The run's data set is not there any more.
    pub fn evaluate(&self, average: &Average) -> Result<Losses> {
        let file = run_file::read(&self.run.join(RUN_FILE))?;
        let dataset = file.dataset.ok_or_else(|| {
            Error::input(format!(
                "{} does not say what the run was trained on, so there is nothing to evaluate on; leave --evaluate out, and give `lehr evaluate` a text",
                self.run.join(RUN_FILE).display()
            ))
        })?;
        let source = Source::from_dataset(&dataset, &file.config)?;
        let held_out = start::held_out(&file.config, &source)?;
        let t = &file.config.train;
        let (_, last) = &self.models[self.models.len() - 1];
        let params = hf::read_params(last, &average.config)?;
        let mut engine = (t.device).engine(&average.config, params, t.dtype, false)?;
        let of_last = held_out.evaluate(&mut engine)?;
        engine.swap_weights(&mut average.params.values().to_vec())?;
        Ok((held_out.evaluate(&mut engine)?, of_last))
    }
}

fn checkpoints(run: &Path, steps: Steps, every: u64) -> Result<Vec<(u64, PathBuf)>> {
    if every == 0 {
        return Err(Error::input("--every 0: it must be at least 1"));
    }
    let saved = saved_steps(run)?;
    let meant = |step: &u64| (steps.from..=steps.to).contains(step) && step.is_multiple_of(every);
    let found: Vec<_> = saved.iter().copied().filter(meant).collect();
    if found.is_empty() {
        let multiples = match every {
            1 => String::new(),
            _ => format!(" at multiples of {every}"),
        };
        return Err(Error::input(format!(
            "--steps {}..{}: {} has no checkpoint there{multiples}; it has {} (a run keeps more of them with --keep-last 0)",
            steps.from,
            steps.to,
            run.display(),
            listed(&saved)
        )));
    }
    Ok(found.into_iter().map(|s| (s, step_dir(run, s))).collect())
}

/// The last `count` windows, which must be of one size.
fn windows(run: &Path, count: u64) -> Result<Vec<(u64, PathBuf)>> {
    if count == 0 {
        return Err(Error::input("--windows 0: it must be at least 1"));
    }
    let averages = run.join(AVERAGES_DIR);
    let mut ends = Vec::new();
    for entry in std::fs::read_dir(&averages).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let digits = name.to_str().and_then(|n| n.strip_prefix(WINDOW_PREFIX));
        ends.extend(digits.and_then(|d| d.parse::<u64>().ok()));
    }
    ends.sort_unstable();
    if (ends.len() as u64) < count {
        return Err(Error::input(format!(
            "--windows {count}: {} has {} finished windows; `lehr train --weight-average` makes them",
            run.display(),
            ends.len()
        )));
    }
    let last = ends.split_off(ends.len() - count as usize);
    let mut size = None;
    for &end in &last {
        let file = window_dir(&averages, end).join(ORIGIN_FILE);
        let text = std::fs::read_to_string(&file).map_err(|e| Error::io("read", &file, e))?;
        let origin: Value = serde_json::from_str(&text)
            .map_err(|e| Error::corrupt(&file, format!("it is not JSON ({e})")))?;
        let horizon = origin["horizon"]
            .as_u64()
            .ok_or_else(|| Error::corrupt(&file, "it does not say how long the window is"))?;
        let (first, of) = *size.get_or_insert((end, horizon));
        if of != horizon {
            return Err(Error::input(format!(
                "--windows {count}: the window that ends with step {first} is {of} steps long and that of step {end} {horizon}; give fewer --windows"
            )));
        }
    }
    Ok(last
        .into_iter()
        .map(|end| (end, window_dir(&averages, end)))
        .collect())
}

/// Steps in words: all of a few, the ends of many.
fn listed(steps: &[u64]) -> String {
    let words = |steps: &[u64]| -> Vec<String> { steps.iter().map(u64::to_string).collect() };
    match steps {
        [] => "none at all".to_string(),
        [one] => format!("only that of step {one}"),
        few if few.len() <= 8 => format!("those of steps {}", words(few).join(", ")),
        many => format!(
            "{} from step {} to step {}",
            many.len(),
            many[0],
            many[many.len() - 1]
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let steps: Steps = "800..1000".parse().unwrap();
        assert_eq!((steps.from, steps.to), (800, 1000));
        assert_eq!("5..=5".parse::<Steps>().unwrap(), Steps { from: 5, to: 5 });
        let error = |text: &str| text.parse::<Steps>().unwrap_err().to_string();
        for text in ["800", "800-1000", "..", "a..b", "-1..5", "1...5"] {
            assert!(error(text).contains("such as 800..1000"), "{text}");
        }
        assert!(error("9..3").contains("3..9"));
    }

    #[test]
    fn steps_in_words() {
        assert_eq!(listed(&[]), "none at all");
        assert_eq!(listed(&[7]), "only that of step 7");
        assert_eq!(listed(&[1, 2]), "those of steps 1, 2");
        let many: Vec<u64> = (1..=20).collect();
        assert_eq!(listed(&many), "20 from step 1 to step 20");
    }
}
