//! What a run looks like while it runs: a bar on a terminal, plain lines elsewhere.

use super::format::{clock, count, lr, smooth, thousands, wrap};
use crate::forecast::{Alarm, Decision};
use crate::schedule;
use crate::train::device::DeviceKind;
use crate::train::live::Account;
use crate::train::metrics::{
    AverageKind, AverageRecord, EvalRecord, ForecastRecord, SampleRecord, StepRecord,
};
use crate::train::run::{Averaged, Gpu, Info, Observer, Summary};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// A line on stderr. Nobody may be listening any more (`| head`, a closed terminal): a run must not
/// end for that, as it would with `say!`.
macro_rules! say {
    ($($arg:tt)*) => {{
        let _ = writeln!(std::io::stderr(), $($arg)*);
    }};
}

/// Columns that everything fits into.
const WIDTH: usize = 80;
/// Without a terminal, a line is printed about this many times a run.
const PLAIN_LINES: u64 = 20;
/// And a line about the forecast about this many times.
const LAW_LINES: u64 = 8;

/// The observer that talks to the person at the screen (on stderr; stdout stays for results).
pub struct Screen {
    bar: Option<ProgressBar>,
    begin: Instant,
    steps: u64,
    first_step: u64,
    /// Its memory is then not this process's.
    on_gpu: bool,
    /// Whether the run ends without having cooled down.
    is_trunk: bool,
    flops_per_token: f64,
    loss: Option<f64>,
    speed: Option<f64>,
    /// The forecast of the final held-out loss.
    ends: Option<f64>,
    /// Step of the last line about it.
    told: u64,
}

impl Screen {
    pub fn new() -> Screen {
        Screen {
            bar: None,
            begin: Instant::now(),
            steps: 0,
            first_step: 0,
            on_gpu: false,
            is_trunk: false,
            flops_per_token: 0.0,
            loss: None,
            speed: None,
            ends: None,
            told: 0,
        }
    }

    fn print(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say!("{text}")),
            None => say!("{text}"),
        }
    }

    fn status(&self, r: &StepRecord) -> String {
        let speed = self.speed.unwrap_or(0.0);
        let done = r.step - self.first_step;
        let left = (self.steps - r.step) as f64 * self.begin.elapsed().as_secs_f64() / done as f64;
        format!(
            "loss {:.3}{} lr {} |g| {:.2} {}tok/s {}F/s{} eta {}",
            self.loss.unwrap_or(r.loss),
            self.ends.map_or(String::new(), |l| format!(" →{l:.3}")),
            lr(r.lr),
            r.grad_norm,
            short(speed),
            short(speed * self.flops_per_token),
            // There is room for one of the two.
            match (self.ends, resident_memory()) {
                (None, Some(bytes)) if !self.on_gpu => format!(" {}B", short(bytes as f64)),
                _ => String::new(),
            },
            clock(Duration::from_secs_f64(left)),
        )
    }

    /// The closing lines of a finished run.
    pub fn finish(&mut self, summary: &Summary) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if let Some(sample) = &summary.sample {
            let text = format!("{}{}", sample.prompt, sample.sample);
            say!("\n{}\n", wrap(&text, WIDTH - 4, "    "));
        }
        let dir = summary.dir.display();
        say!(
            "done  val {} after {} steps, {}",
            loss_in_words(&summary.eval),
            thousands(summary.steps),
            clock(summary.elapsed)
        );
        say_averages(&summary.averages);
        if let Some(law) = &summary.law {
            say_law(law, summary);
        }
        if summary.skipped > 0 {
            say!("      {} updates were left out", thousands(summary.skipped));
        }
        say!("      {dir}/curve.csv   {dir}/final");
        let lehr = super::invocation();
        match summary.sample {
            Some(_) => say!("next  {lehr} sample {dir} --prompt \"It is a truth\""),
            None => say!("next  {lehr} evaluate {dir}"),
        }
        if self.is_trunk {
            say!("      {lehr} cooldown --from {dir} --fraction 0.2");
        }
    }

    /// The closing lines of a run that Ctrl-C stopped.
    pub fn stopped(&mut self, what: &str, dir: &Path) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        say!("{}", wrap(what, WIDTH, ""));
        say!("next  {} resume {}", super::invocation(), dir.display());
    }
}

/// `5.6k`, `66G`, `105M`: two digits or three, the multiple close by, where columns are short.
fn short(n: f64) -> String {
    for (scale, unit) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if n >= scale {
            let x = n / scale;
            let digits = usize::from(x < 9.95);
            return format!("{x:.digits$}{unit}");
        }
    }
    format!("{n:.0}")
}

fn loss_in_words(eval: &EvalRecord) -> String {
    let bits = eval.val_bits_per_byte;
    format!(
        "{:.4} nats a token{}",
        eval.val_loss,
        bits.map_or(String::new(), |b| format!(" ({b:.3} bits a byte)"))
    )
}

/// What the law had said halfway, and what it cost.
fn say_law(law: &Account, summary: &Summary) {
    let share = 100.0 * law.fitting.as_secs_f64() / summary.averages.stepping.as_secs_f64();
    if let Some(midway) = law.midway {
        say!(
            "      halfway, the law forecast {midway:.4} ({:+.4}); fits took {share:.2} % of the time",
            midway - summary.eval.val_loss
        );
    }
    if share >= 1.0 {
        let waited = law.waiting.as_secs_f64();
        say!("      --live-law off leaves the fits out ({waited:.1} s were waited for)");
    }
}

/// The closing lines of what was averaged, where it lies, and what it cost.
fn say_averages(averaged: &Averaged) {
    for a in &averaged.records {
        let over = match a.to == a.step {
            true => format!("the last {} steps", thousands(a.to - a.from + 1)),
            false => format!("steps {} to {}", thousands(a.from), thousands(a.to)),
        };
        let (what, dir) = match a.average {
            AverageKind::Window => (format!("averaged over {over}"), &averaged.window),
            // One window is the line above.
            AverageKind::Sweep if a.windows == 1 => continue,
            AverageKind::Sweep => (format!("best, {} windows, {over}", a.windows), &None),
            AverageKind::Ema => ("moving average".to_string(), &averaged.ema),
        };
        let name = dir.as_ref().and_then(|dir| dir.file_name());
        let place = name.map_or(String::new(), |name| {
            format!("   averages/{}", name.display())
        });
        say!("      {what} {:.4}{place}", a.val_loss);
    }
    let cost = averaged.cost.taking + averaged.cost.writing;
    if cost > Duration::ZERO {
        say!(
            "      averaging took {:.2} % of the steps' time, with the files",
            100.0 * cost.as_secs_f64() / averaged.stepping.as_secs_f64()
        );
    }
}

impl Observer for Screen {
    fn started(&mut self, info: &Info) {
        let c = &info.config;
        self.begin = Instant::now();
        self.steps = c.train.iterations;
        self.first_step = info.step;
        let s = &info.schedule;
        self.is_trunk = s.lr(s.steps() - 1) == s.peak_lr();
        self.flops_per_token = info.flops_per_token;
        let left = format!(
            "{} {} parameters ({} without embeddings)",
            c.model.family,
            count(info.params.total as f64),
            count(info.params.non_embedding as f64)
        );
        let device = where_it_trains(info.gpu.as_ref(), c.train.device, info.threads);
        say!(
            "{}",
            row("lehr", &left, &format!("{device}, {}", c.train.dtype))
        );
        self.on_gpu = info.gpu.is_some();
        let tokenizer = info.tokenizer.as_deref().unwrap_or("tokens as they are");
        let left = format!("{}, {} tokens", info.data, count(info.train_tokens as f64));
        say!("{}", row("data", &left, tokenizer));
        let tokens = c.tokens_per_step();
        let accumulation = match c.train.grad_accumulation {
            1 => String::new(),
            k => format!(" × {k}"),
        };
        let batch = format!(
            "batch {} × {}{accumulation} = {} tokens a step",
            c.train.batch_size,
            c.train.sequence_length,
            thousands(tokens)
        );
        let total = tokens * c.train.iterations;
        let flops = info.flops_per_token * total as f64;
        let size = format!("{} tokens, {}FLOP", count(total as f64), count(flops));
        say!("{}", row("", &batch, &size));
        const BARS: u64 = 16;
        let at = |i: u64| info.schedule.lr((2 * i + 1) * self.steps / (2 * BARS));
        let lrs: Vec<f64> = (0..BARS).map(at).collect();
        let line = schedule::sparkline(&lrs, BARS as usize);
        // The clauses of the description, on as many lines as they need.
        let clauses = wrap(&info.schedule.describe(), WIDTH, &" ".repeat(24));
        say!("lr    {line}  {}", clauses.trim_start());
        let steps = format!("{} steps", thousands(self.steps));
        let run = info.dir.display().to_string();
        say!("{}", row("run", &run, &steps));
        if info.step > 0 {
            say!("      goes on after step {}", thousands(info.step));
        }
        if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{pos}/{len} {percent}% {wide_msg}");
            let bar = ProgressBar::with_draw_target(
                Some(self.steps),
                ProgressDrawTarget::stderr_with_hz(4),
            );
            bar.set_style(style.expect("the template is well-formed"));
            bar.set_position(info.step);
            self.bar = Some(bar);
        }
    }

    fn stepped(&mut self, r: &StepRecord) {
        self.loss = smooth(self.loss, r.loss);
        self.speed = smooth(self.speed, r.tokens_per_second);
        if r.skipped {
            self.print(&format!(
                "{:>6}  update left out: loss {} gradient norm {}",
                r.step, r.loss, r.grad_norm
            ));
        }
        let status = self.status(r);
        match &self.bar {
            Some(bar) => {
                bar.set_position(r.step);
                bar.set_message(status);
            }
            None => {
                if r.step == 1 || r.step.is_multiple_of(self.steps.div_ceil(PLAIN_LINES)) {
                    say!(
                        "{:>6}/{} {}% {status}",
                        r.step,
                        self.steps,
                        100 * r.step / self.steps
                    );
                }
            }
        }
    }

    fn evaluated(&mut self, r: &EvalRecord, averages: &[AverageRecord]) {
        let mut words = loss_in_words(r);
        if !averages.is_empty() {
            // Room for three more numbers.
            words = words.replace(" a token", "");
        }
        for a in averages {
            let name = match a.average {
                AverageKind::Window => "wa",
                AverageKind::Sweep => "best",
                AverageKind::Ema => "ema",
            };
            words += &format!(", {name} {:.4}", a.val_loss);
        }
        self.print(&format!("{:>6}  val {words}", r.step));
    }

    fn sampled(&mut self, r: &SampleRecord) {
        if r.step < self.steps {
            let text = format!("{}{}", r.prompt, r.sample);
            self.print(&format!(
                "{:>6}\n{}",
                r.step,
                wrap(&text, WIDTH - 4, "    ")
            ));
        }
    }

    fn forecast(&mut self, r: &ForecastRecord) {
        let f = &r.law;
        self.ends = Some(f.forecast);
        // At evaluations, which may be many.
        if self.told > 0 && r.step < self.told + self.steps.div_ceil(LAW_LINES) {
            return;
        }
        self.told = r.step;
        let half = 0.5 * (f.high - f.low);
        let now = f.cooldown_now.last().map_or(String::new(), |c| {
            let (share, half) = (schedule::percent(c.fraction), 0.5 * (c.high - c.low));
            let from = thousands(f.fitted_to);
            format!("; {share} cooldown from {from}: {:.4} ± {half:.4}", c.loss)
        });
        let now = match f.describes {
            true => now,
            false => ", but does not describe the run so far".into(),
        };
        self.print(&format!(
            "{:>6}  law ends at {:.4} ± {half:.4}{now}",
            r.step, f.forecast
        ));
    }

    fn alarmed(&mut self, alarm: &Alarm) {
        self.print(&at(alarm.step, &format!("alarm: {alarm}")));
    }

    fn decided(&mut self, step: u64, d: &Decision) {
        let what = match d.kept {
            true => "the schedule stays",
            false => "a new schedule from here",
        };
        self.print(&at(step, &format!("{what}: {}", d.why)));
    }

    fn noticed(&mut self, message: &str) {
        let lines = wrap(message, WIDTH - 6, "      ");
        self.print(&format!("note  {}", lines.trim_start()));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// `   800  what happened there`, on as many lines as it takes.
fn at(step: u64, text: &str) -> String {
    let lines = wrap(text, WIDTH, &" ".repeat(8));
    format!("{step:>6}  {}", lines.trim_start())
}

/// `NVIDIA H200, 12.5 of 139.8 GiB`, or `cpu, 2 threads`.
fn where_it_trains(gpu: Option<&Gpu>, device: DeviceKind, threads: usize) -> String {
    let Some(gpu) = gpu else {
        let threads = match threads {
            1 => "1 thread".to_string(),
            n => format!("{n} threads"),
        };
        return format!("{device}, {threads}");
    };
    let gib = |bytes: usize| bytes as f64 / f64::from(1 << 30);
    let memory = gpu.memory.map_or(String::new(), |(taken, total)| {
        format!(", {:.1} of {:.1} GiB", gib(taken), gib(total))
    });
    format!("{}{memory}", gpu.name)
}

/// `label  left …… right`, filling the width.
pub(super) fn row(label: &str, left: &str, right: &str) -> String {
    let used = 6 + left.chars().count() + right.chars().count();
    let gap = " ".repeat(WIDTH.saturating_sub(used).max(3));
    format!("{label:<6}{left}{gap}{right}")
}

/// Resident memory of this process in bytes, where the system tells.
fn resident_memory() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_named_with_its_memory_and_a_processor_with_its_threads() {
        let mut gpu = Gpu {
            name: "NVIDIA H200".into(),
            memory: Some((25 << 29, 140 << 30)),
        };
        let on = |gpu: &Gpu| where_it_trains(Some(gpu), DeviceKind::Cuda, 16);
        assert_eq!(on(&gpu), "NVIDIA H200, 12.5 of 140.0 GiB");
        gpu.memory = None;
        assert_eq!(on(&gpu), "NVIDIA H200");
        assert_eq!(where_it_trains(None, DeviceKind::Cpu, 1), "cpu, 1 thread");
    }
}
