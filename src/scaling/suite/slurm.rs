//! A suite as SLURM array jobs: trunks first, their cooldowns once each trunk is there, cosines beside them; of what is
//! not finished.
//!
//! Every task is `lehr suite SPEC --cell ID --yes`, so that a task that was killed goes on where it was when it is
//! submitted again. Cooldowns wait for their own trunk alone (`afterok:JOB_TASK`): a trunk that fails holds up nothing else.

use super::cell::{Cell, Kind};
use super::suite::{State, Suite};
use crate::error::{Error, Result};
use crate::files;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Where things are on the cluster.
pub struct Places<'a> {
    pub program: &'a Path,
    /// What relative paths of the spec are relative to.
    pub work: &'a Path,
    pub spec: &'a Path,
}

/// The cells that are not finished, kind by kind: what the arrays are made of.
struct Left<'a> {
    trunks: Vec<&'a Cell>,
    branches: Vec<&'a Cell>,
    cosines: Vec<&'a Cell>,
}

impl<'a> Left<'a> {
    fn of(suite: &'a Suite) -> Left<'a> {
        let cells = || {
            let cells = suite.cells.iter();
            cells.filter(|c| suite.state(c) != State::Finished)
        };
        let trunk = |c: &&Cell| matches!(c.kind, Kind::Trunk { .. });
        Left {
            trunks: cells().filter(trunk).collect(),
            branches: cells().filter(|c| c.needs().is_some()).collect(),
            cosines: cells().filter(|c| c.kind == Kind::Cosine).collect(),
        }
    }

    fn arrays(&self) -> impl Iterator<Item = (&'static str, &[&'a Cell])> {
        let all = [
            ("trunks", &self.trunks[..]),
            ("branches", &self.branches[..]),
            ("cosines", &self.cosines[..]),
        ];
        // An array of no tasks is an error of sbatch.
        all.into_iter().filter(|(_, cells)| !cells.is_empty())
    }
}

/// Writes the scripts and the lists of the cells that are not finished into `dir`; returns the files: none, and nothing
/// is written, where every cell is finished.
///
/// # Errors
/// A place that cannot be written.
pub fn emit(suite: &Suite, dir: &Path, places: &Places) -> Result<Vec<PathBuf>> {
    let left = Left::of(suite);
    let mut written = Vec::new();
    if left.arrays().next().is_none() {
        return Ok(written);
    }
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create the directory", dir, e))?;
    let mut put = |name: String, text: &str| {
        let path = dir.join(name);
        files::write(&path, text.as_bytes())?;
        written.push(path);
        Ok::<(), Error>(())
    };
    for (name, cells) in left.arrays() {
        let ids: Vec<&str> = cells.iter().map(|c| c.id.as_str()).collect();
        put(format!("{name}.txt"), &(ids.join("\n") + "\n"))?;
        let script = script(suite, name, ids.len(), places);
        put(format!("{name}.sbatch"), &script)?;
    }
    put("submit.sh".into(), &submit(suite, &left, places))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.join("submit.sh");
        let all = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, all).map_err(|e| Error::io("make executable", &path, e))?;
    }
    Ok(written)
}

/// The array job over one list of cells.
fn script(suite: &Suite, name: &str, tasks: usize, places: &Places) -> String {
    format!(
        "#!/bin/bash
#SBATCH --job-name={suite}-{name}
#SBATCH --array=0-{last}
#SBATCH --ntasks=1
#SBATCH --output={name}-%A_%a.log
#SBATCH --requeue
#SBATCH --kill-on-invalid-dep=yes
# One cell a task. Where the machine wants more (partition, account, time), give it to submit.sh.
set -euo pipefail
HERE=${{LEHR_JOBS:-$(dirname \"$(readlink -f \"$0\")\")}}
LEHR=${{LEHR:-{program}}}
CELL=$(sed -n \"$((SLURM_ARRAY_TASK_ID + 1))p\" \"$HERE/{name}.txt\")
cd {work}
exec \"$LEHR\" suite {spec} --cell \"$CELL\" --yes
",
        suite = suite.spec.name,
        last = tasks - 1,
        program = quoted(places.program),
        work = quoted(places.work),
        spec = quoted(places.spec),
    )
}

/// Submits all of it; what it is given goes to every sbatch.
fn submit(suite: &Suite, left: &Left, places: &Places) -> String {
    let mut out = format!(
        "#!/bin/bash
# Submits what the suite {} lacked; further arguments go to every sbatch: ./submit.sh --partition=gpu --time=4:00:00
# Its tasks read the lists beside it: while they wait, emit the suite again into another directory only.
set -euo pipefail
HERE=$(dirname \"$(readlink -f \"$0\")\")
# SLURM runs a copy of the script from elsewhere.
export LEHR_JOBS=$HERE
cd \"$HERE\"
",
        suite.spec.name
    );
    if !left.trunks.is_empty() {
        out +=
            "trunks=$(sbatch --parsable --export=ALL \"$@\" trunks.sbatch)\ntrunks=${trunks%%;*}\n";
    }
    let is_trunk = |c: &Cell| matches!(c.kind, Kind::Trunk { .. });
    let cells = suite.cells.iter().enumerate();
    for (trunk, cell) in cells.filter(|(_, c)| is_trunk(c)) {
        let of = |c: &&Cell| c.needs() == Some(trunk);
        let Some(first) = left.branches.iter().position(of) else {
            continue;
        };
        // The branches of a trunk follow one another.
        let last = first + left.branches.iter().filter(|c| of(c)).count() - 1;
        // A trunk that is finished has no task to wait for.
        let task = left.trunks.iter().position(|t| t.id == cell.id);
        let after = task.map_or(String::new(), |task| {
            format!("--dependency=afterok:${{trunks}}_{task} ")
        });
        let _ = writeln!(
            out,
            "# {}\nsbatch --export=ALL {after}--array={first}-{last} \"$@\" branches.sbatch",
            cell.id
        );
    }
    if !left.cosines.is_empty() {
        out += "sbatch --export=ALL \"$@\" cosines.sbatch\n";
    }
    let _ = writeln!(
        out,
        "echo 'when they are done:' {}",
        quoted(Path::new(&format!(
            "cd {} && {} suite {} --collect",
            quoted(places.work),
            quoted(places.program),
            quoted(places.spec)
        )))
    );
    out
}

/// A path as one word of a shell.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell() {
        assert_eq!(quoted(Path::new("/a/b-c.toml")), "/a/b-c.toml");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
