use super::derived::{Finals, applied, bin_width, means, paired};
use super::*;

const CONFIG: &str = "[run]\nlehr_version = \"0.1.0\"\ndata_fingerprint = \"d\"\ntokens = 6400\ntrain_flops = 6.4e6\n\
[schedule]\nscheduler = \"linear\"\npeak_lr = 0.01\nwarmup = \"0\"\ncompat = false\n\
[train]\niterations = 100\nsequence_length = 8\nbatch_size = 8\ngrad_accumulation = 1\nseed = 7\n";

fn line(step: u64, offset: f64) -> String {
    let noise = if step.is_multiple_of(2) { 0.1 } else { -0.1 };
    format!(
        "{{\"step\":{step},\"lr\":0.01,\"loss\":{},\"grad_norm\":1,\"tokens\":{},\"tokens_per_second\":64}}\n",
        3.0 + noise + offset,
        64 * step
    )
}

fn run_dir(offset: f64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("run.toml"), CONFIG).unwrap();
    let text: String = (1..=100).map(|s| line(s, offset)).collect();
    std::fs::write(dir.path().join("metrics.jsonl"), text).unwrap();
    dir
}

fn append(dir: &Path, text: &str) {
    use std::io::Write;
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(dir.join("metrics.jsonl"));
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_run_is_gathered() {
    let dir = run_dir(0.0);
    append(
        dir.path(),
        "{\"step\":100,\"val_loss\":2.9,\"val_bits_per_byte\":1.5}\n",
    );
    let run = Run::open(dir.path()).unwrap();
    let finals = Finals::of(&run).unwrap();
    assert_eq!((finals.steps, finals.over, finals.tokens), (100, 2, 6400));
    assert!((finals.train - 3.0).abs() < 1e-12, "{}", finals.train);
    assert_eq!(finals.held_out, Some((100, 2.9, Some(1.5))));
    assert!((finals.seconds - 100.0).abs() < 1e-9 && finals.flops == Some(6.4e6));
    assert!(run.notes().is_empty() && !run.finished());
    std::fs::create_dir(dir.path().join("final")).unwrap();
    assert!(run.finished());
}

#[test]
fn a_run_whose_length_is_not_known_has_finished_when_its_model_is_written() {
    let dir = run_dir(0.0);
    std::fs::remove_file(dir.path().join("run.toml")).unwrap();
    let run = Run::open(dir.path()).unwrap();
    assert!(run.facts.steps.is_none() && !run.finished());
    std::fs::create_dir(dir.path().join("final")).unwrap();
    assert!(run.finished());
}

#[test]
fn one_bad_line_costs_that_line_and_a_torn_end_nothing() {
    let dir = run_dir(0.0);
    append(dir.path(), "{\"step\":101,\"lo\n");
    append(dir.path(), &line(102, 0.0));
    append(
        dir.path(),
        "{\"step\":103,\"weather\":1}\n{\"step\":104,\"loss\":2.",
    );
    let mut run = Run::open(dir.path()).unwrap();
    assert_eq!((run.steps.len(), run.last_step()), (101, 102));
    let notes = run.notes();
    assert!(
        notes[0].contains("line 101 of metrics.jsonl is damaged"),
        "{notes:?}"
    );
    assert!(notes[1].contains("1 line"), "{notes:?}");
    append(dir.path(), "5}\n");
    assert!(run.poll().unwrap());
    assert_eq!(run.last_step(), 104);
    assert!(!run.poll().unwrap());
}

#[test]
fn a_resumed_run_replaces_what_it_trains_again() {
    let dir = run_dir(0.0);
    append(dir.path(), &line(51, 1.0));
    let run = Run::open(dir.path()).unwrap();
    assert_eq!((run.steps.len(), run.last_step()), (51, 51));
}

#[test]
fn what_is_no_run_is_refused_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let error = Run::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("holds no run"), "{error}");
    let file = dir.path().join("x");
    std::fs::write(&file, "").unwrap();
    assert!(
        Run::open(&file)
            .unwrap_err()
            .to_string()
            .contains("is a file")
    );
    assert!(Run::open(&dir.path().join("none")).is_err());
}

#[test]
fn curves_stand_in_for_a_lost_log() {
    let dir = run_dir(0.0);
    std::fs::remove_file(dir.path().join("metrics.jsonl")).unwrap();
    std::fs::write(
        dir.path().join("curve.csv"),
        "step,lr,loss\n1,0.1,3\n2,0.1,NaN\n3,0.1,2.5\n9e15,0.1,2\n4",
    )
    .unwrap();
    std::fs::write(
        dir.path().join("curve.val.csv"),
        "step,loss,bits_per_byte\n2,2.8,\n",
    )
    .unwrap();
    let run = Run::open(dir.path()).unwrap();
    assert_eq!((run.steps.len(), run.evals.len()), (3, 1));
    assert!(run.notes()[0].contains("metrics.jsonl is missing"));
    assert!(
        run.notes()
            .iter()
            .any(|n| n.contains("1 losses are not finite"))
    );
}

#[test]
fn a_lost_loss_is_a_gap_and_no_mean() {
    let dir = run_dir(0.0);
    let mut run = Run::open(dir.path()).unwrap();
    run.steps[0].loss = f64::NAN;
    run.steps[1].loss = f64::NAN;
    let two = means(&run.steps, 2, |s| s.loss);
    assert!(two[0][1].is_nan() && (two[1][1] - 3.0).abs() < 1e-12);
    assert_eq!(two[1][0], 3.5);
    assert_eq!((bin_width(100), bin_width(33_000)), (1, 200));
}

#[test]
fn paired_runs_lose_the_noise_that_they_share() {
    let (a, b) = (run_dir(0.0), run_dir(0.02));
    let (a, b) = (Run::open(a.path()).unwrap(), Run::open(b.path()).unwrap());
    let pair = paired(&a, &b).unwrap();
    assert!(
        (pair.difference - 0.02).abs() < 1e-9 && pair.error < 1e-9,
        "{pair:?}"
    );
    let mut other = b;
    // Four sequences of 16 are as many tokens as eight of 8, and are not the same batches.
    other.facts.sequence_length = Some(16);
    assert_eq!(other.facts.tokens_per_step, a.facts.tokens_per_step);
    assert_eq!(paired(&a, &other), None);
    other.facts.sequence_length = a.facts.sequence_length;
    assert!(paired(&a, &other).is_some());
    other.facts.seed = Some(8);
    assert_eq!(paired(&a, &other), None);
}

#[test]
fn a_schedule_designed_anew_is_planned_from_then_on() {
    let dir = run_dir(0.0);
    let table: Vec<String> = (0..100)
        .map(|s| format!("{}", 0.02 - 1e-4 * f64::from(s)))
        .collect();
    std::fs::write(
        dir.path().join("schedule-0050.json"),
        format!("{{\"lr\": [{}]}}", table.join(",")),
    )
    .unwrap();
    let decided = |name: &str| {
        let line =
            format!("{{\"step\":50,\"decision\":{{\"kept\":false,\"schedule\":\"{name}\"}}}}\n");
        let steps: String = (1..=60).map(|s| self::line(s, 0.0)).collect();
        std::fs::write(dir.path().join("metrics.jsonl"), steps + &line).unwrap();
        Run::open(dir.path()).unwrap()
    };
    let run = decided("schedule-0050.json");
    let lrs = applied(&run);
    // Logged, then as designed, not as planned.
    assert_eq!((lrs.len(), lrs[55]), (100, 0.01));
    assert!((lrs[80] - 0.012).abs() < 1e-12, "{}", lrs[80]);
    let planned = run.facts.schedule.as_ref().unwrap().lr(80);
    // Nothing outside the run's directory is read, and what is not there changes nothing.
    for name in ["../schedule-0050.json", "/etc/passwd", "..", "none.json"] {
        let run = decided(name);
        assert!(run.redesigned.is_none());
        assert_eq!(applied(&run)[80], planned);
    }
}

#[test]
fn learning_rates_are_applied_then_planned() {
    let dir = run_dir(0.0);
    let mut run = Run::open(dir.path()).unwrap();
    run.steps.truncate(50);
    run.steps[9].skipped = true;
    let all = applied(&run);
    assert_eq!((all.len(), all[8], all[9], all[49]), (100, 0.01, 0.0, 0.01));
    assert_eq!(all[50], run.facts.schedule.as_ref().unwrap().lr(50));
    run.facts.schedule = None;
    assert_eq!(
        applied(&run).len(),
        50,
        "what nobody planned is not made up"
    );
}
