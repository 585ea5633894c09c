//! What `lehr scaling` is given: tables of trained models, suites, directories of runs.

use super::FitFlags;
use crate::error::{Error, Result};
use crate::scaling::allocate::Counted;
use crate::scaling::curves::{self, Curve, Made};
use crate::scaling::origin::{self, Origin};
use crate::scaling::point::{self, Columns, Point};
use std::path::{Path, PathBuf};

/// The kind of a suite's points whose LR has not come down.
const TRUNK: &str = "trunk";

pub struct Input {
    /// For titles.
    pub name: String,
    /// Trained models.
    pub points: Vec<Point>,
    /// Training curves, where these were given.
    pub curves: Option<Vec<Curve>>,
    /// How these were made and their parameters counted, where runs of ours say it.
    pub origin: Option<(Origin, Counted)>,
    /// Sentences for the user.
    pub notes: Vec<String>,
}

impl Input {
    /// # Errors
    /// What the readers say; run directories together with tables.
    pub fn read(flags: &FitFlags) -> Result<Input> {
        let runs: Vec<Vec<PathBuf>> = flags.files.iter().map(|f| runs_of(f)).collect();
        let name = match &flags.files[..] {
            [one] => short_name(one),
            several => format!("{} and {} more", short_name(&several[0]), several.len() - 1),
        };
        if runs.iter().all(|r| !r.is_empty()) {
            let mut input = of_runs(name, &runs.concat())?;
            input.notes.extend(point::counted_otherwise(&input.points));
            return Ok(input);
        }
        if let [file] = &flags.files[..] {
            let mut input = of_table(name, file, flags)?;
            input.notes.extend(point::counted_otherwise(&input.points));
            return Ok(input);
        }
        let table = runs.iter().position(Vec::is_empty).unwrap_or(0);
        Err(Error::input(format!(
            "{}: several arguments must all be directories of runs; give one table, or runs alone",
            flags.files[table].display()
        )))
    }
}

/// The runs that `path` names; none where it is a file or a suite with results.
fn runs_of(path: &Path) -> Vec<PathBuf> {
    match path.join("results.csv").is_file() {
        true => Vec::new(),
        false => curves::run_directories(path),
    }
}

fn short_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

fn of_runs(name: String, dirs: &[PathBuf]) -> Result<Input> {
    let curves: Vec<Curve> = dirs
        .iter()
        .map(|d| curves::of_run(d))
        .collect::<Result<_>>()?;
    let last = |c: &Curve| {
        let (tokens, loss) = *c.points.last()?;
        Some(Point {
            params: c.params,
            tokens,
            flops: c.flops_per_token * tokens,
            loss,
            size: None,
            seed: None,
            kind: None,
        })
    };
    let points: Vec<Point> = curves.iter().filter_map(last).collect();
    let mut notes = vec![format!(
        "held-out curves of {} runs; isoFLOP and parametric use the last loss of each",
        curves.len()
    )];
    if curves.iter().all(|c| c.made == Made::Constant) {
        notes.push("no run's LR has come down: final losses would lie below these".into());
    }
    // Where sizes were trained to several lengths, the ends of decays say more than losses on the way there.
    let decayed = curves.iter().any(|c| c.made == Made::Decaying);
    let ends = decayed && curves::of_points(&points).is_ok();
    Ok(Input {
        name,
        points,
        notes,
        curves: (!ends).then_some(curves),
        origin: origin::of_runs(dirs).map(|o| (o, Counted::Total)),
    })
}

fn of_table(name: String, file: &Path, flags: &FitFlags) -> Result<Input> {
    let mut columns = columns(&flags.columns)?;
    if flags.tokens_per_step.is_some() && columns.tokens.is_none() {
        columns.tokens = Some("step".into());
    }
    let point::Points {
        mut points,
        mut notes,
    } = point::read_with(file, &columns)?;
    if let Some(per_step) = flags.tokens_per_step {
        if !(per_step.is_finite() && per_step > 0.0) {
            return Err(Error::input(format!(
                "--tokens-per-step {per_step}: give a number above 0"
            )));
        }
        for p in &mut points {
            // FLOPs of the file's own stand; those made of steps are as many times too few.
            if (p.flops / (6.0 * p.params * p.tokens) - 1.0).abs() < 1e-9 {
                p.flops *= per_step;
            }
            p.tokens *= per_step;
        }
    }
    of_kind(&mut points, &mut notes, flags.kind.as_deref(), file)?;
    let ends = curves::ends(&points);
    let curves = match &ends {
        Some(_) => curves::of_points(&points).ok(),
        None => None,
    };
    if let Some(ends) = ends {
        notes.push(format!(
            "training curves: isoFLOP and parametric use the last loss of each of {} runs",
            ends.len()
        ));
        points = ends;
    }
    Ok(Input {
        name,
        points,
        curves,
        notes,
        origin: origin::of_suite(file).map(|o| (o, Counted::WithHead)),
    })
}

/// `params=NAME` and the like.
fn columns(given: &[String]) -> Result<Columns> {
    let mut columns = Columns::default();
    for assignment in given {
        let place = match assignment.split_once('=') {
            Some(("params", name)) => (&mut columns.params, name),
            Some(("tokens", name)) => (&mut columns.tokens, name),
            Some(("flops", name)) => (&mut columns.flops, name),
            Some(("loss", name)) => (&mut columns.loss, name),
            _ => {
                return Err(Error::input(format!(
                    "--columns {assignment}: write params=NAME, tokens=NAME, flops=NAME or loss=NAME"
                )));
            }
        };
        *place.0 = Some(place.1.to_string());
    }
    Ok(columns)
}

/// Models of the kind asked for; without one, trunks leave where there are others: their LR has not come down.
fn of_kind(
    points: &mut Vec<Point>,
    notes: &mut Vec<String>,
    kind: Option<&str>,
    file: &Path,
) -> Result<()> {
    let mut kinds: Vec<String> = points.iter().filter_map(|p| p.kind.clone()).collect();
    kinds.sort();
    kinds.dedup();
    match kind {
        Some(kind) => {
            points.retain(|p| p.kind.as_deref() == Some(kind));
            if points.is_empty() {
                return Err(Error::input(format!(
                    "--kind {kind}: {} has none; its kinds are {}",
                    file.display(),
                    match kinds.is_empty() {
                        true => "not told".to_string(),
                        false => kinds.join(", "),
                    }
                )));
            }
        }
        None if kinds.len() > 1 => {
            let before = points.len();
            points.retain(|p| p.kind.as_deref() != Some(TRUNK));
            let left = before - points.len();
            if left > 0 {
                notes.push(format!(
                    "{left} losses along trunks left out, their LR not having come down; --kind trunk takes them"
                ));
            }
            kinds.retain(|k| k != TRUNK);
            if kinds.len() > 1 {
                notes.push(format!(
                    "kinds {} are fitted together; --kind takes one alone",
                    kinds.join(", ")
                ));
            }
        }
        None => {}
    }
    Ok(())
}
