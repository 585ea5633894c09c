//! The bound of schedules that the user wrote.

use super::extend::{Extended, extend};
use super::{Args, ConventionFlag, highest, legend, spec, unit_lrs};
use crate::cli::fit::table::{item, number, plural, short};
use crate::cli::format::thousands;
use crate::design::bound::omega::points;
use crate::design::bound::optimal::{Optimal, optimal};
use crate::design::bound::schedules::split_specs;
use crate::design::bound::study::{Panel, Picture, Problem, lr_line, omega_line};
use crate::design::bound::{Iterate, Split};
use crate::error::{Error, Result};
use crate::files;
use crate::report::{Chart, bound, terminal};
use crate::schedule::Warmup;
use serde_json::json;
use std::fmt::Write;

/// A schedule and what its bound is made of.
struct Bounded {
    text: String,
    /// Unit LRs.
    lrs: Vec<f64>,
    split: Split,
}

struct Answer {
    problem: Problem,
    convention: &'static str,
    /// The schedule asked about, then those beside it.
    all: Vec<Bounded>,
    optimal: Option<Optimal>,
    extended: Option<Extended>,
    /// The longest warm-up of all of them, in steps.
    warmup: usize,
    /// Tables, which take no warm-up, where one was asked for.
    unwarmed: Vec<String>,
    /// Whether a table is written.
    writes: bool,
}

/// Points of `--curve` in JSON, and in the terminal.
const POINTS: usize = 1000;
const ROWS: usize = 10;
/// More curves than this can no longer be told apart.
const MOST: usize = 12;

pub fn run(text: &str, steps: usize, problem: Problem, args: &Args) -> Result<String> {
    let mut texts = vec![text.to_string()];
    texts.extend(args.against.iter().flat_map(|text| split_specs(text)));
    if texts.len() > MOST {
        return Err(Error::input(format!(
            "{} schedules are too many for one picture; give at most {MOST}",
            texts.len()
        )));
    }
    let closed = args.optimal || args.extend.is_some() || args.out.is_some();
    if problem.iterate == Iterate::Min && closed {
        return Err(Error::input(
            "--optimal, --extend and --out are about the last iterate's bound; leave --type min out",
        ));
    }
    let specs = texts
        .iter()
        .map(|text| spec(text, args))
        .collect::<Result<Vec<_>>>()?;
    let warmup: Warmup = args.warmup.parse()?;
    let any_warmup = ![Warmup::Steps(0), Warmup::Fraction(0.0)].contains(&warmup);
    let (mut longest, mut unwarmed) = (0, Vec::new());
    let mut all = Vec::new();
    for spec in &specs {
        let lrs = unit_lrs(spec, "--steps", steps, args)?;
        longest = longest.max(spec.warmup_steps(steps, warmup)?);
        if any_warmup && spec.is_table() {
            unwarmed.push(spec.text.clone());
        }
        all.push(Bounded {
            text: spec.text.clone(),
            split: problem.split(&lrs)?,
            lrs,
        });
    }
    let extended = match args.extend {
        Some(to) => {
            let gamma = all[0].split.best_lr();
            Some(extend(&specs[0], &all[0].lrs, gamma, to, &problem, args)?)
        }
        None => None,
    };
    let optimal = match args.optimal || (args.out.is_some() && extended.is_none()) {
        true => Some(optimal(problem.distance, &problem.norms.over(steps)?)?),
        false => None,
    };
    let answer = Answer {
        problem,
        convention: match args.convention {
            ConventionFlag::Lehr => "lehr",
            ConventionFlag::Schaipp => "schaipp",
        },
        all,
        optimal,
        extended,
        warmup: longest,
        unwarmed,
        writes: args.out.is_some(),
    };
    answer.say(args)
}

impl Answer {
    fn say(&self, args: &Args) -> Result<String> {
        let mut written = String::new();
        if let Some(path) = &args.out {
            let peak_lr = args.peak_lr.unwrap_or(1.0);
            files::write(path, self.table(peak_lr).as_bytes())?;
            written.push_str(&format!("wrote {}\n", path.display()));
        }
        let drawn = args.pictures.svg.is_some() || args.pictures.png.is_some();
        let chart = match drawn || !(args.no_plot || args.json) {
            true => Some(self.chart()?),
            false => None,
        };
        if let Some(chart) = &chart {
            written.push_str(&args.pictures.write(chart)?);
        }
        if args.json {
            return Ok(format!("{:#}\n", self.json(args)?));
        }
        let mut out = self.words();
        if args.curve {
            out.push_str(&self.curve_words()?);
        }
        if let Some(chart) = chart.filter(|_| !args.no_plot) {
            out.push('\n');
            out.push_str(&terminal::draw(&chart, terminal::colour_wanted()));
            out.push_str(&legend(&chart));
        }
        out.push_str(&written);
        Ok(out)
    }

    fn steps(&self) -> usize {
        self.all[0].lrs.len()
    }

    fn kind(&self) -> &'static str {
        match self.problem.iterate {
            Iterate::Last => "last",
            Iterate::Min => "min",
        }
    }

    fn assumed(&self) -> String {
        let iterate = match self.problem.iterate {
            Iterate::Last => "last iterate",
            Iterate::Min => "best iterate",
        };
        format!(
            "{iterate} after {} steps, D = {}, {}; schedules as {} has them",
            thousands(self.steps() as u64),
            self.problem.distance,
            self.problem.norms.describe(),
            self.convention
        )
    }

    /// What is easily misread in the numbers.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let (Some(_), 1..) = (&self.optimal, self.warmup) {
            notes.push(format!(
                "the least bound is that of all schedules, and has no warm-up; the schedules beside it spend {} on theirs, \
                 which is part of the gap",
                plural(self.warmup, "step")
            ));
        }
        if !self.unwarmed.is_empty() {
            notes.push(format!(
                "--warmup leaves {} as it stands: a table's learning rates are the file's",
                self.unwarmed.join(", ")
            ));
        }
        notes.extend(self.problem.norms.note());
        if let (true, [.., before, last]) = (self.writes, self.written_lrs())
            && last > before
        {
            notes.push(format!(
                "the last LR of what is written is {:.2} times the one before it: the bound's own optimum has that, since no \
                 step follows the last one; do not take it for advice",
                last / before
            ));
        }
        notes
    }

    /// What `--out` writes, before it is scaled.
    fn written_lrs(&self) -> &[f64] {
        match (&self.extended, &self.optimal) {
            (Some(extended), _) => extended.exact(),
            (None, Some(optimal)) => &optimal.lrs[..],
            (None, None) => &[],
        }
    }

    fn words(&self) -> String {
        let mut out = item("bound", &self.assumed());
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "\n  {:<36}{:>12}{:>12}{:>12}",
            "schedule", "Ω, γ=1", "γ*", "Ω*"
        );
        for one in &self.all {
            let _ = writeln!(
                out,
                "  {:<36}{:>12}{:>12}{:>12}",
                short(&one.text, 35),
                number(one.split.at(1.0)),
                number(one.split.best_lr()),
                number(one.split.best())
            );
        }
        if let Some(best) = &self.optimal {
            let peak = highest(&best.lrs);
            let _ = writeln!(
                out,
                "  {:<36}{:>12}{:>12}{:>12}",
                "the least bound",
                "",
                number(peak),
                number(best.omega)
            );
            let gap = 100.0 * (self.all[0].split.best() / best.omega - 1.0);
            out.push('\n');
            let text = format!(
                "Ω* of {} is {gap:.2} % above the least; γ* of the least bound is its highest LR, its last LR is {}",
                self.all[0].text,
                number(best.lrs[best.lrs.len() - 1])
            );
            out.push_str(&item("gap", &text));
        }
        for note in self.notes() {
            out.push_str(&item("note", &note));
        }
        if let Some(extended) = &self.extended {
            out.push_str(&extended.words());
        }
        out
    }

    fn chart(&self) -> Result<Chart> {
        let (lrs, omegas) = match &self.extended {
            Some(extended) => (extended.lr_lines(), extended.omega_lines(&self.problem)?),
            None => {
                let (mut lrs, mut omegas) = (Vec::new(), Vec::new());
                for one in &self.all {
                    let gamma = one.split.best_lr();
                    lrs.push(lr_line(&one.text, &one.lrs, gamma));
                    omegas.push(omega_line(&self.problem, &one.text, &one.lrs, gamma)?);
                }
                if let Some(best) = &self.optimal {
                    let name = "the least bound";
                    lrs.push(lr_line(name, &best.lrs, 1.0));
                    omegas.push(omega_line(&self.problem, name, &best.lrs, 1.0)?);
                }
                (lrs, omegas)
            }
        };
        let title = match &self.extended {
            Some(e) => format!("Ways on to {} steps", thousands(e.steps as u64)),
            None => "The convex bound at the best base LR".into(),
        };
        let picture = Picture {
            x: "step".into(),
            steps: true,
            panels: vec![Panel::small("learning rate", lrs), Panel::new("Ω", omegas)],
        };
        Ok(bound::chart(title, self.assumed(), &picture))
    }

    /// `step,lr`, which `table:FILE` reads.
    fn table(&self, peak_lr: f64) -> String {
        let lrs = self.written_lrs();
        let scale = peak_lr / highest(lrs);
        let mut out = String::from("step,lr\n");
        for (step, lr) in lrs.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{step},{:e}", lr * scale);
        }
        out
    }

    fn json(&self, args: &Args) -> Result<serde_json::Value> {
        let of = |one: &Bounded| {
            json!({
                "schedule": one.text,
                "omega": one.split.at(1.0),
                "gamma_star": one.split.best_lr(),
                "omega_star": one.split.best(),
                "split": {"distance": one.split.distance, "noise": one.split.noise},
            })
        };
        let mut out = of(&self.all[0]);
        out["steps"] = json!(self.steps());
        out["convention"] = json!(self.convention);
        out["type"] = json!(self.kind());
        out["distance"] = json!(self.problem.distance);
        out["grad_norm"] = json!(self.problem.norms.describe());
        if self.all.len() > 1 {
            out["against"] = self.all[1..].iter().map(of).collect();
        }
        if let Some(best) = self.optimal.as_ref().filter(|_| args.optimal) {
            out["optimal"] = json!({
                "omega": best.omega,
                "peak_lr": highest(&best.lrs),
                "lr_first": best.lrs[0],
                "lr_last": best.lrs[best.lrs.len() - 1],
                "above": self.all[0].split.best() / best.omega - 1.0,
            });
        }
        if let Some(extended) = &self.extended {
            out["extend"] = extended.json();
        }
        out["notes"] = json!(self.notes());
        if args.curve {
            let (at, omegas) = self.curve(POINTS)?;
            let gamma = self.all[0].split.best_lr();
            out["curve"] = json!({"gamma": gamma, "step": at, "omega": omegas});
        }
        Ok(out)
    }

    /// Ω of the schedule asked about along the run, at its best base LR.
    fn curve(&self, most: usize) -> Result<(Vec<usize>, Vec<f64>)> {
        let own = &self.all[0];
        let at = points(self.steps(), most);
        let norms = self.problem.norms.over(self.steps())?;
        let curve = self.problem.bound(&norms).curve(&own.lrs, &at);
        let gamma = own.split.best_lr();
        Ok((at, curve.iter().map(|split| split.at(gamma)).collect()))
    }

    fn curve_words(&self) -> Result<String> {
        let (at, omegas) = self.curve(ROWS)?;
        let mut out = format!("\n  {:<36}{:>12}\n", "step", "Ω at γ*");
        for (step, omega) in at.iter().zip(omegas) {
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "  {:<36}{:>12}",
                thousands(*step as u64),
                number(omega)
            );
        }
        Ok(out)
    }
}
