//! What a suite prints fits a terminal, however long its names are.

use super::plan;
use super::screen::SuiteScreen;
use super::table::{self, Outcomes, elided, titled};
use crate::scaling::suite::Suite;
use crate::scaling::suite::cost::Cost;
use crate::scaling::suite::execute::Watcher;
use crate::scaling::suite::failures::Failure;
use crate::scaling::suite::missing::missing;
use crate::scaling::suite::plan::Plan;
use crate::scaling::suite::results::{self, Finished};
use crate::scaling::suite::spec::Spec;
use std::path::Path;

const WIDTH: usize = 80;

/// Two sizes whose names of thirty characters differ at their ends, with many horizons.
const SPEC: &str = r#"
    [suite]
    name = "a-suite-with-a-name-of-thirty-c"
    out = "DIR/out"
    seeds = [0, 1]
    horizons = [100, 200, 300, 400, 500, 600]
    cosine = true
    [set]
    data.path = "DIR/text.txt"
    data.cache = "DIR/prepared"
    data.tokenizer = "char"
    train.sequence_length = 16
    train.batch_size = 4
    schedule.warmup = "5"
    [[size]]
    name = "a-size-with-a-name-of-thirty-1"
    [[size]]
    name = "a-size-with-a-name-of-thirty-2"
    [[cooldown]]
    name = "a-short-one-of-thirty-letters-"
    fraction = 0.1
"#;

fn suite(dir: &Path) -> Suite {
    let lines = "It goes on for a while, and then it ends.\n<|endoftext|>\n".repeat(400);
    std::fs::write(dir.join("text.txt"), lines).unwrap();
    let spec = SPEC.replace("DIR", dir.to_str().unwrap());
    let spec = Spec::parse(&spec, Path::new("s.toml")).unwrap();
    Suite::resolve(spec, &mut ()).unwrap()
}

fn fits(text: &str) {
    let long = |l: &&str| l.chars().count() > WIDTH;
    let too_long: Vec<&str> = text.lines().filter(long).collect();
    assert!(too_long.is_empty(), "{too_long:#?}\nof\n{text}");
}

/// A row of results for a cell, as if it had been trained.
fn row(suite: &Suite, index: usize) -> Finished {
    let cell = &suite.cells[index];
    let model = suite.model(cell);
    Finished {
        size: model.name.clone(),
        seed: cell.seed,
        kind: cell.kind(),
        params: 1,
        tokens: 1,
        flops: 1.0,
        loss: 10.0 + cell.seed as f64,
        steps: cell.steps,
        peak_lr: 1e-3,
        run: String::new(),
    }
}

#[test]
fn plans_and_tables_fit_whatever_the_names() {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path());
    let mut plan = Plan::of(&suite, false);
    for row in &mut plan.sizes {
        (row.steps, row.tokens_per_step) = (12_345_678, 16_777_216);
    }
    let said = plan::words(&suite, &plan, Some((4e14, 0.4)));
    fits(&said);
    // Sizes are told apart, by either end.
    assert!(said.contains("  a-siz…rty-1 "), "{said}");

    let rows: Vec<Finished> = (0..suite.cells.len()).map(|i| row(&suite, i)).collect();
    let outcomes = Outcomes {
        pairs: results::pairs(&suite, &rows),
        rows: rows[1..].to_vec(),
        spent: Cost::of(&suite, |_, c| c.own_steps()),
        missing: missing(&suite),
    };
    let failure = Failure {
        cell: suite.cells[0].id.clone(),
        why: "the loss is not finite at step 12; give a lower peak_lr".into(),
    };
    let said = table::words(&suite, &outcomes, &[failure]);
    // The commands of the last lines are to be copied, whole.
    let (tables, next) = said.split_once("\nnext").unwrap();
    assert!(next.contains("suite s.toml --yes"), "{said}");
    fits(tables);
    assert!(
        tables.contains("rs-") && tables.contains("difference"),
        "{tables}"
    );
    assert!(tables.contains(" more"), "{tables}");
}

#[test]
fn horizons_stand_in_columns_two_apart() {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path());
    let said = plan::words(&suite, &Plan::of(&suite, false), None);
    let mut lines = said.lines().skip_while(|l| !l.starts_with("    ends at"));
    let first = lines.next().unwrap();
    assert!(first.starts_with("    ends at  6.40 k (100, "), "{first}");
    assert!(first.contains("x)  12.8 k (200, "), "{first}");
    let second = lines.next().unwrap();
    assert_eq!(second.find(|c| c != ' '), Some(13), "{second}");
    assert_eq!(
        first.matches("x)").count() + second.matches("x)").count(),
        6
    );
}

#[test]
fn titles_give_way_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path());
    let mut plan = Plan::of(&suite, false);
    for row in &mut plan.sizes {
        row.seconds_per_step = Some(100.0);
    }
    for index in 0..suite.cells.len() {
        let mut screen = SuiteScreen::new(&suite, &plan);
        screen.begins(&suite, index);
        let cell = &suite.cells[index];
        let line = screen.headline(cell.first_step() + 1);
        fits(&line);
        let end = match cell.first_step() {
            0 => format!("{} steps", cell.steps),
            at => format!("{at} → {}", cell.steps),
        };
        assert!(line.contains(&end) && line.contains("eta"), "{line}");
    }
    let rest = ", seed 0, cooldown 480 → 600";
    assert_eq!(titled("small", rest, 40), format!("small{rest}"));
    assert_eq!(
        titled("a-size-with-a-name-of-thirty-1", rest, 40),
        format!("a-siz…irty-1{rest}")
    );
    assert_eq!(elided("abcdef", 1), "…");
    assert_eq!(elided("abcdef", 4), "a…ef");
}
