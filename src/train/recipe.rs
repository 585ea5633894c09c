//! Layers of configuration: the default recipe, a named recipe or file, flags, `--set`.

use super::config::RunConfig;
use crate::error::{Error, Result};
use crate::model::ModelConfig;
use std::path::Path;
use toml::{Table, Value};

/// Recipes that ship inside the program, by name.
pub const RECIPES: &[(&str, &str)] = &[
    ("default", include_str!("../../configs/default.toml")),
    (
        "shakespeare-char",
        include_str!("../../configs/shakespeare-char.toml"),
    ),
    ("gpt2-124m", include_str!("../../configs/gpt2-124m.toml")),
    ("llama-100m", include_str!("../../configs/llama-100m.toml")),
    (
        "bench-gpt2-10m",
        include_str!("../../configs/bench-gpt2-10m.toml"),
    ),
    (
        "bench-llama-100m",
        include_str!("../../configs/bench-llama-100m.toml"),
    ),
    (
        "bench-llama-360m",
        include_str!("../../configs/bench-llama-360m.toml"),
    ),
    (
        "cooldown-33m",
        include_str!("../../configs/cooldown-33m.toml"),
    ),
    (
        "cooldown-53m",
        include_str!("../../configs/cooldown-53m.toml"),
    ),
    (
        "cooldown-60m",
        include_str!("../../configs/cooldown-60m.toml"),
    ),
    (
        "cooldown-93m",
        include_str!("../../configs/cooldown-93m.toml"),
    ),
    (
        "cooldown-124m",
        include_str!("../../configs/cooldown-124m.toml"),
    ),
    (
        "cooldown-151m",
        include_str!("../../configs/cooldown-151m.toml"),
    ),
    (
        "cooldown-210m",
        include_str!("../../configs/cooldown-210m.toml"),
    ),
    (
        "cooldown-360m",
        include_str!("../../configs/cooldown-360m.toml"),
    ),
];

/// A configuration being put together, layer over layer.
pub struct Layers {
    table: Table,
}

impl Layers {
    /// Starts from the default recipe, which holds every key.
    pub fn new() -> Layers {
        let table = RECIPES[0].1.parse().expect("the default recipe is TOML");
        Layers { table }
    }

    /// Lays a recipe over: the name of one that ships, or a file.
    ///
    /// # Errors
    /// No such file (naming the nearest recipe), TOML that cannot be read, an unknown key.
    pub fn recipe(&mut self, name_or_file: &str) -> Result<()> {
        let shipped = RECIPES.iter().find(|(name, _)| *name == name_or_file);
        let text = match shipped {
            Some((_, text)) => text.to_string(),
            None => read_recipe(name_or_file)?,
        };
        let layer: Table = text.parse().map_err(|e: toml::de::Error| {
            let line = e
                .span()
                .map_or(1, |s| text[..s.start].matches('\n').count() + 1);
            Error::input(format!(
                "{name_or_file}, line {line}: not a recipe ({})",
                e.message()
            ))
        })?;
        for (section, keys) in layer {
            let Value::Table(keys) = keys else {
                return Err(Error::input(format!(
                    "{name_or_file}: the key {section} stands outside a section; keys live in sections such as [train]"
                )));
            };
            for (key, value) in keys {
                self.set(&format!("{section}.{key}"), value, name_or_file)?;
            }
        }
        Ok(())
    }

    /// Sets one key, `section.key`; `origin` is the flag or file that asks for it.
    ///
    /// # Errors
    /// An unknown key (naming the nearest), or a value of another type.
    pub fn set(&mut self, key: &str, value: Value, origin: &str) -> Result<()> {
        let slot = key
            .split_once('.')
            .and_then(|(section, key)| self.table.get_mut(section)?.as_table_mut()?.get_mut(key));
        let Some(slot) = slot else {
            let known = self.keys();
            return Err(Error::input(format!(
                "{origin}: there is no key {key}; the nearest is {}",
                nearest(key, known.iter().map(String::as_str))
            )));
        };
        let value = match (&*slot, value) {
            (Value::Float(_), Value::Integer(n)) => Value::Float(n as f64),
            (Value::String(_), v @ (Value::Integer(_) | Value::Float(_))) => {
                Value::String(v.to_string())
            }
            (_, v) => v,
        };
        if std::mem::discriminant(&*slot) != std::mem::discriminant(&value) {
            return Err(Error::input(format!(
                "{origin}: {key} takes {}, such as {slot}, and not {value}",
                type_name(slot)
            )));
        }
        *slot = value;
        Ok(())
    }

    /// Lays `--set section.key=value` over; the value is read as TOML, or else as a string.
    pub fn assign(&mut self, assignment: &str) -> Result<()> {
        let Some((key, text)) = assignment.split_once('=') else {
            return Err(Error::input(format!(
                "--set {assignment}: write it as section.key=value, for example --set train.seed=1"
            )));
        };
        let value = format!("v = {text}")
            .parse::<Table>()
            .ok()
            .and_then(|mut t| t.remove("v"))
            .unwrap_or_else(|| Value::String(text.to_string()));
        self.set(key.trim(), value, &format!("--set {assignment}"))
    }

    /// Takes the sizes of an existing model over, for a run that starts from its weights.
    pub fn adopt_model(&mut self, m: &ModelConfig, origin: &str) -> Result<()> {
        let whole = |n: usize| Value::Integer(n as i64);
        for (key, value) in [
            ("model.family", Value::String(m.family.to_string())),
            ("model.n_layer", whole(m.n_layer)),
            ("model.n_head", whole(m.n_head)),
            ("model.n_kv_head", whole(m.n_kv_head)),
            ("model.n_embd", whole(m.n_embd)),
            ("model.intermediate_size", whole(m.intermediate_size)),
            ("model.tied", Value::Boolean(m.tied)),
            ("model.norm_eps", Value::Float(m.norm_eps)),
            ("model.rope_theta", Value::Float(m.rope_theta)),
            ("model.init_std", Value::Float(m.init_std)),
            ("data.vocab_size", whole(m.vocab_size)),
        ] {
            self.set(key, value, origin)?;
        }
        Ok(())
    }

    /// The value that a key has so far.
    pub fn get(&self, section: &str, key: &str) -> Option<&Value> {
        self.table.get(section)?.get(key)
    }

    /// The resolved configuration, validated.
    pub fn finish(self) -> Result<RunConfig> {
        let config: RunConfig = self.table.try_into().map_err(|e: toml::de::Error| {
            Error::input(format!("the configuration: {}", e.message()))
        })?;
        config.validate()?;
        Ok(config)
    }

    fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for (section, table) in &self.table {
            for (key, _) in table.as_table().into_iter().flatten() {
                keys.push(format!("{section}.{key}"));
            }
        }
        keys
    }
}

impl Default for Layers {
    fn default() -> Self {
        Layers::new()
    }
}

fn read_recipe(name_or_file: &str) -> Result<String> {
    let path = Path::new(name_or_file);
    if !path.exists() {
        let names = RECIPES.iter().map(|(name, _)| *name);
        return Err(Error::input(format!(
            "--config {name_or_file}: no such file, and no recipe of that name; the nearest recipe is {}",
            nearest(name_or_file, names)
        )));
    }
    std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))
}

/// The candidate closest to `word`, by edits; a key alone (`seed`) also finds `train.seed`.
fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> &'a str {
    let distance = |candidate: &str| {
        let tail = candidate.rsplit('.').next().unwrap_or(candidate);
        strsim::damerau_levenshtein(word, candidate).min(strsim::damerau_levenshtein(
            word.rsplit('.').next().unwrap_or(word),
            tail,
        ))
    };
    candidates
        .min_by_key(|c| (distance(c), c.len()))
        .unwrap_or("none")
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        _ => "another kind of value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_resolves() {
        for (name, _) in RECIPES {
            let mut layers = Layers::new();
            layers.recipe(name).unwrap();
            layers.finish().unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }

    #[test]
    fn later_layers_win_and_types_are_kept() {
        let mut layers = Layers::new();
        layers.assign("schedule.peak_lr=1").unwrap();
        layers
            .assign("schedule.scheduler=cosine:final=0.1")
            .unwrap();
        layers.assign("schedule.warmup=300").unwrap();
        let c = layers.finish().unwrap();
        assert_eq!(c.schedule.peak_lr, 1.0);
        assert_eq!(c.schedule.scheduler, "cosine:final=0.1");
        assert_eq!(c.schedule.warmup, "300");
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        let error = |a: &str| Layers::new().assign(a).unwrap_err().to_string();
        assert!(
            error("train.sede=1").contains("train.seed"),
            "{}",
            error("train.sede=1")
        );
        assert!(error("iterations=1").contains("train.iterations"));
        assert!(error("train.seed=abc").contains("a whole number"));
        assert!(error("train.seed").contains("section.key=value"));
    }

    #[test]
    fn differences_name_keys() {
        let a = Layers::new().finish().unwrap();
        let mut b = a.clone();
        b.train.seed = 7;
        b.checkpoint.every = 3;
        assert_eq!(b.differences(&a), ["train.seed is 7 and was 0"]);
    }
}
