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

/// The law that is drawn.
#[derive(Clone, Debug)]
pub struct First<'a> {
    /// Its place among [`Gathered::laws`].
    pub place: usize,
    pub law: &'a Law,
    /// The runs that it speaks of, at least one: (key of the run, what it says).
    pub under: Vec<(usize, &'a Under)>,
}

/// Laws in one picture; more lines can no longer be told apart.
pub const MOST_LAWS: usize = 7;

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
        all.notes.extend(all.not_drawn());
        all
    }

    pub fn single(&self) -> bool {
        self.runs.len() == 1
    }

    /// The first law that can be held against some run.
    pub fn first_law(&self) -> Option<First<'_>> {
        let rows = self.laws.iter().zip(&self.under).enumerate();
        let mut firsts = rows.map(|(place, (law, row))| {
            let under = row.iter().enumerate();
            let under = under.filter_map(|(key, u)| Some((key, u.as_ref()?)));
            let under = under.collect();
            First { place, law, under }
        });
        firsts.find(|first| !first.under.is_empty())
    }

    /// Of a single run, the laws after the first that speak of it, and whether each speaks of the same losses as the first.
    fn later_laws(&self) -> Vec<(&Law, &Under, bool)> {
        let Some(first) = self.first_law().filter(|_| self.single()) else {
            return Vec::new();
        };
        let later = self.laws.iter().zip(&self.under).skip(first.place + 1);
        let later = later.filter_map(|(law, row)| Some((law, row[0].as_ref()?)));
        later
            .map(|(law, under)| (law, under, law.of() == first.law.of()))
            .collect()
    }

    /// Of a single run, the laws that are drawn beside the first: those of the same losses, as far as there is room.
    pub fn drawn_beside(&self) -> Vec<(&Law, &Under)> {
        let same = self.later_laws().into_iter().filter(|(.., same)| *same);
        let same = same.map(|(law, under, _)| (law, under));
        same.take(MOST_LAWS - 1).collect()
    }

    /// Which laws of a single run have no line of their own, and why.
    fn not_drawn(&self) -> Vec<String> {
        let Some(first) = self.first_law() else {
            return Vec::new();
        };
        let (same, other): (Vec<_>, Vec<_>) =
            self.later_laws().into_iter().partition(|(.., same)| *same);
        let names = |laws: &[(&Law, &Under, bool)]| -> String {
            let names: Vec<&str> = laws.iter().map(|l| &l.0.label[..]).collect();
            names.join(", ")
        };
        let mut notes = Vec::new();
        if let [(law, ..), ..] = &other[..] {
            notes.push(format!(
                "of {} losses, and so not drawn beside {}, which is of {} losses: {}",
                law.of(),
                first.law.label,
                first.law.of(),
                names(&other)
            ));
        }
        if let Some(beyond) = same.get(MOST_LAWS - 1..).filter(|laws| !laws.is_empty()) {
            notes.push(format!(
                "a picture has room for {MOST_LAWS} laws; in tables alone: {}",
                names(beyond)
            ));
        }
        notes
    }

    /// What the report says of itself.
    pub fn title(&self) -> String {
        match &self.runs[..] {
            [run] => run.name.clone(),
            runs => format!("{} runs", runs.len()),
        }
    }
}
