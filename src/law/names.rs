//! Laws by name.

use super::composed::Composed;
use super::{Law, LawOptions, mpl, opl, tissue};
use crate::error::{Error, Result};

/// What [`by_name`] takes.
pub const NAMES: &[&str] = &[
    "opl",
    "lldl",
    "tissue",
    "tissue-999",
    "tissue-power",
    "tissue-lr",
    "mpl",
    "mpl-no-gamma",
    "mpl-spl",
    "mpl-mel",
];

/// Other names for the same laws.
const ALIASES: &[(&str, &str)] = &[
    ("one-power", "opl"),
    ("momentum", "tissue"),
    ("mtl", "tissue"),
    ("tissue-fixed", "tissue-999"),
    ("multi-power", "mpl"),
    ("no-gamma", "mpl-no-gamma"),
    ("spl", "mpl-spl"),
    ("mel", "mpl-mel"),
];

/// The law of that name, in any case and with `_` for `-`.
///
/// # Errors
/// An unknown name, naming the nearest known one; a fixed parameter that the law lacks.
pub fn by_name(name: &str, options: &LawOptions) -> Result<Box<dyn Law>> {
    let wanted = name.trim().to_ascii_lowercase().replace('_', "-");
    let wanted = ALIASES
        .iter()
        .find(|(alias, _)| *alias == wanted)
        .map_or(wanted.as_str(), |(_, name)| name);
    Ok(match wanted {
        "opl" => Box::new(Composed::new(opl::Opl, options)?),
        "lldl" => Box::new(Composed::new(opl::Lldl, options)?),
        "tissue" => Box::new(Composed::new(tissue::Tissue(tissue::Form::Plain), options)?),
        "tissue-999" => Box::new(Composed::new(tissue::Tissue(tissue::Form::Fixed), options)?),
        "tissue-power" => Box::new(Composed::new(tissue::Tissue(tissue::Form::Power), options)?),
        "tissue-lr" => Box::new(Composed::new(
            tissue::Tissue(tissue::Form::LrWeighted),
            options,
        )?),
        "mpl" => Box::new(Composed::new(mpl::Mpl(mpl::Form::Full), options)?),
        "mpl-no-gamma" => Box::new(Composed::new(mpl::Mpl(mpl::Form::NoGamma), options)?),
        "mpl-spl" => Box::new(Composed::new(mpl::Mpl(mpl::Form::Steps), options)?),
        "mpl-mel" => Box::new(Composed::new(mpl::Mpl(mpl::Form::Exponential), options)?),
        _ => return Err(unknown(name)),
    })
}

fn unknown(name: &str) -> Error {
    let wanted = name.trim().to_ascii_lowercase().replace('_', "-");
    let nearest = NAMES
        .iter()
        .chain(ALIASES.iter().map(|(alias, _)| alias))
        .max_by(|a, b| {
            strsim::jaro_winkler(a, &wanted).total_cmp(&strsim::jaro_winkler(b, &wanted))
        })
        .expect("there are laws");
    Error::input(format!(
        "there is no law named {name}; did you mean {nearest}? The laws are {}",
        NAMES.join(", ")
    ))
}
