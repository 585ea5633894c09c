//! What a page is about: runs, and the laws that they are held against.

use crate::report::run::Run;
use crate::report::run::derived::Finals;
use crate::report::run::under::{Law, Under};

/// Everything that a report shows.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Each with a step at least, and a name of its own.
    pub runs: Vec<Run>,
    pub finals: Vec<Finals>,
    pub laws: Vec<Law>,
    /// Of every law, of every run; `None` where the law cannot be held against it.
    pub under: Vec<Vec<Option<Under>>>,
    /// Schedules that nobody has run: a name, and the LR of every step.
    pub designed: Vec<(String, Vec<f64>)>,
    /// One sentence each.
    pub notes: Vec<String>,
}

impl Gathered {
    /// Runs without a step are left out and told.
    pub fn new(runs: Vec<Run>, laws: Vec<Law>, designed: Vec<(String, Vec<f64>)>) -> Gathered {
        let mut all = Gathered {
            laws,
            designed,
            ..Gathered::default()
        };
        let several = runs.len() > 1;
        for run in runs {
            let named = |note: String| match several {
                true => format!("{}: {note}", run.name),
                false => note,
            };
            all.notes.extend(run.notes().into_iter().map(named));
            match Finals::of(&run) {
                Some(finals) => {
                    all.finals.push(finals);
                    all.runs.push(run);
                }
                None => all.notes.push(format!("{} has no step yet", run.name)),
            }
        }
        // Reasons, each with the laws that share it.
        let mut beyond: Vec<(String, Vec<&str>)> = Vec::new();
        for law in &all.laws {
            if law.mixed() {
                all.notes.push(format!(
                    "{} was fitted, it seems, to training losses of some curves and held-out losses of others: fit one kind of \
                     them (lehr fit --kind validation)",
                    law.label
                ));
            }
            let mut row = Vec::with_capacity(all.runs.len());
            for run in &all.runs {
                row.push(match Under::new(run, law) {
                    Ok(under) => {
                        if let Some(why) = under.beyond(law) {
                            let reason = format!("may not hold for {}: {why}", run.name);
                            match beyond.iter_mut().find(|(known, _)| *known == reason) {
                                Some((_, laws)) => laws.push(&law.label),
                                None => beyond.push((reason, vec![&law.label])),
                            }
                        }
                        Some(under)
                    }
                    Err(why) => {
                        let (law, run) = (&law.label, &run.name);
                        all.notes
                            .push(format!("{law} is not held against {run}: {why}"));
                        None
                    }
                });
            }
            all.under.push(row);
        }
        let beyond = beyond.iter();
        let beyond = beyond.map(|(reason, laws)| format!("{} {reason}", laws.join(", ")));
        all.notes.extend(beyond);
        all
    }

    pub fn single(&self) -> bool {
        self.runs.len() == 1
    }

    /// The runs that the first law speaks of: (key of the run, what it says).
    pub fn first_law(&self) -> Vec<(usize, &Under)> {
        let row = self.under.first().into_iter().flatten().enumerate();
        row.filter_map(|(i, u)| Some((i, u.as_ref()?))).collect()
    }

    /// What the report says of itself.
    pub fn title(&self) -> String {
        match &self.runs[..] {
            [run] => run.name.clone(),
            runs => format!("{} runs", runs.len()),
        }
    }
}
