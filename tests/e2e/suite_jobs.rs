//! `lehr suite` in pieces: cells one by one, as array jobs of a cluster, and what is missing in between.

use crate::common::Place;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// One model, two seeds, cosines: a trunk, two cooldowns and two cosines a seed.
const SPEC: &str = r#"
[suite]
name = "s"
out = "out"
seeds = [0, 1]
horizons = [20, 40]
cosine = true
cooldown = { fraction = 0.2, decay = "linear" }

[set]
data.path = "text.txt"
data.tokenizer = "char"
schedule.warmup = "2"
train.sequence_length = 16
train.batch_size = 4
eval.every = 7
eval.sequences = 4
checkpoint.every = 5
model.n_layer = 1
model.n_head = 2
model.n_embd = 16

[[size]]
name = "a"
peak_lr = 1e-2
"#;

const CELLS: usize = 10;
const RUN: &[&str] = &["suite", "s.toml", "--yes"];
const COLLECT: &[&str] = &["suite", "s.toml", "--collect"];

fn place(spec: &str) -> Place {
    let place = Place::new();
    write(&place, spec);
    place
}

fn write(place: &Place, spec: &str) {
    std::fs::write(place.path("s.toml"), spec).unwrap();
}

fn results(place: &Place) -> String {
    std::fs::read_to_string(place.path("out/results.csv")).unwrap()
}

/// The directory of the one run whose name begins so.
fn run(place: &Place, start: &str) -> PathBuf {
    let entries = std::fs::read_dir(place.path("out/runs")).unwrap();
    let mut dirs = entries.map(|e| e.unwrap().path());
    let named = |p: &PathBuf| p.file_name().unwrap().to_str().unwrap().starts_with(start);
    dirs.find(named).unwrap()
}

/// The runs, with the time that their models were written.
fn models(place: &Place) -> Vec<(PathBuf, std::time::SystemTime)> {
    let entries = std::fs::read_dir(place.path("out/runs")).unwrap();
    let mut found: Vec<_> = entries
        .map(|e| e.unwrap().path())
        .map(|dir| {
            let model = dir.join("final/model.safetensors");
            let time = model.metadata().unwrap().modified().unwrap();
            (dir, time)
        })
        .collect();
    found.sort();
    found
}

fn json(place: &Place, args: &[&str]) -> Value {
    let output = place.lehr(args).arg("--json").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn said(place: &Place, args: &[&str]) -> String {
    let output = place.lehr(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn cell(place: &Place, id: &str) -> assert_cmd::Command {
    place.lehr(&["suite", "s.toml", "--cell", id, "--yes"])
}

#[test]
fn what_is_missing_is_named_with_its_state() {
    let place = place(&SPEC.replace("seeds = [0, 1]", "seeds = [0]"));
    cell(&place, "a-s0-trunk").assert().success();
    cell(&place, "a-s0-20-cooldown").assert().success();
    // A cosine that was killed after a checkpoint.
    cell(&place, "a-s0-40-cosine").assert().success();
    let cosine = run(&place, "a-s0-40-cosine");
    std::fs::remove_dir_all(cosine.join("final")).unwrap();
    let collected = json(&place, COLLECT);
    assert_eq!(collected["finished"], 2);
    let missing = serde_json::json!([
        { "cell": "a-s0-40-cooldown", "state": "not begun", "step": null },
        { "cell": "a-s0-20-cosine", "state": "not begun", "step": null },
        { "cell": "a-s0-40-cosine", "state": "begun", "step": 40 },
    ]);
    assert_eq!(collected["missing"], missing);
    assert_eq!(collected["failures"], serde_json::json!([]));
    // However its lines are broken.
    let said = said(&place, COLLECT);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "2 of 5 cells have results, in out/results.csv",
        "left a-s0-40-cooldown (not begun), a-s0-20-cosine (not begun),",
        "a-s0-40-cosine (begun, at step 40)",
        "suite s.toml --yes",
        "submit.sh",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    place.lehr(RUN).assert().success();
    assert_eq!(json(&place, COLLECT)["missing"], serde_json::json!([]));
}

#[test]
fn a_cell_that_fails_alone_is_on_record_until_it_succeeds() {
    let place = place(SPEC);
    cell(&place, "a-s0-trunk").assert().success();
    let trunk = run(&place, "a-s0-trunk");
    // The checkpoint that the first cooldown goes on from.
    std::fs::remove_dir_all(trunk.join("step-00000016")).unwrap();
    let failed = place.refused(cell(&place, "a-s0-20-cooldown"));
    for part in [
        "a-s0-trunk has lost the checkpoint of step 16",
        "s.toml --yes",
    ] {
        assert!(failed.contains(part), "{failed}");
    }
    assert!(failed.contains(trunk.file_name().unwrap().to_str().unwrap()));
    // What only waits for its trunk has not failed.
    place.refused(cell(&place, "a-s1-20-cooldown"));
    // Missing is no failure of what collects.
    let failures = &json(&place, COLLECT)["failures"];
    assert_eq!(failures.as_array().unwrap().len(), 1, "{failures}");
    assert_eq!(failures[0]["cell"], "a-s0-20-cooldown");
    let why = failures[0]["why"].as_str().unwrap();
    assert!(failed.contains(why), "{why} is not {failed}");
    assert!(said(&place, COLLECT).contains("fail  a-s0-20-cooldown: its trunk"));

    // As the sentence says: the trunk goes, the suite is run.
    std::fs::remove_dir_all(&trunk).unwrap();
    place.lehr(RUN).assert().success();
    assert_eq!(json(&place, COLLECT)["failures"], serde_json::json!([]));
    assert_eq!(
        std::fs::read_dir(place.path("out/failures"))
            .unwrap()
            .count(),
        0
    );
    let fresh = self::place(SPEC);
    fresh.lehr(RUN).assert().success();
    assert_eq!(results(&place), results(&fresh));
}

#[test]
fn text_that_was_moved_trains_nothing_again() {
    let place = place(SPEC);
    place.lehr(RUN).assert().success();
    let (before, there) = (models(&place), results(&place));
    std::fs::create_dir(place.path("elsewhere")).unwrap();
    std::fs::rename(place.path("text.txt"), place.path("elsewhere/moved.txt")).unwrap();
    write(
        &place,
        &SPEC.replace("\"text.txt\"", "\"elsewhere/moved.txt\""),
    );
    place.lehr(RUN).assert().success();
    assert_eq!(models(&place), before);
    // A cooldown that is run now reads the text where it is, and not where its trunk found it.
    std::fs::remove_dir_all(run(&place, "a-s1-40-cooldown")).unwrap();
    place.lehr(RUN).assert().success();
    assert_eq!(results(&place), there);
    let again = models(&place);
    let kept = again.iter().filter(|m| before.contains(m)).count();
    assert_eq!((again.len(), kept), (CELLS, CELLS - 1));
}

#[test]
fn a_trunk_with_averages_that_begins_anew_is_in_the_plan() {
    let averaged = SPEC.replace(
        "[set]\n",
        "[set]\naverage.ema = true\naverage.ema_interval = 1\n",
    );
    let place = place(&averaged);
    place.lehr(RUN).assert().success();
    let plan = ["suite", "s.toml", "--plan"];
    assert_eq!(
        json(&place, &plan)["notes"]
            .to_string()
            .matches("anew")
            .count(),
        0
    );
    write(&place, &averaged.replace("[20, 40]", "[20, 40, 60]"));
    let notes = json(&place, &plan)["notes"].to_string();
    assert!(
        notes.contains(
            "a-s0-trunk, a-s1-trunk begin anew: a longer trunk with averages cannot go on"
        ),
        "{notes}"
    );
    assert!(notes.contains("FLOP"), "{notes}");
}

#[cfg(unix)]
mod slurm {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A stand-in for SLURM's command: says what it was asked, and runs the array at once, a copy of the script.
    const SBATCH: &str = r##"#!/bin/bash
set -euo pipefail
echo "$@" >> "$ASKED"
script="${@: -1}"
array=$(sed -n 's/^#SBATCH --array=//p' "$script")
for argument in "$@"; do
  case "$argument" in --array=*) array=${argument#--array=};; esac
done
cp "$script" "$SPOOL/script"
for i in $(seq "${array%-*}" "${array#*-}"); do
  SLURM_ARRAY_TASK_ID=$i bash "$SPOOL/script" > "$SPOOL/log" 2>&1 || { cat "$SPOOL/log" >&2; exit 1; }
done
echo 77
"##;

    fn emit(place: &Place) -> String {
        said(place, &["suite", "s.toml", "--emit", "slurm", "jobs dir"])
    }

    /// The cells in a list of the jobs; none where there is no such list.
    fn listed(place: &Place, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(place.path("jobs dir").join(name)).unwrap_or_default();
        text.lines().map(str::to_string).collect()
    }

    /// Runs `submit.sh` and gives what each sbatch was asked.
    fn submit(place: &Place) -> Vec<String> {
        let bin = place.path("bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(place.path("spool")).unwrap();
        let sbatch = bin.join("sbatch");
        std::fs::write(&sbatch, SBATCH).unwrap();
        std::fs::set_permissions(&sbatch, std::fs::Permissions::from_mode(0o755)).unwrap();
        let asked = place.path("asked");
        let _ = std::fs::remove_file(&asked);
        let path = std::env::var("PATH").unwrap();
        let output = Command::new("bash")
            .arg(place.path("jobs dir/submit.sh"))
            .arg("--partition=small")
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("ASKED", &asked)
            .env("SPOOL", place.path("spool"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let asked = std::fs::read_to_string(&asked).unwrap();
        assert!(asked.lines().all(|l| l.contains("--partition=small")));
        asked.lines().map(str::to_string).collect()
    }

    #[test]
    fn array_jobs_run_under_bash_and_their_results_are_collected() {
        let place = place(SPEC);
        emit(&place);
        assert_eq!(listed(&place, "trunks.txt").len(), 2);
        assert_eq!(listed(&place, "branches.txt").len(), 4);
        assert_eq!(listed(&place, "cosines.txt").len(), 4);
        let asked = submit(&place);
        // Trunks, the cooldowns of each of two trunks, cosines.
        assert_eq!(asked.len(), 4, "{asked:?}");
        assert!(
            asked[2].contains("--dependency=afterok:77_1 --array=2-3"),
            "{asked:?}"
        );
        place.lehr(COLLECT).assert().success();
        let other = self::place(SPEC);
        other.lehr(RUN).assert().success();
        assert_eq!(results(&place), results(&other));

        // Everything is there: nothing is written over the jobs, or at all.
        std::fs::remove_dir_all(place.path("jobs dir")).unwrap();
        assert!(emit(&place).contains("all 10 cells are finished, and nothing was written"));
        assert!(!place.path("jobs dir").exists());
    }

    #[test]
    fn arrays_hold_only_what_is_not_finished() {
        let place = place(SPEC);
        for id in ["a-s0-trunk", "a-s0-20-cooldown", "a-s0-20-cosine"] {
            cell(&place, id).assert().success();
        }
        emit(&place);
        assert_eq!(listed(&place, "trunks.txt"), ["a-s1-trunk"]);
        let branches = ["a-s0-40-cooldown", "a-s1-20-cooldown", "a-s1-40-cooldown"];
        assert_eq!(listed(&place, "branches.txt"), branches);
        assert_eq!(listed(&place, "cosines.txt").len(), 3);
        let asked = submit(&place);
        assert_eq!(asked.len(), 4, "{asked:?}");
        // Of the trunk that is there without waiting; of the other by its place in the list.
        assert!(asked[1].contains("--array=0-0") && !asked[1].contains("dependency"));
        assert!(asked[2].contains("--dependency=afterok:77_0 --array=1-2"));

        // No trunk left, and no cosine.
        std::fs::remove_dir_all(place.path("jobs dir")).unwrap();
        for start in ["a-s0-40-cooldown", "a-s1-20-cooldown"] {
            std::fs::remove_dir_all(run(&place, start)).unwrap();
        }
        emit(&place);
        assert!(!place.path("jobs dir/trunks.sbatch").exists());
        let asked = submit(&place);
        assert_eq!(asked.len(), 2, "{asked:?}");
        assert!(asked.iter().all(|l| !l.contains("dependency")), "{asked:?}");
        assert_eq!(json(&place, COLLECT)["finished"], CELLS);
    }
}
