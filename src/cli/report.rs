//! `lehr report`: what runs did, as one HTML file.

use super::fit::flags::Kind;
use super::format::thousands;
use super::picture::print;
use super::progress::row;
use crate::curve::LossKind;
use crate::error::{Error, Result};
use crate::files;
use crate::fit::{self, Fit};
use crate::report::page::pictures::{self, Drawn, Picture};
use crate::report::page::{self, Gathered};
use crate::report::run::under::Law;
use crate::report::run::{self, Run};
use crate::report::words::printable;
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
    /// Laws that lehr fit wrote, to hold against every run; of a single run all of one kind of loss are drawn, of several runs
    /// the first that can be held against one
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
    let fits: Vec<Fit> = args
        .law
        .iter()
        .map(|path| fit::file::read(path))
        .collect::<Result<_>>()?;
    let named: Vec<(&str, &Path)> = fits
        .iter()
        .zip(&args.law)
        .map(|(fit, path)| (fit.law.name(), path.as_path()))
        .collect();
    let labels = labels(&named);
    let mut laws: Vec<Law> = labels
        .into_iter()
        .zip(fits)
        .map(|(label, fit)| Law::new(label, fit, kind))
        .collect();
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

/// `opl`; laws of one name have their files behind it, `opl (warm)`, and as many directories as tell these apart, `opl (a/law)`.
fn labels(laws: &[(&str, &Path)]) -> Vec<String> {
    // The last `n` parts of a path, without its extension.
    let tail = |path: &Path, n: usize| -> String {
        let path = path.with_extension("");
        let parts = path.components().map(|part| part.as_os_str());
        let parts: Vec<_> = parts.map(|part| part.to_string_lossy()).collect();
        parts[parts.len().saturating_sub(n)..].join("/")
    };
    let label = |(at, (name, path)): (usize, &(&str, &Path))| {
        let others = laws.iter().enumerate();
        let others = others.filter(|(i, (other, _))| *i != at && other == name);
        let others: Vec<&Path> = others.map(|(_, (_, path))| *path).collect();
        if others.is_empty() {
            return name.to_string();
        }
        let all = others.iter().copied().chain([*path]);
        let depth = all.map(|path| path.components().count()).max().unwrap_or(1);
        let unlike = |n: &usize| others.iter().all(|o| tail(o, *n) != tail(path, *n));
        match (1..=depth).find(unlike) {
            Some(n) => format!("{name} ({})", tail(path, n)),
            // One path given twice, or two that differ in their extension alone.
            None => format!("{name} ({}, no. {})", path.display(), at + 1),
        }
    };
    laws.iter().enumerate().map(label).collect()
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
        text += &super::fit::table::item("says", &printable(&sentence));
    }
    for note in &g.notes {
        text += &super::fit::table::item("note", &printable(note));
    }
    let size = format!(
        "{} kB, {} pictures",
        thousands(bytes as u64 / 1000),
        pictures.len()
    );
    let shown = |path: &Path| printable(&path.display().to_string());
    text += &format!("{}\n", row("page", &shown(out), &size));
    if let Some(dir) = &args.pictures {
        let size = format!("{} files", 2 * pictures.len());
        text += &format!("{}\n", row("", &shown(dir), &size));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_of_one_name_have_labels_of_their_own() {
        let of = |laws: &[(&'static str, &'static str)]| {
            let laws: Vec<(&str, &Path)> = laws.iter().map(|(n, p)| (*n, Path::new(p))).collect();
            labels(&laws)
        };
        assert_eq!(
            of(&[("opl", "a/law.json"), ("mpl", "b/law.json")]),
            ["opl", "mpl"]
        );
        assert_eq!(
            of(&[("opl", "cold.json"), ("opl", "a/warm.json")]),
            ["opl (cold)", "opl (warm)"]
        );
        let three = [
            ("opl", "a/law.json"),
            ("opl", "b/law.json"),
            ("opl", "x/b/law.json"),
            ("mpl", "law.json"),
        ];
        assert_eq!(
            of(&three),
            ["opl (a/law)", "opl (b/law)", "opl (x/b/law)", "mpl"]
        );
        let twice = of(&[("opl", "law.json"), ("opl", "law.json")]);
        assert_ne!(twice[0], twice[1]);
    }
}
