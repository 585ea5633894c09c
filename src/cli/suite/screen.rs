//! A suite while it runs: the cell, the suite's share and time left, and under them the trainer's line.

use super::table::titled;
use crate::cli::format::{clock, lr, smooth, thousands, wrap};
use crate::scaling::suite::Suite;
use crate::scaling::suite::execute::{Outcome, Watcher};
use crate::scaling::suite::plan::Plan;
use crate::train::metrics::{AverageRecord, EvalRecord, StepRecord};
use crate::train::run::{Info, Observer};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// A line on stderr. A suite must not end because nobody listens any more.
macro_rules! say {
    ($($arg:tt)*) => {{
        let _ = writeln!(std::io::stderr(), $($arg)*);
    }};
}

const WIDTH: usize = 80;
/// Without a terminal, a line is printed this often.
const PLAIN: Duration = Duration::from_secs(30);

pub struct SuiteScreen {
    bar: Option<ProgressBar>,
    /// Seconds that each cell was estimated to take; empty where one cell runs alone.
    estimates: Vec<f64>,
    /// Of what is behind us in this process: estimated seconds, and the clock's.
    estimated: f64,
    begin: Instant,
    cell: Option<usize>,
    /// The size, and what of it is trained.
    title: (String, String),
    cells: usize,
    first_step: u64,
    steps: u64,
    loss: Option<f64>,
    speed: Option<f64>,
    val: Option<f64>,
    cell_begin: Instant,
    last_line: Instant,
}

impl SuiteScreen {
    pub fn new(suite: &Suite, plan: &Plan) -> SuiteScreen {
        let seconds = suite.cells.iter().map(|c| plan.seconds(suite, c));
        let mut screen = SuiteScreen::alone();
        screen.estimates = seconds.map(|s| s.unwrap_or(0.0)).collect();
        screen.cells = suite.cells.len();
        screen
    }

    /// For one cell by itself.
    pub fn alone() -> SuiteScreen {
        SuiteScreen {
            bar: None,
            estimates: Vec::new(),
            estimated: 0.0,
            begin: Instant::now(),
            cell: None,
            title: Default::default(),
            cells: 1,
            first_step: 0,
            steps: 0,
            loss: None,
            speed: None,
            val: None,
            cell_begin: Instant::now(),
            last_line: Instant::now(),
        }
    }

    /// Takes the bar off the screen.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn print(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say!("{text}")),
            None => say!("{text}"),
        }
    }

    /// `cell 7/18  small, seed 0, cooldown 480 → 600      suite 38 %  eta 12:03`
    pub(super) fn headline(&self, step: u64) -> String {
        let Some(index) = self.cell else {
            return String::new();
        };
        let left = format!("cell {}/{}  ", index + 1, self.cells);
        let own = (self.steps - self.first_step).max(1) as f64;
        let here = self.estimates[index] * (step - self.first_step) as f64 / own;
        let ahead: f64 = self.estimates[index..].iter().sum::<f64>() - here;
        let behind = self.estimated + here;
        let right = match behind > 0.0 {
            true => {
                let pace = self.begin.elapsed().as_secs_f64() / behind;
                let share = 100.0 * behind / (behind + ahead);
                let eta = clock(Duration::from_secs_f64(ahead * pace));
                format!("suite {share:.0} %  eta {eta}")
            }
            false => String::new(),
        };
        let room = WIDTH.saturating_sub(left.chars().count() + right.chars().count() + 2);
        let title = titled(&self.title.0, &self.title.1, room);
        format!("{left}{title:<room$}  {right}")
    }

    fn status(&self, r: &StepRecord) -> String {
        let val = self.val.map_or(String::new(), |v| format!("  val {v:.3}"));
        format!(
            "{:>7}/{} {:>3} %  loss {:.3}{val}  lr {}  |g| {:.2}  {} tok/s",
            r.step,
            self.steps,
            100 * r.step / self.steps.max(1),
            self.loss.unwrap_or(r.loss),
            lr(r.lr),
            r.grad_norm,
            thousands(self.speed.unwrap_or(0.0) as u64)
        )
    }
}

impl Observer for SuiteScreen {
    fn started(&mut self, info: &Info) {
        self.first_step = info.step;
        self.steps = info.config.train.iterations;
        (self.loss, self.speed, self.val) = (None, None, None);
        (self.cell_begin, self.last_line) = (Instant::now(), Instant::now());
        if self.bar.is_none() && std::io::stderr().is_terminal() {
            let target = ProgressDrawTarget::stderr_with_hz(4);
            let bar = ProgressBar::with_draw_target(None, target);
            let style = ProgressStyle::with_template("{prefix}\n{msg}");
            bar.set_style(style.expect("the template is well-formed"));
            self.bar = Some(bar);
        }
    }

    fn stepped(&mut self, r: &StepRecord) {
        self.loss = smooth(self.loss, r.loss);
        self.speed = smooth(self.speed, r.tokens_per_second);
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(self.headline(r.step));
                bar.set_message(self.status(r));
                bar.tick();
            }
            None => {
                if self.last_line.elapsed() > PLAIN {
                    self.last_line = Instant::now();
                    say!("{}", self.status(r));
                }
            }
        }
    }

    fn evaluated(&mut self, r: &EvalRecord, _averages: &[AverageRecord]) {
        self.val = Some(r.val_loss);
    }

    fn noticed(&mut self, message: &str) {
        let lines = wrap(message, WIDTH, "      ");
        self.print(&format!("note  {}", lines.trim_start()));
    }
}

impl Watcher for SuiteScreen {
    fn begins(&mut self, suite: &Suite, index: usize) {
        let cell = &suite.cells[index];
        self.cell = Some(index);
        self.title = (suite.model(cell).name.clone(), suite.describe_rest(cell));
        (self.first_step, self.steps) = (cell.first_step(), cell.steps);
        if self.bar.is_none() && !std::io::stderr().is_terminal() {
            say!("{}", self.headline(self.first_step).trim_end());
        }
    }

    fn ends(&mut self, suite: &Suite, index: usize, outcome: &Outcome) {
        let cell = &suite.cells[index];
        let line = |word: &str, what: &str| {
            let text = format!("{}: {what}", suite.describe(cell));
            let lines = wrap(&text, WIDTH, "      ");
            format!("{word:<6}{}", lines.trim_start())
        };
        let said = match outcome {
            Outcome::Cached => return,
            Outcome::Finished => {
                let val = self.val.map_or(String::new(), |v| format!("val {v:.4}  "));
                let right = format!("{val}{}", clock(self.cell_begin.elapsed()));
                let room = WIDTH.saturating_sub(8 + right.chars().count());
                let (name, rest) = (&suite.model(cell).name, suite.describe_rest(cell));
                let left = titled(name, &rest, room);
                format!("done  {left:<room$}  {right}")
            }
            Outcome::Failed(why) => line("fail", why),
            Outcome::Skipped(needed) => line("skip", &format!("needs {needed}")),
        };
        self.print(&said);
        self.estimated += self.estimates.get(index).copied().unwrap_or(0.0);
        self.cell = None;
    }
}

impl Drop for SuiteScreen {
    fn drop(&mut self) {
        self.clear();
    }
}
