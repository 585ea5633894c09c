//! A loop while it runs: a line a run, and what has been done above them.

use crate::campaign::Plan;
use crate::campaign::cells::Cell;
use crate::campaign::execute::{Outcome, Watcher};
use crate::cli::fit::table::{item, short};
use crate::cli::format::{clock, lr, smooth, thousands, wrap};
use crate::train::cached::final_loss;
use crate::train::metrics::{AverageRecord, EvalRecord, StepRecord};
use crate::train::run::{Info, Observer};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Without a terminal, a line is printed this often.
const PLAIN: Duration = Duration::from_secs(30);
const WIDTH: usize = 80;

pub(super) struct LoopScreen {
    /// None without a terminal.
    bars: Option<MultiProgress>,
    jobs: usize,
    out: PathBuf,
    state: Mutex<Stage>,
}

#[derive(Default)]
struct Stage {
    /// Names of its cells, in their order.
    cells: Vec<String>,
    began: Vec<Option<Instant>>,
    /// Cells that came to an end.
    ended: usize,
}

impl LoopScreen {
    pub fn new(plan: &Plan, jobs: usize) -> LoopScreen {
        let bars = std::io::stderr()
            .is_terminal()
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(4)));
        LoopScreen {
            bars,
            jobs,
            out: plan.spec.out.clone(),
            state: Mutex::default(),
        }
    }

    /// A stage of runs begins.
    pub fn stage(&self, title: &str, cells: &[Cell]) {
        let mut state = self.lock();
        *state = Stage {
            cells: cells.iter().map(|c| c.id.clone()).collect(),
            began: vec![None; cells.len()],
            ended: 0,
        };
        drop(state);
        self.say(&format!(
            "\n{title}: {}\n",
            crate::cli::fit::table::plural(cells.len(), "run")
        ));
    }

    /// Prints above the bars. A loop must not end because nobody listens any more.
    pub fn say(&self, text: &str) {
        let print = || {
            let _ = write!(std::io::stderr(), "{text}");
        };
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }

    /// Takes the bars off the screen.
    pub fn clear(&self) {
        if let Some(bars) = &self.bars {
            let _ = bars.clear();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Watcher for LoopScreen {
    fn observer(&self, cell: &Cell) -> Box<dyn Observer + Send + '_> {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::no_length());
            let style = ProgressStyle::with_template("{msg}");
            bar.set_style(style.expect("the template is well-formed"));
            bar
        });
        Box::new(Line {
            screen: self,
            bar,
            id: cell.id.clone(),
            steps: cell.steps,
            loss: None,
            val: None,
            speed: None,
            last_line: Instant::now(),
        })
    }

    fn begins(&self, cell: &Cell) {
        let mut state = self.lock();
        let index = state.cells.iter().position(|id| *id == cell.id);
        if let Some(index) = index {
            state.began[index] = Some(Instant::now());
        }
    }

    fn ends(&self, cell: &Cell, outcome: &Outcome) {
        let mut state = self.lock();
        state.ended += 1;
        let index = state.cells.iter().position(|id| *id == cell.id);
        let began = index.and_then(|i| state.began[i]);
        let (ended, all) = (state.ended, state.cells.len());
        drop(state);
        let counted = format!("{ended}/{all}");
        let line = |word: &str, what: &str| {
            let lines = wrap(&format!("{}: {what}", cell.id), WIDTH, "      ");
            format!("{word:<6}{}\n", lines.trim_start())
        };
        let said = match outcome {
            Outcome::Cached => return,
            Outcome::Finished => {
                let time = began.map_or(String::new(), |b| clock(b.elapsed()));
                let loss = final_loss(&cell.dir(&self.out), cell.steps);
                let loss = loss.map_or(String::new(), |loss| format!("val {loss:.4}"));
                let name = short(&cell.id, 43);
                format!("done  {counted:<7}{name:<44}{loss:>10}{time:>13}\n")
            }
            Outcome::Failed(why) => line("fail", why),
            Outcome::Skipped(needed) => line("skip", &format!("needs {needed}")),
        };
        self.say(&said);
    }
}

/// One run's line.
struct Line<'a> {
    screen: &'a LoopScreen,
    bar: Option<ProgressBar>,
    id: String,
    steps: u64,
    loss: Option<f64>,
    val: Option<f64>,
    speed: Option<f64>,
    last_line: Instant,
}

impl Line<'_> {
    fn status(&self, r: &StepRecord) -> String {
        let val = self.val.map_or(String::new(), |v| format!(" val {v:.3}"));
        let tail = format!(
            "{:>7}/{} {:>3} %  loss {:.3}{val}  {} tok/s",
            r.step,
            self.steps,
            100 * r.step / self.steps.max(1),
            self.loss.unwrap_or(r.loss),
            thousands(self.speed.unwrap_or(0.0) as u64)
        );
        let room = WIDTH.saturating_sub(tail.chars().count() + 1);
        let name = short(&self.id, room.max(8));
        // Where one run stands alone there is room for its LR.
        let lr = match self.screen.jobs <= 1 && room > name.chars().count() + 14 {
            true => format!("  lr {}", lr(r.lr)),
            false => String::new(),
        };
        format!("{name} {tail}{lr}")
    }
}

impl Observer for Line<'_> {
    fn started(&mut self, info: &Info) {
        self.steps = info.config.train.iterations;
        self.last_line = Instant::now();
    }

    fn stepped(&mut self, r: &StepRecord) {
        self.loss = smooth(self.loss, r.loss);
        self.speed = smooth(self.speed, r.tokens_per_second);
        match &self.bar {
            Some(bar) => {
                bar.set_message(self.status(r));
                bar.tick();
            }
            None if self.last_line.elapsed() > PLAIN => {
                self.last_line = Instant::now();
                self.screen.say(&format!("{}\n", self.status(r)));
            }
            None => {}
        }
    }

    fn evaluated(&mut self, r: &EvalRecord, _averages: &[AverageRecord]) {
        self.val = Some(r.val_loss);
    }

    fn noticed(&mut self, message: &str) {
        self.screen.say(&item("note", message));
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            if let Some(bars) = &self.screen.bars {
                bars.remove(&bar);
            }
        }
    }
}
