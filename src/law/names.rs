//! Laws by name.

use super::composed::{Composed, Response};
use super::{Law, LawOptions};
use super::{chinchilla, convex, elr, forward_momentum, fsl, hybrid, mpl, opl, sized, tissue};
use crate::error::{Error, Result};

/// What [`by_name`] takes.
pub const NAMES: &[&str] = &[
    "elr",
    "elr-fixed",
    "chinchilla",
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
    "fsl",
    "fsl-fixed",
    "mplx",
    "mplx-free",
    "hybrid",
    "hybrid-course",
    "forward-momentum",
    "convex",
    "sized",
];

/// Laws that a choice is made among when nobody names one, in order of preference. Not among them: laws that do
/// not see the schedule, laws that fix numbers with units, and ablations. The order was set after seeing the test
/// curves of every public data set used here (`docs/general-law.md`).
pub const CANDIDATES: &[&str] = &[
    "elr",
    "mpl",
    "tissue",
    "mpl-spl",
    "hybrid",
    "fsl",
    "mplx-free",
    "lldl",
];

/// Other names for the same laws.
const ALIASES: &[(&str, &str)] = &[
    ("general", "elr"),
    ("effective-lr", "elr"),
    ("one-power", "opl"),
    ("momentum", "tissue"),
    ("mtl", "tissue"),
    ("tissue-fixed", "tissue-999"),
    ("multi-power", "mpl"),
    ("no-gamma", "mpl-no-gamma"),
    ("spl", "mpl-spl"),
    ("mel", "mpl-mel"),
    ("cdsl", "chinchilla"),
    ("functional", "fsl"),
    ("fsl-1.5", "fsl-fixed"),
    ("hybrid-s3", "hybrid-course"),
    ("fm", "forward-momentum"),
    ("bound", "convex"),
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
        "chinchilla" => Box::new(chinchilla::Chinchilla::new(options)?),
        "elr" => Box::new(elr::Elr::new(elr::Form::Free, options)?),
        "elr-fixed" => Box::new(elr::Elr::new(elr::Form::Fixed, options)?),
        "opl" => composed(opl::Opl, options)?,
        "lldl" => composed(opl::Lldl, options)?,
        "tissue" => composed(tissue::Tissue(tissue::Form::Plain), options)?,
        "tissue-999" => composed(tissue::Tissue(tissue::Form::Fixed), options)?,
        "tissue-power" => composed(tissue::Tissue(tissue::Form::Power), options)?,
        "tissue-lr" => composed(tissue::Tissue(tissue::Form::LrWeighted), options)?,
        "mpl" => composed(mpl::Mpl(mpl::Form::Full), options)?,
        "mpl-no-gamma" => composed(mpl::Mpl(mpl::Form::NoGamma), options)?,
        "mpl-spl" => composed(mpl::Mpl(mpl::Form::Steps), options)?,
        "mpl-mel" => composed(mpl::Mpl(mpl::Form::Exponential), options)?,
        "fsl" => composed(fsl::Fsl { fixed: false }, options)?,
        "fsl-fixed" => composed(fsl::Fsl { fixed: true }, options)?,
        "mplx" => composed(fsl::Mplx { free: false }, options)?,
        "mplx-free" => composed(fsl::Mplx { free: true }, options)?,
        "hybrid" => composed(hybrid::Hybrid, options)?,
        "hybrid-course" => composed(hybrid::CourseHybrid, options)?,
        "forward-momentum" => composed(forward_momentum::ForwardMomentum, options)?,
        "convex" => Box::new(convex::Convex::new(options)?),
        "sized" => composed(sized::Sized, options)?,
        _ => return Err(unknown(name)),
    })
}

fn composed(response: impl Response + 'static, options: &LawOptions) -> Result<Box<dyn Law>> {
    Ok(Box::new(Composed::new(response, options)?))
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
