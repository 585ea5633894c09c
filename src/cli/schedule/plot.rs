//! A plot of schedules in characters: braille dots for one curve, letters where several must be told apart.

use super::{letter, sample};
use crate::schedule::{Schedule, count};

/// Columns and rows of the area inside the axes; with the labels it stays within 80 columns.
const COLUMNS: usize = 68;
const ROWS: usize = 12;

/// LR over steps, with its axes; ends in a line break.
pub(super) fn draw(schedules: &[Schedule]) -> String {
    let highest = schedules.iter().map(Schedule::peak_lr).fold(0.0, f64::max);
    let steps = schedules[0].steps();
    let area = match schedules {
        [one] => braille(one, highest),
        several => letters(several, highest),
    };
    let mut out = String::new();
    for (row, line) in area.iter().enumerate() {
        let label = match row {
            0 => format!("{highest:.2e}"),
            r if r == ROWS / 2 => format!("{:.2e}", highest / 2.0),
            _ => String::new(),
        };
        let tick = if label.is_empty() { '│' } else { '┤' };
        out.push_str(format!("{label:>9} {tick}{line}").trim_end());
        out.push('\n');
    }
    out.push_str(&format!("{:>9} └{}\n", "0", "─".repeat(COLUMNS)));
    let last = format!("step {}", count(steps - 1));
    let room = COLUMNS - 1;
    if steps > 1 {
        out.push_str(&format!("{:11}0{last:>room$}\n", ""));
    } else {
        out.push_str(&format!("{:11}0\n", ""));
    }
    out
}

/// Height of `lr` in `0..rows` cells from the top, `highest` in row 0.
fn row_of(lr: f64, highest: f64, rows: usize) -> usize {
    let from_bottom = lr / highest * (rows - 1) as f64;
    rows - 1 - (from_bottom.round() as usize).min(rows - 1)
}

/// Two by four dots a character (Unicode braille patterns).
fn braille(schedule: &Schedule, highest: f64) -> Vec<String> {
    const DOTS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
    let (wide, high) = (COLUMNS * 2, ROWS * 4);
    let mut cells = vec![[0u32; COLUMNS]; ROWS];
    let mut before: Option<usize> = None;
    let marks = schedule.landmarks();
    let last = schedule.steps() - 1;
    for x in 0..wide {
        let step = sample(x as u64, wide as u64, schedule.steps());
        let next = sample(x as u64 + 1, wide as u64, schedule.steps()).min(last);
        let y = row_of(schedule.lr(step), highest, high);
        // A jump is drawn as a vertical stroke, and a phase that is narrower than a column shows
        // the landmarks that bound it.
        let from = before.unwrap_or(y);
        let (mut low, mut top) = (y.min(from), y.max(from));
        for mark in marks.iter().filter(|m| (step..next).contains(&m.step)) {
            let row = row_of(schedule.lr(mark.step), highest, high);
            (low, top) = (low.min(row), top.max(row));
        }
        for dot in low..=top {
            cells[dot / 4][x / 2] |= DOTS[dot % 4][x % 2];
        }
        before = Some(y);
    }
    cells
        .iter()
        .map(|row| {
            row.iter()
                .map(|&dots| match dots {
                    0 => ' ',
                    dots => char::from_u32(0x2800 + dots).expect("a braille pattern"),
                })
                .collect()
        })
        .collect()
}

/// One letter a curve; where curves coincide the letters take turns along the line.
fn letters(schedules: &[Schedule], highest: f64) -> Vec<String> {
    let mut cells = vec![[' '; COLUMNS]; ROWS];
    for x in 0..COLUMNS {
        let rows: Vec<usize> = schedules
            .iter()
            .map(|s| {
                let step = sample(x as u64, COLUMNS as u64, s.steps());
                row_of(s.lr(step), highest, ROWS)
            })
            .collect();
        for (row, cells) in cells.iter_mut().enumerate() {
            let here: Vec<usize> = (0..rows.len()).filter(|&i| rows[i] == row).collect();
            if !here.is_empty() {
                cells[x] = letter(here[x % here.len()]);
            }
        }
    }
    cells.iter().map(|row| row.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{ScheduleSpec, Warmup};

    fn schedule(shape: &str, steps: u64) -> Schedule {
        Schedule::new(&ScheduleSpec {
            shape: shape.parse().unwrap(),
            peak_lr: 1e-3,
            warmup: Warmup::Steps(0),
            steps,
            tokens_per_step: None,
            compat: false,
        })
        .unwrap()
    }

    #[test]
    fn fits_eighty_columns_whatever_the_run() {
        for steps in [1, 2, 100, u64::MAX] {
            for specs in [&["wsd"][..], &["wsd", "cosine", "811"]] {
                let all: Vec<Schedule> = specs.iter().map(|s| schedule(s, steps)).collect();
                let plot = draw(&all);
                assert_eq!(plot.lines().count(), ROWS + 2);
                for line in plot.lines() {
                    assert!(line.chars().count() <= 80, "{line}");
                }
            }
        }
    }

    #[test]
    fn coinciding_curves_take_turns() {
        let both = letters(&[schedule("constant", 100), schedule("wsd", 100)], 1e-3);
        assert!(both[0].starts_with("abab"), "{}", both[0]);
        assert!(both[ROWS - 2].trim_start().starts_with('b'));
    }
}
