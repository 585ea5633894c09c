//! Cells, hashes and costs over a corpus of a few lines, and the cooldown paper's grid.

use super::cell::{self, Cell, Further, Kind, Recipe};
use super::cost::{Cost, gpu_hours};
use super::results::Mean;
use super::spec::{Spec, Tailing};
use super::suite::Suite;
use crate::model::flops::{ForwardFlops, TRAIN_OVER_FORWARD};
use crate::schedule::Decay;
use proptest::prelude::*;
use std::path::Path;

const SPEC: &str = r#"
    [suite]
    out = "DIR/out"
    seeds = [0, 1]
    horizons = [100, 200]
    cosine = true
    [set]
    data.path = "DIR/text.txt"
    data.cache = "DIR/prepared"
    data.tokenizer = "char"
    train.sequence_length = 16
    train.batch_size = 4
    schedule.warmup = "5%"
    [[size]]
    name = "a"
    peak_lr = 1e-2
    [[size]]
    name = "b"
    [[cooldown]]
    name = "short"
    fraction = 0.1
    horizons = [200]
    sizes = ["b"]
"#;

/// The spec over the text in `dir`, which is made if it is not there.
fn resolve(spec: &str, dir: &Path) -> Suite {
    let text = dir.join("text.txt");
    if !text.exists() {
        let lines = "It goes on for a while, and then it ends.\n<|endoftext|>\n".repeat(400);
        std::fs::write(&text, lines).unwrap();
    }
    let spec = spec.replace("DIR", dir.to_str().unwrap());
    let spec = Spec::parse(&spec, Path::new("s.toml")).unwrap();
    Suite::resolve(spec, &mut ()).unwrap()
}

fn runs(suite: &Suite) -> Vec<&str> {
    suite.cells.iter().map(|c| c.run.as_str()).collect()
}

#[test]
fn cells_follow_the_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let suite = resolve(SPEC, dir.path());
    let ids: Vec<&str> = suite.cells.iter().map(|c| c.id.as_str()).collect();
    let of_b = [
        "b-s0-trunk",
        "b-s0-100-cooldown",
        "b-s0-200-cooldown",
        "b-s0-200-cooldown-short",
        "b-s0-100-cosine",
        "b-s0-200-cosine",
    ];
    assert_eq!(ids[10..16], of_b);
    let trunk = &suite.cells[10];
    // Until the last cooldown of any form branches off, saved where each does.
    assert_eq!((trunk.steps, trunk.config.train.iterations), (180, 180));
    assert_eq!(trunk.config.checkpoint.at, [80, 160, 180]);
    let cosine = &suite.cells[14];
    assert_eq!(
        trunk.config.schedule.peak_lr,
        cosine.config.schedule.peak_lr / 2.0
    );
    // 5 % of the shortest horizon, for all.
    for cell in &suite.cells {
        assert_eq!(cell.config.schedule.warmup, "5");
    }
    let cooldown = &suite.cells[12];
    assert_eq!((cooldown.first_step(), cooldown.own_steps()), (160, 40));
    assert_eq!(cooldown.needs(), Some(10));
    assert_eq!(suite.find("b-s0-trunk").unwrap(), 10);
    assert_eq!(suite.find(&trunk.run).unwrap(), 10);
}

#[test]
fn a_hash_changes_with_what_decides_its_cell_alone() {
    let dir = tempfile::tempdir().unwrap();
    let suite = resolve(SPEC, dir.path());
    let edited = |from: &str, to: &str| {
        let text = SPEC.replace(from, to);
        assert_ne!(text, SPEC);
        resolve(&text, dir.path())
    };
    let unchanged = |other: &Suite| -> Vec<String> {
        let there = runs(other);
        let kept = suite.cells.iter().filter(|c| there.contains(&&*c.run));
        kept.map(|c| c.id.clone()).collect()
    };
    let all = suite.cells.len();
    assert_eq!(
        unchanged(&edited("[set]", "[set]\ncheckpoint.every = 7")).len(),
        all
    );
    assert_eq!(
        unchanged(&edited("[set]", "[set]\neval.every = 7")).len(),
        all
    );
    // The text itself counts, and not where it lies.
    let text = dir.path().join("text.txt");
    std::fs::copy(&text, dir.path().join("moved.txt")).unwrap();
    assert_eq!(unchanged(&edited("text.txt", "moved.txt")).len(), all);
    assert_eq!(
        unchanged(&edited("[set]", "[set]\noptim.beta2 = 0.99")).len(),
        0
    );
    let other_peak = unchanged(&edited("1e-2", "2e-2"));
    assert!(other_peak.len() == 12 && other_peak.iter().all(|id| id.starts_with("b-")));
    // A further horizon leaves all but the trunks.
    let longer = unchanged(&edited(
        "horizons = [100, 200]\n",
        "horizons = [100, 200, 300]\n",
    ));
    assert_eq!(longer.len(), all - 4);
    assert!(longer.iter().all(|id| !id.contains("trunk")));
    // Another form of cooldown leaves the trunks and the cosines.
    let form = edited(
        "cosine = true",
        "cosine = true\ncooldown = {decay = \"sqrt\"}",
    );
    let form = unchanged(&form);
    assert!(form.iter().all(|id| !id.ends_with("cooldown")));
    assert_eq!(form.len(), all - 8);

    std::fs::write(
        dir.path().join("text.txt"),
        "Another text. \n<|endoftext|>\n".repeat(900),
    )
    .unwrap();
    assert_eq!(unchanged(&resolve(SPEC, dir.path())).len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What the cells cost, summed, is what the formula says from the horizons alone; further cooldowns come on top.
    #[test]
    fn cells_cost_what_the_formula_says(
        horizons in proptest::collection::btree_set(50u64..5000, 1..6),
        fraction in 0.05f64..0.6,
        short in 0.02f64..0.9,
        seeds in 1usize..4,
    ) {
        let suite = suite_of(horizons.into_iter().collect(), fraction, short, seeds);
        let cost = Cost::of(&suite, |_, c| c.own_steps());
        prop_assert!((cost.ratio() / Cost::formula(&suite) - 1.0).abs() < 1e-12);
        let steps: u64 = suite.cells.iter().map(Cell::own_steps).sum();
        let total = suite.models[0].flops(steps);
        prop_assert!((cost.total() / total - 1.0).abs() < 1e-12);
        // Every cooldown begins where its trunk is saved.
        for cell in &suite.cells {
            if let Some(trunk) = cell.needs() {
                let Kind::Trunk { branches } = &suite.cells[trunk].kind else {
                    panic!("a cooldown of something else");
                };
                prop_assert!(branches.contains(&cell.first_step()));
            }
        }
    }
}

/// A suite of one model with these horizons and a further cooldown over `short`.
fn suite_of(horizons: Vec<u64>, fraction: f64, short: f64, seeds: usize) -> Suite {
    thread_local! {
        static BASE: (tempfile::TempDir, Suite) = {
            let dir = tempfile::tempdir().unwrap();
            let suite = resolve(SPEC, dir.path());
            (dir, suite)
        };
    }
    BASE.with(|(_, base)| {
        let mut model = base.models[0].clone();
        model.horizons = horizons.clone();
        let tailing = |fraction: f64| Tailing {
            fraction,
            decay: Decay::Linear,
            final_ratio: 0.0,
        };
        let mut spec = base.spec.clone();
        spec.seeds = (0..seeds as u64).collect();
        spec.cooldown = tailing(fraction);
        let recipe = Recipe {
            seeds: &spec.seeds,
            cosine: true,
            trunk_lr_ratio: 0.5,
            cooldown: spec.cooldown,
        };
        let further = [Further {
            name: "short",
            tailing: tailing(short),
            horizons,
        }];
        let mut cells = Vec::new();
        cell::append(&mut cells, 0, &model, &recipe, &further).unwrap();
        Suite {
            models: vec![model],
            cells,
            notes: Vec::new(),
            spec,
        }
    })
}

/// 115.1 → 63.8 EFLOP, a ratio of .554, with FLOPs as the paper counts them (the embedding charged as a product).
#[test]
fn the_papers_grid_costs_what_the_paper_says() {
    let dir = tempfile::tempdir().unwrap();
    for (name, tokens) in [("train.bin", 300_000), ("val.bin", 2_000)] {
        let ids: Vec<u8> = (0..tokens)
            .flat_map(|i: u32| ((i % 50_000) as u16).to_le_bytes())
            .collect();
        std::fs::write(dir.path().join(name), ids).unwrap();
    }
    let spec = include_str!("../../../configs/suites/cooldown-paper.toml");
    let data = format!("[set]\ndata.path = {:?}", dir.path().to_str().unwrap());
    let spec = Spec::parse(&spec.replace("[set]", &data), Path::new("paper.toml")).unwrap();
    let suite = Suite::resolve(spec, &mut ()).unwrap();
    let cost = Cost::of(&suite, |_, c| c.own_steps());
    assert!((cost.ratio() - 0.554).abs() < 1e-3, "{}", cost.ratio());
    let mut separate = 0.0;
    for model in &suite.models {
        let s = model.config.train.sequence_length;
        let forward = ForwardFlops::of(&model.sizes, s).chinchilla();
        let steps: u64 = model.horizons.iter().sum();
        separate += TRAIN_OVER_FORWARD * forward / s as f64 * model.tokens(steps);
    }
    assert!((separate / 115.1e18 - 1.0).abs() < 2e-3, "{separate:e}");
    // The 210M model: (62.5 + .2·87.5) / 150 thousand steps.
    let of_210m = suite
        .cells
        .iter()
        .filter(|c| c.id.starts_with("210m-") && c.kind() != "cosine");
    let steps: u64 = of_210m.map(Cell::own_steps).sum();
    assert_eq!(steps, 80_000);
}

#[test]
fn the_suite_that_ships_is_read() {
    let text = include_str!("../../../configs/suites/austen.toml");
    let spec = Spec::parse(text, Path::new("austen.toml")).unwrap();
    assert_eq!((spec.sizes.len(), spec.variants.len()), (3, 1));
}

#[test]
fn means_and_hours() {
    assert_eq!(Mean::of(&[]), None);
    assert_eq!(Mean::of(&[2.0]).unwrap().deviation, None);
    let two = Mean::of(&[1.0, 3.0]).unwrap();
    assert_eq!((two.mean, two.seeds), (2.0, 2));
    assert!((two.deviation.unwrap() - 2f64.sqrt()).abs() < 1e-15);
    // 1 EFLOP at 40 % of 400 TFLOP/s.
    assert!((gpu_hours(1e18, 4e14, 0.4) - 1.736).abs() < 1e-3);
}
