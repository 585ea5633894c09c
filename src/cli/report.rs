//! `lehr report`: what runs did, as one HTML file.

use super::fit::flags::Kind;
use super::format::thousands;
use super::picture::print;
use super::progress::row;
use crate::curve::LossKind;
use crate::error::{Error, Result};
use crate::files;
use crate::fit;
use crate::report::page::pictures::{self, Drawn, Picture};
use crate::report::page::{self, Gathered};
use crate::report::run::under::Law;
use crate::report::run::{self, Run};
use crate::report::{png, svg};
use crate::schedule::{Schedule, ScheduleSpec, Shape, Warmup};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Write what runs did as one HTML page
///
/// One file that needs no network and no scripts, legible in light and dark, on a phone and in print: losses with what a
/// law says is to come, schedules, predicted against actual, parameters with their intervals, averages, gradient norms,
/// speed, samples, and the configuration. Several runs lie over one another.
#[derive(clap::Args)]
#[command(after_help = "\
Laws come from --law, or, for a single run, from RUN/law.json. Runs may be going
on still; what the live law told of them (lehr train) is shown.

Examples:
  lehr report checkpoints/run
  lehr report checkpoints/a checkpoints/b --law law.json --out both.html \\
      --pictures both")]
pub struct Args {
    /// Directories of runs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Where the page goes [default for a single run: RUN/report.html]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Laws that lehr fit wrote, to hold against every run; of a single run all are drawn, of several the first
    #[arg(long, value_name = "FILE,…", value_delimiter = ',')]
    law: Vec<PathBuf>,
    /// Which losses laws speak of [default: as the fitted curves look]
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// A schedule to draw beside those of the runs, at the first run's peak and length, such as table:schedule.json;
    /// may be given several times
    #[arg(long, value_name = "SPEC")]
    schedule: Vec<String>,
    /// Write every picture into this directory too, as SVG and as PNG
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let out = match (&args.out, &args.runs[..]) {
        (Some(out), _) => out.clone(),
        (None, [run]) => run.join("report.html"),
        (None, _) => {
            return Err(Error::input(
                "several runs make one page: say where it goes, as in --out report.html",
            ));
        }
    };
    let mut runs: Vec<Run> = args
        .runs
        .iter()
        .map(|dir| Run::open(dir))
        .collect::<Result<_>>()?;
    run::tell_apart(&mut runs);
    if runs.iter().all(|r| r.steps.is_empty()) {
        return Err(Error::input(format!(
            "{} has no step yet, so there is nothing to report; look again when it has trained a while",
            runs[0].dir.display()
        )));
    }
    let (laws, note) = laws(&args, &runs)?;
    let designed = designed(&args.schedule, &runs[0])?;
    let mut gathered = Gathered::new(runs, laws, designed);
    gathered.notes.extend(note);
    let pictures = pictures::all(&gathered);
    let page = page::draw(&gathered, &pictures);
    files::write(&out, page.as_bytes())?;
    if let Some(dir) = &args.pictures {
        write_pictures(dir, &pictures)?;
    }
    match args.json {
        true => print(&format!(
            "{:#}\n",
            as_json(&args, &gathered, &pictures, &out)
        )),
        false => print(&said(&args, &gathered, &pictures, &out, page.len())),
    }
}

/// The laws, and a note where the run's own cannot be used or is missing.
fn laws(args: &Args, runs: &[Run]) -> Result<(Vec<Law>, Option<String>)> {
    let kind = args.kind.map(|kind| match kind {
        Kind::Train => LossKind::TrainBatch,
        Kind::Validation => LossKind::Validation,
    });
    let mut laws: Vec<Law> = Vec::new();
    for path in &args.law {
        let fit = fit::file::read(path)?;
        let mut label = fit.law.name().to_string();
        if laws.iter().any(|l| l.label == label) {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            label = format!("{label} ({stem})");
        }
        laws.push(Law::new(label, fit, kind));
    }
    let [run] = runs else { return Ok((laws, None)) };
    if !laws.is_empty() {
        return Ok((laws, None));
    }
    let own = run.dir.join("law.json");
    if !own.exists() {
        let enough = run.steps.len() >= crate::curve::MIN_POINTS;
        let note = enough.then(|| {
            let dir = run.dir.display();
            format!(
                "no law is held against this run: `lehr fit --train {dir} --out {dir}/law.json` fits one"
            )
        });
        return Ok((laws, note));
    }
    // A report does not die of a law that a newer version wrote.
    match fit::file::read(&own) {
        Ok(fit) => {
            laws.push(Law::new(fit.law.name().to_string(), fit, kind));
            Ok((laws, None))
        }
        Err(e) => Ok((laws, Some(format!("its law is left out: {e}")))),
    }
}

/// The schedules asked for, over the steps of the first run.
fn designed(specs: &[String], run: &Run) -> Result<Vec<(String, Vec<f64>)>> {
    let one = |spec: &String| {
        let shape: Shape = spec.parse()?;
        let steps = run.horizon();
        if steps > run::config::MOST_STEPS {
            return Err(Error::input(format!(
                "--schedule {spec}: {} steps are too many to lay out",
                thousands(steps)
            )));
        }
        let planned = run.facts.schedule.as_ref();
        let logged = run.steps.iter().map(|s| s.lr).fold(0.0, f64::max);
        let schedule = Schedule::new(&ScheduleSpec {
            shape,
            peak_lr: planned.map_or(logged, Schedule::peak_lr),
            warmup: Warmup::Steps(planned.map_or(0, Schedule::warmup_steps)),
            steps,
            tokens_per_step: None,
            compat: false,
        })?;
        let lrs = (0..steps).map(|s| schedule.lr(s)).collect();
        Ok((spec.clone(), lrs))
    };
    specs.iter().map(one).collect()
}

fn write_pictures(dir: &Path, pictures: &[Picture]) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create the directory", dir, e))?;
    for picture in pictures {
        let (svg, png) = match &picture.drawn {
            Drawn::Chart(chart) => (svg::draw(chart), png::draw(chart)?),
            Drawn::Heat(scene) => (svg::scene(scene), png::scene(scene)?),
        };
        files::write(&dir.join(format!("{}.svg", picture.id)), svg.as_bytes())?;
        files::write(&dir.join(format!("{}.png", picture.id)), &png)?;
    }
    Ok(())
}

fn said(args: &Args, g: &Gathered, pictures: &[Picture], out: &Path, bytes: usize) -> String {
    let mut text = String::new();
    for sentence in page::summary(g) {
        text += &super::fit::table::item("says", &sentence);
    }
    for note in &g.notes {
        text += &super::fit::table::item("note", note);
    }
    let size = format!(
        "{} kB, {} pictures",
        thousands(bytes as u64 / 1000),
        pictures.len()
    );
    text += &format!("{}\n", row("page", &out.display().to_string(), &size));
    if let Some(dir) = &args.pictures {
        let size = format!("{} files", 2 * pictures.len());
        text += &format!("{}\n", row("", &dir.display().to_string(), &size));
    }
    text
}

fn as_json(args: &Args, g: &Gathered, pictures: &[Picture], out: &Path) -> Value {
    let runs = g
        .runs
        .iter()
        .zip(&g.finals)
        .enumerate()
        .map(|(key, (run, f))| {
            let laws = g.laws.iter().zip(&g.under).filter_map(|(law, row)| {
                let under = row[key].as_ref()?;
                let end = under.end();
                Some(json!({
                    "law": law.label,
                    "kind": law.of(),
                    "final": {
                        "loss": end.loss,
                        "low": end.curve.0,
                        "high": end.curve.1,
                        "measured_low": end.measured.0,
                        "measured_high": end.measured.1,
                    },
                    "scores": under.scores,
                }))
            });
            json!({
                "run": run.dir,
                "name": run.name,
                "finished": run.finished(),
                "step": f.steps,
                "steps": run.facts.steps,
                "train_loss": f.train,
                "train_loss_over": f.over,
                "val_loss": f.held_out.map(|h| h.1),
                "val_bits_per_byte": f.held_out.and_then(|h| h.2),
                "val_loss_averaged": f.averaged,
                "tokens": f.tokens,
                "flops": f.flops,
                "seconds": f.seconds,
                "laws": laws.collect::<Vec<_>>(),
            })
        });
    json!({
        "page": out,
        "pictures": args.pictures,
        "drawn": pictures.iter().map(|p| p.id).collect::<Vec<_>>(),
        "runs": runs.collect::<Vec<_>>(),
        "notes": g.notes,
    })
}
