//! `lehr compare`: laws beside one another, on the same curves or on the tasks of a suite.

mod suite;

use super::fit::flags::{self, CurveFlags, FitFlags};
use super::fit::scored::Judged;
use super::fit::table::{notes, plural, seconds, short, thousandths};
use super::picture::{PictureFlags, print};
use crate::curve::LossCurve;
use crate::error::Result;
use crate::fit::{self, FitOptions};
use crate::law::Law;
use crate::report::{chart::letter, fitted, terminal};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// The law that we recommend, with the default settings of `lehr fit`, for data never seen.
pub const GENERAL: &str = "elr";

/// More laws than this are not drawn in the terminal.
const MOST_DRAWN: usize = 3;

/// Fit several laws to the same curves and line up what they predict
///
/// With --train and --test: laws against curves, in one table and one picture. With --suite: the
/// tasks of a suite; each fits some runs, predicts others, and scores only what comes after the part
/// that both share, with the error of the final loss and the share of pairs of runs that
/// come out in the right order.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lehr compare --law opl,tissue,mpl --train cosine.csv constant.csv \\
      --test wsd.csv --png laws.png
  lehr compare --suite lr_suite/tasks.json --law all --json")]
pub struct Args {
    /// Laws, as in opl,tissue,mpl, or all
    #[arg(long, default_value = "all", value_name = "NAME,…")]
    law: String,
    /// Curves to fit
    #[arg(long, value_name = "CURVE", num_args = 1.., required_unless_present = "suite")]
    train: Vec<String>,
    /// Curves to predict
    #[arg(long, value_name = "CURVE", num_args = 1..)]
    test: Vec<String>,
    /// A suite: curves with exact schedules, and tasks
    #[arg(long, value_name = "DIR/tasks.json", conflicts_with_all = ["train", "test", "svg", "png"])]
    suite: Option<PathBuf>,
    #[command(flatten)]
    curves: CurveFlags,
    #[command(flatten)]
    fitting: FitFlags,
    #[command(flatten)]
    pictures: PictureFlags,
    /// Leave the picture in the terminal out (it is drawn for up to three laws)
    #[arg(long)]
    no_plot: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    if let Some(path) = &args.suite {
        return suite::run(path, &args.law, &args.fitting, args.json);
    }
    let train = args.curves.read(&args.train)?;
    let test = args.curves.read(&args.test)?;
    let fitted: Vec<&LossCurve> = train.iter().collect();
    let laws = flags::laws(&args.law, &args.fitting.law_options(&fitted)?, &fitted)?;
    let found = fit_all(&laws, &args.fitting.options()?, &train, &test)?;
    let show = Show {
        pictures: &args.pictures,
        plot: !args.no_plot,
        json: args.json,
    };
    side_by_side(&found, &train, &test, &show)
}

/// A law that could be fitted, or why not.
pub type Tried = (String, std::result::Result<Judged, String>);

/// Fits every law to `train` and scores it. A law that these curves cannot fit is told beside the others.
///
/// # Errors
/// Where no law can be fitted: the reason of the first.
pub fn fit_all(
    laws: &[Arc<dyn Law>],
    options: &FitOptions,
    train: &[LossCurve],
    test: &[LossCurve],
) -> Result<Vec<Tried>> {
    let fitted: Vec<&LossCurve> = train.iter().collect();
    let mut first_error = None;
    let mut tried = Vec::new();
    for law in laws {
        let judged = fit::fit(law, &fitted, options).and_then(|fit| Judged::new(fit, train, test));
        tried.push((
            law.name().to_string(),
            judged.map_err(|e| {
                let text = e.to_string();
                first_error.get_or_insert(e);
                text
            }),
        ));
    }
    match first_error {
        Some(e) if tried.iter().all(|t| t.1.is_err()) => Err(e),
        _ => Ok(tried),
    }
}

/// What is asked for.
pub struct Show<'a> {
    pub pictures: &'a PictureFlags,
    pub plot: bool,
    pub json: bool,
}

/// One table, one picture, or one JSON object: `laws`, each as `lehr fit --json` gives it.
pub fn side_by_side(
    tried: &[Tried],
    train: &[LossCurve],
    test: &[LossCurve],
    show: &Show,
) -> Result<()> {
    let drawn: Vec<_> = tried
        .iter()
        .filter_map(|(name, judged)| {
            let judged = judged.as_ref().ok()?;
            let mut drawn = judged.drawn(train, test);
            drawn.iter_mut().enumerate().for_each(|(i, d)| {
                d.remark = if i < train.len() { "fitted" } else { "test" }.into();
            });
            Some((name.clone(), drawn))
        })
        .collect();
    let title = format!(
        "{} on {}",
        plural(drawn.len(), "law"),
        plural(train.len(), "fitted curve")
    );
    let chart = fitted::compare(title, &drawn);
    let written = show.pictures.write(&chart)?;
    if show.json {
        let laws: Vec<Value> = tried
            .iter()
            .map(|(name, judged)| match judged {
                Ok(judged) => judged.json(train, test),
                Err(e) => json!({ "law": name, "error": e }),
            })
            .collect();
        let total: f64 = tried
            .iter()
            .filter_map(|t| t.1.as_ref().ok())
            .map(|j| j.fit.seconds)
            .sum();
        return print(&format!(
            "{:#}\n",
            json!({ "laws": laws, "seconds": total })
        ));
    }
    let mut out = table(tried, train, test);
    if show.plot && drawn.len() <= MOST_DRAWN {
        out.push('\n');
        out.push_str(&terminal::draw(&chart, terminal::colour_wanted()));
    }
    out.push_str(&written);
    print(&out)
}

/// Laws down, means across; then every curve's MAE.
fn table(tried: &[Tried], train: &[LossCurve], test: &[LossCurve]) -> String {
    let mut out = String::new();
    let over = match test.len() {
        0 => format!("mean over {}", plural(train.len(), "fitted curve")),
        n => format!("mean over {}", plural(n, "test curve")),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{over:<34}{:>46}",
        "errors ×10⁻³: nats; PredE, WorstE relative"
    );
    let _ = writeln!(
        out,
        "  {:<16}{:>9}{:>8}{:>8}{:>8}{:>8}{:>8}{:>9}",
        "law", "R²", "MAE", "RMSE", "PredE", "WorstE", "final", "seconds"
    );
    for (name, judged) in tried {
        let Ok(judged) = judged else { continue };
        let of_train: Vec<fit::Scores> = judged.train.iter().map(|s| s.raw).collect();
        let mean = judged.test_mean().or_else(|| fit::Scores::mean(&of_train));
        let Some(mean) = mean else { continue };
        let _ = writeln!(
            out,
            "  {:<16}{:>9.5}{:>8}{:>8}{:>8}{:>8}{:>8}{:>9}",
            short(name, 16),
            mean.r2,
            thousandths(mean.mae),
            thousandths(mean.rmse),
            thousandths(mean.pred_e),
            thousandths(mean.worst_e),
            thousandths(mean.final_error.abs()),
            seconds(judged.fit.seconds)
        );
    }
    out.push('\n');
    curve_by_curve(&mut out, tried, train, test);
    for (name, judged) in tried {
        if let Err(e) = judged {
            let text = format!("{name}: {e}");
            let _ = writeln!(out, "{}", super::format::wrap(&text, 80, "  "));
        }
    }
    let curves: Vec<&LossCurve> = train.iter().chain(test).collect();
    notes(&mut out, &[], &curves);
    out
}

/// Curves go by their letters, as many as fit a line, and are named below.
fn curve_by_curve(out: &mut String, tried: &[Tried], train: &[LossCurve], test: &[LossCurve]) {
    const ABREAST: usize = 10;
    let names: Vec<&str> = train.iter().chain(test).map(|c| &c.name[..]).collect();
    let noisy = tried
        .iter()
        .filter_map(|t| t.1.as_ref().ok())
        .any(|j| j.train.iter().chain(&j.test).any(|s| s.noisy.is_some()));
    let what = match noisy {
        true => "MAE of each curve, ×10⁻³ nats, against the EMA where losses are of single batches",
        false => "MAE of each curve, ×10⁻³ nats",
    };
    let _ = writeln!(out, "{}", super::format::wrap(what, 80, ""));
    for start in (0..names.len()).step_by(ABREAST) {
        let end = (start + ABREAST).min(names.len());
        let _ = write!(out, "  {:<16}", "law");
        for key in start..end {
            let mark = if key < train.len() { " fit" } else { "" };
            let _ = write!(out, "{:>6}", format!("{}{mark}", letter(key)));
        }
        out.push('\n');
        for (name, judged) in tried {
            let Ok(judged) = judged else { continue };
            let _ = write!(out, "  {:<16}", short(name, 16));
            let scored = judged.train.iter().chain(&judged.test);
            for s in scored.skip(start).take(ABREAST) {
                let _ = write!(out, "{:>6}", thousandths(s.shown().mae));
            }
            out.push('\n');
        }
    }
    for (key, name) in names.iter().enumerate() {
        let _ = writeln!(out, "  {}  {name}", letter(key));
    }
}
