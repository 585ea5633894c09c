//! Rows in the order of training: what resumed runs, repeated rows and shuffled files come to.

use crate::schedule::count;

/// Above this share of rows that go backward a file is not in the order of training at all.
const UNORDERED: f64 = 0.1;

/// Puts rows in strictly increasing step order, by these rules:
/// - the same step again: the last row wins;
/// - a step below the one before it is a resumed run: the later rows win, and everything earlier
///   from that step on is dropped;
/// - where more than one row in ten goes backward (newest first, or shuffled), the rows are sorted
///   by step instead, and of equal steps the last row wins.
pub(super) fn settle(rows: Vec<(u64, f64)>) -> (Vec<(u64, f64)>, Settled) {
    let mut settled = Settled::default();
    let backward = rows.windows(2).filter(|w| w[1].0 < w[0].0).count();
    let mut rows = rows;
    if backward as f64 > UNORDERED * rows.len() as f64 {
        rows.sort_by_key(|row| row.0);
        settled.sorted = true;
    }
    let mut kept: Vec<(u64, f64)> = Vec::with_capacity(rows.len());
    for (step, value) in rows {
        let mut first = true;
        while let Some(&(last, _)) = kept.last() {
            if last < step {
                break;
            }
            // The row that is repeated stands at the end; more than that is a resumed run.
            if first && last == step {
                settled.repeated += 1;
            } else {
                settled.superseded += 1;
            }
            first = false;
            kept.pop();
        }
        kept.push((step, value));
    }
    (kept, settled)
}

/// What [`settle`] had to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    pub sorted: bool,
    /// Rows replaced by one of the same step right behind them.
    pub repeated: u64,
    /// Rows replaced by a resumed run.
    pub superseded: u64,
}

impl Settled {
    /// In words.
    pub fn tell(self, notes: &mut Vec<String>) {
        if self.sorted {
            notes.push("the rows were not in order and were sorted by step".into());
        }
        if self.repeated > 0 {
            notes.push(format!(
                "{} repeated {}: the last of each step counts",
                count(self.repeated),
                plural(self.repeated, "row")
            ));
        }
        if self.superseded > 0 {
            notes.push(format!(
                "the steps go backward as in a resumed run: {} earlier {} replaced by later ones",
                count(self.superseded),
                plural(self.superseded, "row")
            ));
        }
    }
}

/// Drops losses that are no finite numbers.
pub(super) fn finite(rows: Vec<(u64, f64)>, notes: &mut Vec<String>) -> Vec<(u64, f64)> {
    let bad = rows.iter().filter(|r| !r.1.is_finite()).count() as u64;
    if bad == 0 {
        return rows;
    }
    let first = rows.iter().find(|r| !r.1.is_finite()).map_or(0, |r| r.0);
    notes.push(format!(
        "{} {} NaN or infinite and left out, the first at step {}",
        count(bad),
        if bad == 1 { "loss is" } else { "losses are" },
        count(first)
    ));
    rows.into_iter().filter(|r| r.1.is_finite()).collect()
}

/// Says where rows are missing: a gap is more than two and a half times the usual spacing.
pub(super) fn note_gaps(rows: &[(u64, f64)], notes: &mut Vec<String>) {
    let mut spacings: Vec<u64> = rows.windows(2).map(|w| w[1].0 - w[0].0).collect();
    if spacings.is_empty() {
        return;
    }
    let middle = spacings.len() / 2;
    let usual = *spacings.select_nth_unstable(middle).1;
    let is_gap = |w: &&[(u64, f64)]| (w[1].0 - w[0].0) as f64 > 2.5 * usual as f64;
    // At a spacing of one, a single row that is missing is a gap too.
    let is_gap = |w: &&[(u64, f64)]| is_gap(w) || (usual == 1 && w[1].0 - w[0].0 > 1);
    let gaps = rows.windows(2).filter(is_gap).count() as u64;
    let Some(widest) = rows
        .windows(2)
        .filter(is_gap)
        .max_by_key(|w| w[1].0 - w[0].0)
    else {
        return;
    };
    notes.push(format!(
        "{} {} between the rows (usually {} {} apart), the widest from step {} to {}",
        count(gaps),
        plural(gaps, "gap"),
        count(usual),
        plural(usual, "step"),
        count(widest[0].0),
        count(widest[1].0)
    ));
}

fn plural(n: u64, word: &str) -> String {
    if n == 1 {
        word.to_string()
    } else {
        format!("{word}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(steps: &[u64]) -> (Vec<(u64, f64)>, Vec<String>) {
        let mut notes = Vec::new();
        let rows = steps.iter().copied().zip((0..).map(f64::from)).collect();
        let (rows, settled) = settle(rows);
        settled.tell(&mut notes);
        (rows, notes)
    }

    #[test]
    fn the_last_of_equal_steps_wins() {
        let (rows, notes) = settled(&[0, 1, 1, 2]);
        assert_eq!(rows, [(0, 0.0), (1, 2.0), (2, 3.0)]);
        assert!(notes[0].contains("1 repeated row"), "{notes:?}");
    }

    #[test]
    fn a_resumed_run_replaces_what_it_trained_again() {
        let steps: Vec<u64> = (0..30).chain(20..35).collect();
        let (rows, notes) = settled(&steps);
        assert_eq!(rows.len(), 35);
        assert_eq!((rows[19], rows[20]), ((19, 19.0), (20, 30.0)));
        assert!(notes[0].contains("resumed"), "{notes:?}");
    }

    #[test]
    fn files_that_are_in_no_order_are_sorted() {
        let (rows, notes) = settled(&[5, 4, 3, 2, 1, 0]);
        assert!(rows.windows(2).all(|w| w[0].0 < w[1].0) && rows.len() == 6);
        assert!(notes[0].contains("sorted"), "{notes:?}");
    }

    #[test]
    fn gaps_are_told() {
        let mut notes = Vec::new();
        let rows: Vec<(u64, f64)> = (0..20).filter(|s| *s != 7).map(|s| (s, 1.0)).collect();
        note_gaps(&rows, &mut notes);
        assert_eq!(
            notes,
            ["1 gap between the rows (usually 1 step apart), the widest from step 6 to 8"]
        );
    }
}
