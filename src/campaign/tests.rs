//! Specs, shares and costs over a corpus of a few lines.

use super::cells::{self, Cell, Kind, Wanted};
use super::plan::Plan;
use super::probes::Probes;
use super::results::spearman;
use super::spec::{Baseline, Spec, baselines};
use crate::train::recipe::Layers;
use proptest::prelude::*;
use std::path::Path;

/// A loop over the text in `dir`, which is made if it is not there.
fn spec(dir: &Path, list: &str) -> Spec {
    let text = dir.join("text.txt");
    if !text.exists() {
        let lines = "It goes on for a while, and then it ends.\n<|endoftext|>\n".repeat(400);
        std::fs::write(&text, lines).unwrap();
    }
    let mut layers = Layers::new();
    for (key, value) in [
        ("data.path", text.display().to_string()),
        ("data.cache", dir.join("prepared").display().to_string()),
        ("data.tokenizer", "char".into()),
        ("train.sequence_length", "16".into()),
        ("train.batch_size", "4".into()),
        ("train.iterations", "1000".into()),
        ("schedule.warmup", "2%".into()),
    ] {
        layers.assign(&format!("{key}={value}")).unwrap();
    }
    Spec {
        out: dir.join("out"),
        config: layers.finish().unwrap(),
        budget: 0.25,
        cooldowns: vec![0.2],
        low_probe: 0.0,
        points: 40,
        laws: vec!["tissue".into()],
        baselines: baselines(list).unwrap(),
        seeds: vec![3, 4],
        peaks: Vec::new(),
        largest_drop: None,
    }
}

fn labels(text: &str) -> Vec<String> {
    let all = baselines(text).unwrap();
    all.iter().map(Baseline::label).collect()
}

#[test]
fn settings_go_with_the_schedule_before_them() {
    let all = labels("cosine,cosine:final=0,wsd:fraction=0.2,decay=sqrt,811, linear,wsd,final=0.1");
    assert_eq!(
        all,
        [
            "cosine:final=0.1",
            "cosine:final=0",
            "wsd:fraction=0.2,decay=sqrt",
            "811",
            "linear",
            "wsd:fraction=0.1,final=0.1"
        ]
    );
    // What a schedule is called is read back as that schedule.
    assert_eq!(labels(&all.join(",")), all);
    assert_eq!(labels("none"), [""; 0]);
    assert_eq!(labels("811,811"), ["811"]);
    for (text, says) in [
        ("cosin", "cosin"),
        ("cosine:end=0", "end"),
        ("final=0", "final=0"),
        ("branch:at=3,horizon=9,trunk=constant", "branch"),
        ("table:no-such-file.csv", "no-such-file.csv"),
        ("", "known are"),
    ] {
        let said = baselines(text).unwrap_err().to_string();
        assert!(said.contains(says), "{text}: {said}");
    }
}

#[test]
fn probes_share_their_steps_and_their_batches() {
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan::resolve(spec(dir.path(), "none"), &mut ()).unwrap();
    assert_eq!(plan.warmup, 20);
    let probes = cells::probes(&plan);
    let [trunk, cooldown] = &probes[..] else {
        panic!("{probes:?}");
    };
    assert_eq!((trunk.steps, cooldown.steps), (200, 200));
    assert_eq!(trunk.config.checkpoint.at, [150]);
    assert_eq!(
        (trunk.config.eval.every, cooldown.config.eval.every),
        (5, 1)
    );
    let Kind::Cooldown { at, trunk: 0, .. } = cooldown.kind else {
        panic!("{cooldown:?}");
    };
    assert_eq!(at, 150);
    assert_eq!(trunk.config.train.seed, 3);
    let steps: u64 = probes.iter().map(Cell::own_steps).sum();
    assert_eq!(steps, 250);
    // One at half the peak has its share of all, the others share the rest.
    let mut spec = spec(dir.path(), "none");
    spec.low_probe = 0.3;
    spec.peaks = vec![0.5 * spec.peak(), 0.6 * spec.peak()];
    let plan = Plan::resolve(spec.clone(), &mut ()).unwrap();
    let probes = cells::probes(&plan);
    let lengths: Vec<u64> = probes.iter().map(Cell::own_steps).collect();
    assert_eq!(lengths, [140, 35, 75]);
    let low = &probes[2].config;
    assert_eq!(low.schedule.peak_lr, 0.5 * spec.peak());
    assert_eq!(
        (low.schedule.scheduler.as_str(), low.eval.every),
        ("constant", 1)
    );
    let guess = |plan: &Plan| plan.notes.iter().any(|n| n.contains("is a guess"));
    assert!(!guess(&plan), "{:?}", plan.notes);
    spec.peaks = vec![2.0 * spec.peak()];
    assert!(guess(&Plan::resolve(spec, &mut ()).unwrap()));
    // However small its share, and whatever the warm-up, it can be fitted.
    assert_eq!(Probes::of(250, 20, 1e-3, &[0.2]).low, 30);
    assert_eq!(Probes::of(400, 20, 1e-3, &[0.2]).low, 30);
    // Two of them, of which the shorter one sets the trust rule.
    let two = Probes::of(400, 20, 0.0, &[0.2, 0.05]);
    assert_eq!((two.trunk, &two.cooldowns[..]), (300, &[80, 20][..]));
}

#[test]
fn a_name_changes_with_what_decides_its_run_alone() {
    let dir = tempfile::tempdir().unwrap();
    let runs = |spec: Spec| -> Vec<String> {
        let plan = Plan::resolve(spec, &mut ()).unwrap();
        let mut all = cells::probes(&plan);
        all.extend(cells::long(&plan, None, &plan.first()).unwrap());
        all.into_iter().map(|c| c.run).collect()
    };
    let base = || spec(dir.path(), "cosine,wsd:fraction=0.2,wsd:fraction=0.4");
    let first = runs(base());
    assert_eq!(first.len(), 2 + 2 + 2 * 4);
    let kept = |other: Vec<String>| first.iter().filter(|r| other.contains(r)).count();
    // Another cooldown later: the cooldowns stay, and so do the trunks, which go as far as before.
    let further = spec(
        dir.path(),
        "cosine,wsd:fraction=0.2,wsd:fraction=0.4,linear",
    );
    assert_eq!(kept(runs(further)), first.len());
    let mut other = base();
    other.config.eval.every = 7;
    other.config.schedule.scheduler = "811".into();
    assert_eq!(kept(runs(other)), first.len());
    let mut other = base();
    other.config.schedule.peak_lr *= 2.0;
    assert_eq!(kept(runs(other)), 0);
    // Another budget makes other probes, and no other baselines.
    let mut other = base();
    other.budget = 0.3;
    assert_eq!(kept(runs(other)), first.len() - 2);
}

#[test]
fn too_short_and_too_far_are_told_with_what_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let said = |change: &dyn Fn(&mut Spec)| {
        let mut spec = spec(dir.path(), "none");
        change(&mut spec);
        let said = Plan::resolve(spec, &mut ()).map(drop).unwrap_err();
        said.to_string()
    };
    // What is asked for is enough, and less is not.
    for (budget, steps, says, needed, enough) in [
        (0.02, 500, "too few to fit", 48, 0.096),
        (0.05, 1000, "times its length", 62, 0.062),
    ] {
        let short = said(&|s| {
            s.budget = budget;
            s.config.train.iterations = steps;
        });
        assert!(short.contains(says), "{short}");
        let advice = format!("at least {needed}; raise --budget to {enough}");
        assert!(short.contains(&advice), "{short}");
        let mut spec = spec(dir.path(), "none");
        spec.config.train.iterations = steps;
        spec.budget = enough;
        let plan = Plan::resolve(spec, &mut ()).unwrap();
        assert_eq!(plan.probes.steps(), needed);
    }
    for (change, says) in [
        (
            &(|s: &mut Spec| s.budget = 1.0) as &dyn Fn(&mut Spec),
            "--budget 1",
        ),
        (&|s| s.cooldowns = vec![0.4, 0.3], "--cooldowns"),
        (&|s| s.low_probe = 0.6, "--low-probe 0.6"),
        (
            &|s| s.cooldowns = vec![0.2, 0.2],
            "two of them have 50 steps",
        ),
        (&|s| s.points = 9, "--points 9"),
        (&|s| s.peaks = vec![0.0], "--peaks 0"),
        (&|s| s.seeds = vec![1, 1], "1 is there twice"),
        (&|s| s.laws = vec!["sized".into()], "a loop has one"),
        (&|s| s.laws = vec!["tisue".into()], "tissue"),
        (&|s| s.points = 0, "--points 0"),
        (&|s| s.largest_drop = Some(2.0), "--largest-drop 2"),
        (
            &|s| s.config.schedule.warmup = "240".into(),
            "warm-up of 240",
        ),
        (&|s| s.config.schedule.compat = true, "schedule.compat"),
    ] {
        let said = said(change);
        assert!(said.contains(says), "{says}: {said}");
    }
}

#[test]
fn a_directory_holds_one_plan() {
    let dir = tempfile::tempdir().unwrap();
    let plan = |change: &dyn Fn(&mut Spec)| {
        let mut spec = spec(dir.path(), "linear");
        change(&mut spec);
        Plan::resolve(spec, &mut ()).unwrap()
    };
    let first = plan(&|_| ());
    assert!(!first.check().unwrap());
    first.settle().unwrap();
    assert!(first.check().unwrap());
    // What may be added to, and what changes no bit.
    let more = plan(&|s| {
        s.baselines = baselines("cosine,811").unwrap();
        s.seeds = vec![3, 9, 1];
        s.peaks = vec![1.0];
        s.config.eval.every = 3;
    });
    assert!(more.check().unwrap());
    for (change, says) in [
        (
            &(|s: &mut Spec| s.budget = 0.3) as &dyn Fn(&mut Spec),
            "loop.budget is 0.25 there, and 0.3",
        ),
        (&|s| s.config.schedule.peak_lr = 0.5, "schedule.peak_lr"),
        (&|s| s.seeds = vec![4], "train.seed is 3 there, and 4"),
        (&|s| s.laws.push("mpl".into()), "loop.law"),
        (&|s| s.largest_drop = Some(0.1), "loop.largest_drop"),
    ] {
        let said = plan(change).settle().unwrap_err().to_string();
        assert!(said.contains(says), "{says}: {said}");
    }
}

#[test]
fn rank_correlations() {
    assert_eq!(spearman(&[1.0, 2.0], &[1.0, 2.0]), None);
    assert_eq!(spearman(&[1.0, 2.0, 9.0], &[5.0, 6.0, 7.0]), Some(1.0));
    assert_eq!(spearman(&[1.0, 2.0, 9.0], &[7.0, 6.0, 5.0]), Some(-1.0));
    assert_eq!(spearman(&[1.0, 1.0, 1.0], &[7.0, 6.0, 5.0]), None);
    // Ranks 1, 2.5, 2.5, 4, 5 against 2, 1, 4, 3, 5: 6.5/√(9.5·10).
    let tied = spearman(&[1.0, 2.0, 2.0, 4.0, 5.0], &[2.0, 1.0, 4.0, 3.0, 5.0]);
    assert!((tied.unwrap() - 0.666_886).abs() < 1e-6, "{tied:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever peaks turn out best, the other seeds cost no more than was said, and where WSD's longest trunks stand
    /// apart just that.
    #[test]
    fn other_seeds_cost_at_most_what_is_said(
        fractions in proptest::collection::btree_set(1u32..99, 1..5),
        peaks in 2usize..5,
        choice in proptest::collection::vec(0usize..100, 8),
    ) {
        thread_local! {
            static BASE: (tempfile::TempDir, Plan) = {
                let dir = tempfile::tempdir().unwrap();
                let plan = Plan::resolve(spec(dir.path(), "none"), &mut ()).unwrap();
                (dir, plan)
            };
        }
        let mut plan = BASE.with(|(_, plan)| plan.clone());
        let list: Vec<String> = fractions.iter().map(|f| format!("wsd:fraction=0.{f:02}")).collect();
        plan.spec.baselines = baselines(&format!("{},cosine", list.join(","))).unwrap();
        plan.spec.peaks = (1..peaks).map(|k| k as f64).collect();
        let cost = plan.cost().unwrap();
        let all = plan.spec.all_peaks();
        let steps = |best: &[Option<f64>]| -> u64 {
            let wanted: Vec<Wanted> = plan.rest(best);
            let cells = cells::long(&plan, None, &wanted).unwrap();
            cells.iter().map(Cell::own_steps).sum()
        };
        let number = plan.spec.baselines.len();
        let some: Vec<_> = (0..number).map(|i| Some(all[choice[i] % all.len()])).collect();
        prop_assert!(steps(&some) <= cost.other_seeds);
        // Fractions rise, so that the longest trunks come first.
        let apart: Vec<_> = (0..number).map(|i| Some(all[i.min(all.len() - 1)])).collect();
        prop_assert!(steps(&apart) == cost.other_seeds || number > all.len());
        // On the first seed all share: at each peak the longest trunk, every cooldown, and the cosine.
        let falls: Vec<u64> = plan.spec.baselines.iter()
            .filter_map(|b| cells::falls_at(&b.shape, 1000, plan.warmup))
            .collect();
        let trunk = *falls.iter().max().unwrap();
        let one = trunk + falls.iter().map(|at| 1000 - at).sum::<u64>() + 1000;
        prop_assert_eq!(cost.baselines, one * all.len() as u64);
        prop_assert_eq!(cost.designed, 2 * 1000);
    }
}
