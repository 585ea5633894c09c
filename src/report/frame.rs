//! A run in one screen of the terminal.

use super::run::Run;
use super::run::derived::{Finals, means, scheduled};
use super::run::told::DOES_NOT_DESCRIBE;
use super::words::{clock, count, printable, thousands};
use super::{Axis, Chart, Entry, Numbers, Panel, Series, terminal};
use crate::schedule;
use std::time::Duration;

/// What a screen must hold at least.
pub const COLUMNS: usize = 80;
pub const ROWS: usize = 24;
/// Steps that the shown speed is the mean of.
const RECENT: usize = 50;
/// Lines of a plot besides its rows: label, axis, numbers.
const AROUND: usize = 3;
const LEAST_ROWS: usize = 4;

/// Lines of at most `columns` characters, at most `rows` of them. `quiet`: how long the log has been silent.
pub fn draw(
    run: &Run,
    quiet: Option<Duration>,
    (columns, rows): (usize, usize),
    colour: bool,
) -> Vec<String> {
    let (columns, rows) = (columns.min(COLUMNS), rows.min(ROWS));
    let mut lines = vec![title(run), progress(run, quiet), rate(run)];
    if let Some(finals) = Finals::of(run) {
        lines.push(losses(&finals));
        lines.push(pace(run, &finals));
    } else {
        lines.push("no step yet".into());
    }
    lines.extend(forecast(run));
    lines.extend(told(run).iter().flat_map(|line| wrap(line, columns)));
    for line in &mut lines {
        *line = cut(line, columns);
    }
    lines.push(String::new());
    let room = rows.saturating_sub(lines.len() + AROUND);
    if room >= LEAST_ROWS && columns == COLUMNS && run.last_step() > 1 {
        let plot = terminal::draw(&plot(run, room), colour);
        lines.extend(plot.lines().map(str::to_string));
    }
    lines.truncate(rows);
    lines
}

fn cut(line: &str, columns: usize) -> String {
    let clean = printable(line);
    match clean.chars().count() > columns {
        true => clean
            .chars()
            .take(columns.saturating_sub(1))
            .chain(['…'])
            .collect(),
        false => clean,
    }
}

fn title(run: &Run) -> String {
    let f = &run.facts;
    let size = f.parameters.map(|p| format!(", {} parameters", count(p)));
    let model = f
        .model
        .as_ref()
        .map(|m| format!("{m}{}", size.unwrap_or_default()));
    let model = model.unwrap_or_default();
    let room = COLUMNS.saturating_sub(model.chars().count() + 3);
    let name = cut(&run.name, room);
    let gap = COLUMNS.saturating_sub(name.chars().count() + model.chars().count());
    format!("{name}{}{model}", " ".repeat(gap))
        .trim_end()
        .to_string()
}

/// Mean tokens a second, and seconds a step, of the last steps.
fn recent(run: &Run) -> Option<(f64, f64)> {
    let tail = &run.steps[run.steps.len().saturating_sub(RECENT)..];
    let speeds: Vec<f64> = tail
        .iter()
        .map(|s| 1.0 / s.tokens_per_second)
        .filter(|t| t.is_finite())
        .collect();
    let a_token = speeds.iter().sum::<f64>() / speeds.len().max(1) as f64;
    let tokens = run.facts.tokens_per_step? as f64;
    (a_token > 0.0).then(|| (1.0 / a_token, a_token * tokens))
}

fn progress(run: &Run, quiet: Option<Duration>) -> String {
    const BAR: usize = 24;
    let (done, all) = (run.last_step(), run.horizon().max(1));
    let unknown = run.facts.steps.is_none() && !run.finished();
    let full = match unknown {
        true => 0,
        false => (done as f64 / all as f64 * BAR as f64).floor() as usize,
    };
    let bar = "█".repeat(full.min(BAR)) + &"░".repeat(BAR - full.min(BAR));
    let percent = 100 * done / all;
    let a_step = recent(run).map(|r| r.1);
    let state = if run.finished() {
        "finished".to_string()
    } else if run.stopped().is_some() {
        "stopped".into()
    } else if done >= all && !unknown {
        "all steps done, the model is being written".into()
    } else {
        // Silent for much longer than a step takes.
        let patience = a_step.unwrap_or(1.0).mul_add(20.0, 30.0);
        match (quiet, a_step) {
            (Some(q), _) if q.as_secs_f64() > patience => format!("nothing new for {}", clock(q)),
            (_, Some(a_step)) if !unknown => {
                let left = (all - done) as f64 * a_step;
                format!(
                    "about {} of steps left",
                    clock(Duration::from_secs_f64(left.min(1e12)))
                )
            }
            _ => "running".into(),
        }
    };
    match unknown {
        true => format!(
            "{bar}  {} steps, of how many is not known  {state}",
            thousands(done)
        ),
        false => format!(
            "{bar}  {} of {}  {percent} %  {state}",
            thousands(done),
            thousands(all)
        ),
    }
}

fn rate(run: &Run) -> String {
    let lrs = scheduled(run);
    let now = run.steps.last().map(|s| s.lr).filter(|lr| lr.is_finite());
    let now = now.map(|lr| format!("  {lr:.2e} now")).unwrap_or_default();
    let planned = run.facts.schedule.as_ref();
    let what = match &run.redesigned {
        Some((step, _)) => Some(format!("  designed anew at {}", thousands(*step))),
        None => planned.map(|s| format!("  {}", s.describe())),
    };
    let spark = match lrs.is_empty() {
        true => String::new(),
        false => schedule::sparkline(&lrs, 24),
    };
    format!("lr    {spark}{now}{}", what.unwrap_or_default())
}

fn losses(f: &Finals) -> String {
    let mut line = match f.train.is_finite() {
        true => format!("loss  training {:.4}", f.train),
        false => "loss  training not finite".into(),
    };
    if let Some((step, loss, _)) = f.held_out {
        let loss = match loss.is_finite() {
            true => format!("{loss:.4}"),
            false => "not finite".into(),
        };
        line += &format!("   held out {loss} at {}", thousands(step));
    }
    if let Some(loss) = f.averaged {
        line += &format!("   averaged {loss:.4}");
    }
    line
}

fn pace(run: &Run, f: &Finals) -> String {
    let mut line = "pace  ".to_string();
    if let Some((speed, _)) = recent(run) {
        line += &format!("{} tokens/s   ", count(speed));
    }
    line += &format!("{} tokens", count(f.tokens as f64));
    if let Some(flops) = f.flops {
        line += &format!("   {}FLOP", count(flops));
    }
    if let Some(norm) = run
        .steps
        .last()
        .map(|s| s.grad_norm)
        .filter(|n| n.is_finite())
    {
        line += &format!("   gradient norm {norm:.3}");
    }
    line
}

/// What the live law says, if one is at work.
fn forecast(run: &Run) -> Vec<String> {
    let Some(f) = run.forecasts.iter().rev().find(|f| f.loss.is_finite()) else {
        return Vec::new();
    };
    let by = match f.law.is_empty() {
        true => String::new(),
        false => format!(", says {}", f.law),
    };
    let mut lines = vec![format!("end   {}{by} at {}", f.words(), thousands(f.step))];
    if !f.describes {
        lines.push(format!("      {DOES_NOT_DESCRIBE}"));
    }
    // Of a run that is over nobody asks what would be.
    if let Some(best) = f.best_cooldown().filter(|_| !run.finished()) {
        let (loss, over) = (best.loss, best.over());
        let from = thousands(f.fitted_to);
        lines.push(format!(
            "      {loss:.4} if it cooled down over {over} from {from}"
        ));
    }
    lines
}

/// Why the run has stopped, the newest alarm of the live law, its newest decision, and what is wrong with the log.
fn told(run: &Run) -> Vec<String> {
    let alarm = run.alarms.last().map(|a| {
        let earlier = match run.alarms.len() {
            1 => String::new(),
            n => format!(" ({} before it)", n - 1),
        };
        let at = thousands(a.step);
        format!("alarm at {at}{earlier}: {}", a.sentence())
    });
    let decision = run.decisions.last().map(|d| {
        let at = thousands(d.step);
        format!("plan  at {at}: {}", d.sentence())
    });
    let stop = run.stopped().map(|s| format!("stop  {}", s.why));
    let notes = run.notes().into_iter().take(2);
    let notes = notes.map(|n| format!("note  {n}"));
    let events = stop.into_iter().chain(alarm).chain(decision);
    events.chain(notes).collect()
}

/// At most two lines of `columns`, the second below the first one's text.
fn wrap(line: &str, columns: usize) -> Vec<String> {
    const INDENT: usize = 6;
    let whole = line.chars().count() <= columns || columns <= 2 * INDENT;
    let at = line.char_indices().nth(columns).map(|(i, _)| &line[..i]);
    let space = at.and_then(|head| head.rfind(' ')).filter(|i| *i > INDENT);
    match space.filter(|_| !whole) {
        None => vec![line.to_string()],
        Some(i) => vec![
            line[..i].to_string(),
            format!("{}{}", " ".repeat(INDENT), &line[i + 1..]),
        ],
    }
}

fn plot(run: &Run, rows: usize) -> Chart {
    let last = run.last_step();
    let training = means(&run.steps, (last / 80).max(1), |s| s.loss);
    let held_out: Vec<[f64; 2]> = run.evals.iter().map(|e| [e.step as f64, e.loss]).collect();
    let mut y = Axis::linear(
        "loss, nats a token (a training, b held out)",
        Numbers::Plain,
    );
    // The first fall would flatten the rest.
    let late = |p: &&[f64; 2]| p[1].is_finite() && p[0] >= last as f64 * 0.06;
    let shown = training.iter().chain(&held_out).filter(late).map(|p| p[1]);
    let (low, high) = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
        (l.min(v), h.max(v))
    });
    if high > low {
        y.range = Some((low - (high - low) * 0.03, high));
    }
    let mut series = vec![Series::line(0, training)];
    match held_out.is_empty() {
        true => y.label = "loss of training, nats a token".into(),
        false => series.push(Series::dots(1, held_out)),
    }
    let alarms = run.alarms.iter().map(|a| (a.step as f64, a.label()));
    series.push(Series::marks(5, alarms.collect()));
    Chart {
        title: String::new(),
        subtitle: String::new(),
        x: Axis::linear("step", Numbers::Count).within(0.0, last.max(1) as f64),
        panels: vec![Panel {
            y,
            height: 200.0,
            rows,
            series,
        }],
        legend: Vec::<Entry>::new(),
        dashes: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(lines: &str) -> (tempfile::TempDir, Run) {
        let dir = tempfile::tempdir().unwrap();
        let config = "[run]\nparameters = 1000\n[model]\nfamily = \"llama\"\nn_layer = 4\nn_embd = 64\n[schedule]\n\
                      scheduler = \"linear\"\npeak_lr = 0.01\nwarmup = \"0\"\n[train]\niterations = 100\n\
                      sequence_length = 8\nbatch_size = 8\n";
        std::fs::write(dir.path().join("run.toml"), config).unwrap();
        std::fs::write(dir.path().join("metrics.jsonl"), lines).unwrap();
        let run = Run::open(dir.path()).unwrap();
        (dir, run)
    }

    fn logged() -> String {
        let line = |s: u64| {
            format!(
                "{{\"step\":{s},\"lr\":0.01,\"loss\":{},\"grad_norm\":1,\"tokens\":{},\"tokens_per_second\":64}}\n",
                3.0 + 1.0 / s as f64,
                64 * s
            )
        };
        (1..=50).map(line).collect()
    }

    #[test]
    fn fits_a_screen_whatever_its_size() {
        let mut text = logged();
        text += "{\"step\":50,\"val_loss\":3.1}\n";
        text += "{\"step\":30,\"alarm\":{\"kind\":\"spike\",\"nats\":0.31,\"sigmas\":8.2}}\n";
        text += "{\"step\":40,\"decision\":{\"kept\":true,\"why\":\"the law's own design of the rest has a gain of 0.0100 ± 0.0200 nats, not worth believing\"}}\n";
        text += "{\"step\":50,\"law\":{\"name\":\"tissue\",\"fitted_to\":40,\"forecast\":3.05,\"low\":3.0,\"high\":3.1,\"cooldown_now\":[{\"fraction\":0.2,\"steps\":13,\"loss\":3.07}]}}\n";
        let (_dir, run) = run(&text);
        for size in [(80, 24), (200, 60), (40, 10), (1, 1), (80, 3)] {
            let lines = draw(&run, None, size, false);
            assert!(lines.len() <= size.1.min(24));
            let widest = lines.iter().map(|l| l.chars().count()).max().unwrap();
            assert!(widest <= size.0.min(80), "{lines:#?}");
        }
        let screen = draw(&run, None, (80, 24), false).join("\n");
        for part in [
            "50 of 100  50 %  about 0:50 of steps left",
            "held out 3.1000 at 50",
            "end   3.0500 (3.0000 to 3.1000), says tissue at 50",
            "      3.0700 if it cooled down over 20 % (13 steps) from 40",
            "alarm at 30: a spike: this step’s loss lies 0.310 nats above the law",
            "plan  at 40: the schedule stays as it was: the law's own design of the rest has",
            "      a gain of 0.0100 ± 0.0200 nats, not worth believing",
            "┊",
            "step 50",
        ] {
            assert!(screen.contains(part), "{part}: {screen}");
        }
        let silent = draw(&run, Some(Duration::from_secs(300)), (80, 24), false).join("\n");
        assert!(silent.contains("nothing new for 5:00"), "{silent}");
    }

    #[test]
    fn what_is_lost_or_not_believed_is_said() {
        let mut text = logged();
        text += "{\"step\":50,\"val_loss\":null}\n";
        text += "{\"step\":50,\"law\":{\"describes\":false,\"forecast\":3.05,\"cooldown_now\":[{\"fraction\":0.2,\"loss\":3.07}]}}\n";
        let (dir, known) = run(&text);
        let screen = draw(&known, None, (80, 24), false).join("\n");
        for part in [
            "held out not finite at 50",
            "end   3.0500 at 50\n      but does not describe the run so far\n",
        ] {
            assert!(screen.contains(part), "{part}: {screen}");
        }
        assert!(
            !screen.contains("NaN") && !screen.contains("cooled down"),
            "{screen}"
        );
        // Without run.toml nobody knows how long it is to be.
        std::fs::remove_file(dir.path().join("run.toml")).unwrap();
        let unknown = Run::open(dir.path()).unwrap();
        let screen = draw(&unknown, None, (80, 24), false).join("\n");
        assert!(
            screen.contains("50 steps, of how many is not known  running"),
            "{screen}"
        );
    }

    #[test]
    fn a_stopped_run_says_why_until_it_goes_on() {
        let text = logged() + "{\"step\":50,\"stopped\":\"it will not do\"}\n";
        let (_dir, stopped) = run(&text);
        let screen = draw(&stopped, None, (80, 24), false).join("\n");
        assert!(screen.contains("50 %  stopped") && screen.contains("stop  it will not do"));
        let (_dir, resumed) = run(&(text + "{\"step\":51,\"lr\":0.01,\"loss\":3.0}\n"));
        let screen = draw(&resumed, None, (80, 24), false).join("\n");
        assert!(!screen.contains("stop"), "{screen}");
    }

    #[test]
    fn a_run_that_has_not_begun_has_a_screen_too() {
        let (_dir, run) = run("");
        let screen = draw(&run, None, (80, 24), false).join("\n");
        assert!(
            screen.contains("0 of 100") && screen.contains("no step yet"),
            "{screen}"
        );
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let (_dir, mut run) = run(&logged());
        run.name = "x\u{1b}[2Jy\r".into();
        assert!(
            !draw(&run, None, (80, 24), false)
                .concat()
                .contains(['\u{1b}', '\r'])
        );
    }
}
