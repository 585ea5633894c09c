//! `lehr schedule`: shows what a schedule does, in the terminal and as CSV, SVG and JSON.

mod picture;

use super::format::wrap;
use crate::error::{Error, Result};
use crate::report::{chart::letter, svg, terminal};
use crate::schedule::{Schedule, ScheduleSpec, Warmup, count, percent, sparkline};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Shows learning-rate schedules: key steps, a plot, CSV, SVG, JSON
#[derive(clap::Args)]
#[command(after_help = "\
Schedules, with their settings and defaults:
  constant
  linear        final=0
  cosine        final=0.1
  cos-inf       final=0.1  hold=0 (constant part at the end)
  wsd           fraction=0.1  decay=linear  final=0
  wsd-s         ends=0.5/1.0 or cycles=2  fraction=0.1  decay=linear  final=0
  multistep     at=0.8/0.9  factor=0.316
  811           multistep as above
  inverse-sqrt  timescale=(the warm-up)
  table:FILE    CSV with a column lr, one LR a line, or JSON {\"lr\": [...]}
Decays: linear cosine mirror-cosine square sqrt exp power:P

Example:
  lehr schedule wsd:fraction=0.2,decay=sqrt cosine --steps 2000 --lr 3e-3 \\
      --warmup 5% --svg lr.svg")]
pub struct Args {
    /// Schedules, written name:key=value,…; several are drawn together
    #[arg(value_name = "SPEC", required = true)]
    specs: Vec<String>,
    /// Steps of the run
    #[arg(long, visible_alias = "iterations")]
    steps: u64,
    /// Peak learning rate (a table brings its own)
    #[arg(long, default_value_t = 1e-3, allow_negative_numbers = true)]
    lr: f64,
    /// Warm-up: 300 (steps), 0.05 or 5% (of the run), "2M tokens"
    #[arg(
        long,
        default_value = "0",
        value_name = "LENGTH",
        allow_negative_numbers = true
    )]
    warmup: String,
    /// Warm-up in steps
    #[arg(long, conflicts_with = "warmup", value_name = "STEPS")]
    warmup_steps: Option<u64>,
    /// Tokens that one step consumes
    #[arg(long, value_name = "TOKENS")]
    tokens_per_step: Option<u64>,
    /// Reproduce the values of schedules-and-scaling (cosine, linear, cos-inf, wsd)
    #[arg(long)]
    compat: bool,
    /// Print one JSON object with the learning rate of every step, itself a table for table:FILE
    #[arg(long)]
    json: bool,
    /// Write the learning rate of every step (columns step,lr; for several: step,lr_1,lr_2,…)
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a picture
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// More curves than this can no longer be told apart.
const MOST: usize = 8;
const SPARK_WIDTH: usize = 48;

pub fn run(args: Args) -> Result<()> {
    let schedules = build(&args)?;
    if let Some(path) = &args.csv {
        write_whole(path, |out| csv(out, &schedules))?;
    }
    if let Some(path) = &args.svg {
        let picture = svg::draw(&picture::chart(&schedules, args.tokens_per_step));
        write_whole(path, |out| out.write_all(picture.as_bytes()))?;
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let written = if args.json {
        json(&mut out, &schedules)
    } else {
        words(&mut out, &schedules, &args)
    };
    match written.and_then(|()| out.flush()) {
        // The reader had seen enough (`| head`).
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(e) => Err(Error::io("write to", "the standard output", e)),
        Ok(()) => Ok(()),
    }
}

fn build(args: &Args) -> Result<Vec<Schedule>> {
    if args.specs.len() > MOST {
        return Err(Error::input(format!(
            "{} schedules are too many for one picture; give at most {MOST}",
            args.specs.len()
        )));
    }
    let warmup = match args.warmup_steps {
        Some(steps) => Warmup::Steps(steps),
        None => args.warmup.parse()?,
    };
    args.specs
        .iter()
        .map(|text| {
            Schedule::new(&ScheduleSpec {
                shape: text.parse()?,
                peak_lr: args.lr,
                warmup,
                steps: args.steps,
                tokens_per_step: args.tokens_per_step,
                compat: args.compat,
            })
        })
        .collect()
}

fn words(out: &mut impl Write, schedules: &[Schedule], args: &Args) -> std::io::Result<()> {
    for (i, schedule) in schedules.iter().enumerate() {
        let indent = if schedules.len() > 1 {
            write!(out, "{}  ", letter(i))?;
            "   "
        } else {
            ""
        };
        writeln!(
            out,
            "{}",
            wrap(&schedule.describe(), 80, indent).trim_start()
        )?;
        writeln!(out, "{indent}{}", spark(schedule))?;
        key_steps(out, schedule, args.tokens_per_step)?;
        writeln!(out)?;
    }
    let chart = picture::chart(schedules, args.tokens_per_step);
    write!(out, "{}", terminal::draw(&chart, terminal::colour_wanted()))?;
    for path in args.csv.iter().chain(&args.svg) {
        writeln!(out, "wrote {}", path.display())?;
    }
    Ok(())
}

/// One sample a character: enough for a line, whatever the horizon.
fn spark(schedule: &Schedule) -> String {
    let samples = (SPARK_WIDTH as u64).min(schedule.steps());
    let lrs: Vec<f64> = (0..samples)
        .map(|i| schedule.lr(sample(i, samples, schedule.steps())))
        .collect();
    sparkline(&lrs, SPARK_WIDTH)
}

/// Step of sample `i` of `n`, the first at step 0 and the last at the last step.
fn sample(i: u64, n: u64, steps: u64) -> u64 {
    if n < 2 {
        return 0;
    }
    (u128::from(i) * u128::from(steps - 1) / u128::from(n - 1)) as u64
}

fn key_steps(
    out: &mut impl Write,
    schedule: &Schedule,
    tokens_per_step: Option<u64>,
) -> std::io::Result<()> {
    let peak = schedule.peak_lr();
    let marks = schedule.landmarks();
    let wide = count(schedule.steps()).len().max("step".len());
    let last_tokens = tokens_per_step.map(|t| count(schedule.steps().saturating_mul(t)));
    let wide_tokens = last_tokens.map(|t| t.len().max("tokens before".len()));
    write!(out, "  {:>wide$}  {:>9}  {:>7}", "step", "lr", "of peak")?;
    if let Some(wide) = wide_tokens {
        write!(out, "  {:>wide$}", "tokens before")?;
    }
    writeln!(out)?;
    // A long list (many cooldowns) keeps its ends.
    let (head, tail) = if marks.len() > 14 {
        (7, marks.len() - 6)
    } else {
        (marks.len(), marks.len())
    };
    for (i, mark) in marks.iter().enumerate() {
        if i == head {
            writeln!(out, "  {:>wide$}", "…")?;
        }
        if (head..tail).contains(&i) {
            continue;
        }
        let lr = schedule.lr(mark.step);
        write!(
            out,
            "  {:>wide$}  {lr:>9.3e}  {:>7}",
            count(mark.step),
            percent(lr / peak)
        )?;
        if let (Some(wide), Some(tokens)) = (wide_tokens, tokens_per_step) {
            write!(out, "  {:>wide$}", count(mark.step.saturating_mul(tokens)))?;
        }
        writeln!(out, "  {}", mark.what)?;
    }
    Ok(())
}

fn csv(out: &mut dyn Write, schedules: &[Schedule]) -> std::io::Result<()> {
    match schedules {
        [_] => writeln!(out, "step,lr")?,
        several => {
            write!(out, "step")?;
            for i in 1..=several.len() {
                write!(out, ",lr_{i}")?;
            }
            writeln!(out)?;
        }
    }
    for step in 0..schedules[0].steps() {
        write!(out, "{step}")?;
        for schedule in schedules {
            write!(out, ",{:e}", schedule.lr(step))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// One schedule is one object; several are `{"schedules": [object, …]}`.
fn json(out: &mut impl Write, schedules: &[Schedule]) -> std::io::Result<()> {
    if let [one] = schedules {
        json_one(out, one)?;
    } else {
        write!(out, "{{\"schedules\":[")?;
        for (i, schedule) in schedules.iter().enumerate() {
            if i > 0 {
                write!(out, ",")?;
            }
            json_one(out, schedule)?;
        }
        write!(out, "]}}")?;
    }
    writeln!(out)
}

/// The LRs are written as they are computed, so that a long run needs no memory.
fn json_one(out: &mut impl Write, schedule: &Schedule) -> std::io::Result<()> {
    let landmarks: Vec<_> = schedule
        .landmarks()
        .into_iter()
        .map(|m| serde_json::json!({"step": m.step, "lr": schedule.lr(m.step), "what": m.what}))
        .collect();
    let head = serde_json::json!({
        "spec": schedule.spec().shape,
        "describe": schedule.describe(),
        "steps": schedule.steps(),
        "peak_lr": schedule.peak_lr(),
        "warmup_steps": schedule.warmup_steps(),
        "compat": schedule.spec().compat,
        "landmarks": landmarks,
    });
    let head = head.to_string();
    let open = head.strip_suffix('}').expect("an object ends in a brace");
    write!(out, "{open},\"lr\":[")?;
    for step in 0..schedule.steps() {
        let comma = if step > 0 { "," } else { "" };
        write!(out, "{comma}{:e}", schedule.lr(step))?;
    }
    write!(out, "]}}")
}

/// Writes aside, syncs and renames: the file is whole or what it was before.
fn write_whole(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".tmp");
    let aside = PathBuf::from(aside);
    let written = std::fs::File::create(&aside).and_then(|file| {
        let mut out = BufWriter::new(file);
        fill(&mut out)?;
        let file = out.into_inner().map_err(|e| e.into_error())?;
        file.sync_all()?;
        std::fs::rename(&aside, path)
    });
    written.map_err(|e| {
        // The error that matters is the first; what lies aside may not exist at all.
        let _ = std::fs::remove_file(&aside);
        Error::io("write", path, e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_reach_both_ends() {
        assert_eq!(sample(0, 48, 1000), 0);
        assert_eq!(sample(47, 48, 1000), 999);
        assert_eq!(sample(0, 1, 1), 0);
        assert_eq!(sample(47, 48, u64::MAX), u64::MAX - 1);
    }
}
