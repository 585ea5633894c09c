//! `lehr watch`: a run on one screen, while it goes on.

use super::picture::print;
use super::signal;
use crate::error::{Error, Result};
use crate::report::frame::{self, COLUMNS, ROWS};
use crate::report::run::Run;
use crate::report::run::derived::Finals;
use crate::report::run::told::{Alarm, CooldownNow, Decision};
use crate::report::terminal;
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Watch a run in the terminal while it goes on
///
/// Follows what the run writes, and touches nothing of it. Ends when the run has finished or stopped; Ctrl-C leaves earlier and
/// leaves the run alone. Where the output is no terminal it prints one frame.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  lehr watch checkpoints/run --interval 5")]
pub struct Args {
    /// The directory of a run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Seconds between looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    interval: f64,
    /// Print one frame
    #[arg(long)]
    once: bool,
    /// Print where the run stands as one JSON object
    #[arg(long)]
    json: bool,
}

/// How soon Ctrl-C is noticed.
const NAP: Duration = Duration::from_millis(50);

pub fn run(args: Args) -> Result<()> {
    if !(0.05..=86_400.0).contains(&args.interval) {
        return Err(Error::input(format!(
            "--interval {}: give seconds from 0.05 to a day, such as 2",
            args.interval
        )));
    }
    let mut run = Run::open(&args.run)?;
    if args.json {
        return print(&format!("{:#}\n", as_json(&run)));
    }
    if !args.once && std::io::stdout().is_terminal() {
        follow(&mut run, Duration::from_secs_f64(args.interval))?;
    }
    let lines = frame::draw(
        &run,
        run.quiet_for(),
        (COLUMNS, usize::MAX),
        terminal::colour_wanted(),
    );
    print(&format!("{}\n", lines.join("\n")))
}

/// Redraws until the run has finished, has stopped, or Ctrl-C comes.
fn follow(run: &mut Run, interval: Duration) -> Result<()> {
    let stop = signal::quiet_stop_flag()?;
    let screen = Screen::enter()?;
    while !run.finished() && run.stopped().is_none() {
        let lines = frame::draw(run, run.quiet_for(), size(), terminal::colour_wanted());
        screen.show(&lines)?;
        let looked = Instant::now();
        while looked.elapsed() < interval {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            std::thread::sleep(NAP.min(interval));
        }
        run.poll()?;
    }
    Ok(())
}

/// The terminal's other screen; what was there before comes back when it is dropped.
struct Screen;

impl Screen {
    fn enter() -> Result<Screen> {
        // The other screen, no cursor.
        put("\x1b[?1049h\x1b[?25l")?;
        Ok(Screen)
    }

    /// Over what was there, so that nothing flickers.
    fn show(&self, lines: &[String]) -> Result<()> {
        let text: Vec<String> = lines.iter().map(|l| format!("{l}\x1b[K")).collect();
        put(&format!("\x1b[H{}\x1b[J", text.join("\r\n")))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = put("\x1b[?25h\x1b[?1049l");
    }
}

fn put(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| Error::io("write to", "the terminal", e))
}

/// Columns and rows of the terminal; those of a usual one where it does not tell.
#[cfg(unix)]
fn size() -> (usize, usize) {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the call writes a `winsize` through the pointer, which is that of a live one, and nothing else.
    let told = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    match told == 0 && size.ws_col > 0 && size.ws_row > 0 {
        true => (size.ws_col.into(), size.ws_row.into()),
        false => (COLUMNS, ROWS),
    }
}

#[cfg(not(unix))]
fn size() -> (usize, usize) {
    (COLUMNS, ROWS)
}

fn as_json(run: &Run) -> serde_json::Value {
    let finals = Finals::of(run);
    let forecast = run.forecasts.last().map(|f| {
        let cooldown =
            |c: &CooldownNow| json!({ "fraction": c.fraction, "steps": c.steps, "loss": c.loss });
        json!({
            "step": f.step,
            "fitted_to": f.fitted_to,
            "describes": f.describes,
            "law": f.law,
            "loss": f.loss,
            "low": f.low,
            "high": f.high,
            "cooldown_now": f.cooldown_now.iter().map(cooldown).collect::<Vec<_>>(),
            "noise": f.noise,
        })
    });
    let alarm = |a: &Alarm| json!({ "step": a.step, "kind": a.kind, "nats": a.nats, "sigmas": a.sigmas, "says": a.sentence() });
    let decision = |d: &Decision| json!({ "step": d.step, "kept": d.kept, "gain": d.gain, "predicted": d.predicted, "schedule": d.schedule, "says": d.sentence() });
    json!({
        "run": run.dir,
        "finished": run.finished(),
        "stopped": run.stopped().map(|s| &s.why),
        "step": run.last_step(),
        "steps": run.facts.steps,
        "train_loss": finals.map(|f| f.train),
        "val_loss": finals.and_then(|f| f.held_out).map(|h| h.1),
        "val_loss_averaged": finals.and_then(|f| f.averaged),
        "lr": run.steps.last().map(|s| s.lr),
        "tokens": finals.map(|f| f.tokens),
        "quiet_seconds": run.quiet_for().map(|q| q.as_secs_f64()),
        "forecast": forecast,
        "alarms": run.alarms.iter().map(alarm).collect::<Vec<_>>(),
        "decisions": run.decisions.iter().map(decision).collect::<Vec<_>>(),
        "notes": run.notes(),
    })
}
