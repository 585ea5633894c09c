//! What the tests that drive the binary share: a small corpus and a smaller model.

use assert_cmd::Command;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A folder to work in, with a corpus of a few documents in it.
pub struct Place {
    pub dir: TempDir,
}

/// Flags of a model that trains in milliseconds.
pub const TINY: &[&str] = &[
    "--n-layer",
    "1",
    "--n-head",
    "2",
    "--n-embd",
    "16",
    "--sequence-length",
    "16",
    "--batch-size",
    "4",
    "--tokenizer",
    "char",
    "--data",
    "text.txt",
    "--warmup-steps",
    "2",
    "--set",
    "sample.tokens=8",
    "--set",
    "eval.sequences=4",
];

impl Place {
    pub fn new() -> Place {
        let place = Place {
            dir: tempfile::tempdir().unwrap(),
        };
        let mut text = String::new();
        for i in 0..40 {
            text += &format!(
                "Document {i} says that {} and {} are {}.\n",
                i * 7,
                i + 3,
                i * 8
            );
            text += "It goes on for a while, as documents do, and then it ends.\n<|endoftext|>\n";
        }
        std::fs::write(place.path("text.txt"), text).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn run(&self, name: &str) -> PathBuf {
        self.path("checkpoints").join(name)
    }

    /// The binary, run in this folder.
    pub fn lehr(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lehr"));
        command.current_dir(self.dir.path()).args(args);
        command
    }

    /// `lehr train` of the tiny model with more flags.
    pub fn train(&self, name: &str, more: &[&str]) -> Command {
        let mut command = self.lehr(&["train", "--name", name]);
        command.args(TINY).args(more);
        command
    }

    /// Runs and returns what it said on stderr; it must fail, without a panic, in one sentence.
    pub fn refused(&self, mut command: Command) -> String {
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "it went through: {said}");
        assert!(!said.contains("panicked"), "{said}");
        let sentence = said.lines().rfind(|l| l.starts_with("error: "));
        sentence
            .unwrap_or_else(|| panic!("no error line in: {said}"))
            .to_string()
    }
}

/// Runs what must fail with nothing on stdout and one sentence on stderr, which it returns.
pub fn refused(mut command: Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty(), "{said}");
    let said = said.trim_end();
    assert!(
        said.starts_with("error: ") && said.lines().count() == 1,
        "{said}"
    );
    said.to_string()
}

/// A file of the public curves, which lie beside the project or in `LEHR_CURVES`; `None`, having said so, where it is
/// not there.
pub fn public(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LEHR_CURVES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/curves"),
        PathBuf::from,
    );
    let path = folder.join(name);
    if !path.exists() {
        println!("skipped: {} not found", path.display());
        return None;
    }
    Some(path)
}

/// Steps in the logs of all runs of a suite or a loop in `out`.
pub fn logged(place: &Place) -> usize {
    let entries = std::fs::read_dir(place.path("out/runs"));
    let logs = entries.into_iter().flatten().flatten();
    let lines = logs.map(|e| std::fs::read_to_string(e.path().join("curve.csv")));
    lines
        .map(|l| l.map_or(0, |text| text.lines().count()))
        .sum()
}

/// Lines of `metrics.jsonl`, parsed.
pub fn metrics(run: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

/// What a resumed run must have in common with one that was never interrupted: every file that
/// holds results, bit for bit, and the metrics without their clock.
///
/// Each is named beside a hash of its bytes, so that a failing comparison can be read.
pub fn results(run: &Path) -> Vec<(String, u64)> {
    let hash = |bytes: &[u8]| {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        hasher.finish()
    };
    let mut list = Vec::new();
    let mut add =
        |name: String, path: PathBuf| list.push((name, hash(&std::fs::read(path).unwrap())));
    for name in ["curve.csv", "curve.val.csv", "final/model.safetensors"] {
        add(name.into(), run.join(name));
    }
    let mut steps: Vec<_> = std::fs::read_dir(run)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.starts_with("step-") && !n.contains('.'))
        .collect();
    steps.sort();
    for step in steps {
        for file in ["model.safetensors", "optimizer.safetensors"] {
            add(format!("{step}/{file}"), run.join(&step).join(file));
        }
    }
    for mut line in metrics(run) {
        line.as_object_mut().unwrap().remove("tokens_per_second");
        list.push((line.to_string(), 0));
    }
    list
}

/// Starts a command and kills it, again and again, until it comes to its end with success; how often it was killed,
/// which is at least once.
///
/// Each time it has longer, `first + growth × attempt` milliseconds, so that it comes to an end on a machine of any speed.
pub fn killed_until_done(
    first: u64,
    growth: u64,
    mut command: impl FnMut() -> std::process::Command,
) -> u64 {
    let mut kills = 0;
    for attempt in 0..200 {
        let mut child = command().spawn().unwrap();
        let patience = Duration::from_millis(first + growth * attempt);
        let begin = Instant::now();
        while begin.elapsed() < patience && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills > 0);
    kills
}
