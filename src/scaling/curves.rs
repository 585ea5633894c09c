//! Losses of one size at several token counts: training curves, or the ends of several runs.

use super::point::Point;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// One training curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What it is called in messages.
    pub name: String,
    pub params: f64,
    /// Training FLOPs a token.
    pub flops_per_token: f64,
    /// Tokens and loss, by increasing tokens.
    pub points: Vec<(f64, f64)>,
    pub made: Made,
}

/// What stands behind the losses of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// Each is the end of a run of its own.
    Ends,
    /// They were logged along one run at a constant LR.
    Constant,
    /// They were logged along one run whose LR decays.
    Decaying,
    /// They were logged along one run of which nobody says how its LR went.
    Unknown,
}

/// Parameters this near one another, with no name of the size, are one size: published points are read off
/// figures.
const SAME_SIZE: f64 = 1.01;
/// Token counts that make a size's points a curve.
const LEAST_HORIZONS: usize = 3;
/// A size with as many losses a run has logged them on its way.
const LOGGED: usize = 20;

/// The sizes of `points` with at least three token counts each. Rows of one size whose tokens begin anew are
/// another run.
///
/// # Errors
/// Fewer than three sizes have as many.
pub fn of_points(points: &[Point]) -> Result<Vec<Curve>> {
    let sizes = sizes(points);
    let count = sizes.len();
    let mut curves: Vec<Curve> = Vec::new();
    for rows in sizes {
        let runs = runs(&rows);
        if runs.iter().any(|run| run.len() >= LOGGED) {
            curves.extend(runs.iter().filter_map(|r| curve(r, Made::Unknown)));
        } else {
            curves.extend(curve(&rows, Made::Ends));
        }
    }
    if distinct(&curves) < LEAST_HORIZONS {
        return Err(Error::input(format!(
            "the envelope needs training curves, or the ends of runs at {LEAST_HORIZONS} token counts or more, of \
             three sizes or more: {} of {count} sizes here have them",
            distinct(&curves)
        )));
    }
    Ok(curves)
}

/// The last point of every run, where the points are training curves and not ends alone.
pub fn ends(points: &[Point]) -> Option<Vec<Point>> {
    let all: Vec<Vec<&Point>> = sizes(points).iter().flat_map(|rows| runs(rows)).collect();
    let logged = all.iter().filter(|run| run.len() >= LOGGED).count();
    (logged * 2 > all.len()).then(|| {
        let last = all.iter().filter_map(|run| run.last());
        last.map(|p| (*p).clone()).collect()
    })
}

/// Points of one size together, in the order in which they were read.
fn sizes(points: &[Point]) -> Vec<Vec<&Point>> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|i, j| points[*i].params.total_cmp(&points[*j].params));
    let same = |a: &Point, b: &Point| match (&a.size, &b.size) {
        (Some(a), Some(b)) => a == b,
        _ => b.params <= a.params * SAME_SIZE,
    };
    let groups = order.chunk_by(|i, j| same(&points[*i], &points[*j]));
    let in_order = |group: &[usize]| {
        let mut group = group.to_vec();
        group.sort_unstable();
        group.into_iter().map(|i| &points[i]).collect()
    };
    groups.map(in_order).collect()
}

/// Parts of increasing tokens of one kind and seed.
fn runs<'a>(rows: &[&'a Point]) -> Vec<Vec<&'a Point>> {
    let same = |a: &&Point, b: &&Point| b.tokens > a.tokens && a.kind == b.kind && a.seed == b.seed;
    rows.chunk_by(same).map(<[_]>::to_vec).collect()
}

fn distinct(curves: &[Curve]) -> usize {
    let mut params: Vec<f64> = curves.iter().map(|c| c.params).collect();
    params.sort_by(f64::total_cmp);
    params.dedup_by(|a, b| *a <= *b * SAME_SIZE);
    params.len()
}

/// `None` with fewer than three token counts.
fn curve(rows: &[&Point], made: Made) -> Option<Curve> {
    let n = rows.len() as f64;
    let mean = |of: &dyn Fn(&Point) -> f64| rows.iter().map(|p| of(p).ln() / n).sum::<f64>().exp();
    let params = mean(&|p| p.params);
    let mut sorted: Vec<(f64, f64)> = rows.iter().map(|p| (p.tokens, p.loss)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Several seeds of one length are one point.
    let points: Vec<(f64, f64)> = sorted
        .chunk_by(|a, b| b.0 <= a.0 * SAME_SIZE)
        .map(|same| {
            let n = same.len() as f64;
            let sum = same.iter().fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
            (sum.0 / n, sum.1 / n)
        })
        .collect();
    (points.len() >= LEAST_HORIZONS).then(|| Curve {
        name: rows[0]
            .size
            .clone()
            .unwrap_or_else(|| format!("{params:.3e}")),
        params,
        flops_per_token: mean(&|p| p.flops / p.tokens),
        points,
        made,
    })
}

/// Where `path` names a run of ours, or a directory of such runs: these.
pub fn run_directories(path: &Path) -> Vec<PathBuf> {
    let is_run = |dir: &Path| dir.join("run.toml").is_file();
    if is_run(path) {
        return vec![path.to_path_buf()];
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut runs: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| is_run(p)).collect();
    runs.sort();
    runs
}

/// Held-out losses of a run of ours.
///
/// # Errors
/// `run.toml` or `curve.val.csv` that are not there or not what a run writes; no evaluation.
pub fn of_run(dir: &Path) -> Result<Curve> {
    let read = |name: &str| {
        let path = dir.join(name);
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
        Ok((path, text))
    };
    let (path, text) = read("run.toml")?;
    let table: toml::Table = text
        .parse()
        .map_err(|e: toml::de::Error| Error::corrupt(&path, e.message().to_string()))?;
    let number = |section: &str, key: &str| {
        let value = table.get(section).and_then(|s| s.get(key));
        let value = value.and_then(|v| v.as_float().or(v.as_integer().map(|i| i as f64)));
        value.filter(|v| v.is_finite() && *v > 0.0).ok_or_else(|| {
            Error::corrupt(&path, format!("[{section}] has no number {key} above 0"))
        })
    };
    let tokens = number("run", "tokens")?;
    let per_step = tokens / number("train", "iterations")?;
    let params = number("run", "parameters")?;
    let flops_per_token = number("run", "train_flops")? / tokens;
    let schedule = table.get("schedule").and_then(|s| s.get("scheduler"));
    let made = match schedule.and_then(|s| s.as_str()) {
        Some(name) if name == "constant" || name.starts_with("constant:") => Made::Constant,
        Some(_) => Made::Decaying,
        None => Made::Unknown,
    };
    let (path, text) = read("curve.val.csv")?;
    let points = evaluations(&path, &text, per_step)?;
    if points.is_empty() {
        return Err(Error::input(format!(
            "{} holds no held-out loss yet; leave this run out or let it go on",
            path.display()
        )));
    }
    Ok(Curve {
        name: dir
            .file_name()
            .unwrap_or(dir.as_os_str())
            .to_string_lossy()
            .into_owned(),
        params,
        flops_per_token,
        points,
        made,
    })
}

/// `step,loss,…` as tokens and losses.
fn evaluations(path: &Path, text: &str, per_step: f64) -> Result<Vec<(f64, f64)>> {
    let mut lines = text.lines().enumerate();
    let header: Vec<&str> = lines.next().map_or("", |(_, l)| l).split(',').collect();
    let place = |name: &str| {
        header
            .iter()
            .position(|c| c.trim() == name)
            .ok_or_else(|| Error::corrupt(path, format!("its first line names no column {name}")))
    };
    let (step, loss) = (place("step")?, place("loss")?);
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (line, row) in lines.filter(|(_, row)| !row.trim().is_empty()) {
        let cells: Vec<&str> = row.split(',').collect();
        let number = |place: usize| cells.get(place).and_then(|c| c.trim().parse::<f64>().ok());
        match (number(step), number(loss)) {
            // Step 0 has seen no tokens.
            (Some(0.0), Some(_)) => {}
            (Some(s), Some(l)) if s > 0.0 && s.is_finite() && l > 0.0 && l.is_finite() => {
                points.push((s * per_step, l));
            }
            _ => {
                return Err(Error::corrupt(
                    path,
                    format!("line {} holds no step and loss above 0: {row}", line + 1),
                ));
            }
        }
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(params: f64, tokens: f64, seed: Option<u64>) -> Point {
        Point {
            params,
            tokens,
            flops: 6.0 * params * tokens,
            loss: 2.0 + 1e3 / tokens.sqrt(),
            size: None,
            seed,
            kind: None,
        }
    }

    #[test]
    fn ends_of_runs_make_one_curve_a_size() {
        let mut points = Vec::new();
        for params in [1e6, 2e6, 4e6] {
            for seed in [0, 1] {
                for tokens in [1e8, 2e8, 4e8] {
                    points.push(point(params, tokens, Some(seed)));
                }
            }
        }
        let curves = of_points(&points).unwrap();
        assert_eq!(curves.len(), 3);
        assert_eq!((curves[0].points.len(), curves[0].made), (3, Made::Ends));
        assert!((curves[1].flops_per_token - 12e6).abs() < 1.0);
        assert_eq!(ends(&points), None);
        let few = of_points(&points[..12]).unwrap_err().to_string();
        assert!(few.contains("2 of 2 sizes"), "{few}");
    }

    #[test]
    fn rows_along_a_run_are_told_from_ends() {
        let mut points = Vec::new();
        for params in [1e6, 2e6, 4e6] {
            for last in [20, 40] {
                points.extend((1..=last).map(|i| point(params, 1e6 * f64::from(i), None)));
            }
        }
        let curves = of_points(&points).unwrap();
        assert_eq!((curves.len(), curves[0].made), (6, Made::Unknown));
        assert_eq!(curves[1].points.len(), 40);
        let ends = ends(&points).unwrap();
        assert_eq!(ends.len(), 6);
        assert_eq!((ends[0].tokens, ends[1].tokens), (2e7, 4e7));
    }

    #[test]
    fn a_run_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("a");
        std::fs::create_dir(&run).unwrap();
        let toml = "[run]\nparameters = 1000\ntokens = 4000\ntrain_flops = 2.4e7\n[train]\niterations = 40\n\
                    [schedule]\nscheduler = \"wsd\"\n";
        std::fs::write(run.join("run.toml"), toml).unwrap();
        let rows = "step,loss,bits_per_byte\n0,5,1\n10,4.5,1\n20,4.2,1\n40,4.0,1\n";
        std::fs::write(run.join("curve.val.csv"), rows).unwrap();
        assert_eq!(run_directories(dir.path()), [run.clone()]);
        let curve = of_run(&run).unwrap();
        assert_eq!(curve.points, [(1000.0, 4.5), (2000.0, 4.2), (4000.0, 4.0)]);
        assert_eq!(
            (curve.flops_per_token, curve.made),
            (6000.0, Made::Decaying)
        );
        std::fs::write(run.join("curve.val.csv"), "step,loss\n10,nan\n").unwrap();
        let bad = of_run(&run).unwrap_err().to_string();
        assert!(bad.contains("line 2"), "{bad}");
        std::fs::write(run.join("run.toml"), "[run]\n").unwrap();
        assert!(of_run(&run).unwrap_err().to_string().contains("tokens"));
    }
}
