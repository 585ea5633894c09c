//! `lehr compare --suite`: every task of a suite by every law.
//!
//! A task fits its `fit` curves from step `fit_from` on and predicts its `test` curves. A test curve is
//! scored at the points strictly after `score_after`, because before it the run shares its prefix with a
//! fitted one. `plateau_end` marks where the constant part of a test run ends; points up to it are scored like all
//! others, and each curve's JSON tells the errors before and after it apart.
//!
//! Two test runs of equal `total_steps` whose true final losses differ by more than the suite's
//! `rank_threshold` are a pair; it is right where the predicted final losses, each at its run's last
//! point, have the same order.

use super::super::fit::flags::{FitFlags, laws};
use super::super::fit::scored::{fit_json, params_json, scores_json};
use super::super::fit::table::{seconds, short, thousandths};
use super::super::format::{thousands, wrap};
use super::super::picture::print;
use super::GENERAL;
use crate::curve::LossCurve;
use crate::curve::suite::{Suite, Task, TestCurve};
use crate::error::Result;
use crate::fit::{self, Fit, FitOptions, Scores};
use crate::law::Law;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

/// One test curve under one law.
struct Tested<'a> {
    test: &'a TestCurve,
    scores: Scores,
    /// Before and after the end of the plateau, where the suite tells it.
    parts: Option<(Scores, Scores)>,
    true_final: f64,
    predicted_final: f64,
}

/// One task under one law.
struct Outcome<'a> {
    fit: Fit,
    tested: Vec<Tested<'a>>,
    /// Right pairs, and all.
    pairs: (usize, usize),
}

/// Runs the suite and prints a table or a JSON object.
pub fn run(path: &Path, list: &str, flags: &FitFlags, as_json: bool) -> Result<()> {
    let suite = Suite::read(path)?;
    let mut tasks = Map::new();
    let mut words = String::new();
    for task in &suite.tasks {
        let fitted: Vec<&LossCurve> = task.fit.iter().map(|name| &suite.curves[name]).collect();
        let options = FitOptions {
            from: Some(flags.from.unwrap_or(task.fit_from)),
            ..flags.options()?
        };
        let mut of_laws = Map::new();
        head(&mut words, task, &fitted);
        for law in laws(list, &flags.law_options(&fitted)?, &fitted)? {
            let outcome = outcome(&suite, task, &law, &fitted, &options);
            let name = law.name();
            match &outcome {
                Ok(outcome) => line(&mut words, name, outcome),
                Err(e) => {
                    let text = format!("{name}: {e}");
                    // Writing to a String cannot fail.
                    let _ = writeln!(words, "{}", wrap(&text, 80, "  "));
                }
            }
            let value = match outcome {
                Ok(outcome) => outcome.json(),
                Err(e) => json!({ "error": e.to_string() }),
            };
            of_laws.insert(name.to_string(), value);
        }
        words.push('\n');
        tasks.insert(task.name.clone(), Value::Object(of_laws));
    }
    if as_json {
        return print(&format!(
            "{:#}\n",
            json!({ "tasks": tasks, "general": GENERAL })
        ));
    }
    let _ = writeln!(
        words,
        "for data never seen: --law {GENERAL}, with the settings left as they are"
    );
    print(&words)
}

fn outcome<'a>(
    suite: &Suite,
    task: &'a Task,
    law: &Arc<dyn Law>,
    fitted: &[&LossCurve],
    options: &FitOptions,
) -> Result<Outcome<'a>> {
    let fit = fit::fit(law, fitted, options)?;
    let tested = task
        .test
        .iter()
        .map(|test| Tested::new(&fit, &suite.curves[&test.curve], test))
        .collect::<Result<Vec<_>>>()?;
    let pairs = pairs(&tested, suite.rank_threshold);
    Ok(Outcome { fit, tested, pairs })
}

impl<'a> Tested<'a> {
    fn new(fit: &Fit, curve: &LossCurve, test: &'a TestCurve) -> Result<Tested<'a>> {
        let scored = curve.after(test.score_after);
        let predicted = fit.predict_curve(&scored);
        let scores = fit::score(&predicted, &scored, 0)?;
        let end = predicted.len() - 1;
        let parts = test.plateau_end.and_then(|plateau_end| {
            let losses = scored.losses();
            let cut = scored.points.partition_point(|p| p.step <= plateau_end);
            Some((
                Scores::of(&predicted[..cut], &losses[..cut])?,
                Scores::of(&predicted[cut..], &losses[cut..])?,
            ))
        });
        Ok(Tested {
            test,
            scores,
            parts,
            true_final: scored.points[end].loss,
            predicted_final: predicted[end],
        })
    }

    fn json(&self) -> Value {
        let mut value = scores_json(&self.scores);
        value["curve"] = json!(self.test.curve);
        value["true_final"] = json!(self.true_final);
        value["predicted_final"] = json!(self.predicted_final);
        if let Some((plateau, cooldown)) = &self.parts {
            value["plateau"] = scores_json(plateau);
            value["cooldown"] = scores_json(cooldown);
        }
        value
    }
}

impl Outcome<'_> {
    fn mean(&self) -> Option<Scores> {
        let all: Vec<Scores> = self.tested.iter().map(|t| t.scores).collect();
        Scores::mean(&all)
    }

    fn json(&self) -> Value {
        let mut value = match self.mean() {
            Some(mean) => scores_json(&mean),
            None => json!({}),
        };
        if let Some(fields) = value.as_object_mut() {
            // Of a mean it is a mean size, and has a name of its own.
            let final_mae = fields.remove("final_error");
            fields.insert("final_mae".into(), final_mae.unwrap_or_default());
        }
        value["pairs_ok"] = json!(self.pairs.0);
        value["pairs"] = json!(self.pairs.1);
        value["seconds"] = json!(self.fit.seconds);
        value["params"] = params_json(&self.fit);
        value["fit"] = fit_json(&self.fit);
        value["curves"] = self.tested.iter().map(Tested::json).collect();
        value
    }
}

fn pairs(tested: &[Tested], threshold: f64) -> (usize, usize) {
    let (mut right, mut all) = (0, 0);
    for (i, a) in tested.iter().enumerate() {
        for b in &tested[i + 1..] {
            let apart = a.true_final - b.true_final;
            if a.test.total_steps == b.test.total_steps && apart.abs() > threshold {
                all += 1;
                let predicted = a.predicted_final - b.predicted_final;
                right += usize::from(predicted * apart > 0.0);
            }
        }
    }
    (right, all)
}

// Writing to a String cannot fail, here and below.
fn head(out: &mut String, task: &Task, fitted: &[&LossCurve]) {
    let names: Vec<&str> = fitted.iter().map(|c| &c.name[..]).collect();
    let text = format!(
        "{}: fitted from step {} on {}; {} predicted",
        task.name,
        thousands(task.fit_from),
        names.join(", "),
        super::plural(task.test.len(), "curve")
    );
    let _ = writeln!(out, "{}", wrap(&text, 80, ""));
    let _ = writeln!(
        out,
        "  {:<16}{:>10}{:>8}{:>8}{:>8}{:>9}{:>8}{:>9}",
        "law, ×10⁻³ nats", "MAE", "finals", "pairs", "RMSE", "R²", "WorstE", "seconds"
    );
}

fn line(out: &mut String, name: &str, outcome: &Outcome) {
    let Some(mean) = outcome.mean() else { return };
    let _ = writeln!(
        out,
        "  {:<16}{:>10}{:>8}{:>8}{:>8}{:>9.4}{:>8}{:>9}",
        short(name, 16),
        thousandths(mean.mae),
        thousandths(mean.final_error),
        format!("{}:{}", outcome.pairs.0, outcome.pairs.1),
        thousandths(mean.rmse),
        mean.r2,
        thousandths(mean.worst_e),
        seconds(outcome.fit.seconds)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tested(test: &TestCurve, true_final: f64, predicted_final: f64) -> Tested<'_> {
        Tested {
            test,
            scores: Scores::of(&[1.0], &[1.0]).unwrap(),
            parts: None,
            true_final,
            predicted_final,
        }
    }

    #[test]
    fn pairs_are_of_equal_length_and_clearly_apart() {
        let run = |total_steps| TestCurve {
            curve: "c".into(),
            score_after: 0,
            plateau_end: None,
            total_steps,
        };
        let (short, long) = (run(10), run(20));
        let all = [
            tested(&short, 3.00, 3.1),
            tested(&short, 3.01, 3.2),
            tested(&short, 3.02, 3.15),
            tested(&short, 3.021, 3.0),
            tested(&long, 2.0, 5.0),
        ];
        // Of the five pairs more than .003 apart, two are right: 1 before 2, and 1 before 3.
        assert_eq!(pairs(&all, 0.003), (2, 5));
    }
}
