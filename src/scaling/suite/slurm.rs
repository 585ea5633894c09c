//! A suite as SLURM array jobs: trunks first, their cooldowns once each trunk is there, cosines beside them.
//!
//! Every task is `lehr suite SPEC --cell ID --yes`, so that a task that was killed goes on where it was when it is
//! submitted again. Cooldowns wait for their own trunk alone (`afterok:JOB_TASK`): a trunk that fails holds up nothing else.

use super::cell::{Cell, Kind};
use super::suite::Suite;
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

/// Writes the scripts and the lists of cells into `dir`; returns the files.
///
/// # Errors
/// A place that cannot be written.
pub fn emit(suite: &Suite, dir: &Path, places: &Places) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create the directory", dir, e))?;
    let ids = |keep: fn(&Cell) -> bool| -> Vec<&str> {
        let kept = suite.cells.iter().filter(|c| keep(c));
        kept.map(|c| c.id.as_str()).collect()
    };
    let jobs = [
        ("trunks", ids(|c| matches!(c.kind, Kind::Trunk { .. }))),
        ("branches", ids(|c| matches!(c.kind, Kind::Cooldown { .. }))),
        ("cosines", ids(|c| c.kind == Kind::Cosine)),
    ];
    let mut written = Vec::new();
    let mut put = |name: String, text: &str| {
        let path = dir.join(name);
        files::write(&path, text.as_bytes())?;
        written.push(path);
        Ok::<(), Error>(())
    };
    for (name, ids) in jobs.iter().filter(|(_, ids)| !ids.is_empty()) {
        put(format!("{name}.txt"), &(ids.join("\n") + "\n"))?;
        let script = script(suite, name, ids.len(), places);
        put(format!("{name}.sbatch"), &script)?;
    }
    put("submit.sh".into(), &submit(suite, places))?;
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
fn submit(suite: &Suite, places: &Places) -> String {
    let mut out = format!(
        "#!/bin/bash
# Submits the suite {}; further arguments go to every sbatch: ./submit.sh --partition=gpu --time=4:00:00
set -euo pipefail
HERE=$(dirname \"$(readlink -f \"$0\")\")
# SLURM runs a copy of the script from elsewhere.
export LEHR_JOBS=$HERE
cd \"$HERE\"
trunks=$(sbatch --parsable --export=ALL \"$@\" trunks.sbatch)
trunks=${{trunks%%;*}}
",
        suite.spec.name
    );
    let trunks = suite.cells.iter().enumerate();
    let trunks = trunks.filter(|(_, c)| matches!(c.kind, Kind::Trunk { .. }));
    let branches: Vec<&Cell> = suite.cells.iter().filter(|c| c.needs().is_some()).collect();
    for (task, (trunk, cell)) in trunks.enumerate() {
        let of = |c: &&Cell| c.needs() == Some(trunk);
        let first = branches.iter().position(of).unwrap_or(0);
        let last = first + branches.iter().filter(|c| of(c)).count() - 1;
        let _ = writeln!(
            out,
            "# {}\nsbatch --export=ALL --dependency=afterok:${{trunks}}_{task} --array={first}-{last} \"$@\" branches.sbatch",
            cell.id
        );
    }
    if suite.spec.cosine {
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
