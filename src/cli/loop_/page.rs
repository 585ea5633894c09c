//! `OUT/report.html`: the probes and the first seed's long runs, under the law.

use crate::campaign::Plan;
use crate::campaign::cells;
use crate::campaign::results::{Row, Summary};
use crate::curve::LossKind;
use crate::error::Result;
use crate::files;
use crate::fit::Fit;
use crate::report::page::{self, Gathered, pictures};
use crate::report::run::Run;
use crate::report::run::under::Law;
use std::path::PathBuf;

/// Runs on one page, beside the probes.
const MOST: usize = 8;

/// Writes the page: the designed run and the best baselines, each at its best peak. None where no long run has finished.
///
/// # Errors
/// A log that cannot be read, a place that cannot be written.
pub(super) fn write(
    plan: &Plan,
    fit: &Fit,
    summary: &Summary,
    rows: &[Row],
) -> Result<Option<PathBuf>> {
    let seed = plan.spec.seeds[0];
    let mut lines: Vec<_> = summary.lines.iter().collect();
    // The designed run first, whoever won.
    lines.sort_by_key(|line| line.index != 0);
    let mut runs = Vec::new();
    for line in lines.into_iter().take(MOST) {
        let own = |r: &&Row| r.index == line.index && r.peak_lr == line.peak_lr && r.seed == seed;
        if let Some(row) = rows.iter().find(own) {
            let mut run = Run::open(&row.run)?;
            run.name = row.schedule.clone();
            runs.push(run);
        }
    }
    if runs.is_empty() {
        return Ok(None);
    }
    for cell in cells::probes(plan) {
        let mut run = Run::open(&cell.dir(&plan.spec.out))?;
        run.name = cell.id;
        runs.push(run);
    }
    let law = Law::new(
        fit.law.name().to_string(),
        fit.clone(),
        Some(LossKind::Validation),
    );
    let gathered = Gathered::new(runs, vec![law], Vec::new());
    let path = plan.file("report.html");
    let html = page::draw(&gathered, &pictures::all(&gathered));
    files::write(&path, html.as_bytes())?;
    Ok(Some(path))
}
