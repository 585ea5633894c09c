//! `law.json`: a fit on disk.
//!
//! Parameters by name with 90 % intervals, how it was fitted, the scales of its data, the covariance in
//! fitting coordinates (the logarithm of parameters marked so), and the noise. A fit that was read predicts
//! with the same bands; what needs the curves (resampling, profiles) wants a new fit.

use super::coordinates::Coordinates;
use super::fitted::{DataOnly, Fit, FittedCurve, FittedParameter};
use super::noise::Noise;
use super::options::{FitOptions, Residual, S1Offset, Weights};
use crate::error::{Error, Result};
use crate::files;
use crate::law::{self, Law, LawOptions, Scales, WarmupRule};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Version of the format.
const VERSION: u64 = 1;
/// No law is anywhere near this large.
const MOST_BYTES: u64 = 4 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    lehr_law: u64,
    law: String,
    setup: Setup,
    params: Map<String, Value>,
    fit: HowFitted,
    scales: WrittenScales,
    covariance: Vec<Vec<f64>>,
    /// Of a fit with priors: what the data say without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    without_priors: Option<WrittenDataOnly>,
    noise: Noise,
    notes: Vec<String>,
    created_by: String,
}

/// [`LawOptions`] on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Setup {
    s1_offset: bool,
    warmup: String,
    fixed: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HowFitted {
    objective: f64,
    starts: usize,
    agree: usize,
    /// Absent where it is infinite.
    condition: Option<f64>,
    degrees: f64,
    residual: Residual,
    delta: f64,
    from: u64,
    bin: Option<u64>,
    weights: Weights,
    priors: bool,
    seed: u64,
    seconds: f64,
    curves: Vec<FittedCurve>,
}

/// In fitting coordinates.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDataOnly {
    values: Vec<f64>,
    covariance: Vec<Vec<f64>>,
    degrees: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenScales {
    lr: f64,
    s1: f64,
    s1_first: f64,
    steps: f64,
    loss_low: f64,
    loss_high: f64,
}

/// Names of the warm-up rules on disk.
const RULES: [(&str, WarmupRule); 3] = [
    ("ignored", WarmupRule::Ignored),
    ("rise", WarmupRule::Rise),
    ("constant-peak", WarmupRule::ConstantPeak),
];

/// The fit as JSON, as [`write()`] puts it on disk.
pub fn to_json(fit: &Fit) -> Value {
    serde_json::to_value(written(fit)).expect("numbers and strings")
}

/// Writes `fit` to `path`, whole or not at all.
///
/// # Errors
/// [`Error::Io`] naming `path`; a fit with a number that is not finite.
pub fn write(fit: &Fit, path: &Path) -> Result<()> {
    let written = written(fit);
    if let Err(what) = check(&written) {
        return Err(Error::input(format!(
            "this fit cannot be written to {}: {what}",
            path.display()
        )));
    }
    let mut text = serde_json::to_string_pretty(&written).expect("numbers and strings");
    text.push('\n');
    files::write(path, text.as_bytes())
}

/// Reads a fit that [`write()`] wrote.
///
/// # Errors
/// One sentence naming `path`: a file that cannot be opened, that is not JSON or lacks something, that holds a
/// number no fit can have, or that a newer Lehr wrote.
pub fn read(path: &Path) -> Result<Fit> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let mut text = String::new();
    match file.take(MOST_BYTES + 1).read_to_string(&mut text) {
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            return Err(Error::corrupt(path, "it is not text"));
        }
        other => other.map_err(|e| Error::io("read", path, e))?,
    };
    if text.len() as u64 > MOST_BYTES {
        return Err(Error::corrupt(path, "it is far too large for a fitted law"));
    }
    let value: Value = serde_json::from_str(&text)
        .map_err(|e| Error::corrupt(path, format!("it is not JSON: {e}")))?;
    match value.get("lehr_law").and_then(Value::as_u64) {
        Some(VERSION) => {}
        Some(version) => {
            return Err(Error::input(format!(
                "{} is a fitted law of format {version}, and this Lehr reads format {VERSION}: use the Lehr that wrote it",
                path.display()
            )));
        }
        None => {
            return Err(Error::corrupt(
                path,
                "it is not a fitted law (no \"lehr_law\")",
            ));
        }
    }
    let written: Written =
        serde_json::from_value(value).map_err(|e| Error::corrupt(path, e.to_string()))?;
    check(&written)
        .and_then(|()| restore(written))
        .map_err(|what| Error::corrupt(path, what))
}

fn written(fit: &Fit) -> Written {
    let p = fit.params.len();
    let setup = fit.law.options();
    let scales = fit.scales;
    let parameters = fit.law.parameters().iter().zip(&fit.params);
    Written {
        lehr_law: VERSION,
        law: fit.law.name().to_string(),
        setup: Setup {
            s1_offset: setup.s1_offset,
            warmup: RULES
                .iter()
                .find(|(_, rule)| *rule == setup.warmup)
                .map_or("ignored", |(name, _)| name)
                .to_string(),
            fixed: setup
                .fixed
                .iter()
                .map(|(name, value)| (name.clone(), Value::from(*value)))
                .collect(),
        },
        params: parameters
            .map(|(law, fitted)| {
                let value = serde_json::to_value(fitted).expect("numbers and strings");
                (law.name.to_string(), value)
            })
            .collect(),
        fit: HowFitted {
            objective: fit.objective,
            starts: fit.starts,
            agree: fit.agree,
            condition: fit.condition.is_finite().then_some(fit.condition),
            degrees: fit.degrees,
            residual: fit.options.residual,
            delta: fit.options.delta,
            from: fit.from,
            bin: fit.options.bin,
            weights: fit.options.weights,
            priors: fit.options.priors,
            seed: fit.options.seed,
            seconds: fit.seconds,
            curves: fit.curves.clone(),
        },
        scales: WrittenScales {
            lr: scales.lr,
            s1: scales.s1,
            s1_first: scales.s1_first,
            steps: scales.steps,
            loss_low: scales.loss_low,
            loss_high: scales.loss_high,
        },
        covariance: fit.covariance.chunks(p).map(<[f64]>::to_vec).collect(),
        without_priors: fit.data_only.as_ref().map(|own| WrittenDataOnly {
            values: own.u.clone(),
            covariance: own.covariance.chunks(p).map(<[f64]>::to_vec).collect(),
            degrees: own.degrees,
        }),
        noise: fit.noise.clone(),
        notes: fit.notes.clone(),
        created_by: concat!("lehr ", env!("CARGO_PKG_VERSION")).to_string(),
    }
}

/// What a number on disk must satisfy before anything is made of it.
fn check(written: &Written) -> std::result::Result<(), String> {
    let p = written.params.len();
    let (fit, scales, noise) = (&written.fit, &written.scales, &written.noise);
    let positive = [
        ("delta", fit.delta),
        ("degrees", fit.degrees),
        ("scales.lr", scales.lr),
        ("scales.s1", scales.s1),
        ("scales.s1_first", scales.s1_first),
        ("scales.steps", scales.steps),
    ];
    let not_negative = [
        ("objective", fit.objective),
        ("noise.sd", noise.sd),
        ("noise.correlated", noise.correlated),
        ("noise.correlation_steps", noise.correlation_steps),
        ("noise.offset_sd", noise.offset_sd),
        ("noise.effective_points", noise.effective_points),
    ];
    let finite = [
        ("scales.loss_low", scales.loss_low),
        ("scales.loss_high", scales.loss_high),
    ];
    for (name, value) in positive {
        if !(value.is_finite() && value > 0.0) {
            return Err(format!("{name} is {value}, not a positive number"));
        }
    }
    for (name, value) in not_negative {
        if !(value.is_finite() && value >= 0.0) {
            return Err(format!("{name} is {value}, not a number of at least 0"));
        }
    }
    for (name, value) in finite {
        if !value.is_finite() {
            return Err(format!("{name} is {value}"));
        }
    }
    check_covariance(&written.covariance, p)?;
    if let Some(own) = &written.without_priors {
        check_covariance(&own.covariance, p)?;
        let usable = own.values.len() == p && own.values.iter().all(|u| u.is_finite());
        if !(usable && own.degrees.is_finite() && own.degrees > 0.0) {
            return Err("what it says of the fit without priors is not a fit".to_string());
        }
    }
    Ok(())
}

fn check_covariance(covariance: &[Vec<f64>], p: usize) -> std::result::Result<(), String> {
    if covariance.len() != p || covariance.iter().any(|row| row.len() != p) {
        return Err(format!("its covariance is not {p} × {p}"));
    }
    if covariance.iter().flatten().any(|x| !x.is_finite()) {
        return Err("its covariance is not finite".to_string());
    }
    if (0..p).any(|j| covariance[j][j] < 0.0) {
        return Err("its covariance has a negative variance".to_string());
    }
    Ok(())
}

fn restore(written: Written) -> std::result::Result<Fit, String> {
    let rule = RULES.iter().find(|(name, _)| *name == written.setup.warmup);
    let Some((_, warmup)) = rule else {
        return Err(format!(
            "it has an unknown warm-up rule '{}'",
            written.setup.warmup
        ));
    };
    let fixed = |(name, value): (&String, &Value)| {
        let value = value
            .as_f64()
            .ok_or(format!("{name} is fixed at something that is no number"))?;
        Ok::<_, String>((name.clone(), value))
    };
    let options = LawOptions {
        s1_offset: written.setup.s1_offset,
        warmup: *warmup,
        fixed: written
            .setup
            .fixed
            .iter()
            .map(fixed)
            .collect::<std::result::Result<_, _>>()?,
    };
    let law = law::by_name(&written.law, &options).map_err(|e| e.to_string())?;
    let law: Arc<dyn Law> = Arc::from(law);
    let how = written.fit;
    let names: Vec<&str> = law.parameters().iter().map(|p| p.name).collect();
    if !written
        .params
        .keys()
        .map(String::as_str)
        .eq(names.iter().copied())
    {
        return Err(format!(
            "the law {} has the parameters {}, but the file gives {}",
            written.law,
            names.join(", "),
            written
                .params
                .keys()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    let mut params: Vec<FittedParameter> = Vec::with_capacity(names.len());
    for (parameter, value) in law.parameters().iter().zip(written.params.values()) {
        let name = parameter.name;
        let fitted: FittedParameter = serde_json::from_value(value.clone())
            .map_err(|e| format!("its parameter {name}: {e}"))?;
        let usable = |x: f64| x.is_finite() && (x > 0.0 || !parameter.log);
        if !(usable(fitted.value) && fitted.low.is_finite() && fitted.high.is_finite()) {
            return Err(format!("its parameter {name} is {}", fitted.value));
        }
        params.push(fitted);
    }
    let scales = Scales {
        lr: written.scales.lr,
        s1: written.scales.s1,
        s1_first: written.scales.s1_first,
        steps: written.scales.steps,
        loss_low: written.scales.loss_low,
        loss_high: written.scales.loss_high,
    };
    let noise = written.noise;
    Ok(Fit {
        coordinates: Coordinates::new(&*law, &scales, Vec::new()),
        law,
        params,
        objective: how.objective,
        starts: how.starts,
        agree: how.agree,
        condition: how.condition.unwrap_or(f64::INFINITY),
        curves: how.curves,
        noise,
        covariance: written.covariance.into_iter().flatten().collect(),
        scales,
        options: FitOptions {
            from: Some(how.from),
            residual: how.residual,
            delta: how.delta,
            bin: how.bin,
            weights: how.weights,
            starts: None,
            seed: how.seed,
            priors: how.priors,
            s1_offset: if options.s1_offset {
                S1Offset::Free
            } else {
                S1Offset::Fixed
            },
        },
        from: how.from,
        lacking: false,
        notes: written.notes,
        seconds: how.seconds,
        degrees: how.degrees,
        data_only: written.without_priors.map(|own| DataOnly {
            u: own.values,
            covariance: own.covariance.into_iter().flatten().collect(),
            degrees: own.degrees,
        }),
        naive_variances: Vec::new(),
        data: None,
    })
}
