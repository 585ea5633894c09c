//! Loss curves: what was logged, beside the learning rate that every step really trained with.
//!
//! # One convention
//! A *step* `t` of a [`Point`] counts the optimiser updates done when the loss was measured, and
//! `lrs[s]` is the learning rate of update `s`, counted from 0. So the intrinsic time of a point is
//! `S₁(t) = Σ_{s<t} lrs[s]`, warm-up included. Logs that count differently are off by one step,
//! a relative change of S₁ by 1/t, far below the noise of any loss.
//!
//! # Reading
//! [`read`] takes a file or a run directory and finds the format by content; [`suite`] reads suites
//! of curves with tasks. Where the LR of each step comes from ([`LrOrigin`]), in this order: the schedule given
//! with the argument, the schedule beside the file, the file's own LRs. The rules:
//!
//! - *Order*: of equal steps the last row counts; a step below the one before it is a resumed run, whose
//!   rows replace the earlier ones; a file with more than one row in ten out of order is sorted.
//! - *Losses* that are NaN or infinite are left out. Fewer than [`MIN_POINTS`] usable ones, or a
//!   constant loss, is an error.
//! - *Which loss*: validation, if it has [`MIN_POINTS`] points, otherwise training, unless
//!   [`ReadOptions::kind`] or the column map says otherwise.
//! - *LRs between rows*: flat between equal rows; a jump between two levels is placed at the later row; a slope
//!   that leaves or reaches a level meets it where the slope, continued, does; otherwise a straight line. A row
//!   without an LR takes part with its loss alone.
//! - *Counting*: rows numbered 1, 2, 3, … count completed updates, so that row `t` carries the LR of
//!   update `t − 1`; any other row `t` carries that of update `t`.
//! - *Warm-up*: what the caller says (or the run's own configuration) is put in front of rows that do not
//!   show it, and the points before its end are left out; a rise that the first rows show is the warm-up; otherwise it is
//!   [`WarmUp::Unlogged`].
//!
//! Every decision is told in [`LossCurve::notes`].
//!
//! # Formats
//! | what | how it is known, and what is special |
//! |---|---|
//! | CSV, TSV, semicolons, blanks | a header with a step or a loss; W&B's tables of several runs give one curve each |
//! | JSON Lines | an object a line, our `metrics.jsonl` among them; nested objects are flattened (`train/loss`) |
//! | JSON | rows, columns, `log_history` (Hugging Face), `history` (W&B), or several of them by name |
//! | a directory | a run of ours, a `trainer_state.json`, or TensorBoard's event files in their order |
//! | TensorBoard events | checksums are checked; scalars as `simple_value` or as tensors |
//! | Parquet | flat columns of numbers; uncompressed, snappy, gzip, zstd or raw lz4 |
//! | pickle | pandas tables of protocols 2–5, by a reader that calls nothing; any other global is refused by name |
//! | text | logs as scripts print them: `step 250: train loss 3.1, val loss 3.2` |
//!
//! A file is read whole, up to 1 GiB (a JSON document up to 64 MiB), up to twenty million numbers and twenty
//! million steps; what lies beyond is refused with a sentence. No length that a file declares is believed
//! before its bytes are there.
//!
//! # Example
//! ```
//! use lehr::curve::{ReadOptions, WarmUp, read};
//!
//! # fn main() -> lehr::Result<()> {
//! # let dir = std::env::temp_dir().join(format!("lehr-curve-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir).unwrap();
//! # let path = dir.join("run.csv");
//! let rows: String = (0..=18).map(|i| format!("{},{}\n", 50 * i, 4.0 - 0.1 * i as f64)).collect();
//! std::fs::write(&path, format!("step,val_loss\n{rows}")).unwrap();
//!
//! // The file logs no learning rate, so the schedule comes with the argument.
//! let argument = format!("{}@wsd:fraction=0.2,peak=1e-3,warmup=100,steps=1000", path.display());
//! let curve = read(&argument, &ReadOptions::default())?.remove(0);
//! assert_eq!(curve.warmup, WarmUp::Known(100));
//! assert_eq!((curve.lrs[799], curve.lrs[900]), (1e-3, 5e-4));
//! assert_eq!(curve.after(500).points.len(), 8);
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # Ok(())
//! # }
//! ```

mod argument;
mod assemble;
mod columns;
mod frame;
mod given;
mod methods;
mod rates;
mod readers;
mod rows;
pub mod suite;

#[cfg(test)]
mod tests;

pub use methods::ema;
pub use rates::{warmup_of, warmup_shown};

use crate::error::{Error, Result};
use argument::Argument;

/// Fewer losses than this cannot be fitted by anything.
pub const MIN_POINTS: usize = 10;

/// One measured loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Updates done when the loss was measured.
    pub step: u64,
    /// Mean cross-entropy, in nats a token.
    pub loss: f64,
}

/// Where the LR of each step comes from; it bounds how exactly a law can be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub enum LrOrigin {
    /// Computed from a schedule, written as the user gave it: exact.
    Schedule(String),
    /// Logged at every step (up to one row in a hundred may be missing): exact.
    EveryStep,
    /// Logged at `rows` steps only, and interpolated between them.
    Interpolated { rows: usize },
}

/// What kind of loss was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossKind {
    /// Of the batch just trained on: noisy, and the noise is shared by runs with one batch order.
    TrainBatch,
    /// On held-out text.
    Validation,
    /// The file does not say.
    Unknown,
}

/// What is known of the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmUp {
    /// `lrs` holds the true warm-up, which ends after this many steps (0: there was none).
    Known(u64),
    /// The first row already stands at the peak although training cannot have begun there (or the
    /// file begins later), so the early part of S₁ is a guess: laws get a free S₁ offset.
    Unlogged,
}

/// A loss curve: points in strictly increasing step order, and the LR of every step up to the
/// last point at least.
#[derive(Clone, Debug, PartialEq)]
pub struct LossCurve {
    /// For tables and pictures: the file's stem, or the key inside a file that holds several.
    pub name: String,
    pub points: Vec<Point>,
    /// `lrs[s]`: LR of update `s`; as long as the run where its schedule is known.
    pub lrs: Vec<f64>,
    pub lr_origin: LrOrigin,
    pub kind: LossKind,
    pub warmup: WarmUp,
    /// Parameters of the model, where known; laws over model size need it.
    pub parameters: Option<f64>,
    /// What reading had to decide (gaps, duplicates, NaN dropped), one sentence each.
    pub notes: Vec<String>,
}

/// What the reader is told beside the file. The default leaves everything to the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadOptions {
    /// Steps of linear warm-up that the run had, whether the file shows them or not; 0 for none.
    pub warmup: Option<u64>,
    /// The run's length in steps, for schedules that do not say it themselves.
    pub steps: Option<u64>,
    /// The highest LR, for schedules that do not say it themselves.
    pub peak_lr: Option<f64>,
    /// Names of columns, where they are not the usual ones.
    pub columns: ColumnMap,
    /// Which loss is wanted of a file that holds several, and what kind a loss is where the file does
    /// not say.
    pub kind: Option<LossKind>,
    /// Evaluate schedules as schedules-and-scaling does, see [`crate::schedule::compat`].
    pub compat: bool,
}

/// Columns by name; those left out are found by theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnMap {
    pub step: Option<String>,
    pub lr: Option<String>,
    pub loss: Option<String>,
}

/// Reads the curves of a file or of a run directory.
///
/// `argument` is `FILE`, `FILE#KEY` for one of several curves in a file, and either of them with the
/// schedule of the run behind it, `FILE@SPEC`: a line of the schedule language, in which `peak=`, `warmup=` and
/// `steps=` may stand for what [`ReadOptions`] says otherwise. Without `@SPEC` a line in
/// `FILE.schedule` is taken for it. Without `#KEY`, all curves of the file are read.
///
/// # Errors
/// One sentence with the file and the line, row or offset; see the module's rules.
pub fn read(argument: &str, options: &ReadOptions) -> Result<Vec<LossCurve>> {
    let argument = Argument::parse(argument)?;
    let frames = readers::frames(&argument.path)?;
    curves_of(frames, &argument, options)
}

/// Reads the curves in the contents of a file, as [`read`] does; `name` stands for the file in
/// messages and tables.
///
/// # Errors
/// As [`read`].
pub fn read_bytes(contents: Vec<u8>, name: &str, options: &ReadOptions) -> Result<Vec<LossCurve>> {
    let frames = readers::by_content(contents, name)?;
    let argument = Argument {
        path: name.into(),
        key: None,
        spec: None,
    };
    curves_of(frames, &argument, options)
}

fn curves_of(
    mut frames: Vec<frame::Frame>,
    argument: &Argument,
    options: &ReadOptions,
) -> Result<Vec<LossCurve>> {
    let file = argument.path.display().to_string();
    if let Some(key) = &argument.key {
        let keys: Vec<String> = frames.iter().filter_map(|f| f.key.clone()).collect();
        frames.retain(|f| f.key.as_ref() == Some(key));
        if frames.is_empty() {
            return Err(Error::input(match keys.len() {
                0 => format!("{file} holds one curve without a name; leave #{key} out"),
                _ => format!("{file} holds no curve '{key}'; it has {}", list(&keys)),
            }));
        }
    }
    let passed_over = without_losses(&mut frames, options);
    let stem = argument
        .path
        .file_stem()
        .unwrap_or(argument.path.as_os_str());
    let stem = stem.to_string_lossy();
    let mut curves = Vec::with_capacity(frames.len());
    let mut lrs = 0;
    for frame in &frames {
        let (name, place) = match &frame.key {
            Some(key) => (key.as_str(), format!("{file}#{key}")),
            None => (&*stem, file.clone()),
        };
        let curve = assemble::curve(frame, argument.spec.as_ref(), options, &place, name)?;
        lrs += curve.lrs.len();
        if lrs > MOST_LRS {
            return Err(Error::input(format!(
                "the curves of {file} have more than {} steps together; name one of them as {file}#KEY",
                crate::schedule::count(MOST_LRS as u64)
            )));
        }
        curves.push(curve);
    }
    if let Some(curve) = curves.first_mut()
        && !passed_over.is_empty()
    {
        let names = list(&passed_over);
        curve
            .notes
            .push(format!("tables without a loss were passed over: {names}"));
    }
    if curves.is_empty() {
        return Err(Error::input(format!("{file} holds no table")));
    }
    Ok(curves)
}

/// Takes tables without a loss out of a file that holds curves too; their names.
fn without_losses(frames: &mut Vec<frame::Frame>, options: &ReadOptions) -> Vec<String> {
    let is_loss = |c: &frame::Column| {
        let role = columns::role_of(&c.name).map(|r| r.0);
        matches!(role, Some(columns::Role::Loss(_)))
            || options.columns.loss.as_ref() == Some(&c.name)
    };
    let has_loss = |f: &frame::Frame| f.columns.iter().any(is_loss);
    if !frames.iter().any(has_loss) {
        return Vec::new();
    }
    let others = frames.extract_if(.., |f| !has_loss(f));
    others.filter_map(|f| f.key).collect()
}

/// LRs held for all curves of one file, so that no file fills the memory by naming large steps.
const MOST_LRS: usize = 50_000_000;

/// The first names, for a message.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}
