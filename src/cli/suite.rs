//! `lehr suite`: a plan, a question, the cells one by one, and what came out.

mod plan;
mod screen;
mod table;
#[cfg(test)]
mod tests;

use super::prepare::Watcher;
use super::signal;
use crate::error::{Error, Result};
use crate::scaling::suite::Suite;
use crate::scaling::suite::execute::{self, Outcome};
use crate::scaling::suite::failures::{self, FAILURES_DIR};
use crate::scaling::suite::missing::missing;
use crate::scaling::suite::plan::Plan;
use crate::scaling::suite::results;
use crate::scaling::suite::slurm::{self, Places};
use crate::scaling::suite::spec::Spec;
use crate::scaling::suite::suite::State;
use screen::SuiteScreen;
use serde_json::json;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use table::Outcomes;

/// Train model sizes × horizons from one trunk a size
///
/// Per size and seed: a trunk at constant learning rate, cooldowns from its checkpoints that end at each horizon, and, if
/// the suite asks for them, cosines from scratch. Each run is cached by the hash of its configuration: started again, a
/// suite skips what is finished and goes on with what was begun. Results are in OUT/results.csv.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  lehr suite configs/suites/austen.toml --plan\n  lehr suite configs/suites/austen.toml --yes"
)]
pub struct Args {
    /// The suite, a TOML file
    spec: PathBuf,
    /// Prints the plan and ends
    #[arg(long)]
    plan: bool,
    /// Runs without asking
    #[arg(long, short)]
    yes: bool,
    /// Runs this cell alone, such as small-s0-trunk
    #[arg(long, value_name = "ID", conflicts_with = "plan")]
    cell: Option<String>,
    /// Gathers the results of the cells that are finished, and runs nothing
    #[arg(long, conflicts_with_all = ["plan", "cell"])]
    collect: bool,
    /// Writes the suite as array jobs for a cluster instead
    #[arg(long, num_args = 2, value_names = ["slurm", "DIR"], conflicts_with_all = ["plan", "cell", "collect"])]
    emit: Vec<String>,
    /// Peak of a GPU in TFLOP/s, for an estimate of GPU-hours
    #[arg(long, value_name = "TFLOPS")]
    gpu_tflops: Option<f64>,
    /// Share of that peak that training reaches
    #[arg(long, default_value_t = 0.4)]
    mfu: f64,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let gpu = gpu(&args)?;
    let spec = Spec::read(&args.spec)?;
    let mut progress = Watcher::new()?;
    let suite = Suite::resolve(spec, &mut progress);
    progress.finish();
    let suite = suite?;
    if let [system, dir] = args.emit.as_slice() {
        return emit(&suite, system, Path::new(dir), &args);
    }
    if let Some(id) = &args.cell {
        return cell(&suite, id, &args);
    }
    if args.collect {
        return finish(&suite, &args, &[]);
    }
    let unfinished = suite
        .cells
        .iter()
        .any(|c| suite.state(c) != State::Finished);
    let plan = Plan::of(&suite, unfinished);
    if args.plan {
        return match args.json {
            true => print(&format!("{:#}\n", plan::json(&plan, gpu))),
            false => print(&plan::words(&suite, &plan, gpu)),
        };
    }
    if unfinished {
        // The plan is for the person; stdout keeps the results.
        let _ = write!(std::io::stderr(), "{}", plan::words(&suite, &plan, gpu));
        agreed(&args, plan.to_do)?;
    }
    let stop = signal::stop_flag()?;
    let mut screen = SuiteScreen::new(&suite, &plan);
    let outcomes = execute::run(&suite, &mut screen, &mut progress, stop);
    screen.clear();
    match outcomes {
        Ok(outcomes) => finish(&suite, &args, &outcomes),
        Err(Error::Interrupted(what)) => Err(Error::Interrupted(format!(
            "{what}\nnext  {} suite {} --yes",
            super::invocation(),
            args.spec.display()
        ))),
        Err(e) => Err(e),
    }
}

/// Asks on a terminal, unless `--yes` has answered.
fn agreed(args: &Args, to_do: usize) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Error::input(format!(
            "nothing was run: add --yes to run {to_do} cells, there is no terminal to ask on"
        )));
    }
    let _ = write!(std::io::stderr(), "\nrun {to_do} cells? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|e| Error::io("read", "the answer", e))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::Interrupted("nothing was run".into())),
    }
}

/// `--cell`: one run, as a task of an array job. It writes no results, which `--collect` does, but why it failed.
fn cell(suite: &Suite, id: &str, args: &Args) -> Result<()> {
    let index = suite.find(id)?;
    let cell = &suite.cells[index];
    if suite.state(cell) == State::Finished {
        eprintln!("nothing left to do: {} is finished", cell.id);
        return Ok(());
    }
    if !args.yes {
        agreed(args, 1)?;
    }
    let stop = signal::stop_flag()?;
    let mut progress = Watcher::new()?;
    let mut screen = SuiteScreen::alone();
    let outcome = execute::attempt(suite, cell, &mut screen, &mut progress, stop);
    screen.clear();
    outcome?;
    eprintln!("done  {}", suite.dir(cell).display());
    Ok(())
}

fn emit(suite: &Suite, system: &str, dir: &Path, args: &Args) -> Result<()> {
    if system != "slurm" {
        return Err(Error::input(format!(
            "--emit {system}: the only kind of jobs is slurm; write --emit slurm DIR"
        )));
    }
    let absolute = |path: &Path| path.canonicalize().map_err(|e| Error::io("find", path, e));
    let program = std::env::current_exe().map_err(|e| Error::io("find", "this program", e))?;
    let places = Places {
        program: &program,
        work: &absolute(Path::new("."))?,
        spec: &absolute(&args.spec)?,
    };
    let written = slurm::emit(suite, dir, &places)?;
    if args.json {
        return print(&format!("{:#}\n", json!({ "files": written })));
    }
    let mut out = String::new();
    if written.is_empty() {
        out += &format!(
            "nothing left to do: all {} cells are finished, and nothing was written\nnext  {} suite {} --collect\n",
            suite.cells.len(),
            super::invocation(),
            args.spec.display()
        );
        return print(&out);
    }
    for path in &written {
        out += &format!("wrote {}\n", path.display());
    }
    out += &format!(
        "next  bash {}, and when the jobs are done:\n      {} suite {} --collect\n",
        slurm::quoted(&dir.join("submit.sh")),
        super::invocation(),
        args.spec.display()
    );
    print(&out)
}

/// Writes the results, prints them, and fails if a cell did. What `--collect` finds on record failed some other time: it
/// is told, and fails nothing now.
fn finish(suite: &Suite, args: &Args, outcomes: &[Outcome]) -> Result<()> {
    let (rows, unreadable) = results::collect(suite);
    if args.collect {
        let out = &suite.spec.out;
        std::fs::create_dir_all(out).map_err(|e| Error::io("create the directory", out, e))?;
        results::write(suite, &rows)?;
    }
    let failed = execute::failures(suite, outcomes);
    let count = failed.len() + unreadable.len();
    // The screen has said what failed now.
    let told = match args.collect {
        true => [failures::recorded(suite), unreadable].concat(),
        false => unreadable,
    };
    let outcome = Outcomes {
        pairs: results::pairs(suite, &rows),
        rows,
        spent: results::spent(suite),
        missing: missing(suite),
    };
    match args.json {
        true => {
            let value = table::json(suite, &outcome, &[failed, told].concat());
            print(&format!("{value:#}\n"))?;
        }
        false => print(&table::words(suite, &outcome, &told))?,
    }
    let place = match args.collect {
        true => String::new(),
        false => format!(" ({})", suite.spec.out.join(FAILURES_DIR).display()),
    };
    match count {
        0 => Ok(()),
        n => Err(Error::input(format!(
            "{n} of {} cells could not be run{place}; the others are done, and the suite run again tries these once more",
            suite.cells.len(),
        ))),
    }
}

/// Peak in FLOP/s and the share of it that is reached.
fn gpu(args: &Args) -> Result<Option<(f64, f64)>> {
    let Some(tflops) = args.gpu_tflops else {
        return Ok(None);
    };
    if !(tflops > 0.0 && tflops.is_finite()) {
        return Err(Error::input(format!(
            "--gpu-tflops {tflops}: it must be above 0, such as 400"
        )));
    }
    if !(args.mfu > 0.0 && args.mfu <= 1.0) {
        return Err(Error::input(format!(
            "--mfu {}: it must be above 0 and at most 1, such as 0.4",
            args.mfu
        )));
    }
    Ok(Some((tflops * 1e12, args.mfu)))
}

/// Prints on stdout; a reader who has gone away (`| head`) is no error.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.map_err(|e| Error::io("write", "standard output", e)),
    }
}
