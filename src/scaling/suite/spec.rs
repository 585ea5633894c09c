//! What a suite is asked for in: a TOML file, read key by key so that an unknown one names the nearest known.

use super::section::{Section, nearest};
use crate::error::{Error, Result};
use crate::schedule::{Decay, Warmup};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use toml::{Table, Value};

/// A suite as written; nothing of it has met a recipe, a model or a corpus yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The file that it was read from.
    pub path: PathBuf,
    pub name: String,
    /// Where its runs and results go.
    pub out: PathBuf,
    pub recipe: Option<String>,
    pub seeds: Vec<u64>,
    /// Of every size that has none of its own.
    pub horizons: Vec<Horizon>,
    /// Whether every horizon is trained from scratch with a cosine as well.
    pub cosine: bool,
    /// The trunk's constant LR over the cosine's peak.
    pub trunk_lr_ratio: f64,
    pub cooldown: Tailing,
    pub variants: Vec<Variant>,
    /// Keys of the configuration laid over every cell, as `section.key`.
    pub set: Vec<(String, Value)>,
    pub sizes: Vec<Size>,
}

/// How the LR goes down: over which share of a horizon, in what form, to which ratio of the peak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tailing {
    pub fraction: f64,
    pub decay: Decay,
    pub final_ratio: f64,
}

impl Tailing {
    /// Steps of the cooldown that ends at a horizon of `steps`, to the nearest.
    pub fn steps(&self, steps: u64) -> u64 {
        (self.fraction * steps as f64).round() as u64
    }
}

/// A further way down, from the same trunks.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    pub name: String,
    pub tailing: Tailing,
    /// Where it ends; none: at every horizon.
    pub horizons: Vec<Horizon>,
    /// Which sizes; none: all.
    pub sizes: Vec<String>,
}

/// One model.
#[derive(Clone, Debug, PartialEq)]
pub struct Size {
    pub name: String,
    pub recipe: Option<String>,
    /// Of the cosine; none: the recipe's.
    pub peak_lr: Option<f64>,
    pub horizons: Vec<Horizon>,
    pub set: Vec<(String, Value)>,
}

/// How long a model is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Horizon {
    Steps(u64),
    Tokens(u64),
    /// Tokens for each parameter, the head counted and the input embedding not.
    PerParameter(f64),
}

impl Horizon {
    /// In steps of `tokens_per_step`, to the nearest.
    pub fn steps(self, params: f64, tokens_per_step: u64) -> u64 {
        let of = |tokens: f64| (tokens / tokens_per_step as f64).round() as u64;
        match self {
            Horizon::Steps(n) => n,
            Horizon::Tokens(n) => of(n as f64),
            Horizon::PerParameter(ratio) => of(ratio * params),
        }
    }
}

impl std::fmt::Display for Horizon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Horizon::Steps(n) => write!(f, "{n} steps"),
            Horizon::Tokens(n) => write!(f, "{n} tokens"),
            Horizon::PerParameter(ratio) => write!(f, "{ratio}x"),
        }
    }
}

impl FromStr for Horizon {
    type Err = Error;

    /// `2M` or `2M tokens`; `600 steps`; `20x`, tokens a parameter.
    fn from_str(text: &str) -> Result<Horizon> {
        let bad = || {
            Error::input(format!(
                "a horizon is written \"2M\" (tokens), \"20x\" (tokens a parameter) or 600 (steps), not \"{text}\""
            ))
        };
        let lower = text.trim().to_ascii_lowercase();
        if let Some(ratio) = lower.strip_suffix('x') {
            let ratio: f64 = ratio.trim().parse().map_err(|_| bad())?;
            let sensible = ratio > 0.0 && ratio < 1e9;
            return sensible
                .then_some(Horizon::PerParameter(ratio))
                .ok_or_else(bad);
        }
        // A bare number in quotes could be either.
        let with_unit = match lower.ends_with(|c: char| "kmbgt".contains(c)) {
            true => format!("{lower} tokens"),
            false if lower.ends_with(|c: char| c.is_ascii_digit()) => return Err(bad()),
            false => lower,
        };
        match Warmup::from_str(&with_unit) {
            Ok(Warmup::Steps(n)) if n > 0 => Ok(Horizon::Steps(n)),
            Ok(Warmup::Tokens(n)) if n > 0 => Ok(Horizon::Tokens(n)),
            _ => Err(bad()),
        }
    }
}

impl Spec {
    /// Reads a suite.
    ///
    /// # Errors
    /// One sentence that names the file and the key.
    pub fn read(path: &Path) -> Result<Spec> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        Spec::parse(&text, path)
    }

    /// Reads the text of a suite; `path` names it, and its stem is the name that a suite has by default.
    ///
    /// # Errors
    /// As [`Spec::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Spec> {
        let file = path.display();
        let table: Table = text.parse().map_err(|e: toml::de::Error| {
            let line = e
                .span()
                .map_or(1, |s| text[..s.start].matches('\n').count() + 1);
            Error::input(format!(
                "{file}, line {line}: not a suite ({})",
                e.message()
            ))
        })?;
        let mut root = Section::new(file.to_string(), table);
        let sizes = root.tables("size")?;
        let variants = root.tables("cooldown")?;
        let set = root.table("set")?.unwrap_or_default();
        let mut suite = Section::new(
            format!("{file} [suite]"),
            root.table("suite")?.unwrap_or_default(),
        );
        root.finish()?;

        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = suite.text("name")?.unwrap_or_else(|| stem.into_owned());
        check_name(&format!("{file} [suite]"), &name)?;
        let out = suite.text("out")?;
        let ratio = suite.number("trunk_lr_ratio")?.unwrap_or(0.5);
        if !(ratio > 0.0 && ratio <= 10.0) {
            return Err(suite.error(format!(
                "trunk_lr_ratio is {ratio}; it must be above 0 (the paper's is 0.5)"
            )));
        }
        let seeds = suite.seeds()?;
        let cooldown = Section::new(
            format!("{file} suite.cooldown"),
            suite.table("cooldown")?.unwrap_or_default(),
        );
        let cooldown = cooldown.only_tailing()?;
        let spec = Spec {
            out: out.map_or_else(|| Path::new("suites").join(&name), PathBuf::from),
            name,
            recipe: suite.text("recipe")?,
            seeds,
            horizons: suite.horizons()?,
            cosine: suite.flag("cosine")?.unwrap_or(false),
            trunk_lr_ratio: ratio,
            cooldown,
            variants: variants
                .into_iter()
                .enumerate()
                .map(|(i, t)| variant(Section::new(format!("{file} [[cooldown]] {}", i + 1), t)))
                .collect::<Result<_>>()?,
            set: flatten(&format!("{file} [set]"), set)?,
            sizes: sizes
                .into_iter()
                .enumerate()
                .map(|(i, t)| size(Section::new(format!("{file} [[size]] {}", i + 1), t)))
                .collect::<Result<_>>()?,
            path: path.to_path_buf(),
        };
        suite.finish()?;
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<()> {
        let file = self.path.display();
        if self.sizes.is_empty() {
            return Err(Error::input(format!(
                "{file} has no [[size]]; give each model an entry with a name and what it changes, such as model.n_layer = 4"
            )));
        }
        let names = |names: Vec<&str>, what: &str| match duplicate(&names) {
            Some(name) => Err(Error::input(format!(
                "{file}: two {what} are named {name}; every one needs a name of its own"
            ))),
            None => Ok(()),
        };
        names(
            self.sizes.iter().map(|s| s.name.as_str()).collect(),
            "sizes",
        )?;
        let variants: Vec<&str> = self.variants.iter().map(|v| v.name.as_str()).collect();
        names(variants, "[[cooldown]] entries")?;
        for size in &self.sizes {
            if size.horizons.is_empty() && self.horizons.is_empty() {
                return Err(Error::input(format!(
                    "{file}: size {} has no horizons; give it, or [suite], horizons = [\"2M\", \"4M\"]",
                    size.name
                )));
            }
        }
        let known: Vec<&str> = self.sizes.iter().map(|s| s.name.as_str()).collect();
        for variant in &self.variants {
            let unknown = |n: &&String| !known.contains(&n.as_str());
            if let Some(name) = variant.sizes.iter().find(unknown) {
                return Err(Error::input(format!(
                    "{file}: cooldown {} names a size {name} that there is not; the nearest is {}",
                    variant.name,
                    nearest(name, &known)
                )));
            }
        }
        Ok(())
    }
}

fn variant(mut section: Section) -> Result<Variant> {
    let tailing = section.tailing()?;
    let name = match section.text("name")? {
        Some(name) => name,
        None => format!("{}-{}", tailing.decay, tailing.fraction).replace(':', "-"),
    };
    check_name(&section.place, &name)?;
    let variant = Variant {
        name,
        tailing,
        horizons: section.horizons()?,
        sizes: section.texts("sizes")?,
    };
    section.finish()?;
    Ok(variant)
}

/// Sections of the configuration that a size may change, written `model.n_layer = 4`.
const SECTIONS: &[&str] = &[
    "model",
    "data",
    "schedule",
    "optim",
    "train",
    "eval",
    "checkpoint",
    "sample",
    "average",
];

fn size(mut section: Section) -> Result<Size> {
    let Some(name) = section.text("name")? else {
        return Err(section.error("it has no name; give one, such as name = \"small\""));
    };
    check_name(&section.place, &name)?;
    let peak_lr = section.number("peak_lr")?;
    if let Some(lr) = peak_lr.filter(|lr| !(*lr > 0.0 && lr.is_finite())) {
        return Err(section.error(format!("peak_lr is {lr}; it must be above 0")));
    }
    let mut overrides = Table::new();
    for key in SECTIONS {
        if let Some(table) = section.table(key)? {
            overrides.insert(key.to_string(), Value::Table(table));
        }
    }
    let size = Size {
        recipe: section.text("recipe")?,
        horizons: section.horizons()?,
        set: flatten(&section.place, overrides)?,
        name,
        peak_lr,
    };
    section.finish()?;
    Ok(size)
}

/// `section.key = value` pairs of nested tables, without the keys that are the suite's own to set.
fn flatten(place: &str, table: Table) -> Result<Vec<(String, Value)>> {
    let mut pairs = Vec::new();
    for (section, keys) in table {
        let Value::Table(keys) = keys else {
            return Err(Error::input(format!(
                "{place}: the key {section} stands outside a section of the configuration; write train.{section} or model.{section}"
            )));
        };
        for (key, value) in keys {
            let key = format!("{section}.{key}");
            let instead = match key.as_str() {
                "train.iterations" => "the horizons",
                "train.seed" => "seeds",
                "schedule.scheduler" => "cooldown and cosine",
                "checkpoint.at" | "law.redesign" | "law.stop_when" => "the horizons",
                _ => {
                    pairs.push((key, value));
                    continue;
                }
            };
            return Err(Error::input(format!(
                "{place}: {key} is the suite's to set, cell by cell; leave it out, {instead} decide it"
            )));
        }
    }
    Ok(pairs)
}

/// Names become parts of directories and of CSV cells.
fn check_name(place: &str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.is_empty() && name.chars().all(plain) && !name.starts_with('.') {
        return Ok(());
    }
    Err(Error::input(format!(
        "{place}: the name \"{name}\" becomes part of a directory's; give it letters, digits, - _ and . only"
    )))
}

fn duplicate<'a>(names: &[&'a str]) -> Option<&'a str> {
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).find(|w| w[0] == w[1]).map(|w| w[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
        [suite]
        seeds = [0, 1]
        horizons = ["2M", 600, "20x"]
        cooldown = { fraction = 0.1, decay = "sqrt" }
        [set]
        optim.beta2 = 0.99
        [[size]]
        name = "s"
        peak_lr = 3e-3
        model.n_layer = 2
        [[cooldown]]
        fraction = 0.05
        horizons = ["2M"]
    "#;

    fn parse(text: &str) -> Result<Spec> {
        Spec::parse(text, Path::new("small.toml"))
    }

    #[test]
    fn a_suite_is_read() {
        let spec = parse(SMALL).unwrap();
        assert_eq!((spec.name.as_str(), spec.seeds.len()), ("small", 2));
        assert_eq!(spec.out, Path::new("suites/small"));
        let horizons = [
            Horizon::Tokens(2_000_000),
            Horizon::Steps(600),
            Horizon::PerParameter(20.0),
        ];
        assert_eq!(spec.horizons, horizons);
        assert_eq!(spec.cooldown.steps(600), 60);
        assert_eq!(spec.variants[0].name, "linear-0.05");
        assert_eq!(spec.set[0].0, "optim.beta2");
        assert_eq!(spec.sizes[0].set[0].0, "model.n_layer");
        assert!(!spec.cosine);
    }

    #[test]
    fn horizons_in_steps() {
        assert_eq!(Horizon::Tokens(2_000_000).steps(1e6, 1000), 2000);
        assert_eq!(Horizon::PerParameter(20.0).steps(1e6, 1000), 20_000);
        assert_eq!("600 steps".parse::<Horizon>().unwrap(), Horizon::Steps(600));
        for bad in ["600", "", "x", "-2x", "2 miles", "0 steps", "NaNx", "M"] {
            assert!(bad.parse::<Horizon>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |from: &str, to: &str| {
            let text = SMALL.replace(from, to);
            assert_ne!(text, SMALL);
            parse(&text).unwrap_err().to_string()
        };
        for (from, to, says) in [
            ("seeds", "sedes", "no key sedes; the nearest is seeds"),
            ("[0, 1]", "[1, 1]", "different whole numbers"),
            ("fraction = 0.1", "fraction = 1.0", "between 0 and 1"),
            ("fraction = 0.05", "fraction = 0", "[[cooldown]] 1"),
            ("\"sqrt\"", "\"sqr\"", "did you mean"),
            ("name = \"s\"", "name = \"a/b\"", "letters, digits"),
            ("peak_lr", "peaklr", "the nearest is peak_lr"),
            ("model.n_layer", "train.seed", "is the suite's to set"),
            ("[[cooldown]]", "[[cooldowns]]", "the nearest is cooldown"),
            ("\"20x\"", "\"20y\"", "horizon is written"),
            ("optim.beta2", "beta2", "outside a section"),
            (
                "[[size]]",
                "[[size]]\nname=\"s\"\n[[size]]",
                "two sizes are named s",
            ),
        ] {
            let said = error(from, to);
            assert!(said.contains(says) && said.contains("small.toml"), "{said}");
        }
        assert!(
            parse("[suite]")
                .unwrap_err()
                .to_string()
                .contains("[[size]]")
        );
        assert!(parse("[suite").unwrap_err().to_string().contains("line 1"));
    }
}
